"""From a spec and its data to what can be trained: folds, fitted preprocessing, networks, tensors.

Folds whose networks have the same shape form a group and train as replicas, in one step. Mostly there is one
group; token folds of different vocabularies make several, which train one after the other.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import scipy.sparse
import torch

from nnrun.data import Dataset, DenseRows, FittedPreprocessing, Samples, SparseRows, fit_preprocessing
from nnrun.data.dataset import Array
from nnrun.errors import UsageError
from nnrun.experiment.targets import effective_preprocessing, outputs_of, refuse_unsuitable_targets
from nnrun.model.inputs import DenseInputs, Inputs, SparseInputs
from nnrun.model.network import Network, build_network
from nnrun.spec import schema
from nnrun.training.losses import build_loss
from nnrun.training.metrics import build_metrics
from nnrun.training.optimizers import build_optimizer
from nnrun.training.task import Task
from nnrun.validation.splits import Fold, make_folds


@dataclass(frozen=True, eq=False)
class Group:
    """Folds that train as replicas of one network.

    Attributes:
        folds: which rows each trains on and is validated on.
        fitted: each fold's preprocessing, fitted on its training rows.
        network: the architecture that they share.
    """

    folds: tuple[Fold, ...]
    fitted: tuple[FittedPreprocessing, ...]
    network: Network


def prepare_groups(
    spec: schema.ExperimentSpec, dataset: Dataset, only_fold: int | None = None
) -> tuple[Group, ...]:
    """Split the training rows, fit each fold's preprocessing, and build the networks.

    Args:
        spec: the experiment.
        dataset: its data.
        only_fold: one fold's index, to leave out the others.

    Raises:
        DataError: the data do not suit the spec.
        UsageError: there is no such fold.
    """
    folds = make_folds(spec.validation, len(dataset.train), labels_of(dataset), spec.seed)
    if only_fold is not None:
        if not 0 <= only_fold < len(folds):
            raise UsageError(
                f"--fold {only_fold}: there are {len(folds)} folds, numbered from 0 to {len(folds) - 1}."
            )
        folds = (folds[only_fold],)
    preprocessing = effective_preprocessing(spec, dataset)
    refuse_unsuitable_targets(spec, dataset, preprocessing.targets)
    by_width: dict[int, list[tuple[Fold, FittedPreprocessing]]] = {}
    for fold in folds:
        fitted = fit_preprocessing(preprocessing, dataset, fold.train_rows, n_outputs=outputs_of(spec))
        by_width.setdefault(fitted.width, []).append((fold, fitted))
    return tuple(
        Group(tuple(f for f, _ in pairs), tuple(p for _, p in pairs), build_network(spec.layers, width))
        for width, pairs in by_width.items()
    )


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
        inputs=_inputs(fitted, samples, device),
        targets=_targets(fitted, samples, device),
        batch_size=spec.batch_size,
        seed=spec.seed,
    )


def _inputs(fitted: Sequence[FittedPreprocessing], samples: Samples, device: torch.device) -> Inputs:
    # Replicas share the rows where their preprocessing does the same to them.
    shared = all(f.inputs == fitted[0].inputs for f in fitted)
    rows = [f.transform_inputs(samples.inputs) for f in (fitted[:1] if shared else fitted)]
    if isinstance(rows[0], SparseRows):
        assert len(rows) == 1, "multi-hot rows of one width are the same for every fold"
        return _sparse_inputs(rows[0], device)
    dense = [r.x_NF for r in rows if isinstance(r, DenseRows)]
    return DenseInputs(torch.from_numpy(_stacked(dense)).to(device))


def _sparse_inputs(rows: SparseRows, device: torch.device) -> SparseInputs:
    ones = rows.values is None
    values = np.ones(rows.nnz, np.int8) if rows.values is None else rows.values
    # SciPy takes the wider of both index types for both; 32 bits are enough for two billion ones.
    indptr = rows.indptr.astype(np.int32) if rows.nnz <= np.iinfo(np.int32).max else rows.indptr
    matrix = scipy.sparse.csr_array((values, rows.indices, indptr), shape=(rows.n_rows, rows.n_features))
    return SparseInputs(matrix, ones, device)


def _targets(fitted: Sequence[FittedPreprocessing], samples: Samples, device: torch.device) -> torch.Tensor:
    shared = all(f.targets == fitted[0].targets for f in fitted)
    targets = [f.transform_targets(samples.targets) for f in (fitted[:1] if shared else fitted)]
    return torch.from_numpy(_stacked(targets)).to(device)


def _stacked(arrays: Sequence[Array]) -> Array:
    """(S, ...): a single array is not copied."""
    return arrays[0][None] if len(arrays) == 1 else np.stack(arrays)
