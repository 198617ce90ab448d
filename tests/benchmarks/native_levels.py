"""The C++ steps against PyTorch's, on CPUs of every level that this machine can stand in for.

    python tests/benchmarks/native_levels.py

x86-64-v2 has vectors of 16 bytes (SSE 4.2), v3 of 32 (AVX2: most desktops), v4 of 64 (AVX-512). The C++ is
compiled for each level, and PyTorch, MKL and oneDNN are told to use no more than it has. Each line gives the
microseconds of a step of all networks, and PyTorch / C++. Above 1 the C++ is faster, and it must be at every
level, since `auto` takes it at all of them. Times are of the CPU, the least of some repeats in turn: other
processes count little.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from native_step import microseconds

from nnrun.native.library import THIS_CPU
from nnrun.training.device import cpu_setup

sys.path.insert(0, str(Path(__file__).parents[2]))
from tests.support.cpu_levels import levels_here

# Features, units of two hidden layers, batch size, networks: Boston's folds, digits' folds, wider tables.
SIZES = [
    (13, 64, 1, 4),
    (64, 64, 32, 5),
    (64, 64, 512, 1),
    (100, 256, 64, 1),
    (98, 256, 1024, 1),
    (784, 512, 128, 1),
]


# What holds the libraries of PyTorch to a level: ATen, MKL, oneDNN.
LIMITS = {
    "x86-64-v2": ("default", "SSE4_2", "SSE41"),
    "x86-64-v3": ("avx2", "AVX2", "AVX2"),
    "x86-64-v4": ("avx512", "AVX512", "AVX512_CORE"),
}
VARIABLES = ("ATEN_CPU_CAPABILITY", "MKL_ENABLE_INSTRUCTIONS", "ONEDNN_MAX_CPU_ISA")


def compare(features: int, units: int, batch_size: int, replicas: int, cpu: str) -> str:
    """One line of the table."""
    eager, own = microseconds(features, units, batch_size, replicas, cpu)
    return f"{features:4} {units:4} {batch_size:6} {replicas:9} {eager:9.0f} {own:9.0f} {eager / own:7.1f}"


def main() -> None:
    if len(sys.argv) > 1:
        with cpu_setup(1):
            for size in SIZES:
                print(compare(*size, sys.argv[1]), flush=True)
        return
    for cpu in (*levels_here(), THIS_CPU):
        print(f"{cpu}\n   F    U  batch  networks   PyTorch       C++   ratio", flush=True)
        limits = dict(zip(VARIABLES, LIMITS.get(cpu, ()), strict=False))
        subprocess.run([sys.executable, __file__, cpu], check=True, env={**os.environ, **limits})


if __name__ == "__main__":
    main()
