"""What a history says: the mean over networks, the best epoch, smoother curves, a sentence on overfitting."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import Literal

import numpy as np
import numpy.typing as npt

from nnrun.history_table import HistoryTable
from nnrun.spec import schema
from nnrun.spec.score_columns import ALL_COUNT, BestEpoch, BestRule, without_phase
from nnrun.validation.student_t import t_quantile

Mode = Literal["min", "max"]
Values = npt.NDArray[np.float64]

_HIGHER_IS_BETTER = frozenset(
    kind
    for kind, metric in schema.components(schema.Metric).items()
    if issubclass(metric, schema.BuiltInMetric) and metric.higher_is_better
)

_SCORE = "_score"
"""What the name of a custom metric that is better the higher it is ends in (scikit-learn's convention).

It is the default: the spec may say something else (`directions` below)."""

FLAT = 0.01
"""A curve that moves by less than this share of its value is called flat."""

NEAR = 0.1
"""A best epoch among this share of the epochs at the end says nothing yet about what follows it."""


WIDTH_SHARE = 0.15
LARGEST_WIDTH = 10.0
"""How far `smooth_both_sides` looks: a share of the epoch's number, and at most so many epochs.

Chosen on Boston (batch 1 and 16), IMDB, Reuters and digits, by `val_loss` and by the metric: the epoch that
they give from 4 folds was better on the other folds than the raw minimum, in all comparisons but one.
"""

_REACH = 60
"""Epochs farther away than this would have a weight below 0.3 %."""

MORE_EPOCHS = "more epochs may help."
TRAINING_STUCK = "The training loss did not fall"
OVERFITTING = "the network kept improving on the training set only (overfitting)."
TRAINING_IS_WORSE = "the training loss became worse as well."
"""How sentences on a validation curve begin or end."""


def history_mean(history: HistoryTable) -> HistoryTable:
    """Mean and standard deviation over folds or seeds: `epoch`, then `<column>_mean` and `<column>_std`.

    An epoch counts those that reached it (early stopping may end some before others). The standard
    deviation is the sample's (ddof 1): they are a sample of all splits or seeds. A single one has none (NaN).
    A NaN in any makes the mean NaN, so that one that diverged is not hidden by the others.
    """
    epochs, position = np.unique(history["epoch"], return_inverse=True)
    networks = np.bincount(position, minlength=len(epochs)).astype(float)
    table: dict[str, npt.NDArray[np.generic]] = {"epoch": epochs}
    for name in history.columns:
        if name in ("fold", "seed", "epoch"):
            continue
        values = history.floats(name)
        mean = np.bincount(position, values, minlength=len(epochs)) / networks
        with np.errstate(invalid="ignore", over="ignore"):  # the numbers of a network that diverged
            squares = np.bincount(position, (values - mean[position]) ** 2, minlength=len(epochs))
        table[f"{name}_mean"] = mean
        table[f"{name}_std"] = np.sqrt(squares / np.where(networks > 1, networks - 1, np.nan))
    return HistoryTable(table)


def reached_by_all(history: HistoryTable, kind: str) -> int:
    """The last epoch that all folds or seeds reached: the mean of later ones is that of fewer networks.

    Args:
        history: of several networks.
        kind: the column that tells them apart: `fold` or `seed`.
    """
    return min(int(own["epoch"].max()) for _, own in history.groups(history[kind]))


def mean_of_all(history: HistoryTable, kind: str) -> HistoryTable:
    """`history_mean` up to the last epoch that all reached: later it would jump wherever one ended."""
    return history_mean(history.rows(history["epoch"] <= reached_by_all(history, kind)))


def mean_and_deviation(values: Sequence[float]) -> tuple[float, float | None]:
    """The mean over folds or seeds and their standard deviation (ddof 1), None for one."""
    return float(np.mean(values)), float(np.std(values, ddof=1)) if len(values) > 1 else None


def interval_of_mean(mean: float, std: float, n: int, level: float = 0.95) -> tuple[float, float]:
    """Where the mean of the population lies with this confidence: Student's t over n folds or seeds.

    Folds share training rows, so that for them it is somewhat too narrow (Bengio & Grandvalet 2004).
    """
    half = t_quantile(n - 1, level) * std / math.sqrt(n)
    return mean - half, mean + half


def interval_of_share(share: float, rows: int, level: float = 0.95) -> tuple[float, float]:
    """Wilson's (1927) interval of a share of rows that are right."""
    z2 = NormalDist().inv_cdf((1 + level) / 2) ** 2
    middle = (share + z2 / (2 * rows)) / (1 + z2 / rows)
    half = math.sqrt(z2 * (share * (1 - share) / rows + z2 / (4 * rows**2))) / (1 + z2 / rows)
    return middle - half, middle + half


def monitor_mode(column: str, directions: Mapping[str, bool] | None = None) -> Mode:
    """Whether the best value of a column is its lowest (`min`: losses and errors) or its highest (`max`).

    Args:
        column: its name, with or without `val_` or `inner_`, and `_mean`.
        directions: measure → whether its highest is its best, of custom metrics that say so themselves.
    """
    measure = column.removesuffix("_mean").removeprefix("val_")
    inner = without_phase(measure)  # of inner rows; but an output may be called so
    for own in (measure, column.removeprefix("val_"), inner):  # a measure's own name may end in _mean
        if directions and own in directions:
            return "max" if directions[own] else "min"
    measure = inner
    return "max" if measure in _HIGHER_IS_BETTER or measure.endswith(_SCORE) else "min"


def best_epoch(values: Values, mode: Mode, rule: BestRule = ALL_COUNT) -> int | None:
    """The epoch (from 1) of the best value that counts, the first of equals; None where none is finite."""
    best = BestEpoch(mode == "max", rule)
    for epoch, value in enumerate(np.asarray(values, dtype=float).tolist(), start=1):
        best.improved(epoch, value)
    return best.epoch


@dataclass(frozen=True)
class ChosenEpoch:
    """The best epoch of a curve.

    Attributes:
        epoch: from 1; None where no value is finite.
        smoothed_over: over about how many epochs the curve was smoothed there; None where it was not.
    """

    epoch: int | None
    smoothed_over: int | None = None


def choose_epoch(values: Values, mode: Mode, *, networks: int, rule: BestRule = ALL_COUNT) -> ChosenEpoch:
    """The best epoch, by the rule that holds wherever nnrun names one.

    Of one network it is the epoch of the best value: that network was kept and can be used. The mean over
    several folds or seeds says how long to train another network, so the curve is smoothed first: its lowest
    point is partly luck.

    Args:
        values: the column that chooses, epoch by epoch; of several networks their mean, up to the
            last epoch that all reached.
        mode: which values are best.
        networks: how many.
        rule: which epochs count; of one network also by how much the best must be better.
    """
    if networks == 1:
        return ChosenEpoch(best_epoch(values, mode, rule))
    epoch = smoothed_best_epoch(values, mode, rule.start_from)
    return ChosenEpoch(epoch, None if epoch is None else smoothing_window(epoch))


def smooth(values: Values, factor: float) -> Values:
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


def smoothed_best_epoch(values: Values, mode: Mode, start_from: int = 0) -> int | None:
    """The best epoch (from 1) of a noisy curve, once it is smooth (`smooth_both_sides`).

    Of 4 folds the raw curve's best is partly that epoch's luck. None where no value that counts is finite.
    So many epochs at the beginning as `start_from` do not count, unless there are no others.
    """
    return best_epoch(smooth_both_sides(values), mode, BestRule(start_from=start_from))


def smoothing_window(epoch: int) -> int:
    """Over about how many epochs `smooth_both_sides` averages: the sum of the weights, its own being 1."""
    width = min(LARGEST_WIDTH, WIDTH_SHARE * epoch)
    return round(1 / math.tanh(1 / (2 * width)))


def smooth_both_sides(values: Values) -> Values:
    """Each epoch as the weighted mean of its neighbours on both sides, so that a minimum stays in its place.

    A moving average as in the book (listing 3.32, `smooth`) looks back only: with its factor of 0.9 a
    minimum comes some 10 epochs late. Here the weights fall as exp(-distance / width) both ways. The width is
    `WIDTH_SHARE` of the epoch's number, since learning curves are steep at first and flat later on, and at
    most `LARGEST_WIDTH` epochs, the reach of the book's 0.9. So the first epochs stay nearly as they are, and
    a short curve is smoothed little. A value that is not finite becomes a NaN and leaves the others alone.
    """
    points = np.asarray(values, dtype=float)
    finite = np.isfinite(points)
    known, weight = np.where(finite, points, 0.0), finite.astype(float)
    total, weights = known.copy(), weight.copy()
    width = np.minimum(LARGEST_WIDTH, WIDTH_SHARE * np.arange(1, len(points) + 1))
    for distance in range(1, min(_REACH, len(points) - 1) + 1):
        share = np.exp(-distance / width)
        for here, there in (
            (slice(distance, None), slice(None, -distance)),
            (slice(None, -distance), slice(distance, None)),
        ):
            total[here] += share[here] * known[there]
            weights[here] += share[here] * weight[there]
    return np.where(finite, total / np.where(finite, weights, 1.0), np.nan)


def overfitting_sentence(
    history: HistoryTable,
    column: str,
    best_epoch: int | None,
    directions: Mapping[str, bool] | None = None,
    *,
    smoothed: bool = False,
    epochs: int | None = None,
) -> str:
    """One plain sentence on how a validation curve went, for the last line of a summary.

    Args:
        history: of one network, or the mean over folds or seeds (`<column>_mean`).
        column: the validated column that chose the best epoch, such as `val_loss`.
        best_epoch: the best epoch by that column, from 1; None where no value was finite.
        directions: as for `monitor_mode`.
        smoothed: whether it is the smoothed mean over folds or seeds whose best epoch this is.
        epochs: that the training was to have; default: those of the history. What ended before, by early
            stopping or an interruption, did not end for want of epochs, and is not advised to have more.
    """
    curve = f"The smoothed mean {column}" if smoothed else column
    best = f"{curve} was best"
    mode = monitor_mode(column, directions)
    validation = _losses(history, column, mode)
    training = _losses(history, "loss", "min")
    if best_epoch is None:
        return f"{column} was never a finite number."
    last, finite = len(validation), np.isfinite(validation)
    if last > 1 and finite.sum() == 1:
        return f"{column} was finite only at epoch {best_epoch}: one epoch is too few to see a trend."
    if last == 1:
        return f"One epoch is too few to see a trend in {column}."
    learned = training[np.isfinite(training)]
    if len(learned) and not (learned[1:] < learned[0] - FLAT * abs(learned[0])).any():
        return f"{TRAINING_STUCK}: another learning rate may help."
    cut = epochs is not None and last < epochs
    if best_epoch >= last:
        better = "rising" if mode == "max" else "falling"
        where = f"of {epochs}, where the training ended." if cut else f"the last: {MORE_EPOCHS}"
        return f"{curve} was still {better} at epoch {last}{' ' if cut else ', '}{where}"
    if not finite[best_epoch:].any():
        return f"{best} at epoch {best_epoch}; after that it was never a finite number."
    if best_epoch > last - last * NEAR:
        near = f"epoch {last} of {epochs}, where the training ended." if cut else f"the last: {MORE_EPOCHS}"
        return f"{best} at epoch {best_epoch}, near {near}"
    if _end(validation[best_epoch:]) - validation[best_epoch - 1] <= FLAT * abs(validation[best_epoch - 1]):
        advice = "" if cut else ": more epochs would not help"
        return f"{best} at epoch {best_epoch} and has been flat since{advice}."
    if not (math.isfinite(_end(training[best_epoch:])) and math.isfinite(training[best_epoch - 1])):
        return f"{best} at epoch {best_epoch}, and has been worse since."
    if _end(training[best_epoch:]) < training[best_epoch - 1]:
        return f"{best} at epoch {best_epoch}; after that, {OVERFITTING}"
    return f"{best} at epoch {best_epoch}; after that, {TRAINING_IS_WORSE}"


def _losses(history: HistoryTable, column: str, mode: Mode) -> Values:
    """A column (or its mean over the folds) turned so that lower is better."""
    name = column if column in history else f"{column}_mean"
    values = history.floats(name)
    return -values if mode == "max" else values


def _end(values: Values) -> float:
    """Where a noisy curve ends: the mean of its last tenth, of the values that are finite."""
    values = values[np.isfinite(values)]
    if not len(values):
        return math.nan
    return float(np.mean(values[-max(1, len(values) // 10) :]))
