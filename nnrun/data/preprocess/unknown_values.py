"""Values that training never saw: counted, column by column, so that they can be told before they are scored.

One-hot makes all zeros of them, and of a text without a known word: the network then guesses from what else
there is, and nothing in its output shows it. Hashing takes every value, and numbers are not looked at.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from nnrun.data.preprocess.categorical import FillCategory, OneHotColumn, OrdinalColumn, as_categories
from nnrun.data.preprocess.column_transformer import FittedColumn, FittedTable
from nnrun.data.preprocess.numeric import ImputeColumn
from nnrun.data.preprocess.texts import UNKNOWN, TokensColumn, WordsColumn, as_texts
from nnrun.data.table import CategoryColumn, Column, Table, TextColumn
from nnrun.spec.wording import quoted

Mask = npt.NDArray[np.bool_]
_LARGE_SHARE = 0.5


@dataclass(frozen=True)
class Unknown:
    """Rows that hold what training never saw.

    Attributes:
        column: in which column; None for rows without any value.
        what: a `value` of a category; a value that is `missing` in a column where none was in training;
            a text without a known one of its `words`; or a whole `row` without a value.
        count: in how many rows.
        rows: of how many.
        example: one of the values; None for what is missing.
    """

    column: str | None
    what: Literal["value", "missing", "words", "row"]
    count: int
    rows: int
    example: str | None

    @property
    def large(self) -> bool:
        """Whether more than half of the rows are concerned."""
        return self.count > _LARGE_SHARE * self.rows

    def __str__(self) -> str:
        of = f"{self.count:,} of {self.rows:,} rows"
        if self.column is None:
            return f"{of} have no value in any input column"
        where = f"column {quoted(self.column)}"
        if self.what == "missing":
            return f"{where}: {of} have no value; every training row has one"
        example = quoted(self.example or "")
        if self.what == "words":
            return f"{where}: {of} hold no word that the network knows, such as {example}"
        return f"{where}: {of} have a value that no training row has, such as {example}"


class UnknownCounts:
    """What training never saw, of all rows that are added.

    Args:
        fitted: the preprocessing of the networks that are asked: what one of them saw is known.
    """

    def __init__(self, fitted: Sequence[FittedTable]) -> None:
        self._fitted = fitted
        self._found: list[Unknown] = []
        self._rows = 0

    def add(self, table: Table) -> None:
        """More rows."""
        self._rows += len(table)
        self._found = together([self._found, unknown_values(self._fitted, table)], self._rows)

    @property
    def found(self) -> list[Unknown]:
        """All that there is to tell."""
        return together([self._found], self._rows)


def unknown_values(fitted: Sequence[FittedTable], table: Table, *, texts: bool = True) -> list[Unknown]:
    """What training never saw, among these rows.

    Args:
        fitted: the preprocessing of the networks that are asked: what one of them saw is known.
        table: the rows.
        texts: whether texts are looked at, too.
    """
    return list(_of_table(fitted, table, texts)) if fitted and len(table) else []


def _of_table(fitted: Sequence[FittedTable], table: Table, texts: bool) -> Iterator[Unknown]:
    empty = np.ones(len(table), bool)
    for place, first in enumerate(fitted[0].columns):
        column = table.by_name[first.name]
        if empty.any():
            empty &= column.missing
        yield from _of_column([each.columns[place] for each in fitted], column, texts)
    if empty.any():
        yield Unknown(None, "row", int(empty.sum()), len(table), None)


def _of_column(fitted: Sequence[FittedColumn], column: Column, texts: bool) -> Iterator[Unknown]:
    steps = [_telling_step(each) for each in fitted]
    if any(isinstance(step, (WordsColumn, TokensColumn)) for step in steps):
        if texts:
            yield from _without_known_words(steps, as_texts(column))
        return
    if not all(isinstance(step, (OneHotColumn, OrdinalColumn)) for step in steps):
        return
    category = as_categories(column)
    known: set[str] = set()
    gaps_known = False
    for step, each in zip(steps, fitted, strict=True):
        assert isinstance(step, (OneHotColumn, OrdinalColumn)), "checked above"
        known |= set(step.levels)
        if isinstance(step, OneHotColumn):
            known |= set(step.rare)
            gaps_known |= step.missing or step.rare_missing
        gaps_known |= step is not each.steps[0] or isinstance(step, OrdinalColumn)
    yield from _in_categories(category, known, gaps_known=gaps_known)


def _telling_step(fitted: FittedColumn) -> Any:
    """The step that knows the training rows' values; None where there is none."""
    for step in fitted.steps:
        if not isinstance(step, (FillCategory, ImputeColumn)):
            return step
    return None


def _in_categories(column: CategoryColumn, known: Iterable[str], *, gaps_known: bool) -> Iterator[Unknown]:
    known = set(known)
    unknown = np.array([*(level not in known for level in column.levels), False], bool)[column.codes]
    rows = len(column.codes)
    if unknown.any():
        example = column.levels[column.codes[int(np.argmax(unknown))]]
        yield Unknown(column.name, "value", int(unknown.sum()), rows, example)
    missing = int(column.missing.sum())
    if missing and not gaps_known:
        yield Unknown(column.name, "missing", missing, rows, None)


def _without_known_words(steps: Sequence[Any], column: TextColumn) -> Iterator[Unknown]:
    unknown: Mask = np.array([bool(value) for value in column.values], bool)
    for step in steps:
        made = step.apply(column)
        known = made.tokens != UNKNOWN if isinstance(step, TokensColumn) else np.ones(made.nnz, bool)
        before = np.concatenate([[0], np.cumsum(known)])
        unknown &= np.diff(before[made.indptr]) == 0
    if unknown.any():
        example = column.values[int(np.argmax(unknown))]
        yield Unknown(column.name, "words", int(unknown.sum()), len(unknown), example)


def together(parts: Sequence[Sequence[Unknown]], rows: int) -> list[Unknown]:
    """What several sets of rows hold, of so many rows in all."""
    found: dict[tuple[str | None, str], Unknown] = {}
    for unknown in (unknown for part in parts for unknown in part):
        before = found.get((unknown.column, unknown.what))
        count = unknown.count + (0 if before is None else before.count)
        found[unknown.column, unknown.what] = replace(before or unknown, count=count, rows=rows)
    return list(found.values())
