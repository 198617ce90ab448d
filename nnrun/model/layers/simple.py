"""Layers that treat each number by itself, or give the same ones in another shape."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, ClassVar

from nnrun.lazy_torch import torch
from nnrun.model.activations import ACTIVATIONS
from nnrun.model.inputs import Batch, SparseBatch, dense
from nnrun.model.layers.base import Layer, Parameters, Weight
from nnrun.model.rng import BatchRng, dropout_factors
from nnrun.spec import schema

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class DropoutLayer(Layer[schema.Dropout]):
    """Zero a share `rate` of the inputs while training, scale the rest (Srivastava et al. 2014, inverted)."""

    takes: ClassVar[tuple[type[Batch], ...]] = (SparseBatch,)

    @property
    def description(self) -> str:
        """With its rate."""
        return f"dropout {self.spec.rate:g}"

    def forward(
        self, parameters: Parameters, x: Batch, rng: BatchRng | None, new_buffers: dict[str, Tensor] | None
    ) -> Batch:
        """`x` as it is, but while training."""
        return x if rng is None else self.drop(x, rng)

    def drop(self, x: Batch, rng: BatchRng) -> Batch:
        """`x`, each value set to zero with probability `rate`. A sparse batch stays sparse."""
        if not isinstance(x, SparseBatch):
            x = dense(x)
            return x * dropout_factors(rng.dense(self.path, x), self.spec.rate)
        factor = dropout_factors(rng.sparse(self.path, x), self.spec.rate)
        return x.with_values(factor if x.values is None else x.values * factor)


@dataclass(frozen=True)
class ActivationFunction(Layer[schema.ActivationLayer]):
    """An activation function on its own."""

    @property
    def description(self) -> str:
        """Its name."""
        return f"activation, {self.spec.activation}"

    def forward(
        self, parameters: Parameters, x: Tensor, rng: BatchRng | None, new_buffers: dict[str, Tensor] | None
    ) -> Tensor:
        """activation(x)."""
        return ACTIVATIONS[self.spec.activation](x)


@dataclass(frozen=True)
class Reshaped(Layer[schema.Flatten | schema.Reshape]):
    """The same numbers in another shape, the last axis fastest: flatten and reshape."""

    def forward(
        self, parameters: Parameters, x: Tensor, rng: BatchRng | None, new_buffers: dict[str, Tensor] | None
    ) -> Tensor:
        """(R, B, *output_shape)."""
        return x.reshape(*x.shape[:2], *self.output_shape)


@dataclass(frozen=True)
class PermuteLayer(Layer[schema.Permute]):
    """The axes of a row in another order."""

    def forward(
        self, parameters: Parameters, x: Tensor, rng: BatchRng | None, new_buffers: dict[str, Tensor] | None
    ) -> Tensor:
        """(R, B, *output_shape)."""
        return x.permute(0, 1, *(axis + 1 for axis in self.spec.dims))


@dataclass(frozen=True)
class RepeatVectorLayer(Layer[schema.RepeatVector]):
    """A row as several steps."""

    def forward(
        self, parameters: Parameters, x: Tensor, rng: BatchRng | None, new_buffers: dict[str, Tensor] | None
    ) -> Tensor:
        """(R, B, features) → (R, B, n, features)."""
        return x.unsqueeze(2).expand(-1, -1, self.spec.n, -1)


@dataclass(frozen=True)
class RescalingLayer(Layer[schema.Rescaling]):
    """Numbers multiplied and moved."""

    def forward(
        self, parameters: Parameters, x: Tensor, rng: BatchRng | None, new_buffers: dict[str, Tensor] | None
    ) -> Tensor:
        """x * scale + offset."""
        return x * self.spec.scale + self.spec.offset


@dataclass(frozen=True)
class PreluLayer(Layer[schema.Prelu]):
    """Slopes alpha (R, *shape), 1 along shared axes. In a weights file `weight`, as in PyTorch."""

    @cached_property
    def weights(self) -> Mapping[str, Weight]:
        """The slopes of negative numbers."""
        shared = self.spec.shared_axes
        shape = tuple(1 if axis in shared else n for axis, n in enumerate(self.input_shape, start=1))
        return {self.name("weight"): self.weight("alpha", shape)}

    def forward(
        self, parameters: Parameters, x: Tensor, rng: BatchRng | None, new_buffers: dict[str, Tensor] | None
    ) -> Tensor:
        """max(x, 0) - alpha * max(-x, 0)."""
        alpha = parameters[self.name("weight")].unsqueeze(1)
        return torch.relu(x) - alpha * torch.relu(-x)
