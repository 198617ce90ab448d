"""From a spec and its data to what can be trained: folds or seeds, fitted preprocessing, networks, tensors.

Folds whose networks have the same shape form a group and train as replicas, in one step. Mostly there is one
group; token folds of different vocabularies make several, which train one after the other.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import scipy.sparse
import torch

from nnrun.data import Dataset, DenseRows, FittedPreprocessing, Samples, SparseRows, fit_preprocessing
from nnrun.data.dataset import Array, RawInputs
from nnrun.errors import UsageError
from nnrun.experiment.targets import (
    effective_preprocessing,
    outputs_of,
    refuse_unknown_classes,
    refuse_unsuitable_targets,
)
from nnrun.model.inputs import DenseInputs, Inputs, SparseInputs
from nnrun.model.network import Network, build_network
from nnrun.records import MemberKind
from nnrun.spec import schema
from nnrun.spec.streams import RandomSource
from nnrun.training.losses import build_loss
from nnrun.training.metrics import build_metrics
from nnrun.training.optimizers import build_optimizer
from nnrun.training.task import Task
from nnrun.validation.splits import Fold, make_folds


@dataclass(frozen=True)
class Selection:
    """Which networks of a spec to train.

    Attributes:
        only_fold: one fold's index, to leave out the others.
        seeds: how many seeds, from the spec's own upwards; None for the spec's own alone, without a name.
    """

    only_fold: int | None = None
    seeds: int | None = None


@dataclass(frozen=True, eq=False)
class GroupMember:
    """A fold or a seed.

    Attributes:
        number: the fold's index, or the seed; 0 for the only network of a run.
        source: of its random streams.
        fold: which rows it trains on and is validated on.
        fitted: its preprocessing, fitted on its training rows.
    """

    number: int
    source: RandomSource
    fold: Fold
    fitted: FittedPreprocessing


@dataclass(frozen=True, eq=False)
class Group:
    """Folds or seeds that train as replicas of one network.

    Attributes:
        members: what tells them apart.
        network: the architecture that they share.
    """

    members: tuple[GroupMember, ...]
    network: Network

    @property
    def folds(self) -> tuple[Fold, ...]:
        """The rows of each."""
        return tuple(member.fold for member in self.members)

    @property
    def fitted(self) -> tuple[FittedPreprocessing, ...]:
        """The preprocessing of each."""
        return tuple(member.fitted for member in self.members)


EVERYTHING = Selection()


def kind_of_members(spec: schema.ExperimentSpec, selection: Selection) -> MemberKind | None:
    """What tells the run's networks apart; None where there is one."""
    if selection.seeds is not None:
        return "seed"
    return "fold" if isinstance(spec.validation, schema.KFold) else None


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
    preprocessing = effective_preprocessing(spec, dataset)
    refuse_unsuitable_targets(spec, dataset, preprocessing.targets)
    by_width: dict[tuple[int, bool], list[GroupMember]] = {}
    for number, source, fold in _selected(spec, dataset, selection):
        refuse_unknown_classes(spec, dataset, fold.train_rows, fold.validation_rows)
        fitted = fit_preprocessing(preprocessing, dataset, fold.train_rows, n_outputs=outputs_of(spec))
        member = GroupMember(number, source, fold, fitted)
        by_width.setdefault((fitted.width, fitted.sparse), []).append(member)
    return tuple(
        Group(tuple(members), build_network(spec.layers, width)) for (width, _), members in by_width.items()
    )


def folds_of(spec: schema.ExperimentSpec, dataset: Dataset, seed: int) -> tuple[Fold, ...]:
    """How a spec with this seed splits the training rows."""
    return make_folds(spec.validation, len(dataset.train), labels_of(dataset), seed)


def _selected(
    spec: schema.ExperimentSpec, dataset: Dataset, selection: Selection
) -> Iterator[tuple[int, RandomSource, Fold]]:
    """Number, source and rows of each network."""
    if selection.seeds is not None:
        if isinstance(spec.validation, schema.KFold):
            raise UsageError(
                "--seeds trains one split with several seeds, and this spec declares k-fold. For several "
                "splits use `nnrun kfold --repeats N` (it needs shuffle: true), or change `validation`."
            )
        end = spec.seed + selection.seeds
        if end > 2**63:
            raise UsageError(
                f"--seeds {selection.seeds} from seed {spec.seed} would end at {end - 1}, and the largest "
                f"seed is {2**63 - 1}. Start from a smaller seed."
            )
        for seed in range(spec.seed, end):
            yield seed, RandomSource(seed), folds_of(spec, dataset, seed)[0]
        return
    folds = folds_of(spec, dataset, spec.seed)
    if selection.only_fold is not None:
        if not 0 <= selection.only_fold < len(folds):
            raise UsageError(
                f"--fold {selection.only_fold}: there are {len(folds)} folds, numbered from 0 to "
                f"{len(folds) - 1}."
            )
        folds = (folds[selection.only_fold],)
    for fold in folds:
        yield fold.index, RandomSource(spec.seed, fold.index), fold


def labels_of(dataset: Dataset) -> Array | None:
    """The class of each training row, to stratify by; None for what are no classes."""
    targets = dataset.train.targets
    return None if dataset.task == "regression" or targets.ndim != 1 else targets


def make_task(
    spec: schema.ExperimentSpec,
    network: Network,
    fitted: Sequence[FittedPreprocessing],
    samples: Samples,
    device: torch.device,
) -> Task:
    """What replicas learn from these samples, or are measured on, each by its own preprocessing."""
    last = network.last
    return Task(
        network=network,
        loss=build_loss(spec.loss),
        optimizer=build_optimizer(spec.optimizer),
        metrics=build_metrics(spec.metrics, last.activation),
        inputs=make_inputs(fitted, samples.inputs, device),
        targets=_targets(fitted, samples, device),
        batch_size=spec.batch_size,
        units=_units(fitted, device),
    )


def make_inputs(fitted: Sequence[FittedPreprocessing], inputs: RawInputs, device: torch.device) -> Inputs:
    """Rows of a data set as networks take them, each network by its own preprocessing."""
    # Replicas share the rows where their preprocessing does the same to them.
    shared = all(fitted[0].does_the_same_to_inputs(f) for f in fitted)
    rows = [f.transform_inputs(inputs) for f in (fitted[:1] if shared else fitted)]
    sparse = [r for r in rows if isinstance(r, SparseRows)]
    if sparse:
        return _sparse_inputs(sparse, device)
    dense = [r.x_NF for r in rows if isinstance(r, DenseRows)]
    return DenseInputs(torch.from_numpy(_stacked(dense)).to(device))


def _sparse_inputs(parts: Sequence[SparseRows], device: torch.device) -> SparseInputs:
    """One matrix for all networks, or one for each."""
    ones = all(rows.values is None for rows in parts)
    each = []
    for rows in parts:
        values = rows.values
        if values is None:
            values = np.ones(rows.nnz, np.int8 if ones else np.float32)
        # SciPy takes the wider of both index types for both; 32 bits are enough for two billion entries.
        indptr = rows.indptr.astype(np.int32) if rows.nnz <= np.iinfo(np.int32).max else rows.indptr
        each.append(
            scipy.sparse.csr_array((values, rows.indices, indptr), shape=(rows.n_rows, rows.n_features))
        )
    matrix = each[0] if len(each) == 1 else scipy.sparse.vstack(each, format="csr")
    return SparseInputs(matrix, ones, device, len(each))


def _targets(fitted: Sequence[FittedPreprocessing], samples: Samples, device: torch.device) -> torch.Tensor:
    shared = all(f.targets == fitted[0].targets for f in fitted)
    targets = [f.transform_targets(samples.targets) for f in (fitted[:1] if shared else fitted)]
    return torch.from_numpy(_stacked(targets)).to(device)


def _units(fitted: Sequence[FittedPreprocessing], device: torch.device) -> torch.Tensor | None:
    """(S, K) what targets were divided by, for each network where they differ; None where they were not."""
    scales = [scale[1] for f in fitted if (scale := f.target_scale()) is not None]
    return torch.from_numpy(np.stack(scales)).to(device) if scales else None


def _stacked(arrays: Sequence[Array]) -> Array:
    """(S, ...): a single array is not copied."""
    return arrays[0][None] if len(arrays) == 1 else np.stack(arrays)
