"""What the training loop asks of whatever does the arithmetic, and the plain PyTorch way to do it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import torch
from torch import Tensor

from nnrun.spec.streams import RandomSource
from nnrun.training.evaluate import evaluate
from nnrun.training.optimizers import Slots
from nnrun.training.phase import Phase, Tally
from nnrun.training.plan import RowNumbers, Segment, segments
from nnrun.training.task import Task


class Engine(Protocol):
    """Holds the stacked parameters of some replicas and does the arithmetic of an epoch."""

    def train_epoch(self, orders: Sequence[RowNumbers], sources: Sequence[RandomSource], epoch: int) -> Phase:
        """One epoch over each replica's rows, in the given order; updates the parameters."""
        ...

    def evaluate(self, rows: Sequence[RowNumbers]) -> Phase:
        """Loss and metrics over each replica's rows; changes nothing."""
        ...

    def parameters(self) -> dict[str, Tensor]:
        """A copy of the stacked parameters, on the CPU."""
        ...

    def keep(self, places: Sequence[int]) -> None:
        """Go on with the replicas at these places only."""
        ...


@dataclass
class Stack:
    """Everything that training changes, stacked over replicas.

    Attributes:
        parameters: name → (R, ...) leaves.
        slots: name → what the optimizer keeps for that parameter.
        seen: name → (R, F) the step in which each row of a kernel was updated last, where rows can wait.
        steps_R: (R,) float64, updates made so far.
    """

    parameters: dict[str, Tensor]
    slots: dict[str, Slots]
    steps_R: Tensor
    seen: dict[str, Tensor] = field(default_factory=dict)

    def select(self, places: Sequence[int]) -> Stack:
        """A copy of the replicas at these places."""
        index = torch.tensor(list(places), device=self.steps_R.device)
        return Stack(
            {k: v.detach()[index].requires_grad_() for k, v in self.parameters.items()},
            {k: [slot[index] for slot in slots] for k, slots in self.slots.items()},
            self.steps_R[index],
            {k: v[index] for k, v in self.seen.items()},
        )

    def put(self, places: Sequence[int], part: Stack) -> None:
        """Write back what `select` copied."""
        index = torch.tensor(list(places), device=self.steps_R.device)
        with torch.no_grad():
            for name, value in part.parameters.items():
                self.parameters[name][index] = value
            for name, slots in part.slots.items():
                for mine, theirs in zip(self.slots[name], slots, strict=True):
                    mine[index] = theirs
            for name, seen in part.seen.items():
                self.seen[name][index] = seen
            self.steps_R[index] = part.steps_R


def first_stack(task: Task, parameters: Mapping[str, Tensor]) -> Stack:
    """The state before the first step: copies of these parameters on the task's device, fresh slots."""
    leaves = {name: value.to(task.device, copy=True).requires_grad_() for name, value in parameters.items()}
    replicas = len(next(iter(leaves.values())))
    with torch.no_grad():
        slots = {name: task.optimizer.slots(value) for name, value in leaves.items()}
    steps_R = torch.zeros(replicas, dtype=torch.float64, device=task.device)
    return Stack(leaves, slots, steps_R, _first_seen(task, leaves))


def _first_seen(task: Task, parameters: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Zeros for the kernel that meets sparse rows, where a batch meets so few that the rest can wait."""
    name, kernel = next(iter(parameters.items()))
    few = task.batch_size * task.inputs.numbers_per_row < kernel.shape[1]
    if task.inputs.dense or not few or task.optimizer.idle_decay is None:
        return {}
    return {name: torch.zeros(kernel.shape[:2], device=task.device)}


def step_loss(
    task: Task, parameters: Mapping[str, Tensor], batch: Any, targets: Tensor, noise: Any
) -> tuple[Tensor, Tensor]:
    """(R,) each replica's loss on its batch, penalty included, and (R, B, K) its outputs."""
    z_RBK = task.network.forward(parameters, batch, noise)
    outputs_RBK = task.network.activate(z_RBK)
    loss_R = task.loss(z_RBK, outputs_RBK, targets).mean(1)
    penalty_R = task.network.penalty(parameters)
    return (loss_R if penalty_R is None else loss_R + penalty_R), outputs_RBK


class EagerEngine:
    """PyTorch, step by step: one forward pass, one backward pass and one update for all replicas at once."""

    def __init__(self, task: Task, parameters: Mapping[str, Tensor]) -> None:
        self._task = task
        self._stack = first_stack(task, parameters)
        # Where the data of the replica at each place stand in the task's inputs and targets.
        self._data_places = list(range(len(self._stack.steps_R)))

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
        outputs, losses = [], []
        batches = task.inputs.batches(data_places, segment.rows_GN, size)
        for step, (batch, targets_GB) in enumerate(zip(batches, torch.split(targets, size, 1), strict=True)):
            step_noise = None if noise is None else noise.starting_at(segment.first_row + step * size)
            loss_G, outputs_GBK = self._step(stack, batch, targets_GB, step_noise)
            losses.append(loss_G)
            outputs.append(outputs_GBK)
        tally.add(segment.places, torch.stack(losses, 1), size, torch.cat(outputs, 1), targets)

    def _step(self, stack: Stack, batch: Any, targets: Tensor, noise: Any) -> tuple[Tensor, Tensor]:
        """One update. Returns each replica's loss before it (penalty included) and the outputs, detached."""
        loss_G, outputs_GBK = step_loss(self._task, stack.parameters, batch, targets, noise)
        # The sum's gradient for one replica's parameters is that of its own loss: replicas share nothing.
        gradients = torch.autograd.grad(loss_G.sum(), list(stack.parameters.values()))
        with torch.no_grad():
            stack.steps_R += 1
            for (name, parameter), gradient in zip(stack.parameters.items(), gradients, strict=True):
                self._update(name, parameter, gradient, stack)
        return loss_G.detach(), outputs_GBK.detach()

    def _update(self, name: str, parameter: Tensor, gradient: Tensor, stack: Stack) -> None:
        optimizer, slots = self._task.optimizer, stack.slots[name]
        if name in stack.seen:
            optimizer.update_rows(parameter, gradient, slots, stack.seen[name], stack.steps_R)
        else:
            dense = gradient.to_dense() if gradient.is_sparse else gradient
            optimizer.update(parameter, dense, slots, stack.steps_R)

    def evaluate(self, rows: Sequence[RowNumbers]) -> Phase:
        """Loss and metrics over each replica's rows; changes nothing."""
        return evaluate(self._task, self._stack.parameters, self._data_places, rows)

    def parameters(self) -> dict[str, Tensor]:
        """A copy of the stacked parameters, on the CPU."""
        return {name: value.detach().to("cpu", copy=True) for name, value in self._stack.parameters.items()}

    def keep(self, places: Sequence[int]) -> None:
        """Go on with the replicas at these places only."""
        self._stack = self._stack.select(places)
        self._data_places = [self._data_places[place] for place in places]
