"""Which device to train on, how the CPU is set up for it, and deterministic sums on a GPU."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from nnrun.errors import NnrunError, UsageError
from nnrun.lazy_torch import torch
from nnrun.limits import usable_cpus, wanted_threads
from nnrun.torch_compilers import whole_torch

_GPU_FILES = ("nvidia[0-9]*", "nvidiactl", "nvhost-*", "nvgpu*", "nvmap", "dxg", "kfd")
"""What the drivers of GPUs for which PyTorch is built put into /dev on Linux."""


def device_unless_cpu(wanted: str) -> torch.device | None:
    """What `resolve_device` gives; None for the CPU, where that is known without importing PyTorch.

    Raises:
        UsageError: as from `resolve_device`.
    """
    return None if is_surely_cpu(wanted) else resolve_device(wanted)


def is_surely_cpu(wanted: str) -> bool:
    """Whether `resolve_device` gives the CPU, where that is known without importing PyTorch."""
    if wanted == "auto" and sys.platform == "linux" and "torch" not in sys.modules:
        return not any(any(Path("/dev").glob(name)) for name in _GPU_FILES)
    return wanted == "cpu"


def resolve_device(wanted: str) -> torch.device:
    """`auto` (CUDA if there is one), `cpu`, `cuda` or `cuda:N` → the device. A named GPU must be there."""
    if wanted == "cpu" or (wanted == "auto" and not torch.cuda.is_available()):
        return torch.device("cpu")
    whole_torch()
    if wanted == "auto":
        return torch.device("cuda")
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


def threads_for(multiplications_per_step: int, processes: int = 1) -> int:
    """How many CPU threads a step gets: as many as were asked for; else one, or all that may be used.

    So many `processes` of this training share the machine.
    """
    wanted = wanted_threads()
    if wanted is not None:
        return wanted
    if multiplications_per_step < _WORTH_THREADS:
        return 1
    if processes > 1:  # torchrun sets the variables of PyTorch's own number to 1
        return max(1, usable_cpus() // processes)
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


_VARIABLE = "CUBLAS_WORKSPACE_CONFIG"
_SETTINGS = (":4096:8", ":16:8")
"""With either of them cuBLAS adds in one order."""

_REFUSED = "does not have a deterministic implementation"


def takes_measures(device_type: str, wanted: bool) -> bool:
    """Whether anything is to be set."""
    return wanted and device_type == "cuda"


def exact_on(device_type: str, wanted: bool) -> bool:
    """Whether a run on such a device is the same, bit for bit, when it is resumed or repeated."""
    return wanted or device_type != "cuda"


@contextmanager
def deterministic(device: torch.device, wanted: bool) -> Iterator[None]:
    """Compute so that it can be repeated bit for bit. At the end all is as it was, but for the environment.

    cuBLAS reads its variable once, when the GPU is first used, so that it stays set.

    Args:
        device: where.
        wanted: as the spec has it; nothing is done where it is false.

    Raises:
        UsageError: the GPU is in use already, without the variable.
        NnrunError: an operation has no such way on this device.
    """
    if not takes_measures(device.type, wanted):
        yield
        return
    _set_variable()
    with ExitStack() as before:
        _set_all(before)
        try:
            yield
        except RuntimeError as error:
            if _REFUSED not in str(error):
                raise
            operation = str(error).split(_REFUSED)[0].strip()
            raise NnrunError(
                f"deterministic: true: {operation} has no deterministic implementation on {device.type}. "
                "Train on the CPU (--device cpu), or without deterministic."
            ) from None


def _set_variable() -> None:
    if os.environ.get(_VARIABLE) in _SETTINGS:
        return
    if torch.cuda.is_initialized():  # type: ignore[no-untyped-call]
        raise UsageError(
            f"deterministic: true needs {_VARIABLE}={_SETTINGS[0]} in the environment before this process "
            "first uses the GPU, which has already happened. Set it, and restart."
        )
    os.environ[_VARIABLE] = _SETTINGS[0]


def _set_all(before: ExitStack) -> None:
    """Set PyTorch's switches; `before` sets them back."""
    before.callback(
        torch.use_deterministic_algorithms,
        torch.are_deterministic_algorithms_enabled(),
        warn_only=torch.is_deterministic_algorithms_warn_only_enabled(),
    )
    torch.use_deterministic_algorithms(True)
    for part, name, value in (
        (torch.backends.cudnn, "deterministic", True),
        (torch.backends.cudnn, "benchmark", False),  # else it picks the kernel that was fastest this time
        (torch.backends.cuda.matmul, "allow_tf32", False),
        (torch.backends.cudnn, "allow_tf32", False),
    ):
        before.callback(setattr, part, name, getattr(part, name))
        setattr(part, name, value)
