"""Plain rows of CSV, checked and parsed in one pass by C++ (`native/cpp/csv.cpp`): the same columns that
`csv_columns` has pandas make of them, in an eighth of the time.

Letters in names: N rows.
"""

from __future__ import annotations

import ctypes
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np

from nnrun.data.files.row_reader import Numbers, Texts
from nnrun.data.files.utf8 import BOM, count_newlines
from nnrun.native.library import NotCompiledError, is_compiled, load_library

LIBRARY: Final = "csv"
WORTH_COMPILING: Final = 32 * 2**20
"""Bytes of a file from which on the library is compiled if it is not there: pandas takes as long for them."""

_SKIPPED, _NUMBERS, _TEXTS = 0, 1, 2  # what is wanted of a column, as in csv.cpp
_WHOLE_NUMBERS, _FRACTIONS, _UNSURE, _NO_NUMBERS = 0, 1, 2, 3  # what a column of numbers is found to be
_IN_NUMBERS: Final = frozenset('0123456789+-.eE "\r\n')


class _Column(ctypes.Structure):
    _fields_ = (
        ("wanted", ctypes.c_int32),
        ("found", ctypes.c_int32),
        ("values", ctypes.c_void_p),
        ("codes", ctypes.c_void_p),
        ("starts", ctypes.c_void_p),
        ("lengths", ctypes.c_void_p),
        ("different", ctypes.c_int64),
    )


@dataclass(frozen=True, eq=False)
class PlainRows:
    """Rows that were parsed.

    Attributes:
        n_rows: N.
        size: bytes that they take.
        columns: name → values.
        unsure: columns that are not among them: pandas may see numbers in them and may not.
    """

    n_rows: int
    size: int
    columns: Mapping[str, Numbers | Texts]
    unsure: Sequence[str]


@dataclass(frozen=True, eq=False)
class NativeParser:
    """The library, and how the rows of a file are written.

    Attributes:
        library: of csv.cpp.
        width: fields of each row.
        delimiter: between them.
        missing: texts that mean a missing value.
    """

    library: Any
    width: int
    delimiter: str
    missing: Sequence[str]

    def parse(
        self, data: bytes, start: int, positions: Mapping[str, int], as_text: Set[str], most_rows: int | None
    ) -> PlainRows | None:
        """Rows; None where one of them is not plain.

        Args:
            data: whole lines of UTF-8, the last with its newline.
            start: where the first row begins.
            positions: column → its place, from 0.
            as_text: the columns to give as texts.
            most_rows: after which to stop; None for all.
        """
        if data.startswith(BOM, start):  # pandas leaves it out
            return None
        lines = count_newlines(data, start)
        most = lines if most_rows is None else min(lines, most_rows)
        texts = {name: place for name, place in positions.items() if name in as_text}
        numbers = {name: place for name, place in positions.items() if name not in as_text}
        found = self._pass(data, start, numbers, texts, most)
        if found is None:
            return None
        if found.no_numbers:  # in the first block: from then on these columns are asked for as texts
            no_numbers = {name: positions[name] for name in found.no_numbers}
            again = self._pass(data, start, {}, no_numbers, found.n_rows)
            assert again is not None, "the same rows were plain"
            found.columns.update(again.columns)
        return PlainRows(found.n_rows, found.size, found.columns, found.unsure)

    def _pass(
        self, data: bytes, start: int, numbers: Mapping[str, int], texts: Mapping[str, int], most: int
    ) -> _Pass | None:
        """One pass over rows, at most so many; None where one of them is not plain."""
        asked = (_Column * self.width)()
        # An odd number of cache lines from column to column: else all may fall into the same set of a cache.
        values = np.empty((len(numbers), (most + 7) // 8 * 8 | 8))
        for place, row in zip(numbers.values(), values, strict=True):
            asked[place].wanted, asked[place].values = _NUMBERS, row.ctypes.data
        codes = np.empty((len(texts), most), np.int32)
        levels = np.empty((len(texts), 2, most), np.uint32)  # memory that nobody touches costs nothing
        for place, own, (starts, lengths) in zip(texts.values(), codes, levels, strict=True):
            asked[place].wanted, asked[place].codes = _TEXTS, own.ctypes.data
            asked[place].starts, asked[place].lengths = starts.ctypes.data, lengths.ctypes.data
        words = [word.encode() for word in self.missing]
        bytes_ = np.frombuffer(data, np.uint8)[start:]
        n_rows = ctypes.c_int64()
        size = self.library.nnrun_csv_rows(
            ctypes.c_void_p(bytes_.ctypes.data),
            ctypes.c_int64(len(bytes_)),
            ctypes.c_char(self.delimiter.encode()),
            asked,
            ctypes.c_int64(self.width),
            b"".join(words),
            (ctypes.c_int64 * len(words))(*map(len, words)),
            ctypes.c_int64(len(words)),
            ctypes.c_int64(most),
            ctypes.byref(n_rows),
        )
        if size < 0:
            return None
        found = _Pass(n_rows.value, size)
        for (name, place), row in zip(numbers.items(), values, strict=True):
            kind, row = asked[place].found, row[: found.n_rows]
            if kind in (_UNSURE, _NO_NUMBERS):
                (found.unsure if kind == _UNSURE else found.no_numbers).append(name)
            else:
                found.columns[name] = row.astype(np.int64) if kind == _WHOLE_NUMBERS else row
        for (name, place), own, spans in zip(texts.items(), codes, levels, strict=True):
            ats, sizes = (spans[:, : asked[place].different] + np.array([[start], [0]])).tolist()
            different = [data[at : at + n].decode() for at, n in zip(ats, sizes, strict=True)]
            found.columns[name] = Texts(own[: found.n_rows], different)
        return found


@dataclass(frozen=True)
class _Pass:
    """What a pass found: rows, their bytes, and columns; which may be numbers, and which are none."""

    n_rows: int
    size: int
    columns: dict[str, Numbers | Texts] = field(default_factory=dict)
    unsure: list[str] = field(default_factory=list)
    no_numbers: list[str] = field(default_factory=list)


def native_parser(
    width: int, delimiter: str, missing: Sequence[str], size: int | None
) -> NativeParser | None:
    """The parser of a file; None where it cannot read it as pandas does, or is not compiled.

    Args:
        width, delimiter, missing: as of a `NativeParser`.
        size: bytes of the file; None of a stream. For a small one nothing is compiled.
    """
    # pandas takes a number in `missing` for all ways to write it.
    if delimiter in _IN_NUMBERS or any(map(_may_be_number, missing)):
        return None
    if (size is None or size < WORTH_COMPILING) and not is_compiled(LIBRARY):
        return None
    try:
        library = load_library(LIBRARY)
    except NotCompiledError:
        return None
    library.nnrun_csv_rows.restype = ctypes.c_int64
    return NativeParser(library, width, delimiter, missing)


def _may_be_number(text: str) -> bool:
    try:
        return not np.isnan(float(text))
    except ValueError:
        return False
