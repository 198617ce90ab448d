"""Averages of the weights: their formulas, PyTorch's own, and that training goes on without them."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch

from nnrun.spec import schema
from nnrun.training.weight_averaging import EMA_DECAY, WeightAveraging, build_averaging, ema_decay
from tests.support.native_problems import averaged
from tests.support.small_problems import (
    N,
    assert_same,
    eager,
    first_weights,
    make_problem,
    rows,
    several_rows,
)
from tests.support.streams import sources_of

NORMALIZED: list[Any] = [
    {"dense": 4},
    "batch_normalization",
    {"dense": {"units": 1, "activation": "sigmoid"}},
]


def spec_of(**changes: Any) -> schema.ExperimentSpec:
    values = {"dataset": {"npz": "unread.npz"}, "layers": [{"dense": 1}], "loss": "mse", "batch_size": 8}
    return schema.ExperimentSpec.model_validate({**values, **changes})


def test_ema_forgets_its_beginning() -> None:
    """d_t = min(d, (1 + t) / (10 + t)), against the same in Python's floats."""
    steps = torch.tensor([1.0, 2.0, 50.0, 10_000.0], dtype=torch.float64)
    decays = torch.full_like(steps, 0.98)
    found = WeightAveraging(None).share_after_step(steps, decays)
    expected = [1 - min(0.98, (1 + t) / (10 + t)) for t in steps.tolist()]
    assert found.tolist() == pytest.approx(expected, rel=1e-15)


def test_accumulated_steps_count_once_they_update() -> None:
    averaging = build_averaging(
        spec_of(weight_averaging="ema", optimizer={"adam": {"gradient_accumulation_steps": 3}})
    )
    assert averaging is not None
    found = averaging.share_after_step(torch.arange(1, 7).double(), torch.full((6,), 0.99).double())
    assert found.tolist() == pytest.approx([0, 0, 1 - 2 / 11, 0, 0, 1 - 3 / 12])


@pytest.mark.parametrize(
    ("rows_of_fold", "changes", "decay"),
    [
        (100, {}, 1 - 1 / 50),  # 13 steps an epoch
        (1000, {}, 1 - 1 / 250),
        (1001, {}, 1 - 1 / 252),
        (1000, {"optimizer": {"adam": {"gradient_accumulation_steps": 2}}}, 1 - 1 / 125),
        (1000, {"weight_averaging": {"ema": 0.9}}, 0.9),
        (1000, {"weight_averaging": "swa"}, None),
        (1000, {"weight_averaging": None}, None),
    ],
)
def test_the_decay_follows_from_the_training_rows(
    rows_of_fold: int, changes: dict[str, Any], decay: float | None
) -> None:
    assert ema_decay(spec_of(**{"weight_averaging": "ema", **changes}), rows_of_fold) == decay


def test_ema_is_the_average_after_each_step() -> None:
    """Step by step in float64, from weights that a problem without an average gives, one step an epoch."""
    plain = make_problem(optimizer="adam", batch_size=N)
    problem = averaged(plain, {"ema": 0.6}, 1)
    weights = first_weights(plain, [0])
    engine, other = eager(problem, weights), eager(plain, weights)
    average = {name: value.double().numpy().copy() for name, value in weights.items()}
    for step in range(1, 8):
        for each in (engine, other):
            each.train_epoch(several_rows([N]), sources_of(0, [0]), step)
        decay = min(0.6, (1 + step) / (10 + step))
        for name, value in other.weights().items():
            average[name] += (1 - decay) * (value.double().numpy() - average[name])
    assert_same(dict(engine.state.parameters), other.weights())
    for name, value in engine.weights().items():
        np.testing.assert_allclose(value.numpy(), average[name], rtol=1e-5, atol=1e-7, err_msg=name)
    own = engine.evaluate(several_rows([N])).losses
    assert own != other.evaluate(several_rows([N])).losses


def test_swa_is_that_of_pytorch() -> None:
    """`AveragedModel` with one update at the end of each epoch from the third on; before, the weights."""
    plain = make_problem(optimizer={"sgd": 0.5}, batch_size=16)
    problem = averaged(plain, {"swa": 3}, 1)
    weights = first_weights(plain, [0])
    engine, other = eager(problem, weights), eager(plain, weights)
    model = torch.nn.ParameterDict({name.replace(".", "_"): value for name, value in weights.items()})
    peer = torch.optim.swa_utils.AveragedModel(model)
    for number in range(1, 7):
        for each in (engine, other):
            each.train_epoch(several_rows([N], seed=number), sources_of(0, [0]), number)
        current = other.weights()
        if number < 3:
            assert_same(engine.weights(), current, exactly=True)
            continue
        with torch.no_grad():
            for name, value in current.items():
                model[name.replace(".", "_")].copy_(value)
        peer.update_parameters(model)
        expected = {name: peer.module[name.replace(".", "_")].detach() for name in weights}
        assert_same(engine.weights(), expected)


@pytest.mark.parametrize("averaging", ["ema", {"swa": 1}])
def test_running_statistics_are_averaged_like_the_weights(averaging: Any) -> None:
    problem = make_problem(NORMALIZED, batch_size=20, x_SNF=3 + rows(1, N, 6))
    engine = eager(averaged(problem, averaging, 1), first_weights(problem, [0]))
    plain = eager(problem, first_weights(problem, [0]))
    seen: list[torch.Tensor] = []
    for number in (1, 2):
        for each in (engine, plain):
            each.train_epoch(several_rows([N], seed=number), sources_of(0, [0]), number)
        seen.append(plain.weights()["1.running_mean"])
    found = engine.weights()["1.running_mean"]
    assert (found != seen[-1]).any()
    if averaging != "ema":
        torch.testing.assert_close(found, (seen[0] + seen[1]) / 2)
    torch.testing.assert_close(engine.state.buffers["1.running_mean"], seen[-1])


@pytest.mark.parametrize("averaging", ["ema", {"swa": 2}])
def test_a_replica_does_not_know_who_trains_beside_it(averaging: Any) -> None:
    """Replicas of 40, 9 and 17 rows make different numbers of steps, and have decays of their own."""
    problem = averaged(make_problem(NORMALIZED, batch_size=4), averaging, 3)
    orders = several_rows([40, 9, 17])
    together = eager(problem, first_weights(problem, [0, 1, 2]))
    for number in (1, 2, 3):
        together.train_epoch(orders, sources_of(0, range(3)), number)
    for place in range(3):
        weights = {
            name: value[place : place + 1] for name, value in first_weights(problem, [0, 1, 2]).items()
        }
        own = averaged(make_problem(NORMALIZED, batch_size=4), averaging, 1)
        if averaging == "ema":
            own.per_replica[EMA_DECAY].copy_(problem.per_replica[EMA_DECAY][place])  # type: ignore[index]
        alone = eager(own, weights)
        for number in (1, 2, 3):
            alone.train_epoch([orders[place]], sources_of(0, [place]), number)
        mine = {name: value[place : place + 1] for name, value in together.weights().items()}
        assert_same(mine, alone.weights())


def test_shares_of_epochs_are_those_of_a_mean() -> None:
    averaging = WeightAveraging(first_epoch=3)
    shares = [averaging.share_after_epoch(epoch) for epoch in (1, 2, 3, 4, 5)]
    assert shares == [1, 1, 1, 1 / 2, 1 / 3]
    assert math.prod(1 - share for share in shares[3:]) == pytest.approx(1 / 3)
