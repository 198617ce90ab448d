"""More or fewer steps, rows and columns: up-sampling, zero padding, cropping."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from nnrun.lazy_torch import F
from nnrun.model.layers.base import Layer, Parameters
from nnrun.model.rng import BatchRng
from nnrun.model.windows import channels_first, channels_last
from nnrun.spec import schema
from nnrun.spec.schema.layer_shapes import LayerInput, along
from nnrun.spec.schema.pooling_layers import at_both_ends

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class UpSamplingLayer(Layer[schema.UpSampling]):
    """Each place several times, or numbers between the places."""

    def forward(
        self, parameters: Parameters, x: Tensor, rng: BatchRng | None, new_buffers: dict[str, Tensor] | None
    ) -> Tensor:
        """(R, B, *places, C), the places multiplied."""
        if self.spec.interpolation == "bilinear":
            images = channels_first(x.flatten(0, 1))
            larger = F.interpolate(images, self.output_shape[:-1], mode="bilinear", align_corners=False)
            return channels_last(larger).reshape(*x.shape[:2], *self.output_shape)
        for axis, times in enumerate(along(self.spec.size, len(self.input_shape) - 1), start=2):
            repeated = x.unsqueeze(axis + 1)
            shape = list(repeated.shape)
            shape[axis + 1] = times
            x = repeated.expand(shape).flatten(axis, axis + 1)
        return x


@dataclass(frozen=True)
class ZeroPaddingLayer(Layer[schema.ZeroPadding]):
    """Zeros around the places."""

    def forward(
        self, parameters: Parameters, x: Tensor, rng: BatchRng | None, new_buffers: dict[str, Tensor] | None
    ) -> Tensor:
        """(R, B, *places, C), larger by the padding."""
        amounts = at_both_ends(self.spec, "padding", self.spec.padding, LayerInput(self.input_shape, None))
        flat = [0, 0, *(n for pair in reversed(amounts) for n in pair)]  # PyTorch begins with the last axis
        return F.pad(x, flat)


@dataclass(frozen=True)
class CroppingLayer(Layer[schema.Cropping]):
    """The places without their margins."""

    def forward(
        self, parameters: Parameters, x: Tensor, rng: BatchRng | None, new_buffers: dict[str, Tensor] | None
    ) -> Tensor:
        """(R, B, *places, C), smaller by what is left out."""
        amounts = at_both_ends(self.spec, "cropping", self.spec.cropping, LayerInput(self.input_shape, None))
        for axis, (first, _) in enumerate(amounts):
            x = x.narrow(axis + 2, first, self.output_shape[axis])
        return x
