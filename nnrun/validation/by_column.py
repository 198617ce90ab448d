"""Splits by what a column of the data says: the rows with a value, the order of time."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from nnrun.errors import DataError, printable
from nnrun.spec import schema
from nnrun.spec.values import is_value

Rows = npt.NDArray[np.int64]
FieldValues = npt.NDArray[Any]
"""(N,) numbers, NaN where one is missing; or objects: str, or numbers that no array type holds (whole ones of
any length), None where one is missing."""

_LISTED = 10


def rows_with_value(
    holdout: schema.Holdout, column: FieldValues | None, groups: npt.NDArray[np.int64] | None
) -> Rows:
    """The rows whose column equals the holdout's value.

    Raises:
        DataError: no row has it, or every row; or a group would be split.
    """
    if column is None or holdout.value is None:
        raise ValueError("a holdout by column needs a value and the column")
    name = printable(str(holdout.column))
    present = _present(column)
    values = np.unique(column[present])
    chosen = [value for value in values.tolist() if is_value(holdout.value, value)]
    rows = np.flatnonzero(present)[np.isin(column[present], chosen)]
    if not len(rows):
        raise DataError(
            f"validation.holdout: no training row has {holdout.value!r} in column {name!r}. "
            f"It holds {_some(values)}."
        )
    if len(rows) == len(column):
        raise DataError(
            f"validation.holdout: all {len(column):,} training rows have {holdout.value!r} in column "
            f"{name!r}: at least one row must be left to train on."
        )
    if groups is not None:
        validates = np.zeros(len(column), bool)
        validates[rows] = True
        both = np.intersect1d(groups[validates], groups[~validates])
        if len(both):
            pair = [int(np.flatnonzero((groups == both[0]) & side)[0]) for side in (validates, ~validates)]
            raise DataError(
                f"validation.holdout would split a group: training rows {pair[0]} and {pair[1]} (from 0) are "
                f"in the same group, and only the first has {holdout.value!r} in column {name!r}."
            )
    return rows


def rows_in_order_of_time(series: schema.TimeSeries, column: FieldValues | None) -> Rows:
    """(N,) the rows, earliest first; rows of the same time keep their order.

    Raises:
        DataError: a time is missing, or a text is none of ISO 8601 (2026-11-24, 2026-11-24T17:52).
    """
    if column is None:
        raise ValueError("a time series by column needs the column")
    place = f"validation.time_series.column: column {printable(str(series.column))!r}"
    present = _present(column)
    if not present.all():
        row = int(np.flatnonzero(~present)[0])
        raise DataError(
            f"{place} has no value in training row {row} (from 0), and each row needs a time. "
            "Leave out such rows, or name another column."
        )
    if column.dtype != object or not any(isinstance(value, str) for value in column):
        return np.argsort(column, kind="stable")
    import pandas as pd

    times = pd.to_datetime(pd.Series(column, dtype=object), format="ISO8601", errors="coerce", utc=True)
    if times.isna().any():
        row = int(np.flatnonzero(times.isna())[0])
        raise DataError(
            f"{place} has {printable(str(column[row]))!r} in training row {row} (from 0), which is not a "
            "time in ISO format (2026-11-24, 2026-11-24T17:52). Write times in that format, or as numbers."
        )
    return np.argsort(times.to_numpy(), kind="stable")


def _present(column: FieldValues) -> npt.NDArray[np.bool_]:
    if column.dtype == object:
        return np.array([value is not None for value in column], bool)
    return ~np.isnan(column)


def _some(values: FieldValues) -> str:
    if not len(values):
        return "no value at all"
    first = values[:_LISTED].tolist()
    shown = [repr(printable(value)) if isinstance(value, str) else _number(value) for value in first]
    more = f" and {len(values) - _LISTED:,} others" if len(values) > _LISTED else ""
    return f"{', '.join(shown)}{more}"


def _number(value: float) -> str:
    return str(int(value)) if float(value).is_integer() else f"{value:g}"
