"""`deterministic: true`: the same sums in the same order each time, on a GPU too.

A CPU computes so anyway, with one number of threads: nothing is changed there. On CUDA it follows PyTorch's
notes on reproducibility (pytorch.org/docs/stable/notes/randomness.html), and leaves TF32 out.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import torch

from nnrun.errors import NnrunError, UsageError

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
