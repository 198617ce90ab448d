"""Pooling over steps and over images."""

from __future__ import annotations

from typing import Union

from nnrun.spec.schema.layer_base import NetworkLayer
from nnrun.spec.schema.layer_shapes import (
    IMAGE,
    STEPS,
    LayerInput,
    Padding,
    Shape,
    ShapeError,
    Sizes,
    along,
    image_advice,
    needs,
    window_counts,
)


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
        axes = len(taken.shape) - 1
        if axes not in (1, 2):
            raise needs(self, f"{STEPS} or {IMAGE}", image_advice(taken.shape), taken)
        strides = self.strides or self.pool_size
        for key, sizes in (("pool_size", self.pool_size), ("strides", strides)):
            if len(sizes) > axes:
                raise ShapeError(
                    f"max_pooling with {key} {sizes} needs {IMAGE} per row; {taken}; give one number", key
                )
        window = along(self.pool_size, axes)
        counts = window_counts(self, "pool_size", window, along(strides, axes), self.padding, taken)
        return (*counts, taken.shape[-1])


PoolingLayer = Union[GlobalAveragePooling, MaxPooling]
