"""Which columns tell the target, and which tell each other: copies, by their values.

Letters in names: N rows, V values of a column, K classes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from nnrun.data.files.read_table import ReadTable
from nnrun.data.table import CategoryColumn, Column, NumberColumn, TextColumn

_ROWS_OF_A_VALUE: Final = 10
_EXCEPTIONS: Final = 0.01  # of the rows outside the largest class
_UNEXPLAINED: Final = 1e-4  # of the target's variance
_ENOUGH_ROWS: Final = 20
_ROWS_FOR_THRESHOLDS: Final = 100
_ENOUGH_VALUES: Final = 10
_MOST_COPIES: Final = 0.5  # of the rows, as values of a column whose copies are looked for


@dataclass(frozen=True)
class Leak:
    """How a column tells the target.

    Attributes:
        how: as the end of a sentence.
        copy: it is the target in other words, and no measurement could be so good by chance.
    """

    how: str
    copy: bool


def leak_of(column: Column, target: Column, classes: bool) -> Leak | None:
    """How a column tells the target in every row or nearly so; None where it does not, or few rows say so.

    A copy has a value for each class (1 % of the rows outside the largest class may be exceptions), is the
    same number on another scale (a straight line but for 0.01 % of the variance), or puts the rows into the
    same order without a single exception, as a logarithm does. What tells the target otherwise may be a good
    measurement and is no copy: finer categories, and numbers whose range falls into one piece for each class.
    """
    present = ~target.missing
    if present.sum() < _ENOUGH_ROWS or isinstance(column, TextColumn):
        return None
    return _of_classes(column, target, present) if classes else _of_numbers(column, target, present)


def _of_numbers(column: Column, target: Column, present: npt.NDArray[np.bool_]) -> Leak | None:
    assert isinstance(target, NumberColumn), "other targets are classes"
    wanted = scaled(target.values[present])
    values, n_values = codes_of(column, present)
    few = n_values * _ROWS_OF_A_VALUE <= len(values)
    if few and _left_within(values, n_values, wanted) <= _UNEXPLAINED:
        return Leak("each of its values goes with one number", copy=True)
    if not isinstance(column, NumberColumn):
        return None
    both = present & ~column.missing
    if 2 * both.sum() < present.sum() or both.sum() < _ENOUGH_ROWS:
        return None
    x, y = scaled(column.values[both]), scaled(target.values[both])
    if _is_line(x, y):
        return Leak("the target is a linear function of it", copy=True)
    direction = same_order(x, y)
    if direction and len(np.unique(x)) >= _ENOUGH_VALUES:
        order = "same order" if direction > 0 else "opposite order"
        return Leak(f"both put all rows in the {order} (a rank correlation of {direction})", copy=True)
    if direction and both.sum() >= _ROWS_FOR_THRESHOLDS:
        return Leak("each of its values covers its own interval of the target", copy=True)
    return None


def _of_classes(column: Column, target: Column, present: npt.NDArray[np.bool_]) -> Leak | None:
    values, n_values = codes_of(column, present)
    labels, n_classes = codes_of(target, present)
    if n_values * _ROWS_OF_A_VALUE <= len(values):
        counts_VK = np.bincount(values * n_classes + labels, minlength=n_values * n_classes)
        counts_VK = counts_VK.reshape(n_values, n_classes)
        exceptions = len(labels) - int(counts_VK.max(axis=1).sum())
        if exceptions <= _EXCEPTIONS * (len(labels) - int(np.bincount(labels).max())):
            nearly = " in nearly all rows" if exceptions else ""
            copy = n_values <= n_classes + bool(column.missing[present].any())
            return Leak(f"each of its values goes with one class{nearly}", copy)
    if (
        isinstance(column, NumberColumn)
        and len(labels) >= _ROWS_FOR_THRESHOLDS
        and not column.missing[present].any()
        and _is_cut(column.values[present], labels, n_classes)
    ):
        return Leak("each class covers its own interval of its values", copy=False)
    return None


# --- copies of other inputs --------------------------------------------------------------------------------


def copies_among(file: ReadTable, names: Sequence[str]) -> Mapping[str, str]:
    """Columns that say what an earlier one says: column → that one.

    The values of both stand for each other, one for one, in all rows, as `embark_town` and `embarked`; or
    both are numbers that put the rows into the same order, as a price and its logarithm.
    """
    seen: dict[bytes, str] = {}
    copies: dict[str, str] = {}
    for name in names:
        key = _key_of(file.columns[name].column, file.n_rows)
        if key is None:
            continue
        first = seen.setdefault(key, name)
        if first != name:
            copies[name] = first
    return copies


def _key_of(column: Column, n_rows: int) -> bytes | None:
    """The same bytes for columns whose values stand for each other; None where chance could do that."""
    if isinstance(column, TextColumn):
        return None
    codes, n_values = codes_of(column, np.ones(n_rows, bool))
    if n_values < 2:
        return None
    if n_values > _MOST_COPIES * n_rows:
        if not isinstance(column, NumberColumn) or n_rows < _ENOUGH_ROWS:
            return None
        return b"order" + codes.astype(np.int32).tobytes()  # codes are ranks
    _, first_rows, places = np.unique(codes, return_index=True, return_inverse=True)
    ranks = np.argsort(np.argsort(first_rows))
    return ranks[places].astype(np.int32).tobytes()


# --- small questions ---------------------------------------------------------------------------------------


def codes_of(column: Column, rows: npt.NDArray[np.bool_]) -> tuple[npt.NDArray[np.int64], int]:
    """(N,) a code for each value of some rows, a missing one among them; and how many there are."""
    if isinstance(column, (NumberColumn, CategoryColumn)):
        raw = column.values if isinstance(column, NumberColumn) else column.codes
        different, codes = np.unique(raw[rows], return_inverse=True)
    else:
        different, codes = np.unique(column.values[rows].astype(str), return_inverse=True)
    return codes.astype(np.int64), len(different)


def scaled(values: npt.NDArray[np.floating[Any]]) -> npt.NDArray[np.float64]:
    """Numbers from -1 to 1, so that no square overflows."""
    largest = float(np.nanmax(np.abs(values)))
    return np.asarray(values.astype(np.float64) / (largest or 1.0))


def same_order(x: npt.NDArray[np.float64], y: npt.NDArray[np.float64]) -> int:
    """1 where y never falls as x rises, -1 where it never rises, 0 else; equal values of x say nothing, and
    so neither order is told by fewer than two different values."""
    order = np.lexsort((y, x))
    x, y = x[order], y[order]
    starts = np.flatnonzero(np.append(True, x[1:] > x[:-1]))
    if len(starts) < 2:
        return 0
    low, high = np.minimum.reduceat(y, starts), np.maximum.reduceat(y, starts)
    if (low[1:] >= high[:-1]).all() and low[-1] > high[0]:
        return 1
    return -1 if (high[1:] <= low[:-1]).all() and high[-1] < low[0] else 0


def _left_within(values: npt.NDArray[np.int64], n_values: int, wanted: npt.NDArray[np.float64]) -> float:
    """The share of the target's variance that is left among rows of one value."""
    rows = np.bincount(values, minlength=n_values)
    means = np.bincount(values, wanted, minlength=n_values) / rows
    return float(((wanted - means[values]) ** 2).sum() / ((wanted - wanted.mean()) ** 2).sum())


def _is_line(x: npt.NDArray[np.float64], y: npt.NDArray[np.float64]) -> bool:
    x, y = x - x.mean(), y - y.mean()
    spread = float((x**2).sum() * (y**2).sum())
    return spread > 0 and float((x * y).sum() ** 2) >= (1 - _UNEXPLAINED) * spread


def _is_cut(values: npt.NDArray[Any], labels: npt.NDArray[np.int64], n_classes: int) -> bool:
    """Whether some thresholds part the classes, each of them in one piece."""
    order = np.lexsort((labels, values))
    sorted_values, sorted_labels = values[order], labels[order]
    changes = sorted_labels[1:] != sorted_labels[:-1]
    return int(changes.sum()) == n_classes - 1 and bool((np.diff(sorted_values)[changes] > 0).all())
