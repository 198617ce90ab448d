"""Memory of the process that nobody uses goes back to the system."""

from __future__ import annotations

import ctypes
import subprocess
import sys

import pytest

_MANY = """
from nnrun.mapped_arrays import return_freed_memory

def held():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * 4096

blocks = [bytes(4000) for _ in range(20_000)]
kept = blocks[::50]  # so that what lies between cannot be given back from the end
del blocks
before = held()
return_freed_memory()
assert before - held() > 40_000_000, (before, held())
"""


@pytest.mark.skipif(
    sys.platform != "linux" or not hasattr(ctypes.CDLL(None), "malloc_trim"), reason="glibc has the function"
)
def test_freed_memory_is_returned() -> None:
    subprocess.run([sys.executable, "-c", _MANY], check=True, timeout=60)
