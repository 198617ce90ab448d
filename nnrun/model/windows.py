"""Windows along one or two axes, between Keras's order of axes (channels last) and PyTorch's (first)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from nnrun.lazy_torch import F
from nnrun.spec.schema.layer_shapes import Padding, same_padding

if TYPE_CHECKING:
    from torch import Tensor


def channels_first(x: Tensor) -> Tensor:
    """(N, ..., C) → (N, C, ...), a view."""
    return x.movedim(-1, 1)


def channels_last(x: Tensor) -> Tensor:
    """(N, C, ...) → (N, ..., C), a view."""
    return x.movedim(1, -1)


@dataclass(frozen=True)
class Windows:
    """Where the windows of a layer lie on an image. Steps are an image of height 1.

    Attributes:
        size: the height and width of a window.
        strides: how far neighbours are apart.
        dilation: how far neighbouring places within one are apart.
        before, after: the padding above and left of the image, below and right of it.
    """

    size: tuple[int, int]
    strides: tuple[int, int]
    dilation: tuple[int, int]
    before: tuple[int, int]
    after: tuple[int, int]

    @classmethod
    def along(
        cls,
        places: Sequence[int],
        size: Sequence[int],
        strides: Sequence[int],
        padding: Padding,
        dilation: Sequence[int] | None = None,
    ) -> Windows:
        """Those of one or two axes; the padding `same` is TensorFlow's, which may be one larger at the end.

        Args:
            places: the sizes of the axes.
            size, strides, dilation: of the windows, for each axis.
            padding: `valid` or `same`.
        """
        apart = dilation or [1] * len(places)
        amounts = [(0, 0)] * len(places)
        if padding == "same":
            reach = [(wide - 1) * gap + 1 for wide, gap in zip(size, apart, strict=True)]
            amounts = [same_padding(*axis) for axis in zip(places, reach, strides, strict=True)]
        before, after = zip(*amounts, strict=True)
        return cls(
            _of_image(size, 1),
            _of_image(strides, 1),
            _of_image(apart, 1),
            _of_image(before, 0),
            _of_image(after, 0),
        )

    def counts(self, height: int, width: int) -> tuple[int, int]:
        """How many windows there are, one below the other and side by side, on images of this size."""
        first, last = (
            (size + before + after - (wide - 1) * apart - 1) // stride + 1
            for size, before, after, wide, apart, stride in zip(
                (height, width), self.before, self.after, self.size, self.dilation, self.strides, strict=True
            )
        )
        return first, last

    def padded(self, images_NCHW: Tensor, value: float) -> tuple[Tensor, tuple[int, int]]:
        """The images with what no function of PyTorch adds, and the padding that is left to it."""
        if self.before == self.after:
            return images_NCHW, self.before
        (top, left), (bottom, right) = self.before, self.after
        return F.pad(images_NCHW, (left, right, top, bottom), value=value), (0, 0)


def _of_image(sizes: Sequence[int], height: int) -> tuple[int, int]:
    """A size along both axes of an image; `height` is that of steps."""
    first, last = (height, *sizes) if len(sizes) == 1 else sizes
    return first, last


def as_images(x: Tensor, places: int) -> Tensor:
    """Rows with one axis of places, (..., steps, C), as images of height 1; with two as they are."""
    return x.unsqueeze(-3) if places == 1 else x


ONE_PLACE = Windows((1, 1), (1, 1), (1, 1), (0, 0), (0, 0))
"""At each place, of that place alone."""
