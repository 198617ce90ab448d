"""The objective: the weighted sum of the heads' losses, and the regularization term."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from nnrun.lazy_torch import torch
from nnrun.ranks import share_of_batch
from nnrun.spec.ports import Port, named
from nnrun.training.problem import Head, TargetRows, TrainingProblem, counted_steps

if TYPE_CHECKING:
    from torch import Tensor

TOTAL = "loss"
"""The name of the total loss, in `objective` and in the history."""


class Forward(NamedTuple):
    """What a forward pass gives.

    Attributes:
        logits: of each head, (R, B, K), or (R, B, T, K) where its output has steps.
        row_losses: of each head the loss of each row, (R, B).
        penalty_R: the regularization term of weights and activities; None where there is none. Of a part of a
            batch that part's share of it.
        masks: of each head whose steps do not all count, (R, B, T) booleans.
    """

    logits: Mapping[Port, Tensor]
    row_losses: Mapping[Port, Tensor]
    penalty_R: Tensor | None
    masks: Mapping[Port, Tensor]


def forward(
    problem: TrainingProblem,
    parameters: Mapping[str, Tensor],
    inputs: Mapping[Port, Any],
    targets: Mapping[Port, TargetRows],
    rng: Any = None,
    new_buffers: dict[str, Tensor] | None = None,
) -> Forward:
    """For each head the logits and the loss of each row, and what regularizers add to the loss.

    Args:
        problem: the network and its heads.
        parameters: stacked, (R, ...), with buffers.
        inputs, targets: of one batch.
        rng, new_buffers: of a training step; None otherwise.
    """
    penalties: list[Tensor] = []
    masks: dict[Port, Tensor] = {}
    logits = problem.network.forward(parameters, inputs, rng, new_buffers, penalties, masks)
    losses = {}
    if new_buffers is not None and problem.network.number_of_members > 1:
        for port in problem.heads:
            losses[port] = _mean_of_members(problem, port, logits[port], targets[port])
        with torch.no_grad():
            logits = _combined(problem, logits, targets)
    else:
        logits = _combined(problem, logits, targets)
        for port in problem.heads:
            losses[port] = _row_losses(problem, port, logits[port], targets[port], masks.get(port))
    of_weights = problem.network.penalty(parameters)
    if (share := share_of_batch()) is not None:
        penalties = [term * share.fraction for term in penalties]
        of_weights = None if of_weights is None else of_weights / share.ranks.world_size
    terms = penalties if of_weights is None else [of_weights, *penalties]
    of_steps = {port: mask for port, mask in masks.items() if problem.heads[port].form == "steps"}
    return Forward(logits, losses, sum(terms[1:], terms[0]) if terms else None, of_steps)


def _combined(
    problem: TrainingProblem, logits: Mapping[Port, Tensor], targets: Mapping[Port, TargetRows]
) -> dict[Port, Tensor]:
    """(R, B, K) of each head: of an ensemble those of the members' mean prediction."""
    return {port: problem.network.combined(port, z, targets[port].scales) for port, z in logits.items()}


def _row_losses(
    problem: TrainingProblem, port: Port, z_RBK: Tensor, rows: TargetRows, mask_RBT: Tensor | None = None
) -> Tensor:
    """(R, B): a head's loss of each row."""
    head = problem.heads[port]
    losses = head.loss(z_RBK, problem.network.activate(port, z_RBK), rows.targets)
    if head.form != "steps":
        return losses
    return mean_over_steps(losses, mask_RBT, rows.present, rows.counted)


def _mean_of_members(problem: TrainingProblem, port: Port, z_RMBK: Tensor, rows: TargetRows) -> Tensor:
    """(R, B): the mean of the members' losses of each row. No layer of an ensemble makes a mask."""
    members = z_RMBK.shape[1]
    own = TargetRows(rows.targets.repeat_interleave(members, 0), rows.unscaled)
    losses = _row_losses(problem, port, z_RMBK.flatten(0, 1), own)
    return losses.view(-1, members, losses.shape[1]).mean(1)


def mean_over_steps(
    losses_RBT: Tensor,
    mask_RBT: Tensor | None,
    present_RB: Tensor | None = None,
    counted_R1: Tensor | None = None,
) -> Tensor:
    """(R, B): the loss of each row. With a mask the mean over a batch is that of all steps that count.

    Steps of rows without targets do not count; `mean_loss` leaves these rows out. `counted_R1` is that of
    `TargetRows`, of rows that are a part of a batch.
    """
    if mask_RBT is None:
        return losses_RBT.mean(-1)
    counted_RBT = counted_steps(losses_RBT, mask_RBT, present_RB)
    assert counted_RBT is not None, "there is a mask"
    steps_R = counted_RBT.sum((1, 2))
    if (share := share_of_batch()) is not None:
        steps_R = share.ranks.add(steps_R)
    rows = mask_RBT.shape[1] if present_RB is None else present_RB.sum(1, keepdim=True)
    rows = rows if counted_R1 is None else counted_R1
    return torch.where(counted_RBT, losses_RBT, 0.0).sum(-1) * rows / steps_R.clamp(min=1).unsqueeze(1)


def objective(
    heads: Mapping[Port, Head],
    row_losses: Mapping[Port, Tensor],
    targets: Mapping[Port, TargetRows],
    penalty_R: Tensor | None,
) -> dict[str, Tensor]:
    """(R,) losses of a batch by their names: the total; and `<head>_loss` of each, of named heads."""
    total = penalty_R
    losses: dict[str, Tensor] = {}
    for port, head in heads.items():
        own = targets[port]
        loss_R = mean_loss(row_losses[port], own.weights, own.present, own.counted)
        losses[f"{port}_{TOTAL}"] = loss_R
        weighted = loss_R if head.loss_weight == 1 else head.loss_weight * loss_R
        total = weighted if total is None else weighted + total
    assert total is not None, "a network has at least one head"
    return {TOTAL: total, **(losses if named(heads) else {})}


def mean_loss(
    losses_RB: Tensor,
    weights_RB: Tensor | None,
    present_RB: Tensor | None = None,
    counted_R1: Tensor | None = None,
) -> Tensor:
    """(R,): the loss of a batch. Weighted losses are divided by the number of rows, as Keras does.

    Rows without a target do not count, neither in the sum nor in the number, as where Keras masks them (a
    `sample_weight` of 0 would leave them in the number): what an output loses does not depend on how many
    other rows lack its target. A batch without any row that has one loses 0.

    Of rows that are a part of a batch it is what they add to the batch's loss; `counted_R1` is that of
    `TargetRows`.
    """
    weighted_RB = losses_RB if weights_RB is None else losses_RB * weights_RB
    if counted_R1 is not None:
        kept_RB = weighted_RB if present_RB is None else torch.where(present_RB, weighted_RB, 0.0)
        return kept_RB.sum(1) / counted_R1.squeeze(1)
    if present_RB is None:
        return weighted_RB.mean(1)
    return torch.where(present_RB, weighted_RB, 0.0).sum(1) / present_RB.sum(1).clamp(min=1)
