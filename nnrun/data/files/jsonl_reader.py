"""JSON lines: one object a line; values are numbers, texts, true, false or null.

The columns are the keys of all lines. A line without one of them has no value, as with null.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence, Set
from pathlib import Path
from typing import Any, Final, Literal

import numpy as np

from nnrun.data.files.key_cache import cached_or_found
from nnrun.data.files.open_file import opened, shown_path, whole_lines
from nnrun.data.files.row_reader import DATA_FRAME, ColumnBatch, Numbers, Texts
from nnrun.data.files.utf8 import is_utf8, refuse_what_is_no_text
from nnrun.data.inference.number_spelling import Spellings
from nnrun.data.value_names import EXACT, text_name, written_name
from nnrun.errors import DataError, printable
from nnrun.paths import is_given_table
from nnrun.spec.schema import ColumnType
from nnrun.spec.wording import quoted

BLOCK_BYTES: Final = 8 * 2**20
MOST_KEYS: Final = 10_000
"""Of all lines together: names that are data, such as users or dates, are no columns."""


class JsonlReader:
    """A file with one JSON object a line; `.gz` is unpacked.

    Attributes:
        path: of the file.
        name, names, unit, delimiter, typed, missing, spellings, index, types: as of a `RowReader`.
    """

    typed = True
    unit: Literal["line", "row"] = "line"
    delimiter: str | None = None
    types: Mapping[str, ColumnType] = {}
    spellings = Spellings()

    def __init__(self, path: Path, missing: Sequence[str] = ()) -> None:
        """Read the keys of all objects, or have those that were kept of this file.

        Args:
            path: of the file.
            missing: texts that mean a missing value, besides null.

        Raises:
            DataError: there are none, or more than `MOST_KEYS`; or a line is no object.
        """
        self.path = path
        self.name = DATA_FRAME if is_given_table(path) else shown_path(path)
        self.missing: Sequence[str] = tuple(map(text_name, missing))
        self.index: Mapping[str, str] = {}
        self.names: tuple[str, ...] = cached_or_found(path, self._keys)

    def _keys(self) -> tuple[str, ...]:
        """The keys of all objects, in the order in which they first appear."""
        found: dict[str, None] = {}
        line = None
        for objects, _ in self._blocks_of_objects(BLOCK_BYTES):
            for line, value in objects:
                if value.keys() - found.keys():
                    for key in value:
                        _refuse_half_of_a_pair(key, f"{self._at(line)} has a key that")
                    found.update(dict.fromkeys(value))
                    self._refuse_many(line, len(found))
        if line is None:
            raise DataError(f"{self.name} is empty: it holds no rows.")
        if not found:
            raise DataError(f"{self.name} holds objects without keys, so there are no columns.")
        return tuple(found)

    def batches(self, columns: Sequence[str], as_text: Set[str]) -> Iterator[ColumnBatch]:
        """As of a `RowReader`."""
        for objects, done in self._blocks_of_objects(BLOCK_BYTES):
            if objects:
                lines = np.array([line for line, _ in objects], np.int64)
                read = {name: self._column(name, objects, name in as_text) for name in columns}
                yield ColumnBatch(len(objects), read, done, lines)

    def _blocks_of_objects(self, size: int) -> Iterator[tuple[list[tuple[int, dict[str, Any]]], float]]:
        with opened(self.path) as file:
            for data, first_line in whole_lines(file, size):
                refuse_what_is_no_text(data, first_line, shown_path(self.path))
                lines = enumerate(data.split(b"\n"), start=first_line)
                yield [(line, self._object(line, text)) for line, text in lines if text.strip()], file.done

    def _object(self, line: int, text: bytes) -> dict[str, Any]:
        where = f"{shown_path(self.path)}, line {line}"
        try:
            value = json.loads(text, object_pairs_hook=_without_twins)
        except _TwinError as error:
            raise DataError(f"{where} has the key {quoted(str(error))} twice.") from None
        except (ValueError, RecursionError) as error:
            raise DataError(
                f"{where} is not JSON: {printable(str(error))}. Each line must be one object: "
                '{"age": 3, "sex": "female"}.'
            ) from None
        if not isinstance(value, dict):
            kind = "a list" if isinstance(value, list) else "a single value"
            raise DataError(
                f'{where} holds {kind}. Each line must be one object: {{"age": 3, "sex": "female"}}.'
            )
        return value

    def _at(self, line: int) -> str:
        """`rows.jsonl, line 7`: the beginning of a message. A frame's rows, each on a line, count from 0."""
        return f"{self.name}, row {line - 1}" if self.name == DATA_FRAME else f"{self.name}, line {line}"

    def _refuse_many(self, line: int, keys: int) -> None:
        if keys > MOST_KEYS:
            raise DataError(
                f"{self._at(line)} brings the different keys of the file to more than {MOST_KEYS:,}. "
                "Each key is a column: write what differs from line to line as a value, not as a key."
            )

    def _column(
        self, name: str, objects: Sequence[tuple[int, Mapping[str, Any]]], as_text: bool
    ) -> Numbers | Texts:
        values = [value.get(name) for _, value in objects]
        for value, (line, _) in zip(values, objects, strict=True):
            if isinstance(value, (list, dict)):
                kind = "a list" if isinstance(value, list) else "an object"
                raise DataError(
                    f"{self._at(line)}, column {quoted(name)} holds {kind}. A value must be a "
                    "number, a text, true, false or null."
                )
        if self.missing:
            values = [None if isinstance(v, str) and text_name(v) in self.missing else v for v in values]
        types = set(map(type, values))
        numeric = types <= {int, float, type(None)}
        if numeric and not as_text:
            numbers = numbers_of(values)
            if numbers is not None:
                return numbers
        texts = list(map(written_name, values))
        levels = sorted({text for text in texts if text is not None})
        if not all(map(is_utf8, levels)):
            for text, (line, _) in zip(texts, objects, strict=True):
                _refuse_half_of_a_pair(text or "", f"{self._at(line)}, column {quoted(name)}")
        places = {text: place for place, text in enumerate(levels)}
        codes = np.array([-1 if text is None else places[text] for text in texts], np.int32)
        return Texts(codes, levels, numeric, not numeric and bool(types & {int, float}))


def _refuse_half_of_a_pair(text: str, where: str) -> None:
    """Raise DataError for an escape such as `\\ud83d` alone: JSON can write it, and UTF-8 cannot."""
    if not is_utf8(text):
        half = next(character for character in text if not is_utf8(character))
        raise DataError(
            f"{where} holds \\u{ord(half):04x}, half of a surrogate pair, which no text does. Write the "
            "whole character."
        )


class _TwinError(Exception):
    """A key stands twice in an object."""


def _without_twins(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) < len(pairs):
        keys = [key for key, _ in pairs]
        raise _TwinError(next(key for key in keys if keys.count(key) > 1))
    return value


def numbers_of(values: Sequence[Any]) -> Numbers | None:
    """Values of JSON as numbers, exactly as they are; None where neither floats nor integers hold them.

    Args:
        values: numbers, or None; NaN is missing, too.
    """
    types = set(map(type, values))
    if not types <= {int, float, type(None)}:
        return None
    wide = int in types and any(type(value) is int and abs(value) > EXACT for value in values)
    if types == {int} and not (wide and any(abs(value) >= 2**63 for value in values)):
        return np.array(values, np.int64)
    floats = np.array([_finite_float(value) for value in values], np.float64)
    return None if wide and not np.isinf(floats).any() else floats


def _finite_float(value: float | None) -> float:
    """NaN is missing. What no float can hold is infinite."""
    try:
        return math.nan if value is None else float(value)
    except OverflowError:
        return math.inf
