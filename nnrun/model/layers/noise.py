"""Noise while training. A row's numbers do not depend on the batch it is in."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from nnrun.lazy_torch import torch
from nnrun.model.layers.base import Layer, Parameters
from nnrun.model.rng import BatchRng, dropout_factors
from nnrun.spec import schema

if TYPE_CHECKING:
    from torch import Tensor

# Of selu: what a large negative number becomes.
_SELU_FLOOR = -1.6732632423543772848170429916717 * 1.0507009873554804934193349852946


@dataclass(frozen=True)
class SpatialDropoutLayer(Layer[schema.SpatialDropout]):
    """Whole channels of a row are zeroed, the others scaled (Tompson et al. 2015)."""

    def forward(
        self, parameters: Parameters, x: Tensor, rng: BatchRng | None, new_buffers: dict[str, Tensor] | None
    ) -> Tensor:
        """`x` as it is, but while training."""
        if rng is None:
            return x
        of_channels = x[(slice(None), slice(None), *[slice(1)] * (x.dim() - 3))]
        return x * dropout_factors(rng.dense(self.path, of_channels), self.spec.rate)


@dataclass(frozen=True)
class GaussianNoiseLayer(Layer[schema.GaussianNoise]):
    """Normal numbers are added."""

    def forward(
        self, parameters: Parameters, x: Tensor, rng: BatchRng | None, new_buffers: dict[str, Tensor] | None
    ) -> Tensor:
        """`x` as it is, but while training."""
        return x if rng is None else x + self.spec.stddev * rng.normal(self.path, x)


@dataclass(frozen=True)
class GaussianDropoutLayer(Layer[schema.GaussianDropout]):
    """Multiplied by normal numbers around 1 (Srivastava et al. 2014)."""

    def forward(
        self, parameters: Parameters, x: Tensor, rng: BatchRng | None, new_buffers: dict[str, Tensor] | None
    ) -> Tensor:
        """`x` as it is, but while training."""
        if rng is None:
            return x
        stddev = math.sqrt(self.spec.rate / (1 - self.spec.rate))
        return x * (1 + stddev * rng.normal(self.path, x))


@dataclass(frozen=True)
class AlphaDropoutLayer(Layer[schema.AlphaDropout]):
    """A share is set to what selu gives for large negative numbers; then mean and variance are restored."""

    def forward(
        self, parameters: Parameters, x: Tensor, rng: BatchRng | None, new_buffers: dict[str, Tensor] | None
    ) -> Tensor:
        """`x` as it is, but while training."""
        rate = self.spec.rate
        if rng is None or rate == 0:
            return x
        a = 1 / math.sqrt((1 - rate) * (1 + rate * _SELU_FLOOR**2))
        b = -a * _SELU_FLOOR * rate
        return a * torch.where(rng.dense(self.path, x) >= rate, x, _SELU_FLOOR) + b
