"""Large arrays that were unpacked or decoded before: kept in nnrun's cache, and mapped from there."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from nnrun.data.cache_entry import OnMessage, folder_beside, keep_entry, load_entry, remove_unused
from nnrun.data.files.stored_arrays import mapped_rows, stored_rows, written_rows
from nnrun.data.files.table_cache import is_kept, unwritable
from nnrun.limits import in_words
from nnrun.paths import cache_dir

_VERSION: Final = 1
_ROWS: Final = "rows"


def cached_array(
    key: Sequence[Any],
    shape: Sequence[int],
    kind: np.dtype[Any],
    parts: Callable[[], Iterator[npt.NDArray[Any]]],
    what: str,
    on_message: OnMessage,
) -> npt.NDArray[Any] | None:
    """An array from the cache, where it is written first if it is not there; None where it cannot be.

    Args:
        key: plain values: the hash of the file that it is read from, and what else decides what it holds.
        shape: of the array.
        kind: the type of its numbers.
        parts: reads it: its rows in order, each part of `kind` or of the bytes of such numbers.
        what: what messages call it.
        on_message: is told what is written, and where the cache cannot be used.
    """
    if not is_kept():
        try:
            return stored_rows(parts(), shape, kind)
        except OSError:
            return None
    document = {"shape": list(map(int, shape)), "type": kind.str}
    digest = hashlib.sha256(json.dumps([_VERSION, document, *key]).encode()).hexdigest()
    entry = cache_dir() / "arrays" / digest[:48]

    def load(known: Any) -> npt.NDArray[Any]:
        if known != document:
            raise ValueError("it holds another array")
        return mapped_rows(entry / _ROWS, shape, kind)

    found = load_entry(entry, load, on_message, f"reading {what} again")
    if found is not None:
        return found
    try:
        with folder_beside(entry) as folder:
            found = _written(folder / _ROWS, parts, shape, kind)
            keep_entry(folder, entry, document)
            remove_unused(entry.parent)
        size = in_words(found.nbytes)
        on_message(f"{what}, {size}: kept in {entry.parent}, and read from there as rows are needed")
    except OSError as error:
        on_message(unwritable(entry.parent, error, "it stays in memory" if found is None else "it is read"))
    return found


def _written(
    path: Path,
    parts: Callable[[], Iterator[npt.NDArray[Any]]],
    shape: Sequence[int],
    kind: np.dtype[Any],
) -> npt.NDArray[Any]:
    with path.open("w+b") as file:
        return written_rows(file, parts(), shape, kind)
