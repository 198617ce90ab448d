"""Whether a file is as it was: what the system says of it, without reading it."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Final

SETTLED_NS: Final = 2 * 10**9
"""No file system's clock is coarser. A file that was changed within so many nanoseconds may change once more
and keep its times."""


@dataclass(frozen=True)
class FileState:
    """A file as it is now.

    Whoever writes to a file changes the time of its last change of status, which no program can set back. So
    on POSIX systems a file in the same state holds the same; elsewhere `st_ctime` is another time.

    Attributes:
        text: differs from that of any other state of the file: device, inode, size and times.
        changed_ns: when it was changed last, in nanoseconds since 1970.
    """

    text: str
    changed_ns: int

    @classmethod
    def of(cls, status: os.stat_result) -> FileState:
        """What `os.stat` says."""
        return cls(cls.text_of(status), max(status.st_mtime_ns, status.st_ctime_ns))

    @staticmethod
    def text_of(status: os.stat_result) -> str:
        """The text alone."""
        written, changed = status.st_mtime_ns, status.st_ctime_ns
        return f"{status.st_dev} {status.st_ino} {status.st_size} {written} {changed}"

    def lasts(self, now_ns: int) -> bool:
        """Whether each change from now on gives another state; one just after another may not."""
        return self.changed_ns < now_ns - SETTLED_NS
