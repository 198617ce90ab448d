"""Which device to train on, and how the CPU is set up for it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager

import torch

from nnrun.errors import UsageError
from nnrun.threads import usable_cpus, wanted_threads


def resolve_device(wanted: str) -> torch.device:
    """`auto` (CUDA if there is one), `cpu`, `cuda` or `cuda:N` → the device. A named GPU must be there."""
    if wanted == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if wanted == "cpu":
        return torch.device("cpu")
    match = re.fullmatch(r"cuda(?::(\d+))?", wanted)
    if match is None:
        raise UsageError(f"--device is {wanted!r}; it must be auto, cpu, cuda or cuda:N, N a number from 0.")
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if count == 0:
        raise UsageError(
            f"--device {wanted}: PyTorch finds no CUDA GPU here. Use --device cpu, or see `nnrun doctor`."
        )
    index = int(match[1] or 0)
    if index >= count:
        there = "is 1 GPU" if count == 1 else f"are {count} GPUs"
        raise UsageError(f"--device {wanted}: there {there}, numbered from 0.")
    return torch.device("cuda", index)


# Below this many multiplications a step, threads wait for each other longer than they compute; measured by
# tests/benchmarks/threads.py.
_WORTH_THREADS = 50_000_000


def threads_for(multiplications_per_step: int) -> int:
    """How many CPU threads a step gets: as many as were asked for; else one, or all that may be used."""
    wanted = wanted_threads()
    if wanted is not None:
        return wanted
    if multiplications_per_step < _WORTH_THREADS:
        return 1
    return min(torch.get_num_threads(), usable_cpus())


@contextmanager
def cpu_setup(threads: int) -> Iterator[None]:
    """Compute with so many threads, and take numbers too small to matter for zero.

    RMSprop's decaying squares become such numbers (denormals), which cost a CPU tenfold.
    At the end all is as it was.
    """
    before, flushed = torch.get_num_threads(), _flushes_denormals()
    torch.set_num_threads(threads)
    torch.set_flush_denormal(True)
    try:
        yield
    finally:
        torch.set_flush_denormal(flushed)
        torch.set_num_threads(before)


def _flushes_denormals() -> bool:
    """What is set now; PyTorch has no question for it."""
    return float(torch.tensor(1e-310, dtype=torch.float64) * 1.0) == 0.0
