"""A file of rows to a table: in blocks, telling how long it takes; a large one is kept for the next time."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from nnrun.data.files.columns import Raw, RawNumbers, TableBuilder
from nnrun.data.files.open_file import reading
from nnrun.data.files.row_reader import DATA_FRAME, LineNumbers, RowReader, separators_message
from nnrun.data.files.table_cache import NUMBERS, CachedTable, cached_or_read, unwritable
from nnrun.data.inference.column_types import ColumnInference, infer
from nnrun.data.inference.index_columns import index_columns
from nnrun.data.table import Table
from nnrun.errors import DataError
from nnrun.mapped_arrays import return_freed_memory
from nnrun.spec.schema import ColumnType
from nnrun.spec.wording import counted, listing, quoted

OnMessage = Callable[[str], None]
_SECONDS_BETWEEN_MESSAGES: Final = 3.0
_MOST_ATTEMPTS: Final = 20
_RULES: Final = 2  # to be raised where a reader makes something else of the same file


@dataclass(frozen=True, eq=False)
class ReadTable:
    """A file's columns.

    Attributes:
        name: of the file, for messages.
        sha256: of its bytes.
        columns: name → the column and its inferred type, in the order they were asked for.
        n_rows: N.
        lines: where the rows stand in the file.
        places: which row of the file each is, from 0: rows are counted as pandas counts them, so without the
            header and blank lines, and with all rows that were left out.
        typed: texts are texts, also where they look like numbers.
        index: columns that only number or name the rows, and why; they are among `columns`.
        left_out: rows that were left out, since a column that needs a value has none there.
        keys: what a spec must say of the file, besides its path, to have it read like this.
    """

    name: str
    sha256: str
    columns: Mapping[str, ColumnInference]
    n_rows: int
    lines: LineNumbers
    places: LineNumbers
    typed: bool = False
    index: Mapping[str, str] = field(default_factory=dict)
    left_out: int = 0
    keys: Mapping[str, Any] = field(default_factory=dict)

    @property
    def table(self) -> Table:
        """The columns without what is known about them."""
        return Table(tuple(inferred.column for inferred in self.columns.values()), self.n_rows)

    def at(self, row: int, column: str) -> str:
        """`data.csv, line 7, column 'age'`: the beginning of a message."""
        place = (self.places if self.name == DATA_FRAME else self.lines).place(row)
        return f"{self.name}, {place}, column {quoted(column)}"


def read_table(
    reader: RowReader,
    sha256: str,
    options: Mapping[str, object],
    columns: Sequence[str],
    types: Mapping[str, ColumnType],
    on_message: OnMessage = lambda text: None,
    *,
    most_rows: int | None = None,
    needed: Sequence[Sequence[str]] = (),
) -> ReadTable:
    """Read columns of a file.

    Args:
        reader: of the file.
        sha256: of its bytes.
        options: what else decides how it is read, for the key of the cache.
        columns: names of columns that the file has.
        types: column → its type, where that is known.
        on_message: called with the progress of reading.
        most_rows: stop after about so many; default: read all.
        needed: groups of columns; rows without a value in every column of one group are left out.

    Raises:
        DataError: the file is damaged, it changed meanwhile, or no row is left.
    """
    said, types = types, {**{n: t for n, t in reader.types.items() if n in columns}, **types}
    key = {**options, **_options_of(reader), "columns": list(columns), "types": dict(types)}
    key["most_rows"] = most_rows
    before = _version(reader)

    def read(folder: Callable[[], Path | None]) -> CachedTable:
        table = _read(reader, columns, types, on_message, most_rows, folder)
        return_freed_memory()  # of a large file: as much as its blocks, on top of all that follows
        _refuse_changed(reader, before)
        return table

    kept = cached_or_read(sha256, key, read, on_message)
    if not kept.n_rows:
        raise DataError(f"{reader.name} has columns and no rows: after the header nothing follows.")
    if kept.lines.separators:
        on_message(separators_message(reader.name, kept.lines.separators))
    index = index_columns(kept.columns, reader.index)
    n_rows = kept.n_rows
    kept = _with_values(kept, needed, reader.name)
    left_out = n_rows - kept.n_rows
    return ReadTable(
        reader.name,
        sha256,
        {name: _inferred(reader, name, raw, types, said) for name, raw in kept.columns.items()},
        kept.n_rows,
        kept.lines,
        kept.places,
        reader.typed,
        index,
        left_out,
    )


def _inferred(
    reader: RowReader,
    name: str,
    raw: Raw,
    types: Mapping[str, ColumnType],
    said: Mapping[str, ColumnType],
) -> ColumnInference:
    """What a column is: `types` are those of the spec and of the file, `said` those of the spec."""
    found = infer(name, raw, types.get(name), typed=reader.typed, spelling=reader.spellings[name])
    declared = name in types and name not in said
    return replace(found, why="the file declares it so") if declared else found


def _version(reader: RowReader) -> tuple[int, ...]:
    """What becomes another when somebody writes to the file, or puts another one in its place."""
    if reader.path is None:
        return ()
    with reading(reader.name):
        status = reader.path.stat()
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns


def _refuse_changed(reader: RowReader, before: tuple[int, ...]) -> None:
    """Else rows would be kept under the hash of others."""
    if _version(reader) != before:
        raise DataError(
            f"{reader.name} changed while it was read. Repeat the command when no program writes to it."
        )


def _options_of(reader: RowReader) -> dict[str, object]:
    """What a reader was told, and which rules it reads by, for the key of the cache."""
    return {
        "rules": _RULES,
        "names": list(reader.names),
        "missing": list(reader.missing),
        "unusual": sorted(reader.spellings.unusual(reader.names)),
    }


def _with_values(kept: CachedTable, needed: Sequence[Sequence[str]], name: str) -> CachedTable:
    """The rows in which every column of one of these groups has a value; all where there are no groups."""
    if not needed:
        return kept
    lacking = np.ones(kept.n_rows, bool)
    for group in needed:
        lacking &= np.any([_lacking(kept, column) for column in group], axis=0)
    if not lacking.any():
        return kept
    if lacking.all():
        columns = listing([quoted(column) for group in needed for column in group], "and")
        one = sum(map(len, needed)) == 1
        raise DataError(
            f"{name}: {columns} {'lacks a value' if one else 'lack values'} in every row, so "
            "`drop_missing_target` leaves none. Is another column the target?"
        )
    rows = np.flatnonzero(~lacking)
    lines = LineNumbers(kept.lines.unit, kept.lines.separators)
    lines.add(0, kept.lines.of_rows(rows))
    places = LineNumbers("row")
    places.add(0, kept.places.of_rows(rows))
    taken = {column: raw.take(rows) for column, raw in kept.columns.items()}
    return CachedTable(taken, len(rows), lines, places)


def _lacking(kept: CachedTable, column: str) -> npt.NDArray[np.bool_]:
    raw = kept.columns[column]
    return np.isnan(raw.values) if isinstance(raw, RawNumbers) else raw.codes < 0


def _read(
    reader: RowReader,
    columns: Sequence[str],
    types: Mapping[str, ColumnType],
    on_message: OnMessage,
    most_rows: int | None,
    folder: Callable[[], Path | None],
) -> CachedTable:
    """Read until every column is of its inferred type throughout."""
    as_text = {name for name in columns if types.get(name) in ("category", "text", "date")}
    as_text |= reader.spellings.unusual(columns)
    for _ in range(_MOST_ATTEMPTS):
        builder = TableBuilder(columns, as_text, frozenset(reader.missing))
        lines, places = LineNumbers(reader.unit), LineNumbers("row")
        progress = _Progress(reader.name, on_message)
        place: Path | None = None  # outside the memory
        asked = False
        try:
            for batch in reader.batches(columns, builder.as_text):
                if batch.lines is not None:
                    lines.add(builder.n_rows, batch.lines)
                before = lines.separators + (0 if batch.skipped is None else batch.skipped)
                places.add(builder.n_rows, builder.n_rows + np.arange(batch.n_rows) + before)
                lines.separators += batch.separators
                if batch.n_rows:
                    builder.add(batch)
                if builder.is_large and not asked:
                    asked, place = True, folder()
                    if place is not None:
                        builder.spill(place)
                if most_rows is not None and builder.n_rows >= most_rows:
                    break
                progress.tell(builder.n_rows, batch.done)
            if not builder.surprises:
                progress.end(builder.n_rows)
                if builder.is_worth_keeping and not asked:
                    place = folder()
                return CachedTable(_built(builder, place, on_message), builder.n_rows, lines, places)
        finally:
            builder.close()
        as_text = builder.as_text | builder.surprises
    raise AssertionError("a column that is read as text cannot surprise again")


def _built(builder: TableBuilder, place: Path | None, on_message: OnMessage) -> Mapping[str, Raw]:
    """The columns, their numbers in a file of this folder, if there is one that can be written."""
    try:
        return builder.built(None if place is None else place / NUMBERS)
    except OSError as error:
        assert place is not None
        on_message(unwritable(place.parent, error))
        return builder.built(None)


class _Progress:
    def __init__(self, name: str, on_message: OnMessage) -> None:
        self._name, self._on_message = name, on_message
        self._started = self._told = time.monotonic()
        self._batches = 0

    def tell(self, rows: int, done: float) -> None:
        now = time.monotonic()
        self._batches += 1
        if self._batches == 1:  # a small table, or pandas was imported: too early to tell how fast it goes
            return
        if now - self._told < _SECONDS_BETWEEN_MESSAGES or done <= 0:
            return
        self._told = now
        left = (now - self._started) * (1 - done) / done
        self._on_message(
            f"reading {self._name}: {counted(rows, 'row')}, {100 * done:.0f} %, about {left:.0f} s left"
        )

    def end(self, rows: int) -> None:
        seconds = time.monotonic() - self._started
        if self._told > self._started:
            self._on_message(f"read {self._name}: {counted(rows, 'row')} in {seconds:.0f} s")
