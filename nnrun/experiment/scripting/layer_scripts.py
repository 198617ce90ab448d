"""The layers as lines of a script: the registry of what each becomes.

A layer has a line in `LAYER_SCRIPTS`, a merge in `MERGE_SCRIPTS`, an activation in `ACTIVATION_SCRIPTS`. A
new one needs its line here; a layer without it is refused by name by `nnrun export --format script`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import reduce
from typing import Any

import numpy as np

from nnrun.model.activations import LEAKY_RELU_SLOPE
from nnrun.model.layers import Layer
from nnrun.model.layers.attention import AttentionLayer, MultiHeadAttentionLayer
from nnrun.model.layers.recurrent import RecurrentLayer
from nnrun.spec import schema
from nnrun.spec.schema.layer_shapes import LayerInput, along
from nnrun.spec.schema.pooling_layers import at_both_ends

Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class Weights:
    """A layer's arrays as a weights file has them.

    Attributes:
        arrays: of all layers.
        path: what the names of the layer's begin with.
        masked: whether what the layer takes has a mask.
    """

    arrays: Mapping[str, Array]
    path: str
    masked: bool

    def __call__(self, name: str) -> Array:
        """An array by its short name."""
        return self.arrays[f"{self.path}.{name}"]


@dataclass(frozen=True)
class LayerScript:
    """What a layer becomes.

    Attributes:
        call: an expression of `x`, of the layer's own module or parameter `own`, and of `mask`, in braces.
        made: the module or parameter, as an expression; empty for none.
        arrays: what it holds, by its name there; of a parameter by "".
    """

    call: str
    made: str = ""
    arrays: Mapping[str, Array] = field(default_factory=dict)


ACTIVATION_SCRIPTS: Mapping[str, str] = {
    "linear": "{x}",
    "relu": "torch.relu({x})",
    "tanh": "torch.tanh({x})",
    "sigmoid": "torch.sigmoid({x})",
    "softmax": "torch.softmax({x}, dim=-1)",
    "elu": "F.elu({x})",
    "selu": "F.selu({x})",
    "gelu": "F.gelu({x})",
    "swish": "F.silu({x})",
    "softplus": "F.softplus({x})",
    "leaky_relu": f"F.leaky_relu({{x}}, {LEAKY_RELU_SLOPE})",
    "relu6": "F.relu6({x})",
    "celu": "F.celu({x})",
    "mish": "F.mish({x})",
    "glu": "F.glu({x}, dim=-1)",
    "exponential": "torch.exp({x})",
    "softsign": "F.softsign({x})",
    "squareplus": "_squareplus({x})",
    "hard_sigmoid": "F.hardsigmoid({x})",
    "hard_silu": "F.hardswish({x})",
    "hard_tanh": "F.hardtanh({x})",
    "hard_shrink": "F.hardshrink({x})",
    "soft_shrink": "F.softshrink({x})",
    "tanh_shrink": "F.tanhshrink({x})",
    "log_sigmoid": "F.logsigmoid({x})",
    "log_softmax": "torch.log_softmax({x}, dim=-1)",
    "sparse_plus": "_sparse_plus({x})",
    "sparse_sigmoid": "(({x} + 1) / 2).clamp(0, 1)",
    "sparsemax": "_sparsemax({x})",
}


def activated(activation: str, x: str) -> str:
    """An expression of x behind an activation."""
    return ACTIVATION_SCRIPTS[activation].format(x=x)


def _function(activation: str) -> str:
    """An activation as a function that can be passed on."""
    script = ACTIVATION_SCRIPTS[activation]
    return script.removesuffix("({x})") if script.endswith("({x})") else f"lambda x: {script.format(x='x')}"


def _dense(layer: Any, w: Weights) -> LayerScript:
    bias = "" if layer.spec.use_bias else ", bias=False"
    arrays = {"weight": w("weight"), **({"bias": w("bias")} if layer.spec.use_bias else {})}
    call = activated(layer.spec.activation, "{own}({x})")
    return LayerScript(call, f"nn.Linear({layer.input_shape[-1]}, {layer.units}{bias})", arrays)


def _embedding(layer: Any, w: Weights) -> LayerScript:
    made = f"nn.Embedding({layer.spec.input_dim}, {layer.spec.output_dim})"
    return LayerScript("{own}({x}.round().long())", made, {"weight": w("weight")})


def _only_in_training(layer: Any, w: Weights) -> LayerScript:
    return LayerScript("{x}")


# --- windows -----------------------------------------------------------------------------------------------


def _padding(windows: Any, places: int) -> list[int]:
    """As `F.pad` takes it, the last axis first."""
    pairs = list(zip(windows.before, windows.after, strict=True))[2 - places :]
    return [n for pair in reversed(pairs) for n in pair]


def _first(x: str) -> str:
    return f"{x}.movedim(-1, 1)"


def _padded(x: str, padding: Sequence[int], value: str = "") -> str:
    return f"F.pad({x}, {list(padding)}{value})" if any(padding) else x


def _tuple(sizes: Sequence[int]) -> str:
    return str(sizes[0]) if len(set(sizes)) == 1 else str(tuple(sizes))


def _convolution_options(layer: Any) -> str:
    strides, dilation = layer.along("strides"), layer.along("dilation_rate")
    apart = f", stride={_tuple(strides)}" if any(n > 1 for n in strides) else ""
    return apart + (f", dilation={_tuple(dilation)}" if any(n > 1 for n in dilation) else "")


def _bias(layer: Any, w: Weights) -> tuple[str, dict[str, Array]]:
    return ("", {"bias": w("bias")}) if layer.spec.use_bias else (", bias=False", {})


def _convolution(layer: Any, w: Weights) -> LayerScript:
    bias, arrays = _bias(layer, w)
    sizes = f"{layer.input_shape[-1]}, {layer.spec.filters}, {_tuple(layer.window)}"
    made = f"nn.Conv{layer.places}d({sizes}{_convolution_options(layer)}{bias})"
    found = f"{{own}}({_padded(_first('{x}'), _padding(layer.windows, layer.places))}).movedim(1, -1)"
    return LayerScript(activated(layer.spec.activation, found), made, {"weight": w("weight"), **arrays})


def _depthwise(layer: Any, w: Weights) -> LayerScript:
    bias, arrays = _bias(layer, w)
    channels = layer.input_shape[-1]
    sizes = f"{channels}, {channels * layer.spec.depth_multiplier}, {_tuple(layer.window)}"
    made = f"nn.Conv{layer.places}d({sizes}{_convolution_options(layer)}, groups={channels}{bias})"
    found = f"{{own}}({_padded(_first('{x}'), _padding(layer.windows, layer.places))}).movedim(1, -1)"
    return LayerScript(activated(layer.spec.activation, found), made, {"weight": w("weight"), **arrays})


def _separable(layer: Any, w: Weights) -> LayerScript:
    bias, arrays = _bias(layer, w)
    channels, kind = layer.input_shape[-1], f"nn.Conv{layer.places}d"
    between = channels * layer.spec.depth_multiplier
    options = _convolution_options(layer)
    each = f"{kind}({channels}, {between}, {_tuple(layer.window)}{options}, groups={channels}, bias=False)"
    made = f"nn.Sequential({each}, {kind}({between}, {layer.spec.filters}, 1{bias}))"
    found = f"{{own}}({_padded(_first('{x}'), _padding(layer.windows, layer.places))}).movedim(1, -1)"
    arrays = {"0.weight": w("depthwise_weight"), "1.weight": w("weight")} | {
        f"1.{name}": value for name, value in arrays.items()
    }
    return LayerScript(activated(layer.spec.activation, found), made, arrays)


def _transposed(layer: Any, w: Weights) -> LayerScript:
    bias, arrays = _bias(layer, w)
    strides, window = layer.along("strides"), layer.window
    slices, missing = [], []
    for places, wanted, size, stride in zip(
        layer.input_shape[:-1], layer.output_shape[:-1], window, strides, strict=True
    ):
        full = (places - 1) * stride + size
        first = max(size - stride, 0) // 2 if layer.spec.padding == "same" else 0
        kept = min(wanted, full - first)
        slices.append(f"{first}:{first + kept}")
        missing.append(wanted - kept)
    filters = layer.spec.filters
    sizes = f"{layer.input_shape[-1]}, {filters}, {_tuple(window)}, stride={_tuple(strides)}"
    made = f"nn.ConvTranspose{layer.places}d({sizes}{bias})"
    found = f"{{own}}({_first('{x}')})[:, :, {', '.join(slices)}]"
    arrays["weight"] = w("weight")
    if not any(missing):
        return LayerScript(activated(layer.spec.activation, f"{found}.movedim(1, -1)"), made, arrays)
    # Strides beyond the window leave places that nothing reaches, and that have the bias all the same.
    padding = [n for amount in reversed(missing) for n in (0, amount)]
    if layer.spec.use_bias:
        around = f"F.pad({found} - {{own}}.bias.view(-1, {', '.join('1' * layer.places)}), {padding})"
        found = f"({around}.movedim(1, -1) + {{own}}.bias)"
    else:
        found = f"F.pad({found}, {padding}).movedim(1, -1)"
    return LayerScript(activated(layer.spec.activation, found), made, arrays)


def _pooling(layer: Any, w: Weights) -> LayerScript:
    places = len(layer.input_shape) - 1
    size = along(layer.spec.pool_size, places)
    strides = along(layer.spec.strides or layer.spec.pool_size, places)
    padding = _padding(layer.windows, places)
    options = f"{_tuple(size)}, {_tuple(strides)}"
    if isinstance(layer.spec, schema.MaxPooling):
        x = _padded(_first("{x}"), padding, ', value=float("-inf")')
        return LayerScript(f"F.max_pool{places}d({x}, {options}).movedim(1, -1)")
    if any(padding):
        options = f"{list(size)}, {list(strides)}, {padding}"
        return LayerScript(f"average_pool({_first('{x}')}, {options}).movedim(1, -1)")
    return LayerScript(f"F.avg_pool{places}d({_first('{x}')}, {options}).movedim(1, -1)")


def _global_average(layer: Any, w: Weights) -> LayerScript:
    return LayerScript("masked_mean({x}, {mask})" if w.masked else "{x}.flatten(1, -2).mean(1)")


def _up_sampling(layer: Any, w: Weights) -> LayerScript:
    if layer.spec.interpolation == "bilinear":
        size = f"size={tuple(layer.output_shape[:-1])}, mode='bilinear', align_corners=False"
        return LayerScript(f"F.interpolate({_first('{x}')}, {size}).movedim(1, -1)")
    call = "{x}"
    for axis, times in enumerate(along(layer.spec.size, len(layer.input_shape) - 1), start=1):
        call += f".repeat_interleave({times}, dim={axis})"
    return LayerScript(call)


def _zero_padding(layer: Any, w: Weights) -> LayerScript:
    amounts = at_both_ends(layer.spec, "padding", layer.spec.padding, LayerInput(layer.input_shape, None))
    return LayerScript(_padded("{x}", [0, 0, *(n for pair in reversed(amounts) for n in pair)]))


def _cropping(layer: Any, w: Weights) -> LayerScript:
    amounts = at_both_ends(layer.spec, "cropping", layer.spec.cropping, LayerInput(layer.input_shape, None))
    slices = [f"{first}:{first + n}" for (first, _), n in zip(amounts, layer.output_shape, strict=False)]
    return LayerScript(f"{{x}}[:, {', '.join(slices)}]")


# --- normalization -----------------------------------------------------------------------------------------


def _affine(layer: Any, w: Weights) -> dict[str, Array]:
    size = layer.input_shape[-1]
    return {
        "weight": w("weight") if layer.spec.scale else np.ones(size, np.float32),
        "bias": w("bias") if layer.spec.center else np.zeros(size, np.float32),
    }


def _batch_normalization(layer: Any, w: Weights) -> LayerScript:
    arrays = _affine(layer, w) | {name: w(name) for name in ("running_mean", "running_var")}
    arrays["num_batches_tracked"] = np.array(0)
    made = f"nn.BatchNorm1d({layer.input_shape[-1]}, eps={layer.spec.epsilon})"
    flat = len(layer.input_shape) == 1
    call = "{own}({x})" if flat else "{own}({x}.flatten(0, -2)).reshape({x}.shape)"
    return LayerScript(call, made, arrays)


def _layer_normalization(layer: Any, w: Weights) -> LayerScript:
    made = f"nn.LayerNorm({layer.input_shape[-1]}, eps={layer.spec.epsilon})"
    return LayerScript("{own}({x})", made, _affine(layer, w))


def _group_normalization(layer: Any, w: Weights) -> LayerScript:
    channels = layer.input_shape[-1]
    groups = channels if layer.spec.groups == -1 else layer.spec.groups
    made = f"nn.GroupNorm({groups}, {channels}, eps={layer.spec.epsilon})"
    return LayerScript(f"{{own}}({_first('{x}')}).movedim(1, -1)", made, _affine(layer, w))


def _rms_normalization(layer: Any, w: Weights) -> LayerScript:
    made = f"nn.RMSNorm({layer.input_shape[-1]}, eps={layer.spec.epsilon})"
    return LayerScript("{own}({x})", made, {"weight": w("weight")})


def _unit_normalization(layer: Any, w: Weights) -> LayerScript:
    return LayerScript(f"F.normalize({{x}}, dim={_dim(layer.spec.axis)}, eps=1e-12)")


# --- steps -------------------------------------------------------------------------------------------------


def _recurrent(layer: RecurrentLayer[Any], w: Weights) -> LayerScript:
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
    gates = "" if spec.kind == "simple_rnn" else f", {_function(gate)}"
    one = f"{name}({features}, {units}, {shape}, {_function(spec.activation)}{gates})"
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


def _attention(layer: AttentionLayer, w: Weights) -> LayerScript:
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


def _position(layer: Any, w: Weights) -> LayerScript:
    steps, features = layer.input_shape
    if layer.spec.encoding == "sinusoidal":
        return LayerScript(f"{{x}} + sines({steps}, {features}, {layer.spec.max_wavelength})")
    return LayerScript("{x} + {own}", f"nn.Parameter(torch.zeros({steps}, {features}))", {"": w("weight")})


def _periodic(layer: Any, w: Weights) -> LayerScript:
    spec = layer.spec
    made = f"Periodic({layer.input_shape[0]}, {spec.frequencies}, {spec.units})"
    arrays = {"frequencies": w("frequencies")}
    if spec.units is None:
        return LayerScript("{own}({x}).flatten(1)", made, arrays)
    arrays |= {name: w(name) for name in ("weight", "bias")}
    return LayerScript(f"{activated(spec.activation, '{own}({x})')}.flatten(1)", made, arrays)


def _prelu(layer: Any, w: Weights) -> LayerScript:
    alpha = w("weight")
    made = f"nn.Parameter(torch.zeros({tuple(alpha.shape)}))"
    return LayerScript("torch.relu({x}) - {own} * torch.relu(-{x})", made, {"": alpha})


LAYER_SCRIPTS: Mapping[type[schema.Component], Callable[[Any, Weights], LayerScript]] = {
    schema.Dense: _dense,
    schema.Dropout: lambda layer, w: LayerScript("{own}({x})", f"nn.Dropout({layer.spec.rate})"),
    schema.Embedding: _embedding,
    schema.Masking: lambda layer, w: LayerScript(
        f"torch.where(({{x}} != {layer.spec.mask_value}).any(-1, keepdim=True), {{x}}, 0.0)"
    ),
    schema.Flatten: lambda layer, w: LayerScript("{x}.flatten(1)"),
    schema.Reshape: lambda layer, w: LayerScript(
        f"{{x}}.reshape(-1, {', '.join(map(str, layer.output_shape))})"
    ),
    schema.GlobalAveragePooling: _global_average,
    schema.MaxPooling: _pooling,
    schema.AveragePooling: _pooling,
    schema.GlobalMaxPooling: lambda layer, w: LayerScript("{x}.flatten(1, -2).amax(1)"),
    schema.Conv1D: _convolution,
    schema.Conv2D: _convolution,
    schema.SeparableConv1D: _separable,
    schema.SeparableConv2D: _separable,
    schema.DepthwiseConv2D: _depthwise,
    schema.Conv1DTranspose: _transposed,
    schema.Conv2DTranspose: _transposed,
    schema.Lstm: _recurrent,
    schema.Gru: _recurrent,
    schema.SimpleRnn: _recurrent,
    schema.BatchNormalization: _batch_normalization,
    schema.LayerNormalization: _layer_normalization,
    schema.GroupNormalization: _group_normalization,
    schema.RmsNormalization: _rms_normalization,
    schema.UnitNormalization: _unit_normalization,
    schema.ActivationLayer: lambda layer, w: LayerScript(activated(layer.spec.activation, "{x}")),
    schema.UpSampling: _up_sampling,
    schema.ZeroPadding: _zero_padding,
    schema.Cropping: _cropping,
    schema.Prelu: _prelu,
    schema.Permute: lambda layer, w: LayerScript(f"{{x}}.permute(0, {', '.join(map(str, layer.spec.dims))})"),
    schema.RepeatVector: lambda layer, w: LayerScript(f"{{x}}.unsqueeze(1).expand(-1, {layer.spec.n}, -1)"),
    schema.Rescaling: lambda layer, w: LayerScript(f"{{x}} * {layer.spec.scale} + {layer.spec.offset}"),
    schema.Periodic: _periodic,
    schema.SpatialDropout: _only_in_training,
    schema.GaussianNoise: _only_in_training,
    schema.GaussianDropout: _only_in_training,
    schema.AlphaDropout: _only_in_training,
    schema.Attention: _attention,
    schema.MultiHeadAttention: _attention,
    schema.PositionEmbedding: _position,
}


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


# --- merges ------------------------------------------------------------------------------------------------


def _dim(axis: int) -> int:
    """The dimension of a batch that is an axis of a row."""
    return axis if axis < 0 else axis + 1


def _between(sign: str) -> Callable[[Any, Sequence[str]], str]:
    return lambda spec, taken: sign.join(taken)


def _nested(function: str) -> Callable[[Any, Sequence[str]], str]:
    return lambda spec, taken: reduce(lambda a, b: f"{function}({a}, {b})", taken)


MERGE_SCRIPTS: Mapping[type[schema.Component], Callable[[Any, Sequence[str]], str]] = {
    schema.Concatenate: lambda spec, taken: f"torch.cat([{', '.join(taken)}], dim={_dim(spec.axis)})",
    schema.Add: _between(" + "),
    schema.Residual: _between(" + "),
    schema.Subtract: _between(" - "),
    schema.Multiply: _between(" * "),
    schema.Average: lambda spec, taken: f"({' + '.join(taken)}) / {len(taken)}",
    schema.Maximum: _nested("torch.maximum"),
    schema.Minimum: _nested("torch.minimum"),
    schema.Dot: lambda spec, taken: f"dot({', '.join(taken)}, {_dim(spec.axis)}, {spec.normalize})",
    schema.Parallel: lambda spec, taken: MERGE_SCRIPTS[type(spec.merge)](spec.merge, taken),
}


def merged_mask(spec: Any, taken: Sequence[str], masks: Sequence[str | None]) -> str | None:
    """An expression of the mask of a merge: a step counts where it does in one of those that it takes."""
    if not spec.passes_mask([mask is not None for mask in masks]):
        return None
    merge = spec.merge if isinstance(spec, schema.Parallel) else spec
    if isinstance(merge, schema.Concatenate):
        whole = [
            f"torch.ones_like({x}, dtype=torch.bool)"
            if mask is None
            else f"{mask}.unsqueeze(-1).expand({x}.shape)"
            for x, mask in zip(taken, masks, strict=True)
        ]
        return f"torch.cat([{', '.join(whole)}], dim={_dim(merge.axis)}).any(-1)"
    return " | ".join(mask for mask in masks if mask is not None)
