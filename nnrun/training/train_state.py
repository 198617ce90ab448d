"""Everything that training changes, stacked over replicas."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from nnrun.training.optimizers import Rate, Slots
from nnrun.training.problem import LEARNING_RATE, TrainingProblem

# Starting an operation takes longer than computing it on so few numbers: such parameters share a block.
_SMALL = 4096


@dataclass(frozen=True)
class ParameterGroup:
    """Parameters that are updated in one go, each by its own gradient.

    Attributes:
        shapes: name → shape of one replica's parameter.
        value: (R, *shape) of a single parameter; (R, n) of several, one behind the other.
        slots: what the optimizer keeps for them, each of the shape of `value`.
    """

    shapes: Mapping[str, tuple[int, ...]]
    value: Tensor
    slots: Slots

    def views(self, whole: Tensor) -> Iterator[tuple[str, Tensor]]:
        """Name and (R, *shape) part of `value`, or of one of the slots."""
        first = 0
        flat = whole.flatten(1)
        for name, shape in self.shapes.items():
            size = math.prod(shape)
            yield name, flat[:, first : first + size].view(-1, *shape)
            first += size

    def joined(self, gradients: Mapping[str, Tensor]) -> Tensor:
        """The gradients of the block's parameters as one tensor of the shape of `value`."""
        own = [gradients[name] for name in self.shapes]
        if len(own) == 1:
            return own[0]
        return torch.cat([(g.to_dense() if g.is_sparse else g).flatten(1) for g in own], 1)

    def select(self, index: Tensor) -> ParameterGroup:
        """A copy of the replicas at these places."""
        return ParameterGroup(self.shapes, self.value[index], [slot[index] for slot in self.slots])

    def put(self, index: Tensor, part: ParameterGroup) -> None:
        """Write back what `select` copied."""
        for mine, theirs in zip((self.value, *self.slots), (part.value, *part.slots), strict=True):
            mine[index] = theirs


@dataclass
class TrainState:
    """Parameters and the optimizer's state.

    Attributes:
        blocks: the parameters with their slots, as they are updated.
        steps_R: (R,) float64, updates made so far.
        seen: name → (R, F) the step in which each row of a kernel was updated last, where rows can wait.
        own: as the problem's, of the replicas that are here. Training does not change it; a schedule may
            give the replicas learning rates of their own in it.
        state: name → (R, ...) what is kept in addition to the parameters and has no gradient, such as moving
            means.
        rate: the learning rate of all replicas in this epoch, where a schedule gives them one; else None.
        parameters: name → (R, ...) leaves, views of the blocks.
        slots: name → what the optimizer keeps for that parameter, views of the blocks.
    """

    blocks: Sequence[ParameterGroup]
    steps_R: Tensor
    seen: Mapping[str, Tensor] = field(default_factory=dict)
    own: Mapping[str, Tensor] = field(default_factory=dict)
    state: Mapping[str, Tensor] = field(default_factory=dict)
    rate: float | None = None
    parameters: dict[str, Tensor] = field(init=False)
    slots: dict[str, Slots] = field(init=False)

    def __post_init__(self) -> None:
        self.parameters, self.slots = {}, {}
        for block in self.blocks:
            for name, view in block.views(block.value):
                self.parameters[name] = view.detach().requires_grad_()
                self.slots[name] = []
            for slot in block.slots:
                for name, view in block.views(slot):
                    self.slots[name].append(view)

    @property
    def numbers(self) -> Mapping[str, Tensor]:
        """Parameters, state, and what the replicas have of their own: what the network computes with."""
        if not (self.own or self.state):
            return self.parameters
        return {**self.parameters, **self.state, **self.own}

    @property
    def kept(self) -> Mapping[str, Tensor]:
        """Parameters and state: what a weights file holds."""
        return {**self.parameters, **self.state}

    def move(self, new_buffers: Mapping[str, Tensor]) -> None:
        """Take the new values of the state."""
        for name, value in new_buffers.items():
            self.state[name].copy_(value)

    @property
    def rates(self) -> Rate | None:
        """The learning rates of the replicas; None where they are the optimizer's."""
        return self.own.get(LEARNING_RATE) if self.rate is None else self.rate

    def rates_of_each(self, of_optimizer: float) -> Tensor:
        """(R,) float64: the learning rate of each replica, that of the optimizer where it has no other."""
        rates = of_optimizer if self.rates is None else self.rates
        return rates if isinstance(rates, Tensor) else torch.full_like(self.steps_R, rates)

    def set_learning_rates(self, rates: Sequence[float]) -> None:
        """From now on these are the replicas' learning rates."""
        self.rate = rates[0] if len(set(rates)) == 1 else None
        if self.rate is None:
            rates_R = torch.tensor(rates, dtype=torch.float64, device=self.steps_R.device)
            self.own = {**self.own, LEARNING_RATE: rates_R}

    def everything(self) -> dict[str, Tensor]:
        """All that training changes, by name; the tensors themselves, no copies."""
        found = {f"value/{name}": value.detach() for name, value in self.parameters.items()}
        for name, slots in self.slots.items():
            found |= {f"slot {i}/{name}": slot for i, slot in enumerate(slots)}
        found |= {f"seen/{name}": seen for name, seen in self.seen.items()}
        found |= {f"state/{name}": state for name, state in self.state.items()}
        return found | {"steps": self.steps_R}

    def select(self, places: Sequence[int]) -> TrainState:
        """A copy of the replicas at these places."""
        index = torch.tensor(list(places), device=self.steps_R.device)
        return TrainState(
            [block.select(index) for block in self.blocks],
            self.steps_R[index],
            {name: seen[index] for name, seen in self.seen.items()},
            {name: own[index] for name, own in self.own.items()},
            {name: state[index] for name, state in self.state.items()},
            self.rate,
        )

    def put(self, places: Sequence[int], part: TrainState) -> None:
        """Write back what `select` copied."""
        index = torch.tensor(list(places), device=self.steps_R.device)
        for mine, theirs in zip(self.blocks, part.blocks, strict=True):
            mine.put(index, theirs)
        for name, seen in part.seen.items():
            self.seen[name][index] = seen
        for name, state in part.state.items():
            self.state[name][index] = state
        self.steps_R[index] = part.steps_R


def initial_state(problem: TrainingProblem, parameters: Mapping[str, Tensor], *, joined: bool) -> TrainState:
    """What there is before the first step: copies of these parameters on the problem's device, fresh slots.

    Args:
        problem: what is learned.
        parameters: stacked, with the network's state.
        joined: put small parameters into one block, which saves operations and scatters replicas in memory.
    """
    everything = {name: value.to(problem.device, copy=True) for name, value in parameters.items()}
    values = {name: value for name, value in everything.items() if name not in problem.network.state_names}
    state = {name: value for name, value in everything.items() if name in problem.network.state_names}
    seen = _first_seen(problem, values)
    small = []
    if joined:
        small = [name for name, v in values.items() if name not in seen and v[0].numel() <= _SMALL]
    alone = [[name] for name in values if name not in small]
    blocks = []
    for names in [*alone, small] if small else alone:
        value = values[names[0]]
        if len(names) > 1:
            value = torch.cat([values[name].flatten(1) for name in names], 1)
        shapes = {name: tuple(values[name].shape[1:]) for name in names}
        blocks.append(ParameterGroup(shapes, value, problem.optimizer.slots(value)))
    replicas = len(next(iter(values.values())))
    return TrainState(
        blocks, torch.zeros(replicas, dtype=torch.float64, device=problem.device), seen, problem.own, state
    )


def _first_seen(problem: TrainingProblem, parameters: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Zeros for the kernel that meets sparse rows, where a batch meets so few that the rest can wait."""
    name = problem.network.sparse_kernel
    if problem.inputs.dense or name is None:
        return {}
    kernel = parameters[name]
    few = problem.batch_size * problem.inputs.elements_per_row < kernel.shape[1]
    if not few or problem.optimizer.idle_decay is None:
        return {}
    return {name: torch.zeros(kernel.shape[:2], device=problem.device)}
