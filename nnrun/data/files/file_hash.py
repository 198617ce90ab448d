"""The SHA-256 of a data file, remembered in nnrun's cache as long as the file is the same by its times."""

from __future__ import annotations

import hashlib
import os
import time
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

from nnrun.data.cache_entry import folder_beside, keep_entry, load_entry, remove_unused
from nnrun.data.files.open_file import reading, sha256_of, shown_path
from nnrun.paths import cache_dir

LARGE: Final = 1 << 20
"""Bytes of a file from which on its hash is remembered."""
_SETTLED_NS: Final = 2 * 10**9
"""No file system's clock is coarser. A file that was changed within so many nanoseconds may change once more
and keep its times."""


def remembered_sha256(path: Path) -> str:
    """The hash of a file's bytes, as `sha256_of`; of a large file that is unchanged from the cache.

    Whoever writes to a file changes the time of its last change of status, which no program can set back. So
    a file of the same place, size and times as at its last hashing has the same bytes. Only writes through a
    memory map may leave the times alone, where the page was written to before and is not on the disk yet; so
    the file is brought there first.

    Args:
        path: of the file.

    Raises:
        DataError: it cannot be read.
    """
    with reading(shown_path(path)):
        before = path.stat()
    # Elsewhere than on POSIX systems `st_ctime` is another time, or files have no such numbers.
    if before.st_size < LARGE or os.name != "posix":
        return sha256_of(path)
    entry = _entry(before)
    known = load_entry(entry, _hash, lambda text: None, "")
    if known is not None:
        return known
    begun = time.time_ns()
    settled = max(before.st_mtime_ns, before.st_ctime_ns) < begun - _SETTLED_NS and _on_disk(path)
    sha256 = sha256_of(path)
    with suppress(OSError):  # it takes longer the next time, no more
        if settled and _entry(path.stat()) == entry:
            with folder_beside(entry) as folder:
                keep_entry(folder, entry, sha256)
            remove_unused(entry.parent)
    return sha256


def _on_disk(path: Path) -> bool:
    """Bring what was written to a file to the disk: whether that was possible."""
    try:
        file = os.open(path, os.O_RDONLY)
        try:
            os.fsync(file)
        finally:
            os.close(file)
    except OSError:
        return False
    return True


def _entry(status: os.stat_result) -> Path:
    same = (status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns)
    return cache_dir() / "hashes" / hashlib.sha256(repr(same).encode()).hexdigest()[:32]


def _hash(document: Any) -> str:
    if type(document) is not str or len(document) != 64 or not set(document) <= set("0123456789abcdef"):
        raise ValueError("it holds no hash")
    return document
