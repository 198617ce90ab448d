"""Several processes train one network: each has its rows of every batch, and they add up the gradients."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any, ClassVar
from weakref import WeakKeyDictionary

import numpy as np

from nnrun.interrupts import stop_if_asked
from nnrun.lazy_torch import torch
from nnrun.ranks import Ranks, Share, sharing
from nnrun.replica_rows import RowIndices
from nnrun.spec.custom_objects import custom_parts
from nnrun.spec.ports import Port
from nnrun.training.backends.backend import SegmentResult
from nnrun.training.backends.eager import EagerBackend, Tensors
from nnrun.training.objective import objective
from nnrun.training.problem import SegmentData, TargetRows, TrainingProblem
from nnrun.training.train_state import TrainState

if TYPE_CHECKING:
    from torch import Tensor


class DistributedBackend:
    """PyTorch, step by step, on this rank's share of each batch.

    As `torch.nn.parallel.DistributedDataParallel` it makes all ranks' parameters take the same steps. The
    gradient is that of the mean over all rows of a batch, however unequal the shares are. Batch
    normalization is by the statistics of all rows. What it returns is of whole batches, on every rank.

    Args:
        problem: what is learned.
        eager: computes the shares.
        ranks: the processes.
    """

    groups_parameters: ClassVar[bool] = True
    defers_rows: ClassVar[bool] = False  # which rows a batch meets, only all ranks know

    def __init__(self, problem: TrainingProblem, eager: EagerBackend, ranks: Ranks) -> None:
        self.compiled = eager.compiled
        self._problem, self._eager, self._ranks = problem, eager, ranks
        # As DistributedDataParallel does: what a person's own layer keeps, each rank moves in its own way.
        own_layers = problem.spec is not None and bool(custom_parts(problem.spec))
        self._copies_buffers = own_layers and bool(problem.network.buffer_names)
        self._shares: WeakKeyDictionary[SegmentData, SegmentData] = WeakKeyDictionary()

    def train(self, state: TrainState, data: SegmentData, rng: Any) -> SegmentResult:
        """Make the steps of a segment."""
        segment, size = data.segment, data.segment.batch_size
        share, first = self._share(data), self._ranks.part(size)[0]
        losses: list[Mapping[str, Tensor]] = []
        logits: list[Mapping[Port, Tensor]] = []
        masks: list[Mapping[Port, Tensor]] = []
        for step, (inputs, targets) in enumerate(share.batches()):
            stop_if_asked()
            step_rng = None if rng is None else rng.starting_at(segment.first_row + step * size + first)
            with self._sharing(size):
                found = self._eager.step(state, inputs, targets, step_rng, self._summed)
            if self._copies_buffers:
                for buffer in state.buffers.values():
                    self._ranks.copy_from_first(buffer)
            losses.append(found[0])
            logits.append(found[1])
            masks.append(found[2])
        return SegmentResult(
            {name: torch.stack([of_step[name] for of_step in losses], 1) for name in losses[0]},
            {port: self._joined([of_step[port] for of_step in logits], size) for port in logits[0]},
            {port: self._joined([of_step[port] for of_step in masks], size) for port in masks[0]},
        )

    def evaluate(self, parameters: Mapping[str, Tensor], data: SegmentData) -> SegmentResult:
        """Losses and logits of a segment that is a single batch."""
        size = data.segment.batch_size
        share = self._shares.get(data)
        if share is None:  # the same blocks come again after each epoch, and their rows are kept
            share = self._shares[data] = self._share(data)
        with self._sharing(size):
            logits, row_losses, penalty_R, masks = self._eager.measured(parameters, share)
        losses = objective(
            self._problem.heads,
            {port: self._joined([of_rows], size) for port, of_rows in row_losses.items()},
            data.targets,
            None if penalty_R is None else self._ranks.add(penalty_R),
        )
        return SegmentResult(
            {name: loss[:, None] for name, loss in losses.items()},
            {port: self._joined([values], size) for port, values in logits.items()},
            {port: self._joined([mask], size) for port, mask in masks.items()},
        )

    def _sharing(self, batch_size: int) -> Any:
        first, end = self._ranks.part(batch_size)
        return sharing(Share(self._ranks, end - first, batch_size))

    def _share(self, data: SegmentData) -> SegmentData:
        return share_of(data, *self._ranks.part(data.segment.batch_size))

    def _joined(self, of_steps: list[Tensor], size: int) -> Tensor:
        """(G, steps * size, ...) of all ranks' rows, from (G, rows, ...) of this rank's in each step."""
        parts = self._ranks.parts(size)
        own = torch.stack(of_steps, 1)[:, :, : parts[self._ranks.launch.rank]]
        return self._ranks.joined(own, 2, parts).flatten(1, 2)

    def _summed(self, gradients: Tensors, losses: Tensors) -> tuple[Tensors, Tensors]:
        """Gradients and losses of the whole batch, by one exchange."""
        own = [value.to_dense() if value.is_sparse else value for value in gradients.values()]
        parts = [*own, *(loss.to(own[0].dtype) for loss in losses.values())]
        flat = self._ranks.add(torch.cat([part.reshape(-1) for part in parts]))
        pieces = torch.split(flat, [part.numel() for part in parts])
        whole = [piece.view(part.shape) for piece, part in zip(pieces, parts, strict=True)]
        count = len(gradients)
        return (
            dict(zip(gradients, whole[:count], strict=True)),
            dict(zip(losses, whole[count:], strict=True)),
        )


def share_of(data: SegmentData, first: int, end: int) -> SegmentData:
    """Rows `first` to `end` of each batch of a segment.

    A share without rows has the first row of each batch, without its target: what is computed of it counts
    nowhere, and this rank takes part in all that ranks exchange.
    """
    segment, size = data.segment, data.segment.batch_size
    cut = slice(first, end) if end > first else slice(0, 1)
    rows_GN = _cut_rows(segment.rows_GN, size, cut)
    return replace(
        data,
        segment=replace(segment, batch_size=cut.stop - cut.start, rows_GN=rows_GN),
        targets={port: _cut_targets(rows, size, cut, end > first) for port, rows in data.targets.items()},
    )


def _cut_rows(rows_GN: RowIndices, size: int, cut: slice) -> RowIndices:
    batches = rows_GN.reshape(len(rows_GN), -1, size)
    return np.ascontiguousarray(batches[:, :, cut].reshape(len(rows_GN), -1))


def _cut_targets(rows: TargetRows, size: int, cut: slice, real: bool) -> TargetRows:
    def of(values_GN: Tensor) -> Tensor:
        batches = values_GN.reshape(len(values_GN), -1, size, *values_GN.shape[2:])
        return batches[:, :, cut].flatten(1, 2)

    targets = of(rows.targets)
    steps = len(rows) // size
    if rows.present is None:
        counted = torch.full((len(targets), steps), float(size), device=targets.device)
        present = None if real else torch.zeros(targets.shape[:2], dtype=torch.bool, device=targets.device)
    else:
        counted = rows.present.reshape(len(targets), steps, size).sum(2).clamp(min=1).to(torch.float32)
        present = of(rows.present) if real else torch.zeros_like(of(rows.present))
    return TargetRows(
        targets,
        targets if rows.unscaled is rows.targets else of(rows.unscaled),
        None if rows.weights is None else of(rows.weights),
        present,
        rows.scales,
        counted,
    )
