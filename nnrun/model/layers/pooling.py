"""Pooling: the largest number or the mean of each window, or over all places."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Generic, TypeVar

from nnrun.lazy_torch import F, torch
from nnrun.model.layers.base import Layer, Parameters
from nnrun.model.layers.windows import channels_first, channels_last, padded
from nnrun.model.rng import BatchRng
from nnrun.spec import schema
from nnrun.spec.schema.layer_shapes import along

if TYPE_CHECKING:
    from torch import Tensor

P = TypeVar("P", bound=schema.MaxPooling | schema.AveragePooling)


@dataclass(frozen=True)
class WindowPoolingLayer(Layer[P], Generic[P]):
    """Base of what makes one number of each window along one or two axes, channel by channel."""

    fill: ClassVar[float]
    """What padding `same` adds."""

    @property
    def description(self) -> str:
        """With its window."""
        return f"{self.spec.kind} {'x'.join(map(str, self._window))}"

    @property
    def _window(self) -> list[int]:
        return along(self.spec.pool_size, len(self.input_shape) - 1)

    @abstractmethod
    def pool(self, images: Tensor, window: list[int], strides: list[int]) -> Tensor:
        """(N, C, *places) → the number of each window."""

    def forward(
        self, parameters: Parameters, x: Tensor, rng: BatchRng | None, new_buffers: dict[str, Tensor] | None
    ) -> Tensor:
        """Replicas and rows are pooled alike."""
        window = self._window
        strides = along(self.spec.strides or self.spec.pool_size, len(window))
        images = channels_first(x.flatten(0, 1))
        pooled = self.pool(self._padded(images, window, strides), window, strides)
        return channels_last(pooled).reshape(*x.shape[:2], *self.output_shape)

    def _padded(self, images: Tensor, window: list[int], strides: list[int]) -> Tensor:
        return images if self.spec.padding == "valid" else padded(images, window, strides, self.fill)


@dataclass(frozen=True)
class MaxPoolingLayer(WindowPoolingLayer[schema.MaxPooling]):
    """The largest number of each window."""

    fill: ClassVar[float] = float("-inf")

    def pool(self, images: Tensor, window: list[int], strides: list[int]) -> Tensor:
        """The largest."""
        pool = F.max_pool1d if len(window) == 1 else F.max_pool2d
        pooled: Tensor = pool(images, window, strides)
        return pooled


@dataclass(frozen=True)
class AveragePoolingLayer(WindowPoolingLayer[schema.AveragePooling]):
    """The mean of each window, of what lies within the steps or the image."""

    fill: ClassVar[float] = 0.0

    def pool(self, images: Tensor, window: list[int], strides: list[int]) -> Tensor:
        """The mean; with padding `same` divided by the share of the window that is no padding."""
        pool = F.avg_pool1d if len(window) == 1 else F.avg_pool2d
        pooled: Tensor = pool(images, window, strides)
        if self.spec.padding == "valid":
            return pooled
        inside = self._padded(images.new_ones(1, 1, *self.input_shape[:-1]), window, strides)
        return pooled / pool(inside, window, strides)


@dataclass(frozen=True)
class GlobalMaxPoolingLayer(Layer[schema.GlobalMaxPooling]):
    """The largest number over all axes of a row but the last."""

    def forward(
        self, parameters: Parameters, x: Tensor, rng: BatchRng | None, new_buffers: dict[str, Tensor] | None
    ) -> Tensor:
        """(R, B, ..., C) → (R, B, C)."""
        return x.flatten(2, -2).amax(2)


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
