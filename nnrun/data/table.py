"""Rows of named columns, as a file of a person's own data has them, before any preprocessing.

Letters in names: N rows.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from nnrun.data.value_names import EXACT, in_order, number_name, whole_number, wide_whole_number
from nnrun.mapped_arrays import leave_memory
from nnrun.spec import schema

Positions = Sequence[int] | npt.NDArray[Any] | slice
"""Of rows; what a slice takes is not copied."""


def number_column(
    name: str, values: npt.NDArray[Any], exact: Sequence[str | None] | None = None
) -> NumberColumn:
    """Numbers that may be whole ones beyond 2**53, which floats hold only in part.

    Args:
        name: the column's.
        values: (N,) the numbers, as floats or integers.
        exact: where they came as texts, those of each row; None for a missing one.
    """
    if values.dtype.kind in "iub":
        return NumberColumn(name, values if is_wide(values) else values.astype(np.float64))
    if exact is None:
        return NumberColumn(name, values)
    if not any(text is not None and wide_whole_number(text) is not None for text in exact):
        return NumberColumn(name, values)
    digits = [None if text is None else number_name(exact_number(text)) for text in exact]
    return NumberColumn(name, values, category_column(name, digits))


def is_wide(values: npt.NDArray[Any]) -> bool:
    """Whether these are whole numbers, and some beyond 2**53."""
    return bool(values.dtype.kind in "iu" and len(values) and (values.max() > EXACT or values.min() < -EXACT))


def exact_number(text: str) -> int | float:
    """The number that a text is: whole ones by their digits."""
    whole = whole_number(text)
    return float(text) if whole is None else whole


@dataclass(frozen=True, eq=False)
class NumberColumn:
    """Numbers.

    Attributes:
        name: the column's name.
        values: (N,) float64, or float32 in a large table where that holds the same numbers; NaN where one is
            missing, none infinite. Whole numbers beyond 2**53 are integers (int64) where none is missing.
        names: the same as digits, where `values` are floats and some whole number is beyond 2**53.
    """

    name: str
    values: npt.NDArray[Any]
    names: CategoryColumn | None = None

    def take(self, rows: Positions) -> NumberColumn:
        """The rows at these positions, in this order."""
        taken = NumberColumn(
            self.name, self.values[rows], None if self.names is None else self.names.take(rows)
        )
        if not isinstance(rows, slice):
            leave_memory(self.values)
        return taken

    def identities(self) -> npt.NDArray[Any]:
        """(N,) values that are equal where the numbers are, exactly: numbers, or ints with None for missing.

        Numbers are in order as they are; so are the ints.
        """
        if self.names is None:
            return self.values
        of_code = np.array([*map(exact_number, self.names.levels), None], object)
        return of_code[self.names.codes]

    @property
    def missing(self) -> npt.NDArray[np.bool_]:
        """(N,) where there is no value."""
        return np.asarray(np.isnan(self.values))


@dataclass(frozen=True, eq=False)
class CategoryColumn:
    """Values out of a few.

    Attributes:
        name: the column's name.
        codes: (N,) int32, positions in `levels`; -1 where the value is missing.
        levels: the names of the different values (`value_names`), in their order. Some rows need not hold all
            of them: what was learned of a level is known by its text, never by its code.
        dates: whether the values are dates.
    """

    name: str
    codes: npt.NDArray[np.int32]
    levels: tuple[str, ...]
    dates: bool = False

    def take(self, rows: Positions) -> CategoryColumn:
        """The rows at these positions, in this order."""
        taken = CategoryColumn(self.name, self.codes[rows], self.levels, self.dates)
        if not isinstance(rows, slice):
            leave_memory(self.codes)
        return taken

    @property
    def missing(self) -> npt.NDArray[np.bool_]:
        """(N,) where there is no value."""
        return self.codes < 0


@dataclass(frozen=True, eq=False)
class TextColumn:
    """Texts of many words.

    Attributes:
        name: the column's name.
        values: (N,) objects: str, or None where the text is missing.
    """

    name: str
    values: npt.NDArray[np.object_]

    def take(self, rows: Positions) -> TextColumn:
        """The rows at these positions, in this order."""
        return TextColumn(self.name, self.values[rows])

    @property
    def missing(self) -> npt.NDArray[np.bool_]:
        """(N,) where there is no text."""
        return np.array([value is None for value in self.values], bool)


Column: TypeAlias = NumberColumn | CategoryColumn | TextColumn


def leave_column(column: Column) -> None:
    """`leave_memory` of what a column holds."""
    if isinstance(column, NumberColumn):
        leave_memory(column.values)
    elif isinstance(column, CategoryColumn):
        leave_memory(column.codes)


def category_column(name: str, values: Sequence[str | None], *, dates: bool = False) -> CategoryColumn:
    """Names as a category, None where one is missing."""
    levels = in_order({value for value in values if value is not None})
    places: dict[str | None, int] = {level: code for code, level in enumerate(levels)}
    codes = np.array([places.get(value, -1) for value in values], np.int32)
    return CategoryColumn(name, codes, tuple(levels), dates)


def kind_of(column: Column) -> schema.ColumnType:
    """What a column's values are."""
    if isinstance(column, NumberColumn):
        return "number"
    if isinstance(column, CategoryColumn):
        return "date" if column.dates else "category"
    return "text"


def as_categories(column: Column) -> CategoryColumn:
    """A column of numbers or texts as categories: each different value is one. 3.0 is called `3`."""
    if isinstance(column, CategoryColumn):
        return column
    if isinstance(column, NumberColumn) and column.names is not None:
        return CategoryColumn(column.name, column.names.codes, column.names.levels)
    codes = np.full(len(column.values), -1, np.int32)
    known = ~column.missing
    different, places = np.unique(column.values[known], return_inverse=True)
    codes[known] = places
    if isinstance(column, NumberColumn):
        return CategoryColumn(column.name, codes, tuple(map(number_name, different.tolist())))
    return CategoryColumn(column.name, codes, tuple(map(str, different)))


def as_texts(column: Column) -> TextColumn:
    """A column of categories as the texts that they are. Numbers are refused before."""
    if isinstance(column, CategoryColumn):
        levels = np.array([*column.levels, None], object)
        return TextColumn(column.name, levels[column.codes])
    assert isinstance(column, TextColumn), "the plan lets only texts and categories here"
    return column


@dataclass(frozen=True, eq=False)
class Table:
    """Columns of the same length, their names all different.

    Attributes:
        columns: in the order of the file.
        n_rows: N.
    """

    columns: tuple[Column, ...]
    n_rows: int

    def __len__(self) -> int:
        return self.n_rows

    @cached_property
    def by_name(self) -> Mapping[str, Column]:
        """Name → column."""
        return {column.name: column for column in self.columns}

    @property
    def names(self) -> tuple[str, ...]:
        """The columns' names, in order."""
        return tuple(column.name for column in self.columns)

    def take(self, rows: Sequence[int] | npt.NDArray[Any]) -> Table:
        """The rows at these positions (or of a mask), in this order."""
        rows = np.asarray(rows)
        if rows.dtype == bool:
            rows = np.flatnonzero(rows)
        elif rows.size == 0:
            rows = rows.astype(np.int64)
        return Table(tuple(column.take(rows) for column in self.columns), len(rows))

    def select(self, names: Sequence[str]) -> Table:
        """These columns, in this order."""
        return Table(tuple(self.by_name[name] for name in names), self.n_rows)
