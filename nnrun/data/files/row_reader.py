"""What every reader of a file of rows gives: batches of columns, and where a row is in the file.

Letters in names: N rows of a batch.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Literal, Protocol

import numpy as np
import numpy.typing as npt

from nnrun.data.inference.number_spelling import Spellings
from nnrun.spec.schema import ColumnType
from nnrun.spec.wording import counted

DATA_FRAME: Final = "the data frame"
"""The name of rows that a Python program gave: the file that they are kept in says nothing to it."""

Numbers = npt.NDArray[np.float64] | npt.NDArray[np.int64]
"""int64 where a batch holds whole numbers only and none is missing; float64 for all others."""


@dataclass(frozen=True, eq=False)
class Texts:
    """A column of texts: `levels[codes[i]]` is row i.

    Attributes:
        codes: (N,) integers; -1 where the value is missing.
        levels: the different texts as they are written, in any order.
        numeric: they are numbers of the file, in digits, since no float holds them.
        some_numeric: some of them are numbers of the file, others texts, as JSON can mix them.
    """

    codes: npt.NDArray[np.integer]
    levels: Sequence[str]
    numeric: bool = False
    some_numeric: bool = False

    def __len__(self) -> int:
        return len(self.codes)


@dataclass(frozen=True, eq=False)
class ColumnBatch:
    """Some rows that follow each other.

    Attributes:
        n_rows: N.
        columns: name → numbers (N,), NaN where one is missing; or texts. Empty where there are no rows.
        done: the share of the file that has been read, from 0 to 1.
        lines: (N,) where each row begins, from 1; None where rows are no lines.
        separators: lines that were left out before or among these rows, since they hold only separators.
        skipped: (N,) how many of them come before each row; None where there are none.
        problems: row → what is wrong with it, as the end of a sentence; all its values are missing.
    """

    n_rows: int
    columns: Mapping[str, Numbers | Texts]
    done: float
    lines: npt.NDArray[np.int64] | None = None
    separators: int = 0
    skipped: npt.NDArray[np.int64] | None = None
    problems: Mapping[int, str] = field(default_factory=dict)


@dataclass
class LineNumbers:
    """The line that each row begins at, kept as the rows where the step from row to line changes.

    With the unit `row` it is the number of the row in the file, from 0, of the rows that were taken from it.

    Attributes:
        unit: `line`, or `row` where rows are no lines (and are counted from 0).
        separators: lines that were left out because they hold only separators.
    """

    unit: str = "line"
    separators: int = 0
    _rows: list[npt.NDArray[np.int64]] = field(default_factory=list)
    _lines: list[npt.NDArray[np.int64]] = field(default_factory=list)

    def add(self, row: int, lines: npt.NDArray[np.int64]) -> None:
        """The rows from `row` on begin at these lines."""
        if len(lines):
            breaks = np.concatenate([[0], np.flatnonzero(np.diff(lines) != 1) + 1])
            self._rows.append(row + breaks)
            self._lines.append(lines[breaks])

    @classmethod
    def of_arrays(
        cls, unit: str, separators: int, rows: npt.NDArray[np.int64], lines: npt.NDArray[np.int64]
    ) -> LineNumbers:
        """From what `arrays` gave."""
        return cls(unit, separators, [rows], [lines])

    def arrays(self) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
        """The rows where a run of lines begins, and its first line."""
        if not self._rows:
            return np.zeros(0, np.int64), np.zeros(0, np.int64)
        return np.concatenate(self._rows), np.concatenate(self._lines)

    def of_rows(self, rows: npt.NDArray[np.integer]) -> npt.NDArray[np.int64]:
        """The lines of these rows; the rows themselves where rows are no lines."""
        rows = rows.astype(np.int64)
        starts, lines = self.arrays()
        if not len(starts):
            return np.array(rows, np.int64)
        place = np.searchsorted(starts, rows, "right") - 1
        return np.array(lines[place] + rows - starts[place], np.int64)

    def place(self, row: int) -> str:
        """`line 7`: for a message."""
        return f"{self.unit} {int(self.of_rows(np.array([row]))[0])}"


class RowReader(Protocol):
    """A file of rows.

    Attributes:
        name: of the file, for messages.
        names: of its columns, in order.
        unit: `line` where rows are lines, else `row`.
        typed: a text is a text, even where it looks like a number.
        missing: texts that mean a missing value.
        spellings: how numbers are written.
        index: columns that the file declares to be an index, and why.
        types: what the file declares that columns are, where the values do not say it by themselves.
    """

    name: str
    names: tuple[str, ...]
    unit: Literal["line", "row"]
    typed: bool
    missing: Sequence[str]
    spellings: Spellings
    index: Mapping[str, str]
    types: Mapping[str, ColumnType]

    @property
    def path(self) -> Path | None:
        """Of the file; None of a stream."""
        ...

    @property
    def delimiter(self) -> str | None:
        """Between the fields of CSV; None for other files."""
        ...

    def batches(self, columns: Sequence[str], as_text: Set[str]) -> Iterator[ColumnBatch]:
        """The rows from the first on.

        Args:
            columns: which to read.
            as_text: those to give as texts, as they are written; who reads may add to it between batches.
                Others are numbers wherever a whole batch of them is, and nothing would be lost: neither a
                digit nor what tells a code (a leading zero); else texts, too.

        Raises:
            DataError: the file is damaged; says where.
        """
        ...


def separators_message(name: str, lines: int) -> str:
    """How many lines of a CSV file were left out because they hold only separators."""
    return f"{name}: left out {counted(lines, 'line')} with only separators"
