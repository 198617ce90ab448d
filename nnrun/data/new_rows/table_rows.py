"""Rows of numbers to predict: columns found by the names of the features, or by their position."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any

import numpy as np

from nnrun.data.archives.npz_archive import Archive
from nnrun.data.dataset import Array, TokenRows
from nnrun.data.inference.number_spelling import PLAIN, in_another_spelling
from nnrun.data.new_rows.header import listed_names, places_of, say_unused
from nnrun.data.new_rows.row_blocks import BadRow, Block, OnMessage, Together, array_of, collect, rows_at_once
from nnrun.data.new_rows.row_source import Lines, RawRow, RowSource, Unreadable, one_by_one, put_back, shown
from nnrun.data.table import exact_number
from nnrun.data.tables.column_builder import is_wide
from nnrun.data.tables.csv_columns import CsvColumns
from nnrun.data.tables.row_reader import RowReader, Texts
from nnrun.data.value_names import EXACT
from nnrun.errors import DataError, printable
from nnrun.spec.wording import counted, quoted

Parsed = tuple[int | None, "list[float] | Unreadable"]


@dataclass(frozen=True)
class TableCodec:
    """Rows of a table.

    Attributes:
        features: F, the numbers of a row.
        names: of the features, or None where the run knows none.
        on_message: called once with what is not used.
    """

    features: int
    names: tuple[str, ...] | None
    on_message: OnMessage = lambda text: None

    @property
    def numbers_per_row(self) -> int:
        """F."""
        return self.features

    def parse(self, source: RowSource, raw: Iterator[RawRow | Lines]) -> Iterator[Parsed | Together]:
        """The numbers of each row, in the order of the features.

        Raises:
            DataError: a first line of names lacks a feature, or the file holds plain text.
        """
        if source.kind in ("txt", "folder"):
            raise DataError(
                f"{source.name} holds texts, but this network takes tables of "
                f"{counted(self.features, 'column')}. Give CSV, JSON lines or a NumPy archive."
            )
        if source.kind == "jsonl":
            return self.of_json(one_by_one(raw), source.name)
        return self._of_csv(raw, source.name)

    def build(self, values: Sequence[list[float]]) -> tuple[Array, dict[int, str]]:
        """(N, F) float64, or int64 where floats do not hold them all; none is bad."""
        flat = np.fromiter(chain.from_iterable(values), np.float64, len(values) * self.features)
        if (np.abs(flat) > EXACT).any():
            numbers = list(chain.from_iterable(values))
            if all(number == int(number) and abs(number) < 2**63 for number in numbers):
                return np.array(numbers, np.int64).reshape(len(values), self.features), {}
        return flat.reshape(len(values), self.features), {}

    # --- CSV ---

    def _of_csv(self, raw: Iterator[RawRow | Lines], where: str) -> Iterator[Parsed | Together]:
        first = next(raw, None)
        if first is None:
            return
        assert isinstance(first, RawRow), "the first row comes alone"
        if isinstance(first.value, Unreadable):
            raise DataError(f"{where}: the first line {first.value.reason}.")
        header = [name.strip() for name in first.value]
        named = self.names is not None and any(name in self.names for name in header)
        if named:
            assert self.names is not None, "named by them"
            columns = places_of(self.names, header, where, self.on_message, holder="It")
            width = len(header)
        else:
            columns, width = list(range(self.features)), self.features
            if any(_is_number(field) for field in header):
                raw = put_back(first, raw)
            else:
                self._take_for_names(header, where)
        labels = self._column_names()
        for item in raw:
            if isinstance(item, Lines):
                x_NF = self._together(item, columns, width)
                if x_NF is not None:
                    yield Together(range(item.first, item.first + len(item)), x_NF)
                    continue
            for line, fields in one_by_one([item]):
                yield line, self._numbers(fields, columns, labels, width, named)

    def _together(self, item: Lines, columns: Sequence[int], width: int) -> Array | None:
        """(N, F) numbers of lines that are plain and hold nothing else."""
        places = {str(feature): column for feature, column in enumerate(columns)}
        parser = CsvColumns(width, item.delimiter, ())
        read = parser.read_plain(b"".join(item.lines), len(item), places, frozenset())
        if read is None:
            return None
        read_columns = [np.asarray(read[name]) for name in places]
        x_NF = np.stack(read_columns, axis=1)
        if x_NF.dtype.kind == "f" and any(map(is_wide, read_columns)):
            return None
        if not is_wide(x_NF):
            x_NF = x_NF.astype(np.float64)
        return x_NF if np.isfinite(x_NF).all() else None

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

    def _numbers(
        self, fields: Any, columns: Sequence[int], labels: Sequence[str], width: int, named: bool
    ) -> list[float] | Unreadable:
        if isinstance(fields, Unreadable):
            return fields
        if len(fields) != width:
            needed = "its first line has" if named else "the network takes"
            return Unreadable(f"has {counted(len(fields), 'field')}; {needed} {width}")
        try:
            numbers = [float(fields[column]) for column in columns]
            if any(abs(number) > EXACT for number in numbers):
                numbers = [exact_number(fields[column].strip()) for column in columns]
        except ValueError:
            return _first_wrong(fields, columns, labels)
        # Python reads 1_000 as a number.
        if "_" in "".join(fields) or not all(_why_not_finite(number) is None for number in numbers):
            return _first_wrong(fields, columns, labels, numbers)
        return numbers

    # --- JSON ---

    def of_json(self, raw: Iterator[RawRow], where: str) -> Iterator[Parsed]:
        """Objects from feature names to numbers, or lists of F numbers."""
        told = False
        for row in raw:
            value = row.value
            if isinstance(value, Mapping) and self.names is not None and not told:
                unused = [str(name) for name in value if name not in self.names]
                told = bool(unused)
                say_unused(unused, where, self.on_message)
            yield row.line, self._of_value(value)

    def _of_value(self, value: Any) -> list[float] | Unreadable:
        if isinstance(value, Unreadable):
            return value
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
        if len(value) != self.features:
            return Unreadable(f"has {counted(len(value), 'number')}; the network takes {self.features}")
        labels = self._column_names()
        for label, number in zip(labels, value, strict=True):
            reason = _why_not_finite(number)
            if reason:
                return Unreadable(f"has {reason} in column {printable(label)}")
        return [float(number) for number in value]

    # --- Parquet ---

    def of_columns(self, reader: RowReader) -> Iterator[Block]:
        """Columns by name where the names are known, else by position."""
        if self.names is not None:
            places = places_of(self.names, reader.names, reader.name, self.on_message, holder="It")
        elif len(reader.names) != self.features:
            raise DataError(
                f"{reader.name} has {counted(len(reader.names), 'column')}, but the network takes "
                f"{self.features}, and the run knows no names to find them by."
            )
        else:
            places = list(range(self.features))
            self.on_message(f"{reader.name}: columns are matched by position")
        chosen = [reader.names[place] for place in places]
        first = 0
        for block in reader.blocks(chosen, frozenset()):
            columns = []
            for name in chosen:
                values = block.columns[name]
                if isinstance(values, Texts):
                    raise DataError(
                        f"{reader.name}: column {quoted(name)} has values that are not numbers; the "
                        "network takes numbers."
                    )
                columns.append(values)
            yield from self._of_part(np.stack(columns, axis=1), first)
            first += block.n_rows

    # --- arrays ---

    def of_archive(self, archive: Archive) -> Iterator[Block]:
        """The rows of the array that is there."""
        name = array_of(archive, self.on_message)
        array = archive.read(name)
        where = f"{archive.path}: the array {name}"
        if isinstance(array, TokenRows):
            raise DataError(
                f"{where} holds token lists, but this network takes tables of "
                f"{counted(self.features, 'column')}."
            )
        return self.of_array(array, where)

    def of_array(self, array: Array, where: str) -> Iterator[Block]:
        """The rows of an array of numbers, (N, F) or anything that can be laid out so."""
        if array.dtype.kind not in "buif":
            raise DataError(f"{where} has the type {array.dtype}; inputs are real numbers.")
        width = math.prod(array.shape[1:]) if array.ndim else 0
        if width != self.features:
            raise DataError(
                f"{where} has shape {array.shape}; the network takes rows of {self.features} numbers."
            )
        x_NF = array.reshape(len(array), self.features)
        most = rows_at_once(self.features)
        for start in range(0, len(x_NF), most):
            part = x_NF[start : start + most]
            yield from self._of_part(part if part.dtype.kind in "iu" else part.astype(np.float64), start)

    def _of_part(self, part: Array, start: int) -> Iterator[Block]:
        """Rows of numbers, of which the first has the number `start`."""
        finite = np.isfinite(part).all(axis=1)
        bad = [BadRow(start + int(i), None, self._not_finite(part[i])) for i in np.flatnonzero(~finite)]
        rows = (start + np.flatnonzero(finite)).tolist()
        yield Block(rows, [None] * len(rows), part[finite], bad)

    def of_python(self, inputs: Any) -> Iterator[Block]:
        """An array, a data frame (columns by name where the names are known), or a list of rows."""
        where = "The table of inputs"
        if isinstance(inputs, np.ndarray):
            return self.of_array(inputs, where)
        if not hasattr(inputs, "columns"):
            rows = (RawRow(None, v.tolist() if isinstance(v, np.ndarray) else v) for v in inputs)
            return collect(self.of_json(rows, where), self)
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
        name = printable(self._column_names()[column])
        return f"has {row[column]} in column {name}; every value must be a finite number"

    def _column_names(self) -> Sequence[str]:
        """What messages call the columns."""
        return self.names or [f"{column} (from 0)" for column in range(self.features)]


def _is_number(field: str) -> bool:
    try:
        float(field)
    except ValueError:
        return False
    return True


def _first_wrong(
    fields: Sequence[str], columns: Sequence[int], labels: Sequence[str], numbers: list[float] | None = None
) -> list[float] | Unreadable:
    """What is wrong with a row of fields, or its numbers where there is nothing."""
    for column, label in zip(columns, labels, strict=True):
        field = fields[column]
        place = f"in column {printable(label)}"
        if not field.strip():
            return Unreadable(f"has no value {place}")
        if "_" in field or not _is_number(field):
            what = in_another_spelling(field, PLAIN) or "not a number"
            return Unreadable(f"has {shown(field)} {place}, which is {what}")
        if not math.isfinite(float(field)):
            return Unreadable(f"has {shown(field.strip())} {place}; every value must be a finite number")
    assert numbers is not None, "some field was no number"
    return numbers


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
