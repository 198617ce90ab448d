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
from nnrun.file_state import FileState
from nnrun.paths import cache_dir

LARGE: Final = 1 << 20
"""Bytes of a file from which on its hash is remembered."""


def remembered_sha256(path: Path) -> str:
    """The hash of a file's bytes, as `sha256_of`; of a large file that is unchanged from the cache.

    Whoever writes to a file changes the time of its last change of status, which no program can set back. So
    a file of the same place, size and times as at its last hashing has the same bytes. Only writes through a
    memory map may leave the times alone, where the page was written to before and is not on the disk yet; so
    the file is brought there first. One that lies in memory has no disk, and is hashed each time.

    Args:
        path: of the file.

    Raises:
        DataError: it cannot be read.
    """
    with reading(shown_path(path)):
        status = path.stat()
    # Elsewhere than on POSIX systems `st_ctime` is another time, or files have no such numbers.
    if status.st_size < LARGE or os.name != "posix":
        return sha256_of(path)
    before = FileState.of(status)
    entry = cache_dir() / "hashes" / hashlib.sha256(before.text.encode()).hexdigest()[:32]
    known = load_entry(entry, _hash, lambda text: None, "")
    if known is not None:
        return known
    settled = before.lasts(time.time_ns()) and not _in_memory(status.st_dev) and _on_disk(path)
    sha256 = sha256_of(path)
    with suppress(OSError):  # it takes longer the next time, no more
        if settled and FileState.of(path.stat()) == before:
            with folder_beside(entry) as folder:
                keep_entry(folder, entry, sha256)
            remove_unused(entry.parent)
    return sha256


def _in_memory(device: int) -> bool:
    """Whether Linux keeps the files of a device in memory alone."""
    number = f"{os.major(device)}:{os.minor(device)}"
    try:
        lines = Path("/proc/self/mountinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return False
    kinds = {line.partition(" - ")[2].split(" ")[0] for line in lines if line.split(" ")[2] == number}
    return bool(kinds & {"tmpfs", "ramfs"})


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


def _hash(document: Any) -> str:
    if type(document) is not str or len(document) != 64 or not set(document) <= set("0123456789abcdef"):
        raise ValueError("it holds no hash")
    return document
