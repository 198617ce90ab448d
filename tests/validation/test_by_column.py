"""Splits by a column: the rows with a value, and the order of time."""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.model_selection import TimeSeriesSplit

from nnrun.errors import DataError
from nnrun.spec import schema
from nnrun.validation.splits import make_folds

YEARS = np.array([2007.0, 2008, 2009, 2007, np.nan, 2009])
SPLIT = np.array(["train", "Valid", None, "valid", "train", "valid"], object)


@pytest.mark.parametrize(
    ("column", "value", "rows"),
    [
        (YEARS, 2009, [2, 5]),
        (YEARS, 2009.0, [2, 5]),
        (YEARS, "2009", [2, 5]),
        (SPLIT, "valid", [3, 5]),
        (np.array(["True", "false", "TRUE"], object), True, [0, 2]),
        (np.array([1.0, 0.0, 1.0]), False, [1]),
        (np.array(["1", "2.0", "x"], object), 2, [1]),
    ],
)
def test_the_rows_with_a_value_validate(
    column: np.ndarray, value: bool | int | float | str, rows: list[int]
) -> None:
    validation = schema.Holdout(column="c", value=value, shuffle=False)
    (fold,) = make_folds(validation, len(column), None, 0, column=column)
    assert fold.validation_rows.tolist() == rows
    assert sorted([*fold.train_rows, *rows]) == list(range(len(column)))


@pytest.mark.parametrize(
    ("column", "value", "message"),
    [
        (
            YEARS,
            2010,
            "validation.holdout: no training row has 2010 in column 'c'. It holds 2007, 2008, 2009.",
        ),
        (
            SPLIT,
            "test",
            "validation.holdout: no training row has 'test' in column 'c'. It holds 'Valid', 'train', "
            "'valid'.",
        ),
        (
            np.arange(12.0),
            -1,
            "validation.holdout: no training row has -1 in column 'c'. It holds 0, 1, 2, 3, 4, 5, 6, 7, 8, 9 "
            "and 2 others.",
        ),
        (
            np.array([None, None], object),
            "a",
            "validation.holdout: no training row has 'a' in column 'c'. It holds no value at all.",
        ),
        (
            np.array(["a", "a"], object),
            "a",
            "validation.holdout: all 2 training rows have 'a' in column 'c': at least one row must be left "
            "to train on.",
        ),
    ],
)
def test_a_value_that_cannot_be_held_out(column: np.ndarray, value: int | str, message: str) -> None:
    with pytest.raises(DataError) as caught:
        make_folds(schema.Holdout(column="c", value=value), len(column), None, 0, column=column)
    assert str(caught.value) == message


def test_a_value_must_not_split_a_group() -> None:
    validation = schema.Holdout(column="c", value=2009)
    make_folds(validation, 6, None, 0, column=YEARS, groups=np.array([0, 0, 1, 0, 0, 1]))
    with pytest.raises(DataError, match=r"would split a group: training rows 2 and 3 \(from 0\)"):
        make_folds(validation, 6, None, 0, column=YEARS, groups=np.array([0, 0, 1, 1, 0, 1]))


# --- time --------------------------------------------------------------------------------------------------


@given(st.lists(st.integers(-5, 30), min_size=3, max_size=80), st.integers(2, 9))
def test_no_fold_trains_on_what_comes_later(times: list[int], k: int) -> None:
    k = min(k, len(times) - 1)
    column = np.array(times, float)
    folds = make_folds(schema.TimeSeries(k=k, column="t"), len(times), None, 0, column=column)
    assert [fold.index for fold in folds] == list(range(k))
    for fold in folds:
        assert len(fold.train_rows)
        assert len(fold.validation_rows) == len(times) // (k + 1)
        assert column[fold.train_rows].max() <= column[fold.validation_rows].min()
        assert (np.diff(fold.train_rows) > 0).all()
    validated = np.concatenate([fold.validation_rows for fold in folds])
    assert len(set(validated)) == len(validated)  # each row once; the first part never
    first = set(range(len(times))) - set(validated)
    assert first == set(folds[0].train_rows)
    for before, after in itertools.pairwise(folds):  # the window grows by what was validated
        assert set(after.train_rows) == set(before.train_rows) | set(before.validation_rows)


@given(st.integers(3, 100), st.integers(2, 9))
def test_rows_as_they_come_are_scikit_learn_s(n_rows: int, k: int) -> None:
    k = min(k, n_rows - 1)
    folds = make_folds(schema.TimeSeries(k=k), n_rows, None, 0)
    found = [(fold.train_rows.tolist(), fold.validation_rows.tolist()) for fold in folds]
    expected = TimeSeriesSplit(k).split(np.zeros(n_rows))
    assert found == [(train.tolist(), validation.tolist()) for train, validation in expected]


def test_equal_times_keep_their_order() -> None:
    folds = make_folds(schema.TimeSeries(k=2, column="t"), 6, None, 0, column=np.array([2.0, 1, 2, 1, 1, 2]))
    assert [fold.train_rows.tolist() for fold in folds] == [[1, 3], [0, 1, 3, 4]]


def test_times_in_iso_form() -> None:
    column = np.array(["2026-03-01", "2025-12-31T23:00", "2025-12-31", "2026-02-28 10:00:00"], object)
    folds = make_folds(schema.TimeSeries(k=3, column="t"), 4, None, 0, column=column)
    assert [fold.validation_rows.tolist() for fold in folds] == [[1], [3], [0]]


def test_time_zones_count() -> None:
    column = np.array(["2026-01-01T12:00+02:00", "2026-01-01T11:00Z", "2026-01-01T10:30Z"], object)
    folds = make_folds(schema.TimeSeries(k=2, column="t"), 3, None, 0, column=column)
    assert [fold.validation_rows.tolist() for fold in folds] == [[2], [1]]


@pytest.mark.parametrize(
    ("column", "message"),
    [
        (
            np.array([1.0, np.nan, 2.0]),
            "validation.time_series.column: column 't' has no value in training row 1 (from 0), and each row "
            "needs a time. Leave out such rows, or name another column.",
        ),
        (
            np.array(["2026-01-01", "2026-01-02", None], object),
            "validation.time_series.column: column 't' has no value in training row 2 (from 0), and each row "
            "needs a time. Leave out such rows, or name another column.",
        ),
        (
            np.array(["2026-01-01", "24/11/2026", "2026-01-03"], object),
            "validation.time_series.column: column 't' has '24/11/2026' in training row 1 (from 0), which is "
            "not a time in ISO format (2026-11-24, 2026-11-24T17:52). Write times in that format, or as "
            "numbers.",
        ),
    ],
)
def test_a_column_that_has_no_order_of_time(column: np.ndarray, message: str) -> None:
    with pytest.raises(DataError) as caught:
        make_folds(schema.TimeSeries(k=2, column="t"), 3, None, 0, column=column)
    assert str(caught.value) == message


def test_too_few_rows_for_so_many_parts() -> None:
    with pytest.raises(DataError, match=r"time_series\.k is 4, but there are 4 training rows"):
        make_folds(schema.TimeSeries(k=4), 4, None, 0)
