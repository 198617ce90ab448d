"""Periodic embeddings of numbers (Gorishniy et al. 2022): each column as cosines and sines."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from nnrun.lazy_torch import torch
from nnrun.model.activations import ACTIVATIONS
from nnrun.model.layers.base import Layer, Parameters, Weight
from nnrun.model.layers.initializers import Initializer, Shape, Values, initializer_of
from nnrun.model.rng import BatchRng
from nnrun.spec import schema

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class PeriodicLayer(Layer[schema.Periodic]):
    """F columns with k frequencies each, and with `units` a dense layer of each column.

    A weights file has: frequencies (F, k); with `units` U weight (F, 2k, U) and bias (F, U).
    """

    @cached_property
    def weights(self) -> Mapping[str, Weight]:
        """The frequencies, and kernels and biases column by column."""
        (columns,), spec = self.input_shape, self.spec
        normal = initializer_of(schema.RandomNormal(stddev=spec.sigma))
        weights = {self.name("frequencies"): Weight((columns, spec.frequencies), initializer=normal)}
        if spec.units is not None:
            weights[self.name("weight")] = Weight(
                (columns, 2 * spec.frequencies, spec.units),
                initializer=_of_each_column(initializer_of(spec.kernel_initializer)),
                regularizer=spec.kernel_regularizer,
            )
            weights[self.name("bias")] = Weight((columns, spec.units))
        return weights

    @property
    def description(self) -> str:
        """With the activation of its dense layers, where it has any."""
        return self.spec.kind if self.spec.units is None else f"{self.spec.kind}, {self.spec.activation}"

    @property
    def multiplications(self) -> int:
        """One for each angle, and for each weight of the dense layers."""
        angles = self.input_shape[0] * self.spec.frequencies
        return angles * (1 + 2 * (self.spec.units or 0))

    @property
    def activations_per_row(self) -> int:
        """Cosines and sines, and what dense layers make of them."""
        columns, spec = self.input_shape[0], self.spec
        return columns * (2 * spec.frequencies + (spec.units or 0))

    def forward(
        self, parameters: Parameters, x: Tensor, rng: BatchRng | None, new_buffers: dict[str, Tensor] | None
    ) -> Tensor:
        """(R, B, F) → (R, B, F * 2k), column by column the cosines, then the sines; or (R, B, F * U)."""
        c_RFk = parameters[self.name("frequencies")]
        angles_RBFk = 2 * math.pi * x.unsqueeze(3) * c_RFk.unsqueeze(1)
        waves = torch.cat([angles_RBFk.cos(), angles_RBFk.sin()], 3)
        if self.spec.units is not None:
            kernel, bias = parameters[self.name("weight")], parameters[self.name("bias")]
            by_column = waves.transpose(1, 2).flatten(0, 1)
            z = torch.baddbmm(bias.flatten(0, 1).unsqueeze(1), by_column, kernel.flatten(0, 1))
            z_RFBU = z.view(len(x), -1, *z.shape[1:])
            waves = ACTIVATIONS[self.spec.activation](z_RFBU.transpose(1, 2))
        return waves.flatten(2)


def _of_each_column(initial: Initializer) -> Initializer:
    """First values of (F, in, out), drawn as F arrays (in, out): each is a kernel of its own."""

    def drawn(rng: np.random.Generator, shape: Shape) -> Values:
        return np.stack([initial(rng, shape[1:]) for _ in range(shape[0])])

    return drawn
