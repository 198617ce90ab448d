"""history.csv: one row per epoch (of each network), complete when its epoch ends, read back exactly.

    fold,epoch,loss,<metric>...,inner_loss,inner_<metric>...,val_loss,val_<metric>...,learning_rate,seconds

`inner_*` stand there only where inner rows decide about early stopping.
`fold` (or `seed`) only where the run has several networks, `val_*` only where it validates. An empty field
is a value that was never computed; `nan` is one that was, and is not a number.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING

from nnrun.atomic_files import read_text, write_text, writing
from nnrun.errors import DataError
from nnrun.records.run_record import MEMBER_TYPES, MemberType

if TYPE_CHECKING:
    from nnrun.history_table import HistoryTable

Value = int | float | None

FSYNC_EVERY_SECONDS = 1.0
"""How much of a history a power failure may take. A killed process loses nothing: each line is flushed."""

_DIGITS = 19  # of the largest seed, 2**63 - 1

_KEYS = (*MEMBER_TYPES, "epoch")  # what tells the rows of a history apart

_NOT_MEASURES = (*MEMBER_TYPES, "epoch", "learning_rate", "seconds")


def history_columns(
    metrics: Sequence[str], validated: bool, member_type: MemberType | None = None, *, inner: bool = False
) -> list[str]:
    """The columns of a history.

    Args:
        metrics: names of the metrics, without the loss.
        validated: whether there are `val_*` columns.
        member_type: the column that tells networks apart (`fold`, `seed`); None for a run of one network.
        inner: whether there are `inner_*` columns.
    """
    measures = ["loss", *metrics]
    validation = [f"val_{name}" for name in measures] if validated else []
    return [
        *([member_type] if member_type else []),
        "epoch",
        *measures,
        *([f"inner_{name}" for name in measures] if inner else []),
        *validation,
        "learning_rate",
        "seconds",
    ]


def measures(columns: Iterable[object]) -> list[str]:
    """The loss and the metrics among the columns of a history, or of a mean of histories; each once."""
    plain = [str(name).removesuffix("_mean").removesuffix("_std").removeprefix("val_") for name in columns]
    names = [name for name in dict.fromkeys(plain) if name not in _NOT_MEASURES]
    others = [name for name in names if not name.startswith("inner_")]
    # Of inner rows there is a column of each measure; else `inner` is the name of an output.
    return others if all(f"inner_{name}" in names for name in others) else names


def format_value(value: Value) -> str:
    """A value as the CSV holds it: the shortest digits that read back bit for bit."""
    if value is None:
        return ""
    if isinstance(value, int):
        return str(int(value))
    if hasattr(value, "dtype") and value.dtype.kind in "iu":
        return str(int(value))
    return repr(float(value))  # float() first: NumPy's own repr names its type


class HistoryWriter:
    """Appends rows to a new history file, or to that of a run that is resumed; a context manager.

    Each row is written as one whole line, so that whoever reads it meanwhile, or after a crash,
    finds complete rows. The disk itself is asked at most once a second, and when the file is closed.

    A killed process may leave rows of epochs that are later than its newest checkpoint. When the run is
    resumed they stay in the file, and the epochs that are computed again are held back until all of those
    are there again: only then does the new history take the place of the old one.
    """

    def __init__(self, path: Path, columns: Sequence[str], *, resumed: str | None = None) -> None:
        """Open the file.

        Args:
            path: the file.
            columns: its columns.
            resumed: the history up to the epoch that training resumes from; None for a new run.
        """
        self.path = path
        self.columns = tuple(columns)
        self._held_back = ""
        self._ahead: set[tuple[int, ...]] = set()
        if resumed is not None:
            self._ahead = _keys_of(path, self.columns) - _keys(resumed, self.columns)
            if self._ahead:
                self._held_back = resumed
            else:
                write_text(path, resumed)
        with writing(path):
            # Unbuffered: a line that failed is not tried again when it closes.
            self._file = path.open("xb" if resumed is None else "ab", buffering=0)
        self._synced = time.monotonic()
        if resumed is None:
            self._write_line(",".join(self.columns))

    @property
    def is_behind(self) -> bool:
        """Whether the file still holds rows of epochs that have not been computed again."""
        return bool(self._held_back)

    def append(self, row: Mapping[str, Value]) -> None:
        """Write one row. A column that `row` does not name stays empty; a name that is not one is a bug."""
        unknown = [name for name in row if name not in self.columns]
        if unknown:
            raise ValueError(f"{unknown} not among the columns of this history: {list(self.columns)}")
        line = ",".join(format_value(row.get(name)) for name in self.columns)
        if not self._held_back:
            self._write_line(line)
            return
        self._held_back += f"{line}\n"
        self._ahead.discard(tuple(int(row.get(name) or 0) for name in self.columns if name in _KEYS))
        if not self._ahead:
            self.settle()

    def text(self) -> str:
        """The history of what has been computed: rows that wait to be computed again are left out."""
        return self._held_back or read_text(self.path)

    @property
    def length(self) -> int:
        """How many characters `text` gives."""
        return len(self._held_back) or os.fstat(self._file.fileno()).st_size

    def settle(self) -> None:
        """Let what has been computed take the place of what is in the file."""
        if not self._held_back:
            return
        self.close()
        write_text(self.path, self._held_back)
        self._held_back = ""
        with writing(self.path):
            self._file = self.path.open("ab", buffering=0)

    def close(self) -> None:
        """Flush everything to disk and close the file. Closing twice does no harm."""
        if self._file.closed:
            return
        with writing(self.path), self._file:
            self._sync()

    def _write_line(self, line: str) -> None:
        with writing(self.path):
            data = f"{line}\n".encode()
            while data:
                data = data[self._file.write(data) :]
            if time.monotonic() - self._synced >= FSYNC_EVERY_SECONDS:
                self._sync()

    def _sync(self) -> None:
        os.fsync(self._file.fileno())
        self._synced = time.monotonic()

    def __enter__(self) -> HistoryWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def read_csv(path: Path) -> HistoryTable:
    """A history as it was written, bit for bit. A torn last line (a crash) is dropped."""
    if path.exists() and not path.is_file():
        raise DataError(f"Cannot read {path}: it is not a regular file.")
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError as error:
        raise DataError(f"{path.parent} has no {path.name}: no epoch of this run has ended.") from error
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"Cannot read {path}: {error}.") from error
    return parse_history(text, str(path))


def parse_history(text: str, name: str) -> HistoryTable:
    """The rows of a history's text, bit for bit; `name` is what messages call it."""
    from nnrun.history_table import HistoryTable

    header, *lines = text[: text.rfind("\n") + 1].split("\n")[:-1] or [""]
    columns = header.split(",")
    if "epoch" not in columns or len(set(columns)) < len(columns):
        raise DataError(
            f"{name} is not a history file: its first line must name its columns, `epoch` among them."
        )
    rows: list[list[Value]] = []
    for number, line in enumerate(lines, start=2):
        try:
            row = [_value(field) for field in line.split(",")]
        except ValueError as error:
            raise DataError(f"{name}, line {number}: every field must be a number, but {error}.") from error
        if len(row) != len(columns):
            raise DataError(f"{name}, line {number}: {len(columns)} fields expected, {len(row)} found.")
        rows.append(row)
    return HistoryTable.of_values({name: [row[i] for row in rows] for i, name in enumerate(columns)})


def epochs_begun(path: Path) -> int:
    """The last epoch that a history has a whole row of, of any network; 0 where there is none."""
    if not path.is_file():
        return 0
    try:
        header, *lines = path.read_bytes().split(b"\n")[:-1]
        place = header.split(b",").index(b"epoch")
        return max((int(line.split(b",")[place]) for line in lines), default=0)
    except (OSError, ValueError, IndexError):  # no history yet, or one that its own reader will complain of
        return 0


def _keys_of(path: Path, columns: Sequence[str]) -> set[tuple[int, ...]]:
    """What `_keys` finds in a file; nothing where the file is gone or is no text."""
    try:
        return _keys(read_text(path), columns)
    except DataError:
        return set()


def _keys(text: str, columns: Sequence[str]) -> set[tuple[int, ...]]:
    """(network, epoch) of each whole row; rows that are damaged are left out."""
    header, *lines = text.split("\n")[:-1] or [""]
    if header.split(",") != list(columns):
        return set()
    places = [place for place, name in enumerate(columns) if name in _KEYS]
    found = set()
    for line in lines:
        fields = line.split(",")
        if len(fields) == len(columns) and all(fields[place].isdecimal() for place in places):
            found.add(tuple(int(fields[place]) for place in places))
    return found


def to_csv(table: HistoryTable) -> str:
    """A table of numbers as CSV that reads back bit for bit (NaN as `nan`)."""
    columns = [table[name].tolist() for name in table.columns]
    lines = (",".join(format_value(value) for value in row) for row in zip(*columns, strict=True))
    return "\n".join([",".join(table.columns), *lines]) + "\n"


def _value(field: str) -> Value:
    """A field of the CSV. Python's float() reads back exactly what repr() wrote."""
    if not field:
        return None
    if field.isdecimal() and len(field) <= _DIGITS and int(field) < 2**63:
        return int(field)
    return float(field)
