"""Metrics of outputs as numbers, in the units of the targets."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

import numpy as np

from nnrun.lazy_torch import torch
from nnrun.spec import schema
from nnrun.training.losses import FUZZ
from nnrun.training.metric_types import Constant, Metric

if TYPE_CHECKING:
    from torch import Tensor


def squared_error(outputs: Tensor, targets: Tensor) -> Tensor:
    """(R, 1) the sum over rows of the mean squared error of a row."""
    return (outputs.double() - targets).square().mean(-1).sum(1, keepdim=True)


def _mae(spec: schema.MaeMetric, activation: str) -> Metric:
    return Metric(
        spec.kind,
        lambda outputs, targets: (outputs.double() - targets).abs().mean(-1).sum(1, keepdim=True),
        constant="median",
    )


def _mse(spec: schema.MseMetric, activation: str) -> Metric:
    return Metric(spec.kind, squared_error, constant="mean")


def _rmse(spec: schema.Rmse, activation: str) -> Metric:
    return Metric(
        spec.kind, squared_error, lambda sums, rows: float(np.sqrt(sums[0] / rows)), constant="mean"
    )


def _mape(spec: schema.MapeMetric, activation: str) -> Metric:
    def statistics(outputs: Tensor, targets: Tensor) -> Tensor:
        true = targets.double()
        share = (outputs.double() - true).abs() / true.abs().clamp(min=FUZZ)
        return 100 * share.mean(-1).sum(1, keepdim=True)

    return Metric(spec.kind, statistics, constant="mape")


def _msle(spec: schema.MsleMetric, activation: str) -> Metric:
    def statistics(outputs: Tensor, targets: Tensor) -> Tensor:
        logs = [torch.log1p(part.double().clamp(min=0)) for part in (outputs, targets)]
        return squared_error(*logs)

    return Metric(spec.kind, statistics, constant="msle")


def _of_columns(
    spec: schema.NumberMetric, of_column: Callable[[np.ndarray, np.ndarray], float], constant: Constant
) -> Metric:
    """The mean over the columns, each from the outputs and targets of all rows."""

    def from_rows(outputs: np.ndarray, targets: np.ndarray) -> float:
        columns = zip(outputs.T.astype(np.float64), targets.T.astype(np.float64), strict=True)
        return float(np.mean([of_column(*column) for column in columns]))

    return Metric(spec.kind, from_rows=from_rows, constant=constant)


def _median_ae(spec: schema.MedianAe, activation: str) -> Metric:
    return _of_columns(spec, lambda outputs, true: float(np.median(np.abs(outputs - true))), "search")


def _explained_variance(spec: schema.ExplainedVariance, activation: str) -> Metric:
    return _of_columns(
        spec, lambda outputs, true: _explained(_variance(true - outputs), _variance(true), len(true)), "mean"
    )


def _variance(values: np.ndarray) -> float:
    """0 where all values are the same, which rounding might hide."""
    return float(np.var(values - values[0]))


def _pearson(spec: schema.Pearson, activation: str) -> Metric:
    def of_column(outputs: np.ndarray, true: np.ndarray) -> float:
        a, b = (values - values[0] for values in (outputs, true))
        a, b = a - a.mean(), b - b.mean()
        size = np.linalg.norm(a) * np.linalg.norm(b)
        return float(a @ b / size) if size > 0 else math.nan

    return _of_columns(spec, of_column, "mean")


def _d2(spec: schema.D2, activation: str) -> Metric:
    q = spec.quantile

    def pinball(error: np.ndarray) -> float:
        return float(np.mean(np.maximum(q * error, (q - 1) * error)))

    def of_column(outputs: np.ndarray, true: np.ndarray) -> float:
        return _explained(pinball(true - outputs), pinball(true - np.quantile(true, q)), len(true))

    return _of_columns(spec, of_column, "median" if q == 0.5 else "search")


def _explained(error: float, spread: float, rows: int) -> float:
    """1 - error / spread; as scikit-learn has it 1 or 0 where all targets are the same. NaN of one row."""
    if rows < 2:
        return math.nan
    return 1 - error / spread if spread > 0 else float(error == 0)


def _r2(spec: schema.R2, activation: str) -> Metric:
    """From each column's squared error and its squared distance from its mean.

    The distances are taken from the batch's own mean, and that from its first target: a sum of squares minus
    the square of a sum would cancel for targets far from 0. Targets that are all the same have a spread of
    exactly 0.
    """

    def statistics(outputs: Tensor, targets: Tensor) -> Tensor:
        true = targets.double()
        first = true[:, :1]
        away = true - first
        mean = away.mean(1, keepdim=True)
        error, spread = (outputs - true).square().sum(1), (away - mean).square().sum(1)
        rows = torch.full_like(error, true.shape[1])
        return torch.cat([error, spread, first[:, 0], mean[:, 0], rows], dim=1)

    def join(a: np.ndarray, b: np.ndarray) -> np.ndarray:
        error_a, spread_a, first_a, mean_a, rows_a = np.split(a, 5)
        error_b, spread_b, first_b, mean_b, rows_b = np.split(b, 5)
        rows = rows_a + rows_b
        apart = first_b - first_a + mean_b - mean_a
        mean = mean_a + apart * rows_b / rows
        spread = spread_a + spread_b + apart**2 * rows_a * rows_b / rows
        return np.concatenate([error_a + error_b, spread, first_a, mean, rows])

    def value(found: np.ndarray, rows: int) -> float:
        if rows < 2:  # one row has no spread to explain, as scikit-learn says
            return float("nan")
        error, spread, *_ = np.split(found, 5)
        # Where all targets are the same, 1 for perfect outputs and 0 for others, as scikit-learn and Keras
        # have it.
        constant = spread == 0
        r2 = np.where(constant, np.where(error == 0, 1.0, 0.0), 1 - error / np.where(constant, 1.0, spread))
        return float(np.mean(r2))

    return Metric(spec.kind, statistics, value, join, constant="mean")


NUMBER_METRICS: Mapping[type[schema.Component], Callable[..., Metric]] = {
    schema.MaeMetric: _mae,
    schema.MseMetric: _mse,
    schema.Rmse: _rmse,
    schema.R2: _r2,
    schema.MapeMetric: _mape,
    schema.MsleMetric: _msle,
    schema.MedianAe: _median_ae,
    schema.ExplainedVariance: _explained_variance,
    schema.Pearson: _pearson,
    schema.D2: _d2,
}
