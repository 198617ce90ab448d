"""What is learned from what: a network, a loss, an optimizer, metrics, and the rows that they meet."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Protocol

import torch
from torch import Tensor

from nnrun.spec.streams import RandomSource
from nnrun.training.losses import RowLoss
from nnrun.training.metrics import Metric
from nnrun.training.optimizers import Optimizer
from nnrun.training.plan import RowNumbers

OWN_RATE = "learning_rate"
"""The name of the replicas' own learning rates in `Task.own`."""

BLOCK_NUMBERS = 4_000_000
"""Rows are gathered and measured in blocks of about this many numbers: memory must not follow the data."""


class Network(Protocol):
    """The part of `nnrun.model.Network` that training uses; noise is passed on, never looked into."""

    @property
    def outputs(self) -> int:
        """K, the number of outputs."""
        ...

    @property
    def widest(self) -> int:
        """The most units of a layer."""
        ...

    def forward(self, parameters: Mapping[str, Tensor], x: Any, noise: Any = None) -> Tensor:
        """(R, B, K): the output layer's values before its activation."""
        ...

    def activate(self, z_RBK: Tensor) -> Tensor:
        """Values before the last activation → outputs."""
        ...

    def penalty(self, parameters: Mapping[str, Tensor]) -> Tensor | None:
        """(R,): the regularization term, or None."""
        ...

    def noise(self, sources: Sequence[RandomSource], epoch: int, device: torch.device) -> Any:
        """The random numbers of one epoch, or None."""
        ...


class Rows(Protocol):
    """Gives batches of inputs: `nnrun.model.inputs`."""

    @property
    def dense(self) -> bool:
        """Whether batches are tensors, all of one shape."""
        ...

    @property
    def numbers_per_row(self) -> int:
        """How many numbers a row takes in memory."""
        ...

    def batches(self, places: Sequence[int], rows_GN: RowNumbers, batch_size: int) -> Iterator[Any]:
        """Rows `rows_GN[g]` of the replica at `places[g]`, in batches of `batch_size`."""
        ...


@dataclass(frozen=True)
class Task:
    """What R replicas learn.

    Attributes:
        network, loss, optimizer, metrics: what the spec declares.
        inputs: the rows.
        targets: (S, N, K) float32 or (S, N) int64 class indices; S is 1 where replicas share them, else R.
        batch_size: rows per step and replica.
        units: (S, K) float64, where targets were divided by it: metrics are computed of outputs and targets
            times this, in the targets' own units, and the loss is not. None where targets are as they were.
        own: name → (R,) numbers in which the replicas differ: learning rates (`OWN_RATE`) and, by the names
            that the network's penalty knows, regularizer strengths. Empty where they differ in none.
    """

    network: Network
    loss: RowLoss
    optimizer: Optimizer
    metrics: Sequence[Metric]
    inputs: Rows
    targets: Tensor
    batch_size: int
    own: Mapping[str, Tensor] = field(default_factory=dict)
    units: Tensor | None = None

    @property
    def device(self) -> torch.device:
        """Where everything is computed."""
        return self.targets.device

    @cached_property
    def rows_at_once(self) -> int:
        """About how many rows of one replica to hold in memory at a time."""
        return max(1, BLOCK_NUMBERS // max(self.inputs.numbers_per_row, self.network.widest))

    def in_own_units(
        self, places: Sequence[int], outputs_GNK: Tensor, targets: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Outputs and targets of the replicas at `places` in units of the data, for metrics.

        The mean that standardizing subtracted is not added again: metrics of numbers compare differences.
        """
        if self.units is None:
            return outputs_GNK, targets
        units = self.units[[0] * len(places) if len(self.units) == 1 else list(places)][:, None]
        return outputs_GNK * units, targets * units

    def targets_of(self, places: Sequence[int], rows_GN: RowNumbers) -> Tensor:
        """(G, n, K) or (G, n): the targets of rows `rows_GN[g]` of the replica at `places[g]`."""
        index = torch.from_numpy(rows_GN).to(self.device)
        if self.targets.shape[0] == 1:
            return self.targets[0][index]
        own = torch.tensor(list(places), device=self.device)
        return self.targets[own[:, None], index]
