"""Which learning rate is taken from the losses that rates reached."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nnrun.validation.rate_choice import RateChoice, choose_rate

RATES = [1.5**n for n in range(40)]
FALL = [10.0, 9.9, 9.5, 8.0, 5.0, 2.0, 1.1, 1.0, 1.05, 1.3, 1.4, 6.0, 9.0]


def test_the_middle_of_the_plateau() -> None:
    assert choose_rate(RATES[:13], FALL) == RateChoice(
        8, low=6, high=10, start=10.0, learns=True, smoothed=True
    )


def test_a_single_good_loss_between_bad_ones_is_luck() -> None:
    lucky = [10.0, 9.9, 9.5, 8.0, 5.0, 2.0, 1.9, 1.8, 2.0, 7.0, 0.5, 8.0, 9.0]
    found = choose_rate(RATES[:13], lucky)
    assert found is not None
    assert (found.place, found.high) == (7, 9)


def test_rates_that_are_far_apart_are_not_smoothed_over() -> None:
    found = choose_rate([1e-4, 1e-3, 1e-2, 1e-1, 1.0], [25.0, 24.0, 15.0, 0.2, 9.0])
    assert found is not None
    assert (found.low, found.place, found.high, found.smoothed) == (3, 3, 3, False)


def test_rates_that_diverged_are_not_taken() -> None:
    found = choose_rate(RATES[:17], [*FALL, None, None, math.inf, math.nan])
    assert found is not None
    assert found.place == 8
    between = choose_rate(RATES[:5], [10.0, 10.0, 1.0, None, 1.0])
    assert between is not None
    assert between.place != 3


def test_a_rate_above_the_best_is_not_among_the_lowest_that_hardly_train() -> None:
    found = choose_rate([1e-5, 3e-3, 1.0], [0.682, 0.078, 144.7])
    assert found is not None
    assert (found.low, found.place, found.high, found.start) == (1, 1, 1, 0.682)


def test_nothing_to_take_where_all_diverged() -> None:
    assert choose_rate(RATES[:3], [None, math.nan, math.inf]) is None


def test_a_loss_that_only_rises_is_said_to_teach_nothing() -> None:
    found = choose_rate(RATES[:5], [1.0, 1.0, 1.0, 2.0, 3.0])
    assert found is not None
    assert not found.learns


@given(st.lists(st.one_of(st.none(), st.floats(0, 1e6)), min_size=3, max_size=40))
def test_the_choice_lies_on_its_plateau_and_is_finite(losses: list[float | None]) -> None:
    found = choose_rate(RATES[: len(losses)], losses)
    if found is None:
        assert all(loss is None for loss in losses)
    else:
        assert found.low <= found.place <= found.high
        assert losses[found.place] is not None


@pytest.mark.parametrize("factor", [1e-3, 7.0, 1e4])
def test_the_unit_of_the_loss_does_not_matter(factor: float) -> None:
    found = choose_rate(RATES[:13], [factor * loss for loss in FALL])
    assert found is not None
    assert (found.place, found.low, found.high) == (8, 6, 10)
