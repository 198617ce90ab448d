"""Convolution of images in C++ (`convolution.cpp`), bias, relu and max pooling included."""

from __future__ import annotations

import ctypes
import math
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from nnrun.lazy_torch import AutogradFunction, torch
from nnrun.model.kernels.calls import address, usable
from nnrun.model.kernels.pooling import MOST_PLACES as MOST_POOLED
from nnrun.model.kernels.pooling import pooling_of
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


@dataclass(frozen=True, eq=False)
class ConvolvedImages:
    """relu(convolution + bias), or without relu, not yet computed: (R, B, height, width, O).

    Attributes:
        x_RBHWC, kernel_ROChw, bias_RO, windows, relu: as of `convolved`.
        library: of `convolution.cpp`.
    """

    x_RBHWC: Tensor
    kernel_ROChw: Tensor
    bias_RO: Tensor | None
    windows: Windows
    relu: bool
    library: ctypes.CDLL

    @property
    def replicas(self) -> int:
        """R."""
        return len(self.x_RBHWC)

    @cached_property
    def dense(self) -> Tensor:
        """The images."""
        return self._convolved(None)

    def to_dense(self) -> Tensor:
        """`dense`, as of a sparse batch."""
        return self.dense

    def pooled(self, pools: Windows) -> Tensor | None:
        """(R, B, ..., O): the largest number of each window of it; None where it must be there first."""
        if "dense" in self.__dict__ or math.prod(pools.size) > MOST_POOLED:
            return None
        return self._convolved(pools)

    def _convolved(self, pools: Windows | None) -> Tensor:
        found: Tensor = _Convolve.apply(
            self.x_RBHWC, self.kernel_ROChw, self.bias_RO, self.windows, pools, self.relu, self.library
        )
        return found


def convolved(
    x_RBHWC: Tensor, kernel_ROChw: Tensor, bias_RO: Tensor | None, windows: Windows, *, relu: bool
) -> ConvolvedImages | None:
    """relu(convolution + bias), or without relu; None where PyTorch must do it.

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
    return ConvolvedImages(x_RBHWC, kernel_ROChw, bias_RO, windows, relu, library)


class _Convolve(AutogradFunction):
    """Images of each replica with its own kernel; what they become may be pooled."""

    once_differentiable = True

    @staticmethod
    def forward(
        ctx: Any,
        x_RBHWC: Tensor,
        kernel_ROChw: Tensor,
        bias_RO: Tensor | None,
        windows: Windows,
        pools: Windows | None,
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
        shape = windows.counts(height, width)
        pooling = None
        if pools is not None:
            pooling = pooling_of(replicas * images, *shape, job.filters, pools)
            shape = pools.counts(*shape)
        y = x_RBHWC.new_empty((replicas, images, *shape, job.filters))
        learns = any(ctx.needs_input_grad[:3])
        places = torch.empty_like(y, dtype=torch.uint8) if learns and pools is not None else None
        library.convolve(
            ctypes.byref(job), _reference(pooling), address(x_RBHWC), address(kernel_ROChw), address(bias_RO),
            address(y), address(places),
        )  # fmt: skip
        ctx.job, ctx.pooling, ctx.library = job, pooling, library
        ctx.save_for_backward(x_RBHWC, kernel_ROChw, y if relu else None, places)
        return y

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        """Of the images, of the kernel and of the bias."""
        x_RBHWC, kernel_ROChw, y, places = ctx.saved_tensors
        gradient = gradient.contiguous()
        of_images = torch.empty_like(x_RBHWC) if ctx.needs_input_grad[0] else None
        of_kernel, of_bias = torch.empty_like(kernel_ROChw), gradient.new_empty(kernel_ROChw.shape[:2])
        ctx.library.convolve_back(
            ctypes.byref(ctx.job), _reference(ctx.pooling), address(x_RBHWC), address(kernel_ROChw),
            address(y), address(places), address(gradient), address(of_kernel), address(of_bias),
            address(of_images),
        )  # fmt: skip
        return of_images, of_kernel, of_bias if ctx.needs_input_grad[2] else None, None, None, None, None


def _reference(structure: ctypes.Structure | None) -> Any:
    return None if structure is None else ctypes.byref(structure)
