"""Every kind of layer trains as replicas, and what layers keep beside their parameters goes with them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from nnrun.limits import cxx_compiler
from nnrun.spec.ports import INPUT
from nnrun.training.backends.choice import choose
from nnrun.training.backends.eager import EagerBackend
from nnrun.training.engine import Engine
from nnrun.training.problem import TrainingProblem
from tests.support.small_problems import (
    F,
    N,
    assert_same,
    eager,
    first_weights,
    make_problem,
    rows,
    several_rows,
    zeros_and_ones,
)
from tests.support.streams import sources_of

SIGMOID = {"dense": {"units": 1, "activation": "sigmoid"}}
NORMALIZED = [{"dense": 5}, {"batch_normalization": {"momentum": 0.8}}, {"activation": "tanh"}, SIGMOID]
STEPS = {"reshape": [3, 2]}
# Of six numbers, in the forms that each kind takes; smooth, so that rounding cannot tip an activation over.
STACKS: dict[str, list[Any]] = {
    "batch_normalization": NORMALIZED,
    "layer_normalization": [{"dense": 5}, "layer_normalization", SIGMOID],
    "lstm": [STEPS, {"lstm": {"units": 4, "return_sequences": True}}, {"lstm": 3}, SIGMOID],
    "both_directions": [
        STEPS,
        {"lstm": {"units": 4, "bidirectional": True, "return_sequences": True, "dropout": 0.2}},
        {"gru": {"units": 3, "bidirectional": True, "recurrent_dropout": 0.2}},
        SIGMOID,
    ],
    "simple_rnn": [STEPS, {"simple_rnn": {"units": 4, "recurrent_dropout": 0.2}}, SIGMOID],
    "gru": [STEPS, {"gru": {"units": 4, "return_sequences": True}}, {"gru": 3}, SIGMOID],
    "conv1d": [STEPS, {"conv1d": {"filters": 4, "kernel_size": 2, "activation": "tanh"}}, "flatten", SIGMOID],
    "noise": [
        {"dense": 6},
        {"gaussian_noise": 0.3},
        {"gaussian_dropout": 0.2},
        {"alpha_dropout": 0.1},
        STEPS,
        {"spatial_dropout": 0.3},
        "flatten",
        SIGMOID,
    ],
    "multi_head_attention": [
        STEPS,
        "position_embedding",
        {"multi_head_attention": {"num_heads": 2, "key_dim": 3, "dropout": 0.2}},
        "layer_normalization",
        "global_average_pooling",
        SIGMOID,
    ],
    "separable_conv2d": [
        {"reshape": [3, 2, 1]},
        {"separable_conv2d": {"filters": 3, "kernel_size": 2, "padding": "same"}},
        {"group_normalization": 3},
        {"prelu": [1, 2]},
        {"conv2d_transpose": {"filters": 2, "kernel_size": 2}},
        "flatten",
        SIGMOID,
    ],
    "options": [
        {"dense": {"units": 5, "activation": "tanh", "kernel_constraint": {"max_norm": 0.5}}},
        {"dense": {"units": 4, "bias_regularizer": "l2", "activity_regularizer": {"l2": 0.1}}},
        {"dense": {"units": 1, "activation": "sigmoid", "activity_regularizer": "l1"}},
    ],
    "conv2d": [
        {"reshape": [3, 2, 1]},
        {"conv2d": {"filters": 3, "kernel_size": 2, "padding": "same", "kernel_regularizer": {"l2": 0.1}}},
        {"max_pooling": {"padding": "same"}},
        {"batch_normalization": {"momentum": 0.5}},
        {"dropout": 0.3},
        "global_average_pooling",
        SIGMOID,
    ],
}
LENGTHS = [40, 9, 17]


def problem_of(layers: list[Any], **changes: Any) -> TrainingProblem:
    return make_problem(layers, optimizer={"sgd": 0.1}, metrics=["mse"], batch_size=8, **changes)


def trained(problem: TrainingProblem, numbers: list[int], lengths: list[int], epochs: int = 3) -> Engine:
    engine = eager(problem, first_weights(problem, numbers))
    orders = dict(zip([0, 1, 2], several_rows(LENGTHS), strict=True))
    for epoch in range(1, epochs + 1):
        engine.train_epoch([orders[n] for n in numbers], sources_of(0, numbers), epoch)
    return engine


@pytest.mark.parametrize("kind", STACKS)
def test_replicas_of_different_lengths_end_as_each_would_alone(kind: str) -> None:
    """Of 40, 9 and 17 rows in batches of 8: one replica makes some steps alone, some have a single row."""
    problem = problem_of(STACKS[kind])
    engine = trained(problem, [0, 1, 2], LENGTHS)
    together = engine.weights()
    validated = engine.evaluate(several_rows([12, 12, 12], seed=5))
    for number in range(3):
        alone = trained(problem, [number], [LENGTHS[number]])
        assert_same({k: v[number : number + 1] for k, v in together.items()}, alone.weights())
        own = alone.evaluate([several_rows([12, 12, 12], seed=5)[number]])
        assert validated.columns(number) == pytest.approx(own.columns(0), rel=1e-5)


def test_moving_statistics_move_while_training_and_at_no_other_time() -> None:
    problem = problem_of(NORMALIZED)
    engine = eager(problem, first_weights(problem, [0]))
    (order,) = several_rows([16])
    first = engine.weights()
    assert first["1.running_mean"].tolist() == [[0.0] * 5]
    assert first["1.running_var"].tolist() == [[1.0] * 5]
    engine.evaluate([order])
    assert_same(engine.weights(), first, exactly=True)
    engine.train_epoch([order], sources_of(0, [0]), 1)
    moved = engine.weights()
    assert not torch.equal(moved["1.running_mean"], first["1.running_mean"])
    engine.evaluate([order])
    assert_same(engine.weights(), moved, exactly=True)


def test_moving_statistics_follow_the_batches() -> None:
    """Keras's rule, with the variance of ddof 0, over two batches of one epoch, computed by hand."""
    problem = problem_of([{"batch_normalization": {"momentum": 0.75}}, SIGMOID])
    x_NF = problem.inputs[INPUT].x_SNF[0].double().numpy()  # type: ignore[attr-defined]
    engine = eager(problem, first_weights(problem, [0]))
    order = np.arange(16)
    engine.train_epoch([order], sources_of(0, [0]), 1)
    mean, variance = np.zeros(F), np.ones(F)
    for batch in (x_NF[:8], x_NF[8:16]):
        mean = 0.75 * mean + 0.25 * batch.mean(0)
        variance = 0.75 * variance + 0.25 * batch.var(0)
    found = engine.weights()
    np.testing.assert_allclose(found["0.running_mean"][0], mean, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(found["0.running_var"][0], variance, rtol=1e-5)


def test_replicas_that_are_left_keep_their_statistics() -> None:
    problem = problem_of(NORMALIZED)
    engine = trained(problem, [0, 1, 2], LENGTHS)
    before = engine.weights()
    engine.select_replicas([2, 0])
    assert_same(engine.weights(), {k: v[[2, 0]] for k, v in before.items()}, exactly=True)


def test_a_constraint_holds_after_each_update_whatever_the_rows_are() -> None:
    """Of sparse rows a kernel's rows that no batch meets may else wait for their update."""
    constrained = {"dense": {"units": 4, "activation": "tanh", "kernel_constraint": {"max_norm": 0.4}}}
    x_SNF = rows(1, N, F) * zeros_and_ones(1, N, F)
    found = []
    for sparse in (True, False):
        problem = replace(problem_of([constrained, SIGMOID], x_SNF=x_SNF, sparse=sparse), batch_size=1)
        found.append(trained(problem, [0, 1, 2], LENGTHS).weights())
    assert_same(found[0], found[1])
    lengths = found[0]["0.weight"].square().sum(1).sqrt()
    assert (lengths <= 0.4 + 1e-6).all()
    assert (lengths > 0.39).any()


@pytest.mark.parametrize("layer", ["batch_normalization", "layer_normalization"])
def test_a_layer_that_needs_every_number_takes_sparse_rows_as_dense_ones(layer: str) -> None:
    layers = [{"dropout": 0.3}, layer, SIGMOID]
    x_SNF = rows(1, N, F) * zeros_and_ones(1, N, F)
    found = [
        trained(problem_of(layers, x_SNF=x_SNF, sparse=sparse), [0, 1, 2], LENGTHS).weights()
        for sparse in (True, False)
    ]
    assert_same(found[0], found[1])


@pytest.mark.parametrize("kind", STACKS)
def test_layers_that_are_not_compiled(kind: str) -> None:
    problem = problem_of(STACKS[kind])
    choice = choose("auto", problem)
    assert choice.backend is EagerBackend
    kernels = (
        (*sorted(problem.network.kernels), "updates") if problem.network.kernels and cxx_compiler() else ()
    )
    beside = f", {' and '.join(kernels)} in C++" if kernels else ""
    assert choice.reason.startswith(f"step by step{beside}: C++ does not support `")
    assert choice.kernels == kernels
    assert choice.compiled == bool(kernels)
    off = choose("off", problem)
    assert not off.compiled
