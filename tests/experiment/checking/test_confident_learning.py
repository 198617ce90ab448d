"""Confident learning: the same rows as cleanlab's, in the same order."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from nnrun.experiment.checking.confident_learning import likely_wrong


def labels_and_probabilities(seed: int, classes: int, rows: int, sharpness: float) -> tuple[Any, Any]:
    random = np.random.RandomState(seed)
    truth = random.randint(0, classes, rows)
    labels = truth.copy()
    wrong = random.uniform(size=rows) < 0.2
    labels[wrong] = random.randint(0, classes, wrong.sum())
    scores = random.normal(0, 1, (rows, classes))
    scores[np.arange(rows), truth] += sharpness
    odds = np.exp(scores)
    return labels, odds / odds.sum(axis=1, keepdims=True)


# What find_label_issues(labels, probabilities, filter_by="confident_learning",
# return_indices_ranked_by="self_confidence") of cleanlab 2.9.0
CLEANLAB_SAYS: list[tuple[tuple[int, int, int, float], list[int]]] = [
    ((0, 2, 60, 2.0), [30, 47, 34, 13, 37, 45, 39, 10, 17]),
    ((1, 3, 60, 1.5), [12, 30, 41, 7, 9, 8, 53, 58, 40, 10, 48]),
    (
        (2, 5, 80, 1.0),
        [
            *[51, 22, 2, 19, 32, 66, 38, 45, 47, 37, 73, 44, 54, 57, 1, 36],
            *[75, 58, 11, 39, 41, 30, 25, 52, 53, 76, 70, 24, 14, 40, 7],
        ],
    ),
    ((3, 2, 40, 0.0), [22, 21, 9, 29, 14, 3, 36, 17, 1, 11, 33, 34, 6, 38, 25, 2, 7]),
]


@pytest.mark.parametrize(("case", "found"), CLEANLAB_SAYS)
def test_the_rows_are_those_of_cleanlab(case: tuple[int, int, int, float], found: list[int]) -> None:
    assert likely_wrong(*labels_and_probabilities(*case)).tolist() == found


def test_a_class_without_rows_is_never_suggested_by_its_mean() -> None:
    labels, probabilities = labels_and_probabilities(4, 4, 60, 2.0)
    labels[labels == 3] = 0
    found = likely_wrong(labels, probabilities).tolist()
    assert found == [51, 25, 50, 13, 23, 37, 17, 31, 7]  # cleanlab 2.9.0


def test_no_label_is_doubted_where_each_is_the_most_probable() -> None:
    labels = np.array([0, 1, 0, 1])
    probabilities = np.array([[0.9, 0.1], [0.4, 0.6], [0.5, 0.5], [0.1, 0.9]])
    assert likely_wrong(labels, probabilities).tolist() == []
