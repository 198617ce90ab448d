"""The losses, and the class weights that multiply them."""

from collections.abc import Mapping
from typing import Annotated, ClassVar, Literal, Union

from pydantic import Discriminator, Field, Tag

from nnrun.spec.schema.component import (
    COMPONENT,
    MAP,
    ONE_IS_ENOUGH,
    WORD,
    Component,
    Custom,
    Decay,
    Fraction,
    NonNegative,
    Positive,
)


class ClassLoss(Component):
    """Base of the losses of classes and labels.

    Class attributes:
        target_step: the step that gives labels the form which the loss compares with; the default of a spec.
        last_activation: the activation of the last layer that gives the probabilities which it compares; of
            scores the one that decides alike, by their sign (`sigmoid`) or by the largest (`softmax`).
        score_activations: for a loss of scores, which are no probabilities, the last activations that it is
            made for, the usual one first.
    """

    target_step: ClassVar[Literal["one_hot", "class_index", "none"]] = "none"
    last_activation: ClassVar[Literal["sigmoid", "softmax"]] = "sigmoid"
    score_activations: ClassVar[tuple[str, ...]] = ()


class BinaryCrossentropy(ClassLoss):
    """For 0/1 targets and sigmoid outputs.

    `label_smoothing` s trains and validates against targets * (1 - s) + s / 2.
    """

    kind = "binary_crossentropy"
    label_smoothing: Decay = 0.0


class CategoricalCrossentropy(ClassLoss):
    """For one-hot targets and a softmax output.

    `label_smoothing` s trains and validates against targets * (1 - s) + s / K, for K classes.
    """

    kind = "categorical_crossentropy"
    target_step = "one_hot"
    last_activation = "softmax"
    label_smoothing: Decay = 0.0


class SparseCategoricalCrossentropy(ClassLoss):
    """For class indices and a softmax output.

    `label_smoothing` is that of `categorical_crossentropy` on the same classes, one-hot.
    """

    kind = "sparse_categorical_crossentropy"
    target_step = "class_index"
    last_activation = "softmax"
    label_smoothing: Decay = 0.0


class BinaryFocalCrossentropy(ClassLoss):
    """(1 - p)^gamma times the binary cross-entropy, p the probability of the right answer (Lin et al. 2017).

    Easy rows count less. With `apply_class_balancing` 1 is weighted by `alpha` and 0 by 1 - `alpha`.
    """

    kind = "binary_focal_crossentropy"
    gamma: NonNegative = 2.0
    apply_class_balancing: bool = False
    alpha: Decay = 0.25
    label_smoothing: Decay = 0.0


class CategoricalFocalCrossentropy(ClassLoss):
    """alpha * (1 - p)^gamma times the categorical cross-entropy, p the probability of the right class."""

    kind = "categorical_focal_crossentropy"
    target_step = "one_hot"
    last_activation = "softmax"
    gamma: NonNegative = 2.0
    alpha: Decay = 0.25
    label_smoothing: Decay = 0.0


class KlDivergence(ClassLoss):
    """Kullback-Leibler divergence of a softmax output from shares of the classes: sum(y * log(y / p)).

    From one-hot targets it is the categorical cross-entropy. (Keras adds 1e-7 to shares of 0, which changes
    the value by less than 1e-5.)
    """

    kind = "kl_divergence"
    target_step = "one_hot"
    last_activation = "softmax"


class Hinge(ClassLoss):
    """max(1 - y * score, 0), with y = -1 for the target 0: a margin of 1 around a score of 0.

    For scores of any size, from `linear` or `tanh`; a score above 0 says yes.
    """

    kind = "hinge"
    score_activations = ("linear", "tanh")


class SquaredHinge(ClassLoss):
    """The square of `hinge`, which punishes scores far on the wrong side more."""

    kind = "squared_hinge"
    score_activations = ("linear", "tanh")


class CategoricalHinge(ClassLoss):
    """max(1 + other - right, 0): the right class's score against the largest of the others, at least 0.

    For one-hot targets and scores of any size, from `linear` or `tanh`; the largest score says the class.
    """

    kind = "categorical_hinge"
    target_step = "one_hot"
    last_activation = "softmax"
    score_activations = ("linear", "tanh")


class Dice(ClassLoss):
    """1 - 2 * sum(y * p) / (sum(y) + sum(p)), over the labels of each row.

    For several labels (`sigmoid`) or one-hot classes (`softmax`). It is Keras's `Dice(axis=-1)`. Keras's
    default sums over all rows of a batch, so that what a row adds depends on the rows beside it; here, as for
    every loss, it does not, and row weights and batch sizes keep their meaning.
    """

    kind = "dice"


class Tversky(ClassLoss):
    """1 - tp / (tp + alpha * missed + beta * wrong), over the labels of each row (Salehi et al. 2017).

    tp = sum(y * p), missed = sum(y * (1 - p)), wrong = sum((1 - y) * p). With `alpha` and `beta` of 0.5 it is
    `dice`. As that it is Keras's with `axis=-1`. (Keras's documentation calls alpha the weight of false
    positives; its code, which is followed here, weights false negatives by it.)
    """

    kind = "tversky"
    alpha: NonNegative = 0.5
    beta: NonNegative = 0.5


class Mse(Component):
    """Mean squared error."""

    kind = "mse"


class Mae(Component):
    """Mean absolute error."""

    kind = "mae"


class Huber(Component):
    """Squared below `delta`, linear above."""

    kind = "huber"
    bare = "delta"
    delta: Positive = 1.0


class LogCosh(Component):
    """log(cosh(error)): half the square of small errors, the size of large ones less log(2)."""

    kind = "log_cosh"


class Mape(Component):
    """Mean absolute percentage error: 100 * |error| / |target|. Targets of 0 count as 1e-7."""

    kind = "mape"


class Msle(Component):
    """Mean squared error of log(1 + value), for targets of 0 and more. Negative outputs count as 0."""

    kind = "msle"


class Poisson(Component):
    """p - y * log(p): up to a constant, how unlikely a count y is where p are expected.

    The output must be above 0, as from `exponential` or `softplus`.
    """

    kind = "poisson"


class CosineSimilarity(Component):
    """Minus the cosine of the angle between a row's outputs and targets: -1 for the same direction."""

    kind = "cosine_similarity"


class Quantile(Component):
    """Pinball loss, whose best constant is a quantile: q * error above the output, (1 - q) * error below it.

    `quantile` is one for all outputs, or a list with one for each. `quantiles` are several of one number,
    ascending: the last layer has a unit for each, and the loss is the mean over them. Metrics then take the
    median, so 0.5 must be among them; `d2` takes the quantile that it is of. Predictions have a column for
    each, `prediction_q10` for 0.1. (Not in Keras.)
    """

    kind = "quantile"
    bare = "quantile"
    quantile: Annotated[list[Fraction], Field(min_length=1), ONE_IS_ENOUGH] = [0.5]
    quantiles: Annotated[list[Fraction], Field(min_length=2)] | None = Field(None, examples=[[0.1, 0.5, 0.9]])

    @property
    def levels(self) -> list[float]:
        """The quantile of each output, or one for all."""
        return self.quantile if self.quantiles is None else self.quantiles


class Ctc(Component):
    """Connectionist temporal classification (Graves et al. 2006): reads a sequence of classes from steps.

    The output is (steps, K) without activation, class 0 the blank. A row's target is a list of classes from 1
    to K - 1, shorter than its steps, that need not say where each stands. The loss of a row is the negative
    logarithm of the probability of all ways to spread its classes over the steps.
    """

    kind = "ctc"


Loss = Annotated[
    Union[
        BinaryCrossentropy,
        CategoricalCrossentropy,
        SparseCategoricalCrossentropy,
        Mse,
        Mae,
        Huber,
        BinaryFocalCrossentropy,
        CategoricalFocalCrossentropy,
        KlDivergence,
        Hinge,
        SquaredHinge,
        CategoricalHinge,
        Dice,
        Tversky,
        LogCosh,
        Mape,
        Msle,
        Poisson,
        CosineSimilarity,
        Quantile,
        Ctc,
        Custom,
    ],
    COMPONENT,
]


def target_step_of(loss: Component) -> Literal["one_hot", "class_index", "none"] | None:
    """The step that the targets of a loss of classes go through; None for any other loss."""
    if isinstance(loss, Ctc):
        return "class_index"
    return loss.target_step if isinstance(loss, ClassLoss) else None


def in_own_units(loss: Component) -> bool:
    """Whether a loss grows with the unit of its target, so that it is larger for grams than for kilograms."""
    return isinstance(loss, Mse | Mae | Huber | LogCosh | Quantile | Poisson)


def takes_standardized(loss: Component) -> bool:
    """Whether a loss may compare with standardized targets, which can be negative."""
    return in_own_units(loss) and not isinstance(loss, Poisson)


def linear_model_of(loss: Component) -> Literal["ridge", "logistic"] | None:
    """The linear model that a network trained on this loss is compared with; None where there is none.

    The output of `ridge` is any number, which these losses take; `logistic` gives probabilities.
    """
    if isinstance(loss, ClassLoss):
        return None if loss.score_activations else "logistic"
    return "ridge" if isinstance(loss, Mse | Mae | Huber | LogCosh | Mape | Msle) else None


def last_activation_of(loss: Component) -> Literal["sigmoid", "softmax"] | None:
    """The last activation that a loss of classes needs; None for any other loss."""
    return loss.last_activation if isinstance(loss, ClassLoss) else None


def quantiles_of(loss: Component) -> list[float]:
    """The quantiles of one number that outputs learn side by side; none of any other loss."""
    return (loss.quantiles or []) if isinstance(loss, Quantile) else []


def is_of_scores(loss: Component) -> bool:
    """Whether a loss of classes learns scores, which are no probabilities."""
    return isinstance(loss, ClassLoss) and bool(loss.score_activations)


def decision_activation(loss: Component, activation: str) -> str:
    """The last activation as metrics and predictions take it: the network's, but of scores the loss's."""
    return (is_of_scores(loss) and last_activation_of(loss)) or activation


ClassWeight = Annotated[
    Union[
        Annotated[Literal["balanced"], Tag(WORD)],
        Annotated[dict[str, NonNegative], Field(min_length=1), Tag(MAP)],
    ],
    Discriminator(
        lambda value: MAP if isinstance(value, Mapping) else WORD if isinstance(value, str) else None
    ),
]
