"""What a predictor that never looks at the inputs would score.

It always gives what is best known of the training targets alone: the share of each class (so that its
accuracy is that of the majority class), or the mean. A network that does not beat it has learned nothing from
the inputs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

from nnrun.training.phase import Tally
from nnrun.training.plan import RowNumbers
from nnrun.training.task import Task

SHUFFLED = "accuracy_shuffled"
"""The accuracy of labels against themselves in another order (book, listing 3.21)."""

# Keras's fuzz factor: a class that no training row has would have an infinite loss.
_LEAST_SHARE = 1e-7


def baseline(
    task: Task, activation: str, place: int, train_rows: RowNumbers, scored_rows: RowNumbers
) -> dict[str, float]:
    """Loss and metrics of the constant predictor for one replica.

    Args:
        task: the loss, the metrics and the targets.
        activation: of the network's last layer.
        place: where the replica's targets stand in the task.
        train_rows: the rows whose targets the predictor knows.
        scored_rows: the rows on which it is scored.
    """
    known = task.targets_of([place], train_rows[None])
    targets = task.targets_of([place], scored_rows[None])
    return constant_scores(task, activation, known, targets, place)


def constant_scores(
    task: Task, activation: str, known: Tensor, targets: Tensor, place: int = 0
) -> dict[str, float]:
    """The same from targets, (1, n, K) or (1, n) class indices."""
    rows = targets.shape[1]
    z_1K, output_1K = _constant(known, activation, task.network.outputs)
    z, outputs = z_1K.expand(1, rows, -1), output_1K.expand(1, rows, -1)
    tally = Tally(task.metrics, 1)
    loss = task.loss(z, outputs, targets).double().mean(1)
    tally.add([0], loss[:, None], rows, *task.in_own_units([place], outputs, targets))
    scores = tally.phase().columns(0)
    labels = _labels(targets)
    if "accuracy" in scores and labels is not None:
        shares = torch.bincount(labels).double() / rows
        scores[SHUFFLED] = float(shares.square().sum())  # the chance that two rows drawn at random agree
    return scores


def mean_of(scores: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """The mean over folds, score by score."""
    return {name: float(np.mean([s[name] for s in scores])) for name in scores[0]}


def _constant(known: Tensor, activation: str, outputs: int) -> tuple[Tensor, Tensor]:
    """(1, K) each: the outputs, shares or means, and the values that the last activation turns into them."""
    if known.dim() == 2:
        counts = torch.bincount(known[0], minlength=outputs).double()
        mean_K = counts / counts.sum()
    else:
        mean_K = known[0].double().mean(0)
    z_K = mean_K
    if activation == "softmax":
        z_K = mean_K.clamp(_LEAST_SHARE, 1).log()
    elif activation == "sigmoid":
        z_K = torch.logit(mean_K, eps=_LEAST_SHARE)
    return z_K.float()[None], mean_K.float()[None]


def _labels(targets: Tensor) -> Tensor | None:
    """(n,) the class of each row; None where a row can have several labels."""
    if targets.dim() == 2:
        return targets[0]
    if targets.shape[2] == 1:
        return (targets[0, :, 0] > 0.5).long()
    one_each = bool((targets.sum(-1) == 1).all())
    return targets[0].argmax(-1) if one_each else None
