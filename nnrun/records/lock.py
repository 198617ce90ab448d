"""One process at a time. A lock goes with its process, however that ends."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from nnrun.errors import LockedError, NnrunError


@contextmanager
def locked(folder: Path, busy: str | None = None) -> Iterator[None]:
    """Hold the lock of a folder (flock, on the folder itself). Windows has none, and goes without.

    Args:
        folder: it exists.
        busy: what to say where another process holds the lock; None: wait until it is free.

    Raises:
        LockedError: another process holds the lock, and `busy` was given.
    """
    if sys.platform == "win32":
        yield
        return
    import fcntl

    try:
        handle = os.open(folder, os.O_RDONLY)
    except OSError as error:
        raise NnrunError(f"Cannot open {folder}: {error.strerror}.") from error
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | (0 if busy is None else fcntl.LOCK_NB))
        except BlockingIOError:
            raise LockedError(busy or "") from None
        except OSError as error:
            raise NnrunError(f"Cannot lock {folder}: {error.strerror}.") from error
        yield
    finally:
        os.close(handle)
