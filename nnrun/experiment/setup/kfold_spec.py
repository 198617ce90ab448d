"""A spec validated otherwise than it says, on the same inputs: a column by which it splits is none."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from nnrun.data.sources.table_file import default_inputs
from nnrun.experiment.setup.load_data import split_columns_of
from nnrun.spec import schema
from nnrun.spec.reading.load import LoadedSpec, load_with_folds
from nnrun.spec.reading.overrides import Overrides


def with_validation(spec: schema.ExperimentSpec, validation: schema.Validation) -> schema.ExperimentSpec:
    """The spec validated otherwise, on the same inputs: what was set apart to split by does not become one.

    Raises:
        DataError: the file's columns must be looked up for that, and it is not there or not readable.
    """
    changed = spec.model_copy(update={"validation": validation})
    dataset = spec.dataset
    if not isinstance(dataset, schema.RowFile) or dataset.inputs is not None:
        return changed
    split_columns = split_columns_of(spec.validation)
    if set(split_columns) <= set(split_columns_of(validation)):
        return changed
    update = {"inputs": default_inputs(dataset, split_columns)}
    return changed.model_copy(update={"dataset": dataset.model_copy(update=update)})


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
