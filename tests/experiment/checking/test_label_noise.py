"""Which doubtful labels are called wrong: changed ones, and not those of classes that overlap."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from nnrun.experiment.checking.label_noise import doubts_of


def drawn(seed: int, rows: int = 600, slope: float = 6.0, classes: int = 2) -> tuple[Any, Any]:
    """True probabilities of classes, and labels drawn by them: what overlaps, and no label wrong."""
    random = np.random.RandomState(seed)
    scores = slope * random.normal(0, 1, (rows, classes))
    odds = np.exp(scores - scores.max(axis=1, keepdims=True))
    probabilities = odds / odds.sum(axis=1, keepdims=True)
    below = np.cumsum(probabilities, axis=1)
    return (random.uniform(size=(rows, 1)) > below).sum(axis=1).clip(0, classes - 1), probabilities


def changed(labels: Any, seed: int, share: float = 0.05) -> tuple[Any, Any]:
    """Labels of which a share is another one; and the rows of these."""
    random = np.random.RandomState(seed + 1000)
    rows = np.flatnonzero(random.uniform(size=len(labels)) < share)
    classes = labels.max() + 1
    other = labels.copy()
    other[rows] = (other[rows] + random.randint(1, classes, len(rows))) % classes
    return other, rows


@pytest.mark.parametrize("classes", [2, 4])
def test_changed_labels_are_clear_where_most_are_predicted(classes: int) -> None:
    named, right = 0, 0
    for seed in range(8):
        labels, probabilities = drawn(seed, classes=classes, slope=12.0)
        given, rows = changed(labels, seed)
        found = doubts_of(given, 0.95 * probabilities + 0.05 / classes)
        assert not found.why_not or not len(found.clear)
        assert set(found.clear) <= set(found.all)
        named, right = named + len(found.clear), right + len(set(found.clear) & set(rows))
    assert named > 80
    assert right / named > 0.8


@pytest.mark.parametrize("slope", [1.0, 3.0, 6.0, 12.0])
def test_right_labels_of_classes_that_overlap_are_not_called_wrong(slope: float) -> None:
    for seed in range(10):
        found = doubts_of(*drawn(seed, slope=slope))
        assert len(found.clear) == 0
        assert found.why_not or not len(found.all)


def test_labels_of_a_class_that_the_model_does_not_know_are_not_called_wrong() -> None:
    """One of twelve is rare, and nothing says which: its labels look like changed ones of the others."""
    random = np.random.RandomState(0)
    labels = (random.uniform(size=1200) < 1 / 12).astype(int)
    sure = np.clip(random.normal(0.92, 0.02, 1200), 0, 0.99)
    found = doubts_of(labels, np.stack([sure, 1 - sure], axis=1))
    assert len(found.all) > 20
    assert len(found.clear) == 0
    assert "hardly recognizes" in found.why_not


def test_where_many_labels_are_not_predicted_none_is_called_wrong() -> None:
    labels, probabilities = drawn(0, slope=8.0)
    given, _ = changed(labels, 0, share=0.2)
    found = doubts_of(given, probabilities)
    assert len(found.clear) == 0
    assert "of all labels are predicted out of fold" in found.why_not


def test_too_few_rows() -> None:
    found = doubts_of(np.array([0]), np.array([[0.1, 0.9]]))
    assert found.why_not == "the rows are too few"
