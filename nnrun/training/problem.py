"""What is trained: a network, its inputs, the heads that compare its outputs with targets, an optimizer.

Replicas step together as long as all of them have a full batch. Folds of k-fold differ by a row, those of a
time series by many, so that later some have a shorter batch, or none: the steps that are left are made by the
replicas concerned alone, and nobody is padded. `segments` cuts an epoch so.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import repeat
from typing import TYPE_CHECKING, Any, Literal, Protocol, cast

import numpy as np

from nnrun.lazy_torch import torch
from nnrun.output_transforms.target_scale import TargetScale, one_for_each
from nnrun.replica_rows import RowIndices, take_rows
from nnrun.spec import schema
from nnrun.spec.ports import Port
from nnrun.spec.random_streams import RandomSource
from nnrun.training.losses import RowLoss
from nnrun.training.metric_types import Metric, Scored
from nnrun.training.optimizers import Clip, Optimizer
from nnrun.training.weight_averaging import WeightAveraging

if TYPE_CHECKING:
    from torch import Tensor

LEARNING_RATE = "learning_rate"
"""The name of the replicas' learning rates in `TrainingProblem.per_replica`."""

BLOCK_ELEMENTS = 4_000_000
"""Rows are gathered and evaluated in blocks of about this many elements, so that memory is bounded."""


class Network(Protocol):
    """The part of `nnrun.model.Network` that training uses. Batches and `rng` are passed through opaquely."""

    @property
    def widest_activation(self) -> int:
        """Elements per row of the largest layer output."""

    @property
    def buffer_names(self) -> frozenset[str]:
        """The arrays that training keeps and the optimizer does not update, such as moving means."""

    @property
    def number_of_members(self) -> int:
        """M of an ensemble; 1 of any other network."""

    @property
    def kernels(self) -> frozenset[str]:
        """The C++ libraries that its layers call on a CPU."""

    @property
    def place_squares(self) -> Mapping[str, str]:
        """For the table of each embedding without a regularizer the name of another argument of `forward`.

        It is of the table's shape, and of no influence; its gradient is the sum, over the places where a row
        of the table stands in a batch, of the squares of the place's gradient.
        """

    @property
    def kinds(self) -> Mapping[str, str]:
        """The kind of the layer that each parameter is of, by the parameter's name."""

    @property
    def matrices(self) -> Mapping[str, tuple[int, ...]]:
        """The shape in Keras of each parameter that is a matrix there."""

    @property
    def sparse_kernels(self) -> Mapping[str, Port]:
        """The kernels that sparse rows of an input are multiplied with directly, and the input."""

    def forward(
        self,
        parameters: Mapping[str, Tensor],
        inputs: Mapping[Port, Any],
        rng: Any = None,
        new_buffers: dict[str, Tensor] | None = None,
        activity_penalties: list[Tensor] | None = None,
        output_masks: dict[Port, Tensor] | None = None,
    ) -> Mapping[Port, Tensor]:
        """Logits of each output, (R, B, K), or (R, B, T, K) of an output with steps.

        Of an ensemble those of its M members, (R, M, B, K) or (R, M, B, T, K).

        A training step passes `new_buffers`, which is filled. Where a loss is computed, `activity_penalties`
        takes the (R,) terms of activity regularizers, and `output_masks` the masks of outputs with steps,
        (R, B, T) booleans, where not all of them count.
        """

    def combined(self, port: Port, z: Tensor, scales: Sequence[TargetScale] | None = None) -> Tensor:
        """What `forward` gives for an output as the logits of one prediction for each row, (R, B, ..., K).

        Of an ensemble those of its members' mean prediction; `scales` say how the targets were scaled.
        """

    def activate(self, port: Port, z_RBK: Tensor) -> Tensor:
        """Logits of an output → outputs."""

    def penalty(self, parameters: Mapping[str, Tensor]) -> Tensor | None:
        """(R,): the regularization term of the weights, or None."""

    def constrain(self, parameters: Mapping[str, Tensor]) -> None:
        """Bring updated parameters within the limits of their constraints, in place."""

    def rng(self, sources: Sequence[RandomSource], epoch: int, device: torch.device) -> Any:
        """The random numbers of one epoch, or None."""


class Rows(Protocol):
    """Rows of one input: `nnrun.model.inputs`."""

    @property
    def dense(self) -> bool:
        """Whether batches are tensors, all of one shape."""

    @property
    def features(self) -> int:
        """F, the numbers of a row."""

    @property
    def streamed(self) -> bool:
        """Whether the rows lie in a file: those of a segment are `loaded` before it is computed."""

    @property
    def elements_per_row(self) -> int:
        """How many numbers a row takes in memory, on average."""

    @property
    def bytes_per_network(self) -> int:
        """Bytes of the rows of one network, where each has its own."""

    def batches(self, data_index: Sequence[int], rows_GN: RowIndices, batch_size: int) -> Iterator[Any]:
        """Rows `rows_GN[g]` of the replica at `data_index[g]`, in batches of `batch_size`."""


class StreamedRows(Rows, Protocol):
    """Rows that lie in a file: `nnrun.model.mapped_inputs`."""

    @property
    def of_bytes(self) -> bool:
        """Whether they lie there as bytes, which C++ reads faster than NumPy does."""

    def loaded(self, rows_of: Mapping[int, RowIndices]) -> Rows:
        """Some rows in memory, one replica's behind the other's, for all replicas to pick from.

        `rows_of`: index of a replica's data → its rows, ascending.
        """


@dataclass(frozen=True, eq=False)
class TargetRows:
    """Targets of n rows of G replicas, for one head.

    Attributes:
        targets: (G, n, K) float32 or (G, n) int64 class indices, as the loss takes them; of outputs with
            steps (G, n, T) or (G, n, L) class indices.
        unscaled: the same in the targets' own units, as metrics take them.
        weights: (G, n) the weight of each row's loss; None where all are 1.
        present: (G, n) booleans, which rows have a target; None where all have. The others count neither in
            the loss nor in metrics.
        scales: how targets were scaled for the loss, one scale for all replicas or one for each; None where
            they were not.
        counted: (G, steps) float32, where the rows are a part of each step's batch: over how many rows of the
            whole batch the loss is a mean. None of whole batches.
    """

    targets: Tensor
    unscaled: Tensor
    weights: Tensor | None = None
    present: Tensor | None = None
    scales: tuple[TargetScale, ...] | None = None
    counted: Tensor | None = None

    def __len__(self) -> int:
        return int(self.targets.shape[1])

    def split(self, size: int) -> Iterator[TargetRows]:
        """Batches of `size` rows, as views."""
        targets = torch.split(self.targets, size, 1)
        unscaled = targets if self.unscaled is self.targets else torch.split(self.unscaled, size, 1)
        weights = repeat(None) if self.weights is None else torch.split(self.weights, size, 1)
        present = repeat(None) if self.present is None else torch.split(self.present, size, 1)
        counted = repeat(None) if self.counted is None else torch.split(self.counted, 1, 1)
        return map(TargetRows, targets, unscaled, weights, present, repeat(self.scales), counted)

    def with_target(self) -> TargetRows:
        """The rows that have a target, of one network (G = 1)."""
        if self.present is None:
            return self
        kept = self.present[0]
        weights = None if self.weights is None else self.weights[:, kept]
        return TargetRows(self.targets[:, kept], self.unscaled[:, kept], weights)


def counted_steps(like_GNT: Tensor, mask_GNT: Tensor | None, present_GN: Tensor | None) -> Tensor | None:
    """(G, n, T) booleans: the steps that a mask keeps, of rows that have targets; None where all count."""
    if present_GN is None:
        return mask_GNT
    of_rows = present_GN.unsqueeze(2).expand(like_GNT.shape)
    return of_rows if mask_GNT is None else of_rows & mask_GNT


@dataclass(frozen=True)
class Head:
    """One output of the network, the targets that it is trained on, and what measures the difference.

    Attributes:
        form: what a row's targets are: one target for its `row`; one class for each of its `steps`; or a
            `sequence` of classes that are not aligned with the steps.
        num_outputs: K.
        activation: the name of the output's activation; of a loss of scores the one that decides alike.
        loss: the loss of each row.
        targets: (S, N, K) float32 or (S, N) int64 class indices; S is 1 where replicas share them, else R.
        metrics: computed in the targets' own units.
        loss_weight: this loss's factor in the total.
        scales: how targets were scaled for the loss, one scale for all replicas or one for each; None where
            they were not.
        unscaled_targets: (1, N, K) float64, before scaling; None where `scales` is.
        weights: (S, N) the weight of each row's loss; None where all are 1.
        training_weights: the same during training, with the weights of classes multiplied in.
        present: (1, N) booleans, which rows have a target; None where all have.
    """

    num_outputs: int
    activation: str
    loss: RowLoss
    targets: Tensor
    metrics: Sequence[Metric] = ()
    loss_weight: float = 1.0
    scales: tuple[TargetScale, ...] | None = None
    unscaled_targets: Tensor | None = None
    weights: Tensor | None = None
    training_weights: Tensor | None = None
    present: Tensor | None = None
    form: Literal["row", "steps", "sequence"] = "row"

    def gather(self, data_index: Sequence[int], rows_GN: RowIndices, *, training: bool = False) -> TargetRows:
        """The targets of rows `rows_GN[g]` of the replica at `data_index[g]`."""
        targets = take_rows(self.targets, data_index, rows_GN)
        unscaled, weights = self.unscaled_targets, self.training_weights if training else self.weights
        return TargetRows(
            targets,
            targets if unscaled is None else take_rows(unscaled, data_index, rows_GN),
            None if weights is None else take_rows(weights, data_index, rows_GN),
            None if self.present is None else take_rows(self.present, data_index, rows_GN),
            self._own_scales(data_index),
        )

    def _own_scales(self, data_index: Sequence[int]) -> tuple[TargetScale, ...] | None:
        """One scale for all replicas, or that of each."""
        if self.scales is None or len(self.scales) == 1:
            return self.scales
        return tuple(self.scales[index] for index in data_index)

    def unscale(self, outputs_GNK: Tensor, data_index: Sequence[int]) -> Tensor:
        """Outputs in the targets' own units."""
        scales = self._own_scales(data_index)
        if scales is None:
            return outputs_GNK
        own = one_for_each(scales, len(outputs_GNK))
        return torch.stack([scale.invert(outputs) for scale, outputs in zip(own, outputs_GNK, strict=True)])


@dataclass(frozen=True, eq=False)
class SegmentData:
    """The rows of a segment, for a backend to train on or to evaluate.

    Attributes:
        segment: which rows of which replicas, and the batch size.
        data_index: for each of the G replicas the index of its data along S.
        inputs: the problem's inputs; `batches` and `whole` gather their rows.
        targets: for each head the gathered targets.
    """

    segment: Segment
    data_index: Sequence[int]
    inputs: Mapping[Port, Rows]
    targets: Mapping[Port, TargetRows]

    def batches(self) -> Iterator[tuple[Mapping[Port, Any], Mapping[Port, TargetRows]]]:
        """Inputs and targets, step by step."""
        size = self.segment.batch_size
        inputs = [rows.batches(self.data_index, self.segment.rows_GN, size) for rows in self.inputs.values()]
        targets = [rows.split(size) for rows in self.targets.values()]
        for step in zip(zip(*inputs, strict=True), zip(*targets, strict=True), strict=True):
            yield dict(zip(self.inputs, step[0], strict=True)), dict(zip(self.targets, step[1], strict=True))

    @cached_property
    def whole(self) -> Mapping[Port, Any]:
        """The inputs of all rows as a single batch, gathered once."""
        rows_GN = self.segment.rows_GN
        return {
            port: next(iter(rows.batches(self.data_index, rows_GN, rows_GN.shape[1])))
            for port, rows in self.inputs.items()
        }


@dataclass(frozen=True)
class TrainingProblem:
    """What R replicas learn.

    Attributes:
        network: the architecture; holds no weights.
        optimizer: how parameters follow their gradients.
        inputs: the rows of each input of the network.
        heads: for each output of the network what it is trained on.
        batch_size: rows per step and replica.
        per_replica: name → (R,) hyperparameters in which the replicas differ: learning rates
            (`LEARNING_RATE`), decays of averages (`EMA_DECAY`) and, by the names that the network's penalty
            knows, regularizer strengths.
        clip: what limits gradients before they are used, or None.
        averaging: when averages of the weights are updated, or None.
        spec: what all of this was built from, for a backend that computes it in its own way.
    """

    network: Network
    optimizer: Optimizer
    inputs: Mapping[Port, Rows]
    heads: Mapping[Port, Head]
    batch_size: int
    per_replica: Mapping[str, Tensor] = field(default_factory=dict)
    clip: Clip | None = None
    averaging: WeightAveraging | None = None
    spec: schema.ExperimentSpec | None = None

    @cached_property
    def head(self) -> Head:
        """The only head of a network with one output."""
        (head,) = self.heads.values()
        return head

    @cached_property
    def place_squares(self) -> Mapping[str, str]:
        """The network's, where the optimizer uses them: limits hold for a table's gradient as a whole."""
        return self.network.place_squares if self.optimizer.squares and self.clip is None else {}

    @property
    def device(self) -> torch.device:
        """Where everything is computed."""
        return next(iter(self.heads.values())).targets.device

    @cached_property
    def streams(self) -> bool:
        """Whether rows are read from files. All inputs lie in files then, or none."""
        return any(rows.streamed for rows in self.inputs.values())

    @property
    def streams_bytes(self) -> bool:
        """Whether some of the rows that are read from files are bytes."""
        return self.streams and any(rows.of_bytes for rows in self._streamed.values())

    @property
    def _streamed(self) -> Mapping[Port, StreamedRows]:
        """The inputs, where they lie in files."""
        return cast(Mapping[Port, StreamedRows], self.inputs)

    @property
    def elements_of_inputs(self) -> Mapping[Port, int]:
        """How many numbers a row of each input takes in memory."""
        return {port: rows.elements_per_row for port, rows in self.inputs.items()}

    @property
    def elements_per_row(self) -> int:
        """How many numbers the inputs of a row take in memory."""
        return sum(self.elements_of_inputs.values())

    @property
    def bytes_per_network(self) -> int:
        """Bytes of the input rows of one network."""
        return sum(rows.bytes_per_network for rows in self.inputs.values())

    @cached_property
    def rows_at_once(self) -> int:
        """About how many rows of one replica to hold in memory at a time."""
        return max(1, BLOCK_ELEMENTS // max(self.elements_per_row, self.network.widest_activation))

    def gather(self, segment: Segment, data_index: Sequence[int], *, training: bool) -> SegmentData:
        """The data of a segment.

        Args:
            segment: names replicas by their position in `data_index`.
            data_index: for each replica the index of its data along S.
            training: whether row weights include those of classes.
        """
        own = [data_index[replica] for replica in segment.replicas]
        targets = {
            port: head.gather(own, segment.rows_GN, training=training) for port, head in self.heads.items()
        }
        data = SegmentData(segment, own, self.inputs, targets)
        return self._loaded(data) if self.streams else data

    def _loaded(self, data: SegmentData) -> SegmentData:
        """The same segment with its inputs in memory: each row once, in the order of the file."""
        pairs = list(zip(data.data_index, data.segment.rows_GN, strict=True))
        rows_of: dict[int, RowIndices] = {}
        for index, rows in pairs:
            known = rows_of.get(index)
            rows_of[index] = np.unique(rows if known is None else np.concatenate([known, rows]))
        starts = dict(zip(rows_of, np.cumsum([0, *map(len, rows_of.values())]), strict=False))
        places = [starts[index] + np.searchsorted(rows_of[index], rows) for index, rows in pairs]
        inputs = {port: rows.loaded(rows_of) for port, rows in self._streamed.items()}
        return replace(data, segment=replace(data.segment, rows_GN=np.stack(places)), inputs=inputs)

    def blocks(self, rows: Sequence[RowIndices], data_index: Sequence[int]) -> Iterator[SegmentData]:
        """Rows to evaluate, one batch a block; `rows` and `data_index` have one entry for each replica."""
        for segment in segments(rows, self.rows_at_once, rows_at_once=self.rows_at_once):
            yield self.gather(segment, data_index, training=False)

    def scored(
        self, port: Port, logits_GNK: Tensor, data: SegmentData, mask_GNT: Tensor | None = None
    ) -> list[tuple[tuple[int, ...], Scored]]:
        """The rows of a segment as a head's metrics compare them, with the replicas whose rows they are.

        Of an output with steps each step is a row, but those that its mask leaves out. Rows without a target
        are left out too. Replicas may then have different numbers of rows, or none.
        """
        head, targets, replicas = self.heads[port], data.targets[port].unscaled, data.segment.replicas
        outputs_GNK = logits_GNK
        if not all(metric.of_logits for metric in head.metrics):
            # In float64, so that a sum over rows does not depend on how many of them are activated at a time.
            outputs_GNK = head.unscale(self.network.activate(port, logits_GNK.double()), data.data_index)
        counts = mask_GNT
        if (present_GN := data.targets[port].present) is not None:
            counts = (
                present_GN
                if head.form != "steps"
                else counted_steps(logits_GNK[..., 0], mask_GNT, present_GN)
            )
        if head.form == "steps":
            logits_GNK, outputs_GNK, targets = (
                values.flatten(1, 2) for values in (logits_GNK, outputs_GNK, targets)
            )
        if counts is None:
            return [(tuple(replicas), Scored(logits_GNK, outputs_GNK, targets))]
        counted = [
            [values[g, own.flatten()][None] for values in (logits_GNK, outputs_GNK, targets)]
            for g, own in enumerate(counts)
        ]
        return [((replica,), Scored(*values)) for replica, values in zip(replicas, counted, strict=True)]


@dataclass(frozen=True)
class Segment:
    """Some steps that some replicas make together.

    Attributes:
        replicas: which of the replicas, G indices along R.
        first_row: where in each replica's order the segment starts.
        batch_size: rows per step and replica.
        rows_GN: (G, steps * batch_size) row numbers.
    """

    replicas: tuple[int, ...]
    first_row: int
    batch_size: int
    rows_GN: RowIndices

    @property
    def steps(self) -> int:
        """How many steps."""
        return int(self.rows_GN.shape[1]) // self.batch_size


def segments(orders: Sequence[RowIndices], batch_size: int, *, rows_at_once: int) -> Iterator[Segment]:
    """Cut the replicas' orders into steps; each row is taken once, by the batch that its order says.

    Args:
        orders: for each replica its rows, in order; lengths may differ.
        batch_size: rows of a full batch.
        rows_at_once: about how many rows of one replica a segment may hold (it bounds memory).
    """
    lengths = [len(order) for order in orders]
    steps_at_once = max(1, rows_at_once // batch_size)
    done = 0
    while done < max(lengths):
        full = [replica for replica, length in enumerate(lengths) if length - done >= batch_size]
        shorter: dict[int, list[int]] = {}
        for replica, length in enumerate(lengths):
            if 0 < length - done < batch_size:
                shorter.setdefault(length - done, []).append(replica)
        steps = min([(lengths[replica] - done) // batch_size for replica in full], default=1)
        steps = min(steps, steps_at_once)
        for size, rows, replicas in (
            *(((batch_size, steps * batch_size, full),) if full else ()),
            *((size, size, replicas) for size, replicas in shorter.items()),
        ):
            cut = slice(done, done + rows)
            yield Segment(tuple(replicas), done, size, np.stack([orders[r][cut] for r in replicas]))
        done += steps * batch_size
