"""Loss and metrics of given networks: those of the rows asked for, and nothing is changed by looking."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from nnrun.spec.ports import INPUT
from nnrun.training.metrics import EpochMetrics
from nnrun.training.problem import TrainingProblem
from tests.support.small_problems import (
    F,
    N,
    evaluated,
    first_weights,
    make_problem,
    rows,
    several_rows,
    with_head,
    zeros_and_ones,
)


def by_hand(
    problem: TrainingProblem, weights: Mapping[str, torch.Tensor], place: int, numbers: np.ndarray
) -> dict[str, float]:
    """Loss, accuracy and mse of one replica of `DROPOUT_LAYERS`, in float64, without dropout."""
    x_SNF, y_SNK = problem.inputs[INPUT].x_SNF.double().numpy(), problem.head.targets.double().numpy()
    x = x_SNF[place if len(x_SNF) > 1 else 0][numbers]
    y = y_SNK[place if len(y_SNK) > 1 else 0][numbers]
    w = {name: value[place].double().numpy() for name, value in weights.items()}
    p = 1 / (1 + np.exp(-(np.tanh(x @ w["1.weight"] + w["1.bias"]) @ w["3.weight"] + w["3.bias"])))
    penalty = 0.01 * (w["1.weight"] ** 2).sum()
    return {
        "loss": float(-(y * np.log(p) + (1 - y) * np.log(1 - p)).mean() + penalty),
        "accuracy": float(((p > 0.5) == y).mean()),
        "mse": float(((p - y) ** 2).mean()),
    }


def measured(
    problem: TrainingProblem, weights: Mapping[str, torch.Tensor], orders: Sequence[np.ndarray]
) -> EpochMetrics:
    return evaluated(problem, weights, range(len(orders)), orders)


@settings(max_examples=30)
@given(lengths=st.lists(st.integers(1, N), min_size=1, max_size=4), own_data=st.booleans())
def test_each_replica_is_measured_on_its_own_rows(lengths: list[int], own_data: bool) -> None:
    copies = len(lengths) if own_data else 1
    problem = make_problem(metrics=["accuracy", "mse"], x_SNF=rows(copies, N, F))
    weights, orders = first_weights(problem, range(len(lengths))), several_rows(lengths)
    phase = measured(problem, weights, orders)
    assert phase.first_bad_batch == (None,) * len(lengths)
    for place, numbers in enumerate(orders):
        expected = by_hand(problem, weights, place, numbers)
        assert phase.columns(place) == pytest.approx(expected, rel=1e-5)
        assert list(phase.columns(place, "val_")) == ["val_loss", "val_accuracy", "val_mse"]


def test_weights_of_rows_count_in_the_loss_and_in_nothing_else(monkeypatch: pytest.MonkeyPatch) -> None:
    """Those of the data, which all replicas share; those of classes play no part. Also block by block."""
    weights = torch.from_numpy(np.random.default_rng(8).uniform(0, 3, (1, N)).astype(np.float32))
    problem = make_problem(metrics=["accuracy", "mse"])
    weighted = with_head(problem, weights=weights, training_weights=weights * 7)
    parameters, orders = first_weights(problem, range(2)), several_rows([25, 31])
    plain, found = measured(problem, parameters, orders), measured(weighted, parameters, orders)
    assert found.metrics == plain.metrics
    for place, numbers in enumerate(orders):
        rows_alone = [
            by_hand(problem, parameters, place, numbers[i : i + 1])["loss"] for i in range(len(numbers))
        ]
        penalty = 0.01 * float(parameters["1.weight"][place].double().square().sum())
        losses = np.array(rows_alone) - penalty
        expected = float((losses * weights[0].numpy()[numbers]).mean()) + penalty
        assert found.losses[place] == pytest.approx(expected, rel=1e-5)
    monkeypatch.setattr("nnrun.training.problem.BLOCK_ELEMENTS", 7 * 8)
    in_blocks = measured(replace(weighted), parameters, orders)
    assert in_blocks.losses == pytest.approx(found.losses, rel=1e-6)


@pytest.mark.parametrize("block", [1, 7, 25, 1000])
def test_it_does_not_matter_how_many_rows_are_held_at_a_time(
    block: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    weights, orders = first_weights(make_problem(), range(3)), several_rows([25, 26, 17])
    expected = measured(make_problem(), weights, orders)
    # A row of the problem takes eight numbers, those of its widest_activation layer.
    monkeypatch.setattr("nnrun.training.problem.BLOCK_ELEMENTS", block * 8)
    problem = make_problem()
    assert problem.rows_at_once == block
    found = measured(problem, weights, orders)
    for place in range(3):
        assert found.columns(place) == pytest.approx(expected.columns(place), rel=1e-6)


def test_the_order_of_the_rows_does_not_matter() -> None:
    problem = make_problem()
    weights, (order,) = first_weights(problem, [0]), several_rows([40])
    found = measured(problem, weights, [np.sort(order)]).columns(0)
    assert found == pytest.approx(measured(problem, weights, [order]).columns(0), rel=1e-6)


def test_sparse_rows_are_measured_as_dense_ones() -> None:
    x_SNF = rows(1, N, F) * zeros_and_ones(1, N, F)
    weights, orders = first_weights(make_problem(), range(2)), several_rows([25, 26])
    dense = measured(make_problem(x_SNF=x_SNF), weights, orders)
    sparse = measured(make_problem(x_SNF=x_SNF, sparse=True), weights, orders)
    for place in range(2):
        assert sparse.columns(place) == pytest.approx(dense.columns(place), rel=1e-5)


def test_replicas_may_stand_anywhere_among_the_data() -> None:
    """Replicas that early stopping left over keep the data of their own fold."""
    problem = make_problem(x_SNF=rows(4, N, F))
    weights, orders = first_weights(problem, range(4)), several_rows([25, 26, 17, 20])
    expected = measured(problem, weights, orders)
    kept = {name: value[[3, 1]] for name, value in weights.items()}
    found = evaluated(problem, kept, [3, 1], [orders[3], orders[1]])
    assert found.columns(0) == pytest.approx(expected.columns(3), rel=1e-6)
    assert found.columns(1) == pytest.approx(expected.columns(1), rel=1e-6)


def test_looking_changes_nothing() -> None:
    problem = make_problem()
    weights, orders = first_weights(problem, range(2)), several_rows([25, 26])
    before = {name: value.clone() for name, value in weights.items()}
    inputs, targets = problem.inputs[INPUT].x_SNF.clone(), problem.head.targets.clone()
    assert measured(problem, weights, orders) == measured(problem, weights, orders)
    assert all(torch.equal(weights[name], value) for name, value in before.items())
    assert torch.equal(problem.inputs[INPUT].x_SNF, inputs)
    assert torch.equal(problem.head.targets, targets)


def test_rows_that_are_not_asked_for_have_no_say() -> None:
    x_SNF, targets = rows(1, N, F), zeros_and_ones(1, N, 1)
    weights, (order,) = first_weights(make_problem(), [0]), several_rows([25])
    expected = measured(make_problem(x_SNF=x_SNF, targets=targets), weights, [order])
    others = np.setdiff1d(np.arange(N), order)
    x_SNF[:, others], targets[:, others] = np.nan, np.nan
    assert measured(make_problem(x_SNF=x_SNF, targets=targets), weights, [order]) == expected


def test_a_loss_that_is_no_number_is_seen() -> None:
    x_SNF = rows(1, N, F)
    x_SNF[0, 5] = np.nan
    problem = make_problem(x_SNF=x_SNF, metrics=["accuracy"])
    orders = [np.array([1, 2, 3]), np.array([4, 5, 6, 7])]
    phase = measured(problem, first_weights(problem, range(2)), orders)
    assert [value is None for value in phase.first_bad_batch] == [True, False]
    assert np.isfinite(phase.losses).tolist() == [True, False]
