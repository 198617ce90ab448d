"""PyTorch, step by step: one forward pass, one backward pass and one update for all replicas at once."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, ClassVar, TypeAlias

from nnrun.interrupts import stop_if_asked
from nnrun.lazy_torch import torch
from nnrun.native.kernels import switched_off
from nnrun.spec.ports import Port
from nnrun.training.backends.backend import SegmentResult
from nnrun.training.objective import TOTAL, Forward, forward, objective
from nnrun.training.problem import SegmentData, TargetRows, TrainingProblem
from nnrun.training.train_state import ParameterGroup, TrainState
from nnrun.training.weight_averaging import EMA_DECAY

if TYPE_CHECKING:
    from torch import Tensor


Tensors: TypeAlias = "dict[str, Tensor]"
Exchange: TypeAlias = Callable[[Tensors, Tensors], tuple[Tensors, Tensors]]
"""Gradients and losses of a part of a batch → those of the whole batch."""


class EagerBackend:
    """Supports every problem.

    Args:
        problem: what is learned.
        kernels: whether layers and optimizers may call C++, where it is compiled.
    """

    compiled: bool = False
    own_threads: ClassVar[bool] = False
    groups_parameters: ClassVar[bool] = True
    defers_rows: ClassVar[bool] = True

    def __init__(self, problem: TrainingProblem, *, kernels: bool = True) -> None:
        self._problem, self._kernels = problem, kernels
        self.compiled = kernels and bool(problem.network.kernels)
        self._zero = torch.zeros((), device=problem.device, requires_grad=True)

    @staticmethod
    def unsupported(problem: TrainingProblem) -> str | None:
        """None."""
        return None

    @classmethod
    def load(cls, problem: TrainingProblem, on_message: Callable[[str], None]) -> EagerBackend:
        """There is nothing to load."""
        return cls(problem)

    def train(self, state: TrainState, data: SegmentData, rng: Any) -> SegmentResult:
        """Make the steps of a segment."""
        size, first_row = data.segment.batch_size, data.segment.first_row
        losses, logits, masks = [], [], []
        for step, (inputs, targets) in enumerate(data.batches()):
            stop_if_asked()
            step_rng = None if rng is None else rng.starting_at(first_row + step * size)
            with switched_off(not self._kernels):
                step_losses, step_logits, step_masks = self.step(state, inputs, targets, step_rng)
            losses.append(step_losses)
            logits.append(step_logits)
            masks.append(step_masks)
        return SegmentResult(
            {name: torch.stack([of_step[name] for of_step in losses], 1) for name in losses[0]},
            {port: torch.cat([of_step[port] for of_step in logits], 1) for port in logits[0]},
            {port: torch.cat([of_step[port] for of_step in masks], 1) for port in masks[0]},
        )

    def step(
        self,
        state: TrainState,
        inputs: Mapping[Port, Any],
        targets: Mapping[Port, TargetRows],
        rng: Any,
        summed: Exchange | None = None,
    ) -> tuple[dict[str, Tensor], dict[Port, Tensor], Mapping[Port, Tensor]]:
        """One update. Returns the losses before it, and the logits, all detached; and the masks.

        Where the rows are a part of a batch, `summed` makes of what they add to gradients and losses those of
        the batch.
        """
        problem = self._problem
        of_places = {
            squares: self._zero.expand_as(state.parameters[table])
            for table, squares in problem.place_squares.items()
        }
        parameters = {**state.forward_parameters, **of_places} if of_places else state.forward_parameters
        new_buffers: dict[str, Tensor] = {}
        logits, row_losses, penalty_R, masks = forward(problem, parameters, inputs, targets, rng, new_buffers)
        losses = objective(problem.heads, row_losses, targets, penalty_R)
        # The sum's gradient for one replica's parameters is that of its own loss: replicas share nothing.
        # A custom layer may leave some of its own unused: these have a gradient of zero.
        leaves = {**state.parameters, **of_places}
        found = torch.autograd.grad(losses[TOTAL].sum(), list(leaves.values()), materialize_grads=True)
        gradients = dict(zip(leaves, found, strict=True))
        losses = _detached(losses)
        if summed is not None:
            gradients, losses = summed(gradients, losses)
        squares = {table: gradients.pop(name) for table, name in problem.place_squares.items()}
        with torch.no_grad():
            if problem.clip is not None:
                gradients = problem.clip(gradients)
            state.steps_R += 1
            for group in state.groups:
                self._update(group, group.joined(gradients), state, squares)
            problem.network.constrain(state.parameters)
            state.update_buffers(new_buffers)
            if problem.averaging is not None and problem.averaging.each_step:
                decays_R = state.per_replica[EMA_DECAY]
                state.average(problem.averaging.share_after_step(state.steps_R, decays_R))
        return losses, _detached(logits), masks

    def _update(
        self, group: ParameterGroup, gradient: Tensor, state: TrainState, squares: Mapping[str, Tensor]
    ) -> None:
        optimizer, (name, *_) = group.optimizer, group.shapes
        steps_R, rates = state.steps_R, state.learning_rates
        if name in state.last_update:
            last_update = state.last_update[name]
            optimizer.update_rows(group.value, gradient, group.slots, last_update, steps_R, rates)
        else:
            dense = gradient.to_dense() if gradient.is_sparse else gradient
            optimizer.update(group.value, dense, group.slots, steps_R, rates, squares.get(name))

    def evaluate(self, parameters: Mapping[str, Tensor], data: SegmentData) -> SegmentResult:
        """Losses and logits of a segment that is a single batch."""
        logits, row_losses, penalty_R, masks = self.measured(parameters, data)
        losses = objective(self._problem.heads, row_losses, data.targets, penalty_R)
        return SegmentResult({name: loss[:, None] for name, loss in losses.items()}, logits, masks)

    def measured(self, parameters: Mapping[str, Tensor], data: SegmentData) -> Forward:
        """Logits of a segment that is a single batch, and in float64 the loss of each row."""
        stop_if_asked()
        problem, replicas = self._problem, list(data.segment.replicas)
        own = parameters
        if len(replicas) < len(next(iter(parameters.values()))):
            own = {name: value[replicas] for name, value in parameters.items()}
        with switched_off(not self._kernels):
            logits, row_losses, penalty_R, masks = forward(problem, own, data.whole, data.targets)
        row_losses = {port: losses.double() for port, losses in row_losses.items()}
        return Forward(logits, row_losses, penalty_R, masks)


def _detached(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name: tensor.detach() for name, tensor in tensors.items()}
