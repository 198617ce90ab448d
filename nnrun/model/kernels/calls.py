"""When a C++ kernel may be called with tensors, and how it gets them."""

from __future__ import annotations

import ctypes
from typing import TYPE_CHECKING

from nnrun.lazy_torch import torch
from nnrun.native.kernels import kernel

if TYPE_CHECKING:
    from torch import Tensor

Number = ctypes.c_int64


def usable(name: str, *tensors: Tensor | None) -> ctypes.CDLL | None:
    """The library of `native/cpp/NAME.cpp` where it is there and can read these tensors; else None.

    It reads the memory of float32 tensors on the CPU. There is none behind the tensors of `torch.export`,
    `torch.func` and tracing, which record or transform what is computed.
    """
    if torch.compiler.is_compiling() or torch._C._get_tracing_state() is not None:
        return None
    if not all(_in_memory(tensor) for tensor in tensors if tensor is not None):
        return None
    return kernel(name)


def _in_memory(tensor: Tensor) -> bool:
    return (
        type(tensor) in (torch.Tensor, torch.nn.Parameter)
        and tensor.dtype == torch.float32
        and tensor.device.type == "cpu"
        and not torch._C._functorch.is_functorch_wrapped_tensor(tensor)
    )


def address(tensor: Tensor | None) -> ctypes.c_void_p:
    """Where a contiguous tensor's numbers lie; null for None."""
    if tensor is None:
        return ctypes.c_void_p(None)
    assert tensor.is_contiguous(), "C++ takes one number behind the other"
    return ctypes.c_void_p(tensor.data_ptr())


def threads() -> Number:
    """How many a kernel may use: as many as PyTorch."""
    return Number(torch.get_num_threads())
