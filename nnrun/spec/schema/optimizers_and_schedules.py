"""The optimizers, the schedules of their learning rate, and gradient clipping."""

from __future__ import annotations

from typing import Annotated, Any, Union

from pydantic import Field, model_validator

from nnrun.spec.schema.component import (
    COMPONENT,
    Component,
    Config,
    Count,
    Decay,
    Fraction,
    NonNegative,
    NonNegativeInt,
    Positive,
    Share,
)


class RmsProp(Component):
    """Epsilon is inside the root: w -= learning_rate * g / sqrt(v + epsilon)."""

    kind = "rmsprop"
    bare = "learning_rate"
    learning_rate: Positive = 0.001
    rho: Decay = 0.9
    momentum: Decay = 0.0
    epsilon: Positive = 1e-7
    centered: bool = False


class Sgd(Component):
    """Gradient descent, with momentum where `momentum` is not 0."""

    kind = "sgd"
    bare = "learning_rate"
    learning_rate: Positive = 0.01
    momentum: Decay = 0.0
    nesterov: bool = False


class Adam(Component):
    """Epsilon is outside the root and is not scaled by the bias correction (Keras's 'epsilon hat')."""

    kind = "adam"
    bare = "learning_rate"
    learning_rate: Positive = 0.001
    beta_1: Decay = 0.9
    beta_2: Decay = 0.999
    epsilon: Positive = 1e-7
    amsgrad: bool = False


class AdamW(Component):
    """Adam with decoupled weight decay: w -= learning_rate * weight_decay * w each step, biases too."""

    kind = "adamw"
    bare = "learning_rate"
    learning_rate: Positive = 0.001
    weight_decay: NonNegative = 0.004
    beta_1: Decay = 0.9
    beta_2: Decay = 0.999
    epsilon: Positive = 1e-7
    amsgrad: bool = False


class Adagrad(Component):
    """Epsilon is inside the root; the accumulator starts at `initial_accumulator_value`."""

    kind = "adagrad"
    bare = "learning_rate"
    learning_rate: Positive = 0.001
    initial_accumulator_value: NonNegative = 0.1
    epsilon: Positive = 1e-7


Optimizer = Annotated[
    Union[
        RmsProp,
        Sgd,
        Adam,
        AdamW,
        Adagrad,
    ],
    COMPONENT,
]


#
# A rate holds for a whole epoch: it follows from the number of the epoch and from the history before it, and
# from nothing else, so that an epoch boundary is a complete state. `rate` below is the optimizer's.


class Step(Component):
    """rate * factor ** n after every n-th `every` epochs: `step: 10` divides it by 10 every 10 epochs."""

    kind = "step"
    bare = "every"
    every: Count
    factor: Share = 0.1


class Exponential(Component):
    """rate * factor ** n after n epochs (Keras's `ExponentialDecay` with one epoch as `decay_steps`)."""

    kind = "exponential"
    bare = "factor"
    factor: Share


class Cosine(Component):
    """Half a cosine from the rate down to `minimum` * rate (Keras's `CosineDecay` at the epochs' beginnings).

    It takes `epochs`, by default all that the spec trains for (after a warm-up), and then stays there.
    """

    kind = "cosine"
    bare = "epochs"
    epochs: Count | None = None
    minimum: Decay = 0.0


class ReduceOnPlateau(Component):
    """Keras's `ReduceLROnPlateau`, for each fold or seed separately.

    rate * `factor`, not below `min_learning_rate`, once `monitor` has not improved by more than `min_delta`
    for `patience` epochs; then `cooldown` epochs of grace.
    """

    kind = "reduce_on_plateau"
    bare = "patience"
    monitor: str = "val_loss"
    factor: Fraction = 0.1
    patience: NonNegativeInt = 10
    min_delta: NonNegative = 1e-4
    cooldown: NonNegativeInt = 0
    min_learning_rate: NonNegative = 0.0


class Warmup(Component):
    """From `start` * rate up to the rate, linearly over `epochs` epochs.

    An epoch has the rate of its middle: half the rate for a warm-up of one epoch from 0.
    """

    kind = "warmup"
    bare = "epochs"
    epochs: Count = 1
    start: Decay = 0.0


class Rates(Component):
    """The rate of each epoch, written out; after the last it stays. The optimizer's rate is not used."""

    kind = "rates"
    bare = "rates"
    rates: Annotated[list[NonNegative], Field(min_length=1)]


LearningRateSchedule = Annotated[
    Union[
        Step,
        Exponential,
        Cosine,
        ReduceOnPlateau,
        Warmup,
        Rates,
    ],
    COMPONENT,
]


class GradientClip(Config):
    """One of two limits. A bare number is a `norm`.

    `norm`: where the norm of all gradients of a network is larger, all are scaled down to it (Keras's
    `global_clipnorm`). `value`: no entry of a gradient is larger, or smaller than its negative (`clipvalue`).
    """

    bare = "norm"
    norm: Positive | None = None
    value: Positive | None = None

    @model_validator(mode="before")
    @classmethod
    def _a_number_is_a_norm(cls, value: Any) -> Any:
        is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
        return {"norm": value} if is_number else value
