"""Dates to numbers."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from nnrun.data.preprocess.datetimes import FittedDatetime
from nnrun.data.preprocess.fitted_step import FitContext
from nnrun.data.table import CategoryColumn
from nnrun.errors import DataError
from nnrun.spec import schema


def dates(*texts: str | None) -> CategoryColumn:
    levels = tuple(sorted({text for text in texts if text is not None}))
    codes = np.array([-1 if text is None else levels.index(text) for text in texts], np.int32)
    return CategoryColumn("when", codes, levels, dates=True)


def fit(column: CategoryColumn, **keys: Any) -> FittedDatetime:
    return FittedDatetime.fit(schema.Datetime(**keys), column, FitContext())


def raw(state: FittedDatetime, column: CategoryColumn) -> list[list[float]]:
    """The parts before they were scaled."""
    problems: dict[int, str] = {}
    scaled = state.transform(column, problems)
    assert not problems
    return np.round(scaled[:, : len(state.parts)] * state.stds + state.means, 6).tolist()


def test_the_parts_of_a_date() -> None:
    column = dates("2024-02-29 06:30", "2023-01-01")  # a Thursday, a Sunday
    state = fit(column)
    assert state.feature_names("when") == [
        f"when {part}" for part in ("year", "month", "day", "weekday", "hour", "elapsed")
    ]
    assert raw(state, column) == [[2024, 2, 29, 3, 6.5, 424.270833], [2023, 1, 1, 6, 0, 0]]
    assert raw(state, dates("2022-12-31")) == [[2022, 12, 31, 5, 0, -1]]


def test_the_hour_is_a_part_where_there_are_times_or_it_is_asked_for() -> None:
    assert "hour" not in fit(dates("2024-01-01", "2024-01-02")).parts
    assert fit(dates("2024-01-01"), parts=["hour", "year"]).parts == ("hour", "year")


def test_parts_are_standardized_over_the_training_rows() -> None:
    column = dates(*[f"2024-01-{day:02d}" for day in range(1, 31)])
    scaled = fit(column, parts=["day", "year"]).transform(column, {})
    assert scaled.mean(axis=0) == pytest.approx([0, 0])
    assert scaled.std(axis=0) == pytest.approx([1, 0])


def test_missing_dates_have_a_feature_of_their_own_where_training_rows_miss_some() -> None:
    state = fit(dates("2024-01-01", None, "2024-01-03"), parts=["day"])
    assert state.feature_names("when") == ["when day", "when is missing"]
    assert state.transform(dates(None, "2024-01-03"), {}).tolist() == [[0, 1], [1, 0]]
    assert fit(dates("2024-01-01", "2024-01-03"), parts=["day"]).transform(dates(None), {}).tolist() == [[0]]


def test_a_text_that_is_no_date_is_a_problem_of_its_row() -> None:
    problems: dict[int, str] = {}
    fit(dates("2024-01-01", "2024-01-03")).transform(dates("2024-01-01", "soon"), problems)
    assert problems == {1: "has 'soon', which is not a date in the format of the training rows"}


def test_json_and_back() -> None:
    state = fit(dates("13/2/2024", "1/3/2024", None))
    assert state.day_first is True
    assert FittedDatetime.from_json(state.to_json()) == state
    for damage in ({"parts": []}, {"origin": "x"}, {"stds": [0.0]}, {"day_first": 3}):
        with pytest.raises((ValueError, TypeError, KeyError)):
            FittedDatetime.from_json({**state.to_json(), **damage})


def test_days_and_months_that_nothing_tells_apart_need_a_word() -> None:
    with pytest.raises(DataError, match=r"holds no date in any training row.*set `day_first`"):
        fit(dates("3/4/2024", "5/6/2024"))
    assert raw(fit(dates("3/4/2024"), day_first=True, parts=["month"]), dates("3/4/2024")) == [[4]]
