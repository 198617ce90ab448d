"""A fraction of a fold's training rows: those of a smaller fraction are among those of a larger one."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from nnrun.spec import schema
from nnrun.spec.random_streams import derive_seed
from nnrun.validation.frozen_random import frozen_random
from nnrun.validation.splits import FieldValues, Fold, Groups, Labels, Rows, rows_in_order_of_time


def with_fraction(
    fold: Fold,
    fraction: float,
    validation: schema.Validation,
    seed: int,
    *,
    labels: Labels | None = None,
    groups: Groups | None = None,
    column: FieldValues | None = None,
) -> Fold:
    """The same fold with a fraction of its training rows, rounded up; validation and inner rows stay.

    They are drawn at random: by class where there are classes, of which each keeps a row; by whole groups
    where rows have groups, as many groups as reach the fraction. Where the split goes by time, they are the
    latest rows.

    Args:
        fold: has its inner rows set apart.
        fraction: above 0, up to 1.
        validation: the split.
        seed: the spec's seed.
        labels: (N,) the class of each row, to draw by; else None.
        groups: (N,) the group of each row; None where there are none.
        column: (N,) the times of the rows, of a time series that names a column.
    """
    rows = fold.train_rows
    if fraction == 1:
        return fold
    random = frozen_random(derive_seed(seed, replica=fold.index, purpose="training subset"))
    size = math.ceil(fraction * len(rows))
    if groups is not None:
        first = _whole_groups(rows, groups, size, random)
    elif validation.takes_last_rows:
        first = _latest(rows, validation, column)[:size]
    elif labels is not None:
        first = _by_class(rows, np.asarray(labels)[rows], random)[:size]
    else:
        first = random.permutation(rows)[:size]
    return replace(fold, train_rows=np.sort(first))


def _by_class(rows: Rows, classes: Labels, random: np.random.RandomState) -> Rows:
    """In an order of which each beginning has the classes in their shares, and at first a row of each."""
    shuffled = random.permutation(len(rows))
    _, inverse, counts = np.unique(classes[shuffled], return_inverse=True, return_counts=True)
    place = np.empty(len(rows))
    for number, count in enumerate(counts):
        place[inverse == number] = np.arange(count) / count
    return rows[shuffled[np.argsort(place, kind="stable")]]


def _whole_groups(rows: Rows, groups: Groups, size: int, random: np.random.RandomState) -> Rows:
    """Of the groups in a random order as many as have so many rows together."""
    names, place, counts = np.unique(groups[rows], return_inverse=True, return_counts=True)
    order = random.permutation(len(names))
    needed = int(np.searchsorted(np.cumsum(counts[order]), size)) + 1
    return rows[np.isin(place, order[:needed])]


def _latest(rows: Rows, validation: schema.Validation, column: FieldValues | None) -> Rows:
    """The latest first."""
    if isinstance(validation, schema.TimeSeries) and validation.column is not None:
        order = rows_in_order_of_time(validation, column)
        place = np.empty(len(order), np.int64)
        place[order] = np.arange(len(order))
        rows = rows[np.argsort(place[rows], kind="stable")]
    return rows[::-1]
