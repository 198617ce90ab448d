"""Everything that training changes, stacked over replicas."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from nnrun.lazy_torch import torch
from nnrun.training.optimizers import Optimizer, Rate, Slots
from nnrun.training.problem import LEARNING_RATE, TrainingProblem

if TYPE_CHECKING:
    from torch import Tensor

# Launching an operation takes longer than computing it on so few elements: such parameters share a group.
_SMALL = 4096


@dataclass(frozen=True)
class ParameterGroup:
    """Parameters that one call of the optimizer updates.

    Attributes:
        shapes: name → shape of one replica's parameter.
        value: (R, *shape) of a single parameter; (R, n) of several, flattened and concatenated.
        slots: the optimizer's state, tensors of the shape of `value`.
        optimizer: that updates them.
        average: their average, of the shape of `value`; None where weights are not averaged.
    """

    shapes: Mapping[str, tuple[int, ...]]
    value: Tensor
    slots: Slots
    optimizer: Optimizer
    average: Tensor | None = None

    def views(self, whole: Tensor) -> Iterator[tuple[str, Tensor]]:
        """Name and (R, *shape) part of `value`, or of one of the slots."""
        first = 0
        flat = whole.flatten(1)
        for name, shape in self.shapes.items():
            size = math.prod(shape)
            yield name, flat[:, first : first + size].view(-1, *shape)
            first += size

    def joined(self, gradients: Mapping[str, Tensor]) -> Tensor:
        """The gradients of the group's parameters as one tensor of the shape of `value`."""
        own = [gradients[name] for name in self.shapes]
        if len(own) == 1:
            return own[0]
        return torch.cat([(g.to_dense() if g.is_sparse else g).flatten(1) for g in own], 1)


@dataclass
class TrainState:
    """Parameters, buffers and the optimizer's state of R replicas.

    Attributes:
        groups: the parameters with their slots, as they are updated.
        steps_R: (R,) float64, updates made so far.
        last_update: name → (R, F) the step of each kernel row's last update, where updates of rows that no
            batch meets are deferred.
        per_replica: those of the problem, for the replicas that are here. Training does not change them, but
            a schedule may set learning rates.
        buffers: name → (R, ...) arrays without a gradient, such as moving means.
        learning_rate: of all replicas in this epoch, where a schedule gives them the same; else None.
        averaged_buffers: name → the averages of the buffers; empty where weights are not averaged.
        parameters: name → (R, ...) leaves, views of the groups.
        slots: name → the optimizer's state of that parameter, views of the groups.
        averages: name → the average of that parameter, views of the groups; empty where there are none.
    """

    groups: Sequence[ParameterGroup]
    steps_R: Tensor
    last_update: Mapping[str, Tensor] = field(default_factory=dict)
    per_replica: Mapping[str, Tensor] = field(default_factory=dict)
    buffers: Mapping[str, Tensor] = field(default_factory=dict)
    learning_rate: float | None = None
    averaged_buffers: Mapping[str, Tensor] = field(default_factory=dict)
    parameters: dict[str, Tensor] = field(init=False)
    slots: dict[str, Slots] = field(init=False)
    averages: dict[str, Tensor] = field(init=False)

    def __post_init__(self) -> None:
        self.parameters, self.slots, self.averages = {}, {}, {}
        for group in self.groups:
            for name, view in group.views(group.value):
                self.parameters[name] = view.detach().requires_grad_()
                self.slots[name] = []
            for slot in group.slots:
                for name, view in group.views(slot):
                    self.slots[name].append(view)
            if group.average is not None:
                self.averages |= dict(group.views(group.average))

    @property
    def forward_parameters(self) -> Mapping[str, Tensor]:
        """What a forward pass and the penalty read: parameters, buffers, hyperparameters of replicas."""
        if not (self.per_replica or self.buffers):
            return self.parameters
        return {**self.parameters, **self.buffers, **self.per_replica}

    @property
    def weights(self) -> Mapping[str, Tensor]:
        """What is validated and what a weights file holds: parameters and buffers, or their averages."""
        if self.averages:
            return {**self.averages, **self.averaged_buffers}
        return {**self.parameters, **self.buffers}

    @property
    def evaluated_parameters(self) -> Mapping[str, Tensor]:
        """What a forward pass reads that validates: the weights, and hyperparameters of replicas."""
        return {**self.weights, **self.per_replica} if self.averages else self.forward_parameters

    def average(self, share: Tensor | float) -> None:
        """Move every average towards the present value by a share: average += share * (value - average).

        `share` is one for all replicas, or (R,).
        """
        pairs = [(group.average, group.value) for group in self.groups if group.average is not None]
        pairs += [(average, self.buffers[name]) for name, average in self.averaged_buffers.items()]
        for average, value in pairs:
            if isinstance(share, torch.Tensor):
                own = share.to(value.dtype).view(-1, *[1] * (value.dim() - 1))
                average.lerp_(value, own.expand_as(value))
            else:
                average.lerp_(value, share)

    @property
    def averaged_weights(self) -> Mapping[str, Tensor]:
        """The same with the moving averages of the parameters, of an optimizer that keeps them."""
        return {**{name: slots[-1] for name, slots in self.slots.items()}, **self.buffers}

    def update_buffers(self, new_buffers: Mapping[str, Tensor]) -> None:
        """Copy the new values that a training step's forward pass gave."""
        for name, value in new_buffers.items():
            self.buffers[name].copy_(value)

    @property
    def learning_rates(self) -> Rate | None:
        """The learning rates of the replicas; None where they are the optimizer's."""
        return self.per_replica.get(LEARNING_RATE) if self.learning_rate is None else self.learning_rate

    def learning_rates_of_each(self, default: float) -> Tensor:
        """(R,) float64: the learning rate of each replica, `default` where it is the optimizer's."""
        rates = default if self.learning_rates is None else self.learning_rates
        return rates if isinstance(rates, torch.Tensor) else torch.full_like(self.steps_R, rates)

    def set_learning_rates(self, rates: Sequence[float]) -> None:
        """Set the learning rate of each replica."""
        self.learning_rate = rates[0] if len(set(rates)) == 1 else None
        if self.learning_rate is None:
            rates_R = torch.tensor(rates, dtype=torch.float64, device=self.steps_R.device)
            self.per_replica = {**self.per_replica, LEARNING_RATE: rates_R}

    def state_dict(self) -> dict[str, Tensor]:
        """All that training changes, by the names in a checkpoint; no copies."""
        found = {f"value/{name}": value.detach() for name, value in self.parameters.items()}
        for name, slots in self.slots.items():
            found |= {f"slot {i}/{name}": slot for i, slot in enumerate(slots)}
        found |= {f"seen/{name}": steps for name, steps in self.last_update.items()}
        found |= {f"state/{name}": buffer for name, buffer in self.buffers.items()}
        averages = {**self.averages, **self.averaged_buffers}
        found |= {f"average/{name}": average for name, average in averages.items()}
        return found | {"steps": self.steps_R}

    def select(self, replicas: Sequence[int]) -> TrainState:
        """A copy of some replicas."""
        index = torch.tensor(list(replicas), device=self.steps_R.device)
        return TrainState(
            [
                ParameterGroup(
                    group.shapes,
                    group.value[index],
                    [slot[index] for slot in group.slots],
                    group.optimizer,
                    None if group.average is None else group.average[index],
                )
                for group in self.groups
            ],
            self.steps_R[index],
            {name: steps[index] for name, steps in self.last_update.items()},
            {name: value[index] for name, value in self.per_replica.items()},
            {name: buffer[index] for name, buffer in self.buffers.items()},
            self.learning_rate,
            {name: average[index] for name, average in self.averaged_buffers.items()},
        )

    def write_back(self, replicas: Sequence[int], part: TrainState) -> None:
        """Copy what `select` gave, and training changed since, to its replicas."""
        index = torch.tensor(list(replicas), device=self.steps_R.device)
        theirs = part.state_dict()
        for name, value in self.state_dict().items():
            value[index] = theirs[name]


def initial_state(
    problem: TrainingProblem,
    weights: Mapping[str, Tensor],
    *,
    group_small_parameters: bool,
    defer_rows: bool = True,
) -> TrainState:
    """The state before the first step: copies of the weights on the problem's device, and fresh slots.

    Args:
        problem: what is trained.
        weights: stacked parameters and buffers.
        group_small_parameters: update small parameters together, which saves launches and makes each of
            them non-contiguous.
        defer_rows: update rows of a kernel that batches of sparse rows meet rarely only when one does.
    """
    buffer_names = problem.network.buffer_names
    copies = {name: value.to(problem.device, copy=True) for name, value in weights.items()}
    parameters = {name: value for name, value in copies.items() if name not in buffer_names}
    last_update = _deferred_rows(problem, parameters) if defer_rows else {}
    rules = optimizers_of(problem)
    small: dict[int, list[str]] = {}  # by the identity of their optimizer
    if group_small_parameters:
        own_way = {*last_update, *problem.place_squares}
        for name, value in parameters.items():
            if rules[name].elementwise and name not in own_way and value[0].numel() <= _SMALL:
                small.setdefault(id(rules[name]), []).append(name)
    grouped = {name for names in small.values() for name in names}
    alone = [[name] for name in parameters if name not in grouped]
    groups, averaged = [], problem.averaging is not None
    for names in [*alone, *small.values()]:
        value = parameters[names[0]]
        if len(names) > 1:
            value = torch.cat([parameters[name].flatten(1) for name in names], 1)
        shapes = {name: tuple(parameters[name].shape[1:]) for name in names}
        optimizer = rules[names[0]]
        average = value.clone() if averaged else None
        groups.append(ParameterGroup(shapes, value, optimizer.slots(value), optimizer, average))
    buffers = {name: value for name, value in copies.items() if name in buffer_names}
    return TrainState(
        groups,
        torch.zeros(len(next(iter(parameters.values()))), dtype=torch.float64, device=problem.device),
        last_update,
        problem.per_replica,
        buffers,
        averaged_buffers={name: value.clone() for name, value in buffers.items()} if averaged else {},
    )


def optimizers_of(problem: TrainingProblem) -> dict[str, Optimizer]:
    """What updates each parameter: the problem's optimizer, its rule for matrices, either without decay."""
    of_matrix, found = problem.optimizer.of_matrix, {}
    for name, kind in problem.network.kinds.items():
        rule = problem.optimizer
        if of_matrix is not None and name in problem.network.matrices:
            rule = of_matrix(name, kind, problem.network.matrices[name]) or rule
        if rule.undecayed is not None and rule.excludes(name, kind):
            rule = rule.undecayed
        found[name] = rule
    return found


def _deferred_rows(problem: TrainingProblem, parameters: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Zeros for each kernel of sparse rows, where a batch meets few of its rows and the others can wait."""
    if problem.optimizer.idle_decay is None:
        return {}
    if problem.averaging is not None and problem.averaging.each_step:
        return {}  # a row that no batch meets stays as it is, and its average still moves towards it
    deferred = {}
    for name, port in problem.network.sparse_kernels.items():
        rows, kernel = problem.inputs[port], parameters[name]
        if not rows.dense and problem.batch_size * rows.elements_per_row < kernel.shape[1]:
            deferred[name] = torch.zeros(kernel.shape[:2], device=problem.device)
    return deferred
