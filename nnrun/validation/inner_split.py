"""The inner rows of a fold: a part of its training rows that decides when to stop, and which epoch is best.

They are set apart from the rows that train, so that no row that is scored has a say in it
(`early_stopping: {on: inner}`). They are drawn as the outer split is: stratified where it is, by whole groups
where rows have groups, and the last rows where it goes by time.
"""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from nnrun.errors import DataError
from nnrun.spec import schema
from nnrun.spec.random_streams import derive_seed
from nnrun.validation.frozen_random import frozen_random
from nnrun.validation.splits import FieldValues, Fold, Groups, Labels, Rows, rows_in_order_of_time
from nnrun.validation.stratified import stratified_sample


def with_inner_rows(
    fold: Fold,
    fraction: float,
    validation: schema.ValidationMethod,
    seed: int,
    *,
    labels: Labels | None = None,
    groups: Groups | None = None,
    column: FieldValues | None = None,
) -> Fold:
    """The same fold with a fraction of its training rows as its inner rows.

    The same arguments give the same rows, whatever else is computed before or beside.

    Args:
        fold: has training rows, and no inner ones yet.
        fraction: of the training rows, or of their groups, or as near to it as whole groups allow.
        validation: the outer split.
        seed: the spec's seed.
        labels: (N,) the class of each row, where the inner rows are to be stratified; else None.
        groups: (N,) the group of each row; None where there are none.
        column: (N,) the times of the rows, of a time series that names a column.

    Raises:
        DataError: there are too few rows or groups.
    """
    rows = fold.train_rows
    random = frozen_random(derive_seed(seed, replica=fold.index, purpose="inner split"))
    size = math.ceil(fraction * len(rows))
    if size >= len(rows):
        raise DataError(
            f"early_stopping.fraction is {fraction}, which is {size} of {len(rows)} training rows of fold "
            f"{fold.index}: at least one row must be left to train on. Lower the fraction, or set `on` to "
            "validation."
        )
    if groups is not None:
        inner = _whole_groups(rows, groups, fraction, fold.index, random)
    elif validation.takes_last_rows:
        ordered = rows
        if isinstance(validation, schema.TimeSeries) and validation.column is not None:
            order = rows_in_order_of_time(validation, column)
            place = np.empty(len(order), np.int64)
            place[order] = np.arange(len(order))
            ordered = rows[np.argsort(place[rows], kind="stable")]
        inner = ordered[len(rows) - size :]
    elif labels is not None:
        inner = _stratified(rows, np.asarray(labels)[rows], size, random)
    else:
        inner = random.permutation(rows)[:size]
    inner = np.sort(inner)
    return replace(fold, train_rows=np.setdiff1d(rows, inner), inner_rows=inner)


def _stratified(rows: Rows, classes: Labels, size: int, random: np.random.RandomState) -> Rows:
    """Each class has its share. A class with a single row keeps it for training."""
    _, inverse, counts = np.unique(classes, return_inverse=True, return_counts=True)
    several = np.flatnonzero(counts[inverse] > 1)
    size = min(size, len(several) - len(np.unique(classes[several])))
    if size < 1:
        return random.permutation(rows)[:1]
    return rows[several[stratified_sample(classes[several], size, random)]]


def _whole_groups(
    rows: Rows, groups: Groups, fraction: float, fold: int, random: np.random.RandomState
) -> Rows:
    """A share of the groups, drawn at random."""
    names, place = np.unique(groups[rows], return_inverse=True)
    count = math.ceil(fraction * len(names))
    if count >= len(names):
        found = "there is one group" if len(names) == 1 else f"there are {len(names)} groups"
        raise DataError(
            f"early_stopping.fraction is {fraction}, and among the training rows of fold {fold} {found}: no "
            "group is split, so at least one must be left to train on. Lower the fraction, or set `on` to "
            "validation."
        )
    return rows[np.isin(place, random.permutation(len(names))[:count])]
