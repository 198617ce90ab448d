"""What the training loop asks of whatever does the arithmetic, and the plain PyTorch way to do it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import torch
from torch import Tensor

from nnrun.errors import DataError
from nnrun.interrupts import stop_if_asked
from nnrun.spec.random_streams import RandomSource
from nnrun.training.epoch_metrics import Phase, Tally
from nnrun.training.epoch_plan import RowNumbers, Segment, segments
from nnrun.training.measure import Measurement
from nnrun.training.optimizers import Rate
from nnrun.training.problem import Task, mean_loss
from nnrun.training.train_state import Block, Stack, first_stack


class Engine(Protocol):
    """Holds the stacked parameters of some replicas and does the arithmetic of an epoch."""

    def train_epoch(self, orders: Sequence[RowNumbers], sources: Sequence[RandomSource], epoch: int) -> Phase:
        """One epoch over each replica's rows, in the given order; updates the parameters."""
        ...

    def set_rates(self, rates: Sequence[float]) -> None:
        """From now on the replicas train at these learning rates, one for each."""
        ...

    def evaluate(self, rows: Sequence[RowNumbers]) -> Phase:
        """Loss and metrics over each replica's rows; changes nothing."""
        ...

    def parameters(self) -> dict[str, Tensor]:
        """A copy of the stacked parameters and the network's state, on the CPU."""
        ...

    def keep(self, places: Sequence[int]) -> None:
        """Go on with the replicas at these places only."""
        ...

    def state(self) -> dict[str, Tensor]:
        """A copy of all that training has changed, on the CPU, by name."""
        ...

    def restore(self, state: Mapping[str, Tensor]) -> None:
        """Take over what `state` gave of an engine for the same task, after the same `keep`.

        Raises:
            DataError: the state is that of another engine.
        """
        ...


def step_loss(
    task: Task,
    parameters: Mapping[str, Tensor],
    batch: Any,
    targets: Tensor,
    noise: Any,
    weights: Tensor | None = None,
) -> tuple[Tensor, Tensor, dict[str, Tensor]]:
    """(R,) each replica's loss on its batch, penalty included; (R, B, K) values before the last activation;
    the new state."""
    moved: dict[str, Tensor] = {}
    z_RBK = task.network.forward(parameters, batch, noise, moved)
    outputs_RBK = task.network.activate(z_RBK)
    loss_R = mean_loss(task.loss(z_RBK, outputs_RBK, targets), weights)
    penalty_R = task.network.penalty(parameters)
    return (loss_R if penalty_R is None else loss_R + penalty_R), z_RBK, moved


def split_weights(weights_GN: Tensor | None, size: int, parts: int) -> Sequence[Tensor | None]:
    """The weights of rows in parts of `size` rows; as many None where all weights are 1."""
    return [None] * parts if weights_GN is None else torch.split(weights_GN, size, 1)


class EagerEngine:
    """PyTorch, step by step: one forward pass, one backward pass and one update for all replicas at once."""

    def __init__(self, task: Task, parameters: Mapping[str, Tensor], *, joined: bool = True) -> None:
        self._task = task
        self._stack = first_stack(task, parameters, joined=joined)
        # Where the data of the replica at each place stand in the task's inputs and targets.
        self._data_places = list(range(len(self._stack.steps_R)))
        self._measurement: Measurement | None = None

    def train_epoch(self, orders: Sequence[RowNumbers], sources: Sequence[RandomSource], epoch: int) -> Phase:
        """One epoch over each replica's rows, in the given order; updates the parameters."""
        task = self._task
        tally = Tally(task.metrics, len(orders))
        for segment in segments(orders, task.batch_size, rows_at_once=task.rows_at_once):
            noise = task.network.noise([sources[place] for place in segment.places], epoch, task.device)
            if len(segment.places) == len(orders):
                self._train_segment(segment, self._stack, noise, tally)
            else:
                stack = self._stack.select(segment.places)
                self._train_segment(segment, stack, noise, tally)
                self._stack.put(segment.places, stack)
        return tally.phase()

    def _train_segment(self, segment: Segment, stack: Stack, noise: Any, tally: Tally) -> None:
        task, size = self._task, segment.batch_size
        data_places = [self._data_places[place] for place in segment.places]
        targets = task.targets_of(data_places, segment.rows_GN)
        weights = task.weights_of(data_places, segment.rows_GN, training=True)
        logits, losses = [], []
        batches = task.inputs.batches(data_places, segment.rows_GN, size)
        rest = zip(torch.split(targets, size, 1), split_weights(weights, size, segment.steps), strict=True)
        for step, (batch, (targets_GB, weights_GB)) in enumerate(zip(batches, rest, strict=True)):
            stop_if_asked()
            step_noise = None if noise is None else noise.starting_at(segment.first_row + step * size)
            loss_G, z_GBK = self._step(stack, batch, targets_GB, step_noise, weights_GB, stack.rates)
            losses.append(loss_G)
            logits.append(z_GBK)
        own_targets = task.own_targets_of(data_places, segment.rows_GN, targets)
        scored = task.scored(data_places, torch.cat(logits, 1), own_targets)
        tally.add(segment.places, torch.stack(losses, 1), size, scored)

    def _step(
        self,
        stack: Stack,
        batch: Any,
        targets: Tensor,
        noise: Any,
        weights: Tensor | None,
        rates: Rate | None,
    ) -> tuple[Tensor, Tensor]:
        """One update. Returns each replica's loss before it (penalty included), and the values before the
        last activation, detached."""
        loss_G, z_GBK, moved = step_loss(self._task, stack.numbers, batch, targets, noise, weights)
        # The sum's gradient for one replica's parameters is that of its own loss: replicas share nothing.
        # A custom layer may leave some of its own unused: these have a gradient of zero.
        found = torch.autograd.grad(loss_G.sum(), list(stack.parameters.values()), materialize_grads=True)
        gradients = dict(zip(stack.parameters, found, strict=True))
        with torch.no_grad():
            if self._task.clip is not None:
                gradients = self._task.clip(gradients)
            stack.steps_R += 1
            for block in stack.blocks:
                self._update(block, block.joined(gradients), stack, rates)
            stack.move(moved)
        return loss_G.detach(), z_GBK.detach()

    def _update(self, block: Block, gradient: Tensor, stack: Stack, rates: Rate | None) -> None:
        optimizer, (name, *_) = self._task.optimizer, block.shapes
        steps_R = stack.steps_R
        if name in stack.seen:
            optimizer.update_rows(block.value, gradient, block.slots, stack.seen[name], steps_R, rates)
        else:
            dense = gradient.to_dense() if gradient.is_sparse else gradient
            optimizer.update(block.value, dense, block.slots, steps_R, rates)

    def set_rates(self, rates: Sequence[float]) -> None:
        """From now on the replicas train at these learning rates, one for each."""
        self._stack.set_rates(rates)

    def evaluate(self, rows: Sequence[RowNumbers]) -> Phase:
        """Loss and metrics over each replica's rows; changes nothing."""
        if self._measurement is None or not self._measurement.is_of(rows):
            self._measurement = Measurement(self._task, self._data_places, rows)
        return self._measurement.of(self._stack.numbers)

    def parameters(self) -> dict[str, Tensor]:
        """A copy of the stacked parameters and the network's state, on the CPU."""
        return {name: value.detach().to("cpu", copy=True) for name, value in self._stack.kept.items()}

    def keep(self, places: Sequence[int]) -> None:
        """Go on with the replicas at these places only."""
        self._stack = self._stack.select(places)
        self._measurement = None
        self._data_places = [self._data_places[place] for place in places]

    def state(self) -> dict[str, Tensor]:
        """A copy of all that training has changed, on the CPU, by name."""
        return {name: value.to("cpu", copy=True) for name, value in self._stack.everything().items()}

    def restore(self, state: Mapping[str, Tensor]) -> None:
        """Take over what `state` gave of an engine for the same task, after the same `keep`."""
        mine = self._stack.everything()
        wanted = {name: (value.shape, value.dtype) for name, value in mine.items()}
        if wanted != {name: (value.shape, value.dtype) for name, value in state.items()}:
            raise DataError("The checkpoint's tensors are not those of this spec's networks and optimizer.")
        with torch.no_grad():
            for name, value in mine.items():
                value.copy_(state[name])
