"""The keys of large files of JSON lines, kept in nnrun's cache: to find them takes a pass over the file."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from nnrun.cache_folder import cache_dir, distrust_entry, make_private, private_place
from nnrun.data.tables.open_file import sha256_of
from nnrun.data.tables.table_cache import with_checksum, without_checksum

LARGE = 64 * 2**20
"""Bytes of a file from which on its keys are kept."""


def kept_or_found(path: Path, find: Callable[[], Sequence[str]]) -> tuple[str, ...]:
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
    entry = cache_dir() / "tables" / f"{sha256_of(path)[:32]}-keys.json"
    try:
        keys = without_checksum(entry.read_bytes()) if distrust_entry(entry) is None else None
    except (OSError, ValueError):
        keys = None
    if isinstance(keys, list) and keys and all(type(k) is str for k in keys) and len(set(keys)) == len(keys):
        return tuple(keys)
    found = tuple(find())
    partial = entry.with_suffix(".partial")
    try:
        private_place(entry.parent)
        partial.write_bytes(with_checksum(found))
        make_private(partial)
        partial.replace(entry)
    except OSError:
        pass
    return found
