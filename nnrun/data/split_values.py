"""What training rows are split by: classes, groups, or the values of a column."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from nnrun.data.dataset import Array, Dataset, strata
from nnrun.data.inference.dates import iso_texts
from nnrun.data.table import CategoryColumn, Column, NumberColumn, Table
from nnrun.errors import DataError, printable
from nnrun.spec import schema


def split_columns_of(validation: schema.Component) -> tuple[str, ...]:
    """The columns that tell which rows validate. They are no inputs by default."""
    match validation:
        case schema.Holdout(column=str(column)) | schema.TimeSeries(column=str(column)):
            return (column,)
        case schema.KFold(group=str(group)):
            return (group,)
    return ()


@dataclass(frozen=True, eq=False)
class SplitValues:
    """What the N training rows are split by.

    Attributes:
        labels: (N,) the class of each, to stratify by; None where the targets are not classes.
        groups: (N,) the group of each, which is never split; None where there are no groups.
        column: (N,) the values of the column that a holdout or a time series names; None where none is named.
        class_names: what messages call the classes.
    """

    labels: Array | None
    groups: Array | None
    column: Array | None
    class_names: tuple[str, ...] | None


def split_values(validation: schema.Component, dataset: Dataset) -> SplitValues:
    """What a spec's `validation` splits the training rows by.

    Raises:
        DataError: there is no such column, or it lacks values.
    """
    groups, column = dataset.train.groups, None
    for name in split_columns_of(validation):
        found = _column(dataset, name)
        if isinstance(validation, schema.KFold):
            groups = _groups_of(found)
        else:
            column = _times(found) if isinstance(validation, schema.TimeSeries) else _values(found)
    own, least = dataset, 2
    match validation:
        case schema.Holdout(stratify=str(output)):
            own = dataset.output(output)
        case schema.KFold(stratify=str(output), k=k):
            own, least = dataset.output(output), k
    labels = labels_of(own)
    labels = None if labels is None else strata(labels, own.train.present, least)
    return SplitValues(labels, groups, column, own.class_names)


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
