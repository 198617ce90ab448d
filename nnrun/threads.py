"""How many CPU threads to compute with: as many as were asked for, else those that this process may use.

Sums over several threads are rounded differently (gradients of convolutions, large sums): their
number belongs to what a result depends on. It is recorded, taken again by `--resume` and `reproduce`, and
follows from what the machine and its container allow, never from how busy the machine happens to be.
"""

from __future__ import annotations

import os
from contextvars import ContextVar
from pathlib import Path

from nnrun.control_groups import control_groups, read_text
from nnrun.errors import UsageError, printable

VARIABLE = "NNRUN_THREADS"
_asked: ContextVar[int | None] = ContextVar("CPU threads", default=None)


def ask_for(threads: int | None) -> None:
    """Compute with so many threads from now on; None for what the variable or the machine says."""
    _asked.set(threads)


def wanted_threads() -> int | None:
    """How many threads were asked for, by `--threads` or by the variable.

    Raises:
        UsageError: the variable is no whole number from 1.
    """
    if (asked := _asked.get()) is not None:
        return asked
    text = os.environ.get(VARIABLE, "").strip()
    if not text:
        return None
    if not (text.isdecimal() and len(text) < 6 and int(text) > 0):
        raise UsageError(f"{VARIABLE} is {printable(text)!r}; it must be a whole number from 1.")
    return int(text)


def usable_cpus(root: Path = Path("/")) -> int:
    """How many CPUs this process may use: of the machine, of its affinity, of its container's quota."""
    affinity = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    quotas = [quota for quota in _quotas(root) if quota is not None]
    return max(1, min([affinity, *(int(quota) for quota in quotas)]))


def _quotas(root: Path) -> list[float | None]:
    """The CPUs that each control group around this process is given, version 2 or 1; None unlimited."""
    return [_quota(version, group) for version, group in control_groups("cpu", root)]


def _quota(version: int, group: Path) -> float | None:
    names = ["cpu.max"] if version == 2 else ["cpu.cfs_quota_us", "cpu.cfs_period_us"]
    written = " ".join(read_text(group / name) for name in names).split()  # both in microseconds
    if len(written) != 2 or not all(text.isdecimal() for text in written) or int(written[1]) == 0:
        return None  # `max`, -1, or nothing
    return int(written[0]) / int(written[1])
