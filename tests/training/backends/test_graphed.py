"""A recorded step computes what a plain one does, bit for bit; on the CPU a recording is the step itself."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

from nnrun.model.inputs import DenseInputs
from nnrun.spec import schema
from nnrun.spec.random_streams import sources_of
from nnrun.training.backends.graphed import GraphedEngine
from nnrun.training.clipping import build_clip
from nnrun.training.engine import EagerEngine
from nnrun.training.problem import LEARNING_RATE, TrainingProblem
from tests.support.native_problems import LAST, OPTIMIZERS
from tests.support.small_problems import N, assert_same, first_weights, make_problem, rows, several_rows

needs_cuda = pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA GPU")


class _NoNewPlaces(TorchFunctionMode):
    """Raises where a step would bring numbers from the CPU, which a recording cannot do, or look at some."""

    forbidden = frozenset(
        {"tensor", "as_tensor", "from_numpy", "to", "item", "tolist", "cpu", "numpy", "__bool__", "__float__"}
    )

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = getattr(func, "__name__", "")
        converts = name == "to" and isinstance(args[1] if len(args) > 1 else None, torch.dtype)
        if name in self.forbidden and not converts:
            raise AssertionError(f"{name} cannot be recorded")
        return func(*args, **(kwargs or {}))


class Recorder:
    """A recording on the CPU: warms up as PyTorch does, and plays the step. It counts what it plays."""

    def __init__(self) -> None:
        self.recorded = self.played = 0

    def __call__(self, step: Callable[[], None]) -> Callable[[], None]:
        self.recorded += 1
        for _ in range(3):
            step()

        def again() -> None:
            self.played += 1
            with _NoNewPlaces():
                step()

        return again


def assert_alike(
    problem: TrainingProblem,
    lengths: Sequence[int] = (58, 53),
    rates: Sequence[Sequence[float]] = (),
    epochs: int = 3,
) -> None:
    """Losses, metrics and everything that training changes, to the last bit."""
    weights, recorder = first_weights(problem, range(len(lengths))), Recorder()
    plain, graphed = EagerEngine(problem, weights), GraphedEngine(problem, weights, recorder)
    sources = sources_of(0, range(len(lengths)))
    for epoch in range(1, epochs + 1):
        orders = several_rows(lengths, seed=epoch)
        phases = []
        for engine in (plain, graphed):
            if rates:
                engine.set_learning_rates(rates[epoch - 1])
            phases.append(engine.train_epoch(orders, sources, epoch))
        assert phases[0] == phases[1]
        assert graphed.evaluate(orders) == plain.evaluate(orders)
    assert_same(graphed.state_dict(), plain.state_dict(), exactly=True)
    assert recorder.recorded == 1
    assert recorder.played == epochs * (min(lengths) // problem.batch_size)


def rate_as_a_number_of_each(problem: TrainingProblem) -> TrainingProblem:
    """A recording takes rates from memory, where they are rounded as those of replicas are."""
    rates = torch.full((2,), problem.optimizer.learning_rate, dtype=torch.float64)
    return replace(problem, own={**problem.own, LEARNING_RATE: rates})


@pytest.mark.parametrize("optimizer", OPTIMIZERS, ids=str)
def test_every_optimizer(optimizer: Any) -> None:
    """With dropout; folds of unequal length, so that the last batches go step by step."""
    assert_alike(rate_as_a_number_of_each(make_problem(optimizer=optimizer, batch_size=7)))


@pytest.mark.parametrize("loss", [*schema.components(schema.Loss), {"huber": 0.3}], ids=str)
def test_every_loss(loss: Any) -> None:
    last, targets = LAST[loss if isinstance(loss, str) else "huber"]
    layers = [{"dense": {"units": 5, "kernel_regularizer": {"l1_l2": {"l1": 0.01, "l2": 0.02}}}}, last]
    assert_alike(rate_as_a_number_of_each(make_problem(layers, loss=loss, metrics=[], targets=targets)))


def test_rates_of_a_schedule_and_of_replicas() -> None:
    assert_alike(make_problem(batch_size=7), rates=[(0.01, 0.02), (0.001, 0.1), (0.05, 0.01)])


@pytest.mark.parametrize("clip", [{"norm": 0.1}, {"value": 0.1}], ids=str)
def test_clipping_and_weights(clip: Any) -> None:
    weights = torch.from_numpy(np.abs(rows(1, N)))
    problem = replace(make_problem(), weights=weights, training_weights=weights * 3)
    problem = replace(problem, clip=build_clip(schema.GradientClip.model_validate(clip)))
    assert_alike(rate_as_a_number_of_each(problem))


def test_one_rate_for_all_is_that_of_the_optimizer() -> None:
    """Rounded once more, since it is read from memory: to five digits."""
    problem = make_problem(optimizer="rmsprop")
    weights, orders = first_weights(problem, range(2)), several_rows((58, 53))
    plain, graphed = EagerEngine(problem, weights), GraphedEngine(problem, weights, Recorder())
    for engine in (plain, graphed):
        engine.train_epoch(orders, sources_of(0, range(2)), 1)
    assert_same(graphed.weights(), plain.weights())


def test_replicas_that_are_left_have_a_recording_of_their_own() -> None:
    problem, recorder = (
        make_problem([{"dense": 1}], loss="mse", metrics=[], optimizer={"sgd": 0.1}),
        Recorder(),
    )
    problem = replace(problem, own={LEARNING_RATE: torch.tensor([0.1, 0.2, 0.3], dtype=torch.float64)})
    weights, orders, sources = (
        first_weights(problem, range(3)),
        several_rows((58, 50, 40)),
        sources_of(0, range(3)),
    )
    plain, graphed = EagerEngine(problem, weights), GraphedEngine(problem, weights, recorder)
    for engine in (plain, graphed):
        engine.train_epoch(orders, sources, 1)
        engine.select_replicas([0, 2])
        engine.train_epoch([orders[0], orders[2]], [sources[0], sources[2]], 2)
        held = {name: value.clone() for name, value in engine.state_dict().items()}
        engine.train_epoch([orders[0], orders[2]], [sources[0], sources[2]], 3)
        engine.load_state_dict(held)
        engine.train_epoch([orders[0], orders[2]], [sources[0], sources[2]], 3)
    assert_same(graphed.state_dict(), plain.state_dict(), exactly=True)
    assert recorder.recorded == 2


def on_gpu(problem: TrainingProblem) -> TrainingProblem:
    def there(values: Tensor | None) -> Tensor | None:
        return None if values is None else values.to("cuda")

    assert isinstance(problem.inputs, DenseInputs)
    return replace(
        problem,
        inputs=DenseInputs(problem.inputs.x_SNF.to("cuda")),
        targets=problem.targets.to("cuda"),
        own={name: value.to("cuda") for name, value in problem.own.items()},
        weights=there(problem.weights),
        training_weights=there(problem.training_weights),
    )


@needs_cuda
@pytest.mark.parametrize("optimizer", OPTIMIZERS, ids=str)
def test_every_optimizer_on_a_gpu(optimizer: Any) -> None:
    problem = on_gpu(rate_as_a_number_of_each(make_problem(optimizer=optimizer, batch_size=7)))
    weights, orders, sources = (
        first_weights(problem, range(2)),
        several_rows((58, 53)),
        sources_of(0, range(2)),
    )
    plain, graphed = EagerEngine(problem, weights), GraphedEngine(problem, weights)
    for epoch in (1, 2, 3):
        one = plain.train_epoch(orders, sources, epoch)
        other = graphed.train_epoch(orders, sources, epoch)
        np.testing.assert_allclose(other.losses, one.losses, rtol=1e-4)
    assert_same(graphed.weights(), plain.weights())
