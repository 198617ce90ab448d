"""What a predictor that never looks at the inputs would score.

It always gives the same outputs, and for each score those that are best for it on the training rows: for an
error its mean or median, for a cross-entropy the share of each class, for accuracy the majority class. A
network that does not beat it has learned nothing from the inputs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from nnrun.experiment.setup.constant_predictors import (
    Candidate,
    best_by,
    constants_for_loss,
    constants_for_metric,
)
from nnrun.records import SHUFFLED
from nnrun.spec.score_columns import directions
from nnrun.training.epoch_plan import RowIndices
from nnrun.training.metrics import Metric, MetricTotals, Scored
from nnrun.training.problem import TrainingProblem, mean_loss
from nnrun.validation.summary import monitor_mode


@dataclass(frozen=True, eq=False)
class TargetRows:
    """The targets of n rows of one network.

    Attributes:
        targets: (1, n, K) or (1, n), as the loss takes them.
        own: the same in their own units, for metrics.
        weights: (1, n) what the loss of each row counts; None where all count 1.
    """

    targets: Tensor
    own: Tensor
    weights: Tensor | None = None

    def __len__(self) -> int:
        return int(self.targets.shape[1])


def baseline(
    problem: TrainingProblem, activation: str, place: int, train_rows: RowIndices, scored_rows: RowIndices
) -> dict[str, float]:
    """Loss and metrics of the best constant predictors for one replica.

    Args:
        problem: the loss, the metrics and the targets.
        activation: of the network's last layer.
        place: where the replica's targets stand in the problem.
        train_rows: the rows whose targets the predictor knows.
        scored_rows: the rows on which it is scored. Where they are the training rows, the loss beside it is
            that of training, in which the weights of classes count.
    """
    training = scored_rows is train_rows
    known = target_rows(problem, place, train_rows, training=training)
    scored = known if training else target_rows(problem, place, scored_rows)
    return constant_scores(problem, activation, known, scored)


def target_rows(
    problem: TrainingProblem, place: int, rows: RowIndices, *, training: bool = False
) -> TargetRows:
    """The targets of a problem's rows, of the replica whose data stand at `place`."""
    targets = problem.targets_of([place], rows[None])
    own = problem.unscaled_targets_of([place], rows[None], targets)
    return TargetRows(targets, own, problem.weights_of([place], rows[None], training=training))


def constant_scores(
    problem: TrainingProblem, activation: str, known: TargetRows, scored: TargetRows
) -> dict[str, float]:
    """The best constants for what is known, and their loss and metrics on the scored rows."""
    spec = problem.spec
    assert spec is not None, "a baseline is of a spec"
    candidates = constants_for_loss(
        spec.loss, activation, problem.network.outputs, known.targets[0], _of_one(known.weights)
    )
    with torch.inference_mode():
        constant = best_by(lambda c: _loss_of(problem, c, known), candidates)
        scores = {"loss": _loss_of(problem, constant, scored)}
        own = directions(spec)
        for metric in problem.metrics:
            sign = -1.0 if monitor_mode(metric.name, own) == "max" else 1.0
            found = constants_for_metric(metric.constant, activation, problem.network.outputs, known.own[0])
            constant = best_by(lambda c: sign * _metric_of(problem, metric, c, known), found)  # noqa: B023
            scores[metric.name] = _metric_of(problem, metric, constant, scored)
    labels = _labels(scored.targets)
    if "accuracy" in scores and labels is not None:
        shares = torch.bincount(labels).double() / len(scored)
        scores[SHUFFLED] = float(shares.square().sum())  # the chance that two rows drawn at random agree
    return scores


def mean_of(scores: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """The mean over folds, score by score."""
    return {name: float(np.mean([s[name] for s in scores])) for name in scores[0]}


def _of_one(weights_1n: Tensor | None) -> Tensor | None:
    return None if weights_1n is None else weights_1n[0]


def _loss_of(problem: TrainingProblem, constant: Candidate, rows: TargetRows) -> float:
    device = rows.targets.device
    z, outputs = (
        values.float().to(device).expand(1, len(rows), -1) for values in (constant.z, constant.outputs)
    )
    losses_1n = problem.loss(z, outputs, rows.targets).double()
    return float(mean_loss(losses_1n, rows.weights)[0])


def _metric_of(problem: TrainingProblem, metric: Metric, constant: Candidate, rows: TargetRows) -> float:
    # A person's own metric gets what it gets of a network: float32, unless the targets were scaled.
    wide = metric.constant != "search" or problem.scales is not None
    dtype = torch.float64 if wide else torch.float32
    z, outputs = (
        values.to(rows.own.device, dtype).expand(1, len(rows), -1)
        for values in (constant.z, constant.outputs)
    )
    totals = MetricTotals([metric], 1)
    totals.add([0], Scored(z, outputs, rows.own))
    return totals.values(0)[metric.name]


def _labels(targets: Tensor) -> Tensor | None:
    """(n,) the class of each row; None where a row can have several labels."""
    if targets.dim() == 2:
        return targets[0]
    if targets.shape[2] == 1:
        return (targets[0, :, 0] > 0.5).long()
    one_each = bool((targets.sum(-1) == 1).all())
    return targets[0].argmax(-1) if one_each else None
