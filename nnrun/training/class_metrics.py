"""Metrics of classes and labels: from decisions, from probabilities, and from rankings."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from nnrun.lazy_torch import torch
from nnrun.spec import schema
from nnrun.training import rankings
from nnrun.training.metric_types import Constant, Metric, class_indices, has_logits
from nnrun.training.number_metrics import squared_error

if TYPE_CHECKING:
    from torch import Tensor


def _cut(probability: float, activation: str) -> float:
    """The value above which a single output is above this probability."""
    if activation != "sigmoid":
        return probability
    if not 0 < probability < 1:
        return math.inf if probability >= 1 else -math.inf
    return math.log(probability) - math.log1p(-probability)


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
    distance: Callable[[Tensor], Tensor] = lambda apart: torch.zeros_like(apart),
    nan_is_chosen: bool = False,
) -> Metric:
    """A metric of the confusion matrix, of which its diagonal, its margins and one weighted sum are enough.

    `distance` is a function of the number of a predicted class minus that of the true one. With
    `nan_is_chosen` an output that is no number says yes: where a no is what counts, it must never be right.
    """
    cut = _cut(threshold, activation)

    def counts(values: Tensor, targets: Tensor) -> Tensor:
        if activation == "softmax":
            predicted, true = class_indices(values, targets)
            classes = values.shape[-1]
        else:
            said, is_so = ~(values <= cut) if nan_is_chosen else values > cut, targets > 0.5
            predicted, true = (part.long().flatten(1) for part in (said, is_so))
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

    return _of_class_counts(spec, activation, value, threshold=spec.threshold, nan_is_chosen=True)


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
            return squared_error(outputs, targets)
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
        odds = rankings.log_odds(values)
        return float(np.mean([of_scores(odds[:, label], true == label) for label in np.unique(true)]))

    from_rows = each_class if activation == "softmax" else together
    return Metric(spec.kind, from_rows=from_rows, of_logits=has_logits(activation), constant="share")


def _auc(spec: schema.Auc, activation: str) -> Metric:
    return _ranking(spec, activation, rankings.area_under_roc)


def _average_precision(spec: schema.AveragePrecision, activation: str) -> Metric:
    return _ranking(spec, activation, rankings.average_precision)


CLASS_METRICS: Mapping[type[schema.Component], Callable[..., Metric]] = {
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
}
