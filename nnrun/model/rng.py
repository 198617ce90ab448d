"""Dropout's random numbers, as a function of (key, row of the epoch, unit) and of nothing else.

A counter-based generator (SplitMix64: Steele, Lea & Flood 2014) has no state to carry. So the numbers are the
same on every device, in every batch layout, and whoever trains beside this replica.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from nnrun.model.inputs import SparseBatch
from nnrun.spec.random_streams import derive_seed

# SplitMix64's constants as signed 64-bit numbers; int64 tensors wrap around as unsigned ones do.
_GAMMA = 0x9E3779B97F4A7C15 - (1 << 64)
_MIX_1 = 0xBF58476D1CE4E5B9 - (1 << 64)
_MIX_2 = 0x94D049BB133111EB - (1 << 64)
_TOP_BITS = 24  # a float32 in [0, 1) has 24 bits


@dataclass(frozen=True)
class BatchRng:
    """Random numbers of one batch of all replicas.

    Attributes:
        keys: for each dropout layer's path, (R,) int64 keys: one for each replica and epoch.
        first_row: where in the epoch's order the batch starts.
        seeds: for each custom layer's path, one seed for each replica and epoch, for PyTorch's generator.
    """

    keys: Mapping[str, Tensor]
    first_row: int = 0
    seeds: Mapping[str, Sequence[int]] = field(default_factory=dict)

    def starting_at(self, first_row: int) -> BatchRng:
        """Those of a batch of the same epoch that starts at another row of its order."""
        return replace(self, first_row=first_row)

    def dense(self, path: str, x: Tensor) -> Tensor:
        """Uniform numbers in [0, 1) of the shape of `x`, (R, B, ...)."""
        rows, units = x.shape[1], math.prod(x.shape[2:])
        places_BU = torch.arange(rows * units, device=x.device).view(rows, units)
        counter_BU = places_BU + self.first_row * units
        return uniform(self.keys[path][:, None, None], counter_BU).view(x.shape)

    def seed(self, path: str, replica: int) -> int:
        """The seed for what a custom layer draws in this batch of one replica."""
        return derive_seed(self.seeds[path][replica], purpose=f"rows from {self.first_row}")

    def sparse(self, path: str, batch: SparseBatch) -> Tensor:
        """(nnz,): the numbers that `dense` would give at the non-zeros of the batch."""
        lengths = batch.row_starts.diff()
        row = torch.repeat_interleave(torch.arange(len(lengths), device=lengths.device), lengths)
        replica = row // batch.rows
        counter = (
            (self.first_row + row % batch.rows) * batch.features + batch.columns - replica * batch.features
        )
        return uniform(self.keys[path][replica], counter)


def uniform(key: Tensor, counter: Tensor) -> Tensor:
    """Float32 numbers in [0, 1) for int64 keys and counters (broadcast against each other)."""
    z = key + (counter + 1) * _GAMMA
    z = (z ^ _shift_right(z, 30)) * _MIX_1
    z = (z ^ _shift_right(z, 27)) * _MIX_2
    z = z ^ _shift_right(z, 31)
    return _shift_right(z, 64 - _TOP_BITS).to(torch.float32) * 2.0**-_TOP_BITS


def _shift_right(z: Tensor, bits: int) -> Tensor:
    """A logical shift: PyTorch's own keeps the sign."""
    return (z >> bits) & ((1 << (64 - bits)) - 1)
