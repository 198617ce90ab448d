"""What is trainable from what: a network, a loss, an optimizer, metrics, and the rows that they meet."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Protocol

import torch
from torch import Tensor

from nnrun.spec import schema
from nnrun.spec.random_streams import RandomSource
from nnrun.target_scale import TargetScale
from nnrun.training.clipping import Clip
from nnrun.training.epoch_plan import RowIndices
from nnrun.training.losses import RowLoss
from nnrun.training.metrics import Metric, Scored
from nnrun.training.optimizers import Optimizer

LEARNING_RATE = "learning_rate"
"""The name of the replicas' own learning rates in `TrainingProblem.own`."""

BLOCK_ELEMENTS = 4_000_000
"""Rows are gathered and measured in blocks of about this many numbers: memory must not follow the data."""


class Network(Protocol):
    """The part of `nnrun.model.Network` that training uses; rng is passed on, never looked into."""

    @property
    def outputs(self) -> int:
        """K, the number of outputs."""
        ...

    @property
    def widest_activation(self) -> int:
        """The most numbers that a layer makes of one row."""
        ...

    @property
    def state_names(self) -> frozenset[str]:
        """What training keeps in addition to the parameters."""
        ...

    @property
    def sparse_kernel(self) -> str | None:
        """The kernel that sparse rows meet as they are."""
        ...

    @property
    def not_compilable(self) -> str | None:
        """The kind of a layer for which compiled steps are not made."""
        ...

    def forward(
        self,
        parameters: Mapping[str, Tensor],
        x: Any,
        rng: Any = None,
        new_buffers: dict[str, Tensor] | None = None,
    ) -> Tensor:
        """(R, B, K): the output layer's values before its activation; a training step fills `new_buffers`."""
        ...

    def activate(self, z_RBK: Tensor) -> Tensor:
        """Values before the last activation → outputs."""
        ...

    def penalty(self, parameters: Mapping[str, Tensor]) -> Tensor | None:
        """(R,): the regularization term, or None."""
        ...

    def rng(self, sources: Sequence[RandomSource], epoch: int, device: torch.device) -> Any:
        """The random numbers of one epoch, or None."""
        ...


class Rows(Protocol):
    """Gives batches of inputs: `nnrun.model.inputs`."""

    @property
    def dense(self) -> bool:
        """Whether batches are tensors, all of one shape."""
        ...

    @property
    def elements_per_row(self) -> int:
        """How many numbers a row takes in memory."""
        ...

    @property
    def bytes_per_network(self) -> int:
        """What the rows take in memory, of one network where each has its own."""
        ...

    def batches(self, places: Sequence[int], rows_GN: RowIndices, batch_size: int) -> Iterator[Any]:
        """Rows `rows_GN[g]` of the replica at `places[g]`, in batches of `batch_size`."""
        ...


@dataclass(frozen=True)
class TrainingProblem:
    """What R replicas learn.

    Attributes:
        network, loss, optimizer, metrics: what the spec declares.
        inputs: the rows.
        targets: (S, N, K) float32 or (S, N) int64 class indices; S is 1 where replicas share them, else R.
        batch_size: rows per step and replica.
        scales: what the targets went through before the loss, one for all replicas or one for each; metrics
            are computed in the targets' own units all the same. None where targets are as they were.
        unscaled_targets: (1, N, K) float64 in these units; None where `scales` is.
        own: name → (R,) numbers in which the replicas differ: learning rates (`LEARNING_RATE`) and, by
            the names that the network's penalty knows, regularizer strengths; empty where they do not differ.
        weights: (S, N) what the loss of each row counts, wherever it is measured; None where all count 1.
        training_weights: (S, N) the same while training, where the weights of classes come in; or None.
        clip: what is done to gradients before they are used, or None.
        spec: what all of this was built from, for an engine that computes it in a way of its own.
    """

    network: Network
    loss: RowLoss
    optimizer: Optimizer
    metrics: Sequence[Metric]
    inputs: Rows
    targets: Tensor
    batch_size: int
    own: Mapping[str, Tensor] = field(default_factory=dict)
    weights: Tensor | None = None
    training_weights: Tensor | None = None
    clip: Clip | None = None
    spec: schema.ExperimentSpec | None = None
    scales: tuple[TargetScale, ...] | None = None
    unscaled_targets: Tensor | None = None

    @property
    def device(self) -> torch.device:
        """Where everything is computed."""
        return self.targets.device

    @cached_property
    def rows_at_once(self) -> int:
        """About how many rows of one replica to hold in memory at a time."""
        return max(1, BLOCK_ELEMENTS // max(self.inputs.elements_per_row, self.network.widest_activation))

    def scored(self, places: Sequence[int], z_GNK: Tensor, unscaled_targets: Tensor) -> Scored:
        """Rows as metrics compare them, numbers in the targets' own units.

        Args:
            places: where the replicas' data stand.
            z_GNK: the values before the last activation.
            unscaled_targets: from `unscaled_targets_of` the same rows.
        """
        if all(metric.of_logits for metric in self.metrics):
            return Scored(z_GNK, z_GNK, unscaled_targets)
        # In float64, so that a sum over rows does not depend on how many of them are activated at a time.
        outputs_GNK = self.network.activate(z_GNK.double())
        if self.scales is not None:
            own = [self.scales[0 if len(self.scales) == 1 else place] for place in places]
            outputs = zip(own, outputs_GNK, strict=True)
            outputs_GNK = torch.stack([scale.invert(outputs_NK) for scale, outputs_NK in outputs])
        return Scored(z_GNK, outputs_GNK, unscaled_targets)

    def unscaled_targets_of(self, places: Sequence[int], rows_GN: RowIndices, targets: Tensor) -> Tensor:
        """`targets`, which are those of these rows as the loss takes them, in their own units."""
        return targets if self.unscaled_targets is None else _taken(self.unscaled_targets, places, rows_GN)

    def targets_of(self, places: Sequence[int], rows_GN: RowIndices) -> Tensor:
        """(G, n, K) or (G, n): the targets of rows `rows_GN[g]` of the replica at `places[g]`."""
        return _taken(self.targets, places, rows_GN)

    def weights_of(
        self, places: Sequence[int], rows_GN: RowIndices, *, training: bool = False
    ) -> Tensor | None:
        """(G, n): the weights of the same rows; None where all are 1."""
        weights = self.training_weights if training else self.weights
        return None if weights is None else _taken(weights, places, rows_GN)


def mean_loss(losses_RB: Tensor, weights_RB: Tensor | None) -> Tensor:
    """(R,): the loss of a batch. Weighted rows are divided by their number, as Keras has it."""
    return (losses_RB if weights_RB is None else losses_RB * weights_RB).mean(1)


def _taken(values_SN: Tensor, places: Sequence[int], rows_GN: RowIndices) -> Tensor:
    """Values that all replicas share (S = 1), or that each has for itself."""
    index = torch.from_numpy(rows_GN).to(values_SN.device)
    if values_SN.shape[0] == 1:
        return values_SN[0][index]
    own = torch.tensor(list(places), device=values_SN.device)
    return values_SN[own[:, None], index]
