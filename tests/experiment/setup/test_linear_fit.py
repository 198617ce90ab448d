"""Linear models beside scikit-learn's, which defines them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scipy.sparse import csr_array
from sklearn.linear_model import LogisticRegression, Ridge

from nnrun.experiment.setup import linear_fit
from nnrun.experiment.setup.linear_fit import TooSlow, fit_logistic, fit_ridge, minimize


def rows(n: int = 120, features: int = 5, *, scales: float = 1.0) -> np.ndarray:
    """Columns of which each is so many times larger than the one before, with means that are not 0."""
    x = np.random.RandomState(0).normal(1, 1, (n, features))
    return np.asarray(x * scales ** np.arange(features))


def classes(x: np.ndarray, number: int) -> np.ndarray:
    rng = np.random.RandomState(1)
    z = (x - x.mean(0)) / x.std(0) @ rng.normal(0, 1, (x.shape[1], number))
    return np.asarray((z + rng.gumbel(size=z.shape)).argmax(1))


WEIGHTS = [None, np.random.RandomState(2).uniform(0.1, 3, 120)]


@pytest.mark.parametrize("weights", WEIGHTS)
@pytest.mark.parametrize("features", [5, 200])  # fewer than rows, and more
@pytest.mark.parametrize("sparse", [False, True])
def test_ridge_is_scikit_learn_s(weights: Any, features: int, sparse: bool) -> None:
    x = rows(features=features)
    y = np.random.RandomState(3).normal(5, 2, (len(x), 2)) + x[:, :1]
    model = fit_ridge(csr_array(x) if sparse else x, y, weights)
    expected = Ridge(alpha=1).fit(x, y, weights)
    np.testing.assert_allclose(model.outputs(x), expected.predict(x), rtol=0, atol=1e-8)


@pytest.mark.parametrize("weights", WEIGHTS)
@pytest.mark.parametrize("number", [2, 4])
@pytest.mark.parametrize("scales", [1.0, 10.0])  # the columns reach from 1 to 10,000
@pytest.mark.parametrize("sparse", [False, True])
def test_logistic_regression_is_scikit_learn_s(
    weights: Any, number: int, scales: float, sparse: bool
) -> None:
    x = rows(scales=scales)
    if sparse:
        x = x * (np.random.RandomState(4).uniform(size=x.shape) < 0.3)
    labels = classes(x, number)
    y = np.eye(number)[labels] if number > 2 else labels[:, None].astype(float)
    model = fit_logistic(csr_array(x) if sparse else x, y, weights, softmax=number > 2)
    expected = LogisticRegression(solver="newton-cg", tol=1e-10, max_iter=5000).fit(x, labels, weights)
    z = model.outputs(x)
    if number > 2:
        found = np.exp(z - z.max(1, keepdims=True))
        found /= found.sum(1, keepdims=True)
    else:
        found = np.c_[1 / (1 + np.exp(z)), 1 / (1 + np.exp(-z))]
    assert model.converged
    np.testing.assert_allclose(found, expected.predict_proba(x), rtol=0, atol=1e-3)
    right = np.arange(len(x)), labels
    losses = [-np.average(np.log(p[right]), weights=weights) for p in (found, expected.predict_proba(x))]
    assert losses[0] == pytest.approx(losses[1], abs=1e-4)


def test_each_label_by_itself() -> None:
    x = rows()
    y = np.stack([classes(x, 2), classes(x[:, ::-1], 2)], 1).astype(float)
    both = fit_logistic(x, y, None, softmax=False).outputs(x)
    for label in range(2):
        alone = LogisticRegression(tol=1e-8, max_iter=5000).fit(x, y[:, label]).decision_function(x)
        np.testing.assert_allclose(both[:, label], alone, rtol=0, atol=5e-3)


def test_rows_of_one_class_have_its_answer() -> None:
    x = rows()
    model = fit_logistic(x, np.ones((len(x), 1)), None, softmax=False)
    assert (model.outputs(x) > 5).all()


def test_a_fit_that_takes_too_long_is_given_up() -> None:
    x = rows()
    with pytest.raises(TooSlow):
        fit_logistic(x, classes(x, 2)[:, None].astype(float), None, softmax=False, seconds=-1)


def test_the_limit_of_iterations(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(linear_fit, "MOST_ITERATIONS", 2)
    x = rows()
    assert not fit_logistic(x, classes(x, 2)[:, None].astype(float), None, softmax=False).converged


def test_the_lowest_point_of_a_narrow_valley() -> None:
    steep = np.array([1.0, 1e4])

    def bowl(point: np.ndarray) -> tuple[float, np.ndarray]:
        away = point - 3
        return float(steep @ away**2) + 1, 2 * steep * away

    point, converged = minimize(bowl, np.zeros(2))
    assert converged
    np.testing.assert_allclose(point, 3, atol=1e-2)
