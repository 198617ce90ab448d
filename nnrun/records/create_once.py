"""A file that is made once, whoever tries, without locks, which network file systems lack or lose.

It is written under a name of its own, then hard-linked to the one that all mean; that the link was made shows
in the file's count of links even where the server's answer was lost (open(2) of Linux tells this of NFS).
"""

from __future__ import annotations

import contextlib
import errno
import os
from pathlib import Path

from nnrun.atomic_files import unfinished

_WITHOUT_LINKS = frozenset(
    getattr(errno, name)
    for name in ("EPERM", "EMLINK", "ENOTSUP", "EOPNOTSUPP", "ENOSYS", "EACCES", "EINVAL")
    if hasattr(errno, name)
)
"""What `link` says on file systems that have no hard links."""


def create_once(path: Path, data: bytes) -> bool:
    """Make a file that does not exist; of all that try, one does, and False is what the others get.

    Raises:
        OSError: it cannot be made: the folder is gone, the disk is full.
    """
    temporary = unfinished(path)
    try:
        with temporary.open("xb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        try:
            os.link(temporary, path)
        except FileExistsError:
            pass  # perhaps it was this very call that made it, and was repeated because an answer was lost
        except OSError as error:
            if error.errno in _WITHOUT_LINKS:
                return _open_once(path, data)
            if os.stat(temporary).st_nlink != 2:
                raise
        return os.stat(temporary).st_nlink == 2
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)


def _open_once(path: Path, data: bytes) -> bool:
    """The same by O_EXCL alone. Who looks at the wrong moment finds the file empty."""
    try:
        handle = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666)
    except FileExistsError:
        return False
    with open(handle, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    return True
