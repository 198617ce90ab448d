"""Layers of steps as lines of a script: recurrent ones, attention, positions; and masks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from nnrun.experiment.scripting.layer_script import Array, LayerScript, Weights, function_of
from nnrun.model.layers import Layer
from nnrun.model.layers.attention import AttentionLayer, MultiHeadAttentionLayer
from nnrun.model.layers.recurrent import RecurrentLayer
from nnrun.spec import schema


def recurrent(layer: RecurrentLayer[Any], w: Weights) -> LayerScript:
    """PyTorch's own layer where it computes the same, else step by step."""
    spec: Any = layer.spec
    x = "{x}.flip(1)" if spec.go_backwards else "{x}"
    gate = getattr(spec, "recurrent_activation", "sigmoid")
    before = isinstance(spec, schema.Gru) and not spec.reset_after
    usual = spec.activation == "tanh" and gate == "sigmoid" and not before
    if usual and not w.masked:
        return _of_torch(layer, w, x)
    features, units = layer.input_shape[1], spec.units
    name = {"lstm": "SteppedLstm", "gru": "SteppedGru", "simple_rnn": "SteppedRnn"}[spec.kind]
    if before:
        name = "SteppedGruBefore"
    shape = tuple(w("bias").shape) if spec.use_bias else None
    gates = "" if spec.kind == "simple_rnn" else f", {function_of(gate)}"
    one = f"{name}({features}, {units}, {shape}, {function_of(spec.activation)}{gates})"
    made = f"BothDirections({one}, {one})" if spec.bidirectional else one
    names = ("weight_ih", "weight_hh", *(["bias"] if spec.use_bias else []))
    arrays: dict[str, Array] = {}
    for part, suffix in (("first.", ""), ("second.", "_reverse")) if spec.bidirectional else (("", ""),):
        arrays |= {f"{part}{name}": w(f"{name}{suffix}") for name in names}
    mask = "{mask}.flip(1)" if spec.go_backwards else "{mask}"
    given = f", {mask}" if w.masked else ", None"
    return LayerScript(f"{{own}}({x}{given}, sequences={spec.return_sequences})", made, arrays)


def _of_torch(layer: Any, w: Weights, x: str) -> LayerScript:
    spec, units = layer.spec, layer.spec.units
    kind = {"lstm": "LSTM", "gru": "GRU", "simple_rnn": "RNN"}[spec.kind]
    # PyTorch has the reset gate before the update gate, and two biases everywhere.
    order = np.r_[units : 2 * units, :units, 2 * units : 3 * units] if kind == "GRU" else slice(None)
    arrays: dict[str, Array] = {}
    for suffix in ("", "_reverse")[: layer.directions]:
        for name in ("weight_ih", "weight_hh"):
            arrays[f"{name}_l0{suffix}"] = w(f"{name}{suffix}")[order]
        if spec.use_bias:
            bias = w(f"bias{suffix}")
            pair = bias if bias.ndim == 2 else np.stack([bias, np.zeros_like(bias)])
            arrays[f"bias_ih_l0{suffix}"], arrays[f"bias_hh_l0{suffix}"] = pair[0][order], pair[1][order]
    options = "" if spec.use_bias else ", bias=False"
    options += ", bidirectional=True" if spec.bidirectional else ""
    made = f"nn.{kind}({layer.input_shape[1]}, {units}, batch_first=True{options})"
    call = f"{{own}}({x})"
    if spec.return_sequences:
        return LayerScript(f"{call}[0]", made, arrays)
    last = f"{call}[1][0]" if kind == "LSTM" else f"{call}[1]"
    return LayerScript(f"{last}.transpose(0, 1).flatten(1)", made, arrays)


def attention(layer: AttentionLayer, w: Weights) -> LayerScript:
    """Of one thing; `of_several` of more."""
    return of_several(layer, w, ["{x}"], ["{mask}" if w.masked else None])


def of_several(layer: Any, w: Weights, taken: Sequence[str], masks: Sequence[str | None]) -> LayerScript:
    """An attention layer of a query, a value and maybe a key, and their masks."""
    query, value, key = taken[0], taken[min(1, len(taken) - 1)], taken[-1]
    if isinstance(layer, MultiHeadAttentionLayer):
        spec = layer.spec
        sizes = (layer.input_shape[-1], layer.key_shape[-1], layer.value_shape[-1])
        heads = f"{spec.num_heads}, {spec.key_dim}, {layer.value_dim}, {layer.output_shape[-1]}"
        made = f"MultiHeadAttention({sizes}, {heads}, bias={spec.use_bias})"
        names = ("weight", "bias") if spec.use_bias else ("weight",)
        arrays = {
            f"{part}.{name}": w(f"{part}_{name}")
            for part in ("query", "key", "value", "output")
            for name in names
        }
        seen = [f"{m}.unsqueeze(1)" for m in (masks if len(masks) == 1 else masks[1:]) if m is not None]
        seen += [f"{masks[0]}.unsqueeze(2)"] if masks[0] is not None else []
        return LayerScript(f"{{own}}({query}, {key}, {value}, {' & '.join(seen) or None})", made, arrays)
    masked = [f"query_mask={masks[0]}"] if masks[0] is not None else []
    of_value = masks[min(1, len(masks) - 1)]
    masked += [f"value_mask={of_value}"] if of_value is not None else []
    scale = ["scale={own}"] if layer.spec.use_scale else []
    call = f"attention({', '.join([query, value, key, *scale, *masked])})"
    if not layer.spec.use_scale:
        return LayerScript(call)
    return LayerScript(call, "nn.Parameter(torch.ones(()))", {"": w("scale")})


def position(layer: Any, w: Weights) -> LayerScript:
    """A vector of each step, learned or of sines and cosines, that is added."""
    steps, features = layer.input_shape
    if layer.spec.encoding == "sinusoidal":
        return LayerScript(f"{{x}} + sines({steps}, {features}, {layer.spec.max_wavelength})")
    return LayerScript("{x} + {own}", f"nn.Parameter(torch.zeros({steps}, {features}))", {"": w("weight")})


def mask_script(layer: Layer[Any], x: str, mask: str | None) -> str | None:
    """An expression of the mask of what a layer gives, of what it takes and of that's mask; None for none."""
    spec: Any = layer.spec
    if isinstance(spec, schema.Embedding):
        return f"{x}.round() != 0" if spec.mask_zero else None
    if isinstance(spec, schema.Masking):
        return f"({x} != {spec.mask_value}).any(-1)"
    if mask is None or not (isinstance(layer.spec, schema.NetworkLayer) and layer.spec.passes_mask):
        return None
    return f"{mask}.flip(1)" if isinstance(layer, RecurrentLayer) and spec.go_backwards else mask
