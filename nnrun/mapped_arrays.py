"""Arrays that map a file into memory: read as any other, and held only as long as the system likes."""

from __future__ import annotations

import ctypes
import mmap
import os
import weakref
from contextlib import suppress
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

_TOUCHED_AT_ONCE = 1 << 27
"""Bytes of a file that may count as the process's memory while rows are picked out of it."""
_AROUND = 1 << 16
"""Bytes that the system maps where one is read, if it has them at hand."""


def leave_memory(values: npt.NDArray[Any]) -> None:
    """Let go of the pages of a file that an array maps; whoever reads it again has them read again.

    They can be taken back by the system at any time, and still count as memory of the process. Nothing is
    done to an array that can be written to.
    """
    whole = _owner(values)
    if (
        isinstance(whole.base, mmap.mmap)
        and not whole.flags.writeable
        and hasattr(mmap, "MADV_DONTNEED")
        and values.nbytes
    ):
        start = values.ctypes.data - whole.ctypes.data
        first = start - start % mmap.PAGESIZE
        whole.base.madvise(mmap.MADV_DONTNEED, first, start + values.nbytes - first)


def return_freed_memory() -> None:
    """Give back to the system what was freed and lies between what is in use, which glibc keeps otherwise."""
    with suppress(AttributeError, OSError, TypeError):  # other systems have no such function
        ctypes.CDLL(None).malloc_trim(0)


def is_mapped(values: npt.NDArray[Any]) -> bool:
    """Whether it maps a file."""
    return isinstance(_owner(values).base, mmap.mmap)


def in_memory(values: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """The array, copied where it maps a file: for PyTorch, whose tensors can be written to."""
    return np.array(values) if is_mapped(values) else values


def _owner(values: npt.NDArray[Any]) -> Any:
    """The array that it is a part of."""
    whole: Any = values
    while isinstance(whole.base, np.ndarray):
        whole = whole.base
    return whole


class FilePlace(NamedTuple):
    """Where an array lies: the descriptor of an open file, and the byte at which it begins."""

    file: int
    begin: int


_descriptors: weakref.WeakKeyDictionary[mmap.mmap, int] = weakref.WeakKeyDictionary()


def know_file(values: npt.NDArray[Any], descriptor: int) -> None:
    """Say which file an array maps, from its first byte on; the descriptor is closed when the map goes."""
    mapped = _owner(values).base
    _descriptors[mapped] = descriptor
    weakref.finalize(mapped, os.close, descriptor).atexit = False


def place_in_file(values: npt.NDArray[Any]) -> FilePlace | None:
    """Where rows that are mapped lie one behind the other; None where the file is not known."""
    whole = _owner(values)
    if not isinstance(whole.base, mmap.mmap) or not values.flags.c_contiguous:
        return None
    descriptor = _descriptors.get(whole.base)
    return None if descriptor is None else FilePlace(descriptor, values.ctypes.data - whole.ctypes.data)


def take_mapped(values: npt.NDArray[Any], rows: npt.NDArray[np.int64], out: npt.NDArray[Any]) -> None:
    """Copy rows of a mapped array, ascending, into `out`, (n, ...). Little of it is in memory at a time."""
    row_bytes = max(1, values.nbytes // max(1, len(values)))
    at_once = max(1, _TOUCHED_AT_ONCE // max(_AROUND, row_bytes))
    for first in range(0, len(rows), at_once):
        part = rows[first : first + at_once]
        values.take(part, axis=0, out=out[first : first + len(part)], mode="clip")
        leave_memory(values[part[0] : part[-1] + 1])
