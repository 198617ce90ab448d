"""Rows without targets, in batches of a few thousand, so that a file may be larger than memory."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass
from itertools import islice
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from nnrun.data.archives.npz_archive import Archive
from nnrun.data.dataset import RawInputs, RowsByInput
from nnrun.data.files.csv_reader import CsvReader
from nnrun.data.files.row_reader import ColumnBatch, RowReader, separators_message
from nnrun.data.new_rows.header import listed_names, say_unused
from nnrun.data.new_rows.row_source import Kind, RawRow, RowSource, Unreadable, value_rows
from nnrun.errors import DataError
from nnrun.spec.ports import Port
from nnrun.spec.wording import listing, quoted

MOST_ROWS = 4096
_MOST_NUMBERS = 1 << 22  # of a batch
_BATCHES_OF_A_FILE = 8

OnMessage = Callable[[str], None]


@dataclass(frozen=True, order=True)
class BadRow:
    """A row that cannot be predicted.

    Attributes:
        row: its number, from 0.
        line: where it begins in the file, from 1, or None.
        reason: the end of a sentence.
    """

    row: int
    line: int | None
    reason: str

    def __str__(self) -> str:
        line = "" if self.line is None else f" (line {self.line})"
        return f"row {self.row}{line} {self.reason}"


@dataclass(frozen=True, eq=False)
class InputBatch:
    """Some rows that follow each other.

    Attributes:
        rows: the number of each good row, from 0, ascending.
        lines: where each begins, or None.
        inputs: the good rows, as a data set has them. A table has the columns of all inputs.
        bad: the others.
    """

    rows: list[int]
    lines: list[int | None]
    inputs: RawInputs | RowsByInput
    bad: list[BadRow]

    @classmethod
    def of(
        cls,
        inputs: RawInputs | RowsByInput,
        first: int,
        lines: Sequence[int | None] | npt.NDArray[np.int64] | None,
        problems: Mapping[int, str],
    ) -> InputBatch:
        """The good ones of some rows.

        Args:
            inputs: N rows; what stands in the place of bad ones is not used.
            first: the number of the first of them.
            lines: where each begins; None where rows are no lines.
            problems: position → what is wrong with the row.
        """
        n_rows = len(inputs)
        known: list[int | None] = [None] * n_rows if lines is None else np.asarray(lines).tolist()
        if not problems:
            return cls(list(range(first, first + n_rows)), known, inputs, [])
        good = [row for row in range(n_rows) if row not in problems]
        inputs = inputs[good] if isinstance(inputs, np.ndarray) else inputs.take(np.array(good, np.int64))
        bad = [BadRow(first + row, known[row], problems[row]) for row in sorted(problems)]
        return cls([first + row for row in good], [known[row] for row in good], inputs, bad)


class RowDecoder(Protocol):
    """What makes the inputs of a network of rows as they are written."""

    @property
    def on_message(self) -> OnMessage:
        """Is told once what is not used."""
        ...

    @property
    def numbers_per_row(self) -> int:
        """How many numbers a row holds, about."""
        ...

    @property
    def kind_of_lines(self) -> Kind:
        """How rows are written where no file's name says it."""
        ...

    @property
    def missing(self) -> Set[str]:
        """The fields of CSV that mean a missing value, besides nothing."""
        ...

    def refuse_texts(self, name: str) -> None:
        """Raise DataError where texts cannot be rows. Args: the name of their source."""
        ...

    def of_csv(self, reader: CsvReader) -> Iterator[InputBatch]:
        """The rows of CSV, whose first row may or may not be a line of names."""
        ...

    def of_columns(self, reader: RowReader) -> Iterator[InputBatch]:
        """The rows of a file whose columns have names."""
        ...

    @property
    def keys(self) -> Sequence[str] | None:
        """The keys of objects that are used; None where no object is a row, or others need not be told."""
        ...

    def fields_of(self, value: Any, say: Callable[[str], None]) -> Any:
        """What a value of JSON or Python, or a text, holds; or `Unreadable`.

        Args:
            value: of a row.
            say: tells, once a source, what a person should know of the row: the end of a sentence.
        """
        ...

    def built(self, fields: Sequence[Any]) -> tuple[RawInputs | RowsByInput, dict[int, str]]:
        """(N rows, position → what is wrong with the row) of what `fields_of` gave; None for a bad row."""
        ...

    def of_archive(self, archive: Archive) -> Iterator[InputBatch]:
        """The rows of a NumPy archive."""
        ...

    def of_python(self, inputs: Any) -> Iterator[InputBatch]:
        """Rows that are in memory: an array, a data frame, a list."""
        ...


def input_batches(source: RowSource, decoder: RowDecoder) -> Iterator[InputBatch]:
    """All rows of a source, in their order.

    Raises:
        DataError: the source cannot be read, or has none of the columns that are needed; or has no rows.
    """
    empty = True
    for batch in _batches_of(source, decoder):
        empty &= not (batch.rows or batch.bad)
        yield batch
    if empty:
        raise DataError(f"{source.name} holds no rows.")


def _batches_of(source: RowSource, decoder: RowDecoder) -> Iterator[InputBatch]:
    most = rows_at_once(decoder.numbers_per_row)
    match source.kind:
        case "npz":
            assert source.path is not None, "an archive is a file"
            with Archive(source.path) as archive:
                yield from decoder.of_archive(archive)
        case "parquet":
            from nnrun.data.files.parquet_reader import ParquetReader

            assert source.path is not None, "its end is read first, so it is a file"
            yield from decoder.of_columns(ParquetReader(source.path, most * _BATCHES_OF_A_FILE))
        case "csv" | "tsv":
            with source.opened() as file:
                reader = CsvReader(
                    source.path,
                    "\t" if source.kind == "tsv" else None,
                    sorted(decoder.missing),
                    stream=file,
                    usual_delimiter=source.delimiter,
                    reports=most if source.path is None else most * _BATCHES_OF_A_FILE,
                )
                if reader.first_row:
                    yield from decoder.of_csv(reader)
        case "image":
            raise DataError(f"{source.name} is an image, and this network does not take images.")
        case _:
            if source.kind != "jsonl":
                decoder.refuse_texts(source.name)
            yield from value_batches(decoder, value_rows(source), source.name)


def value_batches(decoder: RowDecoder, rows: Iterable[Sequence[RawRow]], where: str) -> Iterator[InputBatch]:
    """Rows that are values of JSON or Python, or texts. Keys of objects that are not used are told once.

    Args:
        decoder: makes inputs of them.
        rows: some at a time.
        where: what messages call their source.
    """
    most, keys = rows_at_once(decoder.numbers_per_row), decoder.keys
    first, told, said, place = 0, False, False, where

    def say(text: str) -> None:
        nonlocal said
        if not said:
            decoder.on_message(f"{place} {text}")
        said = True

    for some in (part[start : start + most] for part in rows for start in range(0, len(part), most)):
        found = []
        for number, (line, value) in enumerate(some, start=first):
            if keys is not None and isinstance(value, Mapping) and not told:
                unused = [str(name) for name in value if name not in keys]
                told = bool(unused)
                say_unused(unused, where, decoder.on_message)
            place = f"{where}: {f'row {number}' if line is None else f'line {line}'}"
            found.append(value if isinstance(value, Unreadable) else decoder.fields_of(value, say))
        bad = {row: fields.reason for row, fields in enumerate(found) if isinstance(fields, Unreadable)}
        inputs, wrong = decoder.built([None if row in bad else fields for row, fields in enumerate(found)])
        yield InputBatch.of(inputs, first, [row.line for row in some], {**wrong, **bad})
        first += len(some)


def python_batches(decoder: RowDecoder, values: Iterable[Any], where: str) -> Iterator[InputBatch]:
    """The same, of values in memory."""
    rows = (RawRow(None, value) for value in values)
    return value_batches(decoder, iter(lambda: list(islice(rows, MOST_ROWS)), []), where)


def numbered(
    reader: RowReader, columns: Sequence[str], as_text: Set[str], on_message: OnMessage
) -> Iterator[tuple[int, ColumnBatch]]:
    """Batches, each with the number of its first row. At the end lines that were left out are told."""
    first = separators = 0
    for batch in reader.batches(columns, as_text):
        separators += batch.separators
        if batch.n_rows:
            yield first, batch
        first += batch.n_rows
    if separators:
        on_message(separators_message(reader.name, separators))


def rows_at_once(numbers_per_row: int) -> int:
    """How many rows make a batch."""
    return max(1, min(MOST_ROWS, _MOST_NUMBERS // max(1, numbers_per_row)))


_PARTS = ("_test", "", "_train")
"""What follows an array's name where it holds rows to predict; the first that is there is taken."""


def array_of(archive: Archive, name: str, on_message: OnMessage) -> str:
    """The array that holds the rows of the only input, which the spec calls so."""
    return arrays_of(archive, {name: name}, on_message)[name]


def arrays_of(archive: Archive, names: Mapping[Port, str], on_message: OnMessage) -> dict[Port, str]:
    """The arrays of an archive that hold the rows of each input.

    Args:
        archive: of rows to predict.
        names: what the spec calls the array of each input: NAME stands as NAME_test, NAME or NAME_train, for
            all inputs alike.
        on_message: is told which were found.

    Raises:
        DataError: some array is not there.
    """
    there = {part: [name for name in names.values() if name + part in archive.names] for part in _PARTS}
    part = max(_PARTS, key=lambda part: len(there[part]))  # the first of those with most arrays
    lacking = [port for port, name in names.items() if name not in there[part]]
    if not lacking:
        found = {port: name + part for port, name in names.items()}
        called = listing(dict.fromkeys(found.values()), "and")
        on_message(f"{archive.path}: the rows of the array{'s' if ' ' in called else ''} {called}")
        return found
    holds = listed_names(archive.names) or "no arrays at all"
    if len(names) == 1:
        said = listing([name + part for name in names.values() for part in _PARTS])
        raise DataError(f"{archive.path} has no array {said} to take the rows from. It holds: {holds}.")
    port = lacking[0]
    raise DataError(
        f"{archive.path} has no array {names[port]}{part}, which the input {quoted(port)} takes. It holds: "
        f"{holds}. Needed: {listing(dict.fromkeys(names.values()), 'and')}, all of them as they are, or all "
        "with _test or all with _train after the name."
    )
