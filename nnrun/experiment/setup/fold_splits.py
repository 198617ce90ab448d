"""How a spec splits the rows of its data: what `nnrun.validation.splits` needs, taken from a data set."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from nnrun.data import Dataset
from nnrun.data.dataset import Array
from nnrun.data.inference.dates import iso_texts
from nnrun.data.table import CategoryColumn, Column, NumberColumn, Table
from nnrun.errors import DataError, printable
from nnrun.experiment.setup.load_data import split_columns_of
from nnrun.spec import schema
from nnrun.validation.splits import Fold, make_folds


def folds_of(spec: schema.ExperimentSpec, dataset: Dataset, seed: int) -> tuple[Fold, ...]:
    """How a spec with this seed splits the training rows.

    Raises:
        DataError: the data do not allow it.
    """
    groups, column = dataset.train.groups, None
    for name in split_columns_of(spec.validation):
        found = _column(dataset, name)
        if isinstance(spec.validation, schema.KFold):
            groups = _groups_of(found)
        else:
            column = _times(found) if isinstance(spec.validation, schema.TimeSeries) else _values(found)
    return make_folds(
        spec.validation,
        len(dataset.train),
        labels_of(dataset),
        seed,
        groups=groups,
        column=column,
        class_names=dataset.class_names,
    )


def labels_of(dataset: Dataset) -> Array | None:
    """The class of each training row, to stratify by; None where the targets are not classes."""
    targets = dataset.train.targets
    return None if dataset.task == "regression" or targets.ndim != 1 else targets


def _column(dataset: Dataset, name: str) -> Column:
    """A column that the validation names: one that was put aside, or an input."""
    tables = [dataset.train.split_columns, dataset.train.inputs]
    for table in tables:
        if isinstance(table, Table) and name in table.by_name:
            return table.by_name[name]
    raise DataError(f"validation: {dataset.name} has no column {printable(name)!r} to split by.")


def _values(column: Column) -> Array:
    """(N,) numbers with NaN, or texts or whole numbers of any length with None, where a value is missing."""
    if isinstance(column, NumberColumn):
        return column.identities()
    if isinstance(column, CategoryColumn):
        return np.array([*column.levels, None], object)[column.codes]
    return column.values


def _times(column: Column) -> Array:
    """The same, dates in ISO form, however the file writes them."""
    if isinstance(column, CategoryColumn) and column.dates:
        column = replace(column, levels=tuple(iso_texts(column.levels)))
    return _values(column)


def _groups_of(column: Column) -> Array:
    """(N,) a number for each different value."""
    missing = column.missing
    if missing.any():
        row = int(np.flatnonzero(missing)[0])
        raise DataError(
            f"validation.kfold.group: column {printable(column.name)!r} has no value in training row {row} "
            "(from 0), and each row needs a group. Leave out such rows, or name another column."
        )
    return np.unique(_values(column), return_inverse=True)[1].astype(np.int64)
