"""Rows of a file or of stdin, one at a time: fields of CSV, values of JSON lines, or lines of text.

Nothing here knows what a row means. A row that cannot be read stands in its place as `Unreadable`.
"""

from __future__ import annotations

import csv
import gzip
import json
import os
import zlib
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any, BinaryIO, Literal, NamedTuple, cast

from nnrun.errors import DataError, UsageError, printable
from nnrun.spec.suggest import listing

Kind = Literal["csv", "tsv", "jsonl", "txt", "npz"]

MAX_LINE = 64 * 2**20  # bytes of one line: what is longer is no file of rows
_GZIP = ".gz"
_KINDS: dict[str, Kind] = {
    ".csv": "csv",
    ".tsv": "tsv",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".txt": "txt",
    ".npz": "npz",
}
DELIMITERS = (",", ";", "\t", "|")
_BOM = b"\xef\xbb\xbf"


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


@dataclass(frozen=True)
class RowSource:
    """Where rows come from.

    Attributes:
        name: for messages.
        kind: how they are written.
        path: the file; None for `stream`.
        stream: bytes that are open already.
        delimiter: between the fields of CSV, where the first line has it; else the line tells.
    """

    name: str
    kind: Kind
    path: Path | None = None
    stream: BinaryIO | None = None
    delimiter: str | None = None


def guessed_delimiter(header: str) -> str:
    """What separates the fields of CSV: a comma, or what the header has instead of commas."""
    if "," in header:
        return ","
    counts = {mark: header.count(mark) for mark in DELIMITERS}
    most = max(counts, key=counts.__getitem__)
    return most if counts[most] else ","


def source_of(path: Path) -> RowSource:
    """A file, its kind known by the ending of its name.

    Raises:
        UsageError: there is no such file, or its ending says nothing.
    """
    name = path.name.lower()
    packed = name.endswith(_GZIP)
    kind = _KINDS.get(Path(name.removesuffix(_GZIP)).suffix)
    if kind is None or (packed and kind == "npz"):
        raise UsageError(
            f"{printable(str(path))} must end in {listing(list(_KINDS))} (all but .npz also with {_GZIP}), "
            "which says how its rows are written; or give - to read them from stdin."
        )
    if not os.path.exists(path):
        raise UsageError(f"There is no file {printable(str(path))}.")
    return RowSource(printable(str(path)), kind, path)


def raw_rows(source: RowSource) -> Iterator[RawRow]:
    """The rows of a file of lines, as they are asked for.

    Raises:
        DataError: the file cannot be read.
    """
    with ExitStack() as until_the_end:
        lines = _lines(_opened(source, until_the_end), source.name)
        match source.kind:
            case "csv":
                first = list(_up_to_the_first_row(lines))
                header = first[-1] if first else ""
                given = source.delimiter if source.delimiter and source.delimiter in header else None
                yield from _csv_rows(chain(first, lines), given or guessed_delimiter(header))
            case "tsv":
                yield from _csv_rows(lines, "\t")
            case "jsonl":
                yield from _json_rows(lines)
            case _:
                yield from _text_rows(lines)


def _opened(source: RowSource, until_the_end: ExitStack) -> BinaryIO:
    if source.path is None:
        assert source.stream is not None, "a source is a file or a stream"
        return source.stream
    try:
        file = until_the_end.enter_context(source.path.open("rb"))
    except OSError as error:
        raise DataError(f"{source.name} cannot be read: {error.strerror or error}.") from None
    if source.path.name.lower().endswith(_GZIP):
        return cast(BinaryIO, until_the_end.enter_context(gzip.GzipFile(fileobj=file)))
    return file


def _lines(file: BinaryIO, name: str) -> Iterator[str]:
    """The lines of UTF-8 text, with their ends. Bytes that are no UTF-8 become lone surrogates."""
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
                f"{name}, line {number} is longer than {MAX_LINE:,} bytes: it is no file of rows."
            )
        if number == 1:
            line = line.removeprefix(_BOM)
        yield line.decode("utf-8", "surrogateescape")


def _up_to_the_first_row(lines: Iterator[str]) -> Iterator[str]:
    """Blank lines, and the first that is not."""
    for line in lines:
        yield line
        if line.strip():
            return


def _csv_rows(lines: Iterator[str], delimiter: str) -> Iterator[RawRow]:
    """Rows of fields. A blank line is none; a quoted field may go over several lines."""
    reader = csv.reader(lines, delimiter=delimiter, strict=True)
    while True:
        line = reader.line_num + 1
        try:
            fields = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            yield RawRow(line, Unreadable(f"is no row of CSV: {printable(str(error))} (is a quote closed?)"))
            continue
        if fields:
            yield RawRow(line, fields)


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


def is_utf8(text: str) -> bool:
    """Whether a text holds nothing but what was UTF-8."""
    if text.isascii():
        return True
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def shown(value: Any, longest: int = 40) -> str:
    """A value from a file, for a message."""
    text = repr(value) if isinstance(value, str) else str(value)
    return printable(text if len(text) <= longest else f"{text[:longest]}...")
