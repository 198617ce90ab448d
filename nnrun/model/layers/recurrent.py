"""Recurrent layers: step after step, all replicas and both directions in each step."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, ClassVar, Generic, TypeVar

import numpy as np

from nnrun.lazy_torch import torch
from nnrun.model.activations import ACTIVATIONS
from nnrun.model.inputs import Batch
from nnrun.model.kernels import recurrent as in_cpp
from nnrun.model.layers.base import Layer, Parameters, Weight
from nnrun.model.layers.initializers import Values
from nnrun.model.rng import BatchRng, dropout_factors
from nnrun.spec import schema

if TYPE_CHECKING:
    from torch import Tensor

T = TypeVar("T", bound=schema.Lstm | schema.Gru | schema.SimpleRnn)
State = tuple["Tensor", ...]

_USUAL = ("tanh", "sigmoid")
"""The activation and the recurrent activation that C++ computes."""


@dataclass(frozen=True, eq=False)
class Recurrence:
    """What all steps of a batch share. Q = directions * R: the replicas of one direction, then of the other.

    Attributes:
        kernel: (Q, units, gates * units), of what was given for the step before.
        bias: (Q, 1, gates * units) of `gru` with `reset_after`, added to that product; None for others.
        factors: (Q, gates or 1, B, units), by which dropout multiplies what each gate sees of the step
            before, the same in all steps; None without.
    """

    kernel: Tensor
    bias: Tensor | None
    factors: Tensor | None

    def product(self, h: Tensor, added: Tensor | None, gates: slice | None = None) -> Tensor:
        """`added` + h @ kernel, (Q, B, gates * units).

        Args:
            h: (Q, B, units), given for the step before.
            added: what is added; None for nothing.
            gates: which of the gates; None for all.
        """
        units = h.shape[-1]
        kernel = self.kernel
        if gates is not None:
            kernel = kernel[..., gates.start * units : gates.stop * units]
        if self.factors is None:
            return torch.bmm(h, kernel) if added is None else torch.baddbmm(added, h, kernel)
        factors = self.factors if gates is None or self.factors.shape[1] == 1 else self.factors[:, gates]
        product = ((h.unsqueeze(1) * factors) @ _by_gate(kernel, units)).transpose(1, 2).flatten(2)
        return product if added is None else added + product


def _by_gate(kernel: Tensor, units: int) -> Tensor:
    """(Q, in, gates * units) as (Q, gates, in, units)."""
    return kernel.view(*kernel.shape[:2], -1, units).transpose(1, 2)


@dataclass(frozen=True)
class RecurrentLayer(Layer[T], Generic[T]):
    """A layer whose gates see each step and what the layer gave for the step before.

    A weights file has `weight_ih` (gates * units, features) for the step, `weight_hh` (gates * units, units)
    for what was given before, and `bias`: the gates one behind the other, in Keras's order. With
    `bidirectional` it has the same for the second direction, each name with `_reverse` behind it.
    """

    gates: ClassVar[int]

    @property
    @abstractmethod
    def bias(self) -> Weight:
        """The bias's shape and layout."""

    @property
    def directions(self) -> int:
        """1, or 2 with `bidirectional`."""
        return 2 if self.spec.bidirectional else 1

    @cached_property
    def weights(self) -> Mapping[str, Weight]:
        """Kernel (R, features, gates * units), recurrent kernel (R, units, gates * units), bias."""
        features, units = self.input_shape[1], self.spec.units
        columns = self.gates * units
        own = {
            "weight_ih": self.weight("kernel", (features, columns), "transposed"),
            "weight_hh": self.weight("recurrent", (units, columns), "transposed"),
        } | ({"bias": self.bias} if self.spec.use_bias else {})
        return {
            self.name(f"{name}{suffix}"): weight
            for suffix in ("", "_reverse")[: self.directions]
            for name, weight in own.items()
        }

    @property
    def description(self) -> str:
        """With its activation, where that is not the usual one."""
        kind = f"bidirectional {self.spec.kind}" if self.spec.bidirectional else self.spec.kind
        usual = self.spec.activation == "tanh"
        return kind if usual else f"{kind}, {self.spec.activation}"

    @property
    def multiplications(self) -> int:
        """Of one step: threads can share no more, since each step waits for the one before it."""
        return self.directions * (self.input_shape[1] + self.spec.units) * self.gates * self.spec.units

    @property
    def activations_per_row(self) -> int:
        """The gates of all steps."""
        return self.directions * self.input_shape[0] * self.gates * self.spec.units

    def forward(
        self, parameters: Parameters, x: Tensor, rng: BatchRng | None, new_buffers: dict[str, Tensor] | None
    ) -> Tensor:
        """(R, B, steps, features) → (R, B, units), or (R, B, steps, units) with `return_sequences`.

        With `bidirectional` twice as many units: those of the second direction behind those of the first.
        """
        return self._computed(parameters, x, None, rng)

    def forward_masked(
        self,
        parameters: Parameters,
        x: Tensor,
        mask: Tensor,
        rng: BatchRng | None,
        new_buffers: dict[str, Tensor] | None,
    ) -> Tensor:
        """A step that does not count changes nothing: what was given before is given again.

        With `bidirectional` and `return_sequences` zeros are given for it.
        """
        return self._computed(parameters, x, mask, rng)

    def mask_of(self, x: Batch, mask: Tensor | None) -> Tensor | None:
        """That of the steps, where all are given, in the order in which they are given.

        (Keras leaves it in the order in which they were taken, also with `go_backwards`.)
        """
        kept = super().mask_of(x, mask)
        return kept.flip(2) if kept is not None and self.spec.go_backwards else kept

    def _computed(
        self, parameters: Parameters, x: Tensor, mask: Tensor | None, rng: BatchRng | None
    ) -> Tensor:
        bias = self._stacked(parameters, "bias") if self.spec.use_bias else None
        kernels = self._stacked(parameters, "weight_ih"), self._stacked(parameters, "weight_hh")
        counts = None if mask is None else self._in_order(mask)
        x = self._in_order(x)
        given = self._by_kernel(x, kernels, bias, counts, rng)
        if given is None:
            of_steps = self._projected(kernels[0], x, self.input_bias(bias), rng)
            factors = self._factors(rng, "recurrent_dropout", x, self.spec.recurrent_dropout, self.spec.units)
            given = self._run(Recurrence(kernels[1], self.recurrent_bias(bias), factors), of_steps, counts)
        if counts is not None and self.directions == 2 and self.spec.return_sequences:
            given = torch.where(counts.unsqueeze(-1), given, 0.0)
        return self._joined(given)

    def _by_kernel(
        self,
        x: Tensor,
        kernels: tuple[Tensor, Tensor],
        bias: Tensor | None,
        counts: Tensor | None,
        rng: BatchRng | None,
    ) -> Tensor | None:
        """What `_run` gives, by C++; None where C++ does not know the layer, or cannot read these tensors.

        With `recurrent_dropout` each gate sees other numbers while training, which only `_run` knows.
        """
        if self.kernel_for(self.spec) is None or (rng is not None and self.spec.recurrent_dropout > 0):
            return None
        factors = self._factors(rng, "dropout", x, self.spec.dropout, x.shape[-1])
        if factors is not None:
            x = x * factors.transpose(1, 2)
        all_steps = self.spec.return_sequences
        return in_cpp.recurrent(self.spec.kind, x, kernels, bias, counts, all_steps=all_steps)

    def _run(self, recurrence: Recurrence, of_steps: Tensor, counts: Tensor | None) -> Tensor:
        """What is given for the last step, (Q, B, units), or for each, (Q, B, T, units).

        Args:
            recurrence: what all steps share.
            of_steps: each step's part in the gates, (T, Q, B, gates * units).
            counts: (Q, B, T), False for what a mask leaves out; None for nothing.
        """
        state: State = self.start(of_steps)
        outputs = []
        for index, of_step in enumerate(of_steps.unbind()):
            new = self.step(recurrence, of_step, state)
            if counts is not None:
                kept = counts[:, :, index].unsqueeze(-1)
                new = tuple(torch.where(kept, *pair) for pair in zip(new, state, strict=True))
            state = new
            if self.spec.return_sequences:
                outputs.append(state[0])
        return torch.stack(outputs, 2) if outputs else state[0]

    def _stacked(self, parameters: Parameters, name: str) -> Tensor:
        """(Q, ...): a weight of all directions, one behind the other along the replicas."""
        first = parameters[self.name(name)]
        if self.directions == 1:
            return first
        return torch.cat([first, parameters[self.name(f"{name}_reverse")]])

    def _in_order(self, x: Tensor) -> Tensor:
        """(Q, B, steps, features): the steps in the order in which each direction takes them."""
        backwards = self.spec.go_backwards
        if self.directions == 1:
            return x.flip(2) if backwards else x
        return torch.cat([x.flip(2), x] if backwards else [x, x.flip(2)])

    def _joined(self, given: Tensor) -> Tensor:
        """(R, B, units) or (R, B, steps, units): the directions of each step behind each other.

        The second direction is turned round to the order of the first.
        """
        if self.directions == 1:
            return given
        first, second = given.chunk(2)
        return torch.cat([first, second.flip(2) if self.spec.return_sequences else second], -1)

    def _projected(self, kernel: Tensor, x: Tensor, bias: Tensor | None, rng: BatchRng | None) -> Tensor:
        """Each step's part in the gates, (T, Q, B, gates * units)."""
        replicas, rows, steps, features = x.shape
        factors = self._factors(rng, "dropout", x, self.spec.dropout, features)
        if factors is not None and factors.shape[1] == 1:
            x, factors = x * factors.transpose(1, 2), None
        if factors is None:
            flat = x.transpose(1, 2).flatten(1, 2)  # step by step
            projected = torch.bmm(flat, kernel) if bias is None else torch.baddbmm(bias, flat, kernel)
            return projected.view(replicas, steps, rows, -1).transpose(0, 1)
        seen = (x.unsqueeze(1) * factors.unsqueeze(3)).transpose(2, 3)  # (Q, gates, T, B, features)
        parts = seen @ _by_gate(kernel, self.spec.units).unsqueeze(2)
        projected = parts.permute(2, 0, 3, 1, 4).flatten(3)
        return projected if bias is None else projected + bias

    def _factors(self, rng: BatchRng | None, name: str, x: Tensor, rate: float, size: int) -> Tensor | None:
        """(Q, gates or 1, B, size): what dropout multiplies by, the same in all steps; None for nothing.

        Keras's: with `recurrent_dropout` each gate of `lstm` and `gru` sees a choice of its own, else all
        see the same.
        """
        if rng is None or rate == 0:
            return None
        gates = self.gates if self.spec.recurrent_dropout else 1
        rows, directions = x.shape[1], self.directions
        like = x.new_empty(len(rng.sources), rows, directions * gates * size)
        uniform = rng.dense(f"{self.path}.{name}", like)
        factors = dropout_factors(uniform, rate).view(-1, rows, directions, gates, size)
        return factors.permute(2, 0, 3, 1, 4).flatten(0, 1)

    def input_bias(self, bias: Tensor | None) -> Tensor | None:
        """(Q, 1, gates * units): what is added to a step's part in the gates."""
        return bias

    def recurrent_bias(self, bias: Tensor | None) -> Tensor | None:
        """(Q, 1, gates * units): what is added to the part of what was given before."""
        return None

    def start(self, of_steps: Tensor) -> State:
        """Zeros, (Q, B, units), for what is given before the first step, and whatever else is carried."""
        return (of_steps.new_zeros(*of_steps.shape[1:-1], self.spec.units),)

    @abstractmethod
    def step(self, recurrence: Recurrence, of_step: Tensor, state: State) -> State:
        """What is given for a step, and whatever else is carried to the next.

        Args:
            recurrence: what all steps share.
            of_step: the step's part in the gates, (Q, B, gates * units).
            state: the same of the step before.
        """

    def activate(self, x: Tensor) -> Tensor:
        """The activation of what is given."""
        return ACTIVATIONS[self.spec.activation](x)


@dataclass(frozen=True)
class SimpleRnnLayer(RecurrentLayer[schema.SimpleRnn]):
    """One gate, which is what is given (Elman 1990)."""

    gates: ClassVar[int] = 1

    @property
    def bias(self) -> Weight:
        """(R, 1, units); in a file (units,)."""
        return self.weight("bias", (1, self.spec.units), "row")

    def step(self, recurrence: Recurrence, of_step: Tensor, state: State) -> State:
        """h = activation(step + h @ kernel)."""
        return (self.activate(recurrence.product(state[0], of_step)),)


@dataclass(frozen=True)
class LstmLayer(RecurrentLayer[schema.Lstm]):
    """Gates input, forget, cell, output (the order of PyTorch too, which has two biases for this one)."""

    gates: ClassVar[int] = 4

    @classmethod
    def kernel_for(cls, spec: schema.Lstm) -> str | None:
        """With the usual activations."""
        return in_cpp.LIBRARY if (spec.activation, spec.recurrent_activation) == _USUAL else None

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

    def start(self, of_steps: Tensor) -> State:
        """What is given, and the cell."""
        (h,) = super().start(of_steps)
        return h, h

    def step(self, recurrence: Recurrence, of_step: Tensor, state: State) -> State:
        """c = forget * c + input * cell; h = output * activation(c)."""
        h, c = state
        gate = ACTIVATIONS[self.spec.recurrent_activation]
        z_input, z_forget, z_cell, z_output = recurrence.product(h, of_step).chunk(4, -1)
        c = gate(z_forget) * c + gate(z_input) * self.activate(z_cell)
        return gate(z_output) * self.activate(c), c


@dataclass(frozen=True)
class GruLayer(RecurrentLayer[schema.Gru]):
    """Gates update, reset, candidate (PyTorch has reset before update)."""

    gates: ClassVar[int] = 3

    @classmethod
    def kernel_for(cls, spec: schema.Gru) -> str | None:
        """With the usual activations and `reset_after`."""
        usual = (spec.activation, spec.recurrent_activation) == _USUAL and spec.reset_after
        return in_cpp.LIBRARY if usual else None

    @property
    def bias(self) -> Weight:
        """With `reset_after` one for the step and one for what was given before: (2, 3 * units)."""
        columns = 3 * self.spec.units
        if self.spec.reset_after:
            return self.weight("bias", (2, columns))
        return self.weight("bias", (1, columns), "row")

    def input_bias(self, bias: Tensor | None) -> Tensor | None:
        """The step's bias."""
        return None if bias is None else bias[:, :1]

    def recurrent_bias(self, bias: Tensor | None) -> Tensor | None:
        """The second bias, with `reset_after`."""
        return None if bias is None or not self.spec.reset_after else bias[:, 1:]

    def step(self, recurrence: Recurrence, of_step: Tensor, state: State) -> State:
        """h = update * h + (1 - update) * candidate."""
        (h,) = state
        update, candidate = self._gates(recurrence, of_step, h)
        return (update * h + (1 - update) * candidate,)

    def _gates(self, recurrence: Recurrence, of_step: Tensor, h: Tensor) -> tuple[Tensor, Tensor]:
        units, gate = self.spec.units, ACTIVATIONS[self.spec.recurrent_activation]
        first, last = of_step[..., : 2 * units], of_step[..., 2 * units :]
        if self.spec.reset_after:
            recurrent = recurrence.product(h, recurrence.bias)
            update, reset = gate(first + recurrent[..., : 2 * units]).chunk(2, -1)
            return update, self.activate(last + reset * recurrent[..., 2 * units :])
        update, reset = gate(recurrence.product(h, first, slice(0, 2))).chunk(2, -1)
        return update, self.activate(recurrence.product(reset * h, last, slice(2, 3)))
