"""Ridge and logistic regression as scikit-learn defines them, by NumPy: its import takes longer than a fit.

`Ridge(alpha=1)` minimizes sum_n w_n (y_n - x_n·k - b)² + |k|² in closed form. `LogisticRegression(C=1)`
minimizes sum_n w_n loss_n + |k|² / 2 by L-BFGS. The intercept b is not penalized. Rows are dense, or SciPy's
CSR.

Shapes: N rows, F features, K outputs.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

MOST_ITERATIONS = 200
"""Of L-BFGS. scikit-learn's default is 100, which is too few for columns of different scales."""

_PENALTY = 1.0  # alpha of ridge, 1 / C of logistic regression
_REMEMBERED = 10  # pairs of steps and differences of gradients, as in SciPy
_WINDOW = 5  # iterations over which the loss must fall
_LEAST_FALL, _LEAST_FALL_OF_MANY = 1e-7, 1e-4  # of the loss over a window, relative; else it has converged
_MANY = 2000  # unknowns, such as rare words, whose last digits take long and change no score
_SUFFICIENT = 1e-4  # Armijo's constant
_SHORTEST = 1e-10  # step of a line search
_CURVATURE = 0.25  # the largest second derivative of the logistic loss

# Nanoseconds of one CPU core, measured: they decide what is too large, the same on every machine.
_DENSE, _SPARSE, _SPARSE_SEVERAL, _EXPONENTIAL, _VECTOR = 0.5, 1.6, 0.6, 15.0, 20.0
_USUAL_PASSES, _MANY_PASSES = 55, 100  # evaluations of loss and gradient until L-BFGS has converged


@dataclass(frozen=True, eq=False)
class LinearModel:
    """kernel (F, K) and bias (K,): a row's outputs are x @ kernel + bias, before any activation.

    `converged` is False where L-BFGS ended at its limit of iterations.
    """

    kernel: Floats
    bias: Floats
    converged: bool = True

    def outputs(self, x: Any) -> Floats:
        """(N, K) of rows (N, F)."""
        return np.asarray(x @ self.kernel + self.bias)


class TooSlow(Exception):
    """A fit that did not end within its time."""


def seconds_of_ridge(rows: int, features: int) -> float:
    """About how long a fit takes: it follows from the sizes alone."""
    small, large = sorted((rows, features))
    return (_DENSE * large * small**2 + small**3 / 3) / 1e9


def seconds_of_logistic(rows: int, features: int, values: int, outputs: int, *, sparse: bool) -> float:
    """The same; `values` are the numbers of all rows that are kept: of sparse ones those that are not 0."""
    of_sparse = _SPARSE if outputs == 1 else _SPARSE_SEVERAL
    products = 2 * outputs * values * (of_sparse if sparse else _DENSE)
    passes = _MANY_PASSES if sparse and outputs > 1 else _USUAL_PASSES  # rare words of rare classes
    return passes * (products + outputs * (rows * _EXPONENTIAL + features * _VECTOR)) / 1e9


def fit_ridge(x: Any, y_NK: Floats, weights: Floats | None) -> LinearModel:
    """Ridge regression.

    Args:
        x: (N, F) rows.
        y_NK: targets.
        weights: (N,) what each row counts; None where all count 1.
    """
    x = np.asarray(x.toarray() if hasattr(x, "toarray") else x, np.float64)
    w_N = np.ones(len(x)) if weights is None else weights
    mean_x, mean_y = (w_N @ x) / w_N.sum(), (w_N @ y_NK) / w_N.sum()
    root_N1 = np.sqrt(w_N)[:, None]
    x, y_NK = (x - mean_x) * root_N1, (y_NK - mean_y) * root_N1
    rows, features = x.shape
    if features <= rows:
        kernel = np.linalg.solve(x.T @ x + _PENALTY * np.eye(features), x.T @ y_NK)
    else:
        kernel = x.T @ np.linalg.solve(x @ x.T + _PENALTY * np.eye(rows), y_NK)
    return LinearModel(kernel, mean_y - mean_x @ kernel)


def fit_logistic(
    x: Any, y_NK: Floats, weights: Floats | None, *, softmax: bool, seconds: float = math.inf
) -> LinearModel:
    """Logistic regression: multinomial, or of each label by itself.

    Args:
        x: (N, F) rows.
        y_NK: 0 or 1, or shares.
        weights: (N,) what each row counts; None where all count 1.
        softmax: whether the K outputs are classes of which each row has one; else they are labels.
        seconds: how long it may take.

    Raises:
        TooSlow: it took longer.
    """
    (rows, features), outputs = x.shape, y_NK.shape[1]
    w_N1 = np.full((rows, 1), 1 / rows) if weights is None else (weights / weights.sum())[:, None]
    penalty = _PENALTY / (rows if weights is None else weights.sum())
    centre_F = np.zeros(features)
    if isinstance(x, np.ndarray):
        centre_F = w_N1[:, 0] @ x
        x = x - centre_F
        squares_F = w_N1[:, 0] @ (x * x)
    else:
        squares_F = (x * x).T @ w_N1[:, 0]
    # In units in which no column is steeper than another, whatever its scale, L-BFGS needs few iterations.
    unit_F1 = 1 / np.sqrt(_CURVATURE * squares_F + penalty)[:, None]
    unit_1 = 1 / math.sqrt(_CURVATURE)

    def parts(point: Floats) -> tuple[Floats, Floats]:
        matrix = point.reshape(features + 1, outputs)
        return matrix[:-1] * unit_F1, matrix[-1] * unit_1

    def loss_and_gradient(point: Floats) -> tuple[float, Floats]:
        kernel, bias = parts(point)
        z_NK = x @ kernel + bias
        losses, errors_NK = (_softmax_losses if softmax else _sigmoid_losses)(z_NK, y_NK)
        errors_NK *= w_N1
        slope_FK = (x.T @ errors_NK + penalty * kernel) * unit_F1
        value = float((losses * w_N1).sum()) + penalty / 2 * float((kernel * kernel).sum())
        return value, np.concatenate((slope_FK, errors_NK.sum(0)[None] * unit_1)).ravel()

    start = np.zeros((features + 1) * outputs)
    point, converged = minimize(loss_and_gradient, start, seconds)
    kernel, bias = parts(point)
    return LinearModel(kernel, bias - centre_F @ kernel, converged)


def _sigmoid_losses(z_NK: Floats, y_NK: Floats) -> tuple[Floats, Floats]:
    """The cross-entropy of each label, and its derivative by z."""
    small = np.exp(-np.abs(z_NK))
    losses = np.maximum(z_NK, 0) - z_NK * y_NK + np.log1p(small)
    return losses, np.where(z_NK >= 0, 1.0, small) / (1 + small) - y_NK


def _softmax_losses(z_NK: Floats, y_NK: Floats) -> tuple[Floats, Floats]:
    """The cross-entropy of each row, (N, 1), and its derivative by z."""
    z_NK = z_NK - z_NK.max(1, keepdims=True)
    powers = np.exp(z_NK)
    sums = powers.sum(1, keepdims=True)
    losses = np.log(sums) * y_NK.sum(1, keepdims=True) - (z_NK * y_NK).sum(1, keepdims=True)
    return losses, powers / sums * y_NK.sum(1, keepdims=True) - y_NK


def minimize(
    loss_and_gradient: Callable[[Floats], tuple[float, Floats]], start: Floats, seconds: float = math.inf
) -> tuple[Floats, bool]:
    """The lowest point of a convex function, by L-BFGS (Nocedal and Wright, algorithm 7.5).

    Returns the point, and whether the loss had stopped falling there.

    Raises:
        TooSlow: it took more seconds.
    """
    began = time.perf_counter()
    point, (loss, gradient) = start, loss_and_gradient(start)
    pairs: list[tuple[Floats, Floats, float]] = []
    losses, least_fall = [loss], _LEAST_FALL if len(start) <= _MANY else _LEAST_FALL_OF_MANY
    for _ in range(MOST_ITERATIONS):
        if time.perf_counter() - began > seconds:
            raise TooSlow
        direction = _downhill(gradient, pairs)
        slope, step = float(gradient @ direction), 1.0
        if slope >= 0:
            return point, True  # the gradient is 0
        while True:
            ahead = point + step * direction
            loss_ahead, gradient_ahead = loss_and_gradient(ahead)
            if loss_ahead <= loss + _SUFFICIENT * step * slope:
                break
            step /= 2
            if step < _SHORTEST:
                return point, True  # rounding hides what there is to gain
        moved, turned = ahead - point, gradient_ahead - gradient
        if (product := float(moved @ turned)) > 0:
            pairs = [*pairs, (moved, turned, product)][-_REMEMBERED:]
        point, loss, gradient = ahead, loss_ahead, gradient_ahead
        losses.append(loss)
        if len(losses) > _WINDOW and losses[-1 - _WINDOW] - loss <= least_fall * abs(loss):
            return point, True
    return point, False


def _downhill(gradient: Floats, pairs: list[tuple[Floats, Floats, float]]) -> Floats:
    """Minus the gradient, times what the last steps tell of the inverse Hessian."""
    direction, factors = -gradient, []
    for moved, turned, product in reversed(pairs):
        factor = float(moved @ direction) / product
        direction = direction - factor * turned
        factors.append(factor)
    if pairs:
        _, turned, product = pairs[-1]
        direction *= product / float(turned @ turned)
    for (moved, turned, product), factor in zip(pairs, reversed(factors), strict=True):
        direction = direction + (factor - float(turned @ direction) / product) * moved
    return direction
