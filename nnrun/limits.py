"""What this process may use: CPU threads, memory, a C++ compiler; as machine, container and limits allow.

Sums over several threads are rounded differently (gradients of convolutions, large sums): their
number belongs to what a result depends on. It is recorded, taken again by `--resume` and `reproduce`, and
follows from what the machine and its container allow, never from how busy the machine happens to be.
Nothing here imports torch: `nnrun doctor` asks even where that fails.
"""

from __future__ import annotations

import os
import re
import shutil
import sys
from collections.abc import Iterator
from contextvars import ContextVar
from pathlib import Path
from typing import Literal

from nnrun.errors import NnrunError, UsageError, printable

VARIABLE = "NNRUN_THREADS"
CPU_SHARE = "NNRUN_CPU_SHARE"
"""The variable that tells a worker how many workers share the CPUs of its machine."""
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
    """How many CPUs this process may use: of the machine, of its affinity, of its container's quota.

    Workers that were started together divide them.
    """
    quotas = [_quota(version, group) for version, group in control_groups("cpu", root)]
    there = min([_affinity(), *(int(quota) for quota in quotas if quota is not None)])
    share = os.environ.get(CPU_SHARE, "")
    return max(1, there // int(share) if share.isdecimal() and int(share) else there)


def _affinity() -> int:
    """The CPUs that this process may be moved to."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def free_cpus() -> int:
    """How many of the usable CPUs nobody else seems to use, one at least: for work whose result is the same
    whatever the number of threads."""
    if not hasattr(os, "getloadavg"):
        return usable_cpus()
    others = max(0.0, os.getloadavg()[0] - 1)  # this process is one of those that compute
    idle = round((os.cpu_count() or 1) - others)
    if min(idle, _affinity()) <= 1:  # as segment after segment asks: nothing need be read for it
        return 1
    return min(usable_cpus(), idle)


def _quota(version: int, group: Path) -> float | None:
    """The CPUs that a control group around this process is given, version 2 or 1; None unlimited."""
    names = ["cpu.max"] if version == 2 else ["cpu.cfs_quota_us", "cpu.cfs_period_us"]
    written = " ".join(read_text(group / name) for name in names).split()  # both in microseconds
    if len(written) != 2 or not all(text.isdecimal() for text in written) or int(written[1]) == 0:
        return None  # `max`, -1, or nothing
    return int(written[0]) / int(written[1])


def control_groups(controller: str, root: Path) -> Iterator[tuple[Literal[1, 2], Path]]:
    """Version and folder of each group in which a controller limits this process, the innermost first.

    Args:
        controller: `cpu` or `memory`.
        root: where the file system begins.
    """
    for line in read_text(root / "proc/self/cgroup").splitlines():
        _, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        if controllers and controller not in controllers.split(","):
            continue
        top = root / "sys/fs/cgroup" / controllers
        own = top / path.lstrip("/")
        for group in (own, *own.parents):  # within a container the path may be the one outside it
            yield 1 if controllers else 2, group
            if group == top:
                break


def read_text(path: Path) -> str:
    """A file that the system writes; empty where there is none."""
    try:
        return path.read_text()
    except OSError:
        return ""


_UNITS = {"bytes": 1, "kib": 2**10, "mib": 2**20, "gib": 2**30, "tib": 2**40}
# PyTorch on a CPU and on a GPU, and NumPy: "you tried to allocate 4000000000 bytes", "Tried to allocate
# 2.00 GiB", "Unable to allocate 7.45 GiB for an array with shape (...)".
_ASKED = re.compile(r"allocate (\d+(?:\.\d*)?) (bytes|[KMGT]iB)", re.IGNORECASE)
# "GPU 0 has a total capacity of 79.11 GiB of which 1.20 GiB is free"
_FREE_ON_GPU = re.compile(r"of which (\d+(?:\.\d*)?) (bytes|[KMGT]iB) is free", re.IGNORECASE)


ADVICE = (
    "Use a smaller batch_size, fewer units, fewer words (num_words) or columns, or fewer folds, seeds or "
    "trials at a time (--fold, --seeds, sweep.together)."
)


def out_of_memory(error: BaseException, needed: int | None = None) -> NnrunError | None:
    """An error of ours for one that says that memory ran out; None for any other.

    PyTorch's own kinds are known by their name and their words, so that nothing is imported at such a moment.

    Args:
        error: what was raised.
        needed: bytes that the whole run was estimated to take, where that is known.
    """
    text = str(error)
    on_gpu = type(error).__name__ == "OutOfMemoryError"
    if not (isinstance(error, MemoryError) or on_gpu or "can't allocate memory" in text):
        return None
    asked, free = _bytes(_ASKED, text), _bytes(_FREE_ON_GPU, text) if on_gpu else free_memory()
    facts = []
    if asked is not None:
        facts.append(f"{in_words(asked)} more was needed at once")
    if free is not None:
        facts.append(f"{in_words(free)} are free{' on the GPU' if on_gpu else ''}")
    if needed is not None:
        facts.append(f"the whole run takes about {in_words(needed)}, in addition to Python and PyTorch")
    known = ", and ".join([", ".join(facts[:-1]), facts[-1]] if facts[1:] else facts)
    told = f"out of memory: {known}" if known else "out of memory"
    return NnrunError(f"{told}. {ADVICE} `nnrun show` shows how much memory a spec takes, and for what.")


def _bytes(pattern: re.Pattern[str], text: str) -> int | None:
    found = pattern.search(text)
    return None if found is None else int(float(found[1]) * _UNITS[found[2].lower()])


def in_words(number: int) -> str:
    """`12.3 GB`, `812 MB`, `2 kB`."""
    if number >= 1e9:
        return f"{number / 1e9:,.1f} GB"
    return f"{number / 1e6:,.0f} MB" if number >= 1e6 else f"{number / 1e3:,.0f} kB"


_ROOT = Path("/")


def free_memory() -> int | None:
    """Bytes that this process can still get: the least of what its limits leave; None unknown."""
    limits = [of_machine(), of_control_group(), _of_process()]
    return min((limit for limit in limits if limit is not None), default=None)


def of_machine(root: Path = _ROOT) -> int | None:
    """What the system can give away without swapping, and the swap space that is free."""
    text = read_text(root / "proc/meminfo")
    found = {name: int(kb) * 1024 for name, kb in re.findall(r"^(\w+):\s+(\d+) kB", text, re.MULTILINE)}
    if "MemAvailable" not in found:
        return None
    return found["MemAvailable"] + found.get("SwapFree", 0)


def of_control_group(root: Path = _ROOT) -> int | None:
    """What is left of the limits of a container or another control group, version 2 or 1; None unlimited.

    A limit holds for all groups below. What files take in the page cache is given back when it is wanted.
    """
    left = [_left_of_group(group, *_NAMES[version]) for version, group in control_groups("memory", root)]
    return min((bytes_ for bytes_ in left if bytes_ is not None), default=None)


_NAMES = {
    1: ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
    2: ("memory.max", "memory.current", "inactive_file"),
}
"""Version of control groups → the files of a limit and of what is used, and what the page cache is called."""


def _left_of_group(group: Path, limit: str, used: str, cached: str) -> int | None:
    most, taken = read_text(group / limit).strip(), read_text(group / used).strip()
    if not (most.isdecimal() and taken.isdecimal()) or int(most) >= 2**62:  # `max`, or as good as that
        return None
    found = re.search(rf"^{cached} (\d+)$", read_text(group / "memory.stat"), re.MULTILINE)
    return max(0, int(most) - int(taken) + (int(found[1]) if found else 0))


def _of_process() -> int | None:
    """What is left of the limit of the address space (`ulimit -v`)."""
    if sys.platform == "win32":
        return None
    import resource

    most, _ = resource.getrlimit(resource.RLIMIT_AS)
    size = read_text(_ROOT / "proc/self/statm").split()
    if most == resource.RLIM_INFINITY or not size:
        return None
    return max(0, most - int(size[0]) * resource.getpagesize())


def cxx_compiler() -> str | None:
    """The path of this machine's C++ compiler, CXX first; None where there is none."""
    wanted = (os.environ.get("CXX"), "c++", "g++", "clang++")
    return next((path for name in wanted if name and (path := shutil.which(name))), None)
