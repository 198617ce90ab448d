"""The engine: holds the state of R replicas, trains and evaluates them, whatever backend computes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, TypeVar

from nnrun.errors import DataError
from nnrun.lazy_torch import torch
from nnrun.replica_rows import RowIndices
from nnrun.spec.random_streams import RandomSource
from nnrun.training.backends.backend import Backend, SegmentResult
from nnrun.training.metrics import EpochMetrics, MetricAccumulator
from nnrun.training.problem import Segment, SegmentData, TrainingProblem, segments
from nnrun.training.train_state import initial_state

if TYPE_CHECKING:
    from torch import Tensor


T = TypeVar("T")


class Engine:
    """Trains replicas epoch by epoch.

    Args:
        problem: what is learned.
        weights: stacked first parameters and buffers, (R, ...).
        backend: computes the steps, and the losses and outputs of rows to evaluate.
    """

    def __init__(self, problem: TrainingProblem, weights: Mapping[str, Tensor], backend: Backend) -> None:
        self.problem, self.backend = problem, backend
        self.state = initial_state(
            problem,
            weights,
            group_small_parameters=backend.groups_parameters,
            defer_rows=backend.defers_rows,
        )
        self._data_index = list(range(len(self.state.steps_R)))
        self._blocks: list[tuple[Sequence[RowIndices], list[SegmentData]]] = []

    def train_epoch(
        self, orders: Sequence[RowIndices], sources: Sequence[RandomSource], epoch: int
    ) -> EpochMetrics:
        """One epoch over each replica's rows, in the given order. Updates the state."""
        problem = self.problem
        accumulator = _accumulator(problem, len(orders))
        for segment, data in _ready_in_time(self._gathered(orders), ahead=problem.streams):
            rng = problem.network.rng([sources[r] for r in segment.replicas], epoch, problem.device)
            if len(segment.replicas) == len(orders):
                result = self.backend.train(self.state, data, rng)
            else:
                part = self.state.select(segment.replicas)
                result = self.backend.train(part, data, rng)
                self.state.write_back(segment.replicas, part)
            _add(accumulator, problem, data, result)
        if problem.averaging is not None and not problem.averaging.each_step:
            with torch.no_grad():
                self.state.average(problem.averaging.share_after_epoch(epoch))
        return accumulator.result()

    def _gathered(self, orders: Sequence[RowIndices]) -> Iterator[tuple[Segment, SegmentData]]:
        """An epoch's segments, and their data."""
        problem = self.problem
        for segment in segments(orders, problem.batch_size, rows_at_once=problem.rows_at_once):
            yield segment, problem.gather(segment, self._data_index, training=True)

    def evaluate(self, rows: Sequence[RowIndices]) -> EpochMetrics:
        """Loss and metrics over each replica's rows, by its weights or their average. Changes nothing."""
        known = [held for of, held in self._blocks if _same_arrays(rows, of)]
        blocks: Iterable[SegmentData] = known[0] if known else self.problem.blocks(rows, self._data_index)
        if not known and max(map(len, rows)) <= self.problem.rows_at_once:
            blocks = list(blocks)  # the same rows come again after each epoch: validation and inner ones
            self._blocks = [*self._blocks[-1:], (list(rows), blocks)]
        return evaluate(self.problem, self.backend, self.state.evaluated_parameters, len(rows), blocks)

    def set_learning_rates(self, rates: Sequence[float]) -> None:
        """Set the learning rate of each replica, from the next epoch on."""
        self.state.set_learning_rates(rates)

    def select_replicas(self, replicas: Sequence[int]) -> None:
        """Continue with these replicas only."""
        self.state = self.state.select(replicas)
        self._data_index = [self._data_index[replica] for replica in replicas]
        self._blocks = []

    def weights(self) -> dict[str, Tensor]:
        """A copy of the stacked parameters and buffers, or of their averages, on the CPU."""
        return {name: value.detach().to("cpu", copy=True) for name, value in self.state.weights.items()}

    @property
    def averages(self) -> bool:
        """Whether training ends with moving averages of the parameters."""
        return self.problem.optimizer.averages

    def averaged_weights(self) -> dict[str, Tensor]:
        """The same as `weights` with the moving averages of the parameters, which the optimizer keeps."""
        averaged = self.state.averaged_weights
        return {name: value.detach().to("cpu", copy=True) for name, value in averaged.items()}

    def state_dict(self) -> dict[str, Tensor]:
        """A copy of all that training has changed, on the CPU, by name."""
        return {name: value.to("cpu", copy=True) for name, value in self.state.state_dict().items()}

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Restore what `state_dict` gave of an engine for the same problem and the same replicas.

        Raises:
            DataError: the names, shapes or types are not those of this engine's state.
        """
        own = self.state.state_dict()
        expected = {name: (value.shape, value.dtype) for name, value in own.items()}
        if expected != {name: (value.shape, value.dtype) for name, value in state.items()}:
            raise DataError("The checkpoint's tensors are not those of this spec's networks and optimizer.")
        with torch.no_grad():
            for name, value in own.items():
                value.copy_(state[name])


def evaluate(
    problem: TrainingProblem,
    backend: Backend,
    parameters: Mapping[str, Tensor],
    replicas: int,
    blocks: Iterable[SegmentData],
) -> EpochMetrics:
    """Loss and metrics of R networks.

    Args:
        problem: the network, its losses and metrics.
        backend: computes them.
        parameters: stacked, (R, ...), with buffers, on the problem's device.
        replicas: R.
        blocks: from `TrainingProblem.blocks`.
    """
    accumulator = _accumulator(problem, replicas)
    with torch.inference_mode():
        for data in _ready_in_time(iter(blocks), ahead=problem.streams):
            _add(accumulator, problem, data, backend.evaluate(parameters, data))
    return accumulator.result()


def _accumulator(problem: TrainingProblem, replicas: int) -> MetricAccumulator:
    heads = problem.heads.items()
    counts = {port: head.loss_weight for port, head in heads}
    return MetricAccumulator({port: head.metrics for port, head in heads}, replicas, counts)


def _add(
    accumulator: MetricAccumulator, problem: TrainingProblem, data: SegmentData, result: SegmentResult
) -> None:
    """Count what a backend gave, in the targets' own units."""
    scored = {
        port: problem.scored(port, logits, data, result.masks.get(port))
        for port, logits in result.logits.items()
    }
    size = data.segment.batch_size
    with_target = {
        port: rows.present.reshape(len(rows.present), -1, size).sum(2)
        for port, rows in data.targets.items()
        if rows.present is not None
    }
    accumulator.add(data.segment.replicas, result.losses, size, scored, with_target)


def _ready_in_time(items: Iterator[T], *, ahead: bool) -> Iterator[T]:
    """The same; with `ahead`, a thread makes the next one while the present one is in use."""
    if not ahead:
        yield from items
        return
    with ThreadPoolExecutor(1) as pool:
        coming = pool.submit(next, items, None)
        while (item := coming.result()) is not None:
            coming = pool.submit(next, items, None)
            yield item


def _same_arrays(some: Sequence[RowIndices], others: Sequence[RowIndices]) -> bool:
    return len(some) == len(others) and all(a is b for a, b in zip(some, others, strict=True))
