"""Sequences of classes: filled up, decoded, compared."""

from __future__ import annotations

from itertools import groupby

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from nnrun.sequences import edit_distances, greedily_decoded, lists_of, padded, steps_needed

sequences = st.lists(st.lists(st.integers(1, 4), max_size=5), min_size=1, max_size=5)


@given(sequences)
def test_lists_are_filled_up_and_come_back(lists: list[list[int]]) -> None:
    rows = padded(lists)
    assert rows.shape == (len(lists), max(1, max(map(len, lists))))
    assert rows.dtype == np.int64
    assert lists_of(rows) == lists


@given(st.lists(st.lists(st.integers(0, 3), min_size=7, max_size=7), min_size=1, max_size=4))
def test_repetitions_are_read_once_unless_a_blank_is_between_them(best: list[list[int]]) -> None:
    outputs = np.eye(4)[np.array(best)]
    expected = [[c for c, _ in groupby(row) if c] for row in best]
    assert lists_of(greedily_decoded(outputs)) == expected


def distance(some: list[int], others: list[int]) -> int:
    """Levenshtein's, as it is defined."""
    if not some or not others:
        return len(some) + len(others)
    replaced = distance(some[1:], others[1:]) + (some[0] != others[0])
    return min(replaced, distance(some[1:], others) + 1, distance(some, others[1:]) + 1)


@given(sequences, sequences)
def test_distances_are_levenshtein_s(some: list[list[int]], others: list[list[int]]) -> None:
    some, others = some[: len(others)], others[: len(some)]
    found = edit_distances(padded(some), padded(others))
    assert found.tolist() == [distance(a, b) for a, b in zip(some, others, strict=True)]


def test_equal_classes_need_a_blank_between_them() -> None:
    assert steps_needed(padded([[1], [1, 2], [1, 1], [2, 2, 2], [1, 1, 2, 2]])).tolist() == [1, 2, 3, 5, 6]
