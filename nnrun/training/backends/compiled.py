"""Several training steps as one compiled function, for runs of very many small steps.

`torch.compile` turns the forward pass, the gradients and the updates of a few steps of all replicas into a
handful of C++ loops. That saves the cost of starting PyTorch's operations one by one, which is nearly all of
a small step's time. Compiling takes seconds, so that only long runs gain;
`nnrun.training.backends.choice` decides.
"""

from __future__ import annotations

import types
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from typing import Any

import torch
from torch import Tensor
from torch._dynamo.exc import TorchDynamoException
from torch._inductor.exc import InductorError

from nnrun.interrupts import stop_if_asked, stopping_at_once
from nnrun.training.engine import EagerEngine, split_weights, step_loss
from nnrun.training.epoch_metrics import MetricAccumulator
from nnrun.training.epoch_plan import Segment
from nnrun.training.optimizers import Slots
from nnrun.training.problem import TrainingProblem
from nnrun.training.train_state import TrainState

STEPS_PER_CALL = 3
"""More steps a call save a few microseconds each, and every one of them adds seconds of compiling."""


class CompiledEngine(EagerEngine):
    """As `EagerEngine`, with full batches of dense rows trained several steps a call.

    What is left over at the end of an epoch goes step by step, and so does everything once replicas have been
    left out, or where compiling fails.

    Args:
        problem: what is learned.
        parameters: stacked first weights.
        on_failure: is told, in a sentence, when compiling failed.
        backend: of `torch.compile`; `aot_eager` traces the same function and runs it without a compiler.
    """

    def __init__(
        self,
        problem: TrainingProblem,
        parameters: Mapping[str, Tensor],
        on_failure: Callable[[str], None],
        backend: str = "inductor",
    ) -> None:
        # One function has no operations to save, and takes 1.4 times as long for parameters that lie apart.
        super().__init__(problem, parameters, joined=False)
        self._on_failure = on_failure
        self._has_compiled = False
        self._replicas = len(self._state.steps_R)  # how many a compiled call trains; 0 where none is made
        # All calls of one engine have the same shapes, so there is nothing to guard against.
        options: dict[str, Any] = {"guard_filter_fn": lambda guards: [False for _ in guards]}
        self._several: Callable[..., tuple[Tensor, Tensor]] = torch.compile(
            _with_code_of_its_own(_several_steps),
            dynamic=False,
            fullgraph=True,
            backend=backend,
            options=options,
        )

    def _train_segment(
        self, segment: Segment, state: TrainState, rng: Any, accumulator: MetricAccumulator
    ) -> None:
        calls = segment.steps // STEPS_PER_CALL
        if (
            len(segment.places) != self._replicas
            or segment.batch_size < self._problem.batch_size
            or not calls
        ):
            super()._train_segment(segment, state, rng, accumulator)
            return
        compiled, rest = segment.split(calls * STEPS_PER_CALL)
        try:
            self._train_compiled(compiled, state, rng, accumulator)
        except (TorchDynamoException, InductorError) as error:  # raised before anything is computed
            self._on_failure(f"compiling failed, so PyTorch trains step by step: {_first_line(error)}")
            self._replicas = 0
            super()._train_segment(segment, state, rng, accumulator)
            return
        if rest is not None:
            super()._train_segment(rest, state, rng, accumulator)

    def _train_compiled(
        self, segment: Segment, state: TrainState, rng: Any, accumulator: MetricAccumulator
    ) -> None:
        problem, size = self._problem, segment.batch_size
        targets = problem.targets_of(self._data_index, segment.rows_GN)
        weights = problem.weights_of(self._data_index, segment.rows_GN, training=True)
        rows_per_call = size * STEPS_PER_CALL
        parameters = {name: value.detach() for name, value in state.parameters.items()}
        # A tensor, since a number would be compiled into the function; and always, since nothing guards it.
        rates_R = state.rates_of_each(problem.optimizer.learning_rate)
        losses, logits = [], []
        batches = problem.inputs.batches(self._data_index, segment.rows_GN, rows_per_call)
        with torch.no_grad():
            rest = zip(
                torch.split(targets, rows_per_call, 1),
                split_weights(weights, rows_per_call, segment.steps // STEPS_PER_CALL),
                strict=True,
            )
            for call, (x, (y, w)) in enumerate(zip(batches, rest, strict=True)):
                stop_if_asked()
                call_noise = None
                if rng is not None:
                    first = torch.tensor(segment.first_row + call * rows_per_call, device=problem.device)
                    call_noise = rng.starting_at(first)
                with nullcontext() if self._has_compiled else stopping_at_once():
                    loss_GS, z_GNK = self._several(
                        problem,
                        parameters,
                        dict(state.state),
                        state.slots,
                        state.steps_R,
                        x,
                        y,
                        call_noise,
                        w,
                        rates_R,
                    )
                self._has_compiled = True
                losses.append(loss_GS)
                logits.append(z_GNK)
        unscaled_targets = problem.unscaled_targets_of(self._data_index, segment.rows_GN, targets)
        scored = problem.scored(self._data_index, torch.cat(logits, 1), unscaled_targets)
        accumulator.add(segment.places, torch.cat(losses, 1), size, scored)

    def select_replicas(self, places: Sequence[int]) -> None:
        """Go on with the replicas at these places only, step by step: another shape is another function."""
        super().select_replicas(places)
        self._replicas = 0 if len(places) < self._replicas else self._replicas


def _several_steps(
    problem: TrainingProblem,
    parameters: dict[str, Tensor],
    state: dict[str, Tensor],
    slots: dict[str, Slots],
    steps_R: Tensor,
    x_RNF: Tensor,
    targets: Tensor,
    rng: Any,
    row_weights: Tensor | None,
    rates_R: Tensor | None,
) -> tuple[Tensor, Tensor]:
    """Make STEPS_PER_CALL updates in place. Returns (R, steps) losses and (R, n, K) values before the last
    activation."""
    size = x_RNF.shape[1] // STEPS_PER_CALL
    losses, logits = [], []
    for step in range(STEPS_PER_CALL):
        rows = slice(step * size, (step + 1) * size)
        x, y = x_RNF[:, rows], targets[:, rows]
        w = None if row_weights is None else row_weights[:, rows]
        step_noise = None if rng is None else rng.starting_at(rng.first_row + step * size)

        def total(
            weights: dict[str, Tensor],
            x: Tensor = x,
            y: Tensor = y,
            w: Tensor | None = w,
            step_noise: Any = step_noise,
        ) -> tuple[Tensor, tuple[Tensor, Tensor, dict[str, Tensor]]]:
            loss_R, z_RBK, new_buffers = step_loss(problem, {**weights, **state}, x, y, step_noise, w)
            return loss_R.sum(), (loss_R, z_RBK, new_buffers)

        gradients, (loss_R, z_RBK, new_buffers) = torch.func.grad(total, has_aux=True)(parameters)
        if problem.clip is not None:
            gradients = problem.clip(gradients)
        steps_R += 1
        for name, parameter in parameters.items():
            problem.optimizer.update(parameter, gradients[name], slots[name], steps_R, rates_R)
        for name, value in new_buffers.items():
            state[name].copy_(value)
        losses.append(loss_R)
        logits.append(z_RBK)
    return torch.stack(losses, 1), torch.cat(logits, 1)


def _with_code_of_its_own(function: Any) -> types.FunctionType:
    """A copy that shares no compiled code: `torch.compile` keeps what it compiled with the code object."""
    code = function.__code__.replace()
    return types.FunctionType(code, function.__globals__, function.__name__, function.__defaults__)


def _first_line(error: Exception) -> str:
    return str(error).strip().split("\n", 1)[0]
