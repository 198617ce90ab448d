"""What a whole column is for, by its name and its values: an id, a mark of test rows, a time, a
measurement."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from nnrun.data.files.read_table import ReadTable
from nnrun.data.inference.column_types import ColumnInference
from nnrun.data.summaries.describe_columns import counts_of_values
from nnrun.data.table import CategoryColumn, NumberColumn
from nnrun.experiment.init import names
from nnrun.experiment.init.names import word_set

_FEWEST_MEMBERS: Final = 5
_ROWS_OF_A_MEMBER: Final = 1.5  # on average; an id of fewer names rows
_ROWS_OF_A_SERIES: Final = 10
_EVEN_STEPS: Final = 3  # the longest step is at most so many times as long as the usual one
_MOST_PARTS: Final = 20
_PARTS: Final = {
    "train": word_set("train training tr learn learning"),
    "validation": word_set("validation valid validate val dev development holdout tune"),
    "test": word_set("test testing te eval evaluation score prediction"),
}
_LETTERS: Final = {
    "t": "train",
    "v": "validation",
    "s": "test",
}  # of a column that is called split or the like
_SHARE_OF_TRAINING: Final = (0.5, 0.95)
_NAMES_OF_DAYS_AND_MONTHS: Final = word_set("weekday dayofweek dow wday dayweek month mon")
_TRUE: Final = word_set("true t 1 yes")
_FALSE: Final = word_set("false f 0 no")
_WEEKDAYS: Final = word_set("mon tue wed thu fri sat sun")
_MONTHS: Final = word_set("jan feb mar apr may jun jul aug sep oct nov dec")


def whole_numbers(inferred: ColumnInference) -> npt.NDArray[Any] | None:
    """The values that are there, if all of them are whole numbers."""
    column = inferred.column
    if not isinstance(column, NumberColumn):
        return None
    values = column.values[~column.missing]
    return values if len(values) and np.array_equal(values, np.round(values)) else None


def is_dummy(inferred: ColumnInference) -> bool:
    """Whether a column is a number that is 0 or 1."""
    values = whole_numbers(inferred)
    return values is not None and inferred.distinct == 2 and {0.0, 1.0} == set(np.unique(values).tolist())


def counts_rows(name: str, inferred: ColumnInference, n_rows: int) -> bool:
    """Whether a column tells rows apart and says nothing of them: 0, 1, 2, ... in the rows' order or as all
    different whole numbers or codes under a name such as `customer_id`.

    A year or another time that goes up by one is a time.
    """
    present = n_rows - inferred.missing
    if 2 * inferred.missing > n_rows or n_rows < 3:
        return False
    values = whole_numbers(inferred)
    if values is None:
        codes = isinstance(inferred.column, CategoryColumn) and inferred.distinct is not None
        return codes and names.names_rows(name) and _nearly_all_differ(inferred, present)
    if names.names_rows(name) and _nearly_all_differ(inferred, present):
        return True
    if inferred.distinct is not None and inferred.distinct < present:
        return False
    steps = np.diff(values)
    return bool((steps == 1).all() and values[0] in (0, 1)) and not names.names_time(name)


def _nearly_all_differ(inferred: ColumnInference, present: int) -> bool:
    return inferred.distinct is None or inferred.distinct > present / _ROWS_OF_A_MEMBER


def repeats(name: str, inferred: ColumnInference, n_rows: int) -> bool:
    """Whether a column is an id of persons or things that have several rows each, such as `subject`."""
    if not names.names_members(name) or inferred.missing or inferred.distinct is None:
        return False
    if not isinstance(inferred.column, CategoryColumn) and whole_numbers(inferred) is None:
        return False
    if not _FEWEST_MEMBERS <= inferred.distinct <= n_rows / _ROWS_OF_A_MEMBER:
        return False
    largest = max(counts_of_values(inferred.column).values())
    return 2 * largest <= n_rows


# --- marks of training, validation and test rows -----------------------------------------------------------


@dataclass(frozen=True)
class SplitMark:
    """A column that says which rows are for what.

    Attributes:
        name: of the column.
        test, validation: the value of those rows, or None.
        folds: how many folds the column numbers, or None.
        sure: the values show it, not only the name.
    """

    name: str
    test: str | int | bool | None = None
    validation: str | int | bool | None = None
    folds: int | None = None
    sure: bool = True


def split_mark(name: str, inferred: ColumnInference, n_rows: int) -> SplitMark | None:
    """What a column says of training, validation and test rows; None where it is another column.

    Its values may be words for the parts (train, valid, test), whatever its name; or its name is that of a
    mark (split, fold, partition), and it has a few values: texts, or whole numbers that count from 0 or 1.
    """
    distinct = inferred.distinct
    if inferred.constant or distinct is None or distinct > _MOST_PARTS or 2 * distinct > n_rows:
        return None
    if isinstance(inferred.column, CategoryColumn):
        by_words = _by_words(name, inferred)
        if by_words is not None:
            return by_words
    elif not _numbers_parts(inferred):
        return None
    if names.marks_training(name) and distinct == 2:
        return _by_truth(name, inferred)
    if not names.marks_split(name):
        return None
    if "fold" in names.folded(name) and distinct >= 2 and not inferred.missing:
        return SplitMark(name, folds=distinct)
    called_split = names.folded(name) in ("split", "partition") and not inferred.missing
    numbers_folds = called_split and distinct > 3 and whole_numbers(inferred) is not None
    return SplitMark(name, folds=distinct if numbers_folds else None, sure=False)


def _numbers_parts(inferred: ColumnInference) -> bool:
    """Whether a column numbers the parts of a file: from 0 or 1 on, without gaps.

    What scikit-learn's `PredefinedSplit` always trains on is -1.
    """
    values = whole_numbers(inferred)
    if values is None:
        return False
    numbers = [number for number in np.unique(values).tolist() if number != -1]
    return bool(numbers) and numbers[0] in (0, 1) and numbers[-1] - numbers[0] == len(numbers) - 1


def _by_words(name: str, inferred: ColumnInference) -> SplitMark | None:
    column = inferred.column
    assert isinstance(column, CategoryColumn)
    parts: dict[str | None, str] = {}
    letters = _LETTERS if names.marks_split(name) else {}
    for level in counts_of_values(column):
        word = level.lower().strip()
        parts[next((part for part, known in _PARTS.items() if word in known), letters.get(word))] = level
    if None in parts or "train" not in parts or len(parts) < 2 or len(parts) != inferred.distinct:
        return None
    return SplitMark(name, test=parts.get("test"), validation=parts.get("validation"))


def _by_truth(name: str, inferred: ColumnInference) -> SplitMark | None:
    """A column `train` of true and false, or of 0 and 1 with more 1 than 0."""
    counts = counts_of_values(inferred.column)
    yes, no = (next((level for level in counts if level.lower() in words), None) for words in (_TRUE, _FALSE))
    if yes is None or no is None or inferred.missing:
        return None
    train, test = (no, yes) if "test" in names.folded(name) else (yes, no)
    low, high = _SHARE_OF_TRAINING
    if not low <= counts[train] / sum(counts.values()) <= high:
        return None
    number = whole_numbers(inferred) is not None
    return SplitMark(name, test=int(test) if number else test)


# --- times -------------------------------------------------------------------------------------------------


def is_weekday_or_month(name: str, inferred: ColumnInference) -> bool:
    """Whether a column holds days of the week or months, by its name or its values."""
    if names.folded(name) in _NAMES_OF_DAYS_AND_MONTHS:
        return True
    if not isinstance(inferred.column, CategoryColumn) or (inferred.distinct or 0) > 12:
        return False
    levels = [level.lower() for level in inferred.column.levels]
    return bool(levels) and any(
        all(level[:3] in known and (len(level) == 3 or level.isalpha()) for level in levels)
        and len(levels) > 3
        for known in (_WEEKDAYS, _MONTHS)
    )


def rises_evenly(inferred: ColumnInference) -> bool:
    """Whether a number goes up, or down, from row to row in steps of about one size: an order in time."""
    column = inferred.column
    if not isinstance(column, NumberColumn) or inferred.missing or len(column.values) < _ROWS_OF_A_SERIES:
        return False
    steps = np.diff(column.values.astype(np.float64))
    if (steps < 0).all():
        steps = -steps
    return bool((steps > 0).all() and steps.max() <= _EVEN_STEPS * np.median(steps))


@dataclass(frozen=True)
class Roles:
    """What the columns of a file are for, the target aside.

    Attributes:
        rows: columns that count or name the rows.
        members: columns whose values name persons or things of several rows.
        splits: marks of training, validation and test rows.
        dates: columns of dates.
        times: numbers that are a time: a year, a month, a weekday.
    """

    rows: frozenset[str]
    members: frozenset[str]
    splits: Mapping[str, SplitMark]
    dates: frozenset[str]
    times: frozenset[str]

    @property
    def no_targets(self) -> frozenset[str]:
        """Columns that are never predicted unless somebody says so."""
        return self.rows | self.members | self.splits.keys() | self.dates | self.times


def roles_of(file: ReadTable) -> Roles:
    """The roles of all columns."""
    columns, n = file.columns, file.n_rows
    rows = {
        name for name, inferred in columns.items() if name in file.index or counts_rows(name, inferred, n)
    }
    splits = {
        name: mark
        for name, inferred in columns.items()
        if name not in rows and (mark := split_mark(name, inferred, n)) is not None
    }
    members = {name for name, inferred in columns.items() if repeats(name, inferred, n)} - splits.keys()
    dates = {name for name, inferred in columns.items() if inferred.type == "date"}
    times = {
        name
        for name, inferred in columns.items()
        if is_weekday_or_month(name, inferred)
        or (names.is_year_dummy(name) and is_dummy(inferred))
        or names.marks_training(name)
        or (names.names_time(name) and rises_evenly(inferred))
        or names.folded(name) in ("year", "yr", "date", "week", "quarter", "hour")
    }
    return Roles(frozenset(rows), frozenset(members), splits, frozenset(dates), frozenset(times))
