"""Out of memory, as a sentence: what was asked for, what is free, what to lower.

Free is what the machine, its container and the process's own limit leave.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

from nnrun.control_groups import control_groups, read_text
from nnrun.errors import NnrunError

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
