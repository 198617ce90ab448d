"""Layers: what each needs to start from, and what it computes. They hold no weights.

Parameters of R replicas are stacked along a leading dimension: a kernel is (R, in, out), a bias (R, 1, out).
So one call computes a layer for all replicas, and a single network is the case R = 1.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from nnrun.model.activations import ACTIVATIONS
from nnrun.model.inputs import Batch, multiply
from nnrun.model.noise import Noise
from nnrun.spec import schema

Parameters = Mapping[str, Tensor]


@dataclass(frozen=True)
class DenseLayer:
    """activation(x @ kernel + bias)."""

    position: int
    inputs: int
    units: int
    activation: str
    use_bias: bool
    l1: float
    l2: float

    @property
    def parameter_shapes(self) -> dict[str, tuple[int, ...]]:
        """Name → shape of one replica's parameters, kernel first."""
        shapes: dict[str, tuple[int, ...]] = {f"{self.position}.weight": (self.inputs, self.units)}
        if self.use_bias:
            shapes[f"{self.position}.bias"] = (1, self.units)
        return shapes

    def initial_parameters(self, rng: np.random.Generator) -> dict[str, np.ndarray]:
        """One replica's kernel (Glorot & Bengio 2010: limit sqrt(6 / (fan_in + fan_out))) and zero bias."""
        limit = math.sqrt(6.0 / (self.inputs + self.units))
        kernel, *bias = self.parameter_shapes.items()
        values = {kernel[0]: rng.uniform(-limit, limit, kernel[1]).astype(np.float32)}
        return values | {name: np.zeros(shape, np.float32) for name, shape in bias}

    def linear(self, parameters: Parameters, x: Batch) -> Tensor:
        """x @ kernel + bias, (R, B, U)."""
        kernel_RFU = parameters[f"{self.position}.weight"]
        if not self.use_bias:
            return multiply(x, kernel_RFU)
        bias_R1U = parameters[f"{self.position}.bias"]
        if isinstance(x, Tensor):
            return torch.baddbmm(bias_R1U, x, kernel_RFU)
        return multiply(x, kernel_RFU) + bias_R1U

    def activate(self, z_RBU: Tensor) -> Tensor:
        """The activation function alone."""
        return ACTIVATIONS[self.activation](z_RBU)

    def penalty(self, parameters: Parameters) -> Tensor | None:
        """(R,): the regularization term of each replica, or None where there is none.

        Replicas may have strengths of their own: (R,) under `strength_names` among the parameters.
        """
        l1, l2 = (
            parameters.get(n, own) for n, own in zip(self.strength_names, (self.l1, self.l2), strict=True)
        )
        if isinstance(l1, float) and isinstance(l2, float) and l1 == l2 == 0:
            return None
        kernel_RFU = parameters[f"{self.position}.weight"]
        return l1 * kernel_RFU.abs().sum((1, 2)) + l2 * kernel_RFU.square().sum((1, 2))

    @property
    def strength_names(self) -> tuple[str, str]:
        """What the strengths of l1 and l2 are called where each replica has its own."""
        return f"{self.position}.l1", f"{self.position}.l2"


@dataclass(frozen=True)
class DropoutLayer:
    """Zero a share `rate` of the inputs while training, scale the rest (Srivastava et al. 2014, inverted)."""

    position: int
    units: int
    rate: float

    def drop(self, x: Batch, noise: Noise) -> Batch:
        """`x` where the noise in [0, 1) is at least `rate`; zero elsewhere. A sparse batch stays sparse."""
        if isinstance(x, Tensor):
            return x * self._factor(noise.dense(self.position, x))
        factor = self._factor(noise.sparse(self.position, x))
        return x.with_values(factor if x.values is None else x.values * factor)

    def _factor(self, noise: Tensor) -> Tensor:
        return (noise >= self.rate).to(torch.float32) * (1.0 / (1.0 - self.rate))


Layer = DenseLayer | DropoutLayer


def _build_dense(spec: schema.Dense, position: int, inputs: int) -> DenseLayer:
    regularizer = spec.kernel_regularizer
    l1, l2 = getattr(regularizer, "l1", 0.0), getattr(regularizer, "l2", 0.0)
    return DenseLayer(position, inputs, spec.units, spec.activation, spec.use_bias, l1, l2)


def _build_dropout(spec: schema.Dropout, position: int, inputs: int) -> DropoutLayer:
    return DropoutLayer(position, inputs, spec.rate)


BUILDERS: Mapping[type[schema.Component], Callable[..., Layer]] = {
    schema.Dense: _build_dense,
    schema.Dropout: _build_dropout,
}
