"""Layers as Keras has them: the registry of what each becomes, and its arrays in Keras's order and layout.

A layer has a line in `KERAS_LAYERS`; one without it is refused by name.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from nnrun.experiment.ejecting.lesson import Array
from nnrun.experiment.ejecting.refusals import refuse
from nnrun.spec import schema

Arrays = Callable[[Callable[[str], Array], Any], list[Array]]
"""(An array of a weights file by its short name, the layer's spec) → arrays as `set_weights` takes them."""


@dataclass(frozen=True)
class KerasLayer:
    """A layer of Keras.

    Attributes:
        name: its class; with `{n}` the number of axes that windows have.
        options: of the spec those that its constructor takes by the same name.
        arrays: what it holds.
    """

    name: str
    options: Sequence[str] = ()
    arrays: Arrays = lambda w, spec: []


def _dense(w: Callable[[str], Array], spec: Any) -> list[Array]:
    return [w("weight").T, *([w("bias")] if spec.use_bias else [])]


def _convolution(w: Callable[[str], Array], spec: Any) -> list[Array]:
    kernel = w("weight")
    return [np.moveaxis(kernel, (0, 1), (-1, -2)), *([w("bias")] if spec.use_bias else [])]


def _recurrent(w: Callable[[str], Array], spec: Any) -> list[Array]:
    if spec.bidirectional:
        raise refuse(f"bidirectional: true of the layer {spec.kind} with Keras", "Use --to pytorch.")
    return [w("weight_ih").T, w("weight_hh").T, *([w("bias")] if spec.use_bias else [])]


def _normalization(*names: str) -> Arrays:
    return lambda w, spec: [w(name) for name in ("weight", "bias", *names)]


_WINDOW = ("filters", "kernel_size", "strides", "padding", "dilation_rate", "activation", "use_bias")
_POOL = ("pool_size", "strides", "padding")
_STEPS = ("units", "activation", "use_bias", "return_sequences", "go_backwards")

KERAS_LAYERS: Mapping[type[schema.Component], KerasLayer] = {
    schema.Dense: KerasLayer("Dense", ("units", "activation", "use_bias"), _dense),
    schema.Dropout: KerasLayer("Dropout", ("rate",)),
    schema.Flatten: KerasLayer("Flatten"),
    schema.Reshape: KerasLayer("Reshape", ("target_shape",)),
    schema.ActivationLayer: KerasLayer("Activation", ("activation",)),
    schema.Embedding: KerasLayer(
        "Embedding", ("input_dim", "output_dim", "mask_zero"), lambda w, spec: [w("weight")]
    ),
    schema.Lstm: KerasLayer("LSTM", (*_STEPS, "recurrent_activation"), _recurrent),
    schema.Gru: KerasLayer("GRU", (*_STEPS, "recurrent_activation", "reset_after"), _recurrent),
    schema.SimpleRnn: KerasLayer("SimpleRNN", _STEPS, _recurrent),
    schema.Conv1D: KerasLayer("Conv1D", _WINDOW, _convolution),
    schema.Conv2D: KerasLayer("Conv2D", _WINDOW, _convolution),
    schema.MaxPooling: KerasLayer("MaxPooling{n}D", _POOL),
    schema.AveragePooling: KerasLayer("AveragePooling{n}D", _POOL),
    schema.GlobalAveragePooling: KerasLayer("GlobalAveragePooling{n}D"),
    schema.GlobalMaxPooling: KerasLayer("GlobalMaxPooling{n}D"),
    schema.BatchNormalization: KerasLayer(
        "BatchNormalization", ("momentum", "epsilon"), _normalization("running_mean", "running_var")
    ),
    schema.LayerNormalization: KerasLayer("LayerNormalization", ("epsilon",), _normalization()),
}


def layer_text(layer: Any) -> str:
    """A layer as an expression.

    Raises:
        UsageError: it cannot be written.
    """
    spec = layer.spec
    if type(spec) not in KERAS_LAYERS:
        raise refuse(
            f"the layer {spec.kind} ({layer.path}) with Keras", "--to pytorch can write more layers."
        )
    own = KERAS_LAYERS[type(spec)]
    name = own.name.format(n=len(layer.input_shape) - 1)
    # The first parameter of normalization is the axis; of all others it is the first option.
    bare = () if name.endswith("Normalization") else own.options[:1]
    given = options_text(spec, own.options, bare=bare)
    return f"layers.{name}({given})"


def options_text(spec: Any, options: Sequence[str], *, bare: Sequence[str] = ()) -> str:
    """Arguments of a constructor: those that are not Keras's defaults, which are the schema's."""
    said = []
    for option in options:
        field, value = type(spec).model_fields[option], getattr(spec, option)
        if not field.is_required() and value == field.get_default() and option not in bare:
            continue
        value = tuple(value) if option == "target_shape" else value
        said.append(_text(value) if option in bare else f"{option}={_text(value)}")
    return ", ".join(said)


def _text(value: Any) -> str:
    if isinstance(value, str):
        return json.dumps(value)
    if isinstance(value, list):
        return repr(value[0]) if len(value) == 1 else repr(tuple(value))
    return repr(value)


def layer_arrays(layer: Any, weights: Mapping[str, Array]) -> list[Array]:
    """A layer's arrays as `set_weights` takes them."""
    found: list[Array] = KERAS_LAYERS[type(layer.spec)].arrays(
        lambda name: weights[f"{layer.weights_path}.{name}"], layer.spec
    )
    return [np.ascontiguousarray(array) for array in found]
