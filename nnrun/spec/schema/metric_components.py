"""The metrics: what is measured of a network beside its loss."""

from typing import Annotated, ClassVar, Literal, Union

from nnrun.spec.schema.component import COMPONENT, Component, Count, Custom, Fraction


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
    """

    higher_is_better = True
    mean_over_classes: ClassVar[bool] = False
    of_probabilities: ClassVar[bool] = False


class NumberMetric(BuiltInMetric):
    """Base of the metrics of outputs as numbers. Of several columns, one-hot ones too, they are means.

    Class attributes:
        for_regression: whether it says nothing of classes, so that lint refuses it beside a loss of classes.
    """

    for_regression: ClassVar[bool] = False


class Accuracy(ClassMetric):
    """Share of correct predictions: binary at 0.5, categorical by argmax, depending on output and targets."""

    kind = "accuracy"


class TopK(ClassMetric):
    """Share of rows whose true class is among the `k` most probable.

    Where classes are equally probable, a row counts by the chance that a fair draw among them is right.
    """

    kind = "top_k"
    bare = "k"
    k: Count = 5


class Precision(ClassMetric):
    """Right positives among predicted positives; for several classes, the plain mean over them (macro).

    The mean is over the classes that occur among the rows or the predictions, as in scikit-learn.

    Of several labels in one row all are counted together (micro), as Keras does.
    """

    kind = "precision"
    mean_over_classes = True
    bare = "threshold"
    threshold: Fraction = 0.5


class Recall(ClassMetric):
    """Right positives among true positives; for several classes, the plain mean over them (macro).

    The mean is over the classes that occur among the rows or the predictions, as in scikit-learn.

    Of several labels in one row all are counted together (micro), as Keras does.
    """

    kind = "recall"
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


class Specificity(ClassMetric):
    """Right negatives among true negatives; for several classes, the plain mean over them (macro).

    The mean is over the classes that occur among the rows or the predictions, as for `recall`. Of several
    labels in one row all are counted together (micro).
    """

    kind = "specificity"
    mean_over_classes = True
    bare = "threshold"
    threshold: Fraction = 0.5


class Mcc(ClassMetric):
    """Matthews correlation of predicted and true classes: 1 for perfect, 0 for chance.

    0 where all predictions, or all targets, are the same, as in scikit-learn.
    """

    kind = "mcc"


class CohenKappa(ClassMetric):
    """Agreement of predicted and true classes beyond chance: 1 for perfect, 0 for chance.

    With `weights` a mistake counts by the distance of the classes' numbers, or by its square: for grades. NaN
    where chance cannot be wrong. (scikit-learn's `cohen_kappa_score` with all classes as `labels`.)
    """

    kind = "cohen_kappa"
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

    name: str | None = None
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
