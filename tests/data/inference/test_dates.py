"""Dates as people write them."""

from __future__ import annotations

import datetime

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nnrun.data.inference.dates import guess_dates, iso_texts, no_such_days, parse_dates

FORMS = [
    *("%Y-%m-%d", "%Y/%m/%d", "%Y%m%d", "%d.%m.%Y", "%d-%b-%Y", "%d %B %Y", "%B %d, %Y", "%b %d %Y"),
    *("%Y-%m-%dT%H:%M:%S", "%Y-%m-%d %H:%M:%SZ", "%d.%m.%Y %H:%M:%S", "%b %d, %Y %I:%M:%S %p"),
]


@given(st.datetimes(datetime.datetime(1800, 1, 1), datetime.datetime(2200, 1, 1)), st.sampled_from(FORMS))
def test_a_written_date_reads_back(when: datetime.datetime, form: str) -> None:
    unit = "s" if "%S" in form else "D"
    (date,) = parse_dates([when.strftime(form)], None)
    assert date == np.datetime64(when, unit)


@pytest.mark.parametrize(
    "text", ["", "x", "12:30", "2024-13-01", "31-Feb-05", "3/4/2026", "1.5", "7", "12345", "2024-01-01 25:00"]
)
def test_what_is_no_date(text: str) -> None:
    assert np.isnat(parse_dates([text], None)).all()


@pytest.mark.parametrize(
    ("texts", "guessed"),
    [
        (["1/2/2020", "13/2/2020"], (True,)),
        (["1/2/2020", "2/13/2020"], (False,)),
        (["1/2/2020", "2/3/2020"], None),
        (["13/2/2020", "2/13/2020"], None),
        (["1.2.2020", "2.3.2020"], (None,)),
        (["Jan-90", "Feb-90"], (None,)),
        (["red", "blue"], None),
    ],
)
def test_whether_a_column_holds_dates(texts: list[str], guessed: tuple[bool | None] | None) -> None:
    assert guess_dates(texts, np.ones(len(texts), int)) == guessed


def test_dates_in_iso_form_sort_by_time() -> None:
    assert iso_texts(["24.11.2026", "1.12.2026"]) == ["2026-11-24", "2026-12-01"]


DAYS = [f"2023-01-{day:02d}" for day in range(1, 29)]


@pytest.mark.parametrize(
    ("texts", "wrong"),
    [
        ([*DAYS, "2023-02-30"], ["2023-02-30"]),
        ([*DAYS, "2023-02-29", "2023-13-01", "2023-04-31"], ["2023-02-29", "2023-13-01", "2023-04-31"]),
        ([*DAYS, *["soon"] * 5, "2023-02-30"], []),  # too few are dates at all
        (["2023-02-30", "2023-02-31", "2023-01-01"], []),
        (["12-34-5678", "98-76-5432", "45-67-8901"], []),
        (DAYS, []),
        (["Berlin", "Rome"], []),
    ],
)
def test_days_that_do_not_exist(texts: list[str], wrong: list[str]) -> None:
    levels, counts = np.unique(texts, return_counts=True)
    assert sorted(no_such_days(levels.tolist(), counts)) == sorted(wrong)
