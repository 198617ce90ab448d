"""CSV: blocks of whole rows, each checked for its number of fields, then parsed by pandas.

A block without quotes is checked with NumPy, at about a gigabyte in five seconds; one with quotes by Python's
csv module, which knows where a quoted field ends.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt

from nnrun.data.inference.number_spelling import Spellings
from nnrun.data.new_rows.row_source import MAX_LINE, guessed_delimiter
from nnrun.data.tables.csv_columns import CsvColumns
from nnrun.data.tables.open_file import Opened, opened, shown_path, whole_lines
from nnrun.data.tables.row_reader import Block, LineNumbers
from nnrun.data.tables.utf8 import BOM, NEWLINE, refuse_what_is_no_text, refuse_wide
from nnrun.errors import DataError
from nnrun.spec.schema import ColumnType
from nnrun.spec.wording import counted, quoted

BLOCK_BYTES: Final = 16 * 2**20
_HEAD_BYTES: Final = 2**20

# What pandas takes for missing (pandas.read_csv, `na_values`).
MISSING: Final = (
    *("", "#N/A", "#N/A N/A", "#NA", "-1.#IND", "-1.#QNAN", "-NaN", "-nan", "1.#IND", "1.#QNAN", "<NA>"),
    *("N/A", "NA", "NULL", "NaN", "None", "n/a", "nan", "null"),
)


UNNAMED_FIRST: Final = "the first column has no name, as when R or pandas write row names"


class CsvRows:
    """A CSV file; `.gz` is unpacked. The delimiter is one ASCII character (`nnrun check`).

    Lines may end with a newline, with both (Windows) or with a carriage return (old Macs). Blank lines, and
    lines of delimiters only, are no rows.

    Attributes:
        path, name, names, lines, typed, missing, spellings, index, types: as of a `RowReader`.
        delimiter: between fields.
        header: whether the first line names the columns.
    """

    typed = False
    types: Mapping[str, ColumnType] = {}

    def __init__(
        self,
        path: Path,
        delimiter: str | None = None,
        missing: Sequence[str] | None = None,
        *,
        header: bool = True,
        spellings: Spellings | None = None,
    ) -> None:
        """Read the header, or count the fields of the first row.

        Args:
            path: of the file.
            delimiter: between fields; default: as the name and the first line say.
            missing: texts that mean a missing value, besides nothing; default: those of pandas.
            header: whether the first line names the columns; else they are c0, c1, ...
            spellings: how numbers are written.

        Raises:
            DataError: the file is empty, or its header cannot name columns.
        """
        self.path = path
        self.name = shown_path(path)
        self.lines = LineNumbers()
        self.missing: Sequence[str] = MISSING if missing is None else ("", *missing)
        self.header = header
        self.spellings = spellings or Spellings()
        self.index: Mapping[str, str] = {}
        with opened(path) as file:
            file.newlines = True
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
                        f"is not a file of rows."
                    )
        row = first.split(b"\n", 1)[0]
        if row.count(b'"') % 2:
            row = first  # a name goes over several lines
        refuse_what_is_no_text(row, self._blank_lines + 1, self.name)
        self.delimiter = delimiter or _guessed(path, row.split(b"\n", 1)[0].decode())
        self._header_lines, self.names = self._read_header(row.decode(), header_row=header)

    def _read_header(self, text: str, *, header_row: bool) -> tuple[int, tuple[str, ...]]:
        where = f"{self.name}, line {self._blank_lines + 1}"
        reader = csv.reader(io.StringIO(text, newline=""), delimiter=self.delimiter, strict=True)
        try:
            fields = next(reader)
        except csv.Error as error:
            raise DataError(
                f"{where}: the header is not a valid CSV row: {error} (is a quote closed?)."
            ) from None
        if fields[0].lower().startswith("sep=") and not any(fields[1:]):
            raise DataError(
                f"{where} is {quoted(text.strip())}, which tells only Excel the delimiter. Delete "
                "the line, so that the first one names the columns."
            )
        if not header_row:
            return 0, names_by_position(len(fields))
        names = named_columns(fields)
        self.index = {
            name: UNNAMED_FIRST if number == 1 else f"column {number} has no name"
            for number, (name, field) in enumerate(zip(names, fields, strict=True), start=1)
            if not field.strip()
        }
        seen: dict[str, int] = {}
        for number, name in enumerate(names, start=1):
            if seen.setdefault(name, number) != number:
                raise DataError(
                    f"{where}: columns {seen[name]} and {number} are both called {quoted(name)}"
                    f"{_blanks_aside(fields, name)}. Give each a unique name."
                )
        if all(_is_number(name) for name in names) and names != tuple(map(str, range(len(names)))):
            raise DataError(
                f"{where} holds numbers only, so the file seems to lack a header. Set `header: false`, which "
                "calls the columns c0, c1, ..., or add a first line that names them."
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
            file.newlines = True
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
                end, rows, lines = self._by_csv_module(data, line)
                if end < len(data):
                    kept, kept_line = data[end:], line + data.count(b"\n", 0, end)
                    if len(kept) > MAX_LINE:
                        raise self._unclosed(kept_line)
                data = rows
            else:
                if b"\r" in data:
                    data = self._without_carriage_returns(data, line)
                if not data.endswith(b"\n"):
                    data += b"\n"
                data, lines = self._by_counting(data, line)
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
                f"{self.name}, line {line + data[:at].count(NEWLINE)} contains a carriage return in the "
                "middle. Lines end with a newline; convert the line endings, for example: tr '\\r' '\\n'."
            )
        return data.replace(b"\r", b"")

    def _by_counting(self, data: bytes, line: int) -> tuple[bytes, int | npt.NDArray[np.int64]]:
        """The rows, and how many there are where each is a line; else the lines that they begin at."""
        width = len(self.names)
        characters = np.frombuffer(data, np.uint8)
        newline = ord("\n")
        ends = np.flatnonzero((characters == ord(self.delimiter)) | (characters == newline))
        at_line_ends = characters[ends[width - 1 :: width]] == newline
        n_lines = data.count(b"\n")
        whole = width > 1 and len(ends) == width * n_lines and bool(at_line_ends.all())
        if whole and _empty_row(self.delimiter).search(data) is None:
            return data, n_lines
        lines, rows = [], []
        for number, text in enumerate(data[:-1].split(b"\n"), start=line):
            if _empty_row(self.delimiter).fullmatch(text):
                self.lines.separators += 1
                continue
            if not text.strip(b" \t" if self.delimiter != "\t" else b" "):
                continue
            found = text.count(self.delimiter.encode()) + 1
            if found != width:
                raise self._ragged(number, found)
            lines.append(number)
            rows.append(text)
        return b"\n".join(rows) + b"\n", np.array(lines, np.int64)

    def _by_csv_module(self, data: bytes, line: int) -> tuple[int, bytes, npt.NDArray[np.int64]]:
        """How many bytes hold whole rows, these rows, and the lines that they begin at."""
        raw = data.splitlines(keepends=True) if b"\r" not in data else _split_at_newlines(data)
        reader = csv.reader((text.decode() for text in raw), delimiter=self.delimiter, strict=True)
        width = len(self.names)
        lines = []
        rows: list[bytes] = []
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
                        f"{self.name}, line {line + done} is not a valid CSV row: {error}. Write a quote "
                        'within a field twice ("").'
                    ) from None
                if fields and not (len(fields) == width == 1) and not any(f.strip(" \t") for f in fields):
                    fields = []  # a line of delimiters, as Excel leaves at the end
                    self.lines.separators += 1
                if fields:
                    if len(fields) != width:
                        raise self._ragged(line + done, len(fields))
                    lines.append(line + done)
                    rows += raw[done : reader.line_num]
                done = reader.line_num
        return sum(map(len, raw[:done])), b"".join(rows), np.array(lines, np.int64)

    def _ragged(self, line: int, found: int) -> DataError:
        width = len(self.names)
        if found < width:
            advice = "Write an empty field where a value is missing."
        elif width == 1 and self.header:
            advice = (
                "If the file begins with a title or a comment, delete it: the first line names the columns."
            )
        else:
            advice = "Put a field that holds the delimiter in quotes."
        return DataError(
            f"{self.name}, line {line} has {counted(found, 'field')}, and the header names {width}. {advice}"
        )


def names_by_position(columns: int) -> tuple[str, ...]:
    """The names of columns without a header: c0, c1, ..."""
    return tuple(f"c{place}" for place in range(columns))


def named_columns(fields: Sequence[str]) -> tuple[str, ...]:
    """The names of columns in a header, without blanks around them.

    A column without a name is called as by pandas: `Unnamed: 0`, or `Unnamed: 0.1` where that is taken.
    """
    names = [field.strip() for field in fields]
    taken = set(names)
    for place, name in enumerate(names):
        if not name and len(names) > 1:
            own = f"Unnamed: {place}"
            again = (f"{own}.{i}" for i in range(1, len(names) + 1))
            names[place] = own if own not in taken else next(n for n in again if n not in taken)
            taken.add(names[place])
    return tuple(names)


@cache
def _empty_row(delimiter: str) -> re.Pattern[bytes]:
    """A line of delimiters and blanks only."""
    mark = re.escape(delimiter.encode())
    return re.compile(rb"^ *" + mark + rb"[ " + mark + rb"]*$", re.MULTILINE)


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
