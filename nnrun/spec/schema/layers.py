"""The layers of a network, with their activations and regularizers."""

from __future__ import annotations

from typing import Annotated, Literal, Union

from pydantic import BeforeValidator, Field

from nnrun.spec.schema.component import (
    ALIASES,
    COMPONENT,
    ONE_SIZE_IS_ENOUGH,
    Component,
    Count,
    Custom,
    Decay,
    NonNegative,
    Positive,
)

ActivationName = Literal[
    "linear", "relu", "tanh", "sigmoid", "softmax", "elu", "selu", "gelu", "swish", "softplus", "leaky_relu"
]
Activation = Annotated[
    ActivationName,
    BeforeValidator(lambda name: ALIASES.get(name, name) if isinstance(name, str) else name),
]
Padding = Literal["valid", "same"]
Sizes = Annotated[list[Count], Field(min_length=1, max_length=2), ONE_SIZE_IS_ENOUGH]


class L1(Component):
    """l1 * sum(|w|), added to the loss."""

    kind = "l1"
    bare = "l1"
    l1: NonNegative = 0.01


class L2(Component):
    """l2 * sum(w²), added to the loss."""

    kind = "l2"
    bare = "l2"
    l2: NonNegative = 0.01


class L1L2(Component):
    """l1 * sum(|w|) + l2 * sum(w²), added to the loss."""

    kind = "l1_l2"
    l1: NonNegative = 0.0
    l2: NonNegative = 0.0


Regularizer = Annotated[Union[L1, L2, L1L2], COMPONENT]


class Dense(Component):
    """activation(x @ kernel + bias). Glorot-uniform kernel, zero bias.

    Of rows with more than one axis the last is multiplied, alike at each position along the others.
    """

    kind = "dense"
    switchable = {"kernel_regularizer": None}
    bare = "units"
    units: Count
    activation: Activation = "linear"
    use_bias: bool = True
    kernel_regularizer: Regularizer | None = None


class Dropout(Component):
    """While training, zero a share `rate` of the inputs and scale the rest by 1 / (1 - rate)."""

    kind = "dropout"
    bare = "rate"
    rate: Annotated[float, Field(ge=0, lt=1)]


class Embedding(Component):
    """A learned vector of `output_dim` numbers for each word index. The first layer, after `pad`.

    Word indices are below `input_dim`; default: the data set's num_words, else what the training rows need.
    Uniform from -0.05 to 0.05 at first. Padding is a word like any other (Keras's mask_zero: false).
    """

    kind = "embedding"
    bare = "output_dim"
    output_dim: Count
    input_dim: Count | None = None


class Flatten(Component):
    """All numbers of a row one after the other, the last axis fastest."""

    kind = "flatten"


class Reshape(Component):
    """The numbers of a row in another shape, the last axis fastest. One size may be -1: what is left over."""

    kind = "reshape"
    bare = "target_shape"
    target_shape: Annotated[list[Annotated[int, Field(ge=-1)]], Field(min_length=1)]


class GlobalAveragePooling(Component):
    """The mean over all axes but the last: over the steps, or over height and width."""

    kind = "global_average_pooling"


class MaxPooling(Component):
    """The largest number of each window, channel by channel, along the steps or along height and width.

    `pool_size` and `strides` are one number for every axis, or a list; default for `strides`: the pool size.
    """

    kind = "max_pooling"
    bare = "pool_size"
    pool_size: Sizes = [2]
    strides: Sizes | None = None
    padding: Padding = "valid"


class Conv1D(Component):
    """Windows of `kernel_size` steps times a kernel, (steps, channels) to (steps, filters).

    Glorot-uniform kernel, zero bias. Padding `same` is TensorFlow's: what cannot be halved goes to the end.
    """

    kind = "conv1d"
    switchable = {"kernel_regularizer": None}
    filters: Count
    kernel_size: Count
    strides: Count = 1
    padding: Padding = "valid"
    activation: Activation = "linear"
    use_bias: bool = True
    kernel_regularizer: Regularizer | None = None


class Conv2D(Component):
    """Windows of `kernel_size` times a kernel, (height, width, channels) to (height, width, filters).

    Glorot-uniform kernel, zero bias. Padding `same` is TensorFlow's: what cannot be halved goes to the end.
    `kernel_size` and `strides` are one number for both axes, or a list of two.
    """

    kind = "conv2d"
    switchable = {"kernel_regularizer": None}
    filters: Count
    kernel_size: Sizes
    strides: Sizes = [1]
    padding: Padding = "valid"
    activation: Activation = "linear"
    use_bias: bool = True
    kernel_regularizer: Regularizer | None = None


class Lstm(Component):
    """Long short-term memory (Hochreiter & Schmidhuber 1997), step after step over (steps, features).

    Gates in Keras's order: input, forget, cell, output. Glorot-uniform kernel, orthogonal recurrent kernel,
    zero bias, but 1 for the forget gate with `unit_forget_bias`. Gives the last step, or with
    `return_sequences` all. Padding is not masked.
    """

    kind = "lstm"
    bare = "units"
    units: Count
    activation: Activation = "tanh"
    recurrent_activation: Activation = "sigmoid"
    use_bias: bool = True
    unit_forget_bias: bool = True
    return_sequences: bool = False


class Gru(Component):
    """Gated recurrent unit (Cho et al. 2014), step after step over (steps, features).

    Gates in Keras's order: update, reset, candidate. `reset_after` resets after the recurrent product, which
    then has its own bias. Glorot-uniform kernel, orthogonal recurrent kernel, zero biases. Gives the
    last step, or with `return_sequences` all. Padding is not masked.
    """

    kind = "gru"
    bare = "units"
    units: Count
    activation: Activation = "tanh"
    recurrent_activation: Activation = "sigmoid"
    use_bias: bool = True
    reset_after: bool = True
    return_sequences: bool = False


class BatchNormalization(Component):
    """(x - mean) / sqrt(variance + epsilon) of each number along the last axis, then scaled and centred.

    While training mean and variance are the batch's (variance with ddof 0). Afterwards they are moving ones,
    moved by each batch: moving = momentum * moving + (1 - momentum) * batch. (PyTorch's momentum is 1 minus
    Keras's, its epsilon 1e-5, and its moving variance has ddof 1.)
    """

    kind = "batch_normalization"
    momentum: Decay = 0.99
    epsilon: Positive = 1e-3
    center: bool = True
    scale: bool = True


class LayerNormalization(Component):
    """(x - mean) / sqrt(variance + epsilon) along the last axis of each row, then scaled and centred.

    (PyTorch's epsilon is 1e-5.)
    """

    kind = "layer_normalization"
    epsilon: Positive = 1e-3
    center: bool = True
    scale: bool = True


class ActivationLayer(Component):
    """An activation function on its own: `activation: relu`."""

    kind = "activation"
    bare = "activation"
    activation: Activation


Layer = Annotated[
    Union[
        Dense,
        Dropout,
        Embedding,
        Flatten,
        Reshape,
        GlobalAveragePooling,
        MaxPooling,
        Conv1D,
        Conv2D,
        Lstm,
        Gru,
        BatchNormalization,
        LayerNormalization,
        ActivationLayer,
        Custom,
    ],
    COMPONENT,
]


def regularizers(layer: Component) -> dict[str, Component | None]:
    """The regularizers that a layer may have, by their fields: `kernel_regularizer` and so on."""
    fields = [name for name in type(layer).model_fields if name.endswith("_regularizer")]
    return {name: getattr(layer, name) for name in fields}
