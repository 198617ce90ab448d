"""The data of a spec, of which its validation has a say: a column by which it splits is no input."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from nnrun.data import Dataset, load_dataset
from nnrun.data.sources.row_file import parts_of, reader_of
from nnrun.spec import schema
from nnrun.spec.folds import columns_needed
from nnrun.spec.load import LoadedSpec, load_kfold_spec, load_spec
from nnrun.spec.overrides import Overrides


def load_spec_data(
    spec: schema.ExperimentSpec,
    *,
    data_dir: Path | None = None,
    smoke: bool = False,
    on_message: Callable[[str], None] = lambda text: None,
) -> Dataset:
    """Load the data set of a spec, with the columns that its validation needs.

    Raises:
        DataError: the data are missing, damaged, or not what the spec says.
    """
    return load_dataset(
        spec.dataset,
        data_dir=data_dir,
        smoke=smoke,
        aside=columns_needed(spec.validation),
        on_message=on_message,
    )


def with_validation(spec: schema.ExperimentSpec, validation: schema.Validation) -> schema.ExperimentSpec:
    """The spec validated otherwise, on the same inputs: what was set apart to split by does not become one.

    Raises:
        DataError: the file's columns must be looked up for that, and it is not there or not readable.
    """
    changed = spec.model_copy(update={"validation": validation})
    dataset = spec.dataset
    if not isinstance(dataset, schema.RowFile) or dataset.inputs is not None:
        return changed
    aside = columns_needed(spec.validation)
    if set(aside) <= set(columns_needed(validation)):
        return changed
    inputs = list(parts_of(dataset, reader_of(dataset, Path(dataset.path)), aside).inputs)
    return changed.model_copy(update={"dataset": dataset.model_copy(update={"inputs": inputs})})


def load_for_kfold(
    path: Path | str, overrides: Overrides = (), *, k: int | None = None, repeats: int | None = None
) -> LoadedSpec:
    """A spec to be trained by k-fold (`load_kfold_spec`), on the inputs that it has by its own validation."""
    loaded = load_kfold_spec(path, overrides, k=k, repeats=repeats)
    own = load_spec(path, overrides).spec
    return replace(loaded, spec=with_validation(own, loaded.spec.validation))
