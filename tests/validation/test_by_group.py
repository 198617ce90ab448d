"""Rows of one group are never split, whatever draws the folds."""

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from sklearn.model_selection import GroupKFold, GroupShuffleSplit, StratifiedGroupKFold

from nnrun.errors import DataError
from nnrun.spec import schema
from nnrun.validation.splits import Fold, make_folds

seeds = st.integers(0, 2**63 - 1)


@st.composite
def grouped(draw: st.DrawFn) -> tuple[np.ndarray, int]:
    """The groups of some rows, in any order, and how many folds they can make."""
    sizes = draw(st.lists(st.integers(1, 9), min_size=2, max_size=12))
    groups = np.repeat(np.arange(len(sizes)) * 7, sizes)
    return np.random.default_rng(draw(seeds)).permutation(groups), draw(st.integers(2, len(sizes)))


def assert_no_group_is_split(folds: tuple[Fold, ...], groups: np.ndarray) -> None:
    for fold in folds:
        assert not set(groups[fold.train_rows]) & set(groups[fold.validation_rows])
        both = np.concatenate([fold.train_rows, fold.validation_rows])
        np.testing.assert_array_equal(np.sort(both), np.arange(len(groups)))
        assert len(fold.train_rows)
        assert len(fold.validation_rows)


@given(grouped(), st.booleans(), st.integers(1, 3), seeds)
def test_folds_of_whole_groups(case: tuple[np.ndarray, int], shuffle: bool, repeats: int, seed: int) -> None:
    groups, k = case
    validation = schema.KFold(k=k, shuffle=shuffle, repeats=repeats)
    folds = make_folds(validation, len(groups), None, seed, groups=groups)
    assert_no_group_is_split(folds, groups)
    assert len(folds) == k * repeats
    for repeat in range(repeats):
        validated = np.concatenate([fold.validation_rows for fold in folds[repeat * k : (repeat + 1) * k]])
        np.testing.assert_array_equal(np.sort(validated), np.arange(len(groups)))


@given(grouped(), st.floats(0.05, 0.95), seeds)
def test_a_held_out_fraction_is_of_whole_groups(
    case: tuple[np.ndarray, int], fraction: float, seed: int
) -> None:
    groups, _ = case
    n_groups = len(np.unique(groups))
    assume(np.ceil(fraction * n_groups) < n_groups and np.ceil(fraction * len(groups)) < len(groups))
    folds = make_folds(schema.Holdout(fraction=fraction), len(groups), None, seed, groups=groups)
    assert_no_group_is_split(folds, groups)
    _, validation = next(GroupShuffleSplit(1, test_size=fraction).split(groups, groups=groups))
    held_out = len(np.unique(groups[folds[0].validation_rows]))
    assert held_out == len(np.unique(groups[validation]))


def test_folds_as_they_come_are_scikit_learn_s() -> None:
    groups = np.repeat([3, 1, 2, 0], [5, 4, 2, 1])
    folds = make_folds(schema.KFold(k=2), 12, None, 0, groups=groups)
    expected = [rows.tolist() for _, rows in GroupKFold(2).split(groups, groups=groups)]
    assert [fold.validation_rows.tolist() for fold in folds] == expected
    assert [len(fold.validation_rows) for fold in folds] == [6, 6]


def test_stratified_folds_of_groups() -> None:
    rng = np.random.default_rng(0)
    groups = np.repeat(np.arange(20), 5)
    labels = np.repeat(rng.permutation([0] * 15 + [1] * 5), 5)
    folds = make_folds(schema.KFold(k=5, stratify=True), 100, labels, 0, groups=groups)
    assert_no_group_is_split(folds, groups)
    assert [int(labels[fold.validation_rows].sum()) for fold in folds] == [5] * 5
    expected = [rows.tolist() for _, rows in StratifiedGroupKFold(5).split(labels, labels, groups)]
    assert [fold.validation_rows.tolist() for fold in folds] == expected
    shuffled = make_folds(schema.KFold(k=5, stratify=True, shuffle=True), 100, labels, 0, groups=groups)
    assert_no_group_is_split(shuffled, groups)
    assert [int(labels[fold.validation_rows].sum()) for fold in shuffled] == [5] * 5


@pytest.mark.parametrize(("fraction", "rows"), [(0.2, 20), (0.5, 50), (0.8, 80)])
def test_a_stratified_fraction_of_groups(fraction: float, rows: int) -> None:
    groups = np.repeat(np.arange(20), 5)
    labels = np.repeat([0, 0, 0, 1] * 5, 5)
    validation = schema.Holdout(fraction=fraction, stratify=True)
    folds = make_folds(validation, 100, labels, 3, groups=groups)
    assert_no_group_is_split(folds, groups)
    assert len(folds[0].validation_rows) == rows
    assert labels[folds[0].validation_rows].mean() == pytest.approx(0.25, abs=0.06)


def test_the_seed_draws_the_groups() -> None:
    groups = np.repeat(np.arange(30), 2)
    for validation in (schema.KFold(k=3, shuffle=True), schema.Holdout(fraction=0.3)):
        first, again, other = (make_folds(validation, 60, None, seed, groups=groups)[0] for seed in (0, 0, 1))
        assert first.validation_rows.tolist() == again.validation_rows.tolist()
        assert first.validation_rows.tolist() != other.validation_rows.tolist()


def test_a_cut_between_groups_is_allowed() -> None:
    groups = np.array([0, 0, 0, 1, 1, 2])
    (fold,) = make_folds(schema.Holdout(first=3), 6, None, 0, groups=groups)
    assert fold.validation_rows.tolist() == [0, 1, 2]
    (fold,) = make_folds(schema.Holdout(fraction=0.1, shuffle=False), 6, None, 0, groups=groups)
    assert fold.validation_rows.tolist() == [5]


@pytest.mark.parametrize(
    ("validation", "message"),
    [
        (
            schema.KFold(k=4),
            "validation.kfold.k is 4, but there are 3 groups: no group is split, so k must not be above "
            "their number.",
        ),
        (
            schema.Holdout(fraction=0.8),
            "validation.holdout.fraction is 0.8, which is 3 of 3 groups: at least one group must be left to "
            "train on.",
        ),
        (
            schema.Holdout(first=2),
            "validation.holdout.first would split a group: training rows 2 and 1 (from 0) are in the same "
            "group, on both sides of the cut. Choose another place to cut, or draw groups at random with "
            "`fraction`.",
        ),
        (
            schema.Holdout(fraction=0.3, shuffle=False),
            "validation.holdout.fraction would split a group: training rows 4 and 3 (from 0) are in the same "
            "group, on both sides of the cut. Choose another place to cut, or draw groups at random with "
            "`fraction`.",
        ),
        (
            schema.Holdout(fraction=0.1, stratify=True),
            "validation.holdout.fraction is 0.1, for which 10 groups are needed, and there are 3. Use a "
            "fraction closer to 0.5, or set stratify to false.",
        ),
    ],
)
def test_what_the_groups_do_not_allow(validation: schema.Component, message: str) -> None:
    groups = np.array([0, 0, 0, 1, 1, 2])
    with pytest.raises(DataError) as caught:
        make_folds(validation, 6, np.array([0, 0, 0, 1, 1, 1]), 0, groups=groups)
    assert str(caught.value) == message


def test_a_stratified_fold_without_rows_is_refused() -> None:
    """StratifiedGroupKFold can leave a fold empty: here the smallest groups balance each other best."""
    groups = np.repeat([0, 1, 2, 3, 4], [2, 7, 1, 4, 5])
    labels = np.repeat([0, 1, 1, 1, 0], [2, 7, 1, 4, 5])
    with pytest.raises(DataError) as caught:
        make_folds(schema.KFold(k=5, stratify=True), 19, labels, 0, groups=groups)
    assert str(caught.value) == (
        "validation.kfold: stratified and by group, fold 3 of 5 would get no row, because some groups are "
        "very large. Lower k, or set stratify to false."
    )
