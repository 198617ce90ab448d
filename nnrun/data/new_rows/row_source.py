"""Rows of a file or of stdin, one at a time: fields of CSV, values of JSON lines, or lines of text.

Nothing here knows what a row means. A row that cannot be read is in its place as `Unreadable`.
"""

from __future__ import annotations

import csv
import gzip
import json
import os
import re
import zlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import chain, islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Literal, NamedTuple, TypeVar, cast

from nnrun.data.tables.utf8 import BOM, GZIP, ends_with_carriage_return, is_utf8, with_newlines
from nnrun.errors import DataError, UsageError, printable
from nnrun.spec.wording import counted, listing

if TYPE_CHECKING:
    from _csv import Reader as CsvReader

Kind = Literal["csv", "tsv", "jsonl", "txt", "npz", "parquet", "folder"]

MAX_LINE = 64 * 2**20  # bytes of one line: what is longer is no file of rows
_TEXT = ".txt"
_KINDS: dict[str, Kind] = {
    ".csv": "csv",
    ".tsv": "tsv",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".txt": "txt",
    ".npz": "npz",
    ".parquet": "parquet",
}
DELIMITERS = (",", ";", "\t", "|")
_DECIMAL_COMMA = re.compile(r"(?<=\d),(?=\d)")


@dataclass(frozen=True)
class Unreadable:
    """Why a row cannot be read, as the end of a sentence."""

    reason: str


class RawRow(NamedTuple):
    """One row.

    Attributes:
        line: where it begins, from 1; None where rows are no lines.
        value: a list of texts (CSV), a value of JSON, a text, or `Unreadable`.
    """

    line: int | None
    value: Any


@dataclass(frozen=True, eq=False)
class Lines:
    """Lines of CSV that hold no quote, to be read together.

    Attributes:
        first: the line of the first, from 1.
        lines: each with its end.
        delimiter: between the fields.
    """

    first: int
    lines: list[bytes]
    delimiter: str

    def __len__(self) -> int:
        return len(self.lines)

    def rows(self) -> Iterator[RawRow]:
        """The same, one at a time."""
        for line, fields in _csv_rows((_decoded(line) for line in self.lines), self.delimiter):
            yield RawRow(None if line is None else line + self.first - 1, fields)


@dataclass(frozen=True)
class RowSource:
    """Where rows come from.

    Attributes:
        name: for messages.
        kind: how they are written.
        path: the file; None for `stream`.
        stream: bytes that are open already.
        delimiter: between the fields of CSV, where the first line has it; else the line tells.
        on_message: called with the number of lines that were left out because they hold only separators.
    """

    name: str
    kind: Kind
    path: Path | None = None
    stream: BinaryIO | None = None
    delimiter: str | None = None
    on_message: Callable[[str], None] = lambda text: None


def guessed_delimiter(header: str) -> str:
    """What separates the fields of CSV: a comma, or what the first line has instead of commas.

    Commas within numbers are decimal commas where something else could separate the fields: 1,5;2,5.
    """
    text = _DECIMAL_COMMA.sub("", header)
    if "," in text or not any(mark in text for mark in DELIMITERS):
        return ","
    counts = {mark: text.count(mark) for mark in DELIMITERS}
    most = max(counts, key=counts.__getitem__)
    return most if counts[most] else ","


def source_of(path: Path) -> RowSource:
    """A file, its kind known by the ending of its name; or a folder of texts.

    Raises:
        UsageError: there is no such file, or its ending says nothing.
    """
    if os.path.isdir(path):
        return RowSource(printable(str(path)), "folder", path)
    name = path.name.lower()
    packed = name.endswith(GZIP)
    kind = _KINDS.get(Path(name.removesuffix(GZIP)).suffix)
    if kind is None or (packed and kind in ("npz", "parquet")):
        raise UsageError(
            f"{printable(str(path))} must end in {listing(list(_KINDS))} (all but .npz and .parquet also "
            f"with {GZIP}), which says how its rows are written; or be a folder of texts ({_TEXT}), or - to "
            "read rows from stdin."
        )
    if not os.path.exists(path):
        raise UsageError(f"There is no file {printable(str(path))}.")
    return RowSource(printable(str(path)), kind, path)


def raw_rows(source: RowSource) -> Iterator[RawRow]:
    """The rows of a file of lines, as they are asked for.

    Raises:
        DataError: the file cannot be read.
    """
    if source.kind == "folder":
        assert source.path is not None, "a folder has a path"
        yield from _text_files(source.path, source.name)
        return
    with ExitStack() as until_the_end:
        lines = map(_decoded, _lines(_opened(source, until_the_end), source))
        match source.kind:
            case "csv" | "tsv":
                first, delimiter = _head(source, lines)
                yield from _without_empty_ends(_csv_rows(chain(first, lines), delimiter), source)
            case "jsonl":
                yield from _json_rows(lines)
            case _:
                yield from _text_rows(lines)


def rows_together(source: RowSource, at_once: int) -> Iterator[RawRow | Lines]:
    """The rows of CSV: the first alone, the others many lines together, where those hold no quote.

    Args:
        source: of the kind `csv` or `tsv`.
        at_once: lines that are read together.

    Raises:
        DataError: the file cannot be read.
    """
    yield from _without_empty_ends(_together(source, at_once), source)


def _together(source: RowSource, at_once: int) -> Iterator[RawRow | Lines]:
    with ExitStack() as until_the_end:
        lines = _lines(_opened(source, until_the_end), source)
        first, delimiter = _head(source, map(_decoded, lines))
        reader = csv.reader(chain(first, map(_decoded, lines)), delimiter=delimiter, strict=True)
        for row in _rows_of(reader):
            yield row
            if not _only_separators(row.value):
                break
        done = reader.line_num
        blank = f" \t\r\n{delimiter}".encode()
        while some := list(islice(lines, at_once)):
            if any(b'"' in line or not line.strip(blank) for line in some):
                reader = csv.reader(map(_decoded, chain(some, lines)), delimiter=delimiter, strict=True)
                for line, fields in _rows_of(reader):
                    yield RawRow(None if line is None else line + done, fields)
                    if reader.line_num >= len(some):
                        break
                done += max(reader.line_num, len(some))
            else:
                yield Lines(done + 1, some, delimiter)
                done += len(some)


def one_by_one(rows: Iterable[RawRow | Lines]) -> Iterator[RawRow]:
    """Rows, none together."""
    for item in rows:
        if isinstance(item, Lines):
            yield from item.rows()
        else:
            yield item


def put_back(first: RawRow, rows: Iterator[RawRow | Lines]) -> Iterator[RawRow | Lines]:
    """Rows with one more before them: a first row that turned out to be no line of names."""
    following = next(rows, None)
    if following is None:
        return iter([first])
    if isinstance(following, Lines) and first.line is not None and following.first == first.line + 1:
        text = following.delimiter.join(first.value)
        if text.count(following.delimiter) == len(first.value) - 1 and not set('"\r\n') & set(text):
            line = f"{text}\n".encode("utf-8", "surrogateescape")
            together = Lines(first.line, [line, *following.lines], following.delimiter)
            return chain([together], rows)
    return chain([first, following], rows)


def _head(source: RowSource, lines: Iterator[str]) -> tuple[list[str], str]:
    """The lines up to the first that is not blank, and the delimiter, which it tells."""
    first = list(_up_to_the_first_row(lines))
    if source.kind == "tsv":
        return first, "\t"
    header = first[-1] if first else ""
    given = source.delimiter if source.delimiter and source.delimiter in header else None
    return first, given or guessed_delimiter(header)


def _opened(source: RowSource, until_the_end: ExitStack) -> BinaryIO:
    if source.path is None:
        assert source.stream is not None, "a source is a file or a stream"
        return source.stream
    try:
        file = until_the_end.enter_context(source.path.open("rb"))
    except OSError as error:
        raise DataError(f"{source.name} cannot be read: {error.strerror or error}.") from None
    if source.path.name.lower().endswith(GZIP):
        return cast(BinaryIO, until_the_end.enter_context(gzip.GzipFile(fileobj=file)))
    return file


def _decoded(line: bytes) -> str:
    """A line of UTF-8. Bytes that are no UTF-8 become lone surrogates."""
    return line.decode("utf-8", "surrogateescape")


def _lines(file: BinaryIO, source: RowSource) -> Iterator[bytes]:
    """The lines, with their ends. CSV may have carriage returns alone for line ends, as old Macs write it."""
    lines = _lines_of_newlines(file, source.name)
    first = next(lines, None)
    if first is None:
        return
    if source.kind not in ("csv", "tsv") or not ends_with_carriage_return(first):
        yield first
        yield from lines
        return
    for several in chain([first], lines):
        yield from with_newlines(several).splitlines(keepends=True)


def _lines_of_newlines(file: BinaryIO, name: str) -> Iterator[bytes]:
    number = 0
    while True:
        number += 1
        try:
            line = file.readline(MAX_LINE + 1)
        except (OSError, EOFError, zlib.error) as error:
            raise DataError(f"{name} cannot be read beyond line {number}: {error}.") from None
        if not line:
            return
        if len(line) > MAX_LINE:
            raise DataError(
                f"{name}, line {number} is longer than {MAX_LINE:,} bytes: it is not a file of rows."
            )
        if number == 1:
            line = line.removeprefix(BOM)
        yield line


def _up_to_the_first_row(lines: Iterator[str]) -> Iterator[str]:
    """Blank lines, and the first that is not."""
    for line in lines:
        yield line
        if line.strip():
            return


def _csv_rows(lines: Iterator[str], delimiter: str) -> Iterator[RawRow]:
    """Rows of fields. A blank line is none; a quoted field may go over several lines."""
    return _rows_of(csv.reader(lines, delimiter=delimiter, strict=True))


def _rows_of(reader: CsvReader) -> Iterator[RawRow]:
    while True:
        line = reader.line_num + 1
        try:
            fields = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            yield RawRow(
                line, Unreadable(f"is not a valid CSV row: {printable(str(error))} (is a quote closed?)")
            )
            continue
        if fields:
            yield RawRow(line, fields)


def _only_separators(fields: Any) -> bool:
    return isinstance(fields, list) and len(fields) > 1 and not any(map(str.strip, fields))


R = TypeVar("R", RawRow, RawRow | Lines)


def _without_empty_ends(rows: Iterator[R], source: RowSource) -> Iterator[R]:
    """CSV without the lines of separators that come before its first row or, as Excel's, after its last.

    Between other rows such a line is a row whose values are all missing.
    """
    left_out = 0
    started = False
    held: list[tuple[int | None, int]] = []  # lines and widths: a tail may have a million lines
    for item in rows:
        if isinstance(item, RawRow) and _only_separators(item.value):
            if started:
                held.append((item.line, len(item.value)))
            else:
                left_out += 1
            continue
        started = True
        yield from (RawRow(line, [""] * width) for line, width in held)
        held.clear()
        yield item
    if left_out := left_out + len(held):
        source.on_message(separators_message(source.name, left_out))


def separators_message(name: str, lines: int) -> str:
    """How many lines of a CSV file were left out because they hold only separators."""
    return f"{name}: left out {counted(lines, 'line')} with only separators"


def _json_rows(lines: Iterator[str]) -> Iterator[RawRow]:
    """One value of JSON a line. A blank line is none."""
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        if not is_utf8(line):
            yield RawRow(number, Unreadable("is not UTF-8"))
            continue
        try:
            value = json.loads(line)
        except (ValueError, RecursionError) as error:
            value = Unreadable(f"is not JSON: {printable(str(error))}")
        yield RawRow(number, value)


def _text_rows(lines: Iterator[str]) -> Iterator[RawRow]:
    for number, line in enumerate(lines, start=1):
        yield RawRow(number, line.rstrip("\r\n"))


def _text_files(folder: Path, name: str) -> Iterator[RawRow]:
    """Each text of a folder, and of its folders, as a row; in the order of their paths."""
    try:
        files = sorted(path for path in folder.rglob("*") if path.suffix.lower() == _TEXT and path.is_file())
    except OSError as error:
        raise DataError(f"{name} cannot be read: {error.strerror or error}.") from None
    if not files:
        raise DataError(f"{name} is a folder and holds no file that ends in {_TEXT}.")
    for path in files:
        shown_file = printable(path.relative_to(folder).as_posix())
        try:
            data = path.read_bytes() if path.stat().st_size <= MAX_LINE else None
        except OSError as error:
            raise DataError(f"{name}: {shown_file} cannot be read: {error.strerror or error}.") from None
        if data is None:
            yield RawRow(None, Unreadable(f"({shown_file}) is longer than {MAX_LINE:,} bytes"))
            continue
        try:
            yield RawRow(None, data.removeprefix(BOM).decode())
        except UnicodeDecodeError:
            yield RawRow(None, Unreadable(f"({shown_file}) is not UTF-8"))


def shown(value: Any, longest: int = 40) -> str:
    """A value from a file, for a message."""
    text = repr(value) if isinstance(value, str) else str(value)
    return printable(text if len(text) <= longest else f"{text[:longest]}...")
