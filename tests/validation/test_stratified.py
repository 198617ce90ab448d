"""Stratified rows, compared with scikit-learn's."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from sklearn.model_selection import StratifiedKFold, StratifiedShuffleSplit

from nnrun.validation.stratified import stratified_parts, stratified_sample

seeds = st.integers(0, 2**32 - 1)


@st.composite
def labelled(draw: st.DrawFn) -> np.ndarray:
    """Classes of any numbers and sizes, two rows each at least, in any order."""
    names = draw(st.lists(st.integers(-5, 1000), min_size=1, max_size=8, unique=True))
    sizes = [draw(st.integers(2, 40)) for _ in names]
    labels = np.repeat(np.array(names, np.int64), sizes)
    return np.random.RandomState(draw(seeds)).permutation(labels)


@given(labelled(), st.integers(2, 6), st.booleans(), seeds)
def test_parts_are_those_of_scikit_learn(labels: np.ndarray, k: int, shuffle: bool, seed: int) -> None:
    k = min(k, int(np.unique(labels, return_counts=True)[1].min()))
    random, again = (np.random.RandomState(seed) if shuffle else None for _ in range(2))
    splitter = StratifiedKFold(k, shuffle=shuffle, random_state=again)
    expected = [rows.tolist() for _, rows in splitter.split(labels, labels)]
    assert [rows.tolist() for rows in stratified_parts(k, labels, random)] == expected
    if random is not None and again is not None:  # what is drawn next is the same as well
        assert random.randint(2**31) == again.randint(2**31)


@given(labelled(), st.floats(0, 1), seeds)
def test_a_sample_is_that_of_scikit_learn(labels: np.ndarray, share: float, seed: int) -> None:
    classes = len(np.unique(labels))
    size = classes + round(share * (len(labels) - 2 * classes))  # one row of each class on both sides
    splitter = StratifiedShuffleSplit(1, test_size=size, train_size=len(labels) - size, random_state=seed)
    expected = np.sort(next(splitter.split(labels, labels))[1])
    found = stratified_sample(labels, size, np.random.RandomState(seed))
    assert found.tolist() == expected.tolist()
