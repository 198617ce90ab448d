"""Which training rows each fold trains on and which it validates on. Row indices only, no data.

Sizes and order are scikit-learn's (`train_test_split`, `KFold`, `StratifiedKFold`; with groups
`GroupShuffleSplit`, `GroupKFold`, `StratifiedGroupKFold`; `TimeSeriesSplit`), so that a spec splits as the
reader expects. Rows keep their order within a fold: shuffling decides which rows validate, and no more.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from nnrun.errors import DataError
from nnrun.spec import schema
from nnrun.spec.random_streams import derive_seed
from nnrun.spec.wording import quoted
from nnrun.stratified import stratified_parts, stratified_sample
from nnrun.validation.by_column import FieldValues, rows_in_order_of_time, rows_with_value
from nnrun.validation.by_group import (
    Groups,
    group_parts,
    held_out_groups,
    refuse_a_split_group,
    stratified_group_parts,
    stratified_held_out_groups,
)

Rows = npt.NDArray[np.int64]
Labels = npt.NDArray[Any]


@dataclass(frozen=True, eq=False)
class Fold:
    """One way to split the training rows.

    Attributes:
        index: from 0 over all repeats: `repeat * k + fold`.
        repeat: from 0.
        fold: from 0 within its repeat.
        train_rows, validation_rows: ascending, and no row is in both. Together they are all rows, but for a
            time series, whose later rows are in neither.
    """

    index: int
    repeat: int
    fold: int
    train_rows: Rows
    validation_rows: Rows


def make_folds(
    validation: schema.Component,
    n_rows: int,
    labels: Labels | None,
    seed: int,
    *,
    groups: Groups | None = None,
    column: FieldValues | None = None,
    class_names: Sequence[str] | None = None,
) -> tuple[Fold, ...]:
    """The folds that a spec's `validation` declares, for data of `n_rows` training rows.

    The same arguments give the same folds, whatever else is computed before or beside.

    Args:
        validation: `schema.Holdout`, `schema.KFold`, `schema.TimeSeries` or `schema.NoValidation`.
        n_rows: number of training rows.
        labels: the class of each row (n_rows,); needed where the split is stratified.
        seed: the spec's seed.
        groups: (n_rows,) the group of each row; no group is ever split. None where there are none.
        column: (n_rows,) the values of the column that a holdout or a time series names.
        class_names: what messages call the classes, in the order of their labels.

    Raises:
        DataError: the data have too few rows, groups or rows of a class for what is asked, or a column
            has no such value.
    """
    if n_rows < 1:
        raise DataError("There are no training rows to split.")
    if isinstance(validation, schema.NoValidation):
        return (_fold(n_rows, np.empty(0, np.int64)),)
    if isinstance(validation, schema.Holdout):
        if validation.column is not None:
            return (_fold(n_rows, rows_with_value(validation, column, groups)),)
        return (_fold(n_rows, _holdout_rows(validation, n_rows, labels, seed, groups, class_names)),)
    if isinstance(validation, schema.KFold):
        return tuple(_kfold(validation, n_rows, labels, seed, groups, class_names))
    if isinstance(validation, schema.TimeSeries):
        return tuple(_time_series(validation, n_rows, column))
    raise TypeError(
        f"validation must be a holdout, kfold, time_series or none of the schema, but got {validation!r}"
    )


def _fold(n_rows: int, validation_rows: Rows, index: int = 0, repeat: int = 0, fold: int = 0) -> Fold:
    validates = np.zeros(n_rows, bool)
    validates[validation_rows] = True
    return Fold(index, repeat, fold, np.flatnonzero(~validates), np.flatnonzero(validates))


def _holdout_rows(
    holdout: schema.Holdout,
    n_rows: int,
    labels: Labels | None,
    seed: int,
    groups: Groups | None,
    class_names: Sequence[str] | None,
) -> Rows:
    if holdout.first is not None:
        if holdout.first >= n_rows:
            raise DataError(
                f"validation.holdout.first is {holdout.first}, but there are {n_rows} training rows: "
                "at least one row must be left to train on."
            )
        if groups is not None:
            refuse_a_split_group("first", groups, holdout.first)
        return np.arange(holdout.first)
    fraction = schema.DEFAULT_HOLDOUT_FRACTION if holdout.fraction is None else holdout.fraction
    n_validation = math.ceil(fraction * n_rows)  # as train_test_split rounds
    if n_validation >= n_rows:
        raise DataError(
            f"validation.holdout.fraction is {fraction}, which is {n_validation} of {n_rows} training rows: "
            "at least one row must be left to train on."
        )
    random = _random_state(seed, repeat=0)
    if holdout.stratify:
        classes = _classes_of(labels, n_rows, "holdout", class_names)
        if groups is not None:
            return stratified_held_out_groups(fraction, classes, groups, random)
        return _stratified_rows(classes, n_validation, random)
    if not holdout.shuffle:
        if groups is not None:
            refuse_a_split_group("fraction", groups, n_rows - n_validation)
        return np.arange(n_rows - n_validation, n_rows)
    if groups is not None:
        return held_out_groups(fraction, groups, random)
    return random.permutation(n_rows)[:n_validation]


def _kfold(
    kfold: schema.KFold,
    n_rows: int,
    labels: Labels | None,
    seed: int,
    groups: Groups | None,
    class_names: Sequence[str] | None,
) -> Iterator[Fold]:
    if kfold.k > n_rows:
        raise DataError(
            f"validation.kfold.k is {kfold.k}, but there are {n_rows} training rows: "
            "k must not be above the number of rows."
        )
    classes = _classes_of(labels, n_rows, "kfold", class_names, kfold.k) if kfold.stratify else None
    for repeat in range(kfold.repeats):
        random = _random_state(seed, repeat) if kfold.shuffle else None
        if groups is not None:
            parts = (
                group_parts(kfold.k, groups, random)
                if classes is None
                else stratified_group_parts(kfold.k, classes, groups, random)
            )
        elif classes is not None:
            parts = stratified_parts(kfold.k, classes, random)
        else:
            parts = _parts(kfold.k, n_rows, random)
        for fold, rows in enumerate(parts):
            yield _fold(n_rows, rows, index=repeat * kfold.k + fold, repeat=repeat, fold=fold)


def _parts(k: int, n_rows: int, random: np.random.RandomState | None) -> list[Rows]:
    """k parts of all rows; the first n_rows % k are one row longer."""
    order = np.arange(n_rows) if random is None else random.permutation(n_rows)
    return np.array_split(order, k)


def _time_series(series: schema.TimeSeries, n_rows: int, column: FieldValues | None) -> Iterator[Fold]:
    """Train on all parts before one, validate on it: `TimeSeriesSplit`, whose first part takes the rest."""
    if series.k >= n_rows:
        raise DataError(
            f"validation.time_series.k is {series.k}, but there are {n_rows} training rows: "
            "k must be below the number of rows, so that each of k + 1 parts has one."
        )
    order = np.arange(n_rows) if series.column is None else rows_in_order_of_time(series, column)
    size = n_rows // (series.k + 1)
    for fold in range(series.k):
        begin = n_rows - (series.k - fold) * size
        yield Fold(fold, 0, fold, np.sort(order[:begin]), np.sort(order[begin : begin + size]))


def _stratified_rows(classes: Labels, n_validation: int, random: np.random.RandomState) -> Rows:
    n_classes = len(np.unique(classes))
    n_training = len(classes) - n_validation
    if min(n_validation, n_training) < n_classes:
        raise DataError(
            f"validation.holdout.stratify: {n_training} rows to train on and {n_validation} to validate on "
            f"cannot each hold all {n_classes} classes. Change the fraction, or set stratify to false."
        )
    return stratified_sample(classes, n_validation, random)


def _classes_of(
    labels: Labels | None, n_rows: int, kind: str, names: Sequence[str] | None, at_least: int = 2
) -> Labels:
    """The labels, once they are fit to stratify by: one class for each row, and enough rows of each class."""
    place = f"validation.{kind}.stratify"
    if labels is None:
        raise DataError(
            f"{place}: only classes can be stratified, and these data have none. Set it to false."
        )
    labels = np.asarray(labels)
    if labels.shape != (n_rows,):
        raise ValueError(f"labels must have shape ({n_rows},), but got {labels.shape}")
    if labels.dtype.kind == "f" and not np.array_equal(labels, np.round(labels)):
        raise DataError(f"{place}: the targets are measures, not classes. Set it to false.")
    classes, counts = np.unique(labels, return_counts=True)
    rarest = int(counts.argmin())
    if counts[rarest] < at_least:
        need = f"each of the {at_least} folds" if kind == "kfold" else "training and validation each"
        rows = "row" if counts[rarest] == 1 else "rows"
        name = classes[rarest] if names is None else quoted(names[int(classes[rarest])])
        raise DataError(
            f"{place}: class {name} has {counts[rarest]} {rows}, but {need} must get one. "
            f"{'Lower k, or set' if kind == 'kfold' else 'Set'} stratify to false."
        )
    return labels


def _random_state(seed: int, repeat: int) -> np.random.RandomState:
    """NumPy's legacy generator, on purpose: its stream is frozen, so a split outlives NumPy's versions."""
    derived = derive_seed(seed, replica=repeat, purpose="splits")
    return np.random.RandomState([derived >> 32, derived & 0xFFFFFFFF])
