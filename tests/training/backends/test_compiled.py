"""Compiled steps compute what plain ones do. Most are only traced (`aot_eager`): compiling takes seconds."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from nnrun.spec import schema
from nnrun.spec.random_streams import sources_of
from nnrun.training.backends.compiled import STEPS_PER_CALL, CompiledEngine
from nnrun.training.clipping import build_clip
from nnrun.training.engine import EagerEngine
from nnrun.training.epoch_metrics import EpochMetrics
from nnrun.training.problem import TrainingProblem
from tests.support.small_problems import (
    DROPOUT_LAYERS,
    assert_same,
    first_weights,
    make_problem,
    rows,
    several_rows,
    zeros_and_ones,
)

# PyTorch's own, from within its compiler.
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")

OPTIMIZERS: list[Any] = [
    *schema.components(schema.Optimizer),
    {"rmsprop": {"momentum": 0.9, "centered": True}},
    {"sgd": {"momentum": 0.9, "nesterov": True}},
    {"adam": {"amsgrad": True}},
]
SIGMOID = {"dense": {"units": 1, "activation": "sigmoid"}}
SOFTMAX = {"dense": {"units": 3, "activation": "softmax"}}
PENALIZED = [layer for layer in DROPOUT_LAYERS if "dropout" not in layer]
CLASSES = np.random.default_rng(5).integers(0, 3, (1, 60))
TARGETS = {
    "binary_crossentropy": (SIGMOID, zeros_and_ones(1, 60, 1)),
    "categorical_crossentropy": (SOFTMAX, np.eye(3, dtype=np.float32)[CLASSES]),
    "sparse_categorical_crossentropy": (SOFTMAX, CLASSES),
    "mse": ({"dense": 2}, rows(1, 60, 2)),
    "mae": ({"dense": 2}, rows(1, 60, 2)),
    "huber": ({"dense": 2}, rows(1, 60, 2)),
}


def no_failure(text: str) -> None:
    pytest.fail(text)


def train(engine: EagerEngine, lengths: Sequence[int], epochs: int = 2) -> list[EpochMetrics]:
    sources = sources_of(0, range(len(lengths)))
    return [engine.train_epoch(several_rows(lengths, seed=e), sources, e) for e in range(1, epochs + 1)]


def train_at(
    engine: EagerEngine, lengths: Sequence[int], rates: Sequence[Sequence[float]]
) -> list[EpochMetrics]:
    """As `train`, with the replicas' rates of each epoch."""
    sources, phases = sources_of(0, range(len(lengths))), []
    for epoch, of_epoch in enumerate(rates, start=1):
        engine.set_learning_rates(of_epoch)
        phases.append(engine.train_epoch(several_rows(lengths, seed=epoch), sources, epoch))
    return phases


def assert_alike(
    problem: TrainingProblem, lengths: Sequence[int], backend: str, rates: Sequence[Sequence[float]] = ()
) -> None:
    weights = first_weights(problem, range(len(lengths)))
    plain, compiled = EagerEngine(problem, weights), CompiledEngine(problem, weights, no_failure, backend)
    pair = [train_at(e, lengths, rates) if rates else train(e, lengths) for e in (plain, compiled)]
    for one, other in zip(*pair, strict=True):
        np.testing.assert_allclose(other.losses, one.losses, rtol=1e-4)
        for mine, theirs in zip(other.metrics, one.metrics, strict=True):
            assert mine == pytest.approx(theirs, rel=1e-4)
    assert_same(compiled.weights(), plain.weights())


@pytest.mark.parametrize("optimizer", OPTIMIZERS, ids=str)
def test_every_optimizer_traced(optimizer: Any) -> None:
    """Two folds of unequal length, dropout, a penalty, and steps left over at the end."""
    assert_alike(make_problem(optimizer=optimizer, batch_size=7), (58, 53), "aot_eager")


def test_rates_that_are_set_after_an_epoch_without_traced() -> None:
    """What was traced first must not go on with the optimizer's own rate."""
    problem = make_problem([{"dense": 3}, SIGMOID], optimizer={"sgd": 0.01})
    weights = first_weights(problem, range(2))
    engines = EagerEngine(problem, weights), CompiledEngine(problem, weights, no_failure, "aot_eager")
    for engine in engines:
        train(engine, (58, 53), epochs=1)
        train_at(engine, (58, 53), [(0.5, 0.2)])
    assert_same(engines[1].weights(), engines[0].weights())


@pytest.mark.parametrize("loss", schema.components(schema.Loss))
def test_every_loss_traced(loss: str) -> None:
    last, targets = TARGETS[loss]
    layers = [{"dense": {"units": 5, "activation": "gelu"}}, last]
    problem = make_problem(
        layers, loss=loss, optimizer="sgd", metrics=["mse"][: last not in (SOFTMAX,)], targets=targets
    )
    assert_alike(problem, (40,), "aot_eager")


RATES = ((0.01, 0.01), (0.003, 0.01), (0.001, 0.001))


@pytest.mark.parametrize("optimizer", OPTIMIZERS, ids=str)
def test_rates_that_change_traced(optimizer: Any) -> None:
    """From epoch to epoch, alike for both replicas and not.

    Without dropout, which makes most of what is traced: an optimizer sees gradients alone. The next test has
    both.
    """
    problem = make_problem(PENALIZED, optimizer=optimizer, batch_size=7)
    assert_alike(problem, (58, 53), "aot_eager", RATES)


@pytest.mark.parametrize("clip", [schema.GradientClip(norm=0.05), schema.GradientClip(value=0.01)], ids=str)
def test_limits_and_weights_traced(clip: schema.GradientClip) -> None:
    weights = torch.from_numpy(np.random.default_rng(8).uniform(0, 3, (2, 60)).astype(np.float32))
    problem = replace(make_problem(batch_size=7), clip=build_clip(clip), training_weights=weights)
    assert_alike(problem, (58, 53), "aot_eager", RATES)


@pytest.mark.slow
def test_the_compiler_s_own_code_with_all_of_them(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path))
    weights = torch.from_numpy(np.random.default_rng(8).uniform(0, 3, (1, 60)).astype(np.float32))
    clip = build_clip(schema.GradientClip(norm=0.05))
    problem = replace(make_problem(optimizer="rmsprop", batch_size=4), clip=clip, training_weights=weights)
    assert_alike(problem, (58, 53), "inductor", RATES)


@pytest.mark.slow
def test_the_compiler_s_own_code(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """With nothing that is optional: no limit, no weights, the optimizer's own rate, no dropout."""
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path))
    assert_alike(make_problem(PENALIZED, optimizer="rmsprop", batch_size=4), (58, 53), "inductor")


@pytest.mark.parametrize(
    "hidden",
    [
        {"dense": {"units": 5, "kernel_regularizer": "l2"}},
        "batch_normalization",
        "layer_normalization",
        {"activation": "tanh"},
        {"reshape": [3, 2]},
    ],
    ids=str,
)
def test_a_network_that_nothing_was_asked_of_before_is_compiled(hidden: Any) -> None:
    """What a layer works out once and keeps, it must not work out for the first time while it is traced."""
    problem = make_problem([hidden, "flatten", SIGMOID], optimizer="sgd")
    engine = CompiledEngine(problem, first_weights(problem, [0]), no_failure, "aot_eager")
    train(engine, (48,))


def test_engines_share_no_code() -> None:
    """`torch.compile` keeps what it compiled by code object: a second problem must not reuse it."""
    for optimizer, units in (("sgd", 3), ("adam", 4)):
        layers = [{"dense": units}, SIGMOID]
        assert_alike(make_problem(layers, optimizer=optimizer), (40, 40), "aot_eager")


def test_replicas_that_are_left_out_leave_the_others_as_they_would_be() -> None:
    problem = make_problem(optimizer="adam")
    weights = first_weights(problem, range(3))
    engines = [EagerEngine(problem, weights), CompiledEngine(problem, weights, no_failure, "aot_eager")]
    for engine in engines:
        orders = several_rows((48, 48, 48))
        engine.train_epoch(orders, sources_of(0, [0, 1, 2]), 1)
        engine.select_replicas([0, 2])
        engine.train_epoch([orders[0], orders[2]], sources_of(0, [0, 2]), 2)
    assert_same(engines[1].weights(), engines[0].weights())


def test_an_epoch_of_fewer_steps_than_a_call_makes() -> None:
    assert_alike(make_problem(batch_size=30), (60,), "aot_eager")
    assert STEPS_PER_CALL > 60 // 30


def test_where_compiling_fails_training_goes_step_by_step(monkeypatch: pytest.MonkeyPatch) -> None:
    problem = make_problem()
    weights = first_weights(problem, range(2))
    said: list[str] = []
    plain, compiled = EagerEngine(problem, weights), CompiledEngine(problem, weights, said.append)

    def fails(*arguments: Any) -> Any:
        raise torch._dynamo.exc.TorchRuntimeError("no compiler\nmore about it")

    monkeypatch.setattr(compiled, "_several", fails)
    for one, other in zip(train(plain, (48, 48)), train(compiled, (48, 48)), strict=True):
        assert other == one
    assert said == ["compiling failed, so PyTorch trains step by step: no compiler"]
    assert_same(compiled.weights(), plain.weights(), exactly=True)
