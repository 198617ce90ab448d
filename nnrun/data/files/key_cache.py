"""The keys of large files of JSON lines, kept in nnrun's cache: to find them takes a pass over the file."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from nnrun.data.cache_entry import folder_beside, keep_entry, load_entry
from nnrun.data.files.file_hash import remembered_sha256
from nnrun.paths import cache_dir

LARGE = 64 * 2**20
"""Bytes of a file from which on its keys are kept."""


def cached_or_found(path: Path, find: Callable[[], Sequence[str]]) -> tuple[str, ...]:
    """The keys from the cache; else found, and kept there where the file is large.

    A cache that cannot be used costs time and is no error. An entry is named by the hash of the file's bytes.

    Args:
        path: of the file.
        find: reads the file.
    """
    try:
        large = path.stat().st_size >= LARGE
    except OSError:
        large = False  # what reads it says what is wrong
    if not large:
        return tuple(find())
    entry = cache_dir() / "tables" / f"{remembered_sha256(path)[:32]}-keys"
    if (known := load_entry(entry, _keys, lambda text: None, "")) is not None:
        return known
    found = tuple(find())
    with contextlib.suppress(OSError), folder_beside(entry) as folder:
        keep_entry(folder, entry, found)
    return found


def _keys(document: Any) -> tuple[str, ...]:
    if not document or not all(type(key) is str for key in document) or len(set(document)) < len(document):
        raise ValueError("it holds no keys")
    return tuple(document)
