"""Pooling: the largest number of each window, or the mean over all places."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from nnrun.model.layers.base import Layer, Parameters
from nnrun.model.layers.windows import channels_first, channels_last, padded
from nnrun.model.rng import BatchRng
from nnrun.spec import schema
from nnrun.spec.schema.layer_shapes import along


@dataclass(frozen=True)
class MaxPoolingLayer(Layer[schema.MaxPooling]):
    """The largest number of each window along one or two axes, channel by channel."""

    @property
    def description(self) -> str:
        """With its window."""
        return f"{self.spec.kind} {'x'.join(map(str, self._window))}"

    @property
    def _window(self) -> list[int]:
        return along(self.spec.pool_size, len(self.input_shape) - 1)

    def forward(
        self, parameters: Parameters, x: Tensor, rng: BatchRng | None, new_buffers: dict[str, Tensor] | None
    ) -> Tensor:
        """Replicas and rows are pooled alike."""
        window = self._window
        strides = along(self.spec.strides or self.spec.pool_size, len(window))
        pool = F.max_pool1d if len(window) == 1 else F.max_pool2d
        images = channels_first(x.flatten(0, 1))
        if self.spec.padding == "same":
            images = padded(images, window, strides, float("-inf"))
        pooled: Tensor = pool(images, window, strides)
        return channels_last(pooled).reshape(*x.shape[:2], *self.output_shape)


@dataclass(frozen=True)
class GlobalAveragePoolingLayer(Layer[schema.GlobalAveragePooling]):
    """The mean over all axes of a row but the last."""

    def forward(
        self, parameters: Parameters, x: Tensor, rng: BatchRng | None, new_buffers: dict[str, Tensor] | None
    ) -> Tensor:
        """(R, B, ..., C) → (R, B, C)."""
        return x.flatten(2, -2).mean(2)

    def forward_masked(
        self,
        parameters: Parameters,
        x: Tensor,
        mask: Tensor,
        rng: BatchRng | None,
        new_buffers: dict[str, Tensor] | None,
    ) -> Tensor:
        """Over the places that count; 0 where none does."""
        counts = mask.flatten(2).unsqueeze(-1)
        total = torch.where(counts, x.flatten(2, -2), 0.0).sum(2)
        return total / counts.sum(2).clamp(min=1)
