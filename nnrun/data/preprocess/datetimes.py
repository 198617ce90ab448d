"""Dates to numbers: the year, the month and so on, each in units of its deviation in the training rows.

Letters in names: N rows, L levels, P parts.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Final, get_args

import numpy as np
import numpy.typing as npt
from pydantic import Field
from typing_extensions import Self

from nnrun.data.dataset import Array
from nnrun.data.inference.dates import Dates, days_come_first, parse_dates
from nnrun.data.preprocess.fitted_step import Deviation, Finite, FitContext, FittedStep, Floats, Problems
from nnrun.data.table import CategoryColumn
from nnrun.errors import DataError
from nnrun.spec import schema
from nnrun.spec.wording import quoted

_DAY: Final = np.timedelta64(1, "D")


@dataclass(frozen=True)
class FittedDatetime(FittedStep, spec=schema.Datetime, form="category", program="outside"):
    """The parts of a date, standardized. A missing date has the mean of each part.

    Attributes:
        parts: P of them, in order.
        means, stds: of each part over the training rows.
        origin: the earliest training row, from which `elapsed` counts days.
        day_first: whether 3/4/2026 is the third of April; None where no training row is written so.
        indicator: another feature is 1 where the date is missing, as it is in some training row.
    """

    parts: Annotated[tuple[schema.DatePart, ...], Field(min_length=1)]
    means: tuple[Finite, ...]
    stds: tuple[Deviation, ...]
    origin: str
    day_first: bool | None
    indicator: bool

    def __post_init__(self) -> None:
        n = len(self.parts)
        if not n == len(self.means) == len(self.stds) == len(set(self.parts)):
            raise ValueError("one mean and deviation is needed for each part")
        if np.isnat(np.datetime64(self.origin, "s")):
            raise ValueError("the origin is no date")

    @classmethod
    def fit(cls, step: schema.Datetime, column: CategoryColumn, context: FitContext) -> Self:
        """How dates are written is learned from all texts of the column; what scales them, from the rows."""
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
        return cls(
            parts,
            tuple(means.tolist()),
            tuple(stds.tolist()),
            str(origin),
            day_first,
            bool(column.missing.any()),
        )

    @property
    def width(self) -> int:
        """One for each part, and the indicator."""
        return len(self.parts) + self.indicator

    def feature_names(self, column: str) -> list[str]:
        """`column part`."""
        return [f"{column} {part}" for part in self.parts] + [f"{column} is missing"] * self.indicator

    def transform(self, values: CategoryColumn, problems: Problems) -> npt.NDArray[np.float64]:
        """(N, width) features; a text that is no date is a problem of its rows."""
        used, places = np.unique(values.codes, return_inverse=True)
        places = np.where(values.codes < 0, len(used), places)  # the last row below is of missing dates
        dates = parse_dates([values.levels[code] if code >= 0 else "" for code in used], self.day_first)
        wrong = np.append(np.isnat(dates), False)[places]
        for row in np.flatnonzero(wrong):
            level = values.levels[values.codes[row]]
            problems.setdefault(
                int(row), f"has {quoted(level)}, which is not a date in the format of the training rows"
            )
        values_LP = _parts(dates, self.parts, np.datetime64(self.origin, "s"))
        scaled_LP = (values_LP - np.array(self.means)) / np.array(self.stds)
        scaled_LP = np.vstack([np.nan_to_num(scaled_LP, nan=0.0), np.zeros(len(self.parts))])
        features = scaled_LP[places]
        return np.column_stack([features, values.missing]) if self.indicator else features

    def generate(self, values: Array, rng: np.random.Generator) -> Array:
        """Days of some decades."""
        days = np.datetime64("2000-01-01") + rng.integers(0, 20_000, len(values))
        return days.astype(str).astype(object)


def _useful_parts(known: Dates) -> tuple[schema.DatePart, ...]:
    """All parts; the hour only where some row has a time of day."""
    has_times = bool((known != known.astype("datetime64[D]")).any())
    return tuple(part for part in get_args(schema.DatePart) if part != "hour" or has_times)


def _parts(dates: Dates, parts: Sequence[str], origin: np.datetime64) -> Floats:
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
