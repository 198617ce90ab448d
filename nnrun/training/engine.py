"""What the training loop asks of whatever does the arithmetic, and the plain PyTorch way to do it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from nnrun.training.losses import RowLoss
from nnrun.training.metrics import Metric, MetricTotals
from nnrun.training.optimizers import Optimizer, Slots
from nnrun.training.plan import RowNumbers, Segment, segments

Floats = npt.NDArray[np.float64]


class Network(Protocol):
    """The part of `nnrun.model.Network` that training uses; noise is passed on, never looked into."""

    @property
    def outputs(self) -> int:
        """K, the number of outputs."""
        ...

    def forward(self, parameters: Mapping[str, Tensor], x: Any, noise: Any = None) -> Tensor:
        """(R, B, K): the output layer's values before its activation."""
        ...

    def activate(self, z_RBK: Tensor) -> Tensor:
        """Values before the last activation → outputs."""
        ...

    def penalty(self, parameters: Mapping[str, Tensor]) -> Tensor | None:
        """(R,): the regularization term, or None."""
        ...

    def noise(self, seed: int, replicas: Sequence[int], epoch: int, device: torch.device) -> Any:
        """The random numbers of one epoch, or None."""
        ...


class Rows(Protocol):
    """Gives batches of inputs: `nnrun.model.inputs`."""

    @property
    def features(self) -> int:
        """F, the width of a row."""
        ...

    def batches(self, places: Sequence[int], rows_GN: RowNumbers, batch_size: int) -> Iterator[Any]:
        """Rows `rows_GN[g]` of the replica at `places[g]`, in batches of `batch_size`."""
        ...


@dataclass(frozen=True)
class Task:
    """What is learned from what.

    Attributes:
        network, loss, optimizer, metrics: what the spec declares.
        inputs: the rows.
        targets: (S, N, K) float32 or (S, N) int64 class indices; S is 1 where replicas share them, else R.
        batch_size: rows per step and replica.
        seed: the experiment's seed.
    """

    network: Network
    loss: RowLoss
    optimizer: Optimizer
    metrics: Sequence[Metric]
    inputs: Rows
    targets: Tensor
    batch_size: int
    seed: int


@dataclass(frozen=True)
class Phase:
    """One pass over some rows by some replicas: a loss and metrics for each.

    `first_bad_batch` is the first step (from 1) of a replica whose loss is not finite, or None; for training
    only.
    """

    losses: tuple[float, ...]
    metrics: tuple[Mapping[str, float], ...]
    first_bad_batch: tuple[int | None, ...]


class Engine(Protocol):
    """Holds the stacked parameters of some replicas and does the arithmetic of an epoch."""

    def train_epoch(self, orders: Sequence[RowNumbers], replicas: Sequence[int], epoch: int) -> Phase:
        """One epoch over each replica's rows, in the given order; updates the parameters."""
        ...

    def evaluate(self, rows: Sequence[RowNumbers], replicas: Sequence[int]) -> Phase:
        """Loss and metrics over each replica's rows; changes nothing."""
        ...

    def parameters(self) -> dict[str, Tensor]:
        """A copy of the stacked parameters, on the CPU."""
        ...

    def keep(self, places: Sequence[int]) -> None:
        """Go on with the replicas at these places only."""
        ...


@dataclass
class _Stack:
    """Everything that training changes, stacked over replicas."""

    parameters: dict[str, Tensor]
    slots: dict[str, Slots]
    steps_R: Tensor

    def select(self, places: Sequence[int]) -> _Stack:
        index = torch.tensor(places, device=self.steps_R.device)
        return _Stack(
            {k: v.detach()[index].requires_grad_() for k, v in self.parameters.items()},
            {k: [slot[index] for slot in slots] for k, slots in self.slots.items()},
            self.steps_R[index],
        )

    def put(self, places: Sequence[int], part: _Stack) -> None:
        index = torch.tensor(places, device=self.steps_R.device)
        with torch.no_grad():
            for name, value in part.parameters.items():
                self.parameters[name][index] = value
            for name, slots in part.slots.items():
                for mine, theirs in zip(self.slots[name], slots, strict=True):
                    mine[index] = theirs
            self.steps_R[index] = part.steps_R


# Rows are gathered and measured in blocks of about this many numbers, so that memory does not follow the
# data.
_BLOCK_NUMBERS = 4_000_000


class EagerEngine:
    """PyTorch, step by step: one forward pass, one backward pass and one update for all replicas at once."""

    def __init__(self, task: Task, parameters: Mapping[str, Tensor], device: torch.device) -> None:
        self._task = task
        self._device = device
        leaves = {name: value.to(device, copy=True).requires_grad_() for name, value in parameters.items()}
        replicas = len(next(iter(leaves.values())))
        with torch.no_grad():
            slots = {name: task.optimizer.slots(value) for name, value in leaves.items()}
        self._stack = _Stack(leaves, slots, torch.zeros(replicas, dtype=torch.float64, device=device))
        # Where the data of the replica at each place stand in the task's inputs and targets.
        self._data_places = list(range(replicas))
        widest = max(task.inputs.features, task.network.outputs, *(v.shape[-1] for v in leaves.values()))
        self._rows_at_once = max(1, _BLOCK_NUMBERS // widest)

    def train_epoch(self, orders: Sequence[RowNumbers], replicas: Sequence[int], epoch: int) -> Phase:
        """One epoch over each replica's rows, in the given order; updates the parameters."""
        task = self._task
        noise = task.network.noise(task.seed, replicas, epoch, self._device)
        tally = _Tally(task.metrics, len(orders))
        for segment in segments(orders, task.batch_size, rows_at_once=self._rows_at_once):
            everyone = len(segment.places) == len(orders)
            stack = self._stack if everyone else self._stack.select(segment.places)
            part_noise = noise
            if noise is not None and not everyone:
                part_noise = task.network.noise(
                    task.seed, [replicas[place] for place in segment.places], epoch, self._device
                )
            self._train_segment(segment, stack, part_noise, tally)
            if not everyone:
                self._stack.put(segment.places, stack)
        return tally.phase()

    def _train_segment(self, segment: Segment, stack: _Stack, noise: Any, tally: _Tally) -> None:
        task, size = self._task, segment.batch_size
        targets = self._targets(segment.places, segment.rows_GN)
        outputs, losses = [], []
        data_places = [self._data_places[place] for place in segment.places]
        for step, batch in enumerate(task.inputs.batches(data_places, segment.rows_GN, size)):
            first = step * size
            loss_G, outputs_GBK = self._step(
                stack,
                batch,
                targets[:, first : first + size],
                None if noise is None else noise.starting_at(segment.first_row + first),
            )
            losses.append(loss_G)
            outputs.append(outputs_GBK)
        tally.add_losses(segment.places, torch.stack(losses, dim=1), size)
        tally.totals.add(segment.places, torch.cat(outputs, dim=1), targets)

    def _step(self, stack: _Stack, batch: Any, targets: Tensor, noise: Any) -> tuple[Tensor, Tensor]:
        """One update. Returns each replica's loss before it (penalty included) and the outputs, detached."""
        network = self._task.network
        z_GBK = network.forward(stack.parameters, batch, noise)
        outputs_GBK = network.activate(z_GBK)
        loss_G = self._task.loss(z_GBK, outputs_GBK, targets).mean(1)
        penalty_G = network.penalty(stack.parameters)
        if penalty_G is not None:
            loss_G = loss_G + penalty_G
        # The sum's gradient for one replica's parameters is that of its own loss: replicas share nothing.
        gradients = torch.autograd.grad(loss_G.sum(), list(stack.parameters.values()))
        with torch.no_grad():
            stack.steps_R += 1
            for (name, parameter), gradient in zip(stack.parameters.items(), gradients, strict=True):
                self._task.optimizer.update(parameter, gradient, stack.slots[name], stack.steps_R)
        return loss_G.detach(), outputs_GBK.detach()

    def evaluate(self, rows: Sequence[RowNumbers], replicas: Sequence[int]) -> Phase:
        """Loss and metrics over each replica's rows; changes nothing."""
        task = self._task
        tally = _Tally(task.metrics, len(rows))
        with torch.inference_mode():
            penalty_R = task.network.penalty(self._stack.parameters)
            if penalty_R is None:
                penalty_R = torch.zeros(len(rows), device=self._device)
            for segment in segments(rows, self._rows_at_once, rows_at_once=self._rows_at_once):
                places = list(segment.places)
                parameters = self._stack.parameters
                if len(places) < len(rows):
                    parameters = {name: value[places] for name, value in parameters.items()}
                data_places = [self._data_places[place] for place in places]
                (batch,) = task.inputs.batches(data_places, segment.rows_GN, segment.batch_size)
                targets = self._targets(segment.places, segment.rows_GN)
                z = task.network.forward(parameters, batch)
                outputs = task.network.activate(z)
                loss_G = task.loss(z, outputs, targets).double().mean(1) + penalty_R[places]
                tally.add_losses(segment.places, loss_G[:, None], segment.batch_size)
                tally.totals.add(segment.places, outputs, targets)
        return tally.phase()

    def _targets(self, places: Sequence[int], rows_GN: RowNumbers) -> Tensor:
        targets = self._task.targets
        index = torch.from_numpy(np.ascontiguousarray(rows_GN)).to(targets.device)
        if targets.shape[0] == 1:
            return targets[0][index]
        own = torch.tensor([self._data_places[place] for place in places], device=targets.device)
        return targets[own[:, None], index]

    def parameters(self) -> dict[str, Tensor]:
        """A copy of the stacked parameters, on the CPU."""
        return {name: value.detach().to("cpu", copy=True) for name, value in self._stack.parameters.items()}

    def keep(self, places: Sequence[int]) -> None:
        """Go on with the replicas at these places only."""
        self._stack = self._stack.select(places)
        self._data_places = [self._data_places[place] for place in places]


class _Tally:
    """Losses and metrics of one phase, weighted by rows."""

    def __init__(self, metrics: Sequence[Metric], replicas: int) -> None:
        self.totals = MetricTotals(metrics, replicas)
        self._weighted: Floats = np.zeros(replicas)
        self._batches = np.zeros(replicas, dtype=np.int64)
        self._first_bad: list[int | None] = [None] * replicas

    def add_losses(self, places: Sequence[int], losses_GS: Tensor, batch_size: int) -> None:
        """Losses of S steps of `batch_size` rows, for the replicas at these places."""
        values = losses_GS.double().cpu().numpy()
        for place, losses in zip(places, values, strict=True):
            bad = np.flatnonzero(~np.isfinite(losses))
            if self._first_bad[place] is None and len(bad):
                self._first_bad[place] = int(self._batches[place] + bad[0] + 1)
            self._batches[place] += len(losses)
            self._weighted[place] += losses.sum() * batch_size

    def phase(self) -> Phase:
        """The means."""
        replicas = range(len(self._weighted))
        return Phase(
            tuple(float(self._weighted[p] / self.totals.rows[p]) for p in replicas),
            tuple(self.totals.values(p) for p in replicas),
            tuple(self._first_bad),
        )
