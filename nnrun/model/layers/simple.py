"""Layers that learn nothing: dropout, activation, other shapes of the same numbers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from nnrun.model.activations import ACTIVATIONS
from nnrun.model.inputs import Batch
from nnrun.model.layers.base import Layer, Parameters
from nnrun.model.rng import BatchRng, dropout_factors
from nnrun.spec import schema


@dataclass(frozen=True)
class DropoutLayer(Layer[schema.Dropout]):
    """Zero a share `rate` of the inputs while training, scale the rest (Srivastava et al. 2014, inverted)."""

    takes_sparse: ClassVar[bool] = True

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
        if isinstance(x, Tensor):
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
