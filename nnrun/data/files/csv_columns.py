"""Rows of CSV, checked to be whole, as columns: parsed by pandas."""

from __future__ import annotations

import io
import re
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np

from nnrun.data.files.row_reader import Numbers, Texts
from nnrun.data.value_names import EXACT, may_be_code, wide_whole_number

_NUMBER = re.compile(r"\s*[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?\s*")


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
        self, data: bytes, positions: Mapping[str, int], as_text: Set[str]
    ) -> dict[str, Numbers | Texts]:
        """Columns of rows.

        Args:
            data: whole lines of UTF-8, the header left out, each row of the right width.
            positions: column → its place, from 0.
            as_text: the columns to give as texts; others are numbers where all their values are, and where
                their fields say no more than numbers do (as 007 does, or digits that no float holds).
        """
        frame = self._parsed(
            data, sorted(positions.values()), {positions[name]: "category" for name in as_text}
        )
        turned = {place for place in positions.values() if not _is_as_written(frame[place])}
        numbers = {
            place
            for name, place in positions.items()
            if name not in as_text and frame[place].dtype.kind in "iuf"
        }
        doubted = (numbers & self._with_codes(data)) | {p for p in numbers if _is_rounded(frame[p])}
        if not turned and not doubted:
            return {name: _column(frame[place]) for name, place in positions.items()}
        places = sorted(turned | doubted)
        exact = self._parsed(data, places, dict.fromkeys(places, object))
        as_written = turned | {place for place in doubted if _says_more(exact[place])}
        return {
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

        table = pd.read_csv(
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
        if _pandas_version() < (3, 0):
            for position in set(positions) - set(types):
                if _is_of_numbers(table[position]):
                    table[position] = table[position].astype(float)
        return table


def _is_as_written(series: Any) -> bool:
    """Whether texts are the fields of the file, or all fields are numbers.

    pandas makes truth values of `true`, and numbers of the texts of a category where it can (007 becomes 7).
    """
    if hasattr(series, "cat"):
        return all(isinstance(level, str) for level in series.cat.categories)
    if series.dtype.kind in "iuf":
        return True
    first = series.first_valid_index()
    return first is None or not isinstance(series[first], (bool, np.bool_))


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
    return {} if _pandas_version() >= (3, 1) else {"float_precision": "round_trip"}


def _is_of_numbers(series: Any) -> bool:
    """Whether texts are all numbers: pandas 2 leaves a column as texts where one is beyond 64 bits."""
    if series.dtype != object:
        return False
    texts = series.dropna()
    return bool(len(texts) and all(isinstance(t, str) and _NUMBER.fullmatch(t) for t in texts))


def _pandas_version() -> tuple[int, int]:
    import pandas as pd

    major, minor = pd.__version__.split(".")[:2]
    return int(major), int(minor)
