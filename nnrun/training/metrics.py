"""Metrics by their spec names.

A metric of an epoch is computed from statistics of its rows that are joined batch by batch, so that it does
not matter how the rows were batched, and a short last batch counts for its rows. What the numbers mean
follows Keras 3 and scikit-learn; ranking metrics are exact and need the scores of all rows.

Where a sigmoid or softmax ends the network, whatever ranks or decides takes the values before it: the
probabilities of large ones round to 0 or 1, and what was ordered is tied.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from nnrun.errors import NnrunError
from nnrun.spec import schema
from nnrun.spec.custom_objects import custom_object, own_fault
from nnrun.spec.score_columns import metric_column
from nnrun.training.losses import FUZZ
from nnrun.training.rankings import area_under_roc, average_precision, log_odds

# (R, B, K) values, targets as the loss takes them → (R, size) statistics of the batch's rows.
Statistics = Callable[[Tensor, Tensor], Tensor]

Constant = Literal[
    "share",
    "majority",
    "most_frequent",
    "all",
    "best_f1",
    "decided",
    "mean",
    "median",
    "mape",
    "msle",
    "search",
]
"""Which constant outputs score best on given rows: the share of each class or label; the majority class, or
the labels that most rows have; the most frequent label alone, all labels, or as many of the most frequent as
give the best F1 (of several classes all three are the majority class); as many of the most frequent labels as
are best by trial; the mean or the median of the targets; what is best for the loss of that name; or what a
search finds."""


@dataclass(frozen=True)
class Scored:
    """Rows of some replicas, as metrics compare them.

    Attributes:
        logits: (R, B, K) the values before a sigmoid or softmax; of another last activation, the outputs.
        outputs: (R, B, K) in the targets' own units.
        targets: (R, B, K), numbers in their own units; or (R, B) class indices.
    """

    logits: Tensor
    outputs: Tensor
    targets: Tensor


@dataclass(frozen=True)
class Metric:
    """One number that says how well outputs fit targets.

    Attributes:
        name: its column in the history.
        of_logits: whether it takes the logits; else the outputs.
        constant: which constant outputs score best.
        statistics: values and targets of a batch → (R, size) statistics of its rows.
        join: the statistics of two batches → those of both.
        value: the (size,) statistics of all rows of one replica, and their number → the metric.
        from_rows: for a metric that no such statistics give: all values (N, K) and targets of one replica →
            the metric.
    """

    name: str
    statistics: Statistics | None = None
    value: Callable[[np.ndarray, int], float] = lambda sums, rows: float(sums[0]) / rows
    join: Callable[[np.ndarray, np.ndarray], np.ndarray] = np.add
    from_rows: Callable[[np.ndarray, np.ndarray], float] | None = None
    of_logits: bool = False
    constant: Constant = "search"


def class_indices(values_RBK: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    """(R, B) predicted and true classes, with one output per class; targets one-hot or indices."""
    true = targets if targets.dim() == 2 else targets.argmax(-1)
    return values_RBK.argmax(-1), true


def has_logits(activation: str) -> bool:
    """Whether the values before the last activation rank as the outputs do, and don't round."""
    return activation in ("sigmoid", "softmax")


def _cut(probability: float, activation: str) -> float:
    """The value above which a single output is above this probability."""
    if activation != "sigmoid":
        return probability
    if not 0 < probability < 1:
        return math.inf if probability >= 1 else -math.inf
    return math.log(probability) - math.log1p(-probability)


# --- classes -----------------------------------------------------------------------------------------------


def _accuracy(spec: schema.Accuracy, activation: str) -> Metric:
    cut = _cut(0.5, activation)

    def binary(values: Tensor, targets: Tensor) -> Tensor:
        return ((values > cut) == (targets > 0.5)).double().mean(-1).sum(1, keepdim=True)

    def categorical(values: Tensor, targets: Tensor) -> Tensor:
        predicted, true = class_indices(values, targets)
        return (predicted == true).double().sum(1, keepdim=True)

    statistics = categorical if activation == "softmax" else binary
    return Metric(spec.kind, statistics, of_logits=has_logits(activation), constant="majority")


def _top_k(spec: schema.TopK, activation: str) -> Metric:
    def chances(values: Tensor, targets: Tensor) -> Tensor:
        _, true = class_indices(values, targets)
        of_true = values.gather(-1, true.unsqueeze(-1))
        above = (~(values <= of_true)).sum(-1).double()  # so that a NaN ranks above, and is never right
        tied = (values == of_true).sum(-1).clamp(min=1).double()
        return ((spec.k - above) / tied).clamp(0, 1).sum(1, keepdim=True)

    return Metric(spec.kind, chances, of_logits=has_logits(activation), constant="share")


def _of_counts(
    spec: schema.Precision | schema.Recall | schema.F1,
    activation: str,
    ratio: Callable[[np.ndarray, np.ndarray, np.ndarray], np.ndarray],
    constant: Constant,
) -> Metric:
    """A ratio of right, chosen and actual positives; of several classes, the mean over the classes (macro).

    The mean is over the classes that occur among the rows or the predictions. A ratio of nothing is 0, as
    scikit-learn's `zero_division=0` and Keras have it.
    """
    cut = _cut(spec.threshold, activation)

    def counts(values: Tensor, targets: Tensor) -> Tensor:
        if activation == "softmax":
            predicted, true = class_indices(values, targets)
            classes = values.shape[-1]
            chosen = torch.nn.functional.one_hot(predicted, classes).double()
            actual = torch.nn.functional.one_hot(true, classes).double()
        else:
            chosen, actual = (values > cut).double(), (targets > 0.5).double()
        parts = [chosen * actual, chosen, actual]
        if activation != "softmax":  # binary, or several labels of one kind (micro)
            parts = [part.sum(-1, keepdim=True) for part in parts]
        return torch.cat([part.sum(1) for part in parts], dim=1)

    def value(sums: np.ndarray, rows: int) -> float:
        right, chosen, actual = np.split(sums, 3)
        occurs = chosen + actual > 0
        return float(np.mean(ratio(right, chosen, actual)[occurs])) if occurs.any() else 0.0

    return Metric(spec.kind, counts, value, of_logits=has_logits(activation), constant=constant)


def _precision(spec: schema.Precision, activation: str) -> Metric:
    return _of_counts(
        spec, activation, lambda right, chosen, actual: right / np.maximum(chosen, 1), "most_frequent"
    )


def _recall(spec: schema.Recall, activation: str) -> Metric:
    return _of_counts(spec, activation, lambda right, chosen, actual: right / np.maximum(actual, 1), "all")


def _f1(spec: schema.F1, activation: str) -> Metric:
    return _of_counts(
        spec,
        activation,
        lambda right, chosen, actual: 2 * right / np.maximum(chosen + actual, 1),
        "best_f1",
    )


@dataclass(frozen=True)
class ClassCounts:
    """How many rows each of K classes has; labels for themselves have the classes no and yes.

    Attributes:
        right: (K,) rows of the class that are predicted to have it.
        chosen: (K,) that are predicted to have it.
        actual: (K,) that have it.
        distance: the sum over rows of `_of_class_counts`'s `distance` of predicted and true class.
    """

    right: np.ndarray
    chosen: np.ndarray
    actual: np.ndarray
    distance: float

    @property
    def rows(self) -> float:
        """All rows, or labels of rows."""
        return float(self.actual.sum())


def _of_class_counts(
    spec: schema.ClassMetric,
    activation: str,
    value: Callable[[ClassCounts], float],
    *,
    threshold: float = 0.5,
    distance: Callable[[Tensor], Tensor] = torch.zeros_like,
) -> Metric:
    """A metric of the confusion matrix, of which its diagonal, its margins and one weighted sum are enough.

    `distance` is a function of the number of a predicted class minus that of the true one.
    """
    cut = _cut(threshold, activation)

    def counts(values: Tensor, targets: Tensor) -> Tensor:
        if activation == "softmax":
            predicted, true = class_indices(values, targets)
            classes = values.shape[-1]
        else:
            predicted, true = ((part > at).long().flatten(1) for part, at in ((values, cut), (targets, 0.5)))
            classes = 2
        chosen, actual = (torch.nn.functional.one_hot(part, classes).double() for part in (predicted, true))
        apart = distance((predicted - true).double()).sum(1, keepdim=True)
        return torch.cat([(chosen * actual).sum(1), chosen.sum(1), actual.sum(1), apart], dim=1)

    def of_sums(sums: np.ndarray, rows: int) -> float:
        right, chosen, actual = np.split(sums[:-1], 3)
        return float(value(ClassCounts(right, chosen, actual, float(sums[-1]))))

    return Metric(spec.kind, counts, of_sums, of_logits=has_logits(activation), constant="decided")


def _balanced_accuracy(spec: schema.BalancedAccuracy, activation: str) -> Metric:
    def value(counts: ClassCounts) -> float:
        held = counts.actual > 0
        return float(np.mean(counts.right[held] / counts.actual[held]))

    return _of_class_counts(spec, activation, value)


def _specificity(spec: schema.Specificity, activation: str) -> Metric:
    def value(counts: ClassCounts) -> float:
        negative = counts.rows - counts.actual
        rejected = negative - counts.chosen + counts.right
        ratio = rejected / np.maximum(negative, 1)
        if activation != "softmax":  # of the class yes alone
            return float(ratio[1])
        return float(np.mean(ratio[counts.chosen + counts.actual > 0]))

    return _of_class_counts(spec, activation, value, threshold=spec.threshold)


def _mcc(spec: schema.Mcc, activation: str) -> Metric:
    def value(counts: ClassCounts) -> float:
        chosen, actual, rows = counts.chosen, counts.actual, counts.rows
        spread = (rows**2 - chosen @ chosen) * (rows**2 - actual @ actual)
        return float((counts.right.sum() * rows - chosen @ actual) / np.sqrt(spread)) if spread > 0 else 0.0

    return _of_class_counts(spec, activation, value)


def _cohen_kappa(spec: schema.CohenKappa, activation: str) -> Metric:
    distance: dict[str, Callable[[Tensor], Tensor]] = {
        "none": lambda apart: (apart != 0).double(),
        "linear": torch.abs,
        "quadratic": torch.square,
    }
    of_classes = distance[spec.weights]

    def value(counts: ClassCounts) -> float:
        number = torch.arange(len(counts.actual), dtype=torch.float64)
        weights = of_classes(number[:, None] - number).numpy()
        by_chance = counts.chosen @ weights @ counts.actual / counts.rows
        return float(1 - counts.distance / by_chance) if by_chance > 0 else math.nan

    return _of_class_counts(spec, activation, value, distance=of_classes)


# --- probabilities -----------------------------------------------------------------------------------------


def _log_loss(spec: schema.LogLoss, activation: str) -> Metric:
    def statistics(z: Tensor, targets: Tensor) -> Tensor:
        z = z.double()
        if activation == "softmax":
            _, true = class_indices(z, targets)
            losses = -torch.log_softmax(z, -1).gather(-1, true.unsqueeze(-1)).squeeze(-1)
        else:
            losses = torch.nn.functional.binary_cross_entropy_with_logits(
                z, targets.double(), reduction="none"
            ).mean(-1)
        return losses.sum(1, keepdim=True)

    return Metric(spec.kind, statistics, of_logits=True, constant="share")


def _brier(spec: schema.Brier, activation: str) -> Metric:
    def statistics(outputs: Tensor, targets: Tensor) -> Tensor:
        if activation != "softmax":
            return _squared_error(outputs, targets)
        _, true = class_indices(outputs, targets)
        ones = torch.nn.functional.one_hot(true, outputs.shape[-1])
        return (outputs.double() - ones).square().sum(-1).sum(1, keepdim=True)

    return Metric(spec.kind, statistics, constant="share")


# --- rankings ----------------------------------------------------------------------------------------------


def _ranking(
    spec: schema.Auc | schema.AveragePrecision,
    activation: str,
    of_scores: Callable[[np.ndarray, np.ndarray], float],
) -> Metric:
    """Of all labels together (micro), or the mean over the classes that the rows hold (macro)."""

    def together(values: np.ndarray, targets: np.ndarray) -> float:
        return of_scores(values.reshape(-1), targets.reshape(-1) > 0.5)

    def each_class(values: np.ndarray, targets: np.ndarray) -> float:
        true = targets if targets.ndim == 1 else targets.argmax(-1)
        odds = log_odds(values)
        return float(np.mean([of_scores(odds[:, label], true == label) for label in np.unique(true)]))

    from_rows = each_class if activation == "softmax" else together
    return Metric(spec.kind, from_rows=from_rows, of_logits=has_logits(activation), constant="share")


def _auc(spec: schema.Auc, activation: str) -> Metric:
    return _ranking(spec, activation, area_under_roc)


def _average_precision(spec: schema.AveragePrecision, activation: str) -> Metric:
    return _ranking(spec, activation, average_precision)


# --- numbers -----------------------------------------------------------------------------------------------


def _squared_error(outputs: Tensor, targets: Tensor) -> Tensor:
    return (outputs.double() - targets).square().mean(-1).sum(1, keepdim=True)


def _mae(spec: schema.MaeMetric, activation: str) -> Metric:
    return Metric(
        spec.kind,
        lambda outputs, targets: (outputs.double() - targets).abs().mean(-1).sum(1, keepdim=True),
        constant="median",
    )


def _mse(spec: schema.MseMetric, activation: str) -> Metric:
    return Metric(spec.kind, _squared_error, constant="mean")


def _rmse(spec: schema.Rmse, activation: str) -> Metric:
    return Metric(
        spec.kind, _squared_error, lambda sums, rows: float(np.sqrt(sums[0] / rows)), constant="mean"
    )


def _mape(spec: schema.MapeMetric, activation: str) -> Metric:
    def statistics(outputs: Tensor, targets: Tensor) -> Tensor:
        true = targets.double()
        share = (outputs.double() - true).abs() / true.abs().clamp(min=FUZZ)
        return 100 * share.mean(-1).sum(1, keepdim=True)

    return Metric(spec.kind, statistics, constant="mape")


def _msle(spec: schema.MsleMetric, activation: str) -> Metric:
    def statistics(outputs: Tensor, targets: Tensor) -> Tensor:
        logs = [torch.log1p(part.double().clamp(min=0)) for part in (outputs, targets)]
        return _squared_error(*logs)

    return Metric(spec.kind, statistics, constant="msle")


def _of_columns(
    spec: schema.NumberMetric, of_column: Callable[[np.ndarray, np.ndarray], float], constant: Constant
) -> Metric:
    """The mean over the columns, each from the outputs and targets of all rows."""

    def from_rows(outputs: np.ndarray, targets: np.ndarray) -> float:
        columns = zip(outputs.T.astype(np.float64), targets.T.astype(np.float64), strict=True)
        return float(np.mean([of_column(*column) for column in columns]))

    return Metric(spec.kind, from_rows=from_rows, constant=constant)


def _median_ae(spec: schema.MedianAe, activation: str) -> Metric:
    return _of_columns(spec, lambda outputs, true: float(np.median(np.abs(outputs - true))), "search")


def _explained_variance(spec: schema.ExplainedVariance, activation: str) -> Metric:
    return _of_columns(
        spec, lambda outputs, true: _explained(_variance(true - outputs), _variance(true), len(true)), "mean"
    )


def _variance(values: np.ndarray) -> float:
    """0 where all values are the same, which rounding might hide."""
    return float(np.var(values - values[0]))


def _pearson(spec: schema.Pearson, activation: str) -> Metric:
    def of_column(outputs: np.ndarray, true: np.ndarray) -> float:
        a, b = (values - values[0] for values in (outputs, true))
        a, b = a - a.mean(), b - b.mean()
        size = np.linalg.norm(a) * np.linalg.norm(b)
        return float(a @ b / size) if size > 0 else math.nan

    return _of_columns(spec, of_column, "mean")


def _d2(spec: schema.D2, activation: str) -> Metric:
    q = spec.quantile

    def pinball(error: np.ndarray) -> float:
        return float(np.mean(np.maximum(q * error, (q - 1) * error)))

    def of_column(outputs: np.ndarray, true: np.ndarray) -> float:
        return _explained(pinball(true - outputs), pinball(true - np.quantile(true, q)), len(true))

    return _of_columns(spec, of_column, "median" if q == 0.5 else "search")


def _explained(error: float, spread: float, rows: int) -> float:
    """1 - error / spread; as scikit-learn has it 1 or 0 where all targets are the same. NaN of one row."""
    if rows < 2:
        return math.nan
    return 1 - error / spread if spread > 0 else float(error == 0)


def _r2(spec: schema.R2, activation: str) -> Metric:
    """From each column's squared error and its squared distance from its mean.

    The distances are taken from the batch's own mean, and that from its first target: a sum of squares minus
    the square of a sum would cancel for targets far from 0. Targets that are all the same have a spread of
    exactly 0.
    """

    def statistics(outputs: Tensor, targets: Tensor) -> Tensor:
        true = targets.double()
        first = true[:, :1]
        away = true - first
        mean = away.mean(1, keepdim=True)
        error, spread = (outputs - true).square().sum(1), (away - mean).square().sum(1)
        rows = torch.full_like(error, true.shape[1])
        return torch.cat([error, spread, first[:, 0], mean[:, 0], rows], dim=1)

    def join(a: np.ndarray, b: np.ndarray) -> np.ndarray:
        error_a, spread_a, first_a, mean_a, rows_a = np.split(a, 5)
        error_b, spread_b, first_b, mean_b, rows_b = np.split(b, 5)
        rows = rows_a + rows_b
        apart = first_b - first_a + mean_b - mean_a
        mean = mean_a + apart * rows_b / rows
        spread = spread_a + spread_b + apart**2 * rows_a * rows_b / rows
        return np.concatenate([error_a + error_b, spread, first_a, mean, rows])

    def value(found: np.ndarray, rows: int) -> float:
        if rows < 2:  # one row has no spread to explain, as scikit-learn says
            return float("nan")
        error, spread, *_ = np.split(found, 5)
        # Where all targets are the same, 1 for perfect outputs and 0 for others, as scikit-learn and Keras
        # have it.
        constant = spread == 0
        r2 = np.where(constant, np.where(error == 0, 1.0, 0.0), 1 - error / np.where(constant, 1.0, spread))
        return float(np.mean(r2))

    return Metric(spec.kind, statistics, value, join, constant="mean")


# --- functions of users -------------------------------------------------------------------------------------


def _custom(spec: schema.CustomMetric, activation: str) -> Metric:
    """A user's function of all rows of one network (`nnrun.spec.custom_objects` says what it must be)."""
    function = custom_object(spec)
    name = metric_column(spec)
    _refuse_two_directions(spec, name, getattr(function, "maximize", None))

    def from_rows(outputs_NK: np.ndarray, targets: np.ndarray) -> float:
        try:
            value = function(torch.from_numpy(targets), torch.from_numpy(outputs_NK), **spec.parameters)
        except Exception as error:
            raise own_fault(spec.object, error) from error
        try:
            return float(value)
        except (TypeError, ValueError, RuntimeError):
            found = f"a tensor of shape {tuple(value.shape)}" if isinstance(value, Tensor) else repr(value)
            raise NnrunError(
                f"The custom metric {spec.object} returned {found}; it must return one number."
            ) from None

    return Metric(name, from_rows=from_rows)


def _refuse_two_directions(spec: schema.CustomMetric, name: str, wanted: Any) -> None:
    """Raise NnrunError where the function's attribute `maximize` and the spec do not agree."""
    if wanted is None:
        return
    advice = f"Add maximize: {'true' if wanted else 'false'} to the metric in the spec."
    if spec.maximize is not None and bool(wanted) != spec.maximize:
        raise NnrunError(
            f"The custom metric {spec.object} says maximize = {bool(wanted)}, but the spec says otherwise. "
            + advice
        )
    if spec.maximize is None and bool(wanted) != name.endswith("_score"):
        raise NnrunError(
            f"The custom metric {spec.object} says maximize = {bool(wanted)}, but the name {name!r} implies "
            f"otherwise: by default, higher is better only for a name that ends in _score. " + advice
        )


METRICS: Mapping[type[schema.Component], Callable[..., Metric]] = {
    schema.Accuracy: _accuracy,
    schema.TopK: _top_k,
    schema.Precision: _precision,
    schema.Recall: _recall,
    schema.F1: _f1,
    schema.Auc: _auc,
    schema.AveragePrecision: _average_precision,
    schema.BalancedAccuracy: _balanced_accuracy,
    schema.Specificity: _specificity,
    schema.Mcc: _mcc,
    schema.CohenKappa: _cohen_kappa,
    schema.LogLoss: _log_loss,
    schema.Brier: _brier,
    schema.MaeMetric: _mae,
    schema.MseMetric: _mse,
    schema.Rmse: _rmse,
    schema.R2: _r2,
    schema.MapeMetric: _mape,
    schema.MsleMetric: _msle,
    schema.MedianAe: _median_ae,
    schema.ExplainedVariance: _explained_variance,
    schema.Pearson: _pearson,
    schema.D2: _d2,
    schema.CustomMetric: _custom,
}


def build_metrics(specs: Sequence[schema.Component], activation: str) -> tuple[Metric, ...]:
    """The metrics that a spec names, for a network whose outputs come from `activation`.

    Raises:
        UsageError: one is custom code that may not be run, or that is not there.
    """
    return tuple(METRICS[type(spec)](spec, activation) for spec in specs)


class MetricTotals:
    """Statistics of several metrics over the rows of one phase of one epoch, for some replicas."""

    def __init__(self, metrics: Sequence[Metric], replicas: int) -> None:
        self.metrics = metrics
        self.rows = np.zeros(replicas, dtype=np.int64)
        self._statistics: list[tuple[tuple[int, ...], Mapping[str, Tensor]]] = []
        self._values: list[list[tuple[Tensor, Tensor, Tensor]]] = [[] for _ in range(replicas)]
        self._needs_rows = any(metric.from_rows for metric in metrics)

    def add(self, replicas: Sequence[int], scored: Scored) -> None:
        """Count one batch, of the replicas at these places.

        Statistics stay on their device until `values` asks for them, so that a GPU need not be waited for.
        """
        for g, place in enumerate(replicas):
            self.rows[place] += scored.logits.shape[1]
            if self._needs_rows:
                self._values[place].append((scored.logits[g], scored.outputs[g], scored.targets[g]))
        found = {
            m.name: m.statistics(scored.logits if m.of_logits else scored.outputs, scored.targets)
            for m in self.metrics
            if m.statistics is not None
        }
        self._statistics.append((tuple(replicas), found))

    def values(self, place: int) -> dict[str, float]:
        """Metric → value, for the replica at `place`."""
        result = {}
        for metric in self.metrics:
            if metric.from_rows is not None:
                logits, outputs, targets = (
                    np.concatenate([part.cpu().numpy() for part in parts])
                    for parts in zip(*self._values[place], strict=True)
                )
                result[metric.name] = metric.from_rows(logits if metric.of_logits else outputs, targets)
            else:
                own = [
                    found[metric.name][of.index(place)].cpu().numpy()
                    for of, found in self._statistics
                    if place in of
                ]
                result[metric.name] = metric.value(reduce(metric.join, own), int(self.rows[place]))
        return result
