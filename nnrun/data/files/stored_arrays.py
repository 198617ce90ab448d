"""Arrays of numbers in files: one after the other in a file to be mapped, or for a while in one without name.

Letters in names: N rows.
"""

from __future__ import annotations

import math
import os
import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Final

import numpy as np
import numpy.typing as npt

from nnrun.mapped_arrays import know_file
from nnrun.paths import cache_dir, private_place

_ALIGNMENT: Final = 64
STORED_BYTES: Final = 1 << 28
"""What takes less is as well in memory."""
TYPES: Final = {kind.__name__: kind for kind in (np.int32, np.int64, np.float32, np.float64)}
"""The types of numbers that are stored, by their names."""


@dataclass(frozen=True)
class StoredPart:
    """Where an array lies in a `Spool`."""

    at: int
    n: int
    type: np.dtype[Any]


class Spool:
    """A file without a name that holds arrays until they are read again."""

    def __init__(self, folder: Path) -> None:
        """Make it in a folder. Raises OSError."""
        self._file = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115  (`close` closes it)
        self._end = 0

    def add(self, values: npt.NDArray[Any]) -> StoredPart:
        """Write an array (n,) at the end. Raises OSError."""
        part = StoredPart(self._end, len(values), values.dtype)
        self._file.seek(part.at)
        self._file.write(_bytes(values))
        self._end += values.nbytes
        return part

    def read(self, part: StoredPart) -> npt.NDArray[Any]:
        """An array (n,) as it was added."""
        values = np.empty(part.n, part.type)
        self._file.seek(part.at)
        self._file.readinto(_bytes(values))
        return values

    def close(self) -> None:
        """Remove it."""
        self._file.close()


class ArrayFile:
    """A file that is being written, an array at a time, for `map_arrays`."""

    def __init__(self, path: Path) -> None:
        """Make it. Raises OSError."""
        self._file = path.open("wb")

    def __enter__(self) -> ArrayFile:
        return self

    def __exit__(self, *error: object) -> None:
        self._file.close()

    def add(self, parts: Iterable[npt.NDArray[Any]], kind: type[np.generic]) -> int:
        """Write an array that comes in parts; where it begins in the file. Raises OSError."""
        self._file.write(bytes(-self._file.tell() % _ALIGNMENT))
        at = self._file.tell()
        for part in parts:
            self._file.write(_bytes(part.astype(kind, copy=False)))
        return at


def rows_folder() -> Path:
    """Where files without a name are made. They are gone when the process ends."""
    return cache_dir() / "rows"


def file_without_name() -> IO[bytes]:
    """An empty file in `rows_folder`, which is gone once it is closed and nothing maps it. Raises OSError."""
    return tempfile.TemporaryFile(dir=private_place(rows_folder()))


def stored_rows(
    parts: Iterable[npt.NDArray[Any]], shape: Sequence[int], kind: npt.DTypeLike
) -> npt.NDArray[Any]:
    """Rows that come in parts, one behind the other, mapped from a file that has no name.

    Args:
        parts: each of `kind`, or of the bytes of such numbers.
        shape: of all rows together.
        kind: the type of the numbers.

    Raises:
        OSError: the file cannot be written.
    """
    with file_without_name() as file:
        return written_rows(file, parts, shape, kind)


def written_rows(
    file: IO[bytes], parts: Iterable[npt.NDArray[Any]], shape: Sequence[int], kind: npt.DTypeLike
) -> npt.NDArray[Any]:
    """The same, written into this file, which is empty. Raises OSError."""
    for part in parts:
        file.write(_bytes(part))
    file.flush()
    return mapped_rows(file, shape, kind)


def mapped_rows(file: IO[bytes] | Path, shape: Sequence[int], kind: npt.DTypeLike) -> npt.NDArray[Any]:
    """An array that fills a file, mapped into memory; ValueError where the file has another size."""
    if not math.prod(shape):
        return np.zeros(shape, kind)
    whole = np.memmap(file, np.uint8, "r")
    if len(whole) != math.prod(shape) * np.dtype(kind).itemsize:
        raise ValueError("its rows are not all there")
    know_file(whole, os.open(file, os.O_RDONLY) if isinstance(file, Path) else os.dup(file.fileno()))
    return np.asarray(whole).view(kind).reshape(shape)


def _bytes(values: npt.NDArray[Any]) -> memoryview:
    return np.ascontiguousarray(values).view(np.uint8).data


def map_arrays(path: Path, places: Iterable[tuple[int, str]], n: int) -> list[npt.NDArray[Any]]:
    """Arrays (N,) of a file, mapped into memory at once: a map for each would take as many file handles.

    Args:
        path: of a file of `ArrayFile`.
        places: where each array begins, and the name of its type.
        n: N.

    Raises:
        OSError: it cannot be read.
        ValueError, KeyError: it does not hold these arrays.
    """
    arrays: list[npt.NDArray[Any]] = []
    whole = np.memmap(path, np.uint8, "r") if path.stat().st_size else np.zeros(0, np.uint8)
    for at, name in places:
        size = n * np.dtype(TYPES[name]).itemsize
        if at % _ALIGNMENT or not 0 <= at <= len(whole) - size:
            raise ValueError(f"{path.name} is too short")
        arrays.append(whole[at : at + size].view(TYPES[name]))
    return arrays
