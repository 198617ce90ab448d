"""Which rows are the test set, where one file holds both: row positions only."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from nnrun.data.dataset import Array
from nnrun.errors import DataError
from nnrun.spec import schema
from nnrun.spec.random_streams import derive_seed
from nnrun.validation.frozen_random import frozen_random
from nnrun.validation.stratified import stratified_sample

Rows = npt.NDArray[np.int64]


def rows_of_fraction(
    test: schema.TestRows,
    n_rows: int,
    labels: Array | None,
    groups: npt.NDArray[np.int64] | None,
    name: str,
) -> Rows:
    """The rows that a `fraction` holds back, ascending; their number is that of scikit-learn's
    `train_test_split`.

    Rows of one group stay together: whole groups are drawn then (`GroupShuffleSplit`), and the fraction is
    one of groups.

    Args:
        test: with a fraction.
        n_rows: N.
        labels: (N,) the classes, or None where there are none.
        groups: (N,) the groups, or None.
        name: of the file, for messages.

    Raises:
        DataError: the rows cannot be split like that.
    """
    assert test.fraction is not None, "asked for a fraction only"
    random = frozen_random(derive_seed(test.seed, purpose="test rows"))
    n_test = math.ceil(test.fraction * n_rows)
    if n_test >= n_rows:
        raise DataError(
            f"{name}: test.fraction {test.fraction} of {n_rows:,} rows is {n_test:,} and leaves none to "
            f"train on."
        )
    if groups is not None and test.shuffle:
        return _whole_groups(test.fraction, groups, random, name)
    if test.stratify:
        return _stratified(test, n_test, labels, random, name)
    if test.shuffle:
        return np.sort(random.permutation(n_rows)[:n_test])
    rows = np.arange(n_rows - n_test, n_rows)
    if groups is not None and len(np.intersect1d(groups[:-n_test], groups[-n_test:])):
        raise DataError(
            f"{name}: the last {n_test:,} rows, the test set, share a group with the rows before them. Use "
            "shuffle: true, which draws whole groups, or another fraction."
        )
    return rows


def _whole_groups(
    fraction: float, groups: npt.NDArray[np.int64], random: np.random.RandomState, name: str
) -> Rows:
    different = np.unique(groups)
    n_test = math.ceil(fraction * len(different))
    if n_test >= len(different):
        raise DataError(
            f"{name}: test.fraction {fraction} of {len(different):,} groups is {n_test:,} and leaves none "
            f"to train on."
        )
    drawn = different[random.permutation(len(different))[:n_test]]
    return np.flatnonzero(np.isin(groups, drawn))


def _stratified(
    test: schema.TestRows, n_test: int, labels: Array | None, random: np.random.RandomState, name: str
) -> Rows:
    if labels is None or labels.ndim != 1 or labels.dtype.kind != "i":
        raise DataError(
            f"{name}: test.stratify needs classes, and the target has no classes. Set it to false."
        )
    classes, counts = np.unique(labels, return_counts=True)
    n_train = len(labels) - n_test
    if counts.min() < 2 or min(n_test, n_train) < len(classes):
        raise DataError(
            f"{name}: test.stratify: {n_train:,} rows to train on and {n_test:,} to test on cannot each "
            f"hold all {len(classes):,} classes; the rarest has {int(counts.min()):,}. Set it to false."
        )
    return stratified_sample(labels, n_test, random)
