"""Columns put together from blocks: numbers in memory or, of a large table, in a file; texts as codes.

Letters in names: N rows.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence, Set
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypeAlias

import numpy as np
import numpy.typing as npt

from nnrun.data.files.row_reader import ColumnBatch, Numbers, Texts
from nnrun.data.files.stored_arrays import ArrayFile, Spool, StoredPart, map_arrays
from nnrun.data.table import is_wide
from nnrun.data.value_names import in_order, text_name

LARGE: Final = 1 << 23
"""Numbers of a table from which on they are in a file, not in memory."""
KEPT_BYTES: Final = 1 << 20
"""Of a table from which on it is kept in the cache."""


@dataclass(frozen=True, eq=False)
class RawNumbers:
    """Numbers before anything is made of them.

    Attributes:
        values: (N,) float64, NaN where one is missing; float32 in a large table where that holds the same
            numbers; int64 where whole numbers are beyond 2**53.
        at: where they begin in the file of the table's numbers; None in memory.
    """

    values: npt.NDArray[Any]
    at: int | None = None

    def take(self, rows: npt.NDArray[np.integer[Any]]) -> RawNumbers:
        """The rows at these positions."""
        return RawNumbers(self.values[rows])


@dataclass(frozen=True, eq=False)
class RawTexts:
    """Texts before anything is made of them.

    Attributes:
        codes: (N,) int32 positions in `levels`; -1 where the value is missing.
        levels: the names of the different texts (`value_names.text_name`), in their order.
        numeric: they are numbers of the file, in digits, since no float holds them.
        some_numeric: some of them are numbers of the file, others texts.
    """

    codes: npt.NDArray[np.int32]
    levels: tuple[str, ...]
    numeric: bool = False
    some_numeric: bool = False

    def take(self, rows: npt.NDArray[np.integer[Any]]) -> RawTexts:
        """The rows at these positions, and the texts that they hold."""
        codes = self.codes[rows]
        there = np.zeros(len(self.levels), bool)
        there[codes[codes >= 0]] = True
        places = np.append(np.cumsum(there) - 1, -1).astype(np.int32)
        levels = tuple(level for level, kept in zip(self.levels, there, strict=True) if kept)
        return RawTexts(places[codes], levels, self.numeric, self.some_numeric)


Raw: TypeAlias = RawNumbers | RawTexts


class NumberBuilder:
    """Collects the numbers of one column. What it keeps is what came: nothing is rounded."""

    def __init__(self) -> None:
        self._fractions = False  # some block was floats
        self._wide = False  # some whole number is beyond 2**53
        self._parts: list[npt.NDArray[Any] | StoredPart] = []
        self._spool: Spool | None = None
        self._narrow: type[np.generic] = np.float32  # what holds all that was put into the spool

    @property
    def mixed(self) -> bool:
        """Whether no type of number holds them all: they must be read as texts."""
        return self._wide and self._fractions

    def add(self, values: Numbers) -> None:
        """The next rows."""
        self._fractions |= values.dtype.kind == "f"
        self._wide |= is_wide(values)
        if not self.mixed:
            self._parts.append(self._put(values))

    def spill(self, spool: Spool) -> None:
        """Keep the numbers there from now on, and in the end as float32 where that holds them exactly."""
        self._spool = spool
        self._parts = [self._put(part) if isinstance(part, np.ndarray) else part for part in self._parts]

    def _put(self, values: npt.NDArray[Any]) -> npt.NDArray[Any] | StoredPart:
        if self._spool is None:
            return values
        if self._narrow is np.float32 and not _is_narrow(values):
            self._narrow = np.float64
        try:
            return self._spool.add(values)
        except OSError:  # the disk is full; as long as there is memory, no harm is done
            return values

    def _read(self) -> Iterator[npt.NDArray[Any]]:
        for part in self._parts:
            if isinstance(part, StoredPart):
                assert self._spool is not None
                yield self._spool.read(part)
            else:
                yield part

    @property
    def type(self) -> type[np.generic]:
        """Of the numbers in the end."""
        if self._wide:
            return np.int64
        return np.float64 if self._spool is None else self._narrow

    def written(self, file: ArrayFile) -> int:
        """Write all rows; where they begin. Raises OSError."""
        return file.add(self._read(), self.type)

    def built(self) -> RawNumbers:
        """All rows, in memory."""
        parts = list(self._read())
        return RawNumbers(np.concatenate(parts, dtype=self.type) if parts else np.zeros(0, self.type))


_SAMPLE: Final = 1000


def _is_narrow(values: npt.NDArray[Any]) -> bool:
    """Whether float32 holds these numbers and no others in their place."""
    with np.errstate(over="ignore", invalid="ignore"):
        for part in (values[:_SAMPLE], values):  # most columns tell by their first rows
            narrow = part.astype(np.float32)
            if not np.array_equal(narrow, part, equal_nan=part.dtype.kind == "f"):
                return False
    return True


class TextBuilder:
    """Collects the texts of one column."""

    def __init__(self, missing: frozenset[str]) -> None:
        self._missing = frozenset(map(text_name, missing))
        self._numeric = True
        self._some_numeric = False
        self._codes: list[npt.NDArray[np.int32]] = []
        self._places: dict[str, int] = {}
        self.level_bytes = 0  # of the different texts, about

    def add(self, texts: Texts) -> None:
        """The next rows."""
        places = np.empty(len(texts.levels) + 1, np.int32)
        places[-1] = -1  # where the code is -1
        before = len(self._places)
        for position, level in enumerate(texts.levels):
            text = text_name(level)
            places[position] = (
                -1 if text in self._missing else self._places.setdefault(text, len(self._places))
            )
        if len(self._places) > before:
            self.level_bytes += sum(map(len, texts.levels))
        self._numeric &= texts.numeric
        self._some_numeric |= texts.some_numeric or (texts.numeric and bool(texts.levels))
        self._codes.append(places[texts.codes])

    def built(self) -> RawTexts:
        """All rows."""
        codes = np.concatenate(self._codes) if self._codes else np.zeros(0, np.int32)
        levels = list(self._places)
        ordered = in_order(levels)
        rank = {level: place for place, level in enumerate(ordered)}
        ranks = np.array([*(rank[level] for level in levels), -1], np.int32)
        numeric = self._numeric and bool(levels)
        return RawTexts(ranks[codes], tuple(ordered), numeric, self._some_numeric and not numeric)


class TableBuilder:
    """Collects the columns of a table.

    Attributes:
        n_rows: rows so far.
        as_text: columns whose values are texts, which a reader is asked for as such.
        surprises: columns that were numbers at first and texts later; they must be read again as texts.
    """

    def __init__(self, columns: Sequence[str], as_text: Set[str], missing: frozenset[str]) -> None:
        """Args: the columns; those that are text from the first row on; the texts for a missing value."""
        self.n_rows = 0
        self.as_text = {*as_text}
        self.surprises: set[str] = set()
        self._missing = missing
        self._numbers = {name: NumberBuilder() for name in columns if name not in as_text}
        self._texts = {name: TextBuilder(missing) for name in columns if name in as_text}
        self._order = tuple(columns)
        self._spool: Spool | None = None

    def add(self, batch: ColumnBatch) -> None:
        """The next rows."""
        for name in list(self._numbers):
            values = batch.columns[name]
            if not isinstance(values, Texts):
                self._numbers[name].add(values)
                if not self._numbers[name].mixed:
                    continue
            del self._numbers[name]
            if self.n_rows:
                self.surprises.add(name)
            else:
                self.as_text.add(name)
                self._texts[name] = TextBuilder(self._missing)
        for name, texts in self._texts.items():
            values = batch.columns[name]
            assert isinstance(values, Texts), "a reader gives as texts what it is asked to"
            texts.add(values)
        self.n_rows += batch.n_rows

    @property
    def is_large(self) -> bool:
        """Whether its numbers should leave the memory."""
        return self._spool is None and self.n_rows * len(self._numbers) > LARGE

    @property
    def is_worth_keeping(self) -> bool:
        """Whether to read it again takes longer than to keep it."""
        arrays = self.n_rows * (8 * len(self._numbers) + 4 * len(self._texts))
        return arrays + sum(texts.level_bytes for texts in self._texts.values()) > KEPT_BYTES

    def spill(self, folder: Path) -> None:
        """Keep the numbers in a file of this folder from now on."""
        try:
            self._spool = Spool(folder)
        except OSError:  # as long as there is memory, no harm is done
            return
        for numbers in self._numbers.values():
            numbers.spill(self._spool)

    def close(self) -> None:
        """Let go of what is not in memory."""
        if self._spool is not None:
            self._spool.close()

    def built(self, path: Path | None) -> dict[str, Raw]:
        """The columns, in the order they were asked for.

        Args:
            path: of a file for all numbers, which must stay as long as they are used; None for the memory.

        Raises:
            OSError: the file cannot be written.
        """
        numbers = self._written(path) if path is not None else None
        if numbers is None:
            numbers = {name: builder.built() for name, builder in self._numbers.items()}
        return {name: numbers[name] if name in numbers else self._texts[name].built() for name in self._order}

    def _written(self, path: Path) -> dict[str, RawNumbers]:
        with ArrayFile(path) as file:
            places = [(builder.written(file), builder.type.__name__) for builder in self._numbers.values()]
        arrays = map_arrays(path, places, self.n_rows)
        return {
            name: RawNumbers(values, at)
            for name, values, (at, _) in zip(self._numbers, arrays, places, strict=True)
        }
