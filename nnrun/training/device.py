"""Which device to train on."""

from __future__ import annotations

import re

import torch

from nnrun.errors import UsageError


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
        raise UsageError(f"--device {wanted}: there are {count} GPUs, numbered from 0.")
    return torch.device("cuda", index)
