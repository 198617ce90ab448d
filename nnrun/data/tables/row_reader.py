"""What every reader of a file of rows gives: blocks of columns, and where a row is in the file.

Letters in names: N rows of a block.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import numpy as np
import numpy.typing as npt

from nnrun.data.inference.number_spelling import Spellings
from nnrun.spec.schema import ColumnType

Numbers = npt.NDArray[np.float64] | npt.NDArray[np.int64]
"""int64 where a block holds whole numbers only and none is missing; float64 for all others."""


@dataclass(frozen=True, eq=False)
class Texts:
    """A column of texts: `levels[codes[i]]` is row i.

    Attributes:
        codes: (N,) integers; -1 where the value is missing.
        levels: the different texts, in any order.
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
class Block:
    """Some rows.

    Attributes:
        n_rows: N.
        columns: name → numbers (N,), NaN where one is missing; or texts.
        done: the share of the file that has been read, from 0 to 1.
    """

    n_rows: int
    columns: Mapping[str, Numbers | Texts]
    done: float


@dataclass
class LineNumbers:
    """The line that each row begins at, kept as the rows where the step from row to line changes.

    Attributes:
        unit: `line`, or `row` where rows are no lines (and are counted from 0).
        separators: lines that were left out because they hold only separators.
    """

    unit: str = "line"
    separators: int = 0
    _rows: list[npt.NDArray[np.int64]] = field(default_factory=list)
    _lines: list[npt.NDArray[np.int64]] = field(default_factory=list)

    def clear(self) -> None:
        """Forget all rows: the file is read again."""
        self._rows.clear()
        self._lines.clear()
        self.separators = 0

    def add_run(self, row: int, line: int) -> None:
        """From `row` on each row is one line, the first of them `line`."""
        self._rows.append(np.array([row], np.int64))
        self._lines.append(np.array([line], np.int64))

    def add_lines(self, row: int, lines: npt.NDArray[np.int64]) -> None:
        """The rows from `row` on begin at these lines."""
        if len(lines):
            breaks = np.concatenate([[0], np.flatnonzero(np.diff(lines) != 1) + 1])
            self._rows.append(row + breaks)
            self._lines.append(lines[breaks])

    def add_arrays(self, rows: npt.NDArray[np.int64], lines: npt.NDArray[np.int64]) -> None:
        """What `arrays` gave."""
        self._rows.append(rows)
        self._lines.append(lines)

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
        path: of the file.
        name: of the file, for messages.
        names: of its columns, in order, all different.
        lines: where the rows that were read so far stand.
        typed: a text is a text, even where it looks like a number.
        missing: texts that mean a missing value.
        spellings: how numbers are written.
        index: columns that the file declares to be an index, and why.
        types: what the file declares that columns are, where the values do not say it by themselves.
    """

    path: Path
    name: str
    names: tuple[str, ...]
    lines: LineNumbers
    typed: bool
    missing: Sequence[str]
    spellings: Spellings
    index: Mapping[str, str]
    types: Mapping[str, ColumnType]

    def blocks(self, columns: Sequence[str], as_text: frozenset[str]) -> Iterator[Block]:
        """The rows from the first on.

        Args:
            columns: which to read.
            as_text: those to give as texts; others are numbers wherever a whole block of them is, and
                nothing would be lost: neither a digit nor what tells a code (a leading zero).

        Raises:
            DataError: the file is damaged; says where.
        """
        ...
