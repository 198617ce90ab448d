"""What a history says: the mean over networks, the best epoch, smoother curves, a sentence on overfitting."""

from __future__ import annotations

import math
from typing import Literal

import numpy as np
import numpy.typing as npt
import pandas as pd

Mode = Literal["min", "max"]
Values = npt.NDArray[np.float64]

_HIGHER_IS_BETTER = frozenset({"accuracy", "top_k", "precision", "recall", "auc", "r2"})

FLAT = 0.01
"""A curve that moves by less than this share of its value is called flat."""

NEAR = 0.1
"""A best epoch among this share of the epochs at the end says nothing yet about what follows it."""


MORE_EPOCHS = "more epochs may help."


def history_mean(history: pd.DataFrame) -> pd.DataFrame:
    """Mean and standard deviation over folds or seeds: `epoch`, then `<column>_mean` and `<column>_std`.

    An epoch counts those that reached it (early stopping may end some before others). The standard
    deviation is the sample's (ddof 1): they are a sample of all splits or seeds. One alone has none (NaN).
    A NaN in any makes the mean NaN, so that one that diverged is not hidden by the others.
    """
    epochs, position = np.unique(history["epoch"].to_numpy(), return_inverse=True)
    networks = np.bincount(position, minlength=len(epochs)).astype(float)
    table: dict[str, npt.NDArray[np.generic]] = {"epoch": epochs}
    for name in history.columns:
        if name in ("fold", "seed", "epoch"):
            continue
        values = history[name].to_numpy(dtype=float)
        mean = np.bincount(position, values, minlength=len(epochs)) / networks
        with np.errstate(invalid="ignore", over="ignore"):  # the numbers of a network that diverged
            squares = np.bincount(position, (values - mean[position]) ** 2, minlength=len(epochs))
        table[f"{name}_mean"] = mean
        table[f"{name}_std"] = np.sqrt(squares / np.where(networks > 1, networks - 1, np.nan))
    return pd.DataFrame(table)


def interval_of_mean(mean: float, std: float, n: int, level: float = 0.95) -> tuple[float, float]:
    """Where the mean of the population lies with this confidence: Student's t over n folds or seeds.

    Folds share training rows, so that for them it is somewhat too narrow (Bengio & Grandvalet 2004).
    """
    from scipy.special import stdtrit

    half = float(stdtrit(n - 1, (1 + level) / 2)) * std / math.sqrt(n)
    return mean - half, mean + half


def monitor_mode(column: str) -> Mode:
    """Whether the best value of a column is its lowest (`min`: losses and errors) or its highest (`max`)."""
    measure = column.removesuffix("_mean").removeprefix("val_")
    return "max" if measure in _HIGHER_IS_BETTER else "min"


def best_epoch(values: pd.Series[float] | Values, mode: Mode) -> int | None:
    """The epoch (from 1) of the best value, the first of equals; None where no value is finite."""
    losses = _as_losses(values, mode)
    finite = np.isfinite(losses)
    if not finite.any():
        return None
    return int(np.argmin(np.where(finite, losses, np.inf))) + 1


def smooth(values: pd.Series[float] | Values, factor: float) -> Values:
    """Exponential moving average: each point is `factor` of the one before and `1 - factor` of itself.

    The first point stays as it is (book, listing 3.32). A NaN stays a NaN and leaves the others alone.
    """
    points = np.array(values, dtype=float)
    previous = np.nan
    for i, point in enumerate(points):
        if np.isnan(point):
            continue
        previous = point if np.isnan(previous) else previous * factor + point * (1 - factor)
        points[i] = previous
    return points


def overfitting_sentence(history: pd.DataFrame, column: str, best_epoch: int | None) -> str:
    """One plain sentence on how a validation curve went, for the last line of a summary.

    Args:
        history: of one network, or the mean over folds or seeds (`<column>_mean`).
        column: the validated column that chose the best epoch, such as `val_loss`.
        best_epoch: the best epoch by that column, from 1; None where no value was finite.
    """
    validation = _losses(history, column)
    training = _losses(history, "loss")
    if best_epoch is None:
        return f"{column} was never a finite number."
    last = len(validation)
    if last == 1:
        return f"One epoch says nothing yet about how {column} moves."
    if not (training[1:] < training[0] - FLAT * abs(training[0])).any():
        return "The training loss did not fall: another learning rate may help."
    if best_epoch >= last:
        better = "rising" if monitor_mode(column) == "max" else "falling"
        return f"{column} was still {better} at epoch {last}, the last: {MORE_EPOCHS}"
    if best_epoch > last - last * NEAR:
        return f"{column} was best at epoch {best_epoch}, near the last: {MORE_EPOCHS}"
    if _end(validation[best_epoch:]) - validation[best_epoch - 1] <= FLAT * abs(validation[best_epoch - 1]):
        return f"{column} was best at epoch {best_epoch} and has been flat since: more epochs gain nothing."
    if _end(training[best_epoch:]) < training[best_epoch - 1]:
        return (
            f"{column} was best at epoch {best_epoch}; "
            "after that, training went on fitting the training set only (overfitting)."
        )
    return f"{column} was best at epoch {best_epoch}; after that, the training loss became worse as well."


def _losses(history: pd.DataFrame, column: str) -> Values:
    """A column (or its mean over the folds) turned so that lower is better."""
    name = column if column in history.columns else f"{column}_mean"
    return _as_losses(history[name], monitor_mode(column))


def _as_losses(values: pd.Series[float] | Values, mode: Mode) -> Values:
    array = np.asarray(values, dtype=float)
    return -array if mode == "max" else array


def _end(values: Values) -> float:
    """Where a noisy curve ends: the mean of its last tenth."""
    return float(np.mean(values[-max(1, len(values) // 10) :]))
