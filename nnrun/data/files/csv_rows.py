"""CSV: blocks of whole rows, each checked for its number of fields, then parsed by pandas.

A block without quotes is checked with NumPy, at about a gigabyte in five seconds; one with quotes by Python's
csv module, which knows where a quoted field ends.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt

from nnrun.data.files.blocks import Block, LineNumbers
from nnrun.data.files.csv_columns import CsvColumns
from nnrun.data.files.opened import Opened, opened, shown_path, whole_lines
from nnrun.data.files.utf8 import BOM, NEWLINE, refuse_what_is_no_text, refuse_wide
from nnrun.data.row_source import MAX_LINE, guessed_delimiter
from nnrun.errors import DataError
from nnrun.spec.suggest import counted, quoted

BLOCK_BYTES: Final = 16 * 2**20
_HEAD_BYTES: Final = 2**20

# What pandas takes for missing (pandas.read_csv, `na_values`).
MISSING: Final = (
    *("", "#N/A", "#N/A N/A", "#NA", "-1.#IND", "-1.#QNAN", "-NaN", "-nan", "1.#IND", "1.#QNAN", "<NA>"),
    *("N/A", "NA", "NULL", "NaN", "None", "n/a", "nan", "null"),
)


class CsvRows:
    """A CSV file with a header; `.gz` is unpacked. The delimiter is one ASCII character (`nnrun check`).

    Attributes:
        path, name, names, lines, typed: as of a `RowReader`.
        delimiter: between fields.
        missing: texts that mean a missing value.
    """

    typed = False

    def __init__(
        self, path: Path, delimiter: str | None = None, missing: Sequence[str] | None = None
    ) -> None:
        """Read the header.

        Raises:
            DataError: there is none, or it cannot name columns.
        """
        self.path = path
        self.name = shown_path(path)
        self.lines = LineNumbers()
        self.missing = MISSING if missing is None else ("", *missing)
        with opened(path) as file:
            head = file.read(_HEAD_BYTES)
            refuse_wide(head, self.name)
            head = head.removeprefix(BOM)
            first = head.lstrip(b"\r\n")
            self._blank_lines = head[: len(head) - len(first)].count(b"\n")
            if not first.strip():
                raise DataError(f"{self.name} is empty: it holds no header and no rows.")
            cut = first.rfind(b"\n") + 1
            if cut:
                first = first[:cut]
            else:
                while not cut and len(first) <= MAX_LINE and (more := file.read(BLOCK_BYTES)):
                    first += more
                    cut = first.rfind(b"\n") + 1
                if not cut and len(first) > MAX_LINE:
                    raise DataError(
                        f"{self.name}, line {self._blank_lines + 1} is longer than {MAX_LINE:,} bytes: it "
                        f"is no file of rows."
                    )
        if b"\n" not in first and b"\r" in first.rstrip(b"\r"):
            first = first.replace(b"\r", b"\n")
            raise DataError(
                f"{self.name} has no newline: its lines end with carriage returns, {first.count(NEWLINE):,} "
                f"of them. Convert the line ends, for example: tr '\\r' '\\n'."
            )
        header = first.split(b"\n", 1)[0]
        if header.count(b'"') % 2:
            header = first  # a name goes over several lines
        refuse_what_is_no_text(header, self._blank_lines + 1, self.name)
        self.delimiter = delimiter or _guessed(path, header.split(b"\n", 1)[0].decode())
        self._header_lines, self.names = self._read_header(header.decode())

    def _read_header(self, text: str) -> tuple[int, tuple[str, ...]]:
        where = f"{self.name}, line {self._blank_lines + 1}"
        reader = csv.reader(io.StringIO(text, newline=""), delimiter=self.delimiter, strict=True)
        try:
            fields = next(reader)
        except csv.Error as error:
            raise DataError(f"{where}: the header is no row of CSV: {error} (is a quote closed?).") from None
        names = tuple(field.strip() for field in fields)
        seen: dict[str, int] = {}
        for number, name in enumerate(names, start=1):
            if not name:
                raise DataError(
                    f"{where}: column {number} has no name. Name it, or leave it out (pandas writes such a "
                    "column for its index; save with index=False)."
                )
            if seen.setdefault(name, number) != number:
                raise DataError(
                    f"{where}: columns {seen[name]} and {number} are both called {quoted(name)}"
                    f"{_blanks_aside(fields, name)}. Give each a name of its own."
                )
        if all(_is_number(name) for name in names):
            raise DataError(
                f"{where} holds numbers only, so the file seems to lack a header. Add a first line that "
                "names the columns."
            )
        return reader.line_num, names

    # --- blocks ---

    def blocks(self, columns: Sequence[str], as_text: frozenset[str]) -> Iterator[Block]:
        """As of a `RowReader`."""
        self.lines.clear()
        places = {name: place for place, name in enumerate(self.names)}
        positions = {name: places[name] for name in columns}
        row = 0
        parser = CsvColumns(len(self.names), self.delimiter, self.missing)
        with opened(self.path) as file:
            for data in self._checked(file, row):
                n_rows, read = parser.read(data, positions, as_text)
                yield Block(n_rows, read, file.done)

    def _checked(self, file: Opened, row: int) -> Iterator[bytes]:
        """Blocks of whole rows of the right width, the header left out; notes their lines on the way."""
        kept, kept_line = b"", 0
        to_skip = self._blank_lines + self._header_lines
        first = True
        for data, line in whole_lines(file, BLOCK_BYTES):
            if first:
                data = data.removeprefix(BOM)
                first = False
            if to_skip:
                skipped = 0
                while to_skip and data:
                    end = data.find(b"\n") + 1
                    data = data[end:] if end else b""
                    to_skip -= 1
                    skipped += 1
                line += skipped
            if kept:
                data, line = kept + data, kept_line
                kept = b""
            if not data:
                continue
            refuse_what_is_no_text(data, line, self.name, self.names, self.delimiter.encode())
            lines: int | npt.NDArray[np.int64]
            if b'"' in data:
                end, lines = self._by_csv_module(data, line)
                if end < len(data):
                    kept, kept_line = data[end:], line + data.count(b"\n", 0, end)
                    if len(kept) > MAX_LINE:
                        raise self._unclosed(kept_line)
                    data = data[:end]
            else:
                if b"\r" in data:
                    data = self._without_carriage_returns(data, line)
                if not data.endswith(b"\n"):
                    data += b"\n"
                lines = self._by_counting(data, line)
            if isinstance(lines, int):
                self.lines.add_run(row, line)
                row += lines
            else:
                self.lines.add_lines(row, lines)
                row += len(lines)
            if not isinstance(lines, int) and not len(lines):
                continue
            yield data
        if kept:
            raise self._unclosed(kept_line)

    def _unclosed(self, line: int) -> DataError:
        return DataError(
            f"{self.name}, line {line}: a quote is opened in this row and never closed. Close it, or write a "
            'quote within a field twice ("").'
        )

    def _without_carriage_returns(self, data: bytes, line: int) -> bytes:
        data = data.replace(b"\r\n", b"\n")
        at = data.find(b"\r")
        if 0 <= at < len(data) - 1:
            raise DataError(
                f"{self.name}, line {line + data[:at].count(NEWLINE)} holds a carriage return in its middle. "
                "Lines end with a newline; convert the line ends, for example: tr '\\r' '\\n'."
            )
        return data.replace(b"\r", b"")

    def _by_counting(self, data: bytes, line: int) -> int | npt.NDArray[np.int64]:
        """How many rows there are where each is a line; else the lines of the rows."""
        width = len(self.names)
        characters = np.frombuffer(data, np.uint8)
        newline = ord("\n")
        ends = np.flatnonzero((characters == ord(self.delimiter)) | (characters == newline))
        at_line_ends = characters[ends[width - 1 :: width]] == newline
        n_lines = data.count(b"\n")
        if width > 1 and len(ends) == width * n_lines and at_line_ends.all():
            return n_lines
        lines = []
        for number, text in enumerate(data[:-1].split(b"\n"), start=line):
            if not text.strip(b" \t" if self.delimiter != "\t" else b" "):
                continue
            found = text.count(self.delimiter.encode()) + 1
            if found != width:
                raise self._ragged(number, found)
            lines.append(number)
        return np.array(lines, np.int64)

    def _by_csv_module(self, data: bytes, line: int) -> tuple[int, npt.NDArray[np.int64]]:
        """How many bytes hold whole rows, and the lines that the rows begin at."""
        raw = data.splitlines(keepends=True) if b"\r" not in data else _split_at_newlines(data)
        reader = csv.reader((text.decode() for text in raw), delimiter=self.delimiter, strict=True)
        width = len(self.names)
        lines = []
        done = 0  # lines of whole rows
        with _long_fields():
            while True:
                try:
                    fields = next(reader)
                except StopIteration:
                    break
                except csv.Error as error:
                    if "unexpected end of data" in str(error):
                        break
                    raise DataError(
                        f"{self.name}, line {line + done} is no row of CSV: {error}. Write a quote within a "
                        'field twice ("").'
                    ) from None
                if fields and not (len(fields) == 1 and not fields[0].strip(" \t") and width > 1):
                    if len(fields) != width:
                        raise self._ragged(line + done, len(fields))
                    lines.append(line + done)
                done = reader.line_num
        return sum(len(text) for text in raw[:done]), np.array(lines, np.int64)

    def _ragged(self, line: int, found: int) -> DataError:
        width = len(self.names)
        advice = (
            "Put a field that holds the delimiter in quotes."
            if found > width
            else "Write an empty field where a value is missing."
        )
        return DataError(
            f"{self.name}, line {line} has {counted(found, 'field')}, and the header names {width}. {advice}"
        )


def _guessed(path: Path, header: str) -> str:
    """What separates the fields: a tab in `.tsv`; else a comma, or what the header has instead of commas."""
    if ".tsv" in "".join(path.suffixes[-2:]).lower():
        return "\t"
    return guessed_delimiter(header)


def _split_at_newlines(data: bytes) -> list[bytes]:
    parts = data.split(b"\n")
    return [part + b"\n" for part in parts[:-1]] + ([parts[-1]] if parts[-1] else [])


@contextmanager
def _long_fields() -> Iterator[None]:
    """Python's csv module refuses fields of more than 128 KiB unless told."""
    before = csv.field_size_limit(MAX_LINE)
    try:
        yield
    finally:
        csv.field_size_limit(before)


def _blanks_aside(fields: Sequence[str], name: str) -> str:
    same = [field for field in fields if field.strip() == name]
    return " (blanks around a name do not count)" if any(field != name for field in same) else ""


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return "_" not in text
