"""One process at a time. A lock goes with its process, however that ends: there is nothing to clean up."""

from __future__ import annotations

import errno
import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from nnrun.errors import LockedError, NnrunError

_WITHOUT_LOCKS = frozenset(
    getattr(errno, name)
    for name in ("ENOTSUP", "EOPNOTSUPP", "ENOLCK", "ENOSYS", "EINVAL", "EBADF")
    if hasattr(errno, name)
)
"""What flock says on file systems that have no locks, or none for folders (NFS)."""

_PATIENCE_SECONDS = 0.2
"""`is_held` takes the lock for a moment to see whether it can, and must not be mistaken for an owner."""


@contextmanager
def locked(folder: Path, busy: str | None = None) -> Iterator[None]:
    """Hold the lock of a folder (flock, on the folder itself).

    Windows and some network file systems have none, and go without.

    Args:
        folder: it exists.
        busy: what to say where another process holds the lock; None: wait until it is free.

    Raises:
        LockedError: another process holds the lock, and `busy` was given.
    """
    if sys.platform == "win32":
        yield
        return
    handle = _opened(folder)
    try:
        _lock(handle, folder, busy)
        yield
    finally:
        os.close(handle)


def is_held(folder: Path) -> bool | None:
    """Whether some process holds the lock of a folder; None where that cannot be known."""
    if sys.platform == "win32":
        return None
    import fcntl

    try:
        handle = _opened(folder)
    except NnrunError:
        return None
    try:
        fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return None
    finally:
        os.close(handle)
    return False


def _opened(folder: Path) -> int:
    try:
        return os.open(folder, os.O_RDONLY)
    except OSError as error:
        raise NnrunError(f"Cannot open {folder}: {error.strerror}.") from error


def _lock(handle: int, folder: Path, busy: str | None) -> None:
    import fcntl

    patience = time.monotonic() + _PATIENCE_SECONDS
    while True:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | (0 if busy is None else fcntl.LOCK_NB))
        except BlockingIOError:
            if time.monotonic() > patience:
                raise LockedError(busy or "") from None
            time.sleep(0.01)
        except OSError as error:
            if error.errno in _WITHOUT_LOCKS:
                return
            raise NnrunError(f"Cannot lock {folder}: {error.strerror}.") from error
        else:
            return
