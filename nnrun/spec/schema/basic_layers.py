"""Dense layers, activations, and layers that give the same numbers in another shape."""

import math
from typing import Annotated, Union

from pydantic import Field

from nnrun.spec.schema.component import ONE_SIZE_IS_ENOUGH, Count, Finite, Positive
from nnrun.spec.schema.layer_shapes import (
    Activation,
    LayerInput,
    NetworkLayer,
    Shape,
    ShapeError,
    needs,
    shape_text,
    size_of,
)
from nnrun.spec.schema.weight_options import (
    BiasInitializer,
    Constraint,
    GlorotUniform,
    Initializer,
    KernelInitializer,
    Regularizer,
    Zeros,
)


class Dense(NetworkLayer):
    """activation(x @ kernel + bias). Glorot-uniform kernel, zero bias.

    Of rows with more than one axis the last is multiplied, alike at each position along the others.
    """

    kind = "dense"
    ensemble = "own"
    mask = "keeps"
    ranks = {"kernel": 2, "bias": 1}
    bare = "units"
    units: Count
    activation: Activation = "linear"
    use_bias: bool = True
    kernel_initializer: Initializer = GlorotUniform()
    bias_initializer: BiasInitializer = Zeros()
    kernel_regularizer: Regularizer | None = None
    bias_regularizer: Regularizer | None = None
    activity_regularizer: Regularizer | None = None
    kernel_constraint: Constraint | None = None
    bias_constraint: Constraint | None = None

    def output_shape(self, taken: LayerInput) -> Shape:
        """The last axis becomes the units."""
        return (*taken.shape[:-1], self.units)


class ActivationLayer(NetworkLayer):
    """An activation function on its own: `activation: relu`.

    `glu` (gated linear unit, Dauphin et al. 2017) is possible only here, because it halves the last axis: the
    first half times the sigmoid of the second.
    """

    kind = "activation"
    example = "relu"
    ensemble = "own"
    mask = "keeps"
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


class Flatten(NetworkLayer):
    """All numbers of a row one after the other, the last axis fastest."""

    kind = "flatten"
    ensemble = "own"
    flattens = True

    def output_shape(self, taken: LayerInput) -> Shape:
        """One axis."""
        return (size_of(taken.shape),)


class Reshape(NetworkLayer):
    """The numbers of a row in another shape, the last axis fastest. One size may be -1: what is left over."""

    kind = "reshape"
    example = [8, 8]
    ensemble = "own"
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


class Prelu(NetworkLayer):
    """max(x, 0) - alpha * max(-x, 0), alpha learned for each number of a row (He et al. 2015).

    Along `shared_axes`, counted from 1, one alpha serves all places: [1, 2] for the channels of images.
    """

    kind = "prelu"
    ensemble = "own"
    mask = "keeps"
    bare = "shared_axes"
    shared_axes: Annotated[list[Count], ONE_SIZE_IS_ENOUGH] = []
    alpha_initializer: KernelInitializer = Zeros()
    alpha_regularizer: Regularizer | None = None
    alpha_constraint: Constraint | None = None

    def output_shape(self, taken: LayerInput) -> Shape:
        """As the layer takes it."""
        beyond = [axis for axis in self.shared_axes if axis > len(taken.shape)]
        if beyond:
            raise ShapeError(
                f"prelu: there is no axis {beyond[0]}; {taken}, and axes are 1 to {len(taken.shape)}",
                "shared_axes",
            )
        return taken.shape


class Permute(NetworkLayer):
    """The axes of a row in another order, counted from 1: `permute: [2, 1]` exchanges two."""

    kind = "permute"
    example = [2, 1]
    ensemble = "own"
    bare = "dims"
    dims: Annotated[list[Count], Field(min_length=1)]

    def output_shape(self, taken: LayerInput) -> Shape:
        """The sizes in the new order."""
        axes = list(range(1, len(taken.shape) + 1))
        if sorted(self.dims) != axes:
            raise ShapeError(
                f"permute to {self.dims} names each axis of a row once; {taken}, and its axes are {axes}",
                "dims",
            )
        return tuple(taken.shape[axis - 1] for axis in self.dims)


class RepeatVector(NetworkLayer):
    """A row of numbers n times, as that many steps: (features) to (n, features)."""

    kind = "repeat_vector"
    example = 8
    ensemble = "own"
    bare = "n"
    n: Count

    def output_shape(self, taken: LayerInput) -> Shape:
        """n steps."""
        if len(taken.shape) != 1:
            raise needs(self, "(features)", "put flatten before it", taken)
        return (self.n, *taken.shape)


class Rescaling(NetworkLayer):
    """x * scale + offset."""

    kind = "rescaling"
    example = 0.1
    ensemble = "own"
    mask = "keeps"
    bare = "scale"
    scale: Finite
    offset: Finite = 0.0


class Periodic(NetworkLayer):
    """Each number x as cos(2 pi c x) and sin(2 pi c x) for several learned c (Gorishniy et al. 2022).

    A row of F numbers becomes one of F * 2 * `frequencies`, column by column the cosines, then the sines, for
    a dense layer to follow. At first c is normal with standard deviation `sigma`, which decides how fine the
    steps of a column are that can be told apart: try 0.01 to 1 on standardized columns. With `units` each
    column has a dense layer of its own, activation(waves @ kernel + bias), so that a row becomes one of
    F * `units` (`periodic: {units: 24}` is the PLR embedding of that paper).
    """

    kind = "periodic"
    ensemble = "same"
    bare = "frequencies"
    frequencies: Count = 48
    sigma: Positive = 0.01
    units: Count | None = None
    activation: Activation = "relu"
    kernel_initializer: Initializer = GlorotUniform()
    kernel_regularizer: Regularizer | None = None

    def output_shape(self, taken: LayerInput) -> Shape:
        """The numbers of all columns side by side."""
        if len(taken.shape) != 1:
            raise needs(self, "(features)", "put flatten before it", taken)
        (columns,) = taken.shape
        return (None if columns is None else columns * (self.units or 2 * self.frequencies),)


BasicLayer = Union[
    Dense, ActivationLayer, Prelu, Flatten, Reshape, Permute, RepeatVector, Rescaling, Periodic
]
