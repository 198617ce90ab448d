"""Rows without targets, in blocks of a few thousand, so that a file may be larger than memory."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

from nnrun.data.archives.npz_archive import Archive
from nnrun.data.dataset import RawInputs
from nnrun.data.new_rows.row_source import Lines, RawRow, RowSource, Unreadable, raw_rows, rows_together
from nnrun.data.tables.row_reader import RowReader
from nnrun.errors import DataError

MOST_ROWS = 4096
_MOST_NUMBERS = 1 << 22  # of a block
_BLOCKS_OF_A_FILE = 4

OnMessage = Callable[[str], None]
V = TypeVar("V")


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
class Block:
    """Some rows that follow each other.

    Attributes:
        rows: the number of each good row, from 0, ascending.
        lines: where each begins, or None.
        inputs: the good rows, as a data set has them.
        bad: the others.
    """

    rows: list[int]
    lines: list[int | None]
    inputs: RawInputs
    bad: list[BadRow]


@dataclass(frozen=True, eq=False)
class Together:
    """Rows that were read together, all of them good.

    Attributes:
        lines: where each begins, from 1.
        inputs: as a data set has them.
    """

    lines: range
    inputs: RawInputs


class Codec(Protocol[V]):
    """What makes the inputs of a network of rows as they are written."""

    @property
    def numbers_per_row(self) -> int:
        """How many numbers a row holds, about."""
        ...

    def parse(
        self, source: RowSource, raw: Iterator[RawRow | Lines]
    ) -> Iterator[tuple[int | None, V | Unreadable] | Together]:
        """Line and content of each row, or rows together. A first line of names is used up."""
        ...

    def build(self, values: Sequence[V]) -> tuple[RawInputs, dict[int, str]]:
        """The contents of rows as a data set has them, and the bad ones, which are left out.

        Those are told by their position in `values`, with the end of a sentence that begins with the row.
        Many rows are looked at together, column by column: that is what makes large files fast.
        """
        ...

    def of_archive(self, archive: Archive) -> Iterator[Block]:
        """The rows of a NumPy archive."""
        ...

    def of_columns(self, reader: RowReader) -> Iterator[Block]:
        """The rows of a file that is read column by column."""
        ...

    def of_python(self, inputs: Any) -> Iterator[Block]:
        """Rows that are in memory: an array, a data frame, a list."""
        ...


def blocks_of(source: RowSource, codec: Codec[V]) -> Iterator[Block]:
    """All rows of a source, in their order.

    Raises:
        DataError: the source cannot be read, or has none of the columns that are needed; or has no rows.
    """
    if source.kind == "npz":
        assert source.path is not None, "an archive is a file"
        with Archive(source.path) as archive:
            blocks = codec.of_archive(archive)
            yield from _not_empty(blocks, source.name)
        return
    if source.kind == "parquet":
        assert source.path is not None, "its end is read first, so it is a file"
        from nnrun.data.tables.parquet_reader import ParquetRows

        reader = ParquetRows(source.path, rows_at_once(codec.numbers_per_row) * _BLOCKS_OF_A_FILE)
        yield from _not_empty(codec.of_columns(reader), source.name)
        return
    raw: Iterator[RawRow | Lines] = raw_rows(source)
    if source.kind in ("csv", "tsv"):
        # Whoever writes to a pipe may wait for an answer; a file gains from larger blocks.
        most = rows_at_once(codec.numbers_per_row)
        raw = rows_together(source, most if source.path is None else most * _BLOCKS_OF_A_FILE)
    yield from _not_empty(collect(codec.parse(source, raw), codec), source.name)


def collect(
    parsed: Iterator[tuple[int | None, V | Unreadable] | Together], codec: Codec[V]
) -> Iterator[Block]:
    """Rows one by one, or some together → blocks."""
    most = rows_at_once(codec.numbers_per_row)
    first = 0
    pending: list[tuple[int | None, V | Unreadable]] = []
    for item in parsed:
        if not isinstance(item, Together):
            pending.append(item)
        if pending and (isinstance(item, Together) or len(pending) == most):
            yield _block(first, pending, codec)
            first += len(pending)
            pending = []
        if isinstance(item, Together):
            rows = list(range(first, first + len(item.lines)))
            yield Block(rows, list(item.lines), item.inputs, [])
            first += len(rows)
    if pending:
        yield _block(first, pending, codec)


def _block(first: int, parsed: Sequence[tuple[int | None, V | Unreadable]], codec: Codec[V]) -> Block:
    """These rows, of which the first has the number `first`."""
    lines = [line for line, _ in parsed]
    values = [value for _, value in parsed]
    rows = list(range(first, first + len(parsed)))
    read = [value for value in values if not isinstance(value, Unreadable)]
    reasons: dict[int, str] = {}
    places: Sequence[int] = range(len(values))
    if len(read) < len(values):
        reasons = {i: value.reason for i, value in enumerate(values) if isinstance(value, Unreadable)}
        places = [i for i in places if i not in reasons]
    inputs, wrong = codec.build(read)
    reasons |= {places[i]: reason for i, reason in wrong.items()}
    if not reasons:
        return Block(rows, lines, inputs, [])
    good = [i for i in range(len(parsed)) if i not in reasons]
    bad = [BadRow(rows[i], lines[i], reasons[i]) for i in sorted(reasons)]
    return Block([rows[i] for i in good], [lines[i] for i in good], inputs, bad)


def rows_at_once(numbers_per_row: int) -> int:
    """How many rows make a block."""
    return max(1, min(MOST_ROWS, _MOST_NUMBERS // max(1, numbers_per_row)))


def _not_empty(blocks: Iterator[Block], name: str) -> Iterator[Block]:
    first = next(blocks, None)
    if first is None:
        raise DataError(f"{name} holds no rows.")
    yield first
    yield from blocks


# The arrays of an archive that may hold rows to predict; the first that is there is taken.
_ARRAYS = ("x_test", "x", "x_train")


def array_of(archive: Archive, on_message: OnMessage) -> str:
    """The name of the array that holds the rows."""
    name = next((name for name in _ARRAYS if name in archive.names), None)
    if name is None:
        archive.require(_ARRAYS[0])  # says what there is instead
        raise AssertionError("require raises")
    on_message(f"{archive.path}: the rows of the array {name}")
    return name
