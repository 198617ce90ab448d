"""Metrics by their spec names.

A metric of an epoch is computed from sums over its rows, so that it does not matter how the rows were
batched, and a short last batch counts for its rows. What the sums mean follows Keras 3 and scikit-learn;
`auc` is exact and needs the scores themselves.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import reduce

import numpy as np
import torch
from torch import Tensor

from nnrun.spec import schema

# (R, B, K) outputs, targets as the loss takes them → (R, size) sums over the batch's rows.
Sums = Callable[[Tensor, Tensor], Tensor]


@dataclass(frozen=True)
class Metric:
    """One number that says how well outputs fit targets.

    Attributes:
        name: its column in the history.
        sums: outputs and targets of a batch → (R, size) sums.
        value: the (size,) sums of all rows of one replica, and their number → the metric.
        from_scores: for a metric that no sums give: all outputs (N, K) and targets of one replica → the
            metric.
    """

    name: str
    sums: Sums | None = None
    value: Callable[[np.ndarray, int], float] = lambda sums, rows: float(sums[0]) / rows
    from_scores: Callable[[np.ndarray, np.ndarray], float] | None = None


def class_indices(outputs_RBK: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    """(R, B) predicted and true classes, with one output per class; targets one-hot or indices."""
    true = targets if targets.dim() == 2 else targets.argmax(-1)
    return outputs_RBK.argmax(-1), true


def _accuracy(spec: schema.Accuracy, activation: str) -> Metric:
    def binary(outputs: Tensor, targets: Tensor) -> Tensor:
        return ((outputs > 0.5) == (targets > 0.5)).double().mean(-1).sum(1, keepdim=True)

    def categorical(outputs: Tensor, targets: Tensor) -> Tensor:
        predicted, true = class_indices(outputs, targets)
        return (predicted == true).double().sum(1, keepdim=True)

    return Metric(spec.kind, categorical if activation == "softmax" else binary)


def _top_k(spec: schema.TopK, activation: str) -> Metric:
    def sums(outputs: Tensor, targets: Tensor) -> Tensor:
        _, true = class_indices(outputs, targets)
        of_true = outputs.gather(-1, true.unsqueeze(-1))
        not_below = ~(outputs <= of_true)  # so that a NaN ranks above, and is never right
        return (not_below.sum(-1) < spec.k).double().sum(1, keepdim=True)

    return Metric(spec.kind, sums)


def _right_and_counted(
    spec: schema.Precision | schema.Recall, activation: str, counted: Callable[[Tensor, Tensor], Tensor]
) -> Metric:
    """Right positives over counted positives; with several classes their mean over the classes (macro).

    A class with nothing to count gives 0, as scikit-learn's `zero_division=0` and Keras have it.
    """

    def sums(outputs: Tensor, targets: Tensor) -> Tensor:
        if activation == "softmax":
            predicted, true = class_indices(outputs, targets)
            classes = outputs.shape[-1]
            chosen = torch.nn.functional.one_hot(predicted, classes).double()
            actual = torch.nn.functional.one_hot(true, classes).double()
        else:
            chosen, actual = (outputs > spec.threshold).double(), (targets > 0.5).double()
        right, among = chosen * actual, counted(chosen, actual)
        if activation != "softmax":  # binary, or several labels of one kind (micro)
            right, among = right.sum(-1, keepdim=True), among.sum(-1, keepdim=True)
        return torch.cat([right.sum(1), among.sum(1)], dim=1)

    def value(sums: np.ndarray, rows: int) -> float:
        right, among = np.split(sums, 2)
        return float(np.mean(right / np.maximum(among, 1)))

    return Metric(spec.kind, sums, value)


def _precision(spec: schema.Precision, activation: str) -> Metric:
    return _right_and_counted(spec, activation, lambda chosen, actual: chosen)


def _recall(spec: schema.Recall, activation: str) -> Metric:
    return _right_and_counted(spec, activation, lambda chosen, actual: actual)


def area_under_roc(scores: np.ndarray, positive: np.ndarray) -> float:
    """The share of (positive, negative) pairs in the right order, ties half (Mann-Whitney U).

    NaN where there is only one class.

    Args:
        scores: (N,) predicted scores.
        positive: (N,) booleans.
    """
    positives = int(positive.sum())
    negatives = len(positive) - positives
    if positives == 0 or negatives == 0:
        return float("nan")
    _, group, size = np.unique(scores, return_inverse=True, return_counts=True)
    middle_rank = np.cumsum(size) - (size - 1) / 2
    rank_sum = float(middle_rank[group][positive].sum())
    return (rank_sum - positives * (positives + 1) / 2) / (positives * negatives)


def _auc(spec: schema.Auc, activation: str) -> Metric:
    return Metric(
        spec.kind,
        from_scores=lambda outputs, targets: area_under_roc(outputs.reshape(-1), targets.reshape(-1) > 0.5),
    )


def _squared_error(outputs: Tensor, targets: Tensor) -> Tensor:
    return (outputs.double() - targets).square().mean(-1).sum(1, keepdim=True)


def _mae(spec: schema.MaeMetric, activation: str) -> Metric:
    return Metric(
        spec.kind, lambda outputs, targets: (outputs.double() - targets).abs().mean(-1).sum(1, keepdim=True)
    )


def _mse(spec: schema.MseMetric, activation: str) -> Metric:
    return Metric(spec.kind, _squared_error)


def _rmse(spec: schema.Rmse, activation: str) -> Metric:
    return Metric(spec.kind, _squared_error, lambda sums, rows: float(np.sqrt(sums[0] / rows)))


_ROUNDING = 1e-12


def _r2(spec: schema.R2, activation: str) -> Metric:
    def sums(outputs: Tensor, targets: Tensor) -> Tensor:
        true = targets.double()
        return torch.cat([(outputs - true).square().sum(1), true.sum(1), true.square().sum(1)], dim=1)

    def value(sums: np.ndarray, rows: int) -> float:
        if rows < 2:  # one row has no spread to explain, as scikit-learn says
            return float("nan")
        error, total, squares = np.split(sums, 3)
        spread = squares - total**2 / rows
        # Where all targets are the same, 1 for perfect outputs and 0 for others, as scikit-learn and Keras
        # have it; rounding must not decide.
        constant = spread <= _ROUNDING * squares
        r2 = np.where(constant, np.where(error == 0, 1.0, 0.0), 1 - error / np.where(constant, 1.0, spread))
        return float(np.mean(r2))

    return Metric(spec.kind, sums, value)


METRICS: Mapping[type[schema.Component], Callable[..., Metric]] = {
    schema.Accuracy: _accuracy,
    schema.TopK: _top_k,
    schema.Precision: _precision,
    schema.Recall: _recall,
    schema.Auc: _auc,
    schema.MaeMetric: _mae,
    schema.MseMetric: _mse,
    schema.Rmse: _rmse,
    schema.R2: _r2,
}


def build_metrics(specs: Sequence[schema.Component], activation: str) -> tuple[Metric, ...]:
    """The metrics that a spec names, for a network whose outputs come from `activation`."""
    return tuple(_build(spec, activation) for spec in specs)


def _build(spec: schema.Component, activation: str) -> Metric:
    if isinstance(spec, schema.CustomMetric):
        from nnrun.training.custom import custom_metric

        return custom_metric(spec, activation)
    return METRICS[type(spec)](spec, activation)


class MetricTotals:
    """Sums of several metrics over the rows of one phase of one epoch, for some replicas."""

    def __init__(self, metrics: Sequence[Metric], replicas: int) -> None:
        self.metrics = metrics
        self.rows = np.zeros(replicas, dtype=np.int64)
        self._sums: list[tuple[tuple[int, ...], Mapping[str, Tensor]]] = []
        self._scores: list[list[tuple[Tensor, Tensor]]] = [[] for _ in range(replicas)]
        self._needs_scores = any(metric.from_scores for metric in metrics)

    def add(self, replicas: Sequence[int], outputs_GBK: Tensor, targets: Tensor) -> None:
        """Count one batch: outputs and targets of the replicas at these places.

        Sums stay on their device until `values` asks for them, so that a GPU need not be waited for.
        """
        for g, place in enumerate(replicas):
            self.rows[place] += outputs_GBK.shape[1]
            if self._needs_scores:
                self._scores[place].append((outputs_GBK[g], targets[g]))
        sums = {m.name: m.sums(outputs_GBK, targets) for m in self.metrics if m.sums is not None}
        self._sums.append((tuple(replicas), sums))

    def values(self, place: int) -> dict[str, float]:
        """Metric → value, for the replica at `place`."""
        result = {}
        for metric in self.metrics:
            if metric.from_scores is not None:
                scores = [[values.cpu().numpy() for values in part] for part in self._scores[place]]
                outputs, targets = (np.concatenate(part) for part in zip(*scores, strict=True))
                result[metric.name] = metric.from_scores(outputs, targets)
            else:
                own = [s[metric.name][of.index(place)].cpu().numpy() for of, s in self._sums if place in of]
                result[metric.name] = metric.value(reduce(np.add, own), int(self.rows[place]))
        return result
