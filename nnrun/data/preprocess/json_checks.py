"""Values read from a preprocessing's JSON, each checked, and numbers checked before they become float32."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt

from nnrun.data.dataset import Array
from nnrun.errors import DataError

Floats = npt.NDArray[np.float64]


_MOST = 2**31 - 1  # columns are numbered in 32 bits


def count(value: Any, *, least: int = 1) -> int:
    """A whole number from `least`, of 32 bits, or ValueError."""
    if type(value) is not int or not least <= value <= _MOST:
        raise ValueError(value)
    return value


def number(value: Any, *, positive: bool = False) -> float:
    """A finite number, or ValueError."""
    if type(value) not in (int, float) or not math.isfinite(value) or (positive and value <= 0):
        raise ValueError(value)
    return float(value)


def floats(values: Any, size: int, *, positive: bool = False) -> tuple[float, ...]:
    """So many finite numbers, or ValueError."""
    if not isinstance(values, list) or len(values) != size:
        raise ValueError(values)
    return tuple(number(value, positive=positive) for value in values)


def flag(value: Any) -> bool:
    """True or false, or ValueError."""
    if type(value) is not bool:
        raise ValueError(value)
    return value


def text(value: Any) -> str:
    """A text, or ValueError."""
    if type(value) is not str:
        raise ValueError(value)
    return value


def one_of(value: Any, *allowed: str) -> str:
    """One of some texts, or ValueError."""
    if value not in allowed:
        raise ValueError(value)
    return text(value)


def different_texts(values: Any) -> tuple[str, ...]:
    """Texts, none twice, or ValueError."""
    if not isinstance(values, list) or len(set(map(text, values))) < len(values):
        raise ValueError(values)
    return tuple(values)


def float32(values: Array, what: str, first_row: int = 0) -> npt.NDArray[np.float32]:
    """The values rounded to float32, row after row in memory. All must be finite there."""
    with np.errstate(over="ignore", invalid="ignore"):
        rounded = np.ascontiguousarray(values, np.float32)
    finite = np.isfinite(rounded)
    if not finite.all():
        row, column = (int(i) for i in np.argwhere(~finite)[0])
        raise DataError(
            f"{what} row {row + first_row}, column {column} is {values[row, column]}, "
            "which is not a finite 32-bit number."
        )
    return rounded


def mean_and_std(x_NF: Floats, what: str) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and population standard deviation of each column; a constant column has 1 for the latter."""
    with np.errstate(over="ignore", invalid="ignore"):
        mean, std = x_NF.mean(axis=0), x_NF.std(axis=0)
    low, high = x_NF.min(axis=0), x_NF.max(axis=0)
    constant = low == high  # rounding would leave it a tiny deviation, and dividing by that would blow it up
    mean, std = np.where(constant, low, mean), np.where(constant | (std == 0), 1.0, std)
    if not (np.isfinite(mean).all() and np.isfinite(std).all()):
        column = int(np.flatnonzero(~(np.isfinite(mean) & np.isfinite(std)))[0])
        raise DataError(f"standardize: the mean or deviation of {what} {column} is not a finite number.")
    return tuple(mean.tolist()), tuple(std.tolist())
