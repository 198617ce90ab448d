"""The rate of each epoch: closed formulas, and Keras's plateau for any course of the watched column."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from nnrun.spec import schema
from nnrun.training.learning_rate import LearningRate
from tests.support.keras_plateau import keras_rates
from tests.support.keras_values import SCHEDULE_CASES, SCHEDULE_EPOCHS, ScheduleCase, keras_values

KINDS = schema.components(schema.LearningRateSchedule)


def rates_of(schedule: Sequence[dict[str, Any]], epochs: int, rate: float = 1.0) -> list[float]:
    """The rate of each epoch; what a plateau would watch never improves."""
    parts = [KINDS[kind].model_validate(params) for part in schedule for kind, params in part.items()]
    found = LearningRate(rate, parts)
    rates = []
    for epoch in range(1, epochs + 1):
        rates.append(found.of(epoch))
        found.ended(epoch, {"val_loss": 1.0})
    return rates


CURVES: list[tuple[list[dict[str, Any]], list[float]]] = [
    ([], [1, 1, 1, 1]),
    ([{"step": {"every": 2}}], [1, 1, 0.1, 0.1, 0.01]),
    ([{"step": {"every": 3, "factor": 0.5}}], [1, 1, 1, 0.5, 0.5, 0.5, 0.25]),
    ([{"exponential": {"factor": 0.5}}], [1, 0.5, 0.25, 0.125]),
    # The cosine's values at 0, 60, 120 and 180 degrees.
    ([{"cosine": {"epochs": 3}}], [1, 0.75, 0.25, 0, 0]),
    ([{"cosine": {"epochs": 3, "minimum": 0.2}}], [1, 0.8, 0.4, 0.2, 0.2]),
    ([{"reduce_on_plateau": {"patience": 2}}], [1, 1, 1, 0.1, 0.1, 0.01]),
    ([{"warmup": {}}], [0.5, 1, 1]),
    ([{"warmup": {"epochs": 4}}], [0.125, 0.375, 0.625, 0.875, 1, 1]),
    ([{"warmup": {"epochs": 2, "start": 0.5}}], [0.625, 0.875, 1]),
    ([{"rates": {"rates": [0.3, 0.2]}}], [0.3, 0.2, 0.2]),
    ([{"polynomial": {"epochs": 4, "end_learning_rate": 0.0}}], [1, 0.75, 0.5, 0.25, 0, 0]),
    ([{"polynomial": {"epochs": 2, "power": 2.0, "end_learning_rate": 0.0}}], [1, 0.25, 0, 0]),
    (
        [{"polynomial": {"epochs": 2, "end_learning_rate": 0.0, "cycle": True}}],
        [1, 0.5, 0, 0.25, 0, 1 / 6, 0],
    ),
    ([{"inverse_time": {"decay_rate": 1.0}}], [1, 1 / 2, 1 / 3, 1 / 4]),
    ([{"inverse_time": {"decay_rate": 1.0, "every": 2}}], [1, 1 / 1.5, 1 / 2, 1 / 2.5]),
    ([{"inverse_time": {"decay_rate": 1.0, "every": 2, "staircase": True}}], [1, 1, 1 / 2, 1 / 2, 1 / 3]),
    ([{"piecewise": {"boundaries": [2, 3], "values": [0.3, 0.2, 0.1]}}], [0.3, 0.3, 0.2, 0.1, 0.1]),
    ([{"cosine_restarts": {"epochs": 2, "t_mul": 1.0, "m_mul": 0.5}}], [1, 0.5, 0.5, 0.25, 0.25]),
    ([{"cosine_restarts": {"epochs": 1}}], [1, 1, 0.5, 1, 0.5 + 0.125**0.5, 0.5, 0.5 - 0.125**0.5, 1]),
    ([{"cosine_restarts": {"epochs": 2, "minimum": 0.2}}], [1, 0.6, 1]),
    (
        [{"one_cycle": {"epochs": 5, "pct_start": 0.6, "anneal": "linear", "div_factor": 2.0}}],
        [0.5, 0.75, 1, 0.500025, 0.00005, 0.00005],
    ),
    # What follows a warm-up begins when it ends: a step in its second epoch is in the fourth of all.
    ([{"warmup": {"epochs": 2}}, {"step": {"every": 1}}], [0.25, 0.75, 1, 0.1, 0.01]),
    ([{"warmup": {"epochs": 1}}, {"exponential": {"factor": 0.5}}], [0.5, 1, 0.5, 0.25]),
    ([{"warmup": {"epochs": 2}}, {"cosine": {"epochs": 2}}], [0.25, 0.75, 1, 0.5, 0]),
    ([{"warmup": {"epochs": 2}}, {"reduce_on_plateau": {"patience": 1}}], [0.25, 0.75, 1, 1, 0.1, 0.01]),
]


@pytest.mark.parametrize(("schedule", "expected"), CURVES, ids=lambda value: str(value)[:60])
def test_the_rates_of_the_first_epochs(schedule: list[dict[str, Any]], expected: list[float]) -> None:
    found = rates_of(schedule, len(expected))
    assert found == pytest.approx(expected, abs=1e-15)
    if not {"rates", "piecewise"} & {kind for part in schedule for kind in part}:
        assert rates_of(schedule, len(expected), rate=0.003) == pytest.approx([0.003 * r for r in expected])


@pytest.mark.parametrize("anneal", ["cos", "linear"])
@pytest.mark.parametrize(("epochs", "pct_start"), [(10, 0.3), (7, 0.5), (25, 0.21), (2, 0.3), (3, 0.9)])
def test_one_cycle_is_pytorch_s_with_a_step_an_epoch(anneal: Any, epochs: int, pct_start: float) -> None:
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.1)
    theirs = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, 0.1, total_steps=epochs, pct_start=pct_start, anneal_strategy=anneal, cycle_momentum=False
    )
    expected = []
    for _ in range(epochs):
        expected.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        if len(expected) < epochs:
            theirs.step()
    schedule = {"one_cycle": {"epochs": epochs, "pct_start": pct_start, "anneal": anneal}}
    assert rates_of([schedule], epochs, rate=0.1) == pytest.approx(expected)


@pytest.mark.parametrize("case", SCHEDULE_CASES, ids=lambda case: case.kind)
def test_the_rates_are_those_that_keras_computed(case: ScheduleCase) -> None:
    found = rates_of([{case.kind: case.parameters}], SCHEDULE_EPOCHS, rate=0.1)
    assert found == pytest.approx(keras_values("schedules")[case.name], rel=1e-5)


def test_every_schedule_has_a_curve() -> None:
    have = {kind for schedule, _ in CURVES for part in schedule for kind in part}
    assert have == set(KINDS), "each schedule needs its first rates in CURVES, above"


def test_without_a_schedule_the_rate_is_the_same_to_the_last_bit() -> None:
    assert rates_of([], 3, rate=0.1) == [0.1] * 3
    assert rates_of([{"step": {"every": 3, "factor": 0.5}}], 3, rate=0.1) == [0.1] * 3


falling = st.one_of(
    st.fixed_dictionaries({"step": st.fixed_dictionaries({"every": st.integers(1, 9)})}),
    st.fixed_dictionaries({"exponential": st.fixed_dictionaries({"factor": st.floats(0.01, 1)})}),
    st.fixed_dictionaries(
        {"cosine": st.fixed_dictionaries({"epochs": st.integers(1, 30), "minimum": st.floats(0, 0.99)})}
    ),
)


@given(schedule=falling, warm=st.integers(1, 10), start=st.floats(0, 0.99), rate=st.floats(1e-6, 10))
def test_a_rate_rises_to_the_optimizer_s_and_never_above_it_and_then_falls(
    schedule: dict[str, Any], warm: int, start: float, rate: float
) -> None:
    rates = rates_of([{"warmup": {"epochs": warm, "start": start}}, schedule], warm + 20, rate)
    rising, then = rates[:warm], rates[warm:]
    assert rising == sorted(rising)
    assert start * rate <= rising[0]
    assert rising[-1] <= rate * (1 + 1e-12)
    assert then[0] == pytest.approx(rate)
    assert all(after <= before * (1 + 1e-12) for before, after in pairwise(then))
    assert min(then) >= 0
    # An epoch has the mean of the line that rises through it, so all of them have the line's mean.
    assert sum(rising) / warm == pytest.approx(rate * (1 + start) / 2)


# --- plateaus ----------------------------------------------------------------------------------------------

# Quarters: sums and differences of them are exact, so that no rounding decides who is better.
quarters = st.integers(-40, 40).map(lambda n: n / 4)


@given(
    values=st.lists(quarters, max_size=25),
    patience=st.integers(0, 4),
    min_delta=st.integers(0, 8).map(lambda n: n / 4),
    cooldown=st.integers(0, 3),
    lowest=st.integers(0, 4).map(lambda n: n / 8),
    maximize=st.booleans(),
)
def test_a_plateau_is_keras_s(
    values: list[float], patience: int, min_delta: float, cooldown: int, lowest: float, maximize: bool
) -> None:
    spec = schema.ReduceOnPlateau(
        monitor="val_x",
        factor=0.5,
        patience=patience,
        min_delta=min_delta,
        cooldown=cooldown,
        min_learning_rate=lowest,
    )
    found = LearningRate(1.0, [spec], maximize=maximize)
    rates = []
    for epoch, value in enumerate(values, start=1):
        rates.append(found.of(epoch))
        found.ended(epoch, {"val_x": value, "loss": 0.0})
    rates.append(found.of(len(values) + 1))
    assert rates == keras_rates(
        values,
        1.0,
        factor=0.5,
        patience=patience,
        min_delta=min_delta,
        cooldown=cooldown,
        min_lr=lowest,
        maximize=maximize,
    )


def test_a_nan_is_neither_an_improvement_nor_a_plateau() -> None:
    """Keras would take a NaN in the first epoch for the best value, and reduce for good."""
    found = LearningRate(1.0, [schema.ReduceOnPlateau(patience=2, factor=0.5)])
    rates = []
    for epoch, value in enumerate([math.nan, 3.0, 2.0, math.nan, math.nan, 1.0], start=1):
        found.ended(epoch, {"val_loss": value})
        rates.append(found.of(epoch + 1))
    assert rates == [1.0] * 6
