"""Calibrations and thresholds: what scikit-learn and SciPy find by other ways, and that nothing leaks."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize, minimize_scalar
from sklearn.isotonic import IsotonicRegression
from sklearn.metrics import accuracy_score, balanced_accuracy_score, f1_score, matthews_corrcoef
from sklearn.metrics import log_loss as sklearn_log_loss

from nnrun.spec import schema
from nnrun.validation.calibration import (
    best_threshold,
    calibrator_of,
    cross_fit,
    decision_score,
    fit_decision,
    fit_isotonic,
    fit_platt,
    fit_temperature,
    log_loss,
    log_probabilities,
)

METRICS: dict[str, Callable[..., float]] = {
    "accuracy": accuracy_score,
    "balanced_accuracy": balanced_accuracy_score,
    "f1": f1_score,
    "mcc": matthews_corrcoef,
}


def two_classes(rows: int = 400, *, sure: float = 3.0, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Logits (N, 1), `sure` times as large as they should be, and labels that follow the right ones."""
    rng = np.random.RandomState(seed)
    right = rng.normal(-0.5, 1.5, (rows, 1))
    labels = (rng.uniform(size=rows) < 1 / (1 + np.exp(-right[:, 0]))).astype(np.int64)
    return sure * right, labels


def many_classes(rows: int = 600, *, sure: float = 2.5) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.RandomState(1)
    right = rng.normal(0, 1.5, (rows, 4))
    labels = (right + rng.gumbel(size=right.shape)).argmax(1)
    return sure * right, labels


def test_log_loss_is_that_of_scikit_learn() -> None:
    for logits, labels in (two_classes(), many_classes()):
        found = log_loss(logits, labels)
        assert found == pytest.approx(sklearn_log_loss(labels, np.exp(log_probabilities(logits))))


def test_logits_far_beyond_what_a_probability_can_hold_have_a_log_loss() -> None:
    assert log_loss(np.array([[800.0], [-800.0]]), np.array([0, 0])) == pytest.approx(400)


@pytest.mark.parametrize("data", [two_classes, many_classes])
def test_temperature_is_the_minimum_of_the_log_loss(data: Callable[..., tuple[np.ndarray, ...]]) -> None:
    logits, labels = data()
    found = fit_temperature(logits, labels).temperature
    by_search = minimize_scalar(
        lambda t: log_loss(logits / t, labels), bounds=(0.1, 10), method="bounded", options={"xatol": 1e-9}
    )
    assert found == pytest.approx(by_search.x, rel=1e-5)


def test_temperature_undoes_what_made_logits_too_large() -> None:
    assert fit_temperature(*two_classes(20_000, sure=3.0)).temperature == pytest.approx(3, rel=0.05)


def test_temperature_stays_in_its_limits_where_the_log_loss_has_no_minimum() -> None:
    logits, labels = np.array([[-1.0], [2.0]]), np.array([0, 1])
    assert fit_temperature(logits, labels).temperature == pytest.approx(0.01)
    assert fit_temperature(logits, 1 - labels).temperature == pytest.approx(100)


def test_platt_is_the_minimum_against_smoothed_targets() -> None:
    logits, labels = two_classes()
    ones = labels.sum()
    targets = np.where(labels == 1, (ones + 1) / (ones + 2), 1 / (len(labels) - ones + 2))

    def loss(line: np.ndarray) -> float:
        value = line[0] * logits[:, 0] + line[1]
        return float(np.logaddexp(0, value).sum() - targets @ value)

    found = fit_platt(logits, labels)
    by_search = minimize(loss, [0.0, 0.0], method="BFGS", options={"gtol": 1e-9}).x
    assert [found.slope, found.intercept] == pytest.approx(by_search.tolist(), rel=1e-5)


def test_platt_stays_finite_where_a_line_parts_the_classes() -> None:
    found = fit_platt(np.array([[-3.0], [-2.0], [2.0], [40.0]]), np.array([0, 0, 1, 1]))
    assert found.slope is not None
    assert 0 < found.slope < 10


def test_isotonic_is_scikit_learns_curve() -> None:
    logits, labels = two_classes()
    calibrator = calibrator_of(fit_isotonic(logits, labels))
    assert calibrator is not None
    least = 1 / (len(labels) + 2)
    theirs = IsotonicRegression(y_min=least, y_max=1 - least, out_of_bounds="clip")
    theirs.fit(logits[:, 0], labels)
    points = np.linspace(-20, 20, 999)[:, None]
    ours = np.exp(log_probabilities(calibrator.logits(points)))[:, 1]
    assert ours == pytest.approx(theirs.predict(points[:, 0]), abs=1e-12)


@settings(max_examples=60, deadline=None)
@given(st.sampled_from(sorted(METRICS)), st.integers(0, 10_000), st.integers(4, 40))
def test_no_other_threshold_scores_better(metric: str, seed: int, rows: int) -> None:
    rng = np.random.RandomState(seed)
    probabilities = rng.randint(0, 12, rows) / 11  # with ties, and with 0 and 1
    labels = rng.randint(0, 2, rows)
    labels[:2] = 0, 1
    found = best_threshold(metric, probabilities, labels)
    assert 0 < found < 1

    def score(threshold: float) -> float:
        return METRICS[metric](labels, (probabilities > threshold).astype(int))

    best = max(score(threshold) for threshold in [0.001, *(np.arange(11) + 0.5) / 11])
    assert score(found) == pytest.approx(best)
    assert decision_score(metric, probabilities > found, labels) == pytest.approx(best)


def test_a_threshold_of_one_half_stays_where_none_is_better() -> None:
    probabilities, labels = np.array([0.1, 0.4, 0.6, 0.9]), np.array([0, 0, 1, 1])
    assert best_threshold("accuracy", probabilities, labels) == 0.5
    assert best_threshold("accuracy", probabilities / 2, labels) == pytest.approx(0.25)


METHODS = [schema.Temperature(), schema.Platt(), schema.Isotonic()]


@pytest.mark.parametrize("method", METHODS, ids=lambda method: method.kind)
def test_what_is_cross_fitted_does_not_know_its_own_part(method: schema.CalibrationMethod) -> None:
    logits, labels = two_classes()
    parts, threshold = np.arange(len(labels)) % 4, schema.Threshold(maximize="f1")
    other = np.where(parts == 2, 1 - labels, labels)
    first, second = (cross_fit(logits, each, parts, method, threshold) for each in (labels, other))
    assert first is not None
    assert second is not None
    own = parts == 2
    assert np.array_equal(first.logits[own], second.logits[own])
    assert np.array_equal(first.positive[own], second.positive[own])
    assert not np.array_equal(first.logits[~own], second.logits[~own])


@pytest.mark.parametrize("method", METHODS, ids=lambda method: method.kind)
def test_cross_fitted_log_loss_falls_where_logits_are_too_large(method: schema.CalibrationMethod) -> None:
    logits, labels = two_classes(2000)
    crossed = cross_fit(logits, labels, np.arange(2000) % 5, method, None)
    assert crossed is not None
    right = log_loss(logits / 3, labels)  # with the temperature that made them
    after = log_loss(crossed.logits, labels)
    assert log_loss(logits, labels) > right + 0.2
    assert after < right + 0.02


def test_what_the_spec_gives_is_not_fitted() -> None:
    logits, labels = two_classes()
    method, threshold = schema.Temperature(temperature=7.0), schema.Threshold(at=0.125)
    found = fit_decision(logits, labels, method, threshold)
    assert found is not None
    assert (found.method, found.threshold) == (method, 0.125)


def test_rows_of_one_class_fit_nothing() -> None:
    logits, _ = two_classes(10)
    assert fit_decision(logits, np.zeros(10, np.int64), schema.Temperature(), None) is None
    labels, parts = np.array([0, 1, *[0] * 8]), np.array([0, 0, *[1] * 8])
    assert cross_fit(logits, labels, parts, schema.Temperature(), None) is None
