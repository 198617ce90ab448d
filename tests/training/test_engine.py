"""The arithmetic of an epoch: what one network would do alone, for all replicas at once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from nnrun.model.inputs import DenseInputs
from nnrun.replica_rows import RowIndices
from nnrun.spec import schema
from nnrun.spec.ports import INPUT
from nnrun.training.engine import Engine
from nnrun.training.metrics import EpochMetrics
from nnrun.training.optimizers import build_clip, build_optimizer
from nnrun.training.problem import TrainingProblem
from tests.support.small_problems import (
    LINEAR_LAYERS,
    F,
    N,
    assert_same,
    eager,
    first_weights,
    make_problem,
    rows,
    several_rows,
    with_head,
    zeros_and_ones,
)
from tests.support.streams import sources_of


def train(
    problem: TrainingProblem, numbers: Sequence[int], orders: Sequence[RowIndices], epochs: int = 2
) -> tuple[Engine, list[EpochMetrics]]:
    """Train fresh replicas with these numbers, each over its own order again and again."""
    engine = eager(problem, first_weights(problem, numbers))
    return engine, [
        engine.train_epoch(orders, sources_of(0, numbers), epoch) for epoch in range(1, epochs + 1)
    ]


def only(problem: TrainingProblem, place: int) -> TrainingProblem:
    """The same problem where the replica at `place` is the only one."""
    inputs, targets = problem.inputs[INPUT], problem.head.targets
    if isinstance(inputs, DenseInputs) and len(inputs.x_SNF) > 1:
        inputs = DenseInputs(inputs.x_SNF[place : place + 1])
    if len(targets) > 1:
        targets = targets[place : place + 1]
    return replace(with_head(problem, targets=targets), inputs={INPUT: inputs})


def assert_each_alone_is_the_same(
    problem: TrainingProblem, numbers: Sequence[int], orders: Sequence[RowIndices]
) -> None:
    """Weights, losses and metrics of replicas that train together, against each that trains alone."""
    engine, phases = train(problem, numbers, orders)
    for place, number in enumerate(numbers):
        alone, phases_alone = train(only(problem, place), [number], [orders[place]])
        mine = {name: value[place : place + 1] for name, value in engine.weights().items()}
        assert_same(mine, alone.weights())
        for together, apart in zip(phases, phases_alone, strict=True):
            assert together.columns(place) == pytest.approx(apart.columns(0), rel=1e-5, nan_ok=True)


# --- together and alone ------------------------------------------------------------------------------------


@settings(max_examples=15)
@given(
    lengths=st.lists(st.integers(1, 30), min_size=1, max_size=4),
    batch_size=st.integers(3, 35),
    own_data=st.booleans(),
    sparse=st.booleans(),
)
def test_a_replica_does_not_know_who_trains_beside_it(
    lengths: list[int], batch_size: int, own_data: bool, sparse: bool
) -> None:
    """With dropout, folds of any length, short last batches, and rows of its own or of all."""
    copies = len(lengths) if own_data and not sparse else 1
    problem = make_problem(
        x_SNF=rows(copies, N, F) * zeros_and_ones(copies, N, F),
        # Metrics that a nearly tied pair or an output nearly at 0.5 cannot throw to another value.
        metrics=["mse", "mae"],
        optimizer={"sgd": {"learning_rate": 0.1, "momentum": 0.9}},
        batch_size=batch_size,
        sparse=sparse,
    )
    numbers = [5 * place + 2 for place in range(len(lengths))]
    assert_each_alone_is_the_same(problem, numbers, several_rows(lengths))


@pytest.mark.parametrize("kind", schema.components(schema.Optimizer))
def test_replicas_that_made_different_numbers_of_steps_go_on_as_they_would_alone(kind: str) -> None:
    """Of 40, 9 and 17 rows in batches of 4: 10, 3 and 5 steps an epoch, two of them end with a single row."""
    problem = make_problem(optimizer={kind: {"learning_rate": 0.01}}, batch_size=4)
    assert_each_alone_is_the_same(problem, [0, 1, 2], several_rows([40, 9, 17]))


def test_replicas_that_are_left_go_on_as_if_the_others_had_never_been() -> None:
    problem = make_problem(x_SNF=rows(4, N, F), batch_size=8)
    orders = several_rows([20, 33, 25, 17])
    engine, _ = train(problem, [0, 1, 2, 3], orders, epochs=1)
    engine.select_replicas([1, 2, 3])
    engine.select_replicas([2, 0])  # the replicas 3 and 1
    phase = engine.train_epoch([orders[3], orders[1]], sources_of(0, [3, 1]), 2)
    validated = engine.evaluate([orders[0], orders[0]])
    for place, number in enumerate([3, 1]):
        alone, phases = train(only(problem, number), [number], [orders[number]])
        mine = {name: value[place : place + 1] for name, value in engine.weights().items()}
        assert_same(mine, alone.weights())
        assert phase.columns(place) == pytest.approx(phases[1].columns(0), rel=1e-5)
        assert validated.columns(place) == pytest.approx(alone.evaluate([orders[0]]).columns(0), rel=1e-5)


# --- one network, against PyTorch's own --------------------------------------------------------------------


@pytest.mark.parametrize("batch_size", [1, 8, 20, 21, 100])
def test_an_epoch_is_the_row_weighted_mean_over_its_batches_as_they_were_trained(batch_size: int) -> None:
    """21 rows: the last batch of 8 has five of them, that of 20 a single one."""
    layers = [{"dense": {"units": 1, "kernel_regularizer": {"l1_l2": {"l1": 0.03, "l2": 0.02}}}}]
    targets = 3 * rows(1, N, 1, seed=5)
    problem = make_problem(
        layers, loss="mse", optimizer="sgd", metrics=["mae", "r2"], targets=targets, batch_size=batch_size
    )
    (order,) = several_rows([21])
    engine, (found,) = train(problem, [0], [order], epochs=1)

    first = first_weights(problem, [0])
    w, b = (first[name][0].clone().requires_grad_() for name in ("0.weight", "0.bias"))
    theirs = torch.optim.SGD([w, b], lr=0.01)
    x_NF, y_N1 = torch.from_numpy(rows(1, N, F)[0]), torch.from_numpy(targets[0])
    losses, outputs = [], []
    for start in range(0, 21, batch_size):
        batch = order[start : start + batch_size]
        predicted = x_NF[batch] @ w + b
        loss = ((predicted - y_N1[batch]) ** 2).mean() + 0.03 * w.abs().sum() + 0.02 * (w**2).sum()
        theirs.zero_grad()
        loss.backward()
        losses += [loss.item()] * len(batch)  # once for each row
        outputs.append(predicted.detach())
        theirs.step()
    error = (torch.cat(outputs) - y_N1[order]).numpy()
    assert found.columns(0) == pytest.approx(
        {
            "loss": np.mean(losses),
            "mae": np.abs(error).mean(),
            "r2": 1 - np.square(error).mean() / targets[0][order].var(),
        },
        rel=1e-5,
    )
    assert_same(engine.weights(), {"0.weight": w.detach()[None], "0.bias": b.detach()[None]})


def test_what_is_dropped_does_not_depend_on_the_batch_size() -> None:
    """With steps too small to be seen, each row meets the same network in any batch, dropout included."""
    orders = several_rows([40, 37])
    found = [
        train(make_problem(optimizer={"sgd": 1e-30}, batch_size=batch_size), [0, 1], orders, epochs=1)[1][0]
        for batch_size in (1, 8, 60)
    ]
    for place in range(2):
        for other in found[1:]:
            assert other.columns(place) == pytest.approx(found[0].columns(place), rel=1e-5)


def test_dropout_is_at_work_while_training_and_differs_from_epoch_to_epoch() -> None:
    engine, phases = train(make_problem(optimizer={"sgd": 1e-30}), [0], several_rows([40]), epochs=3)
    losses = [phase.losses[0] for phase in phases]
    losses.append(engine.evaluate(several_rows([40])).losses[0])
    assert len({round(loss, 4) for loss in losses}) == 4


# --- the same numbers again --------------------------------------------------------------------------------


@pytest.mark.parametrize("sparse", [False, True])
def test_equal_trainings_give_equal_bits(sparse: bool) -> None:
    def run() -> tuple[dict[str, Tensor], list[EpochMetrics]]:
        engine, phases = train(make_problem(sparse=sparse), [0, 1, 2], several_rows([40, 37, 40]), epochs=3)
        return engine.weights(), phases

    (weights, phases), (weights_again, phases_again) = run(), run()
    assert_same(weights_again, weights, exactly=True)
    assert phases_again == phases


@pytest.mark.parametrize("block", [1, 8, 19, 1000])
def test_how_many_rows_are_held_at_a_time_changes_no_bit(block: int, monkeypatch: pytest.MonkeyPatch) -> None:
    orders = several_rows([40, 37, 40])
    expected, phases = train(make_problem(), [0, 1, 2], orders)
    # A row of the problem takes eight numbers, those of its widest_activation layer.
    monkeypatch.setattr("nnrun.training.problem.BLOCK_ELEMENTS", block * 8)
    problem = make_problem()
    assert problem.rows_at_once == block
    found, phases_in_blocks = train(problem, [0, 1, 2], orders)
    assert_same(found.weights(), expected.weights(), exactly=True)
    for phase, in_blocks in zip(phases, phases_in_blocks, strict=True):
        for place in range(3):
            assert in_blocks.columns(place) == pytest.approx(phase.columns(place), rel=1e-9)


def test_sparse_rows_train_as_dense_ones() -> None:
    x_SNF, orders = rows(1, N, F) * zeros_and_ones(1, N, F), several_rows([40, 37])
    dense, phases = train(make_problem(x_SNF=x_SNF), [0, 1], orders)
    sparse, sparse_phases = train(make_problem(x_SNF=x_SNF, sparse=True), [0, 1], orders)
    assert_same(sparse.weights(), dense.weights())
    for phase, sparse_phase in zip(phases, sparse_phases, strict=True):
        for place in range(2):
            assert sparse_phase.columns(place) == pytest.approx(phase.columns(place), rel=1e-5)


OPTIMIZERS: list[Any] = [
    "adam",
    "adagrad",
    {"sgd": 0.1},
    {"sgd": {"learning_rate": 0.1, "momentum": 0.9}},
    {"rmsprop": {"learning_rate": 0.01}},
    {"rmsprop": {"learning_rate": 0.01, "centered": True, "epsilon": 1e-3}},
    {"rmsprop": {"learning_rate": 0.01, "momentum": 0.5}},
]


@pytest.mark.parametrize("optimizer", OPTIMIZERS, ids=str)
@pytest.mark.parametrize("regularizer", [None, {"l2": 0.01}], ids=["plain", "l2"])
@pytest.mark.parametrize("drop", [True, False], ids=["dropout", "no dropout"])
def test_columns_that_no_batch_meets_for_a_while_end_as_if_they_had_not_waited(
    optimizer: Any, regularizer: Any, drop: bool
) -> None:
    """300 columns of which a row has three: most rest at most steps, and the folds make unequal ones."""
    rng = np.random.default_rng(6)
    x_SNF = np.zeros((1, N, 300), np.float32)
    for row in x_SNF[0]:
        row[rng.choice(40, 3) * 7] = rng.normal(size=3)
    layers = [
        *([{"dropout": 0.3}] if drop else []),
        {"dense": {"units": 4, "activation": "tanh", "kernel_regularizer": regularizer}},
        {"dense": {"units": 1, "activation": "sigmoid"}},
    ]

    def trained(*, sparse: bool) -> tuple[Engine, list[EpochMetrics]]:
        problem = make_problem(
            layers, optimizer=optimizer, metrics=["mse"], x_SNF=x_SNF, sparse=sparse, batch_size=4
        )
        engine = eager(problem, first_weights(problem, [0, 1, 2]))
        orders = several_rows([40, 9, 17])
        phases = [engine.train_epoch(orders, sources_of(0, [0, 1, 2]), epoch) for epoch in (1, 2)]
        engine.select_replicas([2, 0])
        phases.append(engine.train_epoch([orders[2], orders[0]], sources_of(0, [2, 0]), 3))
        return engine, phases

    (sparse, phases), (dense, dense_phases) = trained(sparse=True), trained(sparse=False)
    assert_same(sparse.weights(), dense.weights())
    for phase, dense_phase in zip(phases, dense_phases, strict=True):
        for place in range(len(phase.losses)):
            assert phase.columns(place) == pytest.approx(dense_phase.columns(place), rel=1e-5)


# --- rates, weights and limits -----------------------------------------------------------------------------

CLIPS = [schema.GradientClip(norm=0.05), schema.GradientClip(value=0.01)]


def weights_of_rows(copies: int, seed: int = 8) -> Tensor:
    return torch.from_numpy(np.random.default_rng(seed).uniform(0, 3, (copies, N)).astype(np.float32))


@pytest.mark.parametrize("clip", CLIPS, ids=str)
@pytest.mark.parametrize("optimizer", ["rmsprop", "adam"])
def test_clipped_and_weighted_replicas_do_what_each_does_alone(
    clip: schema.GradientClip, optimizer: str
) -> None:
    """Unequal numbers of steps, short last batches, and weights of each replica's own."""
    weights = weights_of_rows(3)
    problem = make_problem(optimizer=optimizer, metrics=["mse"], batch_size=4)
    problem = replace(with_head(problem, training_weights=weights), clip=build_clip(clip))
    orders = several_rows([40, 9, 17])
    engine, phases = train(problem, [0, 1, 2], orders)
    unlimited, _ = train(replace(problem, clip=None), [0, 1, 2], orders)
    assert not torch.equal(engine.weights()["1.weight"], unlimited.weights()["1.weight"])
    for place in range(3):
        mine = with_head(problem, training_weights=weights[place : place + 1])
        alone, phases_alone = train(mine, [place], [orders[place]])
        found = {name: value[place : place + 1] for name, value in engine.weights().items()}
        assert_same(found, alone.weights())
        for together, apart in zip(phases, phases_alone, strict=True):
            assert together.columns(place) == pytest.approx(apart.columns(0), rel=1e-5)


def test_the_loss_of_weighted_rows_is_their_weighted_sum_by_their_number() -> None:
    """An epoch that is one batch, at a rate that changes nothing: its loss is that of the first weights."""
    weights = weights_of_rows(1)
    problem = make_problem(
        [{"dense": 1}], loss="mse", optimizer={"sgd": 1e-30}, metrics=["mse"], batch_size=60
    )
    (order,) = several_rows([60])
    _, (plain,) = train(problem, [0], [order], epochs=1)
    _, (found,) = train(with_head(problem, training_weights=weights), [0], [order], epochs=1)
    inputs = problem.inputs[INPUT]
    assert isinstance(inputs, DenseInputs)
    first = first_weights(problem, [0])
    outputs = inputs.x_SNF[0] @ first["0.weight"][0] + first["0.bias"][0]
    losses = (outputs - problem.head.targets[0]).square()[:, 0]
    assert found.losses[0] == pytest.approx(float((losses * weights[0]).sum() / 60), rel=1e-5)
    assert found.metrics == plain.metrics


def test_rows_of_weight_2_train_as_rows_that_are_there_twice() -> None:
    """And rows of weight 0 as rows that are not there, but for the number by which the sum is divided."""
    problem = make_problem(
        optimizer={"sgd": 0.1}, layers=LINEAR_LAYERS, loss="mse", metrics=[], batch_size=60
    )
    weights = torch.ones(1, N)
    weights[0, :10], weights[0, 10:20] = 2, 0
    weighted, _ = train(with_head(problem, training_weights=weights), [0], [np.arange(N)])
    order = np.concatenate([np.arange(10), np.arange(10), np.arange(20, N)])
    repeated, _ = train(problem, [0], [order])
    assert_same(weighted.weights(), repeated.weights())


@pytest.mark.parametrize("clip", [None, *CLIPS], ids=str)
@pytest.mark.parametrize("optimizer", OPTIMIZERS, ids=str)
def test_sparse_rows_are_clipped_and_weighted_as_dense_ones(
    optimizer: Any, clip: schema.GradientClip | None
) -> None:
    """Columns that wait, rates that change from epoch to epoch and differ, and a replica that leaves."""
    rng = np.random.default_rng(6)
    x_SNF = np.zeros((1, N, 300), np.float32)
    for row in x_SNF[0]:
        row[rng.choice(40, 3) * 7] = rng.normal(size=3)
    layers = [
        {"dense": {"units": 4, "activation": "tanh"}},
        {"dense": {"units": 1, "activation": "sigmoid"}},
    ]

    def trained(*, sparse: bool) -> tuple[Engine, list[EpochMetrics]]:
        problem = make_problem(
            layers, optimizer=optimizer, metrics=["mse"], x_SNF=x_SNF, sparse=sparse, batch_size=4
        )
        problem = with_head(problem, training_weights=weights_of_rows(1))
        problem = replace(problem, clip=build_clip(clip))
        engine = eager(problem, first_weights(problem, [0, 1, 2]))
        orders = several_rows([40, 9, 17])
        phases = []
        for epoch, rates in ((1, [0.1, 0.1, 0.1]), (2, [0.1, 0.03, 0.02])):
            engine.set_learning_rates(rates)
            phases.append(engine.train_epoch(orders, sources_of(0, [0, 1, 2]), epoch))
        engine.select_replicas([2, 0])
        phases.append(engine.train_epoch([orders[2], orders[0]], sources_of(0, [2, 0]), 3))
        return engine, phases

    (sparse, phases), (dense, dense_phases) = trained(sparse=True), trained(sparse=False)
    assert_same(sparse.weights(), dense.weights())
    for phase, dense_phase in zip(phases, dense_phases, strict=True):
        for place in range(len(phase.losses)):
            assert phase.columns(place) == pytest.approx(dense_phase.columns(place), rel=1e-5)


@pytest.mark.parametrize("kind", schema.components(schema.Optimizer))
def test_a_rate_that_is_set_is_that_of_the_optimizer_to_the_last_bit(kind: str) -> None:
    """Where all replicas have the same one; else it is theirs, each its own, also of those that stay."""
    orders = several_rows([40, 17])
    set_, expected = make_problem(optimizer={kind: 0.5}), make_problem(optimizer={kind: 0.01})
    reference, phases = train(expected, [0, 1], orders)
    engine = eager(set_, first_weights(set_, [0, 1]))
    engine.set_learning_rates([0.01, 0.01])
    assert [engine.train_epoch(orders, sources_of(0, [0, 1]), epoch) for epoch in (1, 2)] == phases
    assert_same(engine.weights(), reference.weights(), exactly=True)

    engine = eager(set_, first_weights(set_, [0, 1]))
    engine.set_learning_rates([0.2, 0.01])
    engine.train_epoch(orders, sources_of(0, [0, 1]), 1)
    engine.select_replicas([1])
    engine.train_epoch(orders[1:], sources_of(0, [1]), 2)
    mine = {name: value[1:] for name, value in reference.weights().items()}
    assert_same(engine.weights(), mine)


# --- looking -----------------------------------------------------------------------------------------------


def test_evaluation_changes_no_bit() -> None:
    problem, orders = make_problem(), several_rows([40, 37])
    expected, phases = train(problem, [0, 1], orders)
    engine = eager(problem, first_weights(problem, [0, 1]))
    looked = []
    for epoch in (1, 2):
        engine.evaluate(several_rows([25, 60], seed=9))
        looked.append(engine.train_epoch(orders, sources_of(0, [0, 1]), epoch))
        engine.evaluate(several_rows([3, 2], seed=8))
    assert_same(engine.weights(), expected.weights(), exactly=True)
    assert looked == phases


def test_the_parameters_are_a_copy_and_so_are_those_it_started_from() -> None:
    problem, orders = make_problem(), several_rows([40])
    first = first_weights(problem, [0])
    engine = eager(problem, first)
    before = engine.weights()
    assert_same(before, first, exactly=True)
    engine.train_epoch(orders, sources_of(0, [0]), 1)
    assert_same(before, first_weights(problem, [0]), exactly=True)
    assert_same(first, first_weights(problem, [0]), exactly=True)
    assert not torch.equal(engine.weights()["1.weight"], before["1.weight"])
    trained = engine.weights()
    for value in engine.weights().values():
        value.fill_(7)
    assert_same(engine.weights(), trained, exactly=True)
    assert not any(value.requires_grad for value in trained.values())


def test_the_optimizer_of_a_task_keeps_nothing_from_one_training_for_the_next() -> None:
    problem, orders = replace(make_problem(), optimizer=build_optimizer(schema.Adam())), several_rows([40])
    first, _ = train(problem, [0], orders)
    second, _ = train(problem, [0], orders)
    assert_same(second.weights(), first.weights(), exactly=True)


# --- numbers that are none ---------------------------------------------------------------------------------


@pytest.mark.parametrize("block", [8, 1000])
def test_the_first_batch_that_is_no_number_is_known_for_each_replica(
    block: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("nnrun.training.problem.BLOCK_ELEMENTS", block * F)
    x_SNF = rows(1, N, F)
    x_SNF[0, 50] = np.inf
    problem = make_problem(LINEAR_LAYERS, loss="mse", metrics=[], x_SNF=x_SNF, batch_size=8)
    fine = np.arange(40)
    orders = [
        fine[:33],
        np.concatenate([fine[:3], [50], fine[3:40]]),  # the first batch of eight
        np.concatenate([fine[:23], [50], fine[23:27]]),  # the third
        np.concatenate([fine[:35], [50]]),  # the fifth and last, of four rows
    ]
    _, (phase,) = train(problem, [0, 1, 2, 3], orders, epochs=1)
    assert phase.first_bad_batch == (None, 1, 3, 5)
    assert np.isfinite(phase.losses).tolist() == [True, False, False, False]
