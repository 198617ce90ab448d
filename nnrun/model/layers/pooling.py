"""Pooling: the largest number or the mean of each window, or over all places."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, ClassVar, Generic, TypeVar

from nnrun.lazy_torch import F, torch
from nnrun.model.inputs import Batch, dense
from nnrun.model.kernels import pooling as in_cpp
from nnrun.model.kernels.convolution import ConvolvedImages
from nnrun.model.kernels.embedding import EmbeddedWords
from nnrun.model.layers.base import Layer, Parameters
from nnrun.model.rng import BatchRng
from nnrun.model.windows import Windows, as_images, channels_first, channels_last
from nnrun.spec import schema
from nnrun.spec.schema.layer_shapes import along

if TYPE_CHECKING:
    from torch import Tensor

P = TypeVar("P", bound=schema.MaxPooling | schema.AveragePooling)


@dataclass(frozen=True)
class WindowPoolingLayer(Layer[P], Generic[P]):
    """Base of what makes one number of each window along one or two axes, channel by channel."""

    @property
    def description(self) -> str:
        """With its window."""
        return f"{self.spec.kind} {'x'.join(map(str, self._window))}"

    @property
    def _window(self) -> list[int]:
        return along(self.spec.pool_size, len(self.input_shape) - 1)

    @cached_property
    def windows(self) -> Windows:
        """Where its windows lie on what it takes."""
        window = self._window
        strides = along(self.spec.strides or self.spec.pool_size, len(window))
        return Windows.along(self.input_shape[:-1], window, strides, self.spec.padding)

    def pooled(self, images_NHWC: Tensor) -> Tensor:
        """The number of each window, (N, height, width, C)."""
        return channels_last(self.pool(channels_first(images_NHWC)))

    @abstractmethod
    def pool(self, images: Tensor) -> Tensor:
        """(N, C, height, width) → the number of each window."""

    def forward(
        self, parameters: Parameters, x: Tensor, rng: BatchRng | None, new_buffers: dict[str, Tensor] | None
    ) -> Tensor:
        """Replicas and rows are pooled alike."""
        pooled = self.pooled(as_images(x.flatten(0, 1), len(self.input_shape) - 1))
        return pooled.reshape(*x.shape[:2], *self.output_shape)


@dataclass(frozen=True)
class MaxPoolingLayer(WindowPoolingLayer[schema.MaxPooling]):
    """The largest number of each window."""

    takes: ClassVar[tuple[type[Batch], ...]] = (ConvolvedImages,)

    @classmethod
    def kernel_for(cls, spec: schema.MaxPooling) -> str | None:
        """For all of them."""
        return in_cpp.LIBRARY

    def forward(
        self, parameters: Parameters, x: Batch, rng: BatchRng | None, new_buffers: dict[str, Tensor] | None
    ) -> Tensor:
        """Of what a convolution makes nothing else need ever be there."""
        if isinstance(x, ConvolvedImages):
            found = x.pooled(self.windows)
            if found is not None:
                return found
        return super().forward(parameters, dense(x), rng, new_buffers)

    def pooled(self, images_NHWC: Tensor) -> Tensor:
        """In C++, where that is there."""
        found = in_cpp.largest(images_NHWC, self.windows)
        return super().pooled(images_NHWC) if found is None else found

    def pool(self, images: Tensor) -> Tensor:
        """The largest."""
        images, padding = self.windows.padded(images, float("-inf"))
        pooled: Tensor = F.max_pool2d(images, self.windows.size, self.windows.strides, padding)
        return pooled


@dataclass(frozen=True)
class AveragePoolingLayer(WindowPoolingLayer[schema.AveragePooling]):
    """The mean of each window, of what lies within the steps or the image."""

    def pool(self, images: Tensor) -> Tensor:
        """The mean; with padding `same` divided by the share of the window that is no padding."""
        pooled = self._mean(images)
        if self.spec.padding == "valid":
            return pooled
        return pooled / self._mean(images.new_ones(1, 1, *images.shape[2:]))

    def _mean(self, images: Tensor) -> Tensor:
        images, padding = self.windows.padded(images, 0.0)
        pooled: Tensor = F.avg_pool2d(images, self.windows.size, self.windows.strides, padding)
        return pooled


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

    takes: ClassVar[tuple[type[Batch], ...]] = (EmbeddedWords,)

    def forward(
        self, parameters: Parameters, x: Batch, rng: BatchRng | None, new_buffers: dict[str, Tensor] | None
    ) -> Tensor:
        """(R, B, ..., C) → (R, B, C)."""
        if isinstance(x, EmbeddedWords):
            return x.mean()
        return dense(x).flatten(2, -2).mean(2)

    def forward_masked(
        self,
        parameters: Parameters,
        x: Batch,
        mask: Tensor,
        rng: BatchRng | None,
        new_buffers: dict[str, Tensor] | None,
    ) -> Tensor:
        """Over the places that count; 0 where none does."""
        if isinstance(x, EmbeddedWords):
            return x.mean(mask)
        counts = mask.flatten(2).unsqueeze(-1)
        total = torch.where(counts, dense(x).flatten(2, -2), 0.0).sum(2)
        return total / counts.sum(2).clamp(min=1)
