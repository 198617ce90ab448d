"""Random numbers of layers while they train, as a function of (key, row of the epoch, unit) alone.

A counter-based generator (SplitMix64: Steele, Lea & Flood 2014) has no state to carry. So the numbers are the
same on every device, in every batch layout, and whoever trains beside this replica.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from nnrun.lazy_torch import torch
from nnrun.model.inputs import SparseBatch
from nnrun.spec.random_streams import RandomSource, derive_seed

if TYPE_CHECKING:
    from torch import Tensor

# SplitMix64's constants as signed 64-bit numbers; int64 tensors wrap around as unsigned ones do.
_GAMMA = 0x9E3779B97F4A7C15 - (1 << 64)
_MIX_1 = 0xBF58476D1CE4E5B9 - (1 << 64)
_MIX_2 = 0x94D049BB133111EB - (1 << 64)
_TOP_BITS = 24  # a float32 in [0, 1) has 24 bits
_AT_ONCE = 1 << 15  # numbers that stay in a CPU's cache while they are mixed


@dataclass(frozen=True)
class BatchRng:
    """Random numbers of one batch of all replicas. Any layer may ask for some, by its path.

    Attributes:
        sources: of the replicas' random streams, R of them.
        epoch: from 1.
        device: where the numbers are made; None for the CPU.
        first_row: where in the epoch's order the batch starts.
        keys: the keys of all that have asked so far, of layers by path; batches of an epoch share them.
    """

    sources: Sequence[RandomSource] = ()
    epoch: int = 1
    device: torch.device | None = None
    first_row: int = 0
    keys: dict[str, Tensor] = field(default_factory=dict)

    def starting_at(self, first_row: int) -> BatchRng:
        """Those of a batch of the same epoch that starts at another row of its order."""
        return BatchRng(self.sources, self.epoch, self.device, first_row, self.keys)

    def key(self, path: str) -> Tensor:
        """(R,) int64 keys of the layer at `path`: one for each replica, other ones in each epoch."""
        # The purpose is older than other layers that draw; another one would change histories.
        return self._key_of(path, f"dropout of layer {path}")

    def _key_of(self, name: str, purpose: str) -> Tensor:
        if name not in self.keys:
            derived = [source.derive(epoch=self.epoch, purpose=purpose) for source in self.sources]
            self.keys[name] = torch.tensor(derived, device=self.device)
        return self.keys[name]

    def of_rows(self, purpose: str, rows: int, numbers: int, device: torch.device) -> Tensor:
        """(R, rows, numbers) uniform numbers in [0, 1): so many for each row of the batch."""
        counter_BU = torch.arange(rows * numbers, device=device).view(rows, numbers)
        return uniform(self._key_of(purpose, purpose)[:, None, None], counter_BU + self.first_row * numbers)

    def dense(self, path: str, x: Tensor) -> Tensor:
        """Uniform numbers in [0, 1) of the shape of `x`, (R, B, ...)."""
        rows, units = x.shape[1], math.prod(x.shape[2:])
        places_BU = torch.arange(rows * units, device=x.device).view(rows, units)
        counter_BU = places_BU + self.first_row * units
        return uniform(self.key(path)[:, None, None], counter_BU).view(x.shape)

    def normal(self, path: str, x: Tensor) -> Tensor:
        """Standard normal numbers of the shape of `x`, (R, B, ...) (Box & Muller 1958)."""
        pairs = self.dense(path, x.unsqueeze(2).expand(-1, -1, 2, *x.shape[2:]))
        radius, angle = pairs.unbind(2)
        return torch.sqrt(-2 * torch.log1p(-radius)) * torch.cos(2 * math.pi * angle)

    def seed(self, path: str, replica: int) -> int:
        """A seed of PyTorch's generator, for what a custom layer draws in this batch of one replica."""
        of_epoch = self.sources[replica].derive(epoch=self.epoch, purpose=f"custom layer {path}")
        return derive_seed(of_epoch, purpose=f"rows from {self.first_row}")

    def sparse(self, path: str, batch: SparseBatch) -> Tensor:
        """(nnz,): the numbers that `dense` would give at the non-zeros of the batch."""
        lengths = batch.row_starts.diff()
        row = torch.repeat_interleave(torch.arange(len(lengths), device=lengths.device), lengths)
        replica = row // batch.rows
        counter = (
            (self.first_row + row % batch.rows) * batch.features + batch.columns - replica * batch.features
        )
        return uniform(self.key(path)[replica], counter)


def uniform(key: Tensor, counter: Tensor) -> Tensor:
    """Float32 numbers in [0, 1) for int64 keys and counters (broadcast against each other)."""
    z = key + (counter + 1) * _GAMMA
    numbers = torch.empty(z.shape, dtype=torch.float32, device=z.device)
    at_once = _AT_ONCE if z.device.type == "cpu" else max(1, z.numel())
    parts = (torch.split(values.view(-1), at_once) for values in (z, numbers))
    for part, made in zip(*parts, strict=True):
        shifted = torch.empty_like(part)
        for bits, factor in ((30, _MIX_1), (27, _MIX_2), (31, 1)):
            part.bitwise_xor_(_shift_right(part, bits, out=shifted))
            if factor != 1:
                part.mul_(factor)
        made.copy_(_shift_right(part, 64 - _TOP_BITS, out=shifted))
    return numbers.mul_(2.0**-_TOP_BITS)


def dropout_factors(uniform: Tensor, rate: float) -> Tensor:
    """What dropout multiplies by: 0 with probability `rate`, else 1 / (1 - rate)."""
    return (uniform >= rate).to(torch.float32).mul_(1.0 / (1.0 - rate))


def _shift_right(z: Tensor, bits: int, out: Tensor) -> Tensor:
    """A logical shift: PyTorch's own keeps the sign."""
    torch.bitwise_right_shift(z, bits, out=out)
    return out.bitwise_and_((1 << (64 - bits)) - 1)
