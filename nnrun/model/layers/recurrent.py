"""Recurrent layers: step after step, all replicas in each step."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import ClassVar, Generic, TypeVar

import numpy as np
import torch
from torch import Tensor

from nnrun.model.activations import ACTIVATIONS
from nnrun.model.layers.base import Layer, Parameters, Weight
from nnrun.model.layers.initializers import Values
from nnrun.model.rng import BatchRng
from nnrun.spec import schema

T = TypeVar("T", bound=schema.Lstm | schema.Gru)


@dataclass(frozen=True)
class RecurrentLayer(Layer[T], Generic[T]):
    """A layer whose gates see each step and what the layer gave for the step before.

    A weights file has `weight_ih` (gates * units, features) for the step, `weight_hh` (gates * units, units)
    for what was given before, and `bias`: the gates one behind the other, in Keras's order.
    """

    gates: ClassVar[int]

    @property
    @abstractmethod
    def bias(self) -> Weight:
        """The bias's shape and layout."""

    @cached_property
    def weights(self) -> Mapping[str, Weight]:
        """Kernel (R, features, gates * units), recurrent kernel (R, units, gates * units), bias."""
        features, units = self.input_shape[1], self.spec.units
        columns = self.gates * units
        weights = {
            self.name("weight_ih"): self.weight("kernel", (features, columns), "transposed"),
            self.name("weight_hh"): self.weight("recurrent", (units, columns), "transposed"),
        }
        return weights | ({self.name("bias"): self.bias} if self.spec.use_bias else {})

    @property
    def description(self) -> str:
        """With its activation, where that is not the usual one."""
        usual = self.spec.activation == "tanh"
        return self.spec.kind if usual else f"{self.spec.kind}, {self.spec.activation}"

    @property
    def multiplications(self) -> int:
        """Of one step: threads can share no more, since each step waits for the one before it."""
        return (self.input_shape[1] + self.spec.units) * self.gates * self.spec.units

    @property
    def activations_per_row(self) -> int:
        """The gates of all steps."""
        return self.input_shape[0] * self.gates * self.spec.units

    def forward(
        self, parameters: Parameters, x: Tensor, rng: BatchRng | None, new_buffers: dict[str, Tensor] | None
    ) -> Tensor:
        """(R, B, steps, features) → (R, B, units), or (R, B, steps, units) with `return_sequences`."""
        replicas, rows, steps, _ = x.shape
        kernel = parameters[self.name("weight_ih")]
        flat = x.transpose(1, 2).flatten(1, 2)  # step by step
        bias = self.input_bias(parameters)
        projected = torch.bmm(flat, kernel) if bias is None else torch.baddbmm(bias, flat, kernel)
        of_steps = projected.view(replicas, steps, rows, -1).transpose(0, 1)
        given = self.run(parameters, of_steps)
        return given.movedim(0, 2) if self.spec.return_sequences else given[-1]

    @abstractmethod
    def input_bias(self, parameters: Parameters) -> Tensor | None:
        """(R, 1, gates * units): what is added to a step's part in the gates, or None."""

    @abstractmethod
    def run(self, parameters: Parameters, of_steps: Tensor) -> Tensor:
        """What is given for each step, (T, R, B, units).

        Args:
            parameters: stacked.
            of_steps: each step's part in the gates, (T, R, B, gates * units).
        """

    def start(self, of_steps: Tensor) -> Tensor:
        """(R, B, units): zeros, given before the first step."""
        return of_steps.new_zeros(*of_steps.shape[1:-1], self.spec.units)

    def activate(self, x: Tensor) -> Tensor:
        """The activation of what is given."""
        return ACTIVATIONS[self.spec.activation](x)

    def gate(self, x: Tensor) -> Tensor:
        """The activation of the gates."""
        return ACTIVATIONS[self.spec.recurrent_activation](x)


@dataclass(frozen=True)
class LstmLayer(RecurrentLayer[schema.Lstm]):
    """Gates input, forget, cell, output (the order of PyTorch too, which has two biases for this one)."""

    gates: ClassVar[int] = 4

    @property
    def bias(self) -> Weight:
        """(R, 1, 4 * units); in a file (4 * units,)."""
        bias = self.weight("bias", (1, 4 * self.spec.units), "row")
        if not self.spec.unit_forget_bias:
            return bias

        def with_open_forget_gate(rng: np.random.Generator, shape: tuple[int, ...]) -> Values:
            values = bias.initializer(rng, shape)
            values[:, self.spec.units : 2 * self.spec.units] = 1  # Jozefowicz et al. 2015
            return values

        return replace(bias, initializer=with_open_forget_gate)

    def input_bias(self, parameters: Parameters) -> Tensor | None:
        """The bias."""
        return parameters[self.name("bias")] if self.spec.use_bias else None

    def run(self, parameters: Parameters, of_steps: Tensor) -> Tensor:
        """c = forget * c + input * cell; h = output * activation(c)."""
        kernel = parameters[self.name("weight_hh")]
        h = c = self.start(of_steps)
        outputs = []
        for of_step in of_steps.unbind():
            z = torch.baddbmm(of_step, h, kernel)
            z_input, z_forget, z_cell, z_output = z.chunk(4, -1)
            c = self.gate(z_forget) * c + self.gate(z_input) * self.activate(z_cell)
            h = self.gate(z_output) * self.activate(c)
            outputs.append(h)
        return torch.stack(outputs)


@dataclass(frozen=True)
class GruLayer(RecurrentLayer[schema.Gru]):
    """Gates update, reset, candidate (PyTorch has reset before update)."""

    gates: ClassVar[int] = 3

    @property
    def bias(self) -> Weight:
        """With `reset_after` one for the step and one for what was given before: (2, 3 * units)."""
        columns = 3 * self.spec.units
        if self.spec.reset_after:
            return self.weight("bias", (2, columns))
        return self.weight("bias", (1, columns), "row")

    def input_bias(self, parameters: Parameters) -> Tensor | None:
        """The step's bias."""
        return parameters[self.name("bias")][:, :1] if self.spec.use_bias else None

    def run(self, parameters: Parameters, of_steps: Tensor) -> Tensor:
        """h = update * h + (1 - update) * candidate."""
        units, h, outputs = self.spec.units, self.start(of_steps), []
        for of_step in of_steps.unbind():
            update, candidate = self._gates(parameters, of_step, h, units)
            h = update * h + (1 - update) * candidate
            outputs.append(h)
        return torch.stack(outputs)

    def _gates(self, parameters: Parameters, of_step: Tensor, h: Tensor, units: int) -> tuple[Tensor, Tensor]:
        kernel = parameters[self.name("weight_hh")]
        if self.spec.reset_after:
            bias = parameters[self.name("bias")][:, 1:] if self.spec.use_bias else None
            recurrent = torch.bmm(h, kernel) if bias is None else torch.baddbmm(bias, h, kernel)
            update, reset = self.gate(of_step[..., : 2 * units] + recurrent[..., : 2 * units]).chunk(2, -1)
            return update, self.activate(of_step[..., 2 * units :] + reset * recurrent[..., 2 * units :])
        z = torch.baddbmm(of_step[..., : 2 * units], h, kernel[..., : 2 * units])
        update, reset = self.gate(z).chunk(2, -1)
        candidate = torch.baddbmm(of_step[..., 2 * units :], reset * h, kernel[..., 2 * units :])
        return update, self.activate(candidate)
