"""The levels of x86-64 CPUs, and which of them this machine can run."""

from __future__ import annotations

import platform
from pathlib import Path

# The instructions of each that have vectors, as Linux lists them; they come with all the others.
_NEEDS = {
    "x86-64-v2": {"sse4_2"},  # 16 bytes
    "x86-64-v3": {"avx2", "fma"},  # 32 bytes: most desktops
    "x86-64-v4": {"avx512f", "avx512bw", "avx512dq", "avx512vl"},  # 64 bytes
}


def levels_here() -> tuple[str, ...]:
    """Levels whose code this machine can run, for `-march`; none where that cannot be found out."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return ()
    if platform.machine() != "x86_64":
        return ()
    flags = next((set(line.split(":")[1].split()) for line in lines if line.startswith("flags")), set())
    return tuple(level for level, needed in _NEEDS.items() if needed <= flags)
