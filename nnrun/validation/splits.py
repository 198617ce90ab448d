"""Which training rows each fold trains on and which it validates on. Row indices only, no data.

Sizes and order are scikit-learn's (`train_test_split`, `KFold`, `StratifiedKFold`; with groups
`GroupShuffleSplit`, `GroupKFold`, `StratifiedGroupKFold`; `TimeSeriesSplit`), so that a spec splits as the
reader expects. Rows keep their order within a fold: shuffling decides which rows validate, and no more.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from nnrun.errors import DataError, printable
from nnrun.spec import schema
from nnrun.spec.random_streams import derive_seed
from nnrun.spec.values import is_value
from nnrun.spec.wording import quoted
from nnrun.validation.frozen_random import frozen_random
from nnrun.validation.stratified import stratified_parts, stratified_sample

Rows = npt.NDArray[np.int64]
Labels = npt.NDArray[Any]
Groups = npt.NDArray[np.int64]
FieldValues = npt.NDArray[Any]
"""(N,) numbers, NaN where one is missing; or objects: str, or numbers that no array type holds (whole ones of
any length), None where one is missing."""

_LISTED = 10


@dataclass(frozen=True, eq=False)
class Fold:
    """One way to split the training rows.

    Attributes:
        index: from 0 over all repeats: `repeat * k + fold`.
        repeat: from 0.
        fold: from 0 within its repeat.
        train_rows, validation_rows: ascending, and no row is in both. Together they are all rows, but for a
            time series, whose later rows are in neither, for the inner rows, and for those that
            `train_fraction` leaves out.
        inner_rows: ascending, those that decide when training stops (`nnrun.validation.inner_split`).
    """

    index: int
    repeat: int
    fold: int
    train_rows: Rows
    validation_rows: Rows
    inner_rows: Rows = field(default_factory=lambda: np.empty(0, np.int64))


def rows_scored_once(folds: Iterable[Fold]) -> int | None:
    """How many rows folds validate together, each once; None where some validate the same rows."""
    rows = np.concatenate([fold.validation_rows for fold in folds])
    return len(rows) if len(np.unique(rows)) == len(rows) else None


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
            return (_fold(n_rows, _rows_with_value(validation, column, groups)),)
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
            _refuse_a_split_group("first", groups, holdout.first)
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
            return _stratified_held_out_groups(fraction, classes, groups, random)
        return _stratified_rows(classes, n_validation, random)
    if not holdout.shuffle:
        if groups is not None:
            _refuse_a_split_group("fraction", groups, n_rows - n_validation)
        return np.arange(n_rows - n_validation, n_rows)
    if groups is not None:
        return _held_out_groups(fraction, groups, random)
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
                _group_parts(kfold.k, groups, random)
                if classes is None
                else _stratified_group_parts(kfold.k, classes, groups, random)
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
    return frozen_random(derive_seed(seed, replica=repeat, purpose="splits"))


def _rows_with_value(
    holdout: schema.Holdout, column: FieldValues | None, groups: npt.NDArray[np.int64] | None
) -> Rows:
    """The rows whose column equals the holdout's value.

    Raises:
        DataError: no row has it, or every row; or a group would be split.
    """
    if column is None or holdout.value is None:
        raise ValueError("a holdout by column needs a value and the column")
    name = printable(str(holdout.column))
    present = _present(column)
    values = np.unique(column[present])
    chosen = [value for value in values.tolist() if is_value(holdout.value, value)]
    rows = np.flatnonzero(present)[np.isin(column[present], chosen)]
    if not len(rows):
        raise DataError(
            f"validation.holdout: no training row has {holdout.value!r} in column {name!r}. "
            f"It holds {_some(values)}."
        )
    if len(rows) == len(column):
        raise DataError(
            f"validation.holdout: all {len(column):,} training rows have {holdout.value!r} in column "
            f"{name!r}: at least one row must be left to train on."
        )
    if groups is not None:
        validates = np.zeros(len(column), bool)
        validates[rows] = True
        both = np.intersect1d(groups[validates], groups[~validates])
        if len(both):
            pair = [int(np.flatnonzero((groups == both[0]) & side)[0]) for side in (validates, ~validates)]
            raise DataError(
                f"validation.holdout would split a group: training rows {pair[0]} and {pair[1]} (from 0) are "
                f"in the same group, and only the first has {holdout.value!r} in column {name!r}."
            )
    return rows


def rows_in_order_of_time(series: schema.TimeSeries, column: FieldValues | None) -> Rows:
    """(N,) the rows, earliest first; rows of the same time keep their order.

    Raises:
        DataError: a time is missing, or a text is none of ISO 8601 (2026-11-24, 2026-11-24T17:52).
    """
    if column is None:
        raise ValueError("a time series by column needs the column")
    place = f"validation.time_series.column: column {printable(str(series.column))!r}"
    present = _present(column)
    if not present.all():
        row = int(np.flatnonzero(~present)[0])
        raise DataError(
            f"{place} has no value in training row {row} (from 0), and each row needs a time. "
            "Leave out such rows, or name another column."
        )
    if column.dtype != object or not any(isinstance(value, str) for value in column):
        return np.argsort(column, kind="stable")
    import pandas as pd

    times = pd.to_datetime(pd.Series(column, dtype=object), format="ISO8601", errors="coerce", utc=True)
    if times.isna().any():
        row = int(np.flatnonzero(times.isna())[0])
        raise DataError(
            f"{place} has {printable(str(column[row]))!r} in training row {row} (from 0), which is not a "
            "time in ISO format (2026-11-24, 2026-11-24T17:52). Write times in that format, or as numbers."
        )
    return np.argsort(times.to_numpy(), kind="stable")


def _present(column: FieldValues) -> npt.NDArray[np.bool_]:
    if column.dtype == object:
        return np.array([value is not None for value in column], bool)
    return ~np.isnan(column)


def _some(values: FieldValues) -> str:
    if not len(values):
        return "no value at all"
    first = values[:_LISTED].tolist()
    shown = [repr(printable(value)) if isinstance(value, str) else _number(value) for value in first]
    more = f" and {len(values) - _LISTED:,} others" if len(values) > _LISTED else ""
    return f"{', '.join(shown)}{more}"


def _number(value: float) -> str:
    return str(int(value)) if float(value).is_integer() else f"{value:g}"


def _group_parts(k: int, groups: Groups, random: np.random.RandomState | None) -> list[Rows]:
    """k parts of whole groups (`GroupKFold`): of as many rows as can be, or as many groups where shuffled."""
    names, place = _at_least(k, groups)
    if random is None:
        from sklearn.model_selection import GroupKFold

        return [rows for _, rows in GroupKFold(k).split(groups, groups=groups)]
    # What GroupKFold(shuffle=True) does, which scikit-learn has from 1.6 on.
    order = random.permutation(len(names))
    return [np.flatnonzero(np.isin(place, part)) for part in np.array_split(order, k)]


def _stratified_group_parts(
    k: int, classes: Labels, groups: Groups, random: np.random.RandomState | None
) -> list[Rows]:
    """k parts of whole groups, the classes' shares as equal as the groups allow (`StratifiedGroupKFold`)."""
    from sklearn.model_selection import StratifiedGroupKFold

    _at_least(k, groups)
    names, place = np.unique(groups, return_inverse=True)
    if random is not None:
        # Its own `shuffle` gives groups the classes of others before scikit-learn 1.8; since then this is it.
        order = np.arange(len(names))
        random.shuffle(order)
        place = np.argsort(order)[place]
    parts = [rows for _, rows in StratifiedGroupKFold(k).split(classes, classes, place)]
    empty = [fold for fold, rows in enumerate(parts) if not len(rows)]
    if empty:
        raise DataError(
            f"validation.kfold: stratified and by group, fold {empty[0]} of {k} would get no row, because "
            "some groups are very large. Lower k, or set stratify to false."
        )
    return parts


def _held_out_groups(fraction: float, groups: Groups, random: np.random.RandomState) -> Rows:
    """A share of the groups, drawn at random (`GroupShuffleSplit`)."""
    names, place = np.unique(groups, return_inverse=True)
    n_validation = math.ceil(fraction * len(names))
    if n_validation >= len(names):
        raise DataError(
            f"validation.holdout.fraction is {fraction}, which is {n_validation} of {len(names)} groups: "
            "at least one group must be left to train on."
        )
    return np.flatnonzero(np.isin(place, random.permutation(len(names))[:n_validation]))


def _stratified_held_out_groups(
    fraction: float, classes: Labels, groups: Groups, random: np.random.RandomState
) -> Rows:
    """One part of a stratified split by group; its share is the nearest of 1/2, 1/3, 1/4 ... or 2/3, 3/4 ...

    Nothing in scikit-learn holds out a stratified fraction of whole groups.
    """
    smaller = min(fraction, 1 - fraction)
    parts = max(2, round(1 / smaller))
    names = len(np.unique(groups))
    if names < parts:
        raise DataError(
            f"validation.holdout.fraction is {fraction}, for which {parts} groups are needed, and there are "
            f"{names}. Use a fraction closer to 0.5, or set stratify to false."
        )
    part = _stratified_group_parts(parts, classes, groups, random)[0]
    return part if smaller == fraction else np.setdiff1d(np.arange(len(groups)), part)


def _refuse_a_split_group(key: str, groups: Groups, cut: int) -> None:
    """Rows before and from `cut` on must not share a group.

    Raises:
        DataError: they do.
    """
    both = np.intersect1d(groups[:cut], groups[cut:])
    if len(both):
        row = int(np.flatnonzero(groups[cut:] == both[0])[0]) + cut
        raise DataError(
            f"validation.holdout.{key} would split a group: training rows {row} and "
            f"{int(np.flatnonzero(groups[:cut] == both[0])[-1])} (from 0) are in the same group, on both "
            "sides of the cut. Choose another place to cut, or draw groups at random with `fraction`."
        )


def _at_least(k: int, groups: Groups) -> tuple[Groups, npt.NDArray[np.intp]]:
    """The groups, and which of them each row is of."""
    names, place = np.unique(groups, return_inverse=True)
    if len(names) < k:
        found = "there is one group" if len(names) == 1 else f"there are {len(names)} groups"
        raise DataError(
            f"validation.kfold.k is {k}, but {found}: no group is split, so k must not be above their number."
        )
    return names, place
