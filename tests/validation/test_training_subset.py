"""Laws of the parts of the training rows that a curve trains on."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nnrun.spec import schema
from nnrun.validation.splits import Fold
from nnrun.validation.training_subset import with_fraction

FRACTIONS = st.floats(0.01, 1)
HOLDOUT = schema.Holdout(fraction=0.2, shuffle=True)


def fold_of(rows: int, index: int = 0) -> Fold:
    """Every other row trains, so that positions and rows are not the same."""
    return Fold(index, 0, index, np.arange(0, 2 * rows, 2), np.arange(1, 2 * rows, 2))


def part(rows: int, fraction: float, validation: Any = HOLDOUT, **by: Any) -> np.ndarray:
    fold = with_fraction(fold_of(rows), fraction, validation, 0, **by)
    np.testing.assert_array_equal(fold.validation_rows, np.arange(1, 2 * rows, 2))
    assert (np.diff(fold.train_rows) > 0).all()
    return np.asarray(fold.train_rows)


@given(st.integers(1, 60), FRACTIONS, FRACTIONS)
def test_a_smaller_part_is_within_a_larger_one(rows: int, one: float, other: float) -> None:
    labels = np.arange(2 * rows) % 7 // 3
    groups = np.arange(2 * rows) // 5
    small, large = sorted((one, other))
    for by in ({}, {"labels": labels}, {"groups": groups}):
        assert set(part(rows, small, **by)) <= set(part(rows, large, **by))


@given(st.integers(1, 60), FRACTIONS)
def test_its_size_is_rounded_up(rows: int, fraction: float) -> None:
    assert len(part(rows, fraction)) == math.ceil(fraction * rows)
    labels = np.arange(2 * rows) % 3
    assert len(part(rows, fraction, labels=labels)) == math.ceil(fraction * rows)


@given(st.integers(12, 80), st.floats(0.25, 1))
def test_classes_have_their_shares_and_each_a_row(rows: int, fraction: float) -> None:
    labels = np.where(np.arange(2 * rows) < 4, 2, np.arange(2 * rows) // 2 % 2)  # class 2 has two rows
    kept = labels[part(rows, fraction, labels=labels)]
    own = labels[::2]
    for label in range(3):
        share = fraction * (own == label).sum()
        assert abs((kept == label).sum() - share) <= 2
        assert (kept == label).any()


def test_groups_stay_whole() -> None:
    groups = np.arange(80) // 8
    rows = part(40, 0.3, groups=groups)
    assert len(rows) >= 12
    for group in np.unique(groups[rows]):
        assert (groups[rows] == group).sum() == 4


def test_by_time_the_latest_rows_are_left() -> None:
    series = schema.TimeSeries(k=3)
    np.testing.assert_array_equal(part(10, 0.3, series), [14, 16, 18])
    times = np.arange(20)[::-1].astype(float)  # the first row is the latest
    by_column = schema.TimeSeries(k=3, column="when")
    np.testing.assert_array_equal(part(10, 0.3, by_column, column=times), [0, 2, 4])


def test_folds_have_parts_of_their_own() -> None:
    parts = [with_fraction(fold_of(40, index), 0.5, HOLDOUT, 0).train_rows for index in range(2)]
    assert not np.array_equal(*parts)


def test_all_rows_are_all_rows() -> None:
    fold = fold_of(10)
    assert with_fraction(fold, 1.0, HOLDOUT, 0) is fold


@pytest.mark.parametrize("seed", range(3))
def test_the_same_seed_draws_the_same_rows(seed: int) -> None:
    one, other = (with_fraction(fold_of(30), 0.4, HOLDOUT, seed).train_rows for _ in range(2))
    np.testing.assert_array_equal(one, other)
