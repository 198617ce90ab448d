"""Calibration and decision thresholds, fitted on rows that a network did not train on.

N rows, K outputs, C classes. Logits are what comes before a sigmoid (K = 1, C = 2) or a softmax (K = C).
Labels are numbers of classes from 0.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from nnrun.output_transforms.calibrator import Calibrator
from nnrun.spec import schema

Floats = npt.NDArray[np.float64]
Labels = npt.NDArray[np.int64]

_LOG_TEMPERATURE = (float(np.log(0.01)), float(np.log(100)))
_MOST_STEPS = 100


def _of_temperature(method: schema.Temperature) -> Calibrator:
    assert method.temperature is not None, "it is fitted"
    return Calibrator(1 / method.temperature)


def _of_platt(method: schema.Platt) -> Calibrator:
    assert method.slope is not None, "it is fitted"
    assert method.intercept is not None, "it is fitted"
    return Calibrator(method.slope, method.intercept)


def _of_isotonic(method: schema.Isotonic) -> Calibrator:
    return Calibrator(curve=(tuple(method.logits), tuple(method.probabilities)))


_CALIBRATORS: Mapping[type[schema.CalibrationMethod], Callable[[Any], Calibrator]] = {
    schema.Temperature: _of_temperature,
    schema.Platt: _of_platt,
    schema.Isotonic: _of_isotonic,
}


def calibrator_of(method: schema.CalibrationMethod | None) -> Calibrator | None:
    """The function that a method is; None where its parameters are not known, or there is no method."""
    return None if method is None or not method.is_fitted else _CALIBRATORS[type(method)](method)


def log_probabilities(logits_NK: Floats) -> Floats:
    """(N, C) logarithms of the probabilities of the classes; of a sigmoid those of 0 and 1."""
    if logits_NK.shape[1] == 1:
        return np.asarray(-np.logaddexp(0, np.hstack([logits_NK, -logits_NK])))
    return np.asarray(logits_NK - np.logaddexp.reduce(logits_NK, axis=1, keepdims=True))


def log_loss(logits_NK: Floats, labels_N: Labels) -> float:
    """Mean of -log(probability of the true class), of all rows alike."""
    return float(-log_probabilities(logits_NK)[np.arange(len(labels_N)), labels_N].mean())


def fit_temperature(logits_NK: Floats, labels_N: Labels) -> schema.Temperature:
    """The temperature of the least log loss, between 0.01 and 100.

    The log loss is convex in 1 / T, so the root of its derivative is the only minimum.
    """
    from scipy.optimize import brentq

    rows = np.arange(len(labels_N))
    z_NC = np.hstack([np.zeros_like(logits_NK), logits_NK]) if logits_NK.shape[1] == 1 else logits_NK

    def derivative(log_temperature: float) -> float:
        """Of the log loss by 1 / T: the mean logit that is expected, less the mean one of the true class."""
        likely_NC = np.exp(log_probabilities(z_NC * np.exp(-log_temperature)))
        return float(((likely_NC * z_NC).sum(1) - z_NC[rows, labels_N]).mean())

    coldest, hottest = _LOG_TEMPERATURE
    if derivative(coldest) <= 0:  # surer is always better: all rows are right
        found = coldest
    elif derivative(hottest) >= 0:  # the logits say nothing, or the opposite
        found = hottest
    else:
        found = float(brentq(derivative, coldest, hottest, xtol=1e-12))
    return schema.Temperature(temperature=float(np.exp(found)))


def fit_platt(logits_N1: Floats, labels_N: Labels) -> schema.Platt:
    """The line of the least log loss against Platt's targets, by Newton's method with halved steps."""
    z = np.stack([logits_N1[:, 0], np.ones(len(labels_N))], axis=1)
    ones = int(labels_N.sum())
    target = np.where(labels_N == 1, (ones + 1) / (ones + 2), 1 / (len(labels_N) - ones + 2))

    def loss(line: Floats) -> float:
        value = z @ line
        return float(np.logaddexp(0, value).sum() - target @ value)

    line = np.array([0.0, np.log((ones + 1) / (len(labels_N) - ones + 1))])
    best = loss(line)
    for _ in range(_MOST_STEPS):
        likely = np.exp(-np.logaddexp(0, -(z @ line)))
        gradient = z.T @ (likely - target)
        curvature = (z * (likely * (1 - likely))[:, None]).T @ z
        step = np.linalg.solve(curvature + 1e-12 * np.trace(curvature) * np.eye(2), gradient)
        size = 1.0
        while (tried := loss(line - size * step)) > best and size > 1e-10:
            size /= 2
        if not tried < best:
            break
        line, best = line - size * step, tried
    return schema.Platt(slope=float(line[0]), intercept=float(line[1]))


def fit_isotonic(logits_N1: Floats, labels_N: Labels) -> schema.Isotonic:
    """scikit-learn's curve; N rows cannot tell a probability below 1 / (N + 2) from 0."""
    from sklearn.isotonic import IsotonicRegression

    least = 1 / (len(labels_N) + 2)
    curve = IsotonicRegression(y_min=least, y_max=1 - least, out_of_bounds="clip")
    curve.fit(logits_N1[:, 0], labels_N.astype(np.float64))
    return schema.Isotonic(logits=curve.X_thresholds_.tolist(), probabilities=curve.y_thresholds_.tolist())


_FITS: Mapping[type[schema.CalibrationMethod], Callable[[Floats, Labels], schema.CalibrationMethod]] = {
    schema.Temperature: fit_temperature,
    schema.Platt: fit_platt,
    schema.Isotonic: fit_isotonic,
}


# --- thresholds ---


def _accuracy(tp: Floats, fp: Floats, fn: Floats, tn: Floats) -> Floats:
    return np.asarray((tp + tn) / (tp + fp + fn + tn))


def _balanced_accuracy(tp: Floats, fp: Floats, fn: Floats, tn: Floats) -> Floats:
    return np.asarray((tp / (tp + fn) + tn / (tn + fp)) / 2)


def _f1(tp: Floats, fp: Floats, fn: Floats, tn: Floats) -> Floats:
    return np.asarray(2 * tp / (2 * tp + fp + fn))


def _mcc(tp: Floats, fp: Floats, fn: Floats, tn: Floats) -> Floats:
    whole = (tp + fp) * (tp + fn) * (tn + fp) * (tn + fn)
    return np.asarray((tp * tn - fp * fn) / np.sqrt(np.where(whole == 0, 1, whole)))


_SCORES: Mapping[str, Callable[[Floats, Floats, Floats, Floats], Floats]] = {
    "accuracy": _accuracy,
    "balanced_accuracy": _balanced_accuracy,
    "f1": _f1,
    "mcc": _mcc,
}
"""What a threshold may maximize, from right and wrong yes, wrong and right no; both classes occur."""


def decision_score(metric: str, positive_N: npt.NDArray[np.bool_], labels_N: Labels) -> float:
    """What predictions of the second class score, as the metric of this name has it."""
    is_one = labels_N == 1
    cells = (positive_N & is_one, positive_N & ~is_one, ~positive_N & is_one, ~positive_N & ~is_one)
    return float(_SCORES[metric](*(np.asarray(cell.sum(), np.float64) for cell in cells)))


def best_threshold(metric: str, probabilities_N: Floats, labels_N: Labels) -> float:
    """The threshold above which predicting the second class scores best, in the middle between two rows.

    Of several that score alike it is 0.5 if that is one of them, else the one next to it.
    """
    values, place = np.unique(probabilities_N, return_inverse=True)
    ones = np.bincount(place, labels_N == 1, len(values))
    zeros = np.bincount(place, labels_N != 1, len(values))
    # Threshold i lies between values[i - 1] and values[i]: from i on all are predicted as the second class.
    tp, fp = (np.append(np.cumsum(n[::-1])[::-1], 0.0) for n in (ones, zeros))
    scores = _SCORES[metric](tp, fp, tp[0] - tp, fp[0] - fp)
    low, high = np.append(0.0, values), np.append(values, 1.0)
    middle = (low + high) / 2
    middle = np.where(middle < high, middle, low)  # between two neighbours among floats there is none
    middle = np.where((low <= schema.HALF) & (high > schema.HALF), schema.HALF, middle)
    usable = (middle > 0) & (middle < 1) & (low < high)
    best = usable & (scores >= scores[usable].max() - 1e-12)
    return float(middle[best][np.abs(middle[best] - schema.HALF).argmin()])


# --- both ---


@dataclass(frozen=True)
class Decision:
    """How an output's logits become probabilities and a class; what stays as it is, is None.

    Attributes:
        method: the calibration, its parameters known.
        threshold: above which probability the second of two classes is predicted.
    """

    method: schema.CalibrationMethod | None = None
    threshold: float | None = None

    def calibrated(self, logits_NK: Floats) -> Floats:
        """The logits after the calibration."""
        calibrator = calibrator_of(self.method)
        return logits_NK if calibrator is None else np.asarray(calibrator.logits(logits_NK), np.float64)


def fit_decision(
    logits_NK: Floats,
    labels_N: Labels,
    method: schema.CalibrationMethod | None,
    threshold: schema.Threshold | None,
) -> Decision | None:
    """What the spec leaves open, fitted; what it gives, as it is. None where all rows are of one class.

    The threshold is chosen on the probabilities as the calibration gives them.
    """
    if len(np.unique(labels_N)) < 2:
        return None
    if method is not None and not method.is_fitted:
        method = _FITS[type(method)](logits_NK, labels_N)
    at = None if threshold is None else threshold.at
    if threshold is not None and threshold.maximize is not None:
        likely = positive_probability(Decision(method).calibrated(logits_NK))
        at = best_threshold(threshold.maximize, likely, labels_N)
    return Decision(method, at)


def positive_probability(logits_N1: Floats) -> Floats:
    """(N,) the probability of the second of two classes."""
    return np.asarray(np.exp(log_probabilities(logits_N1)[:, 1]))


@dataclass(frozen=True, eq=False)
class CrossFitted:
    """Rows as they are decided by what other rows fitted.

    Attributes:
        logits: (N, K) calibrated.
        positive: (N,) whether the second class is predicted; empty without a threshold.
    """

    logits: Floats
    positive: npt.NDArray[np.bool_]


def cross_fit(
    logits_NK: Floats,
    labels_N: Labels,
    parts_N: Labels,
    method: schema.CalibrationMethod | None,
    threshold: schema.Threshold | None,
) -> CrossFitted | None:
    """Each part of the rows by what the other parts fit; None where some part's others are of one class.

    Args:
        logits_NK, labels_N: of the rows.
        parts_N: the number of each row's part, two parts or more.
        method, threshold: as the spec has them.
    """
    logits, positive = np.empty_like(logits_NK), np.zeros(len(labels_N), bool)
    if len(np.unique(parts_N)) < 2:
        return None
    for part in np.unique(parts_N):
        own = parts_N == part
        found = fit_decision(logits_NK[~own], labels_N[~own], method, threshold)
        if found is None:
            return None
        logits[own] = found.calibrated(logits_NK[own])
        if found.threshold is not None:
            positive[own] = positive_probability(logits[own]) > found.threshold
    return CrossFitted(logits, positive)
