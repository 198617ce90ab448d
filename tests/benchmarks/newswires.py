"""Topics of newswires from their raw texts: the whole command must take less than 10 s of processor time.

    NNRUN_DATA_DIR=... python tests/benchmarks/newswires.py

Two specs are trained: the tests' own, and the one that `nnrun init` writes for the file. Each in a process
with an empty cache but for the compiled C++, so that importing PyTorch and reading the file count. It is
processor time: other processes on the machine count little. Ends with 1 where a spec takes longer.
"""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import tempfile
from pathlib import Path

MOST_SECONDS = 10
OWN = Path(__file__).parents[1] / "end_to_end" / "own_data" / "reuters.yaml"


COMPILE = 'from nnrun.native.library import load_library; load_library("steps")'


def python(folder: Path, *arguments: str) -> float:
    """Run Python in a folder that holds its runs and its cache. Returns the seconds of processor time."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(
        [sys.executable, *arguments],
        cwd=folder,
        env={**os.environ, "NNRUN_CACHE_DIR": str(folder / "cache")},
        check=True,
        stdout=subprocess.DEVNULL,
    )
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def main() -> int:
    """Print a line for each spec."""
    data = Path(os.environ.get("NNRUN_DATA_DIR") or Path(__file__).parents[3] / "shared" / "data")
    path = (data / "text" / "reuters.csv").resolve()
    seconds = {}
    with tempfile.TemporaryDirectory() as folder:
        here = Path(folder)
        python(here, "-c", COMPILE)
        overrides = ["--set", f"dataset.csv.path={path}"]
        seconds["the tests' own spec"] = python(here, "-m", "nnrun", "train", str(OWN), *overrides, "-q")
    with tempfile.TemporaryDirectory() as folder:
        here = Path(folder)
        python(here, "-c", COMPILE)
        python(here, "-m", "nnrun", "init", str(path), "--yes", "-o", "first.yaml")
        seconds["the spec that init writes"] = python(here, "-m", "nnrun", "train", "first.yaml", "-q")
    for name, found in seconds.items():
        print(f"{name:28} {found:6.1f} s, at most {MOST_SECONDS} s")
    return int(max(seconds.values()) >= MOST_SECONDS)


if __name__ == "__main__":
    sys.exit(main())
