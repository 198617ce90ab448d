"""What the training loop asks of whatever does the arithmetic, and the plain PyTorch way to do it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import torch
from torch import Tensor

from nnrun.errors import DataError
from nnrun.interrupts import stop_if_asked
from nnrun.spec.random_streams import RandomSource
from nnrun.training.epoch_metrics import EpochMetrics, MetricAccumulator
from nnrun.training.epoch_plan import RowIndices, Segment, segments
from nnrun.training.measure import Measurement
from nnrun.training.optimizers import Rate
from nnrun.training.problem import TrainingProblem, mean_loss
from nnrun.training.train_state import ParameterGroup, TrainState, initial_state


class Engine(Protocol):
    """Holds the stacked parameters of some replicas and does the arithmetic of an epoch."""

    def train_epoch(
        self, orders: Sequence[RowIndices], sources: Sequence[RandomSource], epoch: int
    ) -> EpochMetrics:
        """One epoch over each replica's rows, in the given order; updates the parameters."""
        ...

    def set_learning_rates(self, rates: Sequence[float]) -> None:
        """From now on the replicas train at these learning rates, one for each."""
        ...

    def evaluate(self, rows: Sequence[RowIndices]) -> EpochMetrics:
        """Loss and metrics over each replica's rows; changes nothing."""
        ...

    def weights(self) -> dict[str, Tensor]:
        """A copy of the stacked parameters and the network's state, on the CPU."""
        ...

    def select_replicas(self, places: Sequence[int]) -> None:
        """Go on with the replicas at these places only."""
        ...

    def state_dict(self) -> dict[str, Tensor]:
        """A copy of all that training has changed, on the CPU, by name."""
        ...

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Take over what `state` gave of an engine for the same problem, after the same `keep`.

        Raises:
            DataError: the state is that of another engine.
        """
        ...


def step_loss(
    problem: TrainingProblem,
    parameters: Mapping[str, Tensor],
    batch: Any,
    targets: Tensor,
    rng: Any,
    weights: Tensor | None = None,
) -> tuple[Tensor, Tensor, dict[str, Tensor]]:
    """(R,) each replica's loss on its batch, penalty included; (R, B, K) values before the last activation;
    the new state."""
    new_buffers: dict[str, Tensor] = {}
    z_RBK = problem.network.forward(parameters, batch, rng, new_buffers)
    outputs_RBK = problem.network.activate(z_RBK)
    loss_R = mean_loss(problem.loss(z_RBK, outputs_RBK, targets), weights)
    penalty_R = problem.network.penalty(parameters)
    return (loss_R if penalty_R is None else loss_R + penalty_R), z_RBK, new_buffers


def split_weights(weights_GN: Tensor | None, size: int, parts: int) -> Sequence[Tensor | None]:
    """The weights of rows in parts of `size` rows; as many None where all weights are 1."""
    return [None] * parts if weights_GN is None else torch.split(weights_GN, size, 1)


class EagerEngine:
    """PyTorch, step by step: one forward pass, one backward pass and one update for all replicas at once."""

    def __init__(
        self, problem: TrainingProblem, parameters: Mapping[str, Tensor], *, joined: bool = True
    ) -> None:
        self._problem = problem
        self._state = initial_state(problem, parameters, joined=joined)
        # Where the data of the replica at each place stand in the problem's inputs and targets.
        self._data_index = list(range(len(self._state.steps_R)))
        self._measurement: Measurement | None = None

    def train_epoch(
        self, orders: Sequence[RowIndices], sources: Sequence[RandomSource], epoch: int
    ) -> EpochMetrics:
        """One epoch over each replica's rows, in the given order; updates the parameters."""
        problem = self._problem
        accumulator = MetricAccumulator(problem.metrics, len(orders))
        for segment in segments(orders, problem.batch_size, rows_at_once=problem.rows_at_once):
            rng = problem.network.rng([sources[place] for place in segment.places], epoch, problem.device)
            if len(segment.places) == len(orders):
                self._train_segment(segment, self._state, rng, accumulator)
            else:
                state = self._state.select(segment.places)
                self._train_segment(segment, state, rng, accumulator)
                self._state.put(segment.places, state)
        return accumulator.phase()

    def _train_segment(
        self, segment: Segment, state: TrainState, rng: Any, accumulator: MetricAccumulator
    ) -> None:
        problem, size = self._problem, segment.batch_size
        data_index = [self._data_index[place] for place in segment.places]
        targets = problem.targets_of(data_index, segment.rows_GN)
        weights = problem.weights_of(data_index, segment.rows_GN, training=True)
        logits, losses = [], []
        batches = problem.inputs.batches(data_index, segment.rows_GN, size)
        rest = zip(torch.split(targets, size, 1), split_weights(weights, size, segment.steps), strict=True)
        for step, (batch, (targets_GB, weights_GB)) in enumerate(zip(batches, rest, strict=True)):
            stop_if_asked()
            step_noise = None if rng is None else rng.starting_at(segment.first_row + step * size)
            loss_G, z_GBK = self._step(state, batch, targets_GB, step_noise, weights_GB, state.rates)
            losses.append(loss_G)
            logits.append(z_GBK)
        unscaled_targets = problem.unscaled_targets_of(data_index, segment.rows_GN, targets)
        scored = problem.scored(data_index, torch.cat(logits, 1), unscaled_targets)
        accumulator.add(segment.places, torch.stack(losses, 1), size, scored)

    def _step(
        self,
        state: TrainState,
        batch: Any,
        targets: Tensor,
        rng: Any,
        weights: Tensor | None,
        rates: Rate | None,
    ) -> tuple[Tensor, Tensor]:
        """One update. Returns each replica's loss before it (penalty included), and the values before the
        last activation, detached."""
        loss_G, z_GBK, new_buffers = step_loss(self._problem, state.numbers, batch, targets, rng, weights)
        # The sum's gradient for one replica's parameters is that of its own loss: replicas share nothing.
        # A custom layer may leave some of its own unused: these have a gradient of zero.
        found = torch.autograd.grad(loss_G.sum(), list(state.parameters.values()), materialize_grads=True)
        gradients = dict(zip(state.parameters, found, strict=True))
        with torch.no_grad():
            if self._problem.clip is not None:
                gradients = self._problem.clip(gradients)
            state.steps_R += 1
            for block in state.blocks:
                self._update(block, block.joined(gradients), state, rates)
            state.move(new_buffers)
        return loss_G.detach(), z_GBK.detach()

    def _update(self, block: ParameterGroup, gradient: Tensor, state: TrainState, rates: Rate | None) -> None:
        optimizer, (name, *_) = self._problem.optimizer, block.shapes
        steps_R = state.steps_R
        if name in state.seen:
            optimizer.update_rows(block.value, gradient, block.slots, state.seen[name], steps_R, rates)
        else:
            dense = gradient.to_dense() if gradient.is_sparse else gradient
            optimizer.update(block.value, dense, block.slots, steps_R, rates)

    def set_learning_rates(self, rates: Sequence[float]) -> None:
        """From now on the replicas train at these learning rates, one for each."""
        self._state.set_learning_rates(rates)

    def evaluate(self, rows: Sequence[RowIndices]) -> EpochMetrics:
        """Loss and metrics over each replica's rows; changes nothing."""
        if self._measurement is None or not self._measurement.is_of(rows):
            self._measurement = Measurement(self._problem, self._data_index, rows)
        return self._measurement.of(self._state.numbers)

    def weights(self) -> dict[str, Tensor]:
        """A copy of the stacked parameters and the network's state, on the CPU."""
        return {name: value.detach().to("cpu", copy=True) for name, value in self._state.kept.items()}

    def select_replicas(self, places: Sequence[int]) -> None:
        """Go on with the replicas at these places only."""
        self._state = self._state.select(places)
        self._measurement = None
        self._data_index = [self._data_index[place] for place in places]

    def state_dict(self) -> dict[str, Tensor]:
        """A copy of all that training has changed, on the CPU, by name."""
        return {name: value.to("cpu", copy=True) for name, value in self._state.everything().items()}

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Take over what `state` gave of an engine for the same problem, after the same `keep`."""
        mine = self._state.everything()
        wanted = {name: (value.shape, value.dtype) for name, value in mine.items()}
        if wanted != {name: (value.shape, value.dtype) for name, value in state.items()}:
            raise DataError("The checkpoint's tensors are not those of this spec's networks and optimizer.")
        with torch.no_grad():
            for name, value in mine.items():
                value.copy_(state[name])
