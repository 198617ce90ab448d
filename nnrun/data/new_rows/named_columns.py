"""Rows of named columns to predict: found by the names that the columns had in training."""

from __future__ import annotations

import datetime
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from nnrun.data.archives.npz_archive import Archive
from nnrun.data.files.csv_reader import MISSING, CsvReader
from nnrun.data.files.jsonl_reader import numbers_of
from nnrun.data.files.row_reader import Numbers, RowReader, Texts
from nnrun.data.files.utf8 import is_utf8
from nnrun.data.frames import as_frame, cells
from nnrun.data.inference.number_spelling import PLAIN, Spelling, Spellings, in_another_spelling
from nnrun.data.new_rows.header import listed_names, places_of
from nnrun.data.new_rows.input_batches import InputBatch, OnMessage, numbered, python_batches, rows_at_once
from nnrun.data.new_rows.row_source import Kind, Unreadable, shown
from nnrun.data.preprocess import FittedColumn, FittedTable
from nnrun.data.table import Column, NumberColumn, Table, TextColumn, category_column, number_column
from nnrun.data.value_names import (
    EXACT,
    TRUTH,
    number_name,
    number_of,
    text_name,
    truth_name,
    value_name,
    wide_whole_number,
)
from nnrun.errors import DataError
from nnrun.spec import schema
from nnrun.spec.ports import Port
from nnrun.spec.wording import counted, listing, quoted


def missing_texts(declared: schema.Component) -> frozenset[str]:
    """The fields of CSV that mean a missing value, as the run's data set has it."""
    own = declared.missing if isinstance(declared, schema.Csv) else None
    return frozenset(MISSING if own is None else ["", *map(text_name, own)])


def missing_strings(declared: schema.Component) -> frozenset[str]:
    """The strings that mean a missing value, where rows have no other way to say it.

    Of a CSV what its fields say. Data whose values have types may hold the text NA; only an empty one, which
    stands for what is missing there, and those that the spec names are missing values.
    """
    if isinstance(declared, schema.Csv):
        return missing_texts(declared)
    own = declared.missing if isinstance(declared, schema.Jsonl) else None
    return frozenset(["", *map(text_name, own or ())])


@dataclass(frozen=True)
class NamedColumn:
    """A column that the network takes.

    Attributes:
        name, kind: as in training.
        truth: whether its values are True and False, which files write in many ways.
        spelling: how its numbers are written where they are texts.
        inputs: the inputs that take it, where messages are to name them.
    """

    name: str
    kind: str
    truth: bool
    spelling: Spelling = PLAIN
    inputs: tuple[Port, ...] = ()
    no_gaps: frozenset[str] = frozenset()

    @classmethod
    def of(
        cls, fitted: Sequence[FittedColumn], spelling: Spelling = PLAIN, inputs: Sequence[Port] = ()
    ) -> NamedColumn:
        """The column that these steps take: of each input that takes it."""
        first = fitted[0]
        of_values = [step for each in fitted for step in each.steps if step.form == "category"]
        levels = {level for step in of_values for level in step.known_levels}
        truth = bool(levels) and levels <= set(TRUTH)
        rare = {level for step in of_values for level in getattr(step, "rare", ())}
        filled = {level for step in of_values if step.fills_gaps for level in step.known_levels}
        no_gaps = frozenset((levels | rare) - filled) & frozenset(MISSING) - {""}
        return cls(first.name, first.kind, truth, spelling, tuple(inputs), no_gaps)

    @property
    def of_inputs(self) -> str:
        """Which named inputs take it, in parentheses; nothing where inputs have no names."""
        if not self.inputs:
            return ""
        return f" (input{'s' if len(self.inputs) > 1 else ''} {listing(map(quoted, self.inputs), 'and')})"

    @property
    def _place(self) -> str:
        """Where a value stands, for a message."""
        return f"in column {quoted(self.name)}{self.of_inputs}"

    def decoded(self, read: Numbers | Texts, missing: frozenset[str], problems: dict[int, str]) -> Column:
        """A column as the readers of files give it.

        Args:
            read: N values.
            missing: texts that mean a missing value.
            problems: is told the rows that are wrong, which stand as missing values.
        """
        if isinstance(read, Texts):
            return self.of_levels(read.codes, list(map(text_name, read.levels)), missing, problems)
        assert self.kind == "number", "the others are asked for as texts"
        infinite = np.isinf(read)
        if not infinite.any():
            return number_column(self.name, read)
        for row in np.flatnonzero(infinite).tolist():
            problems.setdefault(row, self._number(float(read[row])).reason)
        return NumberColumn(self.name, np.where(infinite, np.nan, read))

    def of_values(self, values: Sequence[Any], missing: frozenset[str], problems: dict[int, str]) -> Column:
        """As `decoded`, of values of JSON or Python."""
        numbers = numbers_of(values) if self.kind == "number" else None
        if numbers is not None and not np.isinf(numbers).any():
            return number_column(self.name, numbers)
        return self.of_levels(np.arange(len(values)), values, missing, problems)

    def of_levels(
        self,
        codes: npt.NDArray[np.integer],
        levels: Sequence[Any],
        missing: frozenset[str],
        problems: dict[int, str],
    ) -> Column:
        """As `decoded`, where row i is `levels[codes[i]]`, or is missing where its code is -1."""
        missing -= self.no_gaps
        own_missing = {number for text in missing if not math.isnan(number := number_of(text))}
        values = [self._value(level, missing, own_missing) for level in levels]
        for place, value in enumerate(values):
            if isinstance(value, Unreadable):
                for row in np.flatnonzero(codes == place).tolist():
                    problems.setdefault(row, value.reason)
                values[place] = None
        if self.kind in ("category", "date"):
            return category_column(self.name, [*values, None], dates=self.kind == "date").take(codes)
        if self.kind == "text":
            texts = np.empty(len(values) + 1, object)
            texts[:] = [*values, None]
            return TextColumn(self.name, texts[codes])
        numbers = np.array([*(math.nan if v is None else v for v in values), math.nan], np.float64)[codes]
        if not any(isinstance(value, int) and abs(value) > EXACT for value in values):
            return NumberColumn(self.name, numbers)
        digits = [*(None if value is None else number_name(value) for value in values), None]
        return number_column(self.name, numbers, [digits[code] for code in codes])

    def _value(self, field: Any, missing: frozenset[str], missing_numbers: set[float]) -> Any:
        """A field of a file as a value, None where it is missing, or `Unreadable`."""
        if field is None or (isinstance(field, float) and math.isnan(field)):
            return None
        if isinstance(field, str) and field.strip() in missing:
            return None
        if self.kind == "number":
            # pandas takes -99.0 for missing where -99 is, too.
            is_missing = isinstance(field, str) and missing_numbers and number_of(field) in missing_numbers
            return None if is_missing else self._number(field)
        if isinstance(field, str) and not is_utf8(field):
            return Unreadable(f"is not UTF-8 {self._place}")
        if isinstance(field, (datetime.date, np.datetime64)):
            field = str(field)
        try:
            name = value_name(field)
        except TypeError:
            return Unreadable(f"has {shown(field)} {self._place}, which is not text")
        return truth_name(name) if self.truth and name is not None else name

    def _number(self, field: Any) -> Any:
        try:
            number = self.spelling.number(field) if isinstance(field, str) else float(field)
        except (TypeError, ValueError, OverflowError):
            number = math.nan
        if isinstance(field, (bool, list, dict)) or not math.isfinite(number):
            other = in_another_spelling(field, self.spelling) if isinstance(field, str) else None
            what = other or "not a finite number"
            return Unreadable(f"has {shown(field)} {self._place}, which is {what}")
        whole = wide_whole_number(field.strip()) if isinstance(field, str) else None
        return number if whole is None and not isinstance(field, (int, np.integer)) else int(field)


@dataclass(frozen=True)
class NamedColumnDecoder:
    """Rows of a table whose columns have names. Columns that the network does not take are left out.

    Attributes:
        columns: that the network takes.
        missing: fields of CSV that mean a missing value, in every column.
        on_message: called once with what is not used.
        own_missing: texts that mean a missing value wherever they stand, since the run's spec says so or, of
            a run that learned from CSV, since its training rows had them so.
        file_columns: all columns of a training file without a header; None where it has one.
        targets: those of them that the network predicts: new rows may lack them.
        elsewhere: fields of CSV that mean a missing value but in columns with a category of that name.
    """

    columns: tuple[NamedColumn, ...]
    missing: frozenset[str]
    on_message: OnMessage = lambda text: None
    own_missing: frozenset[str] = frozenset()
    file_columns: tuple[str, ...] | None = None
    targets: frozenset[str] = frozenset()
    elsewhere: frozenset[str] = frozenset()

    @classmethod
    def of(cls, table: FittedTable, missing: frozenset[str], on_message: OnMessage) -> NamedColumnDecoder:
        """For networks with this preprocessing."""
        return cls(tuple(NamedColumn.of([column]) for column in table.columns), missing, on_message)

    @classmethod
    def of_run(
        cls,
        tables: Mapping[Port, FittedTable],
        declared: schema.Component,
        file_columns: tuple[str, ...] | None,
        on_message: OnMessage,
        *,
        named: bool = False,
    ) -> NamedColumnDecoder:
        """For networks with this preprocessing, trained on this data set: the columns of all inputs.

        Args:
            tables: the preprocessing of each input.
            declared: the data set.
            file_columns: all columns of its file, where that has no header.
            on_message: called once with what is not used.
            named: whether inputs have names, which messages then tell.
        """
        spellings = Spellings.of(declared)
        own = declared.missing if isinstance(declared, schema.Jsonl) else None
        takers: dict[str, dict[Port, FittedColumn]] = {}
        for port, table in tables.items():
            for column in table.columns:
                takers.setdefault(column.name, {})[port] = column
        columns = tuple(
            NamedColumn.of(list(fitted.values()), spellings[name], list(fitted) if named else ())
            for name, fitted in takers.items()
        )
        no_gaps = frozenset[str]().union(*(column.no_gaps for column in columns))
        return cls(
            columns,
            missing_texts(declared) - no_gaps,
            on_message,
            missing_texts(declared) if isinstance(declared, schema.Csv) else frozenset(own or ()),
            file_columns,
            frozenset(declared.target) if isinstance(declared, schema.NamedColumns) else frozenset(),
            missing_texts(declared) & no_gaps,
        )

    @property
    def numbers_per_row(self) -> int:
        """The columns."""
        return len(self.columns)

    @property
    def kind_of_lines(self) -> Kind:
        """Texts, where the only column is one."""
        return "txt" if self.takes_lines else "csv"

    @property
    def takes_lines(self) -> bool:
        """Whether a line of plain text is a row: the only column is a text."""
        return len(self.columns) == 1 and self.columns[0].kind == "text"

    @cached_property
    def keys(self) -> list[str]:
        """The columns' names."""
        return [column.name for column in self.columns]

    @cached_property
    def _called(self) -> Callable[[str], str]:
        """What messages call a column: by its name, and the named inputs that take it."""
        known = {column.name: f"{column.name}{column.of_inputs}" for column in self.columns}
        return known.__getitem__

    def refuse_texts(self, name: str) -> None:
        """Texts are rows only where the network takes a single text."""
        if not self.takes_lines:
            raise DataError(
                f"{name} holds plain text, but this network takes {self._needed()}. Give CSV, JSON lines or "
                "Parquet."
            )

    def of_csv(self, reader: CsvReader) -> Iterator[InputBatch]:
        """Columns by name, or by place where the training file had no header."""
        if self.file_columns is not None:
            names = self._names_of_places(len(reader.first_row), reader.name)
            reader = reader.named(names, header=False)
        return self.of_columns(reader)

    def of_columns(self, reader: RowReader) -> Iterator[InputBatch]:
        """Columns by name.

        Raises:
            DataError: one is not there.
        """
        holder = "It" if reader.unit == "row" else "Its first line"
        places_of(self.keys, reader.names, reader.name, self.on_message, holder=holder, called=self._called)
        as_text = {c.name for c in self.columns if c.kind != "number" or not c.spelling.plain}
        missing = self.own_missing if reader.typed else self.missing | self.elsewhere
        for first, batch in numbered(reader, self.keys, as_text, self.on_message):
            problems = dict(batch.problems)
            columns = [c.decoded(batch.columns[c.name], missing, problems) for c in self.columns]
            yield InputBatch.of(Table(tuple(columns), batch.n_rows), first, batch.lines, problems)

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

    def fields_of(self, value: Any, say: Callable[[str], None]) -> list[Any] | Unreadable:
        """The values of an object; of a text, where the only column is one."""
        if isinstance(value, str) and self.takes_lines:
            return [value]
        if not isinstance(value, Mapping):
            return Unreadable(f"is {shown(value)}, which is not an object with the columns' names")
        lacking = [name for name in self.keys if name not in value]
        if lacking:
            said = listed_names(list(map(self._called, lacking)))
            say(f"lacks {said}; a missing key counts as a missing value")
        if len(lacking) == len(self.keys):
            return Unreadable(f"has none of the columns that the network takes: {listed_names(lacking)}")
        return [value.get(name) for name in self.keys]

    def built(self, fields: Sequence[list[Any] | None]) -> tuple[Table, dict[int, str]]:
        """The columns, and the values that do not fit."""
        problems: dict[int, str] = {}
        nothing = [None] * len(self.columns)
        by_column = zip(*(row or nothing for row in fields), strict=True)
        columns = [
            column.of_values(values, self.own_missing, problems)
            for column, values in zip(self.columns, by_column, strict=True)
        ]
        return Table(tuple(columns), len(fields)), problems

    def of_archive(self, archive: Archive) -> Iterator[InputBatch]:
        """An archive has no named columns."""
        raise DataError(
            f"{archive.path} holds arrays, but this network takes {self._needed()}. Give CSV, JSON lines or "
            "Parquet."
        )

    def of_python(self, inputs: Any) -> Iterator[InputBatch]:
        """A data frame, or a list of dicts; of texts, where the only column is a text."""
        where = "The table of inputs"
        if isinstance(inputs, np.ndarray):
            raise DataError(f"{where} is an array, but this network takes {self._needed()}.")
        if isinstance(inputs, Mapping):
            raise DataError(
                f"{where} is a dict, but this network takes {self._needed()}. Give a data frame with these "
                "columns, or a list of dicts, one for each row."
            )
        frame = as_frame(inputs)
        return python_batches(self, inputs, where) if frame is None else self._of_frame(frame, where)

    def _of_frame(self, frame: Any, where: str) -> Iterator[InputBatch]:
        header = [str(name) for name in frame.columns]
        holder = "Its first line"
        places = places_of(self.keys, header, where, self.on_message, holder=holder, called=self._called)
        most = rows_at_once(self.numbers_per_row)
        for start in range(0, len(frame), most):
            part, problems = frame.iloc[start : start + most], dict[int, str]()
            columns = [
                column.of_values(cells(part.iloc[:, place]), self.own_missing, problems)
                for column, place in zip(self.columns, places, strict=True)
            ]
            yield InputBatch.of(Table(tuple(columns), len(part)), start, None, problems)

    def _needed(self) -> str:
        return f"{counted(len(self.columns), 'named column')}: {listed_names(self.keys)}"
