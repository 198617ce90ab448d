"""Columns put together from blocks: numbers in memory or, of a large table, in files; texts as codes.

Letters in names: N rows.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Final, TypeAlias

import numpy as np
import numpy.typing as npt

from nnrun.data.files.blocks import Block, Numbers, Texts

LARGE: Final = 50_000_000
"""Numbers of a table from which on they are float32 in files, not float64 in memory."""


@dataclass(frozen=True, eq=False)
class RawNumbers:
    """Numbers before anything is made of them: (N,) float64 or, of a large table, float32; NaN is missing."""

    values: npt.NDArray[np.floating[Any]]

    def take(self, rows: npt.NDArray[np.integer[Any]]) -> RawNumbers:
        """The rows at these positions."""
        return RawNumbers(self.values[rows])


@dataclass(frozen=True, eq=False)
class RawTexts:
    """Texts before anything is made of them.

    Attributes:
        codes: (N,) int32 positions in `levels`; -1 where the value is missing.
        levels: the different texts without blanks around them, sorted.
    """

    codes: npt.NDArray[np.int32]
    levels: tuple[str, ...]

    def take(self, rows: npt.NDArray[np.integer[Any]]) -> RawTexts:
        """The rows at these positions, and the texts that they hold."""
        codes = self.codes[rows]
        there = np.zeros(len(self.levels), bool)
        there[codes[codes >= 0]] = True
        places = np.append(np.cumsum(there) - 1, -1).astype(np.int32)
        levels = tuple(level for level, kept in zip(self.levels, there, strict=True) if kept)
        return RawTexts(places[codes], levels)


Raw: TypeAlias = RawNumbers | RawTexts


class NumberBuilder:
    """Collects the numbers of one column."""

    def __init__(self) -> None:
        self._parts: list[npt.NDArray[np.floating[Any]]] = []
        self._file: BinaryIO | None = None
        self._path: Path | None = None
        self._rows = 0

    def add(self, values: Numbers) -> None:
        """The next rows."""
        self._rows += len(values)
        if self._file is None:
            self._parts.append(values)
        else:
            self._file.write(_narrow(values))

    def spill(self, path: Path) -> None:
        """Keep the numbers as float32 in a file from now on."""
        self._path = path
        self._file = path.open("wb")
        for part in self._parts:
            self._file.write(_narrow(part))
        self._parts.clear()

    def close(self) -> None:
        """No more rows come."""
        if self._file is not None:
            self._file.close()

    def built(self) -> RawNumbers:
        """All rows. A file that holds them must stay as long as they are used."""
        self.close()
        if self._path is not None:
            return RawNumbers(np.memmap(self._path, np.float32, "r", shape=(self._rows,)))
        return RawNumbers(np.concatenate(self._parts) if self._parts else np.zeros(0))


def _narrow(values: npt.NDArray[np.floating[Any]]) -> bytes:
    with np.errstate(over="ignore"):  # an infinity is refused afterwards, with its row
        return values.astype(np.float32).tobytes()


class TextBuilder:
    """Collects the texts of one column."""

    def __init__(self, missing: frozenset[str]) -> None:
        self._missing = missing
        self._codes: list[npt.NDArray[np.int32]] = []
        self._places: dict[str, int] = {}

    def add(self, texts: Texts) -> None:
        """The next rows."""
        places = np.empty(len(texts.levels) + 1, np.int32)
        places[-1] = -1  # where the code is -1
        for position, level in enumerate(texts.levels):
            text = level.strip()
            places[position] = (
                -1 if text in self._missing else self._places.setdefault(text, len(self._places))
            )
        self._codes.append(places[texts.codes])

    def built(self) -> RawTexts:
        """All rows."""
        codes = np.concatenate(self._codes) if self._codes else np.zeros(0, np.int32)
        levels = list(self._places)
        order = sorted(range(len(levels)), key=levels.__getitem__)
        ranks = np.empty(len(levels) + 1, np.int32)
        ranks[order] = np.arange(len(levels), dtype=np.int32)
        ranks[-1] = -1
        return RawTexts(ranks[codes], tuple(levels[i] for i in order))


class TableBuilder:
    """Collects the columns of a table.

    Attributes:
        n_rows: rows so far.
        surprises: columns that came as texts after all; they must be read again as texts.
    """

    def __init__(self, columns: Mapping[str, bool], missing: frozenset[str]) -> None:
        """Args: the columns, and whether each is text; the texts that mean a missing value."""
        self.n_rows = 0
        self.surprises: set[str] = set()
        self._numbers = {name: NumberBuilder() for name, is_text in columns.items() if not is_text}
        self._texts = {name: TextBuilder(missing) for name, is_text in columns.items() if is_text}
        self._order = tuple(columns)
        self._spilled = False

    def add(self, block: Block) -> None:
        """The next rows."""
        for name, texts in self._texts.items():
            values = block.columns[name]
            assert isinstance(values, Texts), "a reader gives as texts what it is asked to"
            texts.add(values)
        for name in list(self._numbers):
            values = block.columns[name]
            if isinstance(values, Texts):
                self.surprises.add(name)
                self._numbers.pop(name).close()
            else:
                self._numbers[name].add(values)
        self.n_rows += block.n_rows

    @property
    def is_large(self) -> bool:
        """Whether its numbers should leave the memory."""
        return not self._spilled and self.n_rows * len(self._numbers) > LARGE

    def spill(self, folder: Path) -> None:
        """Keep the numbers as float32 in files of this folder from now on."""
        self._spilled = True
        for name, numbers in self._numbers.items():
            numbers.spill(folder / f"{self._order.index(name)}.float32")

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
