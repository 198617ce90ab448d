"""Columns put together from blocks: numbers in memory or, of a large table, in files; texts as codes.

Letters in names: N rows.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Sequence, Set
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Final, TypeAlias

import numpy as np
import numpy.typing as npt

from nnrun.data.files.row_reader import ColumnBatch, Numbers, Texts
from nnrun.data.table import is_wide
from nnrun.data.value_names import in_order, text_name

LARGE: Final = 50_000_000
"""Numbers of a table from which on they are in files, not in memory."""
_BLOCK_BYTES: Final = 1 << 22


@dataclass(frozen=True, eq=False)
class RawNumbers:
    """Numbers before anything is made of them.

    Attributes:
        values: (N,) float64, NaN where one is missing; float32 in a large table where that holds the same
            numbers; int64 where whole numbers are beyond 2**53.
    """

    values: npt.NDArray[Any]

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
        self._parts: list[npt.NDArray[Any]] = []
        self._file: BinaryIO | None = None
        self._path: Path | None = None
        self._type: type[np.generic] = np.float32  # of the numbers in the file
        self._rows = 0

    @property
    def mixed(self) -> bool:
        """Whether no type of number holds them all: they must be read as texts."""
        return self._wide and self._fractions

    def add(self, values: Numbers) -> None:
        """The next rows."""
        self._rows += len(values)
        self._fractions |= values.dtype.kind == "f"
        self._wide |= is_wide(values)
        if self.mixed:
            return
        if self._file is None:
            self._parts.append(values)
        else:
            self._write(values)

    def spill(self, path: Path) -> None:
        """Keep the numbers in a file from now on, as float32 as long as that holds them exactly."""
        self._path = path
        self._file = path.open("wb")
        for part in self._parts:
            self._write(part)
        self._parts.clear()

    def _write(self, values: npt.NDArray[Any]) -> None:
        assert self._file is not None
        assert self._path is not None
        needed = max(_narrowest(values), self._type, key=_TYPES.index)
        if needed is not self._type:
            self._file.close()
            self._file = _rewritten(self._path, self._type, needed)
            self._type = needed
        self._file.write(values.astype(self._type).tobytes())

    def close(self) -> None:
        """No more rows come."""
        if self._file is not None:
            self._file.close()

    def built(self) -> RawNumbers:
        """All rows. A file that holds them must stay as long as they are used."""
        self.close()
        if self._path is not None:
            return RawNumbers(np.memmap(self._path, self._type, "r", shape=(self._rows,)))
        kind = np.int64 if self._wide else np.float64
        return RawNumbers(np.concatenate(self._parts, dtype=kind) if self._parts else np.zeros(0))


_TYPES: Final[Sequence[type[np.generic]]] = (np.float32, np.float64, np.int64)


def _narrowest(values: npt.NDArray[Any]) -> type[np.generic]:
    """The narrowest type that holds these numbers and no others in their place."""
    if is_wide(values):
        return np.int64
    with np.errstate(over="ignore"):
        narrow = values.astype(np.float32)
    return np.float32 if np.array_equal(narrow, values, equal_nan=values.dtype.kind == "f") else np.float64


def _rewritten(path: Path, narrow: type[np.generic], wider: type[np.generic]) -> BinaryIO:
    """A file of numbers as one of a wider type, open at its end."""
    with tempfile.TemporaryFile(dir=path.parent) as copy:
        with path.open("rb") as file:
            while block := file.read(_BLOCK_BYTES):
                copy.write(np.frombuffer(block, narrow).astype(wider).tobytes())
        copy.seek(0)
        rewritten = path.open("wb")
        shutil.copyfileobj(copy, rewritten, _BLOCK_BYTES)
    return rewritten


class TextBuilder:
    """Collects the texts of one column."""

    def __init__(self, missing: frozenset[str]) -> None:
        self._missing = frozenset(map(text_name, missing))
        self._numeric = True
        self._some_numeric = False
        self._codes: list[npt.NDArray[np.int32]] = []
        self._places: dict[str, int] = {}

    def add(self, texts: Texts) -> None:
        """The next rows."""
        places = np.empty(len(texts.levels) + 1, np.int32)
        places[-1] = -1  # where the code is -1
        for position, level in enumerate(texts.levels):
            text = text_name(level)
            places[position] = (
                -1 if text in self._missing else self._places.setdefault(text, len(self._places))
            )
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
        self._spilled = False

    def add(self, batch: ColumnBatch) -> None:
        """The next rows."""
        for name in list(self._numbers):
            values = batch.columns[name]
            if not isinstance(values, Texts):
                self._numbers[name].add(values)
                if not self._numbers[name].mixed:
                    continue
            self._numbers.pop(name).close()
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
        return not self._spilled and self.n_rows * len(self._numbers) > LARGE

    def spill(self, folder: Path) -> None:
        """Keep the numbers in files of this folder from now on."""
        self._spilled = True
        for name, numbers in self._numbers.items():
            numbers.spill(folder / f"{self._order.index(name)}.numbers")

    def close(self) -> None:
        """No more rows come."""
        for numbers in self._numbers.values():
            numbers.close()

    def built(self) -> dict[str, Raw]:
        """The columns, in the order they were asked for."""
        return {
            name: self._numbers[name].built() if name in self._numbers else self._texts[name].built()
            for name in self._order
        }
