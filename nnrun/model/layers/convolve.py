"""Convolutions of several replicas' images, each with its own kernel."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from nnrun.lazy_torch import F, torch
from nnrun.model.kernels import convolution as in_cpp
from nnrun.model.windows import Windows

if TYPE_CHECKING:
    from torch import Tensor


def convolve(
    x_RBHWC: Tensor,
    kernel: Tensor,
    bias_RO: Tensor | None,
    windows: Windows,
    *,
    groups: int = 1,
    relu: bool = False,
) -> Tensor:
    """(R, B, H, W, C) → (R, B, height, width, O): convolution as networks have it, the kernel not flipped.

    In C++, where that is there and faster, else by PyTorch.

    Args:
        x_RBHWC: the images.
        kernel: (R, O, C / groups, *windows.size).
        bias_RO: what is added to each channel; None for nothing.
        windows: where they lie.
        groups: into how many parts channels are cut, each with its own filters.
        relu: whether negative sums become 0.
    """
    if groups == 1:
        waiting = in_cpp.convolved(x_RBHWC, kernel, bias_RO, windows, relu=relu)
        if waiting is not None:
            return waiting.dense

    def convolved(images: Tensor, kernel: Tensor, bias: Tensor | None, groups: int) -> Tensor:
        images, padding = windows.padded(images, 0.0)
        return F.conv2d(images, kernel, bias, windows.strides, padding, windows.dilation, groups)

    found = _of_each_replica(convolved, x_RBHWC, kernel, bias_RO, groups)
    return torch.relu(found) if relu else found


def convolve_transposed(x_RBHWC: Tensor, kernel: Tensor, strides: Sequence[int]) -> Tensor:
    """(R, B, H, W, C) → (R, B, height, width, O): each number times the kernel, added where windows meet.

    Args:
        x_RBHWC: the images.
        kernel: (R, C, O, *window).
        strides: how far windows are apart, one for each axis of the window or for both.
    """

    def convolved(images: Tensor, kernel: Tensor, bias: Tensor | None, groups: int) -> Tensor:
        found: Tensor = F.conv_transpose2d(images, kernel, bias, (1, *strides)[-2:], groups=groups)
        return found

    return _of_each_replica(convolved, x_RBHWC, kernel, None, 1)


def _of_each_replica(
    convolved: Callable[[Tensor, Tensor, Tensor | None, int], Tensor],
    x_RBHWC: Tensor,
    kernel: Tensor,
    bias_RO: Tensor | None,
    groups: int,
) -> Tensor:
    """What a function gives that takes images, kernel, bias and groups in PyTorch's order of axes.

    On a CPU it is called for one replica after the other, with channels last in memory, as they lie: one call
    whose groups are the replicas takes twice as long. Elsewhere it is that one call.
    """
    replicas = len(x_RBHWC)
    if x_RBHWC.device.type != "cpu":
        images = x_RBHWC.movedim(0, 1).movedim(-1, 2).flatten(1, 2)
        bias = None if bias_RO is None else bias_RO.flatten()
        found = convolved(images, kernel.flatten(0, 1), bias, replicas * groups)
        by_replica = found.view(len(found), replicas, -1, *found.shape[2:])
        return by_replica.movedim(1, 0).movedim(2, -1)
    last: dict[str, Any] = {"memory_format": torch.channels_last}
    results = [
        convolved(
            x.permute(0, 3, 1, 2).contiguous(**last),
            kernel[replica].contiguous(**last),
            None if bias_RO is None else bias_RO[replica],
            groups,
        ).permute(0, 2, 3, 1)
        for replica, x in enumerate(x_RBHWC)
    ]
    return results[0].unsqueeze(0) if replicas == 1 else torch.stack(results)


def as_kernels(kernel: Tensor) -> Tensor:
    """(R, ..., ..., *window) with a window of two axes: steps are images of height 1."""
    return kernel.unsqueeze(3) if kernel.dim() == 4 else kernel
