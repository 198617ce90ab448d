"""Rows of CSV, checked to be whole, as columns: parsed by pandas."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np

from nnrun.data.tables.row_reader import Numbers, Texts
from nnrun.data.tables.utf8 import is_utf8
from nnrun.data.value_names import EXACT, may_be_code, wide_whole_number


@dataclass(frozen=True)
class CsvColumns:
    """How columns are read.

    Attributes:
        width: fields of each row.
        delimiter: between them.
        missing: texts that mean a missing value.
    """

    width: int
    delimiter: str
    missing: Sequence[str]

    def read(
        self, data: bytes, positions: Mapping[str, int], as_text: frozenset[str]
    ) -> tuple[int, dict[str, Numbers | Texts]]:
        """How many rows there are, and columns of them.

        Args:
            data: whole lines of UTF-8, the header left out, each row of the right width.
            positions: column → its place, from 0.
            as_text: the columns to give as texts; others are numbers where all their values are, and where
                their fields say no more than numbers do (as 007 does, or digits that no float holds).
        """
        frame = self._parsed(
            data, sorted(positions.values()), {positions[name]: "category" for name in as_text}
        )
        # pandas makes numbers of the texts of a category where it can (007 becomes 7): those once more.
        turned = {
            positions[name] for name in as_text if not _holds_texts(frame[positions[name]].cat.categories)
        }
        numbers = {
            place
            for name, place in positions.items()
            if name not in as_text and frame[place].dtype.kind in "iuf"
        }
        doubted = (numbers & self._with_codes(data)) | {p for p in numbers if _is_rounded(frame[p])}
        if not turned and not doubted:
            return len(frame), {name: _column(frame[place]) for name, place in positions.items()}
        places = sorted(turned | doubted)
        exact = self._parsed(data, places, dict.fromkeys(places, object))
        as_written = turned | {place for place in doubted if _says_more(exact[place])}
        return len(frame), {
            name: _column(exact[place] if place in as_written else frame[place])
            for name, place in positions.items()
        }

    def _with_codes(self, data: bytes) -> set[int]:
        """The columns that may hold fields such as 007 or 5E3, and perhaps others."""
        characters = np.frombuffer(data, np.uint8)
        digit = (characters >= ord("0")) & (characters <= ord("9"))
        between = np.flatnonzero((characters[1:-1] == ord("E")) & digit[:-2] & digit[2:]) + 1
        zeros = np.flatnonzero((characters[:-1] == ord("0")) & digit[1:])
        before = characters[zeros - 1]  # of the first character the last, a newline
        opens = np.isin(before, np.frombuffer(f'{self.delimiter}\n\r " '.encode(), np.uint8)) | (zeros == 0)
        found = np.concatenate([zeros[opens], between])
        if not len(found):
            return set()
        ends = np.flatnonzero((characters == ord(self.delimiter)) | (characters == ord("\n")))
        at_line_ends = characters[ends[self.width - 1 :: self.width]] == ord("\n")
        plain = b'"' not in data and len(ends) == self.width * data.count(b"\n") and at_line_ends.all()
        if not plain:  # where a field is quoted or a line blank, counting delimiters does not tell the column
            return set(range(self.width))
        return set(np.unique(np.searchsorted(ends, found) % self.width).tolist())

    def _parsed(self, data: bytes, positions: Sequence[int], types: Mapping[int, Any]) -> Any:
        import pandas as pd

        return pd.read_csv(
            io.BytesIO(data),
            sep=self.delimiter,
            header=None,
            names=list(range(self.width)),
            usecols=list(positions),
            dtype=types,
            na_values=list(self.missing),
            keep_default_na=False,
            low_memory=False,
            **_exact_floats(),
        )

    def read_plain(
        self, data: bytes, lines: int, positions: Mapping[str, int], as_text: frozenset[str]
    ) -> dict[str, Numbers | Texts] | None:
        """The columns of lines that are a row each; None where these are not so plain.

        Plain are lines of UTF-8 without quotes, all of the right width, whose columns are finite numbers or
        asked for as texts. The rest is for Python's csv module, which can say what is wrong in which row.
        """
        if b"\r" in data:
            data = data.replace(b"\r\n", b"\n")
        if b'"' in data or b"\r" in data or b"\0" in data or not is_utf8(data):
            return None
        if not data.endswith(b"\n"):
            data += b"\n"
        if not self._one_row_a_line(data, lines):
            return None
        n_rows, columns = self.read(data, positions, as_text)
        if n_rows != lines:
            return None
        for name, values in columns.items():
            if name not in as_text and (isinstance(values, Texts) or np.isinf(values).any()):
                return None
        return columns

    def _one_row_a_line(self, data: bytes, lines: int) -> bool:
        characters = np.frombuffer(data, np.uint8)
        newline = ord("\n")
        if self.width == 1:
            return b"\n\n" not in data and not data.startswith(b"\n") and self.delimiter.encode() not in data
        ends = np.flatnonzero((characters == ord(self.delimiter)) | (characters == newline))
        if len(ends) != self.width * lines:
            return False
        return bool((characters[ends[self.width - 1 :: self.width]] == newline).all())


def _holds_texts(categories: Any) -> bool:
    return categories.dtype.kind not in "biufcmM"


def _is_rounded(series: Any) -> bool:
    """Whether floats, or integers beyond int64, may stand for digits that are no longer there."""
    if series.dtype.kind != "f":
        return bool(series.dtype.kind == "u")
    values = series.to_numpy()
    return bool((np.abs(values) >= EXACT).any())


def _says_more(series: Any) -> bool:
    """Whether fields that are numbers hold a whole number that no float holds, or what may be a code."""
    texts = [text.strip() for text in series.dropna().unique() if isinstance(text, str)]
    return any(may_be_code(text) or wide_whole_number(text) is not None for text in texts)


def _column(series: Any) -> Numbers | Texts:
    if series.dtype.kind == "i":
        return np.asarray(series.to_numpy(np.int64))
    if series.dtype.kind in "uf":
        return np.asarray(series.to_numpy(np.float64))
    values = series.astype("category").cat
    return Texts(values.codes.to_numpy(), [str(level) for level in values.categories])


@cache
def _exact_floats() -> dict[str, Any]:
    """Numbers that read back bit for bit: pandas does so by itself from 3.1 on."""
    import pandas as pd

    major, minor = (int(part) for part in pd.__version__.split(".")[:2])
    return {} if (major, minor) >= (3, 1) else {"float_precision": "round_trip"}
