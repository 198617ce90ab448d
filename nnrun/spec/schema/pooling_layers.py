"""Pooling over steps and over images, and what else changes how many places there are."""

from typing import Annotated, Literal, Union

from pydantic import Field

from nnrun.spec.schema.component import ONE_SIZE_IS_ENOUGH, Component, NonNegativeInt
from nnrun.spec.schema.layer_shapes import (
    IMAGE,
    STEPS,
    LayerInput,
    NetworkLayer,
    Padding,
    Shape,
    ShapeError,
    Sizes,
    along,
    needs,
    places_of,
    window_counts,
)

Amounts = Annotated[list[NonNegativeInt], Field(min_length=1, max_length=4), ONE_SIZE_IS_ENOUGH]


class GlobalAveragePooling(NetworkLayer):
    """The mean over all axes but the last: over the steps that a mask leaves, or over height and width.

    0 where a mask leaves none. (Keras gives NaN there.)
    """

    kind = "global_average_pooling"
    mask = "uses"
    flattens = True

    def output_shape(self, taken: LayerInput) -> Shape:
        """The last axis."""
        if len(taken.shape) < 2:
            raise needs(self, f"{STEPS} or {IMAGE}", "there is nothing to average; remove it", taken)
        return (taken.shape[-1],)

    @property
    def passes_mask(self) -> bool:
        """No: there are no steps any more."""
        return False


class MaxPooling(NetworkLayer):
    """The largest number of each window, channel by channel, along the steps or along height and width.

    `pool_size` and `strides` are one number for every axis, or a list; default for `strides`: the pool size.
    """

    kind = "max_pooling"
    bare = "pool_size"
    pool_size: Sizes = [2]
    strides: Sizes | None = None
    padding: Padding = "valid"

    def output_shape(self, taken: LayerInput) -> Shape:
        """As many windows as there are along each axis, and the channels."""
        return _pooled(self, taken)


class AveragePooling(NetworkLayer):
    """The mean of each window, channel by channel, along the steps or along height and width.

    `pool_size` and `strides` are those of `max_pooling`. What padding `same` adds does not count.
    """

    kind = "average_pooling"
    bare = "pool_size"
    pool_size: Sizes = [2]
    strides: Sizes | None = None
    padding: Padding = "valid"

    def output_shape(self, taken: LayerInput) -> Shape:
        """As many windows as there are along each axis, and the channels."""
        return _pooled(self, taken)


class UpSampling(NetworkLayer):
    """Each step, or each row and column of an image, `size` times.

    `size` is one number for every axis, or a list. `bilinear` is for images.
    """

    kind = "up_sampling"
    bare = "size"
    size: Sizes = [2]
    interpolation: Literal["nearest", "bilinear"] = "nearest"

    def output_shape(self, taken: LayerInput) -> Shape:
        """Every size but the channels times `size`."""
        axes = places_of(self, taken)
        if len(self.size) > axes:
            raise ShapeError(
                f"up_sampling with size {self.size} needs {IMAGE} per row; {taken}; give one number", "size"
            )
        if self.interpolation == "bilinear" and axes == 1:
            raise ShapeError(f"bilinear up_sampling needs {IMAGE} per row; {taken}", "interpolation")
        factors = along(self.size, axes)
        grown = [None if n is None else n * by for n, by in zip(taken.shape[:-1], factors, strict=True)]
        return (*grown, taken.shape[-1])


class ZeroPadding(NetworkLayer):
    """Zeros before and after the steps, or around the images.

    `padding` is one number for every side; of steps [before, after]; of images [height, width], the same at
    both ends, or [top, bottom, left, right].
    """

    kind = "zero_padding"
    bare = "padding"
    padding: Amounts = [1]

    def output_shape(self, taken: LayerInput) -> Shape:
        """Larger by what is added."""
        amounts = at_both_ends(self, "padding", self.padding, taken)
        grown = [None if n is None else n + sum(by) for n, by in zip(taken.shape[:-1], amounts, strict=True)]
        return (*grown, taken.shape[-1])


class Cropping(NetworkLayer):
    """Steps left out at the beginning and the end, or the margins of images.

    `cropping` is one number for every side; of steps [before, after]; of images [height, width], the same at
    both ends, or [top, bottom, left, right].
    """

    kind = "cropping"
    example = 1
    bare = "cropping"
    cropping: Amounts

    def output_shape(self, taken: LayerInput) -> Shape:
        """Smaller by what is left out."""
        amounts = at_both_ends(self, "cropping", self.cropping, taken)
        left = [None if n is None else n - sum(by) for n, by in zip(taken.shape[:-1], amounts, strict=True)]
        if any(size is not None and size < 1 for size in left):
            raise ShapeError(f"cropping by {self.cropping} leaves nothing; {taken}; crop less", "cropping")
        return (*left, taken.shape[-1])


class GlobalMaxPooling(NetworkLayer):
    """The largest number over all axes but the last: over the steps, or over height and width."""

    kind = "global_max_pooling"
    flattens = True

    def output_shape(self, taken: LayerInput) -> Shape:
        """The last axis."""
        if len(taken.shape) < 2:
            raise needs(self, f"{STEPS} or {IMAGE}", "there is only one place; remove it", taken)
        return (taken.shape[-1],)


def at_both_ends(layer: Component, key: str, amounts: list[int], taken: LayerInput) -> list[tuple[int, int]]:
    """What is added or left out at the beginning and at the end of each axis but the last.

    Raises:
        ShapeError: it does not fit rows of this form.
    """
    axes = places_of(layer, taken)
    if len(amounts) == 1:
        return [(amounts[0], amounts[0])] * axes
    if len(amounts) == 2:
        return [(amounts[0], amounts[1])] if axes == 1 else [(amount, amount) for amount in amounts]
    if len(amounts) == 4 and axes == 2:
        return [(amounts[0], amounts[1]), (amounts[2], amounts[3])]
    wanted = "1 or 2 numbers for steps" if axes == 1 else "1, 2 or 4 numbers for images"
    raise ShapeError(f"{layer.kind}: {key} takes {wanted}, and has {len(amounts)}; {taken}", key)


def _pooled(layer: MaxPooling | AveragePooling, taken: LayerInput) -> Shape:
    axes = places_of(layer, taken)
    strides = layer.strides or layer.pool_size
    for key, sizes in (("pool_size", layer.pool_size), ("strides", strides)):
        if len(sizes) > axes:
            raise ShapeError(
                f"{layer.kind} with {key} {sizes} needs {IMAGE} per row; {taken}; give one number", key
            )
    window = along(layer.pool_size, axes)
    counts = window_counts(layer, "pool_size", window, along(strides, axes), layer.padding, taken)
    return (*counts, taken.shape[-1])


PoolingLayer = Union[
    GlobalAveragePooling, GlobalMaxPooling, MaxPooling, AveragePooling, UpSampling, ZeroPadding, Cropping
]
