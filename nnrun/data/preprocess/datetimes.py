"""Dates to numbers: the year, the month and so on, each in units of its deviation in the training rows.

Letters in names: N rows, L levels, P parts.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Final, get_args

import numpy as np
import numpy.typing as npt

from nnrun.data.inference.dates import Dates, days_come_first, parse_dates
from nnrun.data.preprocess import json_checks
from nnrun.data.preprocess.json_checks import Floats
from nnrun.data.preprocess.numeric import Problems
from nnrun.data.table import CategoryColumn
from nnrun.errors import DataError
from nnrun.spec import schema
from nnrun.spec.wording import quoted

_DAY: Final = np.timedelta64(1, "D")


@dataclass(frozen=True)
class DatetimeColumn:
    """The parts of a date, standardized. A missing date has the mean of each part.

    Attributes:
        parts: P of them, in order.
        means, stds: of each part over the training rows.
        origin: the earliest training row, from which `elapsed` counts days.
        day_first: whether 3/4/2026 is the third of April; None where no training row is written so.
        indicator: another feature is 1 where the date is missing, as it is in some training row.
    """

    kind: ClassVar[str] = "datetime"
    parts: tuple[str, ...]
    means: tuple[float, ...]
    stds: tuple[float, ...]
    origin: str
    day_first: bool | None
    indicator: bool

    @property
    def width(self) -> int:
        """Features."""
        return len(self.parts) + self.indicator

    def names(self, column: str) -> list[str]:
        """The features' names."""
        return [f"{column} {part}" for part in self.parts] + [f"{column} is missing"] * self.indicator

    def apply(self, column: CategoryColumn, problems: Problems) -> npt.NDArray[np.float64]:
        """(N, width) features; a text that is no date is a problem of its rows."""
        used, places = np.unique(column.codes, return_inverse=True)
        places = np.where(column.codes < 0, len(used), places)  # the last row below is of missing dates
        dates = parse_dates([column.levels[code] if code >= 0 else "" for code in used], self.day_first)
        wrong = np.append(np.isnat(dates), False)[places]
        for row in np.flatnonzero(wrong):
            level = column.levels[column.codes[row]]
            problems.setdefault(
                int(row), f"has {quoted(level)}, which is not a date in the format of the training rows"
            )
        values_LP = _parts(dates, self.parts, np.datetime64(self.origin, "s"))
        scaled_LP = (values_LP - np.array(self.means)) / np.array(self.stds)
        scaled_LP = np.vstack([np.nan_to_num(scaled_LP, nan=0.0), np.zeros(len(self.parts))])
        features = scaled_LP[places]
        return np.column_stack([features, column.missing]) if self.indicator else features

    def to_json(self) -> dict[str, Any]:
        """The state as plain values."""
        return {
            "parts": list(self.parts),
            "means": list(self.means),
            "stds": list(self.stds),
            "origin": self.origin,
            "day_first": self.day_first,
            "indicator": self.indicator,
        }

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> DatetimeColumn:
        """What `to_json` gave, checked."""
        parts = tuple(json_checks.one_of(part, *get_args(schema.DatePart)) for part in values["parts"])
        means = tuple(json_checks.number(value) for value in values["means"])
        stds = tuple(json_checks.number(value, positive=True) for value in values["stds"])
        origin = json_checks.text(values["origin"])
        if not parts or not len(parts) == len(means) == len(stds) or len(set(parts)) < len(parts):
            raise ValueError(parts)
        if np.isnat(np.datetime64(origin, "s")):
            raise ValueError(origin)
        day_first = None if values["day_first"] is None else json_checks.flag(values["day_first"])
        return cls(parts, means, stds, origin, day_first, json_checks.flag(values["indicator"]))


def fit_datetime(step: schema.Datetime, column: CategoryColumn) -> DatetimeColumn:
    """Learn the step from the training rows of a column.

    How its dates are written, all of the column's texts tell; what the parts are scaled by, its rows.

    Raises:
        DataError: no row has a date.
    """
    day_first = days_come_first(column.levels) if step.day_first is None else step.day_first
    dates = np.append(parse_dates(column.levels, day_first), np.datetime64("NaT", "s"))[column.codes]
    known = dates[~np.isnat(dates)]
    if not len(known):
        example = next((quoted(column.levels[code]) for code in column.codes if code >= 0), "nothing")
        ambiguous = "" if day_first is not None else "; where 3/4/2026 is meant, set `day_first`"
        raise DataError(
            f"datetime: column {quoted(column.name)} holds no date in any training row, but {example}"
            f"{ambiguous}. Leave the column out of `inputs`, or use one_hot."
        )
    origin = known.min()
    parts = tuple(step.parts) if step.parts else _useful_parts(known)
    values_NP = _parts(known, parts, origin)
    means, stds = values_NP.mean(axis=0), values_NP.std(axis=0)
    stds = np.where(stds > 1e-12 * np.maximum(np.abs(means), 1.0), stds, 1.0)
    return DatetimeColumn(
        parts,
        tuple(means.tolist()),
        tuple(stds.tolist()),
        str(origin),
        day_first,
        bool(column.missing.any()),
    )


def _useful_parts(known: Dates) -> tuple[str, ...]:
    """All parts; the hour only where some row has a time of day."""
    has_times = bool((known != known.astype("datetime64[D]")).any())
    return tuple(part for part in get_args(schema.DatePart) if part != "hour" or has_times)


def _parts(dates: Dates, parts: tuple[str, ...], origin: np.datetime64) -> Floats:
    """(L, P) the parts of dates, NaN where there is none. A week begins on Monday, which is 0."""
    days, months, years = (dates.astype(f"datetime64[{unit}]") for unit in "DMY")
    each = {
        "year": years.astype(np.int64) + 1970.0,
        "month": (months - years).astype(np.int64) + 1.0,
        "day": (days - months).astype(np.int64) + 1.0,
        "weekday": (days.astype(np.int64) + 3.0) % 7,
        "hour": (dates - days).astype(np.int64) / 3600.0,
        "elapsed": (dates - origin) / _DAY,
    }
    values_LP = np.stack([each[part] for part in parts], axis=1).astype(np.float64)
    values_LP[np.isnat(dates)] = np.nan
    return values_LP
