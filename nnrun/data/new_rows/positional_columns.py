"""Rows of numbers to predict: columns found by the names of the features, or by their position."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar

import numpy as np

from nnrun.data.archives.npz_archive import Archive
from nnrun.data.dataset import Array, TokenRows
from nnrun.data.files.csv_reader import CsvReader, names_by_position
from nnrun.data.files.row_reader import Numbers, RowReader, Texts
from nnrun.data.inference.number_spelling import PLAIN, in_another_spelling, is_number
from nnrun.data.new_rows.header import listed_names, places_of
from nnrun.data.new_rows.input_batches import (
    InputBatch,
    OnMessage,
    array_of,
    numbered,
    python_batches,
    rows_at_once,
)
from nnrun.data.new_rows.row_source import Kind, Unreadable, shown
from nnrun.data.table import exact_number, is_wide
from nnrun.errors import DataError, printable
from nnrun.mapped_arrays import leave_memory
from nnrun.spec.ports import INPUT_ARRAY
from nnrun.spec.wording import counted


@dataclass(frozen=True)
class PositionalDecoder:
    """Rows of numbers, all of which must be there and finite.

    Attributes:
        row_shape: (F,) numbers, or the several axes of a row of an array. Where rows are written flat, as in
            CSV, their numbers stand in the array's order, the last axis fastest.
        names: of the features, or None where the run knows none.
        on_message: called once with what is not used.
        array: what the array of the rows is called in an archive, before _train or _test.
    """

    row_shape: tuple[int, ...]
    names: tuple[str, ...] | None
    on_message: OnMessage = lambda text: None
    array: str = INPUT_ARRAY
    kind_of_lines: ClassVar[Kind] = "csv"
    missing: ClassVar[Set[str]] = frozenset()  # every number must be there

    @property
    def features(self) -> int:
        """F, the numbers of a row."""
        return math.prod(self.row_shape)

    @property
    def _row(self) -> str:
        """What the network takes, for a message."""
        if len(self.row_shape) == 1:
            return f"tables of {counted(self.features, 'column')}"
        return f"rows of shape {self.row_shape}"

    def _shaped(self, x_NF: Array) -> Array:
        """(N, F) → (N, *row_shape)."""
        return x_NF.reshape(len(x_NF), *self.row_shape)

    @property
    def numbers_per_row(self) -> int:
        """F."""
        return self.features

    def refuse_texts(self, name: str) -> None:
        """Texts are never rows of numbers."""
        raise DataError(
            f"{name} holds texts, but this network takes {self._row}. Give CSV, JSON lines or a NumPy "
            "archive."
        )

    # --- columns ---

    def of_csv(self, reader: CsvReader) -> Iterator[InputBatch]:
        """Columns by a line of names, where the first line is one; else by position."""
        header = [name.strip() for name in reader.first_row]
        if self.names is not None and any(name in self.names for name in header):
            return self.of_columns(reader.named(header, header=True))
        is_row = any(map(is_number, header))
        if not is_row:
            self._take_for_names(header, reader.name)
        names = names_by_position(self.features)
        labels = list(map(printable, self._column_names))
        reader = reader.named(names, header=not is_row, should="the network takes", labels=labels)
        return self._of_places(reader, names)

    def _take_for_names(self, header: Sequence[str], where: str) -> None:
        if self.names is not None:
            raise DataError(
                f"{where}: the first line names none of the {counted(self.features, 'column')} that the "
                f"network takes: {listed_names(self.names)}. It has: {listed_names(header)}."
            )
        if len(header) != self.features:
            raise DataError(
                f"{where} has {counted(len(header), 'column')}, but the network takes {self.features}, "
                "and the run knows no names to find them by."
            )
        self.on_message(f"{where}: the first line is read as names; columns are matched by position")

    def of_columns(self, reader: RowReader) -> Iterator[InputBatch]:
        """Columns by name where the names are known, else by position."""
        if self.names is not None:
            places_of(self.names, reader.names, reader.name, self.on_message, holder="It")
            return self._of_places(reader, self.names)
        if len(reader.names) != self.features:
            raise DataError(
                f"{reader.name} has {counted(len(reader.names), 'column')}, but the network takes "
                f"{self.features}, and the run knows no names to find them by."
            )
        self.on_message(f"{reader.name}: columns are matched by position")
        return self._of_places(reader, reader.names)

    def _of_places(self, reader: RowReader, names: Sequence[str]) -> Iterator[InputBatch]:
        """The columns with these names in the file, one for each feature."""
        for first, batch in numbered(reader, names, frozenset(), self.on_message):
            problems = dict(batch.problems)
            columns = [
                _numbers_of(batch.columns[name], printable(label), problems)
                for name, label in zip(names, self._column_names, strict=True)
            ]
            yield InputBatch.of(self._shaped(_side_by_side(columns)), first, batch.lines, problems)

    # --- values ---

    @property
    def keys(self) -> Sequence[str] | None:
        """The features' names."""
        return self.names

    def fields_of(self, value: Any, say: Callable[[str], None]) -> Sequence[float] | Unreadable:
        """The numbers of an object by its features' names, or of a list of F numbers."""
        if isinstance(value, Mapping):
            if self.names is None:
                return Unreadable(
                    f"is an object, but the run knows no feature names; give a list of {self.features} "
                    "numbers"
                )
            missing = [name for name in self.names if name not in value]
            if missing:
                return Unreadable(f"lacks {listed_names(missing)}")
            value = [value[name] for name in self.names]
        if not isinstance(value, (list, tuple)):
            return Unreadable(f"is {shown(value)}, which is neither an object nor a list of numbers")
        if any(isinstance(part, (list, tuple)) for part in value) and len(self.row_shape) > 1:
            flat = _flattened(value, self.row_shape)
            if flat is None:
                return Unreadable(f"is no list of shape {self.row_shape}, which the network takes")
            return self._checked(flat)
        return self._checked(value)

    def _checked(self, value: Sequence[Any]) -> Sequence[float] | Unreadable:
        """A row's numbers, one after the other, where all are there and finite."""
        if len(value) != self.features:
            return Unreadable(f"has {counted(len(value), 'number')}; the network takes {self.features}")
        for label, number in zip(self._column_names, value, strict=True):
            reason = _why_not_finite(number)
            if reason:
                return Unreadable(f"has {reason} in column {printable(label)}")
        return value

    def built(self, fields: Sequence[Sequence[float] | None]) -> tuple[Array, dict[int, str]]:
        """(N, *row_shape) numbers, 0 in bad rows."""
        nothing = (0.0,) * self.features
        return self._shaped(np.array([row or nothing for row in fields], np.float64)), {}

    # --- arrays ---

    def of_archive(self, archive: Archive) -> Iterator[InputBatch]:
        """The rows of the array that is there."""
        name = array_of(archive, self.array, self.on_message)
        rows = archive.read(name, map_large=self.on_message)
        return self.of_array(rows, f"{archive.path}: the array {name}")

    def of_array(self, array: Array | TokenRows, where: str) -> Iterator[InputBatch]:
        """The rows of an array of numbers, (N, *row_shape), or flat ones; for a network that takes flat rows
        anything that can be laid out so.
        """
        if isinstance(array, TokenRows):
            raise DataError(f"{where} holds token lists, but this network takes {self._row}.")
        if array.dtype.kind not in "buif":
            raise DataError(f"{where} has the type {array.dtype}; inputs are real numbers.")
        width = math.prod(array.shape[1:]) if array.ndim else 0
        flat = array.ndim == 2 or len(self.row_shape) == 1
        if width != self.features or not (flat or _long_axes(array.shape[1:]) == _long_axes(self.row_shape)):
            shape = f" of shape {self.row_shape}" if len(self.row_shape) > 1 else ""
            numbers = f" of {self.features} numbers" if len(self.row_shape) == 1 else ""
            raise DataError(f"{where} has shape {array.shape}; the network takes rows{shape}{numbers}.")
        x_NF = array.reshape(len(array), self.features)
        most = rows_at_once(self.features)
        for start in range(0, len(x_NF), most):
            part = x_NF[start : start + most]
            part = part if part.dtype.kind in "iu" else part.astype(np.float64)
            bad = np.flatnonzero(~np.isfinite(part).all(axis=1)).tolist()
            problems = {row: self._not_finite(part[row]) for row in bad}
            yield InputBatch.of(self._shaped(part), start, None, problems)
            leave_memory(x_NF[start : start + most])

    def of_python(self, inputs: Any) -> Iterator[InputBatch]:
        """An array, a data frame (columns by name where the names are known), or a list of rows."""
        where = "The table of inputs"
        if isinstance(inputs, np.ndarray):
            return self.of_array(inputs, where)
        if not hasattr(inputs, "columns"):
            values = (value.tolist() if isinstance(value, np.ndarray) else value for value in inputs)
            return python_batches(self, values, where)
        header = [str(name) for name in inputs.columns]
        columns = (
            range(len(header))
            if self.names is None
            else places_of(self.names, header, where, self.on_message, holder="It")
        )
        try:
            chosen = inputs.iloc[:, list(columns)]
            whole = all(getattr(kind, "kind", "O") == "i" for kind in chosen.dtypes)
            x_NF = chosen.to_numpy(np.int64 if whole else np.float64)
        except (ValueError, TypeError) as error:
            raise DataError(f"{where} holds what is not a number: {error}.") from None
        return self.of_array(x_NF, where)

    def _not_finite(self, row: Array) -> str:
        column = int(np.flatnonzero(~np.isfinite(row))[0])
        name = printable(self._column_names[column])
        return f"has {row[column]} in column {name}; every value must be a finite number"

    @cached_property
    def _column_names(self) -> Sequence[str]:
        """What messages call the columns."""
        if self.names is not None:
            return self.names
        places = (", ".join(map(str, place)) for place in np.ndindex(*self.row_shape))
        return [f"{place} (from 0)" for place in places]


def _long_axes(shape: Sequence[int]) -> list[int]:
    """The axes of a row that have several places: (28, 28) is (28, 28, 1) laid out alike."""
    return [size for size in shape if size != 1]


def _flattened(value: Sequence[Any], shape: tuple[int, ...]) -> list[Any] | None:
    """The numbers of nested lists of this shape, one after the other; None where they have another."""
    values: list[Any] = [value]
    for size in shape:
        if not all(isinstance(part, (list, tuple)) and len(part) == size for part in values):
            return None
        values = [item for part in values for item in part]
    return values


def _numbers_of(read: Numbers | Texts, label: str, problems: dict[int, str]) -> Array:
    """(N,) float64, or int64 where all numbers are whole. Rows that are wrong are told, and are 0 here."""
    if not isinstance(read, Texts):
        wrong = np.flatnonzero(~np.isfinite(read)).tolist()
        for row in wrong:
            problems.setdefault(row, _why_wrong("" if np.isnan(read[row]) else f"{read[row]}", label))
        return np.where(np.isfinite(read), read, 0) if wrong else read
    fields = [*(level.strip() for level in read.levels), ""]
    whys = [_why_wrong(field, label) for field in fields]
    for place, why in enumerate(whys):
        if why:
            code = place if place < len(read.levels) else -1
            for row in np.flatnonzero(read.codes == code).tolist():
                problems.setdefault(row, why)
    numbers = [0 if why else exact_number(field) for field, why in zip(fields, whys, strict=True)]
    exact = all(isinstance(number, int) and abs(number) < 2**63 for number in numbers)
    return np.asarray(np.array(numbers, np.int64 if exact else np.float64)[read.codes])


def _why_wrong(field: str, label: str) -> str:
    """What is wrong with a field; nothing where it is a finite number."""
    if not field:
        return f"has no value in column {label}"
    if not is_number(field):
        what = in_another_spelling(field, PLAIN) or "not a number"
        return f"has {shown(field)} in column {label}, which is {what}"
    if not math.isfinite(float(field)):
        return f"has {shown(field)} in column {label}; every value must be a finite number"
    return ""


def _side_by_side(columns: Sequence[Array]) -> Array:
    """(N, F) float64, or int64 where floats do not hold all of these, and all are whole."""
    if any(map(is_wide, columns)):
        with np.errstate(invalid="ignore"):
            whole = [column.astype(np.int64) for column in columns]
        if all(np.array_equal(a, b) for a, b in zip(whole, columns, strict=True)):
            return np.stack(whole, axis=1)
    return np.stack(columns, axis=1).astype(np.float64)


def _why_not_finite(value: Any) -> str | None:
    """What is wrong with a value of JSON as a number; None where it is one."""
    if value is None:
        return "null"
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        other = in_another_spelling(value, PLAIN) if isinstance(value, str) else None
        return f"{shown(value)}, which is {other or 'not a number'},"
    try:
        finite = math.isfinite(value)
    except OverflowError:
        finite = False
    return None if finite else f"{shown(value)}, which is not a finite number,"
