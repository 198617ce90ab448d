"""Conformal intervals and sets: the values of MAPIE, the definitions, the coverage of exchangeable rows."""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from nnrun.validation.conformal import (
    adaptive_scores,
    class_sets,
    cv_plus_guarantee,
    intervals,
    rank_of,
    rows_needed,
    share_interval,
)

# MAPIE 1.6.0 computed the expected values, with estimators that return these numbers.
X = [1.76, 0.4, 0.98, 2.24, 1.87, -0.98, 0.95, -0.15, -0.1, 0.41, 0.14, 1.45]
X += [0.76, 0.12, 0.44, 0.33, 1.49, -0.21, 0.31, -0.85, -2.55, 0.65, 0.86, -0.74]
Y = [4.03, -1.05, 1.03, 2.05, 3.4, 0.49, 1.1, 0.23, -0.99, -1.57, -0.21, 1.61]
Y += [1.99, 1.32, 0.05, 0.03, 0.44, -1.63, -1.4, 1.1, -3.06, 0.21, -0.39, 0.04]
NEW = np.array([-1.5, 0.0, 2.0])
CROSS = {  # CrossConformalRegressor, method "plus", KFold(4), of the estimator x + the mean of y - x
    0.8: [[-3.403333333333, 0.03], [-1.903333333333, 1.53], [0.096666666667, 3.53]],
    0.9: [
        [-3.523333333333, 0.676666666667],
        [-2.023333333333, 2.176666666667],
        [-0.023333333333, 4.176666666667],
    ],
}
SPLIT = {  # SplitConformalRegressor, of the estimator x
    0.8: [[-3.03, 0.03], [-1.53, 1.53], [0.47, 3.53]],
    0.9: [[-3.48, 0.48], [-1.98, 1.98], [0.02, 3.98]],
}
# fmt: off
P = [
    [0.53, 0.23, 0.14, 0.1], [0.56, 0.08, 0.12, 0.24], [0.45, 0.03, 0.49, 0.03], [0.42, 0.07, 0.41, 0.1],
    [0.73, 0.02, 0.18, 0.07], [0.26, 0.09, 0.27, 0.38], [0.03, 0.49, 0.35, 0.13], [0.17, 0.02, 0.2, 0.61],
    [0.13, 0.38, 0.05, 0.44], [0.24, 0.14, 0.61, 0.01], [0.55, 0.0, 0.35, 0.1], [0.23, 0.57, 0.05, 0.15],
    [0.18, 0.17, 0.05, 0.6], [0.14, 0.47, 0.3, 0.09], [0.32, 0.1, 0.41, 0.17], [0.41, 0.22, 0.24, 0.13],
    [0.55, 0.18, 0.1, 0.17], [0.01, 0.2, 0.6, 0.19], [0.47, 0.28, 0.07, 0.18], [0.24, 0.24, 0.23, 0.29],
    [0.24, 0.13, 0.52, 0.11], [0.1, 0.39, 0.29, 0.22], [0.0, 0.24, 0.12, 0.64], [0.05, 0.61, 0.05, 0.29],
]
TRUE = [0, 3, 2, 2, 0, 0, 2, 3, 3, 2, 3, 3, 0, 1, 2, 0, 0, 1, 0, 0, 2, 1, 2, 3]
NEW_P = [
    [0.52, 0.01, 0.07, 0.4], [0.17, 0.06, 0.57, 0.2], [0.23, 0.27, 0.39, 0.11], [0.14, 0.06, 0.05, 0.75],
    [0.53, 0.26, 0.1, 0.11], [0.03, 0.26, 0.17, 0.54],
]
SETS = {  # SplitConformalClassifier, conformity_score "aps", include_last_label "randomized", its random
    # numbers all 1: that is the version without random numbers.
    0.6: [[1, 0, 0, 0], [0, 0, 1, 0], [0, 1, 1, 0], [0, 0, 0, 1], [1, 0, 0, 0], [0, 0, 0, 1]],
    0.8: [[1, 0, 0, 1], [0, 0, 1, 1], [0, 1, 1, 0], [0, 0, 0, 1], [1, 1, 0, 0], [0, 1, 0, 1]],
}
# fmt: on
FOLDS = np.repeat(np.arange(4), 6)
ONE = np.zeros(24, np.int64)


@pytest.mark.parametrize("level", CROSS)
def test_cv_plus_is_that_of_mapie(level: float) -> None:
    x, y = np.array(X), np.array(Y)
    shifts = np.array([(y - x)[fold != FOLDS].mean() for fold in range(4)])
    residuals = np.abs(y - x - shifts[FOLDS])
    predicted = (NEW + shifts[:, None])[..., None]
    lower, upper = intervals(predicted, residuals[:, None], FOLDS, level)
    assert np.concatenate([lower, upper], axis=1) == pytest.approx(np.array(CROSS[level]))


@pytest.mark.parametrize("level", SPLIT)
def test_one_group_is_the_split_conformal_of_mapie(level: float) -> None:
    residuals = np.abs(np.array(Y) - X)
    lower, upper = intervals(NEW[None, :, None], residuals[:, None], ONE, level)
    assert np.concatenate([lower, upper], axis=1) == pytest.approx(np.array(SPLIT[level]))


@pytest.mark.parametrize("level", SETS)
def test_adaptive_sets_are_those_of_mapie(level: float) -> None:
    scores = adaptive_scores(np.array(P))[np.arange(24), TRUE]
    assert class_sets(np.array(NEW_P)[None], scores, ONE, level).astype(int).tolist() == SETS[level]


def test_the_score_of_a_class_is_what_is_more_probable() -> None:
    assert adaptive_scores(np.array([[0.2, 0.5, 0.3]])) == pytest.approx(np.array([[0.8, 0.0, 0.5]]))


@pytest.mark.parametrize(("level", "needed"), [(0.5, 1), (0.8, 4), (0.9, 9), (0.95, 19), (0.99, 99)])
def test_how_many_rows_a_level_needs(level: float, needed: int) -> None:
    assert rows_needed(level) == needed
    assert rank_of(level, needed) <= needed
    assert rank_of(level, needed - 1) > needed - 1


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 4), st.integers(12, 40), st.sampled_from([0.5, 0.8, 0.9]), st.integers(0, 99))
def test_cv_plus_is_its_definition(groups: int, n: int, level: float, seed: int) -> None:
    rng = np.random.default_rng(seed)
    group = rng.integers(0, groups, n)
    predicted, residuals = rng.normal(size=(groups, 3, 2)), np.abs(rng.normal(size=(n, 2)))
    lower, upper = intervals(predicted, residuals, group, level)
    rank = math.ceil(level * (n + 1) - 1e-9)
    for row in range(3):
        for k in range(2):
            of_rows = predicted[group, row, k]
            assert upper[row, k] == sorted(of_rows + residuals[:, k])[rank - 1]
            assert lower[row, k] == sorted(of_rows - residuals[:, k], reverse=True)[rank - 1]


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 4), st.integers(12, 40), st.sampled_from([0.5, 0.8, 0.9]), st.integers(0, 99))
def test_sets_are_their_definition(groups: int, n: int, level: float, seed: int) -> None:
    rng = np.random.default_rng(seed)
    group, probabilities = rng.integers(0, groups, n), rng.dirichlet([1, 1, 1], (groups, 5))
    scores = rng.uniform(size=n).round(1)
    found = class_sets(probabilities, scores, group, level)
    for row in range(5):
        for k in range(3):
            own = [adaptive_scores(probabilities[g])[row, k] for g in group]
            smaller = sum(score < here for score, here in zip(scores, own, strict=True))
            assert found[row, k] == (smaller < level * (n + 1) - 1e-9)


@settings(max_examples=50, deadline=None)
@given(arrays.arrays(float, (3, 4), elements=st.floats(0.01, 1)), st.integers(12, 40), st.integers(0, 99))
def test_a_higher_level_covers_no_less(probabilities: np.ndarray, n: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    probabilities = (probabilities / probabilities.sum(axis=1, keepdims=True))[None]
    scores, one = rng.uniform(size=n), np.zeros(n, np.int64)
    sets = [class_sets(probabilities, scores, one, level) for level in (0.5, 0.7, 0.9)]
    assert all((less <= more).all() for less, more in pairwise(sets))
    assert sets[0].any(axis=1).all()  # the most probable class is in the set of every row
    widths = [
        np.subtract(*intervals(probabilities, scores[:, None].repeat(4, 1), one, v)[::-1]) for v in (0.5, 0.9)
    ]
    assert (widths[0] <= widths[1]).all()


def test_exchangeable_rows_are_covered_as_often_as_is_promised() -> None:
    """Of n + 1 exchangeable rows each is as likely the new one: the coverage is a count, without chance."""
    rng = np.random.default_rng(0)
    residuals, n = np.abs(rng.normal(size=40)), 39
    covered = [
        intervals(np.zeros((1, 1, 1)), np.delete(residuals, i)[:, None], np.zeros(n, np.int64), 0.9)[1][0, 0]
        >= residuals[i]
        for i in range(40)
    ]
    assert sum(covered) == 36
    p = rng.dirichlet([1, 1, 1], 40)
    scores = adaptive_scores(p)[np.arange(40), [rng.choice(3, p=row) for row in p]]
    inside = [np.sum(np.delete(scores, i) < scores[i]) < rank_of(0.9, n) for i in range(40)]
    assert sum(inside) >= 36


def test_the_guarantee_of_cv_plus() -> None:
    assert cv_plus_guarantee(0.9, 404, 4) == pytest.approx(0.8 - 1.5 / 102)
    assert cv_plus_guarantee(0.9, 100, 100) == pytest.approx(0.8)  # the jackknife+
    assert cv_plus_guarantee(0.4, 100, 5) == 0


def test_the_interval_of_a_share_is_that_of_clopper_and_pearson() -> None:
    assert share_interval(95, 102) == pytest.approx((0.86373, 0.97202), abs=1e-4)
    assert share_interval(0, 10) == pytest.approx((0, 0.30850), abs=1e-4)
    assert share_interval(10, 10) == pytest.approx((0.69150, 1), abs=1e-4)
