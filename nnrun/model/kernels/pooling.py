"""The largest number of each window, in C++ (`pooling.cpp`)."""

from __future__ import annotations

import ctypes
import math
from typing import TYPE_CHECKING, Any

from nnrun.lazy_torch import AutogradFunction, torch
from nnrun.model.kernels.calls import address, usable
from nnrun.model.windows import Windows

if TYPE_CHECKING:
    from torch import Tensor

LIBRARY = "pooling"

MOST_PLACES = 256
"""Of a window: a byte says which of them has the largest number."""


class Pooling(ctypes.Structure):
    """As in `pooling.cpp`, which says what the fields mean."""

    _fields_ = tuple(
        (name, ctypes.c_int64)
        for name in (
            "images", "height", "width", "channels", "window_height", "window_width",
            "stride_y", "stride_x", "top", "left", "bottom", "right", "threads",
        )
    )  # fmt: skip


def pooling_of(images: int, height: int, width: int, channels: int, windows: Windows) -> Pooling:
    """Of so many images of this size."""
    return Pooling(
        images, height, width, channels, *windows.size, *windows.strides, *windows.before,
        *windows.after, torch.get_num_threads(),
    )  # fmt: skip


def largest(x_NHWC: Tensor, windows: Windows) -> Tensor | None:
    """(N, height, width, C): the largest number of each window; None where PyTorch must find it."""
    if math.prod(windows.size) > MOST_PLACES or x_NHWC.numel() == 0:
        return None
    library = usable(LIBRARY, x_NHWC)
    if library is None:
        return None
    found: Tensor = _Pool.apply(x_NHWC, windows, library)
    return found


class _Pool(AutogradFunction):
    """The largest number of each window."""

    once_differentiable = True

    @staticmethod
    def forward(ctx: Any, x_NHWC: Tensor, windows: Windows, library: ctypes.CDLL) -> Tensor:
        """(N, H, W, C) → (N, height, width, C)."""
        x_NHWC = x_NHWC.contiguous()
        images, height, width, channels = x_NHWC.shape
        job = pooling_of(images, height, width, channels, windows)
        y = x_NHWC.new_empty((images, *windows.counts(height, width), channels))
        places = torch.empty_like(y, dtype=torch.uint8) if ctx.needs_input_grad[0] else None
        library.pool(ctypes.byref(job), address(x_NHWC), address(y), address(places))
        ctx.job, ctx.library, ctx.shape = job, library, x_NHWC.shape
        ctx.save_for_backward(places)
        return y

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        """Of the images."""
        (places,) = ctx.saved_tensors
        of_images = gradient.new_empty(ctx.shape)
        ctx.library.pool_back(
            ctypes.byref(ctx.job), address(gradient.contiguous()), address(places), address(of_images)
        )
        return of_images, None, None
