"""Memory that ran out, as a sentence: what was asked for, what there is, what to lower."""

from __future__ import annotations

import re
import sys
from pathlib import Path

from nnrun.errors import NnrunError

_UNITS = {"bytes": 1, "kib": 2**10, "mib": 2**20, "gib": 2**30, "tib": 2**40}
# PyTorch on a CPU and on a GPU, and NumPy: "you tried to allocate 4000000000 bytes", "Tried to allocate
# 2.00 GiB", "Unable to allocate 7.45 GiB for an array with shape (...)".
_ASKED = re.compile(r"allocate (\d+(?:\.\d+)?) (bytes|[KMGT]iB)", re.IGNORECASE)
# "GPU 0 has a total capacity of 79.11 GiB of which 1.20 GiB is free"
_FREE_ON_GPU = re.compile(r"of which (\d+(?:\.\d+)?) (bytes|[KMGT]iB) is free", re.IGNORECASE)


def out_of_memory(error: BaseException) -> NnrunError | None:
    """An error of ours for one that says that memory ran out; None for any other.

    PyTorch's own kinds are known by their name and their words, so that nothing is imported at such a moment.
    """
    text = str(error)
    on_gpu = type(error).__name__ == "OutOfMemoryError"
    if not (isinstance(error, MemoryError) or on_gpu or "can't allocate memory" in text):
        return None
    asked, free = _bytes(_ASKED, text), _bytes(_FREE_ON_GPU, text) if on_gpu else free_memory()
    facts = ["memory ran out"]
    if asked is not None:
        facts.append(f"{size_text(asked)} more were needed at once")
    if free is not None:
        facts.append(f"{size_text(free)} are free{' on the GPU' if on_gpu else ''}")
    known = f"{facts[0]}: {', and '.join(facts[1:])}" if facts[1:] else facts[0]
    return NnrunError(
        f"{known}. Use a smaller batch_size, fewer units, fewer words or columns, or fewer folds or seeds at "
        "a time (--fold, --seeds). `nnrun show` tells what a spec takes."
    )


def free_memory() -> int | None:
    """Bytes that this process can still get: of the machine, and of what it is limited to; None unknown."""
    limits = [_of_machine(), _of_process()]
    return min((limit for limit in limits if limit is not None), default=None)


def _of_machine() -> int | None:
    try:
        found = re.search(r"MemAvailable:\s+(\d+) kB", Path("/proc/meminfo").read_text())
    except OSError:
        return None
    return int(found[1]) * 1024 if found else None


def _of_process() -> int | None:
    """What is left of the limit of the address space (`ulimit -v`)."""
    if sys.platform == "win32":
        return None
    import resource

    most, _ = resource.getrlimit(resource.RLIMIT_AS)
    if most == resource.RLIM_INFINITY:
        return None
    try:
        used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    except OSError:
        return None
    return max(0, most - used)


def _bytes(pattern: re.Pattern[str], text: str) -> int | None:
    found = pattern.search(text)
    return None if found is None else int(float(found[1]) * _UNITS[found[2].lower()])


def size_text(number: int) -> str:
    """`812 MB`, `12.3 GB`."""
    return f"{number / 1e9:,.1f} GB" if number >= 1e9 else f"{number / 1e6:,.0f} MB"
