"""How a spec is validated: its folds, and the same spec with others: for k-fold, or for a trial run."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from nnrun.data import Dataset
from nnrun.data.dataset import Array, split_columns_of, split_values
from nnrun.data.sources.generated_rows import TRAIN_ROWS
from nnrun.data.sources.table_file import default_inputs
from nnrun.spec import schema
from nnrun.spec.reading.load import LoadedSpec, load_with_folds
from nnrun.spec.reading.overrides import Overrides
from nnrun.spec.score_columns import has_inner_rows
from nnrun.validation.inner_split import with_inner_rows
from nnrun.validation.splits import Fold, make_folds
from nnrun.validation.training_subset import with_fraction

EPOCHS = 2


def folds_of(spec: schema.ExperimentSpec, dataset: Dataset, seed: int) -> tuple[Fold, ...]:
    """How a spec with this seed splits the training rows, sets inner rows apart and leaves rows out.

    Raises:
        DataError: the data do not allow it.
    """
    values = split_values(spec.validation, dataset)
    folds = make_folds(
        spec.validation,
        len(dataset.train),
        values.labels,
        seed,
        groups=values.groups,
        column=values.column,
        class_names=values.class_names,
    )
    by: dict[str, Any] = {"groups": values.groups, "column": values.column}
    stopping = spec.early_stopping
    if stopping is not None and has_inner_rows(spec):
        labels = values.labels if _stratifies(spec, values.labels) else None
        folds = tuple(
            with_inner_rows(fold, stopping.fraction, spec.validation, seed, labels=labels, **by)
            for fold in folds
        )
    if spec.train_fraction == 1:
        return folds
    labels = values.labels if _are_classes(spec, values.labels) else None
    return tuple(
        with_fraction(fold, spec.train_fraction, spec.validation, seed, labels=labels, **by) for fold in folds
    )


def _stratifies(spec: schema.ExperimentSpec, labels: Array | None) -> bool:
    """Whether inner rows are stratified: as the outer split is; without one, by the classes of one output."""
    if isinstance(spec.validation, schema.NoValidation):
        return _are_classes(spec, labels)
    return isinstance(spec.validation, (schema.Holdout, schema.KFold)) and bool(spec.validation.stratify)


def _are_classes(spec: schema.ExperimentSpec, labels: Array | None) -> bool:
    return isinstance(spec.loss, schema.ClassLoss) and labels is not None and labels.dtype.kind in "iub"


def smoke_spec(spec: schema.ExperimentSpec) -> schema.ExperimentSpec:
    """The spec with two epochs and a validation that a few hundred rows can bear."""
    validation = spec.validation
    if isinstance(validation, schema.Holdout) and validation.first is not None:
        first = min(validation.first, TRAIN_ROWS // 4)
        validation = validation.model_copy(update={"first": first})
    if isinstance(validation, (schema.KFold, schema.TimeSeries)):
        validation = validation.model_copy(update={"k": min(validation.k, TRAIN_ROWS // 4)})
    return spec.model_copy(update={"epochs": min(spec.epochs, EPOCHS), "validation": validation})


def with_validation(spec: schema.ExperimentSpec, validation: schema.Validation) -> schema.ExperimentSpec:
    """The spec validated otherwise, on the same inputs: what was set apart to split by does not become one.

    Raises:
        DataError: the file's columns must be looked up for that, and it is not there or not readable.
    """
    changed = spec.model_copy(update={"validation": validation})
    dataset = spec.dataset
    if not isinstance(dataset, schema.NamedColumns) or dataset.inputs is not None:
        return changed
    split_columns = split_columns_of(spec.validation)
    if set(split_columns) <= set(split_columns_of(validation)):
        return changed
    if isinstance(dataset, schema.PublishedTable):
        inputs = dataset.default_inputs(split_columns)
    else:
        inputs = default_inputs(dataset, split_columns)
    return changed.model_copy(update={"dataset": dataset.model_copy(update={"inputs": inputs})})


def load_for_kfold(
    path: Path | str,
    overrides: Overrides = (),
    *,
    k: int | None = None,
    repeats: int | None = None,
    prefix: str = "",
) -> LoadedSpec:
    """A spec to be trained by k-fold (`load_with_folds`), on the inputs that it has by its own validation."""
    own, folded = load_with_folds(path, overrides, k=k, repeats=repeats, prefix=prefix)
    return replace(folded, spec=with_validation(own.spec, folded.spec.validation))
