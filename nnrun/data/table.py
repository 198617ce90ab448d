"""Rows of named columns, as a file of a person's own data has them, before any preprocessing.

Letters in names: N rows.
"""

from __future__ import annotations

import mmap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

Positions = Sequence[int] | npt.NDArray[Any]


def leave_memory(values: npt.NDArray[Any]) -> None:
    """Let go of the pages of a file that an array maps; whoever reads it again has them read again.

    They can be taken back by the system at any time, and still count as memory of the process.
    """
    if isinstance(values.base, mmap.mmap) and hasattr(mmap, "MADV_DONTNEED"):
        values.base.madvise(mmap.MADV_DONTNEED)


@dataclass(frozen=True, eq=False)
class NumberColumn:
    """Numbers.

    Attributes:
        name: the column's name.
        values: (N,) float64, or float32 where the file is large; NaN where one is missing, none infinite.
    """

    name: str
    values: npt.NDArray[np.floating[Any]]

    def take(self, rows: Positions) -> NumberColumn:
        """The rows at these positions, in this order."""
        taken = NumberColumn(self.name, self.values[np.asarray(rows)])
        leave_memory(self.values)
        return taken

    def between(self, start: int, stop: int) -> NumberColumn:
        """The rows from `start` to before `stop`, not copied."""
        return NumberColumn(self.name, self.values[start:stop])

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
        levels: the different values as texts, sorted. Some rows need not hold all of them: what was learned
            of a level is known by its text, never by its code.
        dates: whether the values are dates.
    """

    name: str
    codes: npt.NDArray[np.int32]
    levels: tuple[str, ...]
    dates: bool = False

    def take(self, rows: Positions) -> CategoryColumn:
        """The rows at these positions, in this order."""
        return CategoryColumn(self.name, self.codes[np.asarray(rows)], self.levels, self.dates)

    def between(self, start: int, stop: int) -> CategoryColumn:
        """The rows from `start` to before `stop`, not copied."""
        return CategoryColumn(self.name, self.codes[start:stop], self.levels, self.dates)

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
        return TextColumn(self.name, self.values[np.asarray(rows)])

    def between(self, start: int, stop: int) -> TextColumn:
        """The rows from `start` to before `stop`, not copied."""
        return TextColumn(self.name, self.values[start:stop])

    @property
    def missing(self) -> npt.NDArray[np.bool_]:
        """(N,) where there is no text."""
        return np.array([value is None for value in self.values], bool)


Column: TypeAlias = NumberColumn | CategoryColumn | TextColumn


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

    def take(self, rows: Positions) -> Table:
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
