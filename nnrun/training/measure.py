"""Loss and metrics of given parameters over given rows."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from nnrun.interrupts import stop_if_asked
from nnrun.training.epoch_metrics import EpochMetrics, MetricAccumulator
from nnrun.training.epoch_plan import RowIndices, segments
from nnrun.training.problem import TrainingProblem, mean_loss


@dataclass(frozen=True, eq=False)
class MeasuredRows:
    """Some rows of some replicas, ready to be measured.

    Attributes:
        places: the replicas, by their place among all.
        data_index: where their data stand in the problem's inputs and targets.
        rows: how many of each.
        batch: their inputs.
        targets: (G, rows, K) or (G, rows).
        unscaled_targets: the same in their own units, for metrics.
        weights: (G, rows) what the loss of each row counts; None where all count 1.
    """

    places: list[int]
    data_index: list[int]
    rows: int
    batch: Any
    targets: Tensor
    unscaled_targets: Tensor
    weights: Tensor | None = None


def measured_rows(
    problem: TrainingProblem, data_index: Sequence[int], rows: Sequence[RowIndices]
) -> Iterator[MeasuredRows]:
    """Gather rows block by block, so that memory does not follow their number.

    Args:
        problem: the data.
        data_index: for each replica where its data stand in the problem's inputs and targets.
        rows: for each replica its row numbers.
    """
    for segment in segments(rows, problem.rows_at_once, rows_at_once=problem.rows_at_once):
        of_data = [data_index[place] for place in segment.places]
        (batch,) = problem.inputs.batches(of_data, segment.rows_GN, segment.batch_size)
        targets = problem.targets_of(of_data, segment.rows_GN)
        weights = problem.weights_of(of_data, segment.rows_GN)
        places = list(segment.places)
        own = problem.unscaled_targets_of(of_data, segment.rows_GN, targets)
        yield MeasuredRows(places, of_data, segment.batch_size, batch, targets, own, weights)


def measure(
    problem: TrainingProblem, parameters: Mapping[str, Tensor], replicas: int, blocks: Iterable[MeasuredRows]
) -> EpochMetrics:
    """Measure R networks over rows that are ready; changes nothing.

    Args:
        problem: the network, its loss and metrics.
        parameters: stacked, (R, ...), on the problem's device.
        replicas: R.
        blocks: from `measured_rows`.
    """
    accumulator = MetricAccumulator(problem.metrics, replicas)
    with torch.inference_mode():
        penalty_R = problem.network.penalty(parameters)
        for block in blocks:
            stop_if_asked()
            own = parameters
            if len(block.places) < replicas:
                own = {name: value[block.places] for name, value in parameters.items()}
            z = problem.network.forward(own, block.batch)
            outputs = problem.network.activate(z)
            loss_G = mean_loss(problem.loss(z, outputs, block.targets).double(), block.weights)
            if penalty_R is not None:
                loss_G = loss_G + penalty_R[block.places]
            scored = problem.scored(block.data_index, z, block.unscaled_targets)
            accumulator.add(block.places, loss_G[:, None], block.rows, scored)
    return accumulator.phase()


def evaluate(
    problem: TrainingProblem,
    parameters: Mapping[str, Tensor],
    data_index: Sequence[int],
    rows: Sequence[RowIndices],
) -> EpochMetrics:
    """Measure R networks, each on rows of its own; changes nothing. The arguments are those of the above."""
    return measure(problem, parameters, len(rows), measured_rows(problem, data_index, rows))


class Measurement:
    """The same rows measured again and again: those that fit into one block are gathered once."""

    def __init__(
        self, problem: TrainingProblem, data_index: Sequence[int], rows: Sequence[RowIndices]
    ) -> None:
        self._problem, self._data_index, self.rows = problem, data_index, list(rows)
        self._kept: list[MeasuredRows] | None = None
        if max(map(len, rows)) <= problem.rows_at_once:
            self._kept = list(measured_rows(problem, data_index, rows))

    def of(self, parameters: Mapping[str, Tensor]) -> EpochMetrics:
        """Loss and metrics of these parameters."""
        blocks = self._kept or measured_rows(self._problem, self._data_index, self.rows)
        return measure(self._problem, parameters, len(self.rows), blocks)

    def is_of(self, rows: Sequence[RowIndices]) -> bool:
        """Whether these very arrays are measured."""
        return len(rows) == len(self.rows) and all(a is b for a, b in zip(rows, self.rows, strict=True))
