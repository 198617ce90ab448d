"""What a predictor that never looks at the inputs would score.

It always gives the same outputs, and for each score those that are best for it on the training rows: for an
error its mean or median, for a cross-entropy the share of each class, for accuracy the majority class. A
network that does not beat it has learned nothing from the inputs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

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
from nnrun.replica_rows import RowIndices
from nnrun.spec.score_columns import directions
from nnrun.training.metrics import Metric, MetricTotals, Scored
from nnrun.training.objective import mean_loss
from nnrun.training.problem import Head, TargetRows, TrainingProblem
from nnrun.validation.summary import monitor_mode


def baseline(
    problem: TrainingProblem, replica: int, train_rows: RowIndices, scored_rows: RowIndices
) -> dict[str, float]:
    """Loss and metrics of the best constant predictors for one replica.

    Args:
        problem: the loss, the metrics and the targets.
        replica: the index of its data in the problem.
        train_rows: the rows whose targets the predictor knows.
        scored_rows: the rows on which it is scored. Where they are the training rows, the loss beside it is
            that of training, in which the weights of classes count.
    """
    training, head = scored_rows is train_rows, problem.head
    known = head.gather([replica], train_rows[None], training=training)
    scored = known if training else head.gather([replica], scored_rows[None])
    return constant_scores(problem, known, scored)


def constant_scores(problem: TrainingProblem, known: TargetRows, scored: TargetRows) -> dict[str, float]:
    """The best constants for what is known, and their loss and metrics on the scored rows.

    Both are rows of a single network, (1, n, ...).
    """
    spec, head = problem.spec, problem.head
    assert spec is not None, "a baseline is of a spec"
    weights = None if known.weights is None else known.weights[0]
    candidates = constants_for_loss(spec.loss, head.activation, head.num_outputs, known.targets[0], weights)
    with torch.inference_mode():
        constant = best_by(lambda c: _loss_of(head, c, known), candidates)
        scores = {"loss": _loss_of(head, constant, scored)}
        own = directions(spec)
        for metric in head.metrics:
            sign = -1.0 if monitor_mode(metric.name, own) == "max" else 1.0
            found = constants_for_metric(
                metric.constant, head.activation, head.num_outputs, known.unscaled[0]
            )
            constant = best_by(lambda c: sign * _metric_of(head, metric, c, known), found)  # noqa: B023
            scores[metric.name] = _metric_of(head, metric, constant, scored)
    labels = _labels(scored.targets)
    if "accuracy" in scores and labels is not None:
        shares = torch.bincount(labels).double() / len(scored)
        scores[SHUFFLED] = float(shares.square().sum())  # the chance that two rows drawn at random agree
    return scores


def mean_of(scores: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """The mean over folds, score by score."""
    return {name: float(np.mean([s[name] for s in scores])) for name in scores[0]}


def _loss_of(head: Head, constant: Candidate, rows: TargetRows) -> float:
    device = rows.targets.device
    z, outputs = (
        values.float().to(device).expand(1, len(rows), -1) for values in (constant.z, constant.outputs)
    )
    losses_1n = head.loss(z, outputs, rows.targets).double()
    return float(mean_loss(losses_1n, rows.weights)[0])


def _metric_of(head: Head, metric: Metric, constant: Candidate, rows: TargetRows) -> float:
    # A person's own metric gets what it gets of a network: float32, unless the targets were scaled.
    wide = metric.constant != "search" or head.scales is not None
    dtype = torch.float64 if wide else torch.float32
    z, outputs = (
        values.to(rows.unscaled.device, dtype).expand(1, len(rows), -1)
        for values in (constant.z, constant.outputs)
    )
    totals = MetricTotals([metric], 1)
    totals.add([0], Scored(z, outputs, rows.unscaled))
    return totals.values(0)[metric.name]


def _labels(targets: Tensor) -> Tensor | None:
    """(n,) the class of each row; None where a row can have several labels."""
    if targets.dim() == 2:
        return targets[0]
    if targets.shape[2] == 1:
        return (targets[0, :, 0] > 0.5).long()
    one_each = bool((targets.sum(-1) == 1).all())
    return targets[0].argmax(-1) if one_each else None
