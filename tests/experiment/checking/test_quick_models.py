"""Quick models: out-of-fold predictions of whoever predicts best, and who that is."""

from __future__ import annotations

import numpy as np
import pytest

from nnrun.data.table import NumberColumn
from nnrun.experiment.checking.quick_models import best_numbers, best_probabilities, order_score


def rows() -> np.ndarray:
    return np.random.RandomState(0).normal(0, 1, (300, 4))


def test_of_a_line_between_classes_the_linear_model_is_asked() -> None:
    x = rows()
    found, by = best_probabilities(x, (x[:, 0] + x[:, 1] > 0).astype(int))
    assert by == "a linear model of scikit-learn"
    assert found.sum(axis=1) == pytest.approx(np.ones(300))


def test_of_classes_that_no_line_parts_the_trees_are_asked() -> None:
    x = rows()
    labels = (x[:, 0] * x[:, 1] > 0).astype(int)
    found, by = best_probabilities(x, labels)
    assert by == "100 extremely randomized trees of scikit-learn"
    assert (found.argmax(axis=1) == labels).mean() > 0.8


def test_of_numbers_likewise() -> None:
    x = rows()
    assert best_numbers(x, x @ np.array([1.0, 2.0, -1.0, 0.5]))[1] == "a linear model of scikit-learn"
    found, by = best_numbers(x, np.abs(x[:, 0]) * 3)
    assert by == "100 extremely randomized trees of scikit-learn"
    assert np.corrcoef(found, np.abs(x[:, 0]))[0, 1] > 0.9


@pytest.mark.parametrize("sign", [1, -1])
def test_the_order_of_a_column_tells_two_classes_apart_whichever_has_the_larger_numbers(sign: int) -> None:
    column = NumberColumn("x", sign * np.array([1.0, 2.0, 4.0, 3.0, 5.0, 6.0]))
    assert order_score(column, np.array([0, 0, 0, 1, 1, 1]), None) == pytest.approx(8 / 9)
    assert order_score(column, np.array([0, 0, 1, 1, 2, 2]), None) == 0.5


def test_the_order_of_a_column_tells_numbers_however_far_apart_they_are() -> None:
    prices = np.exp(2 * np.random.RandomState(0).normal(size=200))
    assert order_score(NumberColumn("x", np.round(1.19 * prices, 3)), None, prices) > 0.999
    assert order_score(NumberColumn("x", np.zeros(200)), None, prices) == 0
    unrelated = np.random.RandomState(1).normal(size=200)
    unrelated[0] = prices[0] = 1e9
    assert order_score(NumberColumn("x", unrelated), None, prices) < 0.1
