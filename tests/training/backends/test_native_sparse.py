"""Sparse rows in C++: what PyTorch computes for them, for every optimizer, loss, dropout and size."""

import dataclasses
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from nnrun.spec.ports import INPUT
from nnrun.training.backends import native_job
from nnrun.training.engine import Engine
from nnrun.training.problem import LEARNING_RATE, TrainingProblem

# The same cases as for dense rows.
from tests.support.native_problems import (
    AVERAGING,
    HIDDEN,
    LAST,
    OPTIMIZERS,
    SIGMOID,
    assert_alike,
    averaged,
    engines,
    epoch,
    native,
    needs_compiler,
    sparse_problem,
)
from tests.support.small_problems import (
    assert_same,
    evaluated,
    first_weights,
    make_problem,
    rows,
    several_rows,
    with_head,
    zeros_and_ones,
)
from tests.support.streams import sources_of

N = 60


@needs_compiler
@pytest.mark.parametrize("features", [12, 400], ids=["all rows updated", "rows wait"])
@pytest.mark.parametrize("optimizer", OPTIMIZERS, ids=str)
def test_every_optimizer(optimizer: Any, features: int) -> None:
    """Over several epochs, so that rows which waited are met again; two folds of unequal length."""
    problem = sparse_problem(optimizer=optimizer, batch_size=7, features=features, ones=False)
    waits = features == 400 and problem.optimizer.idle_decay is not None
    assert bool(engines(problem, 2)[0].state.last_update) == waits
    assert_alike(problem, epochs=4)


@needs_compiler
@pytest.mark.parametrize("averaging", AVERAGING, ids=str)
@pytest.mark.parametrize("optimizer", ["adam", "rmsprop"])
def test_averages_of_weights(optimizer: str, averaging: Any) -> None:
    """Of rows of a kernel that no batch meets too: with `ema` none waits, since its average still moves."""
    problem = averaged(sparse_problem(optimizer=optimizer, batch_size=7, features=400), averaging, 2)
    waits = optimizer == "rmsprop" and isinstance(averaging, dict) and "swa" in averaging
    assert bool(engines(problem, 2)[0].state.last_update) == waits
    assert_alike(problem, epochs=4)


@needs_compiler
@pytest.mark.parametrize("loss", [*native_job.LOSSES, {"huber": 0.3}], ids=str)
def test_every_loss(loss: Any) -> None:
    last, targets = LAST[loss if isinstance(loss, str) else "huber"]
    assert_alike(sparse_problem([HIDDEN, last], loss=loss, metrics=[], targets=targets, optimizer="sgd"))


@needs_compiler
@pytest.mark.parametrize("ones", [True, False])
@pytest.mark.parametrize("features", [12, 400])
@pytest.mark.parametrize(
    "layers",
    [
        [SIGMOID],
        [{"dropout": 0.4}, HIDDEN, {"dropout": 0.3}, SIGMOID],
        [{"dropout": 0.2}, {"dropout": 0.5}, {"dense": {"units": 70, "use_bias": False}}, SIGMOID],
        [{"dense": {"units": 5, "kernel_regularizer": {"l1_l2": {"l1": 0.01, "l2": 0.03}}}}, SIGMOID],
    ],
    ids=["one layer", "dropout", "dropout upon dropout", "a penalty"],
)
def test_every_stack(layers: list[Any], features: int, ones: bool) -> None:
    assert_alike(sparse_problem(layers, features=features, ones=ones))


@needs_compiler
@given(
    features=st.integers(1, 300),
    per_row=st.integers(0, 20),
    units=st.integers(1, 140),
    batch_size=st.integers(1, 40),
    lengths=st.lists(st.integers(30, N), min_size=1, max_size=3),
    ones=st.booleans(),
    dropout=st.sampled_from([0.0, 0.3]),
)
@settings(max_examples=60, deadline=None)
def test_any_sizes(
    features: int,
    per_row: int,
    units: int,
    batch_size: int,
    lengths: list[int],
    ones: bool,
    dropout: float,
) -> None:
    layers = [{"dropout": dropout}, {"dense": {"units": units, "activation": "tanh"}}, {"dense": 2}]
    problem = sparse_problem(
        layers,
        features=features,
        per_row=per_row,
        ones=ones,
        loss="mse",
        metrics=["mae"],
        targets=rows(1, N, 2),
        optimizer={"sgd": 0.01},
        batch_size=batch_size,
    )
    assert_alike(problem, lengths, epochs=2)


@needs_compiler
@pytest.mark.parametrize("dropout", [0.0, 0.3])
@pytest.mark.parametrize("batch_size", [15, 29])
def test_large_batches_are_filled_while_the_one_before_is_learned(batch_size: int, dropout: float) -> None:
    """Some of them large enough for a thread of its own and some not; and bit for bit the same each time."""
    layers = [{"dropout": dropout}, HIDDEN, SIGMOID]
    problem = sparse_problem(
        layers, features=60_000, per_row=2600, batch_size=batch_size, optimizer="rmsprop"
    )
    batches = [
        problem.inputs[INPUT].matrix[order[i : i + batch_size]].nnz  # type: ignore[attr-defined]
        for order in several_rows((58, 53), seed=1)
        for i in range(0, len(order), batch_size)
    ]
    assert engines(problem, 2)[0].state.last_update
    assert any(numbers > 16384 for numbers in batches)
    assert_alike(problem)
    found = []
    for _ in range(2):
        engine = engines(problem, 2)[1]
        epoch(engine, (58, 53), 1)
        found.append(engine.weights())
    assert_same(*found, exactly=True)


@needs_compiler
def test_rows_of_words_that_nobody_uses_stay_as_they_were() -> None:
    problem = sparse_problem(features=5000, optimizer="rmsprop")
    met = np.unique(problem.inputs[INPUT].matrix.indices)  # type: ignore[attr-defined]
    never = np.setdiff1d(np.arange(5000), met)
    engine = engines(problem, 2)[1]
    before = engine.weights()["0.weight"]
    for number in (1, 2):
        epoch(engine, (N, N), number)
    after = engine.weights()["0.weight"]
    assert torch.equal(before[:, never], after[:, never])
    assert not torch.equal(before[:, met], after[:, met])


@needs_compiler
@pytest.mark.parametrize("features", [12, 400])
def test_a_replica_does_not_know_who_trains_beside_it(features: int) -> None:
    """Bit for bit, training and measured: alone, beside others, after one of them was left out, and again."""
    problem = sparse_problem(
        optimizer="rmsprop", batch_size=7, features=features, metrics=["accuracy", "mae"]
    )
    orders, held = several_rows((58, 53, 40)), several_rows((20, 31, 20))
    sources = sources_of(0, range(3))

    def of(engine: Engine, chosen: list[int], number: int) -> list[Any]:
        trained = engine.train_epoch([orders[i] for i in chosen], [sources[i] for i in chosen], number)
        seen = engine.evaluate([held[i] for i in chosen])
        return [(trained.columns(place), seen.columns(place)) for place in range(len(chosen))]

    together = engines(problem, 3)[1]
    first = of(together, [0, 1, 2], 1)
    together.select_replicas([0, 2])
    last = of(together, [0, 2], 2)
    for _ in range(2):
        weights = {name: value[2:] for name, value in first_weights(problem, range(3)).items()}
        alone = native(problem, weights)
        assert [of(alone, [2], 1), of(alone, [2], 2)] == [first[2:], last[1:]]
        ended = {name: value[1:] for name, value in together.weights().items()}
        assert_same(ended, alone.weights(), exactly=True)


# --- what all rows have, dense and sparse ------------------------------------------------------------------


def either(sparse: bool, **settings: Any) -> TrainingProblem:
    layers = [HIDDEN, SIGMOID]
    return sparse_problem(layers, **settings) if sparse else make_problem(layers, **settings)


@needs_compiler
@pytest.mark.parametrize("sparse", [False, True])
@pytest.mark.parametrize("optimizer", ["rmsprop", "sgd", "adam", "adamw", "adagrad"])
def test_rates_of_the_replicas_own_and_of_an_epoch(optimizer: str, sparse: bool) -> None:
    own = {LEARNING_RATE: torch.tensor([0.1, 0.003], dtype=torch.float64)}
    problem = dataclasses.replace(either(sparse, optimizer=optimizer), per_replica=own)
    assert_alike(problem)
    pair = engines(either(sparse, optimizer=optimizer), 2)
    for number, rates in enumerate([(0.01, 0.01), (0.02, 0.001)], 1):
        for engine in pair:
            engine.set_learning_rates(rates)
            epoch(engine, (58, 53), number)
    assert_same(pair[1].weights(), pair[0].weights())


@needs_compiler
@pytest.mark.parametrize("sparse", [False, True])
def test_strengths_of_the_replicas_own(sparse: bool) -> None:
    own = {"0.weight.l1": torch.tensor([0.0, 0.02]), "1.weight.l2": torch.tensor([0.1, 0.0])}
    assert_alike(dataclasses.replace(either(sparse, optimizer="rmsprop"), per_replica=own))


@needs_compiler
@pytest.mark.parametrize("sparse", [False, True])
@pytest.mark.parametrize("shared", [False, True])
def test_weights_of_rows(sparse: bool, shared: bool) -> None:
    """Other weights while training than when measured; of all replicas, or of each."""
    weights = torch.from_numpy(np.abs(rows(1 if shared else 2, N)))
    problem = with_head(either(sparse), weights=weights[:1], training_weights=weights * 3)
    assert_alike(problem)


@needs_compiler
@pytest.mark.parametrize("sparse", [False, True])
@pytest.mark.parametrize(
    "loss", ["binary_crossentropy", "categorical_crossentropy", "sparse_categorical_crossentropy"]
)
def test_label_smoothing(loss: str, sparse: bool) -> None:
    """Metrics are of the targets as they are."""
    last, targets = LAST[loss]
    smooth: Any = {loss: {"label_smoothing": 0.2}}
    layers = [HIDDEN, last]
    make = sparse_problem if sparse else make_problem
    metrics = ["accuracy"] if loss.startswith("sparse") else ["accuracy", "mse"]
    assert_alike(make(layers, loss=smooth, targets=targets, metrics=metrics))


@needs_compiler
@pytest.mark.parametrize("sparse", [False, True])
def test_rows_are_measured_in_blocks(sparse: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """More rows than are gathered at a time, of folds of unequal length: the numbers of PyTorch."""
    monkeypatch.setattr("nnrun.training.problem.BLOCK_ELEMENTS", 100)
    problem = either(sparse, metrics=["accuracy", "mse"])
    engine = engines(problem, 2)[1]
    assert problem.rows_at_once < 20
    held = several_rows((47, 60))
    expected = evaluated(problem, engine.weights(), [0, 1], held)
    for _ in range(2):
        found = engine.evaluate(held)
        np.testing.assert_allclose(found.losses, expected.losses, rtol=1e-6)
        assert [dict(m) for m in found.metrics] == [pytest.approx(m) for m in expected.metrics]


@needs_compiler
def test_many_rows_at_a_time() -> None:
    """More rows than C++ measures at a time."""
    x = rows(1, 700, 6)
    problem = make_problem(
        [HIDDEN, SIGMOID], x_SNF=x, targets=zeros_and_ones(1, 700, 1), metrics=["accuracy"]
    )
    engine = engines(problem, 1)[1]
    held = [np.random.default_rng(0).permutation(700)[:601]]
    expected = evaluated(problem, engine.weights(), [0], held)
    assert engine.evaluate(held).losses == pytest.approx(expected.losses, rel=1e-6)
    assert engine.evaluate(held).metrics == expected.metrics
