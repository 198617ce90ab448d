"""What difference so many pairs show: as a direct count over random differences and as tables have it."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from nnrun.validation.paired import paired_test
from nnrun.validation.power import MOST_PAIRS, detectable_difference, pairs_needed, power_of


@pytest.mark.parametrize(("effect", "pairs"), [(0.2, 199), (0.5, 34), (0.8, 15)])
def test_small_medium_and_large_effects_take_as_many_as_in_cohen_s_tables(effect: float, pairs: int) -> None:
    """As G*Power and statsmodels give for a paired t-test with 80 % power at 5 %, two-sided."""
    assert pairs_needed(effect, 1.0) == pairs


def test_a_detectable_difference_is_detected_in_four_of_five_experiments() -> None:
    """Counted over 20,000 experiments of ten correlated differences, with the corrected t-test."""
    rng, pairs, correlation = np.random.RandomState(0), 10, 0.1
    overlap = correlation / (1 - correlation)
    shared, own = rng.normal(size=(20_000, 1)), rng.normal(size=(20_000, pairs))
    noise = math.sqrt(correlation) * shared + math.sqrt(1 - correlation) * own
    # What varies within an experiment is the part of each difference of its own.
    difference = detectable_difference(math.sqrt(1 - correlation), pairs, overlap)
    found = noise + difference
    error = found.std(axis=1, ddof=1) * math.sqrt(1 / pairs + overlap)
    p = 2 * stats.t.sf(np.abs(found.mean(axis=1) / error), pairs - 1)
    assert np.mean(p < 0.05) == pytest.approx(0.8, abs=0.01)


def test_more_pairs_show_less_and_twice_the_spread_takes_twice_the_difference() -> None:
    shown = [detectable_difference(1.0, pairs) for pairs in (3, 5, 10, 100, 1000)]
    assert shown == sorted(shown, reverse=True)
    assert detectable_difference(2.0, 10) == pytest.approx(2 * shown[2])


def test_the_number_needed_is_the_least_that_shows_it() -> None:
    pairs = pairs_needed(0.5, 1.0)
    assert pairs is not None
    assert detectable_difference(1.0, pairs) <= 0.5 < detectable_difference(1.0, pairs - 1)


def test_whole_repeats_of_folds() -> None:
    assert pairs_needed(0.5, 1.0, step=10) == 40
    assert pairs_needed(50.0, 1.0, step=2) == 4  # two folds tell nothing
    assert pairs_needed(50.0, 1.0) == 3


def test_what_shared_training_rows_hide_no_repeats_show() -> None:
    """However many, the mean of differences of ten folds stays uncertain by a third of their spread."""
    limit = (1.96 + 0.8416) / 3
    assert pairs_needed(limit * 0.99, 1.0, 1 / 9, step=10) is None
    assert pairs_needed(limit * 1.05, 1.0, 1 / 9, step=10) is not None
    assert pairs_needed(0.001, 1.0) is None  # it takes 7.8 million
    assert MOST_PAIRS == 10_000


def test_of_a_test() -> None:
    first, second = [0.70, 0.72, 0.71, 0.74], [0.71, 0.75, 0.71, 0.76]
    differences = np.subtract(second, first)
    found = power_of(paired_test(first, second, overlap=1 / 3), 0.02, step=4)
    assert found is not None
    assert found.spread == pytest.approx(differences.std(ddof=1))
    assert found.detectable == pytest.approx(detectable_difference(found.spread, 4, 1 / 3))
    assert found.pairs_for_observed == pairs_needed(differences.mean(), found.spread, 1 / 3, step=4)
    assert found.pairs_for_equal == pairs_needed(0.02, found.spread, 1 / 3, step=4)
    low, high = np.sqrt(3 / stats.chi2.ppf([0.975, 0.025], 3))
    assert found.spread_range == pytest.approx((low, high))


def test_two_pairs_or_no_spread_say_nothing() -> None:
    assert power_of(paired_test([0, 0], [1, 3])) is None
    assert power_of(paired_test([0, 0.5, 1], [0.25, 0.75, 1.25])) is None
