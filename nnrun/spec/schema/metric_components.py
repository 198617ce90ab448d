"""The metrics; and how probabilities are calibrated, and from which on a class is predicted."""

from typing import Annotated, Any, ClassVar, Literal, Union

from pydantic import BeforeValidator, Field, model_validator

from nnrun.spec.schema.component import (
    COMPONENT,
    Component,
    Config,
    Count,
    Custom,
    Finite,
    Fraction,
    Positive,
    component_name,
)


class BuiltInMetric(Component):
    """Base of the metrics, but for the custom ones.

    Class attributes:
        higher_is_better: whether the best epoch is that of the highest value.
    """

    higher_is_better: ClassVar[bool] = False


class ClassMetric(BuiltInMetric):
    """Base of the metrics of classes and labels, which need a sigmoid or softmax output.

    Class attributes:
        mean_over_classes: whether it is the positive class's where there is one output, and a mean over the
            classes where there are several, so that the two are different measures.
        of_probabilities: whether it measures probabilities, which scores are not.
        of_decisions: whether it only takes which class is predicted, so that a spec's `threshold` changes it.
    """

    higher_is_better = True
    mean_over_classes: ClassVar[bool] = False
    of_probabilities: ClassVar[bool] = False
    of_decisions: ClassVar[bool] = False


class NumberMetric(BuiltInMetric):
    """Base of the metrics of outputs as numbers. Of several columns, one-hot ones too, they are means.

    Class attributes:
        for_regression: whether it says nothing of classes, so that lint refuses it beside a loss of classes.
    """

    for_regression: ClassVar[bool] = False


class Accuracy(ClassMetric):
    """Share of correct predictions: binary at 0.5, categorical by argmax, depending on output and targets."""

    kind = "accuracy"
    of_decisions = True


class TopK(ClassMetric):
    """Share of rows whose true class is among the `k` most probable.

    Where classes are equally probable, a row counts by the chance that a fair draw among them is right.
    """

    kind = "top_k"
    example = 2
    bare = "k"
    k: Count = 5


class Precision(ClassMetric):
    """Right positives among predicted positives; for several classes, the plain mean over them (macro).

    The mean is over the classes that occur among the rows or the predictions, as in scikit-learn.

    Of several labels in one row all are counted together (micro), as Keras does.
    """

    kind = "precision"
    of_decisions = True
    mean_over_classes = True
    bare = "threshold"
    threshold: Fraction = 0.5


class Recall(ClassMetric):
    """Right positives among true positives; for several classes, the plain mean over them (macro).

    The mean is over the classes that occur among the rows or the predictions, as in scikit-learn.

    Of several labels in one row all are counted together (micro), as Keras does.
    """

    kind = "recall"
    of_decisions = True
    mean_over_classes = True
    bare = "threshold"
    threshold: Fraction = 0.5


class Auc(ClassMetric):
    """Area under the ROC curve, exact (as scikit-learn computes it; Keras approximates by 200 thresholds).

    For several classes, the plain mean of each class against the others, of those that the rows hold (macro,
    one-versus-rest). Of several labels in one row all are counted together (micro). Where there is only one
    class it is NaN.
    """

    kind = "auc"
    mean_over_classes = True


class F1(ClassMetric):
    """Harmonic mean of precision and recall; for several classes, the plain mean of each class's (macro).

    Of several labels in one row all are counted together (micro), as for `precision` and `recall`.
    """

    kind = "f1"
    of_decisions = True
    mean_over_classes = True
    bare = "threshold"
    threshold: Fraction = 0.5


class AveragePrecision(ClassMetric):
    """Area under the precision-recall curve, as scikit-learn's `average_precision_score`: exact, in steps.

    For several classes, the plain mean of each class against the others, of those that the rows hold (macro).
    Of several labels in one row all are counted together (micro). Where there are no positives it is NaN.
    """

    kind = "average_precision"
    mean_over_classes = True


class BalancedAccuracy(ClassMetric):
    """Mean recall over the classes that the rows hold; of labels, over no and yes."""

    kind = "balanced_accuracy"
    of_decisions = True


class Specificity(ClassMetric):
    """Right negatives among true negatives; for several classes, the plain mean over them (macro).

    The mean is over the classes that occur among the rows or the predictions, as for `recall`. Of several
    labels in one row all are counted together (micro).
    """

    kind = "specificity"
    of_decisions = True
    mean_over_classes = True
    bare = "threshold"
    threshold: Fraction = 0.5


class Mcc(ClassMetric):
    """Matthews correlation of predicted and true classes: 1 for perfect, 0 for chance.

    0 where all predictions, or all targets, are the same, as in scikit-learn.
    """

    kind = "mcc"
    of_decisions = True


class CohenKappa(ClassMetric):
    """Agreement of predicted and true classes beyond chance: 1 for perfect, 0 for chance.

    With `weights` a mistake counts by the distance of the classes' numbers, or by its square: for grades. NaN
    where chance cannot be wrong. (scikit-learn's `cohen_kappa_score` with all classes as `labels`.)
    """

    kind = "cohen_kappa"
    of_decisions = True
    bare = "weights"
    weights: Literal["none", "linear", "quadratic"] = "none"


class LogLoss(ClassMetric):
    """Mean of -log(probability of the true class), as scikit-learn's `log_loss`; of labels, over all of them.

    From the values before the last activation, so that no probability is rounded to 0. Unlike the loss it
    counts no weights, label smoothing or regularizers.
    """

    kind = "log_loss"
    higher_is_better = False
    of_probabilities = True


class Brier(ClassMetric):
    """Mean squared distance of probabilities from what is true, as scikit-learn's `brier_score_loss`.

    For several classes summed over them (0 to 2); of labels, the mean over all of them.
    """

    kind = "brier"
    higher_is_better = False
    of_probabilities = True
    mean_over_classes = True


class MaeMetric(NumberMetric):
    """Mean absolute error."""

    kind = "mae"


class MseMetric(NumberMetric):
    """Mean squared error."""

    kind = "mse"


class Rmse(NumberMetric):
    """Root of the mean squared error."""

    kind = "rmse"
    for_regression = True


class R2(NumberMetric):
    """Coefficient of determination: 1 for perfect, 0 for the mean predictor. NaN of a single row."""

    kind = "r2"
    for_regression = True
    higher_is_better = True


class MapeMetric(NumberMetric):
    """Mean absolute error in percent of the target, as Keras has it: 100 times scikit-learn's share.

    Targets of 0 count as 1e-7.
    """

    kind = "mape"
    for_regression = True


class MsleMetric(NumberMetric):
    """Mean squared error of log(1 + value). Values below 0, which scikit-learn refuses, count as 0."""

    kind = "msle"
    for_regression = True


class MedianAe(NumberMetric):
    """Median absolute error."""

    kind = "median_ae"
    for_regression = True


class ExplainedVariance(NumberMetric):
    """1 - variance of the errors / variance of the targets: `r2` without the mean error. NaN of one row."""

    kind = "explained_variance"
    for_regression = True
    higher_is_better = True


class Pearson(NumberMetric):
    """Correlation of outputs and targets; NaN where either are all the same."""

    kind = "pearson"
    for_regression = True
    higher_is_better = True


class D2(NumberMetric):
    """Share of the absolute error that is explained: 1 for perfect, 0 for the median. NaN of one row.

    scikit-learn's `d2_absolute_error_score`; with another `quantile` its `d2_pinball_score`.
    """

    kind = "d2"
    for_regression = True
    higher_is_better = True
    bare = "quantile"
    quantile: Fraction = 0.5


class CustomMetric(Custom):
    """A custom metric. Its column has the function's name, or `name`.

    `maximize` says whether higher is better. By default, as in scikit-learn, it is for a name that ends in
    `_score`, and lower is better for every other.
    """

    name: str | None = Field(None, examples=["hit_rate"])
    maximize: bool | None = None


class CharacterErrorRate(BuiltInMetric):
    """Of what `loss: ctc` reads: the wrong, missing and superfluous classes per class of the targets.

    The sum of the edit distances between what is read and the targets, divided by the sum of the lengths of
    the targets. Each step says its most probable class (greedy decoding).
    """

    kind = "character_error_rate"


def quantile_of_metric(metric: Component) -> float:
    """The quantile of a number that a metric compares with its target: 0.5 but for a `d2` of another one."""
    return metric.quantile if isinstance(metric, D2) else 0.5


Metric = Annotated[
    Union[
        Accuracy,
        TopK,
        Precision,
        Recall,
        F1,
        Auc,
        AveragePrecision,
        MaeMetric,
        MseMetric,
        Rmse,
        R2,
        BalancedAccuracy,
        Specificity,
        Mcc,
        CohenKappa,
        LogLoss,
        Brier,
        MapeMetric,
        MsleMetric,
        MedianAe,
        ExplainedVariance,
        Pearson,
        D2,
        CharacterErrorRate,
        CustomMetric,
    ],
    COMPONENT,
]


HALF = 0.5
"""The threshold of networks as they are trained, and that of their metrics."""


class CalibrationMethod(Component):
    """Base of the ways to calibrate probabilities. Their parameters are fitted when training ends.

    A spec may also give the parameters, such as those that another run fitted; then nothing is fitted.
    """

    two_classes: ClassVar[bool] = False
    """Whether it is for one sigmoid output only."""

    @property
    def is_fitted(self) -> bool:
        """Whether its parameters are known."""
        return all(getattr(self, name) not in (None, []) for name in type(self).model_fields)


class Temperature(CalibrationMethod):
    """Logits divided by one number, which minimizes the log loss (Guo et al. 2017).

    It changes no prediction of a class, only how sure it is.
    """

    kind = "temperature"
    bare = "temperature"
    rarely_changed = frozenset(("temperature",))
    temperature: Positive | None = None


class Platt(CalibrationMethod):
    """slope * logit + intercept, fitted by logistic regression on the logit (Platt 1999).

    For one sigmoid output, two classes.
    Platt's targets, (rows of the class + 1) / (rows of the class + 2), keep the slope finite.
    """

    kind = "platt"
    two_classes = True
    rarely_changed = frozenset(("slope", "intercept"))
    slope: Finite | None = None
    intercept: Finite | None = None


class Isotonic(CalibrationMethod):
    """A rising curve from logits to probabilities (scikit-learn's `IsotonicRegression`).

    For one sigmoid output, two classes. It is linear between the points (`logits`, `probabilities`) and
    constant beyond them. Probabilities lie between 1 / (rows + 2) and 1 minus that, so that the log loss is
    finite. It takes a thousand rows or more.
    """

    kind = "isotonic"
    two_classes = True
    rarely_changed = frozenset(("logits", "probabilities"))
    logits: list[Finite] = Field([], examples=[[-2.0, 2.0]])
    probabilities: list[Fraction] = Field([], examples=[[0.1, 0.9]])


Calibrate = Annotated[Union[Temperature, Platt, Isotonic], COMPONENT]


ThresholdMetric = Literal["accuracy", "balanced_accuracy", "f1", "mcc"]


class Threshold(Config):
    """From which probability on the second of two classes is predicted, 0.5 without this key.

    It is given (`threshold: 0.3`), or `maximize` names what it maximizes on rows that the network was not
    trained on; it is then chosen when training ends, after the calibration.
    """

    bare = "at"
    rarely_changed = frozenset(("at", "maximize"))
    at: Fraction | None = None
    maximize: Annotated[ThresholdMetric | None, BeforeValidator(component_name)] = None

    @model_validator(mode="before")
    @classmethod
    def _a_number_is_the_threshold(cls, value: Any) -> Any:
        is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
        return {"at": value} if is_number else value
