"""Modules and functions that a written script has copies of, where PyTorch has none that compute the same.

They are copied as they stand, so that they import nothing of nnrun. B rows, S or Q steps, C channels or
features, H heads.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class MultiHeadAttention(nn.Module):
    """Each head compares queries with keys and gives a weighted mean of values (Vaswani et al. 2017)."""

    def __init__(
        self, sizes: Sequence[int], heads: int, key_dim: int, value_dim: int, out: int, bias: bool
    ) -> None:
        super().__init__()
        self.heads, self.key_dim = heads, key_dim
        self.query = nn.Linear(sizes[0], heads * key_dim, bias)
        self.key = nn.Linear(sizes[1], heads * key_dim, bias)
        self.value = nn.Linear(sizes[2], heads * value_dim, bias)
        self.output = nn.Linear(heads * value_dim, out, bias)

    def forward(self, query: Tensor, key: Tensor, value: Tensor, seen: Tensor | None = None) -> Tensor:
        """(B, Q, C), (B, S, C) and (B, S, C) → (B, Q, out); `seen` (B, Q, S) says what is looked at."""
        q, k, v = (
            linear(x).unflatten(-1, (self.heads, -1)).transpose(1, 2)
            for linear, x in ((self.query, query), (self.key, key), (self.value, value))
        )
        scores = (q / math.sqrt(self.key_dim)) @ k.transpose(-1, -2)
        if seen is not None:
            scores = torch.where(seen.unsqueeze(1), scores, -1e9)
        return self.output((torch.softmax(scores, -1) @ v).transpose(1, 2).flatten(2))


def attention(
    query: Tensor,
    value: Tensor,
    key: Tensor,
    scale: Tensor | None = None,
    query_mask: Tensor | None = None,
    value_mask: Tensor | None = None,
) -> Tensor:
    """softmax(query @ key^T) @ value, of (B, Q, C) and (B, S, C)."""
    scores = query @ key.transpose(-1, -2)
    if scale is not None:
        scores = scores * scale
    if value_mask is not None:
        scores = torch.where(value_mask.unsqueeze(1), scores, scores - 1e9)
    found = torch.softmax(scores, -1) @ value
    return found if query_mask is None else torch.where(query_mask.unsqueeze(-1), found, 0.0)


def sines(steps: int, features: int, max_wavelength: float) -> Tensor:
    """(S, C): in pairs of features the sine and the cosine of a wavelength."""
    column = torch.arange(features)
    rates = max_wavelength ** (-2.0 * (column // 2) / features)
    angles = torch.arange(steps).unsqueeze(1) * rates
    return torch.where(column % 2 == 0, angles.sin(), angles.cos())


class Periodic(nn.Module):
    """Cosines and sines of learned frequencies of each of C columns, and a linear layer of each column's."""

    def __init__(self, columns: int, frequencies: int, units: int | None) -> None:
        super().__init__()
        self.frequencies = nn.Parameter(torch.zeros(columns, frequencies))
        if units is not None:
            self.weight = nn.Parameter(torch.zeros(columns, 2 * frequencies, units))
            self.bias = nn.Parameter(torch.zeros(columns, units))
        self.linear = units is not None

    def forward(self, x: Tensor) -> Tensor:
        """(B, C) → (B, C, 2 * frequencies), or (B, C, units)."""
        angles = 2 * math.pi * x.unsqueeze(2) * self.frequencies
        waves = torch.cat([angles.cos(), angles.sin()], 2)
        return torch.einsum("bcf,cfu->bcu", waves, self.weight) + self.bias if self.linear else waves


class Stepped(nn.Module):
    """A recurrent layer step by step, for what `nn.LSTM`, `nn.GRU` and `nn.RNN` do not have."""

    gates = 1

    def __init__(
        self,
        features: int,
        units: int,
        bias: Sequence[int] | None,
        activation: Callable[[Tensor], Tensor],
        gate: Callable[[Tensor], Tensor] = torch.sigmoid,
    ) -> None:
        super().__init__()
        self.units, self.activation, self.gate = units, activation, gate
        self.weight_ih = nn.Parameter(torch.zeros(self.gates * units, features))
        self.weight_hh = nn.Parameter(torch.zeros(self.gates * units, units))
        self.bias = nn.Parameter(torch.zeros(*bias)) if bias is not None else None

    def forward(self, x: Tensor, mask: Tensor | None = None, sequences: bool = False) -> Tensor:
        """(B, S, C) → (B, units) of the last step, or (B, S, units). A masked step changes nothing."""
        h = c = x.new_zeros(len(x), self.units)
        given = []
        for step in range(x.shape[1]):
            new_h, new_c = self.step(x[:, step] @ self.weight_ih.T, h, c)
            if mask is not None:
                counts = mask[:, step].unsqueeze(1)
                new_h, new_c = torch.where(counts, new_h, h), torch.where(counts, new_c, c)
            h, c = new_h, new_c
            given.append(h)
        return torch.stack(given, 1) if sequences else h

    def step(self, z: Tensor, h: Tensor, c: Tensor) -> tuple[Tensor, Tensor]:
        """What is given for a step, and what else is carried on, from the step's own part z."""
        raise NotImplementedError


class SteppedRnn(Stepped):
    """h = activation(step + h @ kernel)."""

    def step(self, z: Tensor, h: Tensor, c: Tensor) -> tuple[Tensor, Tensor]:
        """One step."""
        z = z + h @ self.weight_hh.T
        return self.activation(z if self.bias is None else z + self.bias), c


class SteppedLstm(Stepped):
    """Gates input, forget, cell, output."""

    gates = 4

    def step(self, z: Tensor, h: Tensor, c: Tensor) -> tuple[Tensor, Tensor]:
        """One step."""
        z = z + h @ self.weight_hh.T
        given, forget, cell, output = (z if self.bias is None else z + self.bias).chunk(4, -1)
        c = self.gate(forget) * c + self.gate(given) * self.activation(cell)
        return self.gate(output) * self.activation(c), c


class SteppedGru(Stepped):
    """Gates update, reset, candidate; with two biases the reset gate comes behind the product."""

    gates = 3

    def step(self, z: Tensor, h: Tensor, c: Tensor) -> tuple[Tensor, Tensor]:
        """One step."""
        two = 2 * self.units
        if self.reset_after:
            own, recurrent = z, h @ self.weight_hh.T
            if self.bias is not None:
                own, recurrent = own + self.bias[0], recurrent + self.bias[1]
            update, reset = self.gate(own[:, :two] + recurrent[:, :two]).chunk(2, -1)
            candidate = self.activation(own[:, two:] + reset * recurrent[:, two:])
        else:
            z = z if self.bias is None else z + self.bias
            update, reset = self.gate(z[:, :two] + h @ self.weight_hh[:two].T).chunk(2, -1)
            candidate = self.activation(z[:, two:] + (reset * h) @ self.weight_hh[two:].T)
        return update * h + (1 - update) * candidate, c

    reset_after = True


class SteppedGruBefore(SteppedGru):
    """The reset gate comes before the product."""

    reset_after = False


class BothDirections(nn.Module):
    """Two recurrent layers, of which the second takes the steps from the last to the first."""

    def __init__(self, first: Stepped, second: Stepped) -> None:
        super().__init__()
        self.first, self.second = first, second

    def forward(self, x: Tensor, mask: Tensor | None = None, sequences: bool = False) -> Tensor:
        """(B, S, C) → (B, 2 * units), or (B, S, 2 * units), in which masked steps are 0."""
        back = None if mask is None else mask.flip(1)
        first, second = self.first(x, mask, sequences), self.second(x.flip(1), back, sequences)
        if not sequences:
            return torch.cat([first, second], -1)
        if mask is not None and back is not None:
            first = torch.where(mask.unsqueeze(-1), first, 0.0)
            second = torch.where(back.unsqueeze(-1), second, 0.0)
        return torch.cat([first, second.flip(1)], -1)


def masked_mean(x: Tensor, mask: Tensor) -> Tensor:
    """(B, S, C) → (B, C): the mean of the steps that count; 0 where none does."""
    counts = mask.flatten(1).unsqueeze(-1)
    return torch.where(counts, x.flatten(1, -2), 0.0).sum(1) / counts.sum(1).clamp(min=1)


def average_pool(x: Tensor, size: list[int], strides: list[int], padding: list[int]) -> Tensor:
    """(B, C, ...): the mean of each window, of what is no padding."""
    pool = F.avg_pool1d if x.dim() == 3 else F.avg_pool2d
    inside = F.pad(torch.ones_like(x[:1, :1]), padding)
    return pool(F.pad(x, padding), size, strides) / pool(inside, size, strides)


def dot(first: Tensor, second: Tensor, axis: int, normalize: bool) -> Tensor:
    """The sums of products along an axis."""
    first, second = first.movedim(axis, -1), second.movedim(axis, -1)
    if normalize:
        first, second = (
            x * torch.rsqrt(x.square().sum(-1, keepdim=True).clamp(min=1e-12)) for x in (first, second)
        )
    if first.dim() == 2:
        return (first * second).sum(-1, keepdim=True)
    return first @ second.transpose(-1, -2)
