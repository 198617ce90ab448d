"""Shapes of rows, and what the shape rules of several layers share.

A shape is that of one row, without the batch: (64,), (steps, features), (height, width, channels). None
stands for a size that only the data can tell. Channels and features come last, as in Keras.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from nnrun.spec.schema.component import Component

Shape = tuple[int | None, ...]

SOME_RESHAPE = "reshape: [8, 8, 1]"
STEPS, IMAGE = "(steps, features)", "(height, width, channels)"


class ShapeError(Exception):
    """A layer cannot take what it is given.

    Attributes:
        key: the parameter that is to blame; empty for the layer itself.
        position: which layer; `nnrun.spec.shapes.trace` sets it.
    """

    def __init__(self, message: str, key: str = "") -> None:
        super().__init__(message)
        self.key, self.position = key, 0


@dataclass(frozen=True)
class LayerInput:
    """What a layer takes.

    Attributes:
        shape: of a row.
        before: the layer that gives it; None where it is the network's input.
    """

    shape: Shape
    before: Component | None

    def __str__(self) -> str:
        giver = "the inputs give" if self.before is None else f"{self.before.kind} gives"
        return f"{giver} {shape_text(self.shape)}"


def shape_text(shape: Shape) -> str:
    """A shape as messages and tables show it: `(64)`, `(8, 8, 32)`; `?` for what is not known."""
    return f"({', '.join('?' if size is None else str(size) for size in shape)})"


def size_of(shape: Shape) -> int | None:
    """How many numbers a row has; None where it is not known."""
    return None if None in shape else math.prod(size for size in shape if size is not None)


def along(sizes: Sequence[int], axes: int) -> list[int]:
    """A size for each axis: a single one stands for all."""
    return list(sizes) * axes if len(sizes) == 1 else list(sizes)


def windows(size: int, window: int, stride: int, padding: Literal["valid", "same"]) -> int:
    """How many windows there are along an axis of this size (TensorFlow's counts)."""
    return -(-size // stride) if padding == "same" else (size - window) // stride + 1


def same_padding(size: int, window: int, stride: int) -> tuple[int, int]:
    """How much padding `same` puts before and after an axis: what cannot be halved goes after it."""
    total = max((windows(size, window, stride, "same") - 1) * stride + window - size, 0)
    return total // 2, total - total // 2


def window_counts(
    layer: Component,
    key: str,
    window: list[int],
    strides: list[int],
    padding: Literal["valid", "same"],
    taken: LayerInput,
) -> Shape:
    """How many windows there are along each axis; ShapeError where a window is larger than an axis.

    Args:
        layer: whose windows they are.
        key: its parameter that says how large.
        window, strides: for each axis.
        padding: `valid` or `same`.
        taken: what the layer takes.
    """
    counts: list[int | None] = []
    for size, wide, stride in zip(taken.shape[:-1], window, strides, strict=True):
        if size is not None and padding == "valid" and size < wide:
            raise ShapeError(
                f"{layer.kind} with {key} {' by '.join(map(str, window))} and padding valid needs at least "
                f"as many places; {taken}; use a smaller {key}, or padding: same",
                key,
            )
        counts.append(None if size is None else windows(size, wide, stride, padding))
    return tuple(counts)


def needs(layer: Component, wanted: str, advice: str, taken: LayerInput) -> ShapeError:
    """The error of a layer that takes rows of another form."""
    return ShapeError(f"{layer.kind} needs {wanted} per row; {taken}; {advice}")


def image_advice(taken: Shape) -> str:
    """How to make (height, width, channels) of rows of another shape."""
    numbers = size_of(taken)
    side = math.isqrt(numbers or 0)
    if len(taken) == 1 and numbers and side * side == numbers:
        return f"put reshape before it: reshape: [{side}, {side}, 1] makes an image of {numbers} numbers"
    side = math.isqrt((numbers or 0) // 3)
    if len(taken) == 1 and numbers and 3 * side * side == numbers:
        return (
            f"put reshape before it: reshape: [{side}, {side}, 3] makes a colour image of {numbers} numbers"
        )
    if len(taken) == 2:
        return "use conv1d for steps, or put reshape before it"
    return f"put reshape before it, such as {SOME_RESHAPE}"
