"""From a spec and its data to what can be trained: folds or seeds, fitted preprocessing, networks, tensors.

Folds whose networks have the same shape form a group and train as replicas, in one step. Mostly there is one
group. Token folds of different vocabularies make several, which train one after the other; and so does every
fold by itself where rows that each of them prepares in its own way would take too much memory side by side.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

import numpy as np

from nnrun.data import ByteRows, Dataset, DenseRows, FittedPreprocessing, Samples, SparseRows
from nnrun.data.dataset import Array, Flags, RawInputs, output_data
from nnrun.data.preprocess import (
    FittedInputs,
    bytes_of_own_rows,
    fit_inputs,
    fit_outputs,
    input_plans,
)
from nnrun.data.preprocess.target_encoding import FittedTargets
from nnrun.data.row_places import RowPlaces
from nnrun.data.rows import rows_by_place
from nnrun.data.table import Table
from nnrun.data.targets import (
    class_weights_of_rows,
    refuse_unsuitable_fold,
    refuse_unsuitable_steps,
    target_steps,
)
from nnrun.errors import UsageError
from nnrun.experiment.setup.folds import folds_of
from nnrun.experiment.setup.rows_on_demand import RowsOnDemand, are_prepared_on_demand
from nnrun.lazy_torch import torch
from nnrun.mapped_arrays import in_memory
from nnrun.model.inputs import DenseInputs, Inputs, SparseInputs
from nnrun.model.layers import DenseLayer
from nnrun.model.network import Network, network_of
from nnrun.output_transforms.target_scale import TargetScale
from nnrun.records import MemberType
from nnrun.spec import schema
from nnrun.spec.ports import (
    Port,
    loss_weights,
    named,
    output_views,
    told_of,
    told_of_input,
)
from nnrun.spec.random_streams import RandomSource
from nnrun.training.losses import build_loss
from nnrun.training.metrics import build_metrics
from nnrun.training.optimizers import build_clip, build_optimizer
from nnrun.training.problem import Head, Rows, TrainingProblem
from nnrun.training.weight_averaging import EMA_DECAY, build_averaging, ema_decay
from nnrun.validation.splits import Fold

MOST_BYTES_OF_OWN_ROWS = 500_000_000
"""Of all folds' rows, where each prepares them in its own way: with more, folds train one after the other.

The data and the spec decide, never the memory that is free: sums are rounded by how many train in a step.
"""


@dataclass(frozen=True)
class Selection:
    """Which networks of a spec to train.

    Attributes:
        only_fold: one fold's index, to leave out the others; of nested folds the index of an outer one, whose
            inner folds are trained.
        some_folds: the indices of several folds, to leave out the others.
        seeds: how many seeds, from the spec's own upwards; None for only the spec's own, without a name.
    """

    only_fold: int | None = None
    seeds: int | None = None
    some_folds: tuple[int, ...] = ()

    def member_type(self, spec: schema.ExperimentSpec) -> MemberType | None:
        """What tells the networks of a run apart; None where there is one."""
        if self.seeds is not None:
            return "seed"
        return "fold" if spec.has_folds else None

    def networks(self, spec: schema.ExperimentSpec) -> int:
        """How many networks are trained."""
        if self.seeds is not None:
            return self.seeds
        if self.only_fold is None:
            return len(self.some_folds) or spec.number_of_folds
        return 1 if spec.nested is None else spec.validation.number_of_folds


@dataclass(frozen=True, eq=False)
class GroupMember:
    """A fold or a seed.

    Attributes:
        id: the fold's index, or the seed; 0 for the only network of a run.
        source: of its random streams.
        fold: which rows it trains on and is validated on.
        fitted: its preprocessing, fitted on its training rows.
        class_weights: for each output with class weights, (N,) the weight of each row's class while training.
    """

    id: int
    source: RandomSource
    fold: Fold
    fitted: FittedPreprocessing
    class_weights: Mapping[Port, Array] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class Group:
    """Folds or seeds that train as replicas of one network.

    Attributes:
        members: what tells them apart.
        network: the architecture that they share.
        bytes_if_stacked: what the rows of all would take together, where that is why this one trains alone.
    """

    members: tuple[GroupMember, ...]
    network: Network
    bytes_if_stacked: int | None = None

    @property
    def folds(self) -> tuple[Fold, ...]:
        """The rows of each."""
        return tuple(member.fold for member in self.members)

    @property
    def fitted(self) -> tuple[FittedPreprocessing, ...]:
        """The preprocessing of each."""
        return tuple(member.fitted for member in self.members)


EVERYTHING = Selection()


def prepare_groups(
    spec: schema.ExperimentSpec, dataset: Dataset, selection: Selection = EVERYTHING
) -> tuple[Group, ...]:
    """Split the training rows, fit the preprocessing of each fold or seed, and build the networks.

    Args:
        spec: the experiment.
        dataset: its data.
        selection: which networks.

    Raises:
        DataError: the data do not suit the spec.
        UsageError: there is no such fold or seed, or both folds and seeds are asked for.
    """
    members = list(_selected(spec, dataset, selection))
    outputs = output_data(spec, dataset)
    steps = target_steps(outputs)
    plans = input_plans(spec, dataset)
    by_shape: dict[tuple[object, ...], list[GroupMember]] = {}
    for member_id, source, fold in members:
        refuse_unsuitable_fold(outputs, fold.index, fold.train_rows, fold.validation_rows)
        class_weights = class_weights_of_rows(outputs, fold.train_rows)
        fitted = FittedPreprocessing(
            fit_inputs(spec, dataset, fold.train_rows, plans, source),
            fit_outputs(outputs, fold.train_rows, steps),
        )
        shape = tuple((each.shape, each.tokens, each.sparse) for each in fitted.inputs.values())
        group = by_shape.setdefault(shape, [])
        group.append(GroupMember(member_id, source, fold, fitted, class_weights))
    groups: list[Group] = []
    for alike in by_shape.values():
        network = network_of(spec, alike[0].fitted.inputs)
        shapes = {port: layer.output_shape for port, layer in network.output_layers.items()}
        refuse_unsuitable_steps(outputs, shapes)
        taken = bytes_of_own_rows([member.fitted for member in alike], dataset.train)
        if taken > MOST_BYTES_OF_OWN_ROWS:
            groups += [Group((member,), network, taken) for member in alike]
        else:
            groups.append(Group(tuple(alike), network))
    return tuple(groups)


def _selected(
    spec: schema.ExperimentSpec, dataset: Dataset, selection: Selection
) -> Iterator[tuple[int, RandomSource, Fold]]:
    """Member id, random source and rows of each network."""
    seeds = range(spec.seed, spec.seed + (selection.seeds or 1))
    if selection.seeds is not None:
        _refuse_unsuitable_seeds(spec, seeds)
    for seed in seeds:
        folds = folds_of(spec, dataset, seed)
        if selection.seeds is not None:
            yield seed, RandomSource(seed), folds[0]
            continue
        if selection.only_fold is not None:
            within = 1 if spec.nested is None else spec.validation.number_of_folds
            there, kind = len(folds) // within, "" if spec.nested is None else "outer "
            if not 0 <= selection.only_fold < there:
                raise UsageError(
                    f"--fold {selection.only_fold}: there are {there} {kind}folds, numbered from 0 to "
                    f"{there - 1}."
                )
            folds = folds[selection.only_fold * within : (selection.only_fold + 1) * within]
        if selection.some_folds:
            folds = tuple(folds[index] for index in selection.some_folds)
        for fold in folds:
            yield fold.index, RandomSource(seed, fold.index), fold


def _refuse_unsuitable_seeds(spec: schema.ExperimentSpec, seeds: range) -> None:
    if spec.has_folds:
        raise UsageError(
            "--seeds trains one split with several seeds, and this spec declares "
            f"{'k-fold' if isinstance(spec.validation, schema.KFold) else 'time_series'}. For several "
            "splits use `nnrun kfold --repeats N` (it needs shuffle: true), or change `validation`."
        )
    if seeds.stop > 2**63:
        raise UsageError(
            f"--seeds {seeds.stop - seeds.start} from seed {seeds.start} would end at {seeds.stop - 1}, and "
            f"the largest seed is {2**63 - 1}. Start from a smaller seed."
        )


def make_problem(
    spec: schema.ExperimentSpec,
    network: Network,
    fitted: Sequence[FittedPreprocessing],
    samples: Samples,
    device: torch.device,
    inputs: Mapping[Port, Rows] | None = None,
    *,
    training: bool = False,
) -> TrainingProblem:
    """What replicas are measured on, or learn but for class weights, each by its own preprocessing.

    `inputs` stand in for the rows of `samples`; without them, with `training` these are all training samples.
    """
    counts = loss_weights(spec)
    if inputs is None:
        with rows_by_place(samples.places):
            raw = samples.by_input(fitted[0].inputs)
            inputs = make_inputs(fitted, raw, device, training=training, places=samples.places)
    heads = {}
    for port, view in output_views(spec).items():
        targets, layer = [f.outputs[port] for f in fitted], network.output_layers[port]
        with told_of(spec, port):
            heads[port] = _head(view, layer, targets, samples, port, device)
    return TrainingProblem(
        network=network,
        optimizer=build_optimizer(spec.optimizer),
        inputs=inputs,
        heads={port: replace(head, loss_weight=counts[port]) for port, head in heads.items()},
        batch_size=spec.batch_size,
        clip=build_clip(spec.gradient_clip),
        averaging=build_averaging(spec),
        spec=spec,
    )


def _head(
    view: schema.ExperimentSpec,
    layer: DenseLayer,
    fitted: Sequence[FittedTargets],
    samples: Samples,
    port: Port,
    device: torch.device,
) -> Head:
    """What an output is trained on; `view` is the spec as it sees it."""
    own = samples.output(port)
    targets = own.targets
    weights = weights_on_device(samples.weights, device)
    decides_as = schema.decision_activation(view.own_loss, layer.activation)
    return Head(
        num_outputs=layer.units,
        activation=decides_as,
        loss=build_loss(view.own_loss),
        targets=_targets(fitted, targets, device),
        metrics=build_metrics(view.metrics, decides_as, schema.quantiles_of(view.own_loss)),
        scales=_scales(fitted),
        unscaled_targets=unscaled_targets(fitted[0], targets, device),
        weights=weights,
        training_weights=weights,
        present=present_on_device(own.present, device),
        form=target_form(view.own_loss, layer.output_shape),
    )


def training_problem(
    spec: schema.ExperimentSpec,
    group: Group,
    dataset: Dataset,
    device: torch.device,
    inputs: Mapping[Port, Rows] | None = None,
) -> TrainingProblem:
    """What a group learns: `make_problem` of the training rows, each replica with its weights of classes."""
    problem = make_problem(spec, group.network, group.fitted, dataset.train, device, inputs, training=True)
    heads = {}
    for port, head in problem.heads.items():
        heads[port] = head
        of_classes = [m.class_weights[port] for m in group.members if port in m.class_weights]
        if not of_classes:
            continue
        if all(np.array_equal(weights, of_classes[0]) for weights in of_classes):
            of_classes = of_classes[:1]  # replicas share them
        weights_SN = torch.from_numpy(_stacked(of_classes)).to(device)
        if head.weights is not None:
            weights_SN = weights_SN * head.weights
        heads[port] = replace(head, training_weights=weights_SN)
    return replace(problem, heads=heads, per_replica=_decays(spec, group, device))


def _decays(spec: schema.ExperimentSpec, group: Group, device: torch.device) -> dict[str, torch.Tensor]:
    """The decay of each replica's average of weights, by its own number of training rows; {} without one."""
    decays = [ema_decay(spec, len(fold.train_rows)) for fold in group.folds]
    known = [decay for decay in decays if decay is not None]
    return {EMA_DECAY: torch.tensor(known, dtype=torch.float64, device=device)} if known else {}


def target_form(loss: schema.Component, output_shape: Sequence[int]) -> Literal["row", "steps", "sequence"]:
    """What a row's targets are, of a network that gives rows of this shape."""
    if isinstance(loss, schema.Ctc):
        return "sequence"
    return "steps" if len(output_shape) == 2 else "row"


def weights_on_device(weights: Array | None, device: torch.device) -> torch.Tensor | None:
    """(1, N), or None."""
    return None if weights is None else torch.from_numpy(weights.astype(np.float32))[None].to(device)


def present_on_device(present: Flags | None, device: torch.device) -> torch.Tensor | None:
    """(1, N) booleans, or None where all rows have a target."""
    return None if present is None else torch.from_numpy(present)[None].to(device)


def make_inputs(
    fitted: Sequence[FittedPreprocessing],
    inputs: Mapping[Port, RawInputs],
    device: torch.device,
    *,
    training: bool = False,
    places: RowPlaces | None = None,
) -> dict[Port, Inputs | RowsOnDemand]:
    """Rows of a data set as networks take them, each network by its own preprocessing.

    Many dense rows are prepared when they are asked for.

    Args:
        fitted: the preprocessing of each.
        inputs: the rows.
        device: where the networks are.
        training: whether these are all training samples, see `FittedInputs.transform`.
        places: where the rows stand in their file, for what is told of rows that are prepared later.
    """
    made: dict[Port, Inputs | RowsOnDemand] = {}
    later = not training and _are_many(fitted, inputs)
    for port in fitted[0].inputs:
        rows = inputs[port]
        # What is wrong with a row of a table names its column; and whoever has the lines of the file adds it.
        with told_of_input(port if named(fitted[0].inputs) and not isinstance(rows, Table) else None):
            if later:
                made[port] = _on_demand(fitted[0].inputs[port], rows, device, places)
            else:
                made[port] = _rows_of([f.inputs[port] for f in fitted], rows, device, training=training)
    return made


def _are_many(fitted: Sequence[FittedPreprocessing], inputs: Mapping[Port, RawInputs]) -> bool:
    """Whether these are dense rows, the same for all networks, that are prepared when they are asked for."""
    first = fitted[0].inputs
    if any(each.sparse for each in first.values()) or any(each.inputs != first for each in fitted[1:]):
        return False
    return any(are_prepared_on_demand(len(inputs[port]), each.shape) for port, each in first.items())


def _on_demand(
    fitted: FittedInputs, inputs: RawInputs, device: torch.device, places: RowPlaces | None
) -> RowsOnDemand:
    def prepare(rows: RawInputs) -> DenseInputs:
        made = inputs_of_rows([fitted.transform(rows)], device)
        assert isinstance(made, DenseInputs), "sparse rows are prepared at once"
        return made

    return RowsOnDemand(inputs, prepare, fitted.shape, places)


def _rows_of(
    fitted: Sequence[FittedInputs], inputs: RawInputs, device: torch.device, *, training: bool
) -> Inputs:
    # Replicas share the rows where their preprocessing does the same to them.
    shared = all(each.same_rows(fitted[0]) if training else each == fitted[0] for each in fitted)
    return inputs_of_rows(
        [each.transform(inputs, training=training) for each in (fitted[:1] if shared else fitted)], device
    )


def inputs_of_rows(rows: Sequence[DenseRows | ByteRows | SparseRows], device: torch.device) -> Inputs:
    """Transformed rows as networks take them: those of all, or of each, all of one kind."""
    sparse = [r for r in rows if isinstance(r, SparseRows)]
    if sparse:
        return _sparse_inputs(sparse, device)
    as_bytes = [r for r in rows if isinstance(r, ByteRows)]
    if as_bytes:
        x_SNF = torch.from_numpy(in_memory(as_bytes[0].x)[None])  # of all: only what bytes become may differ
        return DenseInputs(x_SNF.to(device), values_of_bytes(as_bytes, device))
    dense = [r.x_NF for r in rows if isinstance(r, DenseRows)]
    return DenseInputs(torch.from_numpy(_stacked(dense)).to(device))


def values_of_bytes(rows: Sequence[ByteRows], device: torch.device) -> torch.Tensor:
    """(V, C, 256) what bytes become, of the rows of all networks or of each."""
    widest = max(len(each.values) for each in rows)
    return torch.from_numpy(np.stack([np.broadcast_to(r.values, (widest, 256)) for r in rows])).to(device)


def _sparse_inputs(parts: Sequence[SparseRows], device: torch.device) -> SparseInputs:
    """One matrix for all networks, or one for each."""
    from scipy.sparse import csr_array, vstack

    ones = all(rows.values is None for rows in parts)
    each = []
    for rows in parts:
        values = rows.values
        if values is None:
            values = np.ones(rows.nnz, np.int8 if ones else np.float32)
        # SciPy takes the wider of both index types for both; 32 bits are enough for two billion entries.
        indptr = rows.indptr.astype(np.int32) if rows.nnz <= np.iinfo(np.int32).max else rows.indptr
        each.append(csr_array((values, rows.indices, indptr), shape=(len(rows), rows.n_features)))
    matrix = each[0] if len(each) == 1 else vstack(each, format="csr")
    return SparseInputs(matrix, ones, device, len(each))


def _targets(fitted: Sequence[FittedTargets], targets: Array, device: torch.device) -> torch.Tensor:
    shared = all(each == fitted[0] for each in fitted)
    made = [each.transform(targets) for each in (fitted[:1] if shared else fitted)]
    return torch.from_numpy(_stacked(made)).to(device)


def _scales(fitted: Sequence[FittedTargets]) -> tuple[TargetScale, ...] | None:
    """What the targets of each network went through, or of all; None where they are as they were."""
    scales = tuple(each.scale for each in fitted if each.scale is not None)
    return scales[:1] if len(set(scales)) == 1 else scales or None


def unscaled_targets(fitted: FittedTargets, targets: Array, device: torch.device) -> torch.Tensor | None:
    """(1, N, K) float64 in their own units, where the loss takes others; else None."""
    own = fitted.own_targets(targets)
    return None if own is None else torch.from_numpy(own)[None].to(device)


def _stacked(arrays: Sequence[Array]) -> Array:
    """(S, ...): a single array is not copied."""
    return arrays[0][None] if len(arrays) == 1 else np.stack(arrays)
