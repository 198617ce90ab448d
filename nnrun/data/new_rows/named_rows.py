"""Rows of named columns to predict: found by the names that the columns had in training."""

from __future__ import annotations

import datetime
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from nnrun.data.archives.npz_archive import Archive
from nnrun.data.inference.number_spelling import PLAIN, Spelling, Spellings, in_another_spelling
from nnrun.data.new_rows.header import listed_names, places_of, say_unused
from nnrun.data.new_rows.row_blocks import BadRow, Block, OnMessage, Together, collect
from nnrun.data.new_rows.row_source import Lines, RawRow, RowSource, Unreadable, one_by_one, put_back, shown
from nnrun.data.preprocess import FittedColumn, FittedTable
from nnrun.data.table import CategoryColumn, Column, NumberColumn, Table, TextColumn, number_column
from nnrun.data.tables.csv_columns import CsvColumns
from nnrun.data.tables.csv_reader import MISSING, named_columns
from nnrun.data.tables.row_reader import Numbers, RowReader, Texts
from nnrun.data.tables.utf8 import is_utf8
from nnrun.data.value_names import (
    EXACT,
    TRUTH,
    in_digits,
    in_order,
    number_name,
    text_name,
    truth_name,
    value_name,
    wide_whole_number,
)
from nnrun.errors import DataError
from nnrun.spec import schema
from nnrun.spec.wording import counted, quoted

Fields = Sequence[Any]
"""The fields of a row as its file has them, in the order of the columns; None where one is missing."""
Parsed = tuple[int | None, "Fields | Unreadable"]


def missing_texts(declared: schema.Component) -> frozenset[str]:
    """The fields of CSV that mean a missing value, as the run's data set has it."""
    own = declared.missing if isinstance(declared, schema.Csv) else None
    return frozenset(MISSING if own is None else ["", *map(text_name, own)])


@dataclass(frozen=True)
class NamedColumn:
    """A column that the network takes.

    Attributes:
        name, kind: as in training.
        truth: whether its values are True and False, which files write in many ways.
        spelling: how its numbers are written where they are texts.
    """

    name: str
    kind: str
    truth: bool
    spelling: Spelling = PLAIN

    @classmethod
    def of(cls, fitted: FittedColumn, spelling: Spelling = PLAIN) -> NamedColumn:
        """The column that these steps take."""
        levels = {level for step in fitted.steps for level in step.known_levels}
        truth = bool(levels) and levels <= set(TRUTH)
        return cls(fitted.name, fitted.kind, truth, spelling)

    def value(self, field: Any) -> Any:
        """A field of a file as a value, or what is wrong with it."""
        if field is None or (isinstance(field, float) and math.isnan(field)):
            return None
        if self.kind == "number":
            return self._number(field)
        if isinstance(field, str) and not is_utf8(field):
            return Unreadable(f"is not UTF-8 in column {quoted(self.name)}")
        if isinstance(field, (datetime.date, np.datetime64)):
            field = str(field)
        try:
            name = value_name(field)
        except TypeError:
            return Unreadable(f"has {shown(field)} in column {quoted(self.name)}, which is not text")
        return truth_name(name) if self.truth and name is not None else name

    def column(self, fields: Sequence[Any], problems: dict[int, str]) -> Column:
        """A column of fields. Rows that are wrong are told to `problems`, and stand as missing values."""
        types = set(map(type, fields))
        if self.kind == "number" and (self.spelling.plain or str not in types):
            numbers = _numbers(fields, types)
            if numbers is not None:
                return number_column(self.name, numbers, _exact(fields, numbers))
        if types <= {str, type(None)}:
            of_field = {field: self.value(field) for field in dict.fromkeys(fields)}
            values = [of_field[field] for field in fields]
        else:  # 1, 1.0 and True are equal, and each has a text of its own
            values = [self.value(field) for field in fields]
        for row, value in enumerate(values):
            if isinstance(value, Unreadable):
                problems.setdefault(row, value.reason)
                values[row] = None
        return _column(self, values)

    def of_read(self, read: Numbers | Texts, problems: dict[int, str], missing: frozenset[str]) -> Column:
        """A column as the readers of files give it. Rows that are wrong are told to `problems`."""
        if not isinstance(read, Texts):
            assert self.kind == "number", "the others are asked for as texts"
            infinite = np.isinf(read)
            if not infinite.any():
                return number_column(self.name, read)
            for row in np.flatnonzero(infinite):
                problems.setdefault(int(row), self._number(float(read[row])).reason)
            return NumberColumn(self.name, np.where(infinite, np.nan, read))
        of_level: list[Any] = []
        for level in read.levels:
            text = text_name(level)
            of_level.append(None if text in missing else self.value(text))
        for place, value in enumerate(of_level):
            if isinstance(value, Unreadable):
                for row in np.flatnonzero(read.codes == place):
                    problems.setdefault(int(row), value.reason)
                of_level[place] = None
        if self.kind in ("category", "date"):
            levels = in_order({value for value in of_level if value is not None})
            place_of = {level: place for place, level in enumerate(levels)}
            codes = np.array([*(place_of.get(value, -1) for value in of_level), -1], np.int32)
            return CategoryColumn(self.name, codes[read.codes], tuple(levels), self.kind == "date")
        values = np.empty(len(of_level) + 1, object)
        values[:] = [*of_level, None]
        if self.kind == "text":
            return TextColumn(self.name, values[read.codes])
        numbers = values.astype(np.float64)[read.codes]
        return number_column(self.name, numbers, [None if c < 0 else read.levels[c] for c in read.codes])

    def _number(self, field: Any) -> Any:
        try:
            number = self.spelling.number(field) if isinstance(field, str) else float(field)
        except (TypeError, ValueError, OverflowError):
            number = math.nan
        if isinstance(field, (bool, list, dict)) or not math.isfinite(number):
            other = in_another_spelling(field, self.spelling) if isinstance(field, str) else None
            what = other or "not a finite number"
            return Unreadable(f"has {shown(field)} in column {quoted(self.name)}, which is {what}")
        whole = wide_whole_number(field.strip()) if isinstance(field, str) else None
        return number if whole is None and not isinstance(field, (int, np.integer)) else int(field)


@dataclass(frozen=True)
class NamedCodec:
    """Rows of a table whose columns have names. Columns that the network does not take are left out.

    Attributes:
        columns: that the network takes.
        missing: fields of CSV that mean a missing value.
        on_message: called once with what is not used.
        own_missing: texts that mean a missing value wherever they stand, since the run's spec says so.
        file_columns: all columns of a training file without a header; None where it has one.
        targets: those of them that the network predicts: new rows may lack them.
    """

    columns: tuple[NamedColumn, ...]
    missing: frozenset[str]
    on_message: OnMessage = lambda text: None
    own_missing: frozenset[str] = frozenset()
    file_columns: tuple[str, ...] | None = None
    targets: frozenset[str] = frozenset()

    @classmethod
    def of(cls, table: FittedTable, missing: frozenset[str], on_message: OnMessage) -> NamedCodec:
        """For networks with this preprocessing."""
        return cls(tuple(map(NamedColumn.of, table.columns)), missing, on_message)

    @classmethod
    def of_run(
        cls,
        table: FittedTable,
        declared: schema.Component,
        file_columns: tuple[str, ...] | None,
        on_message: OnMessage,
    ) -> NamedCodec:
        """For networks with this preprocessing, trained on this data set.

        Args:
            table: the preprocessing.
            declared: the data set.
            file_columns: all columns of its file, where that has no header.
            on_message: called once with what is not used.
        """
        spellings = Spellings.of(declared)
        own = declared.missing if isinstance(declared, (schema.Csv, schema.Jsonl)) else None
        return cls(
            tuple(NamedColumn.of(column, spellings[column.name]) for column in table.columns),
            missing_texts(declared),
            on_message,
            frozenset(own or ()),
            file_columns,
            frozenset(declared.target) if isinstance(declared, schema.RowFile) else frozenset(),
        )

    @property
    def numbers_per_row(self) -> int:
        """The columns."""
        return len(self.columns)

    @property
    def takes_lines(self) -> bool:
        """Whether a line of plain text is a row: the only column is a text."""
        return len(self.columns) == 1 and self.columns[0].kind == "text"

    @cached_property
    def names(self) -> list[str]:
        """The columns' names."""
        return [column.name for column in self.columns]

    def parse(self, source: RowSource, raw: Iterator[RawRow | Lines]) -> Iterator[Parsed | Together]:
        """The values of each row.

        Raises:
            DataError: the first line lacks a column, or the file holds plain text and the network takes more.
        """
        if source.kind in ("txt", "folder"):
            if not self.takes_lines:
                raise DataError(
                    f"{source.name} holds plain text, but this network takes {self._needed()}. Give CSV, "
                    "JSON lines or Parquet."
                )
            return (
                (line, value if isinstance(value, Unreadable) else [value]) for line, value in one_by_one(raw)
            )
        if source.kind == "jsonl":
            return self._of_json(one_by_one(raw), source.name)
        return self._of_csv(raw, source.name)

    def build(self, values: Sequence[Fields]) -> tuple[Table, dict[int, str]]:
        """The rows as a table, and those that are bad."""
        problems: dict[int, str] = {}
        by_column = zip(*values, strict=True) if values else ((),) * len(self.columns)
        columns = [
            column.column(fields, problems) for column, fields in zip(self.columns, by_column, strict=True)
        ]
        table = Table(tuple(columns), len(values))
        return (
            (table.take([row for row in range(len(values)) if row not in problems]), problems)
            if problems
            else (table, problems)
        )

    def _of_csv(self, raw: Iterator[RawRow | Lines], where: str) -> Iterator[Parsed | Together]:
        first = next(raw, None)
        if first is None:
            return
        assert isinstance(first, RawRow), "the first row comes alone"
        if isinstance(first.value, Unreadable):
            raise DataError(f"{where}: the first line {first.value.reason}.")
        if self.file_columns is None:
            header = list(named_columns(first.value))
        else:
            header = self._names_of_places(len(first.value), where)
            raw = put_back(first, raw)
        places = places_of(self.names, header, where, self.on_message, holder="Its first line")
        width, missing = len(header), self.missing | self._missing_spellings
        for item in raw:
            if isinstance(item, Lines):
                table = self._together(item, places, width)
                if table is not None:
                    yield Together(range(item.first, item.first + len(item)), table)
                    continue
            for line, fields in one_by_one([item]):
                if isinstance(fields, Unreadable):
                    yield line, fields
                elif len(fields) != width:
                    counts = f"has {counted(len(fields), 'field')}; its first line has {width}"
                    yield line, Unreadable(counts)
                else:
                    chosen = [fields[place] for place in places]
                    gaps = [None if field.strip() in missing else field for field in chosen]
                    yield line, self._without_missing_numbers(gaps) if self._missing_numbers else gaps

    def _names_of_places(self, width: int, where: str) -> list[str]:
        """The names of the columns of a file without a header, with or without the targets."""
        assert self.file_columns is not None, "the training file has no header"
        inputs = [name for name in self.file_columns if name not in self.targets]
        for names in (list(self.file_columns), inputs):
            if len(names) == width:
                return names
        raise DataError(
            f"{where} has {counted(width, 'column')}. The run was trained on a file without a header "
            f"(`header: false`) of {len(self.file_columns)}, so rows must have as many, or {len(inputs)} "
            "without the target. A file with a header cannot be read by this run."
        )

    @cached_property
    def _missing_numbers(self) -> frozenset[float]:
        """Numbers that mean a missing value however written, as pandas has it: -99.0 as well as -99."""
        return frozenset(number for text in self.missing if not math.isnan(number := _float(text)))

    @cached_property
    def _missing_spellings(self) -> frozenset[str]:
        """What pandas takes for missing too where that is a whole number: -99.0 beside -99."""
        whole = [int(n) for n in self._missing_numbers if math.isfinite(n) and n == int(n)]
        return frozenset(text for number in whole for text in (str(number), f"{number}.0"))

    def _without_missing_numbers(self, fields: Sequence[str | None]) -> Fields:
        return [
            None
            if field is not None and column.kind == "number" and _float(field) in self._missing_numbers
            else field
            for column, field in zip(self.columns, fields, strict=True)
        ]

    def _together(self, item: Lines, places: Sequence[int], width: int) -> Table | None:
        """The table of lines that are plain and hold nothing that is wrong."""
        parser = CsvColumns(width, item.delimiter, sorted(self.missing))
        data = b"".join(item.lines)
        if "nan" not in self.missing and b"nan" in data.lower():
            return None  # some of what pandas takes for missing is a text here
        positions = dict(zip(self.names, places, strict=True))
        read = parser.read_plain(data, len(item), positions, self._as_text)
        if read is None:
            return None
        problems: dict[int, str] = {}
        columns = [column.of_read(read[column.name], problems, self.missing) for column in self.columns]
        return None if problems else Table(tuple(columns), len(item))

    @cached_property
    def _as_text(self) -> frozenset[str]:
        """Columns that pandas is asked to give as texts: of numbers in a spelling of their own, too."""
        return frozenset(c.name for c in self.columns if c.kind != "number" or not c.spelling.plain)

    def _of_json(self, raw: Iterator[RawRow], where: str) -> Iterator[Parsed]:
        told = told_lacking = False
        for number, row in enumerate(raw):
            value = row.value
            if isinstance(value, Mapping) and not told:
                unused = [str(name) for name in value if name not in self.names]
                told = bool(unused)
                say_unused(unused, where, self.on_message)
            if isinstance(value, Mapping) and not told_lacking and (lacking := self._lacking(value)):
                told_lacking = True
                place = f"row {number}" if row.line is None else f"line {row.line}"
                self.on_message(
                    f"{where}: {place} lacks {listed_names(lacking)}; a missing key counts as a missing value"
                )
            yield row.line, self._of_value(value)

    def _lacking(self, value: Mapping[Any, Any]) -> list[str]:
        return [name for name in self.names if name not in value]

    def _of_value(self, value: Any) -> Fields | Unreadable:
        """The values of an object; of a text, where the only column is one."""
        if isinstance(value, Unreadable):
            return value
        if isinstance(value, str) and self.takes_lines:
            return [value]
        if not isinstance(value, Mapping):
            return Unreadable(f"is {shown(value)}, which is not an object with the columns' names")
        names = self.names
        if not any(name in value for name in names):
            lacking = self._lacking(value)
            return Unreadable(f"has none of the columns that the network takes: {listed_names(lacking)}")
        return [self._unless_missing(value.get(name)) for name in names]

    def _unless_missing(self, value: Any) -> Any:
        return None if isinstance(value, str) and value.strip() in self.own_missing else value

    def of_columns(self, reader: RowReader) -> Iterator[Block]:
        """Columns by name. A value is missing where the file says so, or the run's spec of its text."""
        places_of(self.names, reader.names, reader.name, self.on_message, holder="It")
        first = 0
        for block in reader.blocks(self.names, self._as_text):
            problems: dict[int, str] = {}
            columns = [c.of_read(block.columns[c.name], problems, self.own_missing) for c in self.columns]
            table = Table(tuple(columns), block.n_rows)
            good = [row for row in range(block.n_rows) if row not in problems] if problems else None
            rows = range(block.n_rows) if good is None else good
            yield Block(
                [first + row for row in rows],
                [None] * len(rows),
                table if good is None else table.take(good),
                [BadRow(first + row, None, problems[row]) for row in sorted(problems)],
            )
            first += block.n_rows

    def of_archive(self, archive: Archive) -> Iterator[Block]:
        """An archive has no named columns."""
        raise DataError(
            f"{archive.path} holds arrays, but this network takes {self._needed()}. Give CSV, JSON lines or "
            "Parquet."
        )

    def of_python(self, inputs: Any) -> Iterator[Block]:
        """A data frame, or a list of dicts; of texts, where the only column is a text."""
        where = "The table of inputs"
        if isinstance(inputs, np.ndarray):
            raise DataError(f"{where} is an array, but this network takes {self._needed()}.")
        if hasattr(inputs, "columns"):
            places_of(
                self.names,
                [str(name) for name in inputs.columns],
                where,
                self.on_message,
                holder="Its first line",
            )
            columns = [_plain(inputs[name]) for name in self.names]
            rows = (
                RawRow(None, dict(zip(self.names, row, strict=True))) for row in zip(*columns, strict=True)
            )
            return collect(self._of_json(rows, where), self)
        return collect(self._of_json((RawRow(None, value) for value in inputs), where), self)

    def _needed(self) -> str:
        return f"{counted(len(self.columns), 'named column')}: {listed_names(self.names)}"


def _plain(series: Any) -> list[Any]:
    """The values of a column of a data frame, None where one is missing."""
    missing = series.isna().to_numpy()
    return [None if gap else value for value, gap in zip(series.tolist(), missing, strict=True)]


def _exact(fields: Sequence[Any], numbers: npt.NDArray[np.float64]) -> list[str | None] | None:
    """The digits of each field where some whole number is beyond what floats hold; else None."""
    if not (np.abs(numbers) >= EXACT).any():  # NaN is none
        return None
    return [
        None
        if math.isnan(number)
        else in_digits(field.strip(), number)
        if isinstance(field, str)
        else number_name(field)
        for field, number in zip(fields, numbers, strict=True)
    ]


def _numbers(fields: Sequence[Any], types: set[type]) -> npt.NDArray[np.float64] | None:
    """The finite numbers of a column of texts (of CSV) or of numbers (of JSON); None where some are none."""
    if types <= {str, type(None)}:
        known = [field for field in fields if field is not None]
        if "_" in "".join(known):  # Python takes 1_000 for a number
            return None
    elif types <= {int, float, type(None)}:
        known = [field for field in fields if field is not None and field == field]
    else:
        return None
    try:
        values = np.fromiter(map(float, known), np.float64, len(known))
    except (ValueError, OverflowError):
        return None
    if not np.isfinite(values).all():
        return None
    if len(known) == len(fields):
        return values
    numbers = np.full(len(fields), np.nan)
    numbers[[field is not None and field == field for field in fields]] = values
    return numbers


def _float(text: str) -> float:
    """The number that a text is, also an infinite one; NaN where it is none."""
    try:
        return math.nan if "_" in text else float(text)
    except ValueError:
        return math.nan


def _column(column: NamedColumn, values: Sequence[Any]) -> Column:
    if column.kind == "number":
        numbers = np.array([math.nan if value is None else value for value in values], np.float64)
        return number_column(column.name, numbers, _exact(values, numbers))
    if column.kind == "text":
        texts = np.empty(len(values), object)
        texts[:] = values
        return TextColumn(column.name, texts)
    levels = in_order({value for value in values if value is not None})
    place = {level: i for i, level in enumerate(levels)}
    codes = np.array([-1 if value is None else place[value] for value in values], np.int32)
    return CategoryColumn(column.name, codes, tuple(levels), column.kind == "date")
