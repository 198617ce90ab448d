import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.model_selection import KFold, StratifiedKFold, train_test_split

from nnrun.errors import DataError
from nnrun.spec import schema
from nnrun.validation.splits import Fold, make_folds

seeds = st.integers(0, 2**63 - 1)


def labels_of(n_rows: int, n_classes: int = 2) -> np.ndarray:
    return np.arange(n_rows) % n_classes


@st.composite
def splits(draw: st.DrawFn) -> tuple[schema.Component, int]:
    """A validation and a number of rows that it can split (labels: two classes, in turn)."""
    n_rows = draw(st.integers(2, 200))
    stratify = draw(st.booleans())
    shuffle = draw(st.booleans())
    match draw(st.sampled_from(["first", "fraction", "kfold", "none"])):
        case "first":
            return schema.Holdout(first=draw(st.integers(1, n_rows - 1))), n_rows
        case "fraction":
            n_rows += 10  # room for two classes on both sides
            fraction = draw(st.floats(0.2, 0.8))
            return schema.Holdout(fraction=fraction, shuffle=shuffle or stratify, stratify=stratify), n_rows
        case "kfold":
            k = draw(st.integers(2, min(n_rows, 10)))
            n_rows *= 2
            repeats = draw(st.integers(1, 3))
            return schema.KFold(k=k, shuffle=shuffle, stratify=stratify, repeats=repeats), n_rows
        case _:
            return schema.NoValidation(), n_rows


@given(splits(), seeds)
def test_every_row_trains_or_validates(split: tuple[schema.Component, int], seed: int) -> None:
    validation, n_rows = split
    for fold in make_folds(validation, n_rows, labels_of(n_rows), seed):
        both = np.concatenate([fold.train_rows, fold.validation_rows])
        np.testing.assert_array_equal(np.sort(both), np.arange(n_rows))
        for rows in (fold.train_rows, fold.validation_rows):
            assert rows.dtype == np.int64
            assert (np.diff(rows) > 0).all()
        assert len(fold.train_rows) > 0


@given(splits(), seeds)
def test_every_row_is_validated_once_per_repeat(split: tuple[schema.Component, int], seed: int) -> None:
    validation, n_rows = split
    if not isinstance(validation, schema.KFold):
        return
    folds = make_folds(validation, n_rows, labels_of(n_rows), seed)
    assert [fold.index for fold in folds] == list(range(validation.k * validation.repeats))
    for repeat in range(validation.repeats):
        of_repeat = [fold for fold in folds if fold.repeat == repeat]
        assert [fold.fold for fold in of_repeat] == list(range(validation.k))
        validated = np.concatenate([fold.validation_rows for fold in of_repeat])
        np.testing.assert_array_equal(np.sort(validated), np.arange(n_rows))


def rows_of(folds: tuple[Fold, ...]) -> list[list[int]]:
    return [fold.validation_rows.tolist() for fold in folds]


@given(splits(), seeds)
def test_the_same_seed_gives_the_same_folds(split: tuple[schema.Component, int], seed: int) -> None:
    validation, n_rows = split
    first = make_folds(validation, n_rows, labels_of(n_rows), seed)
    np.random.random()  # the global generator has no part in it
    assert rows_of(first) == rows_of(make_folds(validation, n_rows, labels_of(n_rows), seed))


def test_splits_stay_as_they_are() -> None:
    """Changing these changes what every shuffled spec computes."""
    folds = make_folds(schema.KFold(k=3, shuffle=True), 9, None, seed=0)
    assert rows_of(folds) == [[1, 2, 6], [0, 7, 8], [3, 4, 5]]
    (fold,) = make_folds(schema.Holdout(fraction=0.3), 10, None, seed=0)
    assert fold.validation_rows.tolist() == [1, 2, 6]


def test_another_seed_and_another_repeat_shuffle_otherwise() -> None:
    validation = schema.KFold(k=2, shuffle=True, repeats=2)
    folds = make_folds(validation, 100, None, seed=0)
    assert rows_of(folds[:2]) != rows_of(folds[2:])
    assert rows_of(folds) != rows_of(make_folds(validation, 100, None, seed=1))


@given(st.integers(1, 50), st.integers(1, 50))
def test_holdout_first_is_the_book_s(first: int, rest: int) -> None:
    (fold,) = make_folds(schema.Holdout(first=first), first + rest, None, seed=0)
    np.testing.assert_array_equal(fold.validation_rows, np.arange(first))
    np.testing.assert_array_equal(fold.train_rows, np.arange(first, first + rest))


@given(st.integers(2, 500), st.floats(0.01, 0.99), seeds)
def test_a_fraction_is_rounded_as_train_test_split_does(n_rows: int, fraction: float, seed: int) -> None:
    validation = schema.Holdout(fraction=fraction)
    if math.ceil(fraction * n_rows) >= n_rows:
        with pytest.raises(DataError, match="at least one row must be left to train on"):
            make_folds(validation, n_rows, None, seed)
        return
    (fold,) = make_folds(validation, n_rows, None, seed)
    train, test = train_test_split(np.arange(n_rows), test_size=fraction)
    assert (len(fold.train_rows), len(fold.validation_rows)) == (len(train), len(test))


def test_an_unshuffled_fraction_is_the_last_rows() -> None:
    (fold,) = make_folds(schema.Holdout(fraction=0.25, shuffle=False), 10, None, seed=0)
    assert fold.validation_rows.tolist() == [7, 8, 9]


def test_a_plain_holdout_keeps_a_fifth() -> None:
    (fold,) = make_folds(schema.Holdout(), 100, None, seed=0)
    assert len(fold.validation_rows) == 20


@given(st.integers(2, 200), st.integers(2, 10))
def test_contiguous_folds_are_scikit_learn_s(n_rows: int, k: int) -> None:
    k = min(k, n_rows)
    folds = make_folds(schema.KFold(k=k), n_rows, None, seed=0)
    expected = [rows.tolist() for _, rows in KFold(k).split(np.zeros(n_rows))]
    assert rows_of(folds) == expected


def test_the_four_folds_of_boston() -> None:
    folds = make_folds(schema.KFold(k=4), 404, None, seed=0)
    assert [(fold.validation_rows[0], len(fold.validation_rows)) for fold in folds] == [
        (0, 101),
        (101, 101),
        (202, 101),
        (303, 101),
    ]


def test_stratified_folds_hold_each_class_alike() -> None:
    labels = np.repeat([0, 1, 2], [50, 30, 20])
    folds = make_folds(schema.KFold(k=5, stratify=True, shuffle=True), 100, labels, seed=0)
    for fold in folds:
        assert np.bincount(labels[fold.validation_rows]).tolist() == [10, 6, 4]
    contiguous = make_folds(schema.KFold(k=5, stratify=True), 100, labels, seed=0)
    assert rows_of(contiguous) == [rows.tolist() for _, rows in StratifiedKFold(5).split(labels, labels)]


@given(st.lists(st.integers(0, 3), min_size=8, max_size=120), st.integers(2, 5), st.booleans(), seeds)
def test_stratified_shares_are_right_to_a_row(classes: list[int], k: int, shuffle: bool, seed: int) -> None:
    labels = np.array(classes)
    counts = np.bincount(labels, minlength=4)
    k = min([k, *(int(count) for count in counts if count)])
    if k < 2:
        return
    for fold in make_folds(schema.KFold(k=k, shuffle=shuffle, stratify=True), len(labels), labels, seed):
        found = np.bincount(labels[fold.validation_rows], minlength=4)
        assert (np.abs(found - counts / k) < 1 + 1e-9).all()


def test_a_stratified_holdout_holds_each_class_alike() -> None:
    labels = np.repeat([0, 1], [80, 20])
    (fold,) = make_folds(schema.Holdout(fraction=0.25, stratify=True), 100, labels, seed=0)
    assert np.bincount(labels[fold.validation_rows]).tolist() == [20, 5]


def test_none_validates_nothing() -> None:
    (fold,) = make_folds(schema.NoValidation(), 5, None, seed=0)
    assert fold.train_rows.tolist() == [0, 1, 2, 3, 4]
    assert fold.validation_rows.tolist() == []


@pytest.mark.parametrize(
    ("validation", "labels", "message"),
    [
        (
            schema.Holdout(first=10),
            None,
            "validation.holdout.first is 10, but there are 10 training rows: "
            "at least one row must be left to train on.",
        ),
        (
            schema.Holdout(fraction=0.99),
            None,
            "validation.holdout.fraction is 0.99, which is 10 of 10 training rows: "
            "at least one row must be left to train on.",
        ),
        (
            schema.KFold(k=11),
            None,
            "validation.kfold.k is 11, but there are 10 training rows: "
            "k must not be above the number of rows.",
        ),
        (
            schema.KFold(k=4, stratify=True),
            np.repeat([0, 1], [7, 3]),
            "validation.kfold.stratify: class 1 has 3 rows, but each of the 4 folds must get one. "
            "Lower k, or set stratify to false.",
        ),
        (
            schema.Holdout(fraction=0.5, stratify=True),
            np.repeat([0, 1], [9, 1]),
            "validation.holdout.stratify: class 1 has 1 row, but training and validation each must get one. "
            "Set stratify to false.",
        ),
        (
            schema.Holdout(fraction=0.1, stratify=True),
            np.repeat([0, 1], [5, 5]),
            "validation.holdout.stratify: 9 rows to train on and 1 to validate on cannot each hold all 2 "
            "classes. Change the fraction, or set stratify to false.",
        ),
        (
            schema.KFold(k=2, stratify=True),
            np.linspace(0, 1, 10),
            "validation.kfold.stratify: the targets are measures, not classes. Set it to false.",
        ),
        (
            schema.KFold(k=2, stratify=True),
            None,
            "validation.kfold.stratify: only classes can be stratified, and these data have none. "
            "Set it to false.",
        ),
    ],
)
def test_what_the_data_do_not_allow(
    validation: schema.Component, labels: np.ndarray | None, message: str
) -> None:
    with pytest.raises(DataError) as caught:
        make_folds(validation, 10, labels, seed=0)
    assert str(caught.value) == message


def test_no_rows() -> None:
    with pytest.raises(DataError, match="There are no training rows to split"):
        make_folds(schema.NoValidation(), 0, None, seed=0)
