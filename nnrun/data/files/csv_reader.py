"""CSV: batches of whole rows, each checked for its number of fields, then parsed.

Where the C++ library is at hand, it checks and parses plain lines at once (`csv_native`). Blocks in which a
line is not plain, and all where there is no library, are parsed by pandas (`csv_columns`). Before that, NumPy
checks their lines where there are no quotes; where there are, Python's csv module does, which knows where a
quoted field ends.
"""

from __future__ import annotations

import copy
import csv
import io
import math
import re
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence, Set
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from itertools import islice
from pathlib import Path
from typing import Final, Literal

import numpy as np
import numpy.typing as npt

from nnrun.data.files.csv_columns import CsvColumns
from nnrun.data.files.csv_native import PlainRows, native_parser
from nnrun.data.files.open_file import MAX_LINE, Opened, opened, whole_lines
from nnrun.data.files.row_reader import ColumnBatch, Numbers, Texts
from nnrun.data.files.utf8 import NEWLINE, is_utf8, refuse_what_is_no_text
from nnrun.data.inference.number_spelling import Spellings
from nnrun.data.value_names import number_of
from nnrun.errors import DataError, printable
from nnrun.spec.schema import ColumnType
from nnrun.spec.wording import counted, quoted

BLOCK_BYTES: Final = 16 * 2**20
_HEAD_BYTES: Final = 2**20
_REPORTING_BLOCK_BYTES: Final = 2**20
_LONGEST_NAME: Final = 128 * 2**10  # characters of a field of the header
_LONGEST_QUOTE: Final = 8 * 2**20  # bytes of a reported row whose quote is never closed

# What pandas takes for missing (pandas.read_csv, `na_values`).
MISSING: Final = (
    *("", "#N/A", "#N/A N/A", "#NA", "-1.#IND", "-1.#QNAN", "-NaN", "-nan", "1.#IND", "1.#QNAN", "<NA>"),
    *("N/A", "NA", "NULL", "NaN", "None", "n/a", "nan", "null"),
)
DELIMITERS: Final = (",", ";", "\t", "|")
_DECIMAL_COMMA: Final = re.compile(r"(?<=\d),(?=\d)")

UNNAMED_FIRST: Final = "the first column has no name, as when R or pandas write row names"
ROW_NAMES: Final = "the header has one field fewer than the rows, as when R's write.table writes row names"
_ROWS_TO_COMPARE: Final = 5  # with the header, as R's read.table does


@dataclass(frozen=True, eq=False)
class _Rows:
    """Whole rows.

    Attributes:
        data: their bytes, in UTF-8, each row with the right number of fields.
        ends: (N,) where each row ends in `data`.
        lines: (N,) where each row begins in the file.
        separators: lines left out before or among them.
        skipped: (N,) how many of them come before each row; None where there are none.
        problems: row → what is wrong with it. A row without values stands in its place.
        plain: their columns, where they are parsed already; `ends` is empty then, and so is `data` where no
            column is unsure.
    """

    data: bytes
    ends: npt.NDArray[np.int64]
    lines: npt.NDArray[np.int64]
    separators: int = 0
    skipped: npt.NDArray[np.int64] | None = None
    problems: Mapping[int, str] = field(default_factory=dict)
    plain: PlainRows | None = None

    @classmethod
    def of(
        cls,
        rows: Sequence[bytes],
        lines: Sequence[int],
        separators: int = 0,
        problems: Mapping[int, str] | None = None,
        skipped: Sequence[int] | None = None,
    ) -> _Rows:
        """Rows one by one, each with its line end."""
        ends = np.cumsum([len(row) for row in rows], dtype=np.int64)
        before = np.array(skipped, np.int64) if separators and skipped is not None else None
        return cls(b"".join(rows), ends, np.array(lines, np.int64), separators, before, problems or {})

    def parts(self, most: int) -> Iterator[_Rows]:
        """The same, at most so many rows at a time; rows that are parsed already are no more."""
        if len(self.lines) <= most or self.plain is not None:
            yield self
            return
        for first in range(0, len(self.lines), most):
            after = first + most
            start = int(self.ends[first - 1]) if first else 0
            ends = self.ends[first:after]
            problems = {row - first: why for row, why in self.problems.items() if first <= row < after}
            yield _Rows(
                self.data[start : int(ends[-1])],
                ends - start,
                self.lines[first:after],
                0 if first else self.separators,
                problems=problems,
            )


_NO_ROWS: Final = _Rows.of([], [])


class CsvReader:
    """A file or stream of CSV; `.gz` is unpacked. The delimiter is one ASCII character (`nnrun check`).

    Lines may end with a newline, with both (Windows) or with a carriage return (old Macs). Blank lines are no
    rows. Lines of delimiters only are none either; where bad rows are reported they are rows without values
    when another row follows, since each row is answered.

    Attributes:
        path: of the file.
        name, names, unit, delimiter, typed, missing, spellings, index, types: as of a `RowReader`.
        header: whether the first line names the columns.
        first_row: its fields.
    """

    typed = False
    unit: Literal["line", "row"] = "line"
    types: Mapping[str, ColumnType] = {}

    def __init__(
        self,
        path: Path | None,
        delimiter: str | None = None,
        missing: Sequence[str] | None = None,
        *,
        header: bool = True,
        spellings: Spellings | None = None,
        stream: Opened | None = None,
        usual_delimiter: str | None = None,
        reports: int | None = None,
    ) -> None:
        """Read the header, or count the fields of the first row.

        Args:
            path: of the file; None of a stream.
            delimiter: between fields; default: as the name and the first line say.
            missing: texts that mean a missing value, besides nothing; default: those of pandas.
            header: whether the first line names the columns; else they are c0, c1, ...
            spellings: how numbers are written.
            stream: bytes of which nothing was read, in place of a file; they can be read once.
            usual_delimiter: the delimiter where the first line has it.
            reports: report bad rows in batches of at most so many rows, instead of raising an error at the
                first. Then names may be the same, and there may be none.

        Raises:
            DataError: the file is empty, or its header cannot name columns.
        """
        self.path, self._stream, self._reports = path, stream, reports
        self._should = "its first line has"
        self._labels: Sequence[str] = ()
        self.missing: Sequence[str] = MISSING if missing is None else ("", *missing)
        self.header = header
        self.spellings = spellings or Spellings()
        self.index: Mapping[str, str] = {}
        with self._opened() as file:
            self.name = file.name
            head = self._head(file)
            file.put_back(head)
        text = head.lstrip(b"\r\n")
        self._first_line = head[: len(head) - len(text)].count(b"\n") + 1
        line = text.split(b"\n", 1)[0]
        if reports is None:
            if not text.strip():
                raise DataError(f"{self.name} is empty: it holds no header and no rows.")
            text = text if line.count(b'"') % 2 else line  # a name may go over several lines
            refuse_what_is_no_text(text, self._first_line, self.name)
        shown = line.decode("utf-8", "surrogateescape")
        usual = usual_delimiter if usual_delimiter and usual_delimiter in shown else None
        self.delimiter: str = delimiter or usual or _guessed(path, shown)
        self.first_row, self._header_lines = self._parsed_head(text)
        self._row_names = header and self._has_row_names(head.lstrip(b"\r\n"), whole=file.at_end)
        if self._row_names:
            self.first_row.insert(0, "")
        self.names = named_columns(self.first_row) if header else names_by_position(len(self.first_row))
        if header and reports is None:
            self._check_names()
        if not header:
            self._header_lines = 0

    @contextmanager
    def _opened(self) -> Iterator[Opened]:
        if self._stream is not None:
            self._stream.newlines = True
            yield self._stream
            return
        assert self.path is not None, "a file, where there is no stream"
        with opened(self.path) as file:
            file.newlines = True
            yield file

    def named(
        self,
        names: Sequence[str],
        *,
        header: bool,
        should: str = "its first line has",
        labels: Sequence[str] = (),
    ) -> CsvReader:
        """The same rows with other names of the columns.

        Args:
            names: one of each column.
            header: whether the first row is a line of names and no row.
            should: says before the number of columns why a row must have so many.
            labels: what messages on bad rows call the columns; default: by their names.
        """
        reader = copy.copy(self)
        reader.names, reader._should, reader._labels = tuple(names), should, labels
        reader._header_lines = self._header_lines if header else 0
        return reader

    def _head(self, file: Opened) -> bytes:
        """The first bytes, of which the first row is whole."""
        head = file.read(_HEAD_BYTES)
        while not _holds_a_row(head) and len(head) <= MAX_LINE and (more := file.read(_HEAD_BYTES)):
            head += more
        if len(head) > MAX_LINE and b"\n" not in (text := head.lstrip(b"\r\n")):
            line = head[: len(head) - len(text)].count(b"\n") + 1
            raise DataError(
                f"{file.name}, line {line} is longer than {MAX_LINE:,} bytes: it is not a file of rows."
            )
        return head

    def _parsed_head(self, text: bytes) -> tuple[list[str], int]:
        """The fields of the first row, and its lines. Notes the lines of separators before it."""
        lines = (line.decode("utf-8", "surrogateescape") for line in _split_at_newlines(text))
        reader = csv.reader(lines, delimiter=self.delimiter, strict=True)
        before, self._separators = 0, 0
        is_header = self.header and self._reports is None  # else it may be a row
        try:
            with _longest_field(_LONGEST_NAME if is_header else MAX_LINE):
                for fields in reader:
                    if fields and (self._reports is None or not _only_separators(fields)):
                        break
                    before = reader.line_num
                    self._separators += bool(fields)
                else:
                    fields = []
        except csv.Error as error:
            what = "the header" if is_header else "the first row"
            raise DataError(
                f"{self.name}, line {self._first_line + before}: {what} is not a valid CSV row: "
                f"{printable(str(error))} (is a quote closed?)."
            ) from None
        self._first_line += before
        return fields, reader.line_num - before

    def _has_row_names(self, text: bytes, *, whole: bool) -> bool:
        """Whether the first rows, two or more, are one field longer than the header, and begin with names.

        Names of rows are all different. A last field that is empty in all rows is what a delimiter at the end
        of each line leaves.

        Args:
            text: the first bytes, from the header on.
            whole: whether the file ends where these end.
        """
        lines = _split_at_newlines(text.replace(b"\r", b""))
        lines = lines if whole or text.endswith(b"\n") else lines[:-1]
        texts = (line.decode("utf-8", "surrogateescape") for line in lines)
        reader = filter(None, csv.reader(texts, delimiter=self.delimiter))
        try:
            with _longest_field(MAX_LINE):
                rows = list(islice(reader, self._separators + 1, self._separators + 1 + _ROWS_TO_COMPARE))
        except csv.Error:
            return False  # what reads the rows says what is wrong
        names = {row[0] for row in rows}
        return (
            all(self.first_row)
            and 1 < len(rows) == len(names)
            and {len(row) for row in rows} == {len(self.first_row) + 1}
            and any(row[-1] for row in rows)
        )

    def _check_names(self) -> None:
        """Refuse names that are the same or only numbers; note columns without one as an index."""
        where, names = f"{self.name}, line {self._first_line}", self.names
        if self.first_row[0].lower().startswith("sep=") and not any(self.first_row[1:]):
            line = self.delimiter.join(self.first_row).strip()
            raise DataError(
                f"{where} is {quoted(line)}, which tells only Excel the delimiter. Delete the line, so that "
                "the first one names the columns."
            )
        first = ROW_NAMES if self._row_names else UNNAMED_FIRST
        self.index = {
            name: f"column {number} has no name" if number > 1 else first
            for number, (name, field) in enumerate(zip(names, self.first_row, strict=True), start=1)
            if not field.strip()
        }
        seen: dict[str, int] = {}
        for number, name in enumerate(names, start=1):
            if seen.setdefault(name, number) != number:
                raise DataError(
                    f"{where}: columns {seen[name]} and {number} are both called {quoted(name)}"
                    f"{_blanks_aside(self.first_row, name)}. Give each a unique name."
                )
        if not any(math.isnan(number_of(name)) for name in names) and names != tuple(
            map(str, range(len(names)))
        ):
            raise DataError(
                f"{where} holds numbers only, so the file seems to lack a header. Set `header: false`, which "
                "calls the columns c0, c1, ..., or add a first line that names them."
            )

    def first_rows(self, most: int) -> list[list[str]]:
        """The fields of the first rows after the header, of at most so many; without rows that are wrong."""
        with self._opened() as file:
            found = next(self._rows(file, range(len(self.names))), None)
        if found is None:
            return []
        part = next(found.parts(most))
        rows = csv.reader(io.StringIO(part.data.decode(), newline=""), delimiter=self.delimiter)
        with _longest_field(MAX_LINE):
            return [fields for row, fields in enumerate(rows) if row not in part.problems]

    # --- batches ---

    def batches(self, columns: Sequence[str], as_text: Set[str]) -> Iterator[ColumnBatch]:
        """As of a `RowReader`."""
        places = {name: place for place, name in enumerate(self.names)}
        positions = {name: places[name] for name in columns}
        parser = CsvColumns(len(self.names), self.delimiter, self.missing)
        size = None if self.path is None else self.path.stat().st_size
        native = native_parser(len(self.names), self.delimiter, self.missing, size)

        def plain(data: bytes, start: int) -> PlainRows | None:
            return native.parse(data, start, positions, as_text, self._reports) if native else None

        with self._opened() as file:
            for found in self._rows(file, sorted(positions.values()), plain):
                for rows in found.parts(self._reports) if self._reports else (found,):
                    read = self._columns(parser, rows, positions, as_text) if len(rows.lines) else {}
                    yield ColumnBatch(
                        len(rows.lines),
                        read,
                        file.done,
                        rows.lines,
                        rows.separators,
                        rows.skipped,
                        rows.problems,
                    )

    def _columns(
        self, parser: CsvColumns, rows: _Rows, positions: Mapping[str, int], as_text: Set[str]
    ) -> Mapping[str, Numbers | Texts]:
        """The columns of rows, those that are not parsed yet by pandas."""
        if rows.plain is None:
            return self._parsed(parser, rows.data, positions, as_text)
        if not rows.plain.unsure:
            return rows.plain.columns
        unsure = {name: positions[name] for name in rows.plain.unsure}
        return {**rows.plain.columns, **self._parsed(parser, rows.data, unsure, as_text & unsure.keys())}

    def _parsed(
        self, parser: CsvColumns, data: bytes, positions: Mapping[str, int], as_text: Set[str]
    ) -> dict[str, Numbers | Texts]:
        """The columns; where bad rows are reported, those as texts that hold numbers that are not finite."""
        if self._reports is None:
            return parser.read(data, positions, as_text)
        if self._holds_nan(data):
            as_text = positions.keys()  # pandas makes NaN of it, and here it is no missing value
        read = parser.read(data, positions, as_text)
        infinite = {name for name, v in read.items() if not isinstance(v, Texts) and np.isinf(v).any()}
        if infinite:
            read |= parser.read(data, {name: positions[name] for name in infinite}, infinite)
        return read

    def _holds_nan(self, data: bytes) -> bool:
        return "nan" not in self.missing and b"nan" in data.lower()

    def _rows(
        self, file: Opened, used: Sequence[int], plain: Callable[[bytes, int], PlainRows | None] | None = None
    ) -> Iterator[_Rows]:
        """All rows after the header, block by block.

        Args:
            file: to be read from its beginning.
            used: the places of the columns that are asked for.
            plain: parses lines from a place on, where they are plain.
        """
        held: list[tuple[int, int]] = []
        begun, begun_line = b"", 0  # a row whose quote is not closed
        to_skip = self._first_line - 1 + self._header_lines
        longest = MAX_LINE if self._reports is None else _LONGEST_QUOTE
        for data, line in whole_lines(file, BLOCK_BYTES if self._reports is None else _REPORTING_BLOCK_BYTES):
            skipped = 0
            while skipped < to_skip and data:
                end = data.find(b"\n") + 1
                data = data[end:] if end else b""
                skipped += 1
            to_skip, line = to_skip - skipped, line + skipped
            if begun:
                data, line = begun + data, begun_line
            if not data:
                continue
            if self._reports is None:
                refuse_what_is_no_text(data, line, self.name, self.names, self.delimiter.encode())
            if plain is not None and not held:
                at, line = yield from self._parsed_at_once(data, line, plain)
                data = data[at:]
            rows, begun = self._checked(data, line, used, held) if data else (_NO_ROWS, b"")
            if len(rows.lines) or rows.separators:
                yield rows
            if begun:
                begun_line = line + data.count(b"\n", 0, len(data) - len(begun))
                if len(begun) > longest:
                    yield self._unclosed(begun_line)
                    begun = b""
        if begun:
            yield self._unclosed(begun_line)
        if self._reports is not None and (left_out := self._separators + len(held)):
            yield _Rows.of([], [], left_out)

    def _parsed_at_once(
        self, data: bytes, line: int, plain: Callable[[bytes, int], PlainRows | None]
    ) -> Generator[_Rows, None, tuple[int, int]]:
        """The rows of whole lines up to where some are not plain: that place, and its line, are returned.

        Where bad rows are reported, they come in batches as `_Rows.parts` makes them; else all or none.
        """
        if self._reports is not None and (b"\0" in data or not is_utf8(data) or self._holds_nan(data)):
            return 0, line
        whole = data if data.endswith(b"\n") else data + b"\n"
        at = 0
        while at < len(data) and (read := plain(whole, at)) is not None:
            own = whole[at : at + read.size] if read.unsure else b""
            yield _Rows(own, _NO_ROWS.ends, np.arange(line, line + read.n_rows), plain=read)
            at, line = at + read.size, line + read.n_rows
        return min(at, len(data)), line

    def _checked(
        self, data: bytes, line: int, used: Sequence[int], held: list[tuple[int, int]]
    ) -> tuple[_Rows, bytes]:
        """The rows of whole lines, and what is left of a row whose quote is not closed.

        Args:
            data: the lines.
            line: the number of the first.
            used: the places of the columns that are asked for.
            held: line and width of rows of separators that may be the last of the file, and are none then.
        """
        if b'"' not in data:
            if b"\r" in data:
                data = self._without_carriage_returns(data, line)
            if not data.endswith(b"\n"):
                data += b"\n"
            if not held and (plain := self._plain(data, line)) is not None:
                return plain, b""
        return self._one_by_one(data, line, used, held)

    def _plain(self, data: bytes, line: int) -> _Rows | None:
        """The rows, where each is a line without quotes and none needs a second look; else None."""
        if self._reports is not None and (b"\r" in data or b"\0" in data or not is_utf8(data)):
            return None
        width = len(self.names)
        characters = np.frombuffer(data, np.uint8)
        newline = ord("\n")
        ends = np.flatnonzero((characters == ord(self.delimiter)) | (characters == newline))
        line_ends = ends[width - 1 :: width]
        n_lines = data.count(b"\n")
        if len(ends) != width * n_lines or not (characters[line_ends] == newline).all():
            return None
        if (_BLANK_LINE if width == 1 else _empty_row(self.delimiter)).search(data) is not None:
            return None
        return _Rows(data, line_ends + 1, np.arange(line, line + n_lines))

    def _without_carriage_returns(self, data: bytes, line: int) -> bytes:
        data = data.replace(b"\r\n", b"\n")
        at = data.find(b"\r")
        if 0 <= at < len(data) - 1:
            if self._reports is not None:
                return data  # Python's csv module says so of the row
            raise DataError(
                f"{self.name}, line {line + data[:at].count(NEWLINE)} contains a carriage return in the "
                "middle. Lines end with a newline; convert the line endings, for example: tr '\\r' '\\n'."
            )
        return data.replace(b"\r", b"")

    def _one_by_one(
        self, data: bytes, line: int, used: Sequence[int], held: list[tuple[int, int]]
    ) -> tuple[_Rows, bytes]:
        """As `_checked`, for lines with quotes or of unequal widths: by Python's csv module."""
        raw = _split_at_newlines(data)
        texts = (text.decode("utf-8", "surrogateescape") for text in raw)
        reader = csv.reader(texts, delimiter=self.delimiter, strict=True)
        width = len(self.names)
        rows: list[bytes] = []
        lines: list[int] = []
        skipped: list[int] = []
        problems: dict[int, str] = {}
        separators = done = 0  # `done`: lines of whole rows

        def add(first: int, row: bytes, problem: str | None) -> None:
            if problem is not None:
                problems[len(rows)] = problem
            lines.append(first)
            skipped.append(separators)
            rows.append(row if problem is None else self._empty_row)

        with _longest_field(MAX_LINE):
            while True:
                problem: str | None = None
                try:
                    fields = next(reader)
                except StopIteration:
                    break
                except csv.Error as error:
                    if "unexpected end of data" in str(error):
                        break
                    fields, problem = ["?"], self._invalid(line + done, str(error))
                first, row = line + done, b"".join(raw[done : reader.line_num])
                done = reader.line_num
                blank = len(fields) == 1 and not row.strip()
                if not fields or (blank and self._reports is None):
                    continue
                if blank and width == 1:  # a row to predict: pandas would leave out its line
                    add(first, self._empty_row, None)
                    continue
                if self._reports is None and max(width, len(fields)) > 1 and not any(map(str.strip, fields)):
                    separators += 1
                    continue
                if _only_separators(fields):
                    held.append((first, len(fields)))
                    continue
                for at, found in held:
                    add(at, self._empty_row, None if found == width else self._ragged(at, found))
                held.clear()
                if problem is None and len(fields) != width:
                    problem = self._ragged(first, len(fields))
                if problem is None and self._reports is not None:
                    row, problem = self._cleaned(row, fields, used)
                add(first, row, problem)
        return _Rows.of(rows, lines, separators, problems, skipped), b"".join(raw[done:])

    @property
    def _empty_row(self) -> bytes:
        """A row without values."""
        width = len(self.names)
        return b'""\n' if width == 1 else self.delimiter.encode() * (width - 1) + b"\n"

    def _cleaned(self, row: bytes, fields: Sequence[str], used: Sequence[int]) -> tuple[bytes, str | None]:
        """A row as pandas reads it rightly, and what is wrong with it."""
        if b"\0" in row:
            return row, "holds a NUL byte, which no text does"
        if not is_utf8(row):
            wrong = next((place for place in used if not is_utf8(fields[place])), None)
            if wrong is not None:
                label = self._labels[wrong] if self._labels else quoted(self.names[wrong])
                return row, f"is not UTF-8 in column {label}"
            row = row.decode("utf-8", "replace").encode()
        return row if row.endswith(b"\n") else row + b"\n", None

    # --- what is wrong: an error, or the end of a sentence where bad rows are reported ---

    def _unclosed(self, line: int) -> _Rows:
        if self._reports is not None:
            why = self._invalid(line, "unexpected end of data")
            return _Rows.of([self._empty_row], [line], 0, {0: why})
        raise DataError(
            f"{self.name}, line {line}: a quote is opened in this row and never closed. Close it, or write a "
            'quote within a field twice ("").'
        )

    def _invalid(self, line: int, error: str) -> str:
        if self._reports is not None:
            return f"is not a valid CSV row: {printable(error)} (is a quote closed?)"
        raise DataError(
            f"{self.name}, line {line} is not a valid CSV row: {error}. Write a quote within a field twice "
            '("").'
        )

    def _ragged(self, line: int, found: int) -> str:
        width = len(self.names)
        if self._reports is not None:
            return f"has {counted(found, 'field')}; {self._should} {width}"
        if found < width:
            advice = "Write an empty field where a value is missing."
        elif width == 1 and self.header:
            advice = (
                "If the file begins with a title or a comment, delete it: the first line names the columns."
            )
        else:
            advice = "Put a field that holds the delimiter in quotes."
        raise DataError(
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


_BLANK_LINE: Final = re.compile(rb"^[ \t]*\n", re.MULTILINE)
_SEPARATING: Final = b'\r\n\t ,;|"'


@cache
def _empty_row(delimiter: str) -> re.Pattern[bytes]:
    """A line of delimiters and blanks only."""
    mark = re.escape(delimiter.encode())
    return re.compile(rb"^ *" + mark + rb"[ " + mark + rb"]*$", re.MULTILINE)


def guessed_delimiter(header: str) -> str:
    """What separates the fields of CSV: a comma, or what the first line has instead of commas.

    Commas within numbers are decimal commas where something else could separate the fields: 1,5;2,5.
    """
    text = _DECIMAL_COMMA.sub("", header)
    if "," in text or not any(mark in text for mark in DELIMITERS):
        return ","
    return max(DELIMITERS, key=text.count)


def _guessed(path: Path | None, header: str) -> str:
    """What separates the fields: a tab in `.tsv`; else a comma, or what the header has instead of commas."""
    if path is not None and ".tsv" in "".join(path.suffixes[-2:]).lower():
        return "\t"
    return guessed_delimiter(header)


def _holds_a_row(data: bytes) -> bool:
    """Whether some first bytes hold a whole line that is not blank, with all of its quotes."""
    blank = len(data) - len(data.lstrip(_SEPARATING))
    start, quotes, end = data.rfind(b"\n", 0, blank) + 1, 0, blank
    while blank < len(data) and (end := data.find(b"\n", end) + 1):
        quotes += data.count(b'"', start, end)
        start = end
        if quotes % 2 == 0:
            return True
    return False


def _only_separators(fields: Sequence[str]) -> bool:
    return len(fields) > 1 and not any(map(str.strip, fields))


def _split_at_newlines(data: bytes) -> list[bytes]:
    parts = data.split(b"\n")
    return [part + b"\n" for part in parts[:-1]] + ([parts[-1]] if parts[-1] else [])


@contextmanager
def _longest_field(characters: int) -> Iterator[None]:
    """Have Python's csv module refuse fields that are longer; by itself it refuses those of 128 KiB."""
    before = csv.field_size_limit(characters)
    try:
        yield
    finally:
        csv.field_size_limit(before)


def _blanks_aside(fields: Sequence[str], name: str) -> str:
    same = [field for field in fields if field.strip() == name]
    return " (blanks around a name do not count)" if any(field != name for field in same) else ""
