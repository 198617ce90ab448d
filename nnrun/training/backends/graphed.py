"""Training steps as a CUDA graph: recorded once, and started again for each batch with one call.

A small step's time on a GPU is nearly all the time in which the CPU starts its operations one by one. A graph
starts them all at once. What it reads and writes lies at fixed places, so that each batch is copied there
first.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from nnrun.interrupts import stop_if_asked
from nnrun.training.engine import EagerEngine
from nnrun.training.epoch_metrics import MetricAccumulator
from nnrun.training.epoch_plan import Segment
from nnrun.training.problem import TrainingProblem
from nnrun.training.train_state import TrainState

_WARM_UP = 3  # as PyTorch's own make_graphed_callables

Record = Callable[[Callable[[], None]], Callable[[], None]]
"""Takes a function, calls it a few times, and gives what does the same again."""


def cuda_graph(step: Callable[[], None]) -> Callable[[], None]:
    """Record a step on the present GPU, as PyTorch's notes on CUDA semantics have it."""
    beside = torch.cuda.Stream()  # type: ignore[no-untyped-call]
    beside.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(beside):
        for _ in range(_WARM_UP):
            step()
    torch.cuda.current_stream().wait_stream(beside)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        step()
    return graph.replay


@dataclass(frozen=True, eq=False)
class _Recorded:
    """A step of all replicas, and where it finds what it needs and leaves what it gives.

    Attributes:
        inputs, targets, weights: (R, B, ...) of the batch; weights are None where all are 1.
        rng: of the batch, or None; its keys change with the epoch, its first row with the step.
        rates_R: learning rates.
        loss_R, z_RBK: what the step gives: the loss, and the values before the last activation.
        again: makes the step.
    """

    inputs: Tensor
    targets: Tensor
    weights: Tensor | None
    rng: Any
    rates_R: Tensor
    loss_R: Tensor
    z_RBK: Tensor
    again: Callable[[], None]


class GraphedEngine(EagerEngine):
    """As `EagerEngine`, with full batches of all replicas, of dense rows, as a graph.

    Shorter batches, and those of some replicas alone, go step by step. Each set of replicas has a graph of
    its own, which is recorded when it is first needed.

    Args:
        problem: what is learned; over dense rows.
        parameters: stacked first weights.
        record: what makes the graph.
    """

    def __init__(
        self, problem: TrainingProblem, parameters: Mapping[str, Tensor], record: Record = cuda_graph
    ) -> None:
        super().__init__(problem, parameters)
        self._record = record
        self._recorded: _Recorded | None = None

    def _train_segment(
        self, segment: Segment, state: TrainState, rng: Any, accumulator: MetricAccumulator
    ) -> None:
        problem, size = self._problem, segment.batch_size
        if state is not self._state or size < problem.batch_size:
            super()._train_segment(segment, state, rng, accumulator)
            return
        targets = problem.targets_of(self._data_index, segment.rows_GN)
        weights = problem.weights_of(self._data_index, segment.rows_GN, training=True)
        count = segment.rows_GN.shape[1]
        (inputs,) = problem.inputs.batches(self._data_index, segment.rows_GN, count)
        if self._recorded is None:
            of_batch = None if weights is None else weights[:, :size].clone()
            self._recorded = self._recorded_step(
                inputs[:, :size].clone(), targets[:, :size].clone(), of_batch, rng
            )
        step = self._recorded
        step.rates_R.copy_(state.rates_of_each(problem.optimizer.learning_rate))
        if rng is not None:
            for position, keys in rng.keys.items():
                step.rng.keys[position].copy_(keys)
        losses = step.loss_R.new_empty(len(step.loss_R), segment.steps)
        logits = step.z_RBK.new_empty(len(step.loss_R), count, step.z_RBK.shape[2])
        for number in range(segment.steps):
            stop_if_asked()
            rows = slice(number * size, (number + 1) * size)
            step.inputs.copy_(inputs[:, rows])
            step.targets.copy_(targets[:, rows])
            if step.weights is not None and weights is not None:
                step.weights.copy_(weights[:, rows])
            if rng is not None:
                step.rng.first_row.fill_(segment.first_row + number * size)
            step.again()
            losses[:, number] = step.loss_R
            logits[:, rows] = step.z_RBK
        unscaled_targets = problem.unscaled_targets_of(self._data_index, segment.rows_GN, targets)
        scored = problem.scored(self._data_index, logits, unscaled_targets)
        accumulator.add(segment.places, losses, size, scored)

    def _recorded_step(self, x: Tensor, y: Tensor, weights: Tensor | None, rng: Any) -> _Recorded:
        """Record the step, which will look for its batch here; what recording changes is put back."""
        state, problem = self._state, self._problem
        if rng is not None:
            keys = {position: keys.clone() for position, keys in rng.keys.items()}
            rng = type(rng)(keys, torch.zeros((), dtype=torch.int64, device=problem.device))
        rates_R = state.rates_of_each(problem.optimizer.learning_rate).clone()
        replicas = len(state.steps_R)
        loss_R = torch.empty(replicas, device=problem.device)
        z_RBK = torch.empty(replicas, problem.batch_size, problem.network.outputs, device=problem.device)

        def step() -> None:
            loss, z = self._step(state, x, y, rng, weights, rates_R)
            loss_R.copy_(loss)
            z_RBK.copy_(z)

        everything = state.everything()
        before = {name: value.clone() for name, value in everything.items()}
        again = self._record(step)
        with torch.no_grad():
            for name, value in everything.items():
                value.copy_(before[name])
        return _Recorded(x, y, weights, rng, rates_R, loss_R, z_RBK, again)

    def select_replicas(self, places: Any) -> None:
        """Go on with the replicas at these places only."""
        super().select_replicas(places)
        self._recorded = None
