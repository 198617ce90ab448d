"""What a layer says of its weights: their first values, penalties on them, limits of them, as in Keras.

Axes of a constraint are those of Keras's arrays, whatever the order of axes in a weights file: (in, out) of a
dense kernel, (height, width, in, out) of a convolution's.
"""

from typing import Annotated, Literal, Union

from pydantic import Field

from nnrun.spec.schema.component import (
    COMPONENT,
    ONE_SIZE_IS_ENOUGH,
    Component,
    Finite,
    NonNegative,
    NonNegativeInt,
    Positive,
)

# --- first values ------------------------------------------------------------------------------------------


class Zeros(Component):
    """All 0."""

    kind = "zeros"


class Ones(Component):
    """All 1."""

    kind = "ones"


class ConstantValue(Component):
    """All one value."""

    kind = "constant"
    bare = "value"
    value: Finite = 0.0


class RandomUniform(Component):
    """Uniform numbers from `minval` to `maxval`."""

    kind = "random_uniform"
    minval: Finite = -0.05
    maxval: Finite = 0.05


class RandomNormal(Component):
    """Normal numbers."""

    kind = "random_normal"
    mean: Finite = 0.0
    stddev: NonNegative = 0.05


class TruncatedNormal(Component):
    """Normal numbers; those more than two standard deviations from the mean are drawn again."""

    kind = "truncated_normal"
    mean: Finite = 0.0
    stddev: NonNegative = 0.05


class VarianceScaling(Component):
    """Random numbers of mean 0 and variance scale / n: n is the fan in, the fan out, or their mean.

    A truncated normal distribution is made wider, so that its variance is that one; a uniform one goes from
    -sqrt(3 * variance) to sqrt(3 * variance).
    """

    kind = "variance_scaling"
    scale: Positive = 1.0
    mode: Literal["fan_in", "fan_out", "fan_avg"] = "fan_in"
    distribution: Literal["truncated_normal", "untruncated_normal", "uniform"] = "truncated_normal"


class GlorotUniform(Component):
    """Variance scaling with fan_avg, uniform: up to sqrt(6 / (fan_in + fan_out)) (Glorot & Bengio 2010)."""

    kind = "glorot_uniform"


class GlorotNormal(Component):
    """Variance scaling with fan_avg, truncated normal."""

    kind = "glorot_normal"


class HeUniform(Component):
    """Variance scaling with scale 2 and fan_in, uniform (He et al. 2015)."""

    kind = "he_uniform"


class HeNormal(Component):
    """Variance scaling with scale 2 and fan_in, truncated normal (He et al. 2015)."""

    kind = "he_normal"


class LecunUniform(Component):
    """Variance scaling with fan_in, uniform."""

    kind = "lecun_uniform"


class LecunNormal(Component):
    """Variance scaling with fan_in, truncated normal."""

    kind = "lecun_normal"


class Orthogonal(Component):
    """A random matrix with orthonormal rows or columns, whichever are fewer, times `gain` (Saxe et al. 2013).

    Of a kernel with more than two axes the last is one side of the matrix, all others are the other.
    """

    kind = "orthogonal"
    bare = "gain"
    gain: Finite = 1.0


class Identity(Component):
    """1 on the diagonal of a matrix and 0 elsewhere, times `gain`."""

    kind = "identity"
    bare = "gain"
    gain: Finite = 1.0


# Each number by itself, whatever the shape.
_OfAnyShape = Union[
    GlorotUniform,
    GlorotNormal,
    HeUniform,
    HeNormal,
    LecunUniform,
    LecunNormal,
    VarianceScaling,
    RandomUniform,
    RandomNormal,
    TruncatedNormal,
    Zeros,
    Ones,
    ConstantValue,
]
Initializer = Annotated[Union[_OfAnyShape, Orthogonal, Identity], COMPONENT]
"""Of a matrix."""
KernelInitializer = Annotated[Union[_OfAnyShape, Orthogonal], COMPONENT]
"""Of an array with more than two axes."""
BiasInitializer = Annotated[_OfAnyShape, COMPONENT]
"""Of a vector."""


# --- penalties ---------------------------------------------------------------------------------------------


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


# --- limits ------------------------------------------------------------------------------------------------

Axes = Annotated[list[NonNegativeInt], Field(min_length=1), ONE_SIZE_IS_ENOUGH]


class MaxNorm(Component):
    """After each update, scale what is longer than `max_value` along the axes down to that (L2 norm)."""

    kind = "max_norm"
    bare = "max_value"
    max_value: Positive = 2.0
    axis: Axes = [0]


class NonNeg(Component):
    """After each update, set what is negative to 0."""

    kind = "non_neg"


class UnitNorm(Component):
    """After each update, scale to length 1 along the axes (L2 norm)."""

    kind = "unit_norm"
    bare = "axis"
    axis: Axes = [0]


class MinMaxNorm(Component):
    """After each update, bring the length along the axes between two values (L2 norm).

    With a `rate` below 1 only that share of the way.
    """

    kind = "min_max_norm"
    min_value: NonNegative = 0.0
    max_value: Positive = 1.0
    rate: Annotated[float, Field(gt=0, le=1)] = 1.0
    axis: Axes = [0]


Constraint = Annotated[Union[MaxNorm, NonNeg, UnitNorm, MinMaxNorm], COMPONENT]
