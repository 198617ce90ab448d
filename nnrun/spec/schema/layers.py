"""The layers of a network, with their activations and regularizers."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Annotated, Literal, Union

from pydantic import BeforeValidator, Discriminator, Field, Tag

from nnrun.spec.schema.component import (
    ALIASES,
    CHAIN,
    CHAINS,
    COMPONENT,
    ONE_SIZE_IS_ENOUGH,
    Component,
    Count,
    Custom,
    Decay,
    NonNegative,
    Positive,
)
from nnrun.spec.schema.layer_shapes import (
    IMAGE,
    STEPS,
    LayerInput,
    Shape,
    ShapeError,
    along,
    image_advice,
    needs,
    shape_text,
    size_of,
    window_counts,
)
from nnrun.spec.schema.merges import (
    Add,
    AnyMerge,
    Average,
    Concatenate,
    Dot,
    From,
    Maximum,
    Merging,
    Minimum,
    Multiply,
    Subtract,
)

ActivationName = Literal[
    "linear", "relu", "tanh", "sigmoid", "softmax", "elu", "selu", "gelu", "swish", "softplus", "leaky_relu",
    "relu6", "celu", "mish", "glu", "exponential", "softsign", "squareplus", "hard_sigmoid", "hard_silu",
    "hard_tanh", "hard_shrink", "soft_shrink", "tanh_shrink", "log_sigmoid", "log_softmax", "sparse_plus",
    "sparse_sigmoid", "sparsemax",
]  # fmt: skip
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


class NetworkLayer(Component):
    """Base of the layers: how the shape of a row changes, so that a spec can be checked without its data."""

    def output_shape(self, taken: LayerInput) -> Shape:
        """The shape of a row that the layer gives.

        Raises:
            ShapeError: the layer cannot take such rows.
        """
        return taken.shape


class Dense(NetworkLayer):
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

    def output_shape(self, taken: LayerInput) -> Shape:
        """The last axis becomes the units."""
        return (*taken.shape[:-1], self.units)


class Dropout(NetworkLayer):
    """While training, zero a share `rate` of the inputs and scale the rest by 1 / (1 - rate)."""

    kind = "dropout"
    bare = "rate"
    rate: Annotated[float, Field(ge=0, lt=1)]


class Embedding(NetworkLayer):
    """A learned vector of `output_dim` numbers for each word index. The first layer, after `pad`.

    Word indices are below `input_dim`; default: the data set's num_words, else what the training rows need.
    Uniform from -0.05 to 0.05 at first. Padding is a word like any other (Keras's mask_zero: false).
    """

    kind = "embedding"
    bare = "output_dim"
    output_dim: Count
    input_dim: Count | None = None

    def output_shape(self, taken: LayerInput) -> Shape:
        """A vector for each index."""
        if taken.before is not None:
            raise ShapeError(
                f"embedding looks up word indices, so it is the first layer; {taken}, which are no longer "
                "indices; move it to the top"
            )
        return (*taken.shape, self.output_dim)


class Flatten(NetworkLayer):
    """All numbers of a row one after the other, the last axis fastest."""

    kind = "flatten"

    def output_shape(self, taken: LayerInput) -> Shape:
        """One axis."""
        return (size_of(taken.shape),)


class Reshape(NetworkLayer):
    """The numbers of a row in another shape, the last axis fastest. One size may be -1: what is left over."""

    kind = "reshape"
    bare = "target_shape"
    target_shape: Annotated[list[Annotated[int, Field(ge=-1)]], Field(min_length=1)]

    def output_shape(self, taken: LayerInput) -> Shape:
        """The target shape, where the numbers are as many."""
        target, text, key = self.target_shape, shape_text(tuple(self.target_shape)), "target_shape"
        if 0 in target or target.count(-1) > 1:
            raise ShapeError(
                f"reshape to {text}: sizes are 1 or more, and one of them may be -1 (what is left over)", key
            )
        numbers, known = size_of(taken.shape), math.prod(size for size in target if size > 0)
        if numbers is None:
            return tuple(None if size == -1 else size for size in target)
        if numbers % known or (-1 not in target and numbers != known):
            held = f"does not divide {numbers:,}" if -1 in target else f"holds {known:,} numbers"
            raise ShapeError(
                f"reshape to {text} {held}; {taken}, {numbers:,} numbers; they must be as many", key
            )
        return tuple(numbers // known if size == -1 else size for size in target)


class GlobalAveragePooling(NetworkLayer):
    """The mean over all axes but the last: over the steps, or over height and width."""

    kind = "global_average_pooling"

    def output_shape(self, taken: LayerInput) -> Shape:
        """The last axis."""
        if len(taken.shape) < 2:
            raise needs(self, f"{STEPS} or {IMAGE}", "there is nothing to average; remove it", taken)
        return (taken.shape[-1],)


class MaxPooling(NetworkLayer):
    """The largest number of each window, channel by channel, along the steps or along height and width.

    `pool_size` and `strides` are one number for every axis, or a list; default for `strides`: the pool size.
    """

    kind = "max_pooling"
    bare = "pool_size"
    pool_size: Sizes = [2]
    strides: Sizes | None = None
    padding: Padding = "valid"

    def output_shape(self, taken: LayerInput) -> Shape:
        """As many windows as there are along each axis, and the channels."""
        axes = len(taken.shape) - 1
        if axes not in (1, 2):
            raise needs(self, f"{STEPS} or {IMAGE}", image_advice(taken.shape), taken)
        strides = self.strides or self.pool_size
        for key, sizes in (("pool_size", self.pool_size), ("strides", strides)):
            if len(sizes) > axes:
                raise ShapeError(
                    f"max_pooling with {key} {sizes} needs {IMAGE} per row; {taken}; give one number", key
                )
        window = along(self.pool_size, axes)
        counts = window_counts(self, "pool_size", window, along(strides, axes), self.padding, taken)
        return (*counts, taken.shape[-1])


class Conv1D(NetworkLayer):
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

    def output_shape(self, taken: LayerInput) -> Shape:
        """As many windows as there are, and the filters."""
        _sequence(self, taken)
        window, strides = [self.kernel_size], [self.strides]
        return (*window_counts(self, "kernel_size", window, strides, self.padding, taken), self.filters)


class Conv2D(NetworkLayer):
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

    def output_shape(self, taken: LayerInput) -> Shape:
        """As many windows as there are along each axis, and the filters."""
        if len(taken.shape) != 3:
            raise needs(self, IMAGE, image_advice(taken.shape), taken)
        window, strides = along(self.kernel_size, 2), along(self.strides, 2)
        return (*window_counts(self, "kernel_size", window, strides, self.padding, taken), self.filters)


class Lstm(NetworkLayer):
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

    def output_shape(self, taken: LayerInput) -> Shape:
        """The units of the last step, or of every step."""
        steps, _ = _sequence(self, taken)
        return (steps, self.units) if self.return_sequences else (self.units,)


class Gru(NetworkLayer):
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

    def output_shape(self, taken: LayerInput) -> Shape:
        """The units of the last step, or of every step."""
        steps, _ = _sequence(self, taken)
        return (steps, self.units) if self.return_sequences else (self.units,)


class BatchNormalization(NetworkLayer):
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


class LayerNormalization(NetworkLayer):
    """(x - mean) / sqrt(variance + epsilon) along the last axis of each row, then scaled and centred.

    (PyTorch's epsilon is 1e-5.)
    """

    kind = "layer_normalization"
    epsilon: Positive = 1e-3
    center: bool = True
    scale: bool = True


class ActivationLayer(NetworkLayer):
    """An activation function on its own: `activation: relu`.

    `glu` (gated linear unit, Dauphin et al. 2017) is possible only here, because it halves the last axis: the
    first half times the sigmoid of the second.
    """

    kind = "activation"
    bare = "activation"
    activation: Activation

    def output_shape(self, taken: LayerInput) -> Shape:
        """As the layer takes it; with `glu` half of the last axis."""
        if self.activation != "glu":
            return taken.shape
        *others, last = taken.shape
        if last is not None and last % 2:
            raise ShapeError(
                f"glu halves the last axis, so its size must be even; {taken}; use an even number of units",
                "activation",
            )
        return (*others, None if last is None else last // 2)


class Use(Component):
    """All layers of a shared chain, here. Wherever a chain is used, it has the same weights."""

    kind = "use"
    bare = "chain"
    chain: str


class Residual(Merging):
    """What comes in, added to what these layers make of it (He et al. 2015). They must keep its shape."""

    kind = "residual"
    bare = "layers"
    layers: Annotated[list[ChainItem], Field(min_length=1)]

    def output_shape(self, taken: Sequence[LayerInput]) -> Shape:
        """The shape that comes in."""
        into, given = (t.shape for t in taken)
        pairs = zip(into, given, strict=False)
        if len(into) != len(given) or any(None not in sizes and len(set(sizes)) > 1 for sizes in pairs):
            raise ShapeError(
                f"residual adds what comes in, {shape_text(into)}, to what its layers give, "
                f"{shape_text(given)}; they must keep the shape: give the last of them as many units or "
                "filters, and padding: same"
            )
        return into


class Parallel(Merging):
    """What comes in goes through every branch, and what they give is merged, as in an inception block.

    An empty branch gives what comes in.
    """

    kind = "parallel"
    bare = "branches"
    branches: Annotated[list[list[ChainItem]], Field(min_length=2)]
    merge: AnyMerge = Concatenate()

    def output_shape(self, taken: Sequence[LayerInput]) -> Shape:
        """What the merge gives."""
        try:
            return self.merge.output_shape(taken)
        except ShapeError as error:
            raise ShapeError(f"parallel: {error}", "merge") from None


_AnyLayer = Union[
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
]
Layer = Annotated[_AnyLayer, COMPONENT]

ChainItem = Annotated[
    Union[
        _AnyLayer,
        Use,
        Residual,
        Parallel,
        From,
        Concatenate,
        Add,
        Subtract,
        Multiply,
        Average,
        Maximum,
        Minimum,
        Dot,
    ],
    COMPONENT,
]
"""What stands in a chain: layers, what contains layers, and, as its first item, where it begins."""
Residual.model_rebuild()
Parallel.model_rebuild()

Chain = Annotated[list[ChainItem], Field(min_length=1)]

Layers = Annotated[
    Union[
        Annotated[Chain, Tag(CHAIN)],
        Annotated[dict[str, Chain], Field(min_length=1), Tag(CHAINS)],
    ],
    Discriminator(lambda value: CHAINS if isinstance(value, Mapping) else CHAIN),
]


def regularizers(layer: Component) -> dict[str, Component | None]:
    """The regularizers that a layer may have, by their fields: `kernel_regularizer` and so on."""
    fields = [name for name in type(layer).model_fields if name.endswith("_regularizer")]
    return {name: getattr(layer, name) for name in fields}


def _sequence(layer: Component, taken: LayerInput) -> Shape:
    """Steps and features; ShapeError, with what to do, for rows of another form."""
    before = taken.before
    if len(taken.shape) == 2:
        return taken.shape
    if len(taken.shape) > 2:
        advice = "reshape makes (steps, features) of them"
    elif isinstance(before, (Lstm, Gru)):
        advice = f"set return_sequences: true in the {before.kind} before it"
    elif isinstance(before, (Flatten, GlobalAveragePooling)):
        advice = f"remove {before.kind}, or put it after {layer.kind}"
    elif before is None:
        advice = "for words put embedding before it, for a table reshape, such as reshape: [-1, 1]"
    else:
        advice = f"put {before.kind} after it, or reshape before it, such as reshape: [-1, 1]"
    raise needs(layer, STEPS, advice, taken)
