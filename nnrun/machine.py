"""Which machine and which process this is, in a form that other machines can tell apart.

A process number means something on one machine alone, and in a container's own numbering of processes alone.
Files that several machines see name both.
"""

from __future__ import annotations

import hashlib
import os
import socket
from dataclasses import dataclass
from functools import cache
from pathlib import Path

_PROC = Path("/proc")


@dataclass(frozen=True)
class ProcessName:
    """A process, told apart from any other on any machine.

    Attributes:
        host: the machine's name, for people.
        machine: the machine, its start, and its numbering of processes, as a hash.
        pid: the number of the process there.
        started: when it started, in the machine's own ticks; empty where that cannot be known. A number is
            given again once its process has ended.
    """

    host: str
    machine: str
    pid: int
    started: str

    def has_ended(self) -> bool:
        """Whether it is known to have ended; False for a process of another machine: it cannot be asked."""
        if self.machine != this_machine():
            return False
        if not is_running(self.pid):
            return True
        return bool(self.started) and _start_of(self.pid) not in ("", self.started)


@cache
def this_machine() -> str:
    """This machine since it was started, and this numbering of processes: 8 hexadecimal digits."""
    parts = [socket.gethostname(), _read(_PROC / "sys/kernel/random/boot_id")]
    try:
        parts.append(os.readlink(_PROC / "self/ns/pid"))
    except OSError:
        parts.append("")
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:8]


def this_process() -> ProcessName:
    """The process that asks."""
    pid = os.getpid()
    return ProcessName(socket.gethostname(), this_machine(), pid, _start_of(pid))


def is_running(pid: int) -> bool:
    """Whether a process of this number is at work here; True where that cannot be known."""
    if os.name != "posix":
        return True  # on Windows os.kill would end it
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except (OSError, OverflowError):
        return True
    return _state_of(pid) != "Z"  # it has ended, and its parent has not asked how


def _state_of(pid: int) -> str:
    fields = _stat(pid)
    return fields[0] if fields else ""


def _start_of(pid: int) -> str:
    fields = _stat(pid)
    return fields[19] if len(fields) > 19 else ""


def _stat(pid: int) -> list[str]:
    """What Linux tells of a process behind its name: state, parent, ..., start in clock ticks, ..."""
    return _read(_PROC / str(pid) / "stat").rpartition(")")[2].split()


def _read(path: Path) -> str:
    try:
        return path.read_text().strip()
    except OSError:
        return ""
