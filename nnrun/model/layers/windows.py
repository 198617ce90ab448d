"""Windows along one or two axes, between Keras's order of axes (channels last) and PyTorch's (first)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from nnrun.lazy_torch import F
from nnrun.spec.schema.layer_shapes import same_padding

if TYPE_CHECKING:
    from torch import Tensor


def channels_first(x: Tensor) -> Tensor:
    """(N, ..., C) → (N, C, ...), a view."""
    return x.movedim(-1, 1)


def channels_last(x: Tensor) -> Tensor:
    """(N, C, ...) → (N, ..., C), a view."""
    return x.movedim(1, -1)


def padded(x: Tensor, window: Sequence[int], strides: Sequence[int], value: float) -> Tensor:
    """(N, C, *sizes) with TensorFlow's padding `same`, which may be one larger at the end."""
    amounts: list[int] = []
    for size, wide, stride in zip(x.shape[2:], window, strides, strict=True):
        amounts = [*same_padding(size, wide, stride), *amounts]  # PyTorch begins with the last axis
    return F.pad(x, amounts, value=value) if any(amounts) else x
