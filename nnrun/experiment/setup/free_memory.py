"""How much memory this process can still get: of the machine, of its container, of its own limit."""

from __future__ import annotations

import re
import sys
from pathlib import Path

_ROOT = Path("/")


def free_memory() -> int | None:
    """Bytes that this process can still get: the least of what its limits leave; None unknown."""
    limits = [of_machine(), of_control_group(), _of_process()]
    return min((limit for limit in limits if limit is not None), default=None)


def of_machine(root: Path = _ROOT) -> int | None:
    """What the system can give away without swapping, and the swap space that is free."""
    text = _read(root / "proc/meminfo")
    found = {name: int(kb) * 1024 for name, kb in re.findall(r"^(\w+):\s+(\d+) kB", text, re.MULTILINE)}
    if "MemAvailable" not in found:
        return None
    return found["MemAvailable"] + found.get("SwapFree", 0)


def of_control_group(root: Path = _ROOT) -> int | None:
    """What is left of the limits of a container or another control group, version 2 or 1; None unlimited.

    A limit holds for all groups below. What files take in the page cache is given back when it is wanted.
    """
    left = []
    for line in _read(root / "proc/self/cgroup").splitlines():
        _, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        if controllers not in ("", "memory"):
            continue
        top = root / "sys/fs/cgroup" / controllers
        names = ("memory.max", "memory.current", "inactive_file")
        if controllers:
            names = ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")
        own = top / path.lstrip("/")
        for group in (own, *own.parents):  # within a container the path may be the one outside it
            left.append(_left_of_group(group, *names))
            if group == top:
                break
    return min((bytes_ for bytes_ in left if bytes_ is not None), default=None)


def _left_of_group(group: Path, limit: str, used: str, cached: str) -> int | None:
    most, taken = _read(group / limit).strip(), _read(group / used).strip()
    if not (most.isdecimal() and taken.isdecimal()) or int(most) >= 2**62:  # `max`, or as good as that
        return None
    found = re.search(rf"^{cached} (\d+)$", _read(group / "memory.stat"), re.MULTILINE)
    return max(0, int(most) - int(taken) + (int(found[1]) if found else 0))


def _of_process() -> int | None:
    """What is left of the limit of the address space (`ulimit -v`)."""
    if sys.platform == "win32":
        return None
    import resource

    most, _ = resource.getrlimit(resource.RLIMIT_AS)
    size = _read(_ROOT / "proc/self/statm").split()
    if most == resource.RLIM_INFINITY or not size:
        return None
    return max(0, most - int(size[0]) * resource.getpagesize())


def _read(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:
        return ""
