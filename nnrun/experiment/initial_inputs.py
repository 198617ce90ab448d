"""Which columns of a file are worth learning from: all but those that say nothing, or the target itself.

Letters in names: N rows, K classes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from nnrun.data.files.read import ReadTable
from nnrun.data.infer import Inferred
from nnrun.data.table import CategoryColumn, Column, NumberColumn, TextColumn
from nnrun.errors import DataError
from nnrun.experiment.initial_target import TaskName, counts_rows
from nnrun.spec.suggest import counted, quoted

_ROWS_OF_A_VALUE: Final = 10
_EXCEPTIONS: Final = 0.01  # of the rows outside the largest class
_UNEXPLAINED: Final = 1e-4  # of the target's variance
_ENOUGH_ROWS: Final = 20
_ROWS_FOR_THRESHOLDS: Final = 100
_NEARLY_EMPTY: Final = 0.95
_FEWEST_VALUES: Final = 4


@dataclass(frozen=True)
class Inputs:
    """What was decided of the columns beside the target.

    Attributes:
        names: to learn from, in the file's order.
        left_out: column → why, as the end of a sentence that begins with it.
        giveaways: column → how it tells the target.
        kept_giveaways: the giveaways are among `names` after all, since nothing else was left.
    """

    names: tuple[str, ...]
    left_out: Mapping[str, str]
    giveaways: Mapping[str, str]
    kept_giveaways: bool = False


def choose_inputs(file: ReadTable, target: str, task: TaskName) -> Inputs:
    """The columns to learn from.

    Left out are columns of one value, numbers with texts among them, columns that count the rows, texts and
    dates that nearly all differ, and columns that are nearly empty; and a column that gives the target away,
    by itself, in all rows or nearly all: it is mostly the target under another name.

    Raises:
        DataError: no column is left.
    """
    others = {name: inferred for name, inferred in file.columns.items() if name != target}
    left_out: dict[str, str] = {}
    giveaways: dict[str, str] = {}
    answer = file.columns[target].column
    for name, inferred in others.items():
        why = _why_useless(name, inferred, file.n_rows)
        if why is not None:
            left_out[name] = why
        elif (how := gives_away(inferred.column, answer, task)) is not None:
            giveaways[name] = how
    names = tuple(name for name in others if name not in left_out and name not in giveaways)
    if names:
        return Inputs(names, left_out, giveaways)
    if giveaways:
        return Inputs(tuple(giveaways), left_out, giveaways, kept_giveaways=True)
    counting = [name for name in left_out if counts_rows(name, others[name], file.n_rows)]
    if counting:
        rest = {name: why for name, why in left_out.items() if name not in counting}
        return Inputs(tuple(counting), rest, {})
    told = "; ".join(f"{quoted(name)} {why}" for name, why in list(left_out.items())[:4])
    raise DataError(
        f"{file.name}: no column is left to learn {quoted(target)} from"
        f"{': ' + told if told else ', which is its only column'}."
    )


def _why_useless(name: str, inferred: Inferred, n_rows: int) -> str | None:
    if inferred.constant:
        return next(doubt.text for doubt in inferred.doubts if doubt.kind == "constant")
    if inferred.wrong is not None:
        wrong = inferred.wrong
        return (
            f"has numbers in {wrong.numbers:,} of {wrong.of:,} values, and {quoted(wrong.value)} is none; "
            "correct the file, or take it for a category by `types`"
        )
    if counts_rows(name, inferred, n_rows):
        return "counts or names the rows, and says nothing of them"
    present = n_rows - inferred.missing
    if inferred.missing > _NEARLY_EMPTY * n_rows or (inferred.missing and present < _FEWEST_VALUES):
        return f"has a value in {counted(present, 'row')} only"
    for doubt in inferred.doubts:
        if doubt.kind == "names" and "dates" in doubt.text:
            return "looks like dates, for which there is no type: each date is a name of its own"
        if doubt.kind == "names":
            return f"has {inferred.distinct:,} different values in {present:,} rows, too many to learn from"
    return None


def gives_away(column: Column, target: Column, task: TaskName) -> str | None:
    """How a column tells the target in every row or nearly so; None where it does not, or few rows say so.

    A value must stand in 10 rows on average, so that it is no name of a row. Of the rows outside the largest
    class 1 % may be exceptions; of a number 0.01 % of the variance may be left.
    """
    if len(target.missing) < _ENOUGH_ROWS or isinstance(column, TextColumn):
        return None
    values, n_values = _codes(column)
    few = n_values * _ROWS_OF_A_VALUE <= len(values)
    if task == "regression":
        assert isinstance(target, NumberColumn), "other targets are classes"
        wanted = _scaled(target.values)
        if few and _left_within(values, n_values, wanted) <= _UNEXPLAINED:
            return "each of its values goes with one number"
        if isinstance(column, NumberColumn) and _is_line(column, wanted):
            return "the target is a straight line of it"
        return None
    labels, n_classes = _codes(target)
    counts_VK = np.bincount(values * n_classes + labels, minlength=n_values * n_classes)
    if few:
        exceptions = len(labels) - int(counts_VK.reshape(n_values, n_classes).max(axis=1).sum())
        if exceptions <= _EXCEPTIONS * (len(labels) - int(np.bincount(labels).max())):
            return f"each of its values goes with one class{' in nearly all rows' if exceptions else ''}"
    if (
        isinstance(column, NumberColumn)
        and len(labels) >= _ROWS_FOR_THRESHOLDS
        and not column.missing.any()
        and _is_cut(column.values, labels, n_classes)
    ):
        return "its range falls into one piece for each class"
    return None


def _codes(column: Column) -> tuple[npt.NDArray[np.int64], int]:
    """(N,) a code for each value, a missing one among them; and how many there are."""
    if isinstance(column, NumberColumn):
        different, codes = np.unique(column.values, return_inverse=True)
    elif isinstance(column, CategoryColumn):
        different, codes = np.unique(column.codes, return_inverse=True)
    else:
        different, codes = np.unique(np.array([value or "" for value in column.values]), return_inverse=True)
    return codes.astype(np.int64), len(different)


def _scaled(values: npt.NDArray[np.floating[Any]]) -> npt.NDArray[np.float64]:
    """Numbers from -1 to 1, so that no square overflows."""
    largest = float(np.nanmax(np.abs(values)))
    return np.asarray(values.astype(np.float64) / (largest or 1.0))


def _left_within(values: npt.NDArray[np.int64], n_values: int, wanted: npt.NDArray[np.float64]) -> float:
    """The share of the target's variance that is left among rows of one value."""
    rows = np.bincount(values, minlength=n_values)
    means = np.bincount(values, wanted, minlength=n_values) / rows
    return float(((wanted - means[values]) ** 2).sum() / ((wanted - wanted.mean()) ** 2).sum())


def _is_line(column: NumberColumn, wanted: npt.NDArray[np.float64]) -> bool:
    present = ~column.missing
    if 2 * present.sum() < len(present):
        return False
    x, y = _scaled(column.values[present]), wanted[present]
    x, y = x - x.mean(), y - y.mean()
    spread = float((x**2).sum() * (y**2).sum())
    return spread > 0 and float((x * y).sum() ** 2) >= (1 - _UNEXPLAINED) * spread


def _is_cut(values: npt.NDArray[Any], labels: npt.NDArray[np.int64], n_classes: int) -> bool:
    """Whether some thresholds part the classes, each of them in one piece."""
    order = np.lexsort((labels, values))
    sorted_values, sorted_labels = values[order], labels[order]
    changes = sorted_labels[1:] != sorted_labels[:-1]
    return int(changes.sum()) == n_classes - 1 and bool((np.diff(sorted_values)[changes] > 0).all())
