"""How a spec is validated: its folds, and the same spec with others: for k-fold, or for a trial run."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from nnrun.data import Dataset
from nnrun.data.dataset import Array, SplitValues, split_columns_of, split_values
from nnrun.data.sources.generated_rows import TRAIN_ROWS
from nnrun.data.sources.table_file import default_inputs
from nnrun.errors import DataError
from nnrun.spec import schema
from nnrun.spec.outer_folds import outer_validation
from nnrun.spec.random_streams import derive_seed
from nnrun.spec.reading.load import LoadedSpec, load_with_folds
from nnrun.spec.reading.overrides import Overrides
from nnrun.spec.reading.sources import SpecSource
from nnrun.spec.score_columns import has_inner_rows
from nnrun.validation.inner_split import with_inner_rows
from nnrun.validation.splits import Fold, make_folds
from nnrun.validation.training_subset import with_fraction

EPOCHS = 2


def folds_of(spec: schema.ExperimentSpec, dataset: Dataset, seed: int) -> tuple[Fold, ...]:
    """How a spec with this seed splits the training rows, sets inner rows apart and leaves rows out.

    With `nested`, the folds that its validation makes within each outer fold, one outer fold after the other.

    Raises:
        DataError: the data do not allow it.
    """
    values = split_values(spec.validation, dataset)
    if spec.nested is None:
        folds = _folds(spec.validation, values, len(dataset.train), seed)
    else:
        outer, n = outer_folds_of(spec, dataset, seed), spec.validation.number_of_folds
        within = [_folds_within(fold, spec.validation, values, seed) for fold in outer]
        folds = tuple(
            replace(fold, index=place * n + fold.index) for place, own in enumerate(within) for fold in own
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


def outer_folds_of(spec: schema.ExperimentSpec, dataset: Dataset, seed: int) -> tuple[Fold, ...]:
    """The outer folds of a spec with `nested`: those of a run whose validation they are.

    Raises:
        DataError: the data do not allow them.
    """
    outer = outer_validation(spec)
    try:
        return _folds(outer, split_values(outer, dataset), len(dataset.train), seed)
    except DataError as error:
        raise DataError(_named_as_nested(str(error), outer.kind)) from None


def _named_as_nested(text: str, kind: str) -> str:
    """What is wrong with outer folds, by the keys that decide them: nested has no others of its own."""
    for key, by in (("k", " (--nested)"), ("shuffle", ""), ("stratify", "")):
        text = text.replace(f"validation.{kind}.{key} ", f"nested.{key}{by} ")
        text = text.replace(f"validation.{kind}.{key}:", f"nested.{key}:")
    return text.replace(f"validation.{kind}: ", "nested: ")


def _folds_within(
    outer: Fold, validation: schema.Validation, values: SplitValues, seed: int
) -> tuple[Fold, ...]:
    """The folds that a validation makes of the training rows of an outer fold, its other rows left out."""
    rows = outer.train_rows

    def own_of(each: Array | None) -> Array | None:
        return None if each is None else each[rows]

    own = SplitValues(own_of(values.labels), own_of(values.groups), own_of(values.column), values.class_names)
    try:
        folds = _folds(
            validation, own, len(rows), derive_seed(seed, replica=outer.index, purpose="inner folds")
        )
    except DataError as error:
        raise DataError(f"Within outer fold {outer.index}: {error}") from None
    return tuple(
        replace(fold, train_rows=rows[fold.train_rows], validation_rows=rows[fold.validation_rows])
        for fold in folds
    )


def _folds(validation: schema.Validation, values: SplitValues, n_rows: int, seed: int) -> tuple[Fold, ...]:
    return make_folds(
        validation,
        n_rows,
        values.labels,
        seed,
        groups=values.groups,
        column=values.column,
        class_names=values.class_names,
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
    validation, nested = spec.validation, spec.nested
    most_folds = TRAIN_ROWS // 4 if nested is None else TRAIN_ROWS // 32
    if isinstance(validation, schema.Holdout) and validation.first is not None:
        first = min(validation.first, TRAIN_ROWS // 4)
        validation = validation.model_copy(update={"first": first})
    if isinstance(validation, (schema.KFold, schema.TimeSeries)):
        validation = validation.model_copy(update={"k": min(validation.k, most_folds)})
    if nested is not None:
        nested = nested.model_copy(update={"k": min(nested.k, most_folds)})
    changes = {"epochs": min(spec.epochs, EPOCHS), "validation": validation, "nested": nested}
    return spec.model_copy(update=changes)


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
    path: SpecSource,
    overrides: Overrides = (),
    *,
    k: int | None = None,
    repeats: int | None = None,
    nested: int | None = None,
    prefix: str = "",
) -> LoadedSpec:
    """A spec to be trained by k-fold (`load_with_folds`), on the inputs that it has by its own validation."""
    own, folded = load_with_folds(path, overrides, k=k, repeats=repeats, nested=nested, prefix=prefix)
    spec = with_validation(own.spec, folded.spec.validation)
    return replace(folded, spec=spec.model_copy(update={"nested": folded.spec.nested}))
