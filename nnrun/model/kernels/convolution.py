"""Convolution of images in C++ (`convolution.cpp`), bias and relu included."""

from __future__ import annotations

import ctypes
import math
from typing import TYPE_CHECKING, Any

from nnrun.lazy_torch import AutogradFunction, torch
from nnrun.model.kernels.calls import address, usable
from nnrun.model.windows import Windows

if TYPE_CHECKING:
    from torch import Tensor

LIBRARY = "convolution"

MOST_PLACES = 320
"""How many numbers a window may meet. PyTorch multiplies longer sums at least as fast."""

SMALL_IMAGE = 1 << 20
"""Up to so many multiplications an image longer sums are faster here too: PyTorch reorders kernels first."""


class Convolution(ctypes.Structure):
    """As in `convolution.cpp`, which says what the fields mean."""

    _fields_ = tuple(
        (name, ctypes.c_int64)
        for name in (
            "replicas", "images", "height", "width", "channels", "filters",
            "window_height", "window_width", "stride_y", "stride_x", "dilation_y", "dilation_x",
            "top", "left", "bottom", "right", "relu", "threads",
        )
    )  # fmt: skip


def convolved(
    x_RBHWC: Tensor, kernel_ROChw: Tensor, bias_RO: Tensor | None, windows: Windows, *, relu: bool
) -> Tensor | None:
    """(R, B, height, width, O): relu(convolution + bias), or without relu; None where PyTorch must do it.

    Args:
        x_RBHWC: the images.
        kernel_ROChw: not flipped, as networks have it.
        bias_RO: what is added to each channel; None for nothing.
        windows: where they lie.
        relu: whether negative sums become 0.
    """
    weights, places = kernel_ROChw[0].numel(), kernel_ROChw[0, 0].numel()
    multiplications = weights * math.prod(windows.counts(*x_RBHWC.shape[2:4]))
    if (places > MOST_PLACES and multiplications > SMALL_IMAGE) or x_RBHWC.numel() == 0:
        return None
    library = usable(LIBRARY, x_RBHWC, kernel_ROChw, bias_RO)
    if library is None:
        return None
    found: Tensor = _Convolve.apply(x_RBHWC, kernel_ROChw, bias_RO, windows, relu, library)
    return found


class _Convolve(AutogradFunction):
    """Images of each replica with its own kernel."""

    once_differentiable = True

    @staticmethod
    def forward(
        ctx: Any,
        x_RBHWC: Tensor,
        kernel_ROChw: Tensor,
        bias_RO: Tensor | None,
        windows: Windows,
        relu: bool,
        library: ctypes.CDLL,
    ) -> Tensor:
        """(R, B, H, W, C) → (R, B, height, width, O)."""
        x_RBHWC, kernel_ROChw = x_RBHWC.contiguous(), kernel_ROChw.contiguous()
        bias_RO = None if bias_RO is None else bias_RO.contiguous()
        replicas, images, height, width, channels = x_RBHWC.shape
        job = Convolution(
            replicas, images, height, width, channels, kernel_ROChw.shape[1], *windows.size,
            *windows.strides, *windows.dilation, *windows.before, *windows.after, relu,
            torch.get_num_threads(),
        )  # fmt: skip
        places = windows.counts(height, width)
        y = x_RBHWC.new_empty((replicas, images, *places, job.filters))
        library.convolve(
            ctypes.byref(job), address(x_RBHWC), address(kernel_ROChw), address(bias_RO), address(y)
        )
        ctx.job, ctx.library = job, library
        ctx.save_for_backward(x_RBHWC, kernel_ROChw, y if relu else None)
        return y

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        """Of the images, of the kernel and of the bias."""
        x_RBHWC, kernel_ROChw, y = ctx.saved_tensors
        gradient = gradient.contiguous()
        of_images = torch.empty_like(x_RBHWC) if ctx.needs_input_grad[0] else None
        of_kernel, of_bias = torch.empty_like(kernel_ROChw), gradient.new_empty(kernel_ROChw.shape[:2])
        ctx.library.convolve_back(
            ctypes.byref(ctx.job), address(x_RBHWC), address(kernel_ROChw), address(y), address(gradient),
            address(of_kernel), address(of_bias), address(of_images),
        )  # fmt: skip
        return of_images, of_kernel, of_bias if ctx.needs_input_grad[2] else None, None, None, None
