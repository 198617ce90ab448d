"""Dense layers: activation(x @ kernel + bias)."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, ClassVar

from nnrun.lazy_torch import torch
from nnrun.model.activations import ACTIVATIONS
from nnrun.model.inputs import Batch, SparseBatch, dense, multiply, replicas_of
from nnrun.model.layers.base import Layer, Parameters, Weight
from nnrun.model.rng import BatchRng
from nnrun.spec import schema

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class DenseLayer(Layer[schema.Dense]):
    """A kernel (R, in, out), a bias (R, 1, out). A weights file follows PyTorch: (out, in) and (out,)."""

    takes: ClassVar[tuple[type[Batch], ...]] = (SparseBatch,)

    @property
    def units(self) -> int:
        """Numbers that it gives along the last axis."""
        return self.spec.units

    @property
    def activation(self) -> str:
        """The name of its activation."""
        return self.spec.activation

    @cached_property
    def weights(self) -> Mapping[str, Weight]:
        """Kernel and bias."""
        shape = (self.input_shape[-1], self.units)
        weights = {self.name("weight"): self.weight("kernel", shape, "transposed")}
        if self.spec.use_bias:
            weights[self.name("bias")] = self.weight("bias", (1, self.units), "row")
        return weights

    @property
    def description(self) -> str:
        """With its activation."""
        return f"dense, {self.spec.activation}"

    @property
    def multiplications(self) -> int:
        """One for each weight and place."""
        return math.prod(self.input_shape) * self.units

    def linear(self, parameters: Parameters, x: Batch) -> Tensor:
        """x @ kernel + bias, (R, B, U); of more axes the last is multiplied.

        There may be several kernels for each replica of `x`, those of the members of an ensemble.
        """
        kernel_RFU = parameters[self.name("weight")]
        x = x if isinstance(x, SparseBatch) else dense(x)
        replicas = replicas_of(x)
        if len(kernel_RFU) > replicas:
            bias_R1U = parameters[self.name("bias")] if self.spec.use_bias else None
            return _by_several(x, kernel_RFU, bias_R1U, len(kernel_RFU) // replicas)
        if isinstance(x, torch.Tensor) and x.dim() > 3:
            return self.linear(parameters, x.flatten(1, -2)).view(*x.shape[:-1], self.units)
        if not self.spec.use_bias:
            return multiply(x, kernel_RFU)
        bias_R1U = parameters[self.name("bias")]
        if isinstance(x, torch.Tensor):
            return torch.baddbmm(bias_R1U, x, kernel_RFU)
        return multiply(x, kernel_RFU) + bias_R1U

    def forward(
        self, parameters: Parameters, x: Batch, rng: BatchRng | None, new_buffers: dict[str, Tensor] | None
    ) -> Tensor:
        """activation(x @ kernel + bias)."""
        return self.activate(self.linear(parameters, x))

    def activate(self, z: Tensor) -> Tensor:
        """The activation function alone."""
        return ACTIVATIONS[self.spec.activation](z)


def _by_several(x: Batch, kernels: Tensor, biases: Tensor | None, members: int) -> Tensor:
    """(R * M, B, U): the rows (R, B, F) times each of M kernels of each replica, as one product.

    Args:
        x: of R replicas.
        kernels, biases: (R * M, F, U), and (R * M, 1, U) or None.
        members: M.
    """
    if isinstance(x, torch.Tensor) and x.dim() > 3:
        z = _by_several(x.flatten(1, -2), kernels, biases, members)
        return z.view(len(z), *x.shape[1:-1], z.shape[2])
    features, units = kernels.shape[1:]
    side_by_side = kernels.view(-1, members, features, units).transpose(1, 2).flatten(2)
    product = multiply(x, side_by_side)
    z = product.view(*product.shape[:2], members, units).transpose(1, 2).flatten(0, 1)
    return z if biases is None else z + biases
