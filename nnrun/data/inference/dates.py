"""Dates and times as people write them.

ISO 8601 (2026-11-24, 2026-11-24T17:52:03.5Z), 2026/11/24, 24.11.2026, 24/11/2026 or 11/24/2026 (which of the
two, the whole column must tell), 24-Nov-26, November 24, 2026, Nov-26. Of two digits of a year 69 to 99 are
of the 20th century, as Python and pandas have it. A time of day may follow; an offset from UTC is left out:
the clock on the wall says what hour it is.

Letters in names: N values.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Final

import numpy as np
import numpy.typing as npt

Dates = npt.NDArray[np.datetime64]
"""(N,) datetime64[s]; NaT where there is none."""

_MOSTLY: Final = 0.95
_SAMPLE: Final = 8
_TIME: Final = (
    r"(?:[T ,]+(?P<H>\d{1,2}):(?P<M>\d{2})(?::(?P<S>\d{2})(?:[.,]\d+)?)?\s*(?P<half>[AaPp][Mm])?"
    r"\s*(?:Z|UTC|[+-]\d{2}(?::?\d{2})?)?)?"
)
_NAME: Final = r"(?P<name>[A-Za-z]{3,9})\.?"
_YEAR: Final = r"(?P<y>\d{4}|\d{2})"
_FORMS: Final = tuple(
    re.compile(form + _TIME, re.ASCII)
    for form in (
        r"(?P<y>\d{4})[-/.](?P<m>\d{1,2})[-/.](?P<d>\d{1,2})",
        r"(?P<y>\d{4})(?P<m>\d{2})(?P<d>\d{2})",
        rf"(?P<d>\d{{1,2}})[-/. ]{_NAME}[-/., ]+{_YEAR}",
        rf"{_NAME} (?P<d>\d{{1,2}})(?:st|nd|rd|th)?,? +{_YEAR}",
    )
)
_MONTHS_ONLY: Final = tuple(
    re.compile(form, re.ASCII) for form in (r"(?P<y>\d{4})[-/](?P<m>\d{1,2})", rf"{_NAME}[-/ ']+{_YEAR}")
)
_TWO_NUMBERS: Final = re.compile(
    rf"(?P<a>\d{{1,2}})(?P<mark>[-/.])(?P<b>\d{{1,2}})(?P=mark){_YEAR}" + _TIME, re.ASCII
)
_EVERY_FORM: Final = (*_FORMS, *_MONTHS_ONLY, _TWO_NUMBERS)
_MONTHS: Final = (
    *("january", "february", "march", "april", "may", "june", "july", "august", "september"),
    *("october", "november", "december"),
)
_MONTH_OF: Final = {
    **{name: i for i, name in enumerate(_MONTHS, 1)},
    **{name[:3]: i for i, name in enumerate(_MONTHS, 1)},
    "sept": 9,
}


def parse_dates(texts: Sequence[str], day_first: bool | None) -> Dates:
    """(N,) the dates that texts are; NaT where one is none.

    Args:
        texts: N of them.
        day_first: whether 3/4/2026 is the third of April; None: it is no date.
    """
    return np.array([_parsed(text, day_first) for text in texts], "datetime64[s]").reshape(len(texts))


def iso_texts(levels: Sequence[str]) -> list[str]:
    """Dates as ISO 8601 has them; what is no date stays."""
    if all(_FORMS[0].fullmatch(level.strip()) for level in levels):
        return list(levels)
    dates = parse_dates(levels, days_come_first(levels))
    known = dates[~np.isnat(dates)]
    if (known == known.astype("datetime64[D]")).all():
        dates = dates.astype("datetime64[D]")
    return [level if np.isnat(date) else str(date) for level, date in zip(levels, dates, strict=True)]


def guess_dates(levels: Sequence[str], counts: npt.NDArray[np.integer]) -> tuple[bool | None] | None:
    """Whether a column holds dates, and then, alone in a tuple, whether days come before months in it.

    None where fewer than 95 % are dates, or where all could be read both ways, as 3/4/2026.

    Args:
        levels: the different texts.
        counts: how often each occurs.
    """
    total = int(counts.sum())
    if not total or len(levels) == 0 or not _looks_like_one(levels[int(np.argmax(counts))]):
        return None
    day_first = days_come_first(levels)
    if day_first is None and any(_is_two_sided(level) for level in levels):
        return None
    known = ~np.isnat(parse_dates(levels, day_first))
    if int(counts[known].sum()) < _MOSTLY * total or len(levels) < 2:
        return None
    return (day_first,)


def no_such_days(levels: Sequence[str], counts: npt.NDArray[np.integer]) -> list[str]:
    """The texts of a column of dates that are written as dates and name no day, such as 2023-02-30.

    Empty where fewer than half of the values are dates, or fewer than 95 % are written as such.

    Args:
        levels: the different texts.
        counts: how often each occurs.
    """
    sample = levels[:: max(1, len(levels) // _SAMPLE)]
    if 2 * sum(map(_looks_like_one, sample)) < len(sample):
        return []
    dates = ~np.isnat(parse_dates(levels, bool(days_come_first(levels))))
    total, known = int(counts.sum()), int(counts[dates].sum())
    wrong = [i for i in np.flatnonzero(~dates).tolist() if _form_of(levels[i]) is not None]
    if 2 * known < total or known + int(counts[wrong].sum()) < _MOSTLY * total:
        return []
    return [levels[i] for i in wrong]


def days_come_first(texts: Iterable[str]) -> bool | None:
    """Whether 24/11/2026 or 11/24/2026 is written; None where no text tells. Points always follow days."""
    first = second = False
    for text in texts:
        found = _TWO_NUMBERS.fullmatch(text.strip())
        if found is not None and found["mark"] != ".":
            first |= int(found["a"]) > 12
            second |= int(found["b"]) > 12
    return first if first != second else None


def is_ambiguous(levels: Sequence[str]) -> bool:
    """Whether texts look like dates in which day and month cannot be told apart."""
    return bool(levels) and all(map(_is_two_sided, levels)) and days_come_first(levels) is None


def _looks_like_one(text: str) -> bool:
    return not np.isnat(_parsed(text, True)) or not np.isnat(_parsed(text, False))


def _is_two_sided(text: str) -> bool:
    found = _TWO_NUMBERS.fullmatch(text.strip())
    return found is not None and found["mark"] != "."


def _form_of(text: str) -> re.Match[str] | None:
    """How a text is written as a date; None where it is not."""
    text = text.strip()
    for form in _EVERY_FORM:
        if (found := form.fullmatch(text)) is not None:
            return found
    return None


def _parsed(text: str, day_first: bool | None) -> np.datetime64:
    found = _form_of(text)
    if found is not None and found.re is not _TWO_NUMBERS:
        return _date(found, _month(found), found.groupdict().get("d") or "1")
    if found is None or (day_first is None and found["mark"] != "."):
        return np.datetime64("NaT", "s")
    days_first = day_first or found["mark"] == "."
    day, month = (found["a"], found["b"]) if days_first else (found["b"], found["a"])
    return _date(found, int(month), day)


def _month(found: re.Match[str]) -> int:
    groups = found.groupdict()
    return int(groups["m"]) if groups.get("m") else _MONTH_OF.get(groups["name"].lower(), 0)


def _date(found: re.Match[str], month: int, day: str) -> np.datetime64:
    year, groups = int(found["y"]), found.groupdict()
    if len(found["y"]) == 2:
        year += 1900 if year >= 69 else 2000
    hour = int(groups.get("H") or 0)
    half = (groups.get("half") or "").lower()
    if half:
        hour = hour % 12 + (12 if half == "pm" else 0) if 1 <= hour <= 12 else 99
    minute, second = int(groups.get("M") or 0), int(groups.get("S") or 0)
    text = f"{year:04d}-{month:02d}-{int(day):02d}T{hour:02d}:{minute:02d}:{second:02d}"
    try:
        return np.datetime64(text, "s")
    except ValueError:
        return np.datetime64("NaT", "s")
