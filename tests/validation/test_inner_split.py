"""Rows that are set apart for early stopping: a part of the training rows, drawn as the outer split is."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nnrun.errors import DataError
from nnrun.spec import schema
from nnrun.validation.inner_split import with_inner_rows
from nnrun.validation.splits import Fold, make_folds

SHUFFLED = schema.KFold(k=3, shuffle=True)


def inner(
    fold: Fold, fraction: float = 0.2, validation: schema.ValidationMethod = SHUFFLED, **options: object
) -> Fold:
    seed = options.pop("seed", 0)
    return with_inner_rows(fold, fraction, validation, seed, **options)  # type: ignore[arg-type]


@given(
    n_rows=st.integers(10, 200),
    fraction=st.floats(0.05, 0.6),
    seed=st.integers(0, 2**63 - 1),
    classes=st.sampled_from([0, 1, 3]),
)
def test_training_inner_and_validation_rows_are_a_partition(
    n_rows: int, fraction: float, seed: int, classes: int
) -> None:
    """Of the size that the fraction says, ascending, and the same each time."""
    labels = np.arange(n_rows) % classes if classes else None
    for fold in make_folds(SHUFFLED, n_rows, None, seed):
        found = inner(fold, fraction, seed=seed, labels=labels)
        parts = [found.train_rows, found.inner_rows, found.validation_rows]
        np.testing.assert_array_equal(np.sort(np.concatenate(parts)), np.arange(n_rows))
        assert all((np.diff(rows) > 0).all() for rows in parts)
        np.testing.assert_array_equal(found.validation_rows, fold.validation_rows)
        wanted = math.ceil(fraction * len(fold.train_rows))
        assert len(found.inner_rows) == wanted or (classes and 0 < len(found.inner_rows) <= wanted)
        np.testing.assert_array_equal(
            inner(fold, fraction, seed=seed, labels=labels).inner_rows, found.inner_rows
        )


def test_folds_and_seeds_draw_rows_of_their_own() -> None:
    first, second, _ = make_folds(schema.KFold(k=3, repeats=1), 90, None, 0)
    whole = np.arange(60)
    of_one = Fold(0, 0, 0, whole, np.arange(60, 90))
    of_other = Fold(1, 0, 1, whole, np.arange(60, 90))
    assert inner(of_one).inner_rows.tolist() != inner(of_other).inner_rows.tolist()
    assert inner(of_one).inner_rows.tolist() != inner(of_one, seed=1).inner_rows.tolist()
    assert not set(inner(first).inner_rows) & set(first.validation_rows)
    assert not set(inner(second).inner_rows) & set(second.validation_rows)


def test_each_class_has_its_share() -> None:
    labels = np.repeat([0, 1, 2], [70, 25, 5])
    found = inner(Fold(0, 0, 0, np.arange(100), np.empty(0, np.int64)), labels=labels)
    assert np.bincount(labels[found.inner_rows]).tolist() == [14, 5, 1]


def test_a_class_with_one_row_keeps_it_for_training() -> None:
    labels = np.array([0] * 19 + [1])
    for seed in range(20):
        found = inner(Fold(0, 0, 0, np.arange(20), np.empty(0, np.int64)), 0.5, seed=seed, labels=labels)
        assert 19 in found.train_rows
        assert len(found.inner_rows) == 10


def test_groups_are_never_split() -> None:
    groups = np.repeat(np.arange(10), 4)
    found = inner(Fold(0, 0, 0, np.arange(40), np.empty(0, np.int64)), 0.25, groups=groups)
    assert len(found.inner_rows) == 12, "3 of 10 groups, as GroupShuffleSplit rounds"
    assert not set(groups[found.inner_rows]) & set(groups[found.train_rows])


def test_of_a_time_series_the_last_training_rows_are_set_apart() -> None:
    """By the times of a column, whatever the order of the rows."""
    series = schema.TimeSeries(k=2, column="year")
    years = np.array([5.0, 1, 4, 2, 3, 0, 6, 7, 8])
    for fold in make_folds(series, 9, None, 0, column=years):
        found = inner(fold, 0.3, series, column=years)
        assert years[found.inner_rows].min() > years[found.train_rows].max()
        assert years[found.inner_rows].max() < years[found.validation_rows].min()


@pytest.mark.parametrize(
    ("validation", "last"),
    [
        (schema.Holdout(fraction=0.2, shuffle=False), True),
        (schema.Holdout(fraction=0.2), False),
        (schema.Holdout(fraction=0.2, shuffle=False, stratify=True), False),
        (schema.Holdout(first=3, shuffle=False), False),
        (schema.TimeSeries(), True),
        (schema.KFold(), False),
        (schema.NoValidation(), False),
    ],
)
def test_when_the_last_rows_are_taken(validation: schema.ValidationMethod, last: bool) -> None:
    assert validation.takes_last_rows is last
    fold = Fold(0, 0, 0, np.arange(50), np.arange(50, 60))
    found = inner(fold, 0.2, validation)
    assert (found.inner_rows.tolist() == list(range(40, 50))) is last


def test_too_few_rows_and_groups_are_told() -> None:
    fold = Fold(2, 0, 2, np.arange(2), np.arange(2, 4))
    with pytest.raises(DataError) as caught:
        inner(fold, 0.6)
    assert str(caught.value) == (
        "early_stopping.fraction is 0.6, which is 2 of 2 training rows of fold 2: at least one row must be "
        "left to train on. Lower the fraction, or set `on` to validation."
    )
    with pytest.raises(DataError) as caught:
        inner(Fold(0, 0, 0, np.arange(9), np.empty(0, np.int64)), 0.5, groups=np.zeros(9, np.int64))
    assert str(caught.value) == (
        "early_stopping.fraction is 0.5, and among the training rows of fold 0 there is one group: no group "
        "is split, so at least one must be left to train on. Lower the fraction, or set `on` to validation."
    )
