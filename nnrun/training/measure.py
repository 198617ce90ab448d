"""Loss and metrics of given parameters over given rows."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from nnrun.interrupts import stop_if_asked
from nnrun.training.epoch_metrics import Phase, Tally
from nnrun.training.epoch_plan import RowNumbers, segments
from nnrun.training.problem import Task, mean_loss


@dataclass(frozen=True, eq=False)
class MeasuredRows:
    """Some rows of some replicas, ready to be measured.

    Attributes:
        places: the replicas, by their place among all.
        data_places: where their data stand in the task's inputs and targets.
        rows: how many of each.
        batch: their inputs.
        targets: (G, rows, K) or (G, rows).
        own_targets: the same in their own units, for metrics.
        weights: (G, rows) what the loss of each row counts; None where all count 1.
    """

    places: list[int]
    data_places: list[int]
    rows: int
    batch: Any
    targets: Tensor
    own_targets: Tensor
    weights: Tensor | None = None


def measured_rows(
    task: Task, data_places: Sequence[int], rows: Sequence[RowNumbers]
) -> Iterator[MeasuredRows]:
    """Gather rows block by block, so that memory does not follow their number.

    Args:
        task: the data.
        data_places: for each replica where its data stand in the task's inputs and targets.
        rows: for each replica its row numbers.
    """
    for segment in segments(rows, task.rows_at_once, rows_at_once=task.rows_at_once):
        of_data = [data_places[place] for place in segment.places]
        (batch,) = task.inputs.batches(of_data, segment.rows_GN, segment.batch_size)
        targets = task.targets_of(of_data, segment.rows_GN)
        weights = task.weights_of(of_data, segment.rows_GN)
        places = list(segment.places)
        own = task.own_targets_of(of_data, segment.rows_GN, targets)
        yield MeasuredRows(places, of_data, segment.batch_size, batch, targets, own, weights)


def measure(
    task: Task, parameters: Mapping[str, Tensor], replicas: int, blocks: Iterable[MeasuredRows]
) -> Phase:
    """Measure R networks over rows that are ready; changes nothing.

    Args:
        task: the network, its loss and metrics.
        parameters: stacked, (R, ...), on the task's device.
        replicas: R.
        blocks: from `measured_rows`.
    """
    tally = Tally(task.metrics, replicas)
    with torch.inference_mode():
        penalty_R = task.network.penalty(parameters)
        for block in blocks:
            stop_if_asked()
            own = parameters
            if len(block.places) < replicas:
                own = {name: value[block.places] for name, value in parameters.items()}
            z = task.network.forward(own, block.batch)
            outputs = task.network.activate(z)
            loss_G = mean_loss(task.loss(z, outputs, block.targets).double(), block.weights)
            if penalty_R is not None:
                loss_G = loss_G + penalty_R[block.places]
            scored = task.scored(block.data_places, z, block.own_targets)
            tally.add(block.places, loss_G[:, None], block.rows, scored)
    return tally.phase()


def evaluate(
    task: Task, parameters: Mapping[str, Tensor], data_places: Sequence[int], rows: Sequence[RowNumbers]
) -> Phase:
    """Measure R networks, each on rows of its own; changes nothing. The arguments are those of the above."""
    return measure(task, parameters, len(rows), measured_rows(task, data_places, rows))


class Measurement:
    """The same rows measured again and again: those that fit into one block are gathered once."""

    def __init__(self, task: Task, data_places: Sequence[int], rows: Sequence[RowNumbers]) -> None:
        self._task, self._data_places, self.rows = task, data_places, list(rows)
        self._kept: list[MeasuredRows] | None = None
        if max(map(len, rows)) <= task.rows_at_once:
            self._kept = list(measured_rows(task, data_places, rows))

    def of(self, parameters: Mapping[str, Tensor]) -> Phase:
        """Loss and metrics of these parameters."""
        blocks = self._kept or measured_rows(self._task, self._data_places, self.rows)
        return measure(self._task, parameters, len(self.rows), blocks)

    def is_of(self, rows: Sequence[RowNumbers]) -> bool:
        """Whether these very arrays are measured."""
        return len(rows) == len(self.rows) and all(a is b for a, b in zip(rows, self.rows, strict=True))
