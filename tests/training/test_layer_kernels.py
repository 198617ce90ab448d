"""Runs whose layers and optimizer compute in C++, beside the same in PyTorch."""

from typing import Any

import numpy as np
import pytest
import torch

from nnrun.training.backends.choice import Choice, choose, make_engine
from nnrun.training.backends.eager import EagerBackend
from nnrun.training.problem import TrainingProblem
from tests.support.native_problems import needs_compiler
from tests.support.small_problems import N, assert_same, first_weights, make_problem, several_rows
from tests.support.streams import sources_of

pytestmark = needs_compiler

WORDS, STEPS = 30, 12
SIGMOID = {"dense": {"units": 1, "activation": "sigmoid"}}
EMBEDDED = {"embedding": {"output_dim": 6, "mask_zero": True}}
STACKS: dict[str, list[Any]] = {
    "mean": [
        {"embedding": {"output_dim": 6, "embeddings_regularizer": "l2"}},
        "global_average_pooling",
        SIGMOID,
    ],
    "masked mean": [
        {"embedding": {"output_dim": 6, "mask_zero": True, "embeddings_constraint": "max_norm"}},
        "global_average_pooling",
        {"dense": 4},
        SIGMOID,
    ],
    "lstm": [{"embedding": 6}, {"lstm": 5}, SIGMOID],
    "masked in both directions": [
        EMBEDDED,
        {"gru": {"units": 5, "bidirectional": True, "return_sequences": True, "dropout": 0.2}},
        {"lstm": {"units": 4, "go_backwards": True, "recurrent_dropout": 0.2}},
        SIGMOID,
    ],
}
LENGTHS = [58, 41, 58]


def problem_of(layers: list[Any], optimizer: Any) -> TrainingProblem:
    words = np.random.default_rng(7).integers(0, WORDS, (1, N, STEPS)).astype(np.float32)
    words[:, :, :4] = 0
    return make_problem(layers, x_SNF=words, optimizer=optimizer, metrics=["accuracy"], tokens=WORDS)


def losses_and_weights(problem: TrainingProblem, choice: Choice) -> tuple[list[Any], dict[str, torch.Tensor]]:
    """Of three epochs, each measured."""
    engine = make_engine(choice, problem, first_weights(problem, range(3)), pytest.fail)
    losses = []
    for number in range(1, 4):
        orders = several_rows(LENGTHS, seed=number)
        losses.append(engine.train_epoch(orders, sources_of(0, range(3)), number).losses)
        losses.append(engine.evaluate(several_rows([N] * 3)).losses)
    return losses, engine.weights()


@pytest.mark.parametrize("optimizer", ["rmsprop", {"adam": 0.01}, {"sgd": {"momentum": 0.9}}], ids=str)
@pytest.mark.parametrize("stack", STACKS)
def test_histories_and_weights_are_pytorch_s(stack: str, optimizer: Any) -> None:
    problem = problem_of(STACKS[stack], optimizer)
    choice = choose("auto", problem)
    assert choice.backend is EagerBackend
    layers = {"embedding"} if "mean" in stack else {"embedding", "recurrent"}
    assert set(choice.kernels) == {*layers, "updates"}
    losses, weights = losses_and_weights(problem, choice)
    expected_losses, expected = losses_and_weights(problem, choose("off", problem))
    for mine, theirs in zip(losses, expected_losses, strict=True):
        np.testing.assert_allclose(mine, theirs, rtol=1e-5)
    assert_same(weights, expected)
    again, same = losses_and_weights(problem, choice)
    assert all(np.array_equal(one, other) for one, other in zip(again, losses, strict=True))
    assert_same(same, weights, exactly=True)


def test_without_a_compiler_pytorch_computes_all(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("nnrun.training.backends.choice.cxx_compiler", lambda: None)
    choice = choose("auto", problem_of(STACKS["lstm"], "adam"))
    assert choice.kernels == ()
    assert not choice.compiled
