"""Where rows without targets come from, and their values where they are JSON lines or lines of text.

Nothing here knows what a row means. A row that cannot be read is in its place as `Unreadable`.
"""

from __future__ import annotations

import io
import json
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Literal, NamedTuple, cast

import numpy as np

from nnrun.data.files.images import IMAGE_SUFFIXES
from nnrun.data.files.open_file import GZIP, MAX_LINE, Opened, is_row_file, opened, reading, whole_lines
from nnrun.data.files.utf8 import BOM, is_utf8
from nnrun.data.row_places import RowPlaces
from nnrun.errors import DataError, UsageError, printable
from nnrun.spec.wording import listing

Kind = Literal["csv", "tsv", "jsonl", "txt", "npz", "parquet", "folder", "image"]

_TEXT = ".txt"
_KINDS: dict[str, Kind] = {
    ".csv": "csv",
    ".tsv": "tsv",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".txt": "txt",
    ".npz": "npz",
    ".parquet": "parquet",
    **dict.fromkeys(IMAGE_SUFFIXES, "image"),
}
_BLOCK_BYTES = 2**20
_FILES_AT_ONCE = 256


@dataclass(frozen=True)
class Unreadable:
    """Why a row cannot be read, as the end of a sentence."""

    reason: str


class RawRow(NamedTuple):
    """One row.

    Attributes:
        line: where it begins, from 1; None where rows are no lines.
        value: a value of JSON or Python, a text, or `Unreadable`.
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
        files: of a folder, each a row, in the order of their paths; None where they are not listed yet.
    """

    name: str
    kind: Kind
    path: Path | None = None
    stream: BinaryIO | None = None
    delimiter: str | None = None
    files: Sequence[Path] | None = None

    @property
    def places(self) -> RowPlaces | None:
        """The file of each row of a folder, from the folder on; None for rows of one file."""
        if self.kind != "folder" or self.files is None or self.path is None:
            return None
        names = [file.relative_to(self.path).as_posix() for file in self.files]
        return RowPlaces(files=np.array(names, dtype=object))

    @contextmanager
    def opened(self) -> Iterator[Opened]:
        """The bytes of a file or stream.

        Raises:
            DataError: the file cannot be read.
        """
        if self.stream is not None:
            yield Opened(self.name, self.stream)
        else:
            assert self.path is not None, "a source is a file or a stream"
            with opened(self.path) as file:
                yield file


def source_of(path: Path) -> RowSource:
    """A file, its kind known by the ending of its name; or a folder of texts or of images.

    Raises:
        UsageError: there is no such file, or its ending says nothing.
    """
    if os.path.isdir(path):
        return RowSource(printable(str(path)), "folder", path)
    name = path.name.lower()
    packed = name.endswith(GZIP)
    kind = _KINDS.get(Path(name.removesuffix(GZIP)).suffix)
    if kind is None or (packed and kind in ("npz", "parquet", "image")):
        raise UsageError(
            f"{printable(str(path))} must end in {listing(list(_KINDS))} (those of text also "
            f"with {GZIP}), which says how its rows are written; or be a folder of texts ({_TEXT}) or of "
            "images, or - to read rows from stdin."
        )
    if not os.path.exists(path):
        raise UsageError(f"There is no file {printable(str(path))}.")
    return RowSource(printable(str(path)), kind, path)


def stream_source(name: str, stream: BinaryIO, kind: Kind) -> RowSource:
    """A stream, whose rows are JSON lines in place of CSV where the first begins with a brace.

    Waits for its first bytes where CSV is expected.

    Args:
        name: for messages.
        stream: bytes that are open already.
        kind: how rows are written, by what takes them.

    Raises:
        DataError: the stream cannot be read.
    """
    if kind != "csv":
        return RowSource(name, kind, stream=stream)
    if not isinstance(stream, io.BufferedReader):
        stream = io.BufferedReader(cast(io.RawIOBase, stream))
    with reading(name):
        begins = stream.peek(1).removeprefix(BOM).lstrip()
    return RowSource(name, "jsonl" if begins.startswith(b"{") else "csv", stream=stream)


def value_rows(source: RowSource) -> Iterator[list[RawRow]]:
    """The rows of JSON lines, of lines of text or of a folder of texts, as they come: some at a time.

    Raises:
        DataError: the source cannot be read.
    """
    if source.kind == "folder":
        yield from _texts(source)
        return
    value = _text if source.kind == "txt" else _json
    with source.opened() as file:
        for data, first in whole_lines(file, _BLOCK_BYTES):
            lines = enumerate(data.removesuffix(b"\n").split(b"\n"), start=first)
            yield [RawRow(line, value(text)) for line, text in lines if source.kind == "txt" or text.strip()]


def _json(line: bytes) -> Any:
    if not is_utf8(line):
        return Unreadable("is not UTF-8")
    try:
        return json.loads(line.decode())
    except (ValueError, RecursionError) as error:
        return Unreadable(f"is not JSON: {printable(str(error))}")


def _text(line: bytes) -> str:
    """A line of text. Bytes that are no UTF-8 become lone surrogates."""
    return line.decode("utf-8", "surrogateescape").rstrip("\r")


def text_files(source: RowSource) -> list[Path]:
    """The texts of a folder and of its folders, in the order of their paths.

    Raises:
        DataError: the folder cannot be read.
    """
    assert source.path is not None, "a folder has a path"
    with reading(source.name):
        every = source.path.rglob("*")
        return sorted(path for path in every if is_row_file(path, (_TEXT,)) and path.is_file())


def _texts(source: RowSource) -> Iterator[list[RawRow]]:
    """Each text of a folder as a row."""
    assert source.path is not None, "a folder has a path"
    files = text_files(source) if source.files is None else source.files
    if not files:
        raise DataError(f"{source.name} is a folder and holds no file that ends in {_TEXT}.")
    for first in range(0, len(files), _FILES_AT_ONCE):
        some = files[first : first + _FILES_AT_ONCE]
        yield [RawRow(None, _text_of(path, source.path, source.name)) for path in some]


def _text_of(path: Path, folder: Path, name: str) -> str | Unreadable:
    shown_file = printable(path.relative_to(folder).as_posix())
    with reading(f"{name}: {shown_file}"):
        data = path.read_bytes() if path.stat().st_size <= MAX_LINE else None
    if data is None:
        return Unreadable(f"({shown_file}) is longer than {MAX_LINE:,} bytes")
    try:
        return data.removeprefix(BOM).decode()
    except UnicodeDecodeError:
        return Unreadable(f"({shown_file}) is not UTF-8")


def shown(value: Any, longest: int = 40) -> str:
    """A value from a file, for a message."""
    text = repr(value) if isinstance(value, str) else str(value)
    return printable(text if len(text) <= longest else f"{text[:longest]}...")
