"""Which parameters of a network decay, and that those that do not are updated together with their like."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from nnrun.training.train_state import initial_state, optimizers_of
from tests.support.small_problems import N, eager, first_weights, make_problem, several_rows
from tests.support.streams import sources_of

LAYERS: list[Any] = [{"dense": 4}, "layer_normalization", {"dense": {"units": 1, "activation": "sigmoid"}}]


def decayed(optimizer: dict[str, Any], layers: list[Any] = LAYERS) -> set[str]:
    problem = make_problem(layers, optimizer=optimizer)
    undecayed = [problem.optimizer.undecayed]
    return {name for name, rule in optimizers_of(problem).items() if rule not in undecayed}


def test_all_decays_by_default_and_kernels_alone_where_the_spec_says_so() -> None:
    kernels = {"0.weight", "2.weight"}
    everything = kernels | {"0.bias", "1.weight", "1.bias", "2.bias"}
    assert decayed({"adamw": {}}) == everything
    assert decayed({"adamw": {"exclude_from_weight_decay": ["bias", "gamma"]}}) == kernels
    assert decayed({"adamw": {"exclude_from_weight_decay": [1]}}) == everything - {"1.weight", "1.bias"}


@pytest.mark.parametrize("kind", ["adamw", "adam", "muon", "sgd"])
def test_a_step_shrinks_what_decays_and_nothing_else(kind: str) -> None:
    """Against the same step with a decay of 0."""
    settings = {"weight_decay": 0.5, "learning_rate": 0.1}
    if kind == "muon":
        settings["adam_weight_decay"] = 0.5
    without = {**settings, **{name: 0.0 for name in settings if name.endswith("decay")}}
    ends = []
    for options in (without, settings | {"exclude_from_weight_decay": ["bias", "gamma"]}, settings):
        problem = make_problem(LAYERS, optimizer={kind: options}, batch_size=N)
        engine = eager(problem, first_weights(problem, [0]))
        engine.train_epoch(several_rows([N]), sources_of(0, [0]), 1)
        ends.append(engine.weights())
    plain, kernels, everything = ends
    for name, value in plain.items():
        expected = everything if name in ("0.weight", "2.weight") else plain
        torch.testing.assert_close(kernels[name], expected[name], rtol=1e-6, atol=1e-7)
        if name in ("0.weight", "2.weight"):
            assert (value != kernels[name]).any()


def test_small_parameters_are_updated_together_with_those_of_their_rule() -> None:
    problem = make_problem(LAYERS, optimizer={"adamw": {"exclude_from_weight_decay": ["bias"]}})
    weights = first_weights(problem, [0])
    groups = initial_state(problem, weights, group_small_parameters=True).groups
    assert [sorted(group.shapes) for group in groups] == [
        ["0.weight", "1.weight", "2.weight"],
        ["0.bias", "1.bias", "2.bias"],
    ]
