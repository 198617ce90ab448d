"""What a run's history amounts to: the best epoch, its scores, a sentence on overfitting."""

from __future__ import annotations

from collections.abc import Container, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from nnrun.errors import DataError
from nnrun.records import RunDirectory, member_kind, members_of_record, recorded_directions
from nnrun.spec import schema
from nnrun.spec.columns import chooser, directions, metric_column
from nnrun.spec.suggest import listing
from nnrun.validation.summary import (
    MORE_EPOCHS,
    best_epoch,
    history_mean,
    interval_of_mean,
    monitor_mode,
    overfitting_sentence,
    reached_by_all,
    smoothed_best_epoch,
)

if TYPE_CHECKING:
    import pandas as pd


def verdict(
    history: pd.DataFrame,
    spec: schema.ExperimentSpec,
    weights_epoch: int | Mapping[int, int] | None = None,
    monitor: str | None = None,
) -> dict[str, Any]:
    """The part of a run's record that follows from its history.

    Where early stopping put back the weights of its best epoch (`weights_epoch`), that is the run's best.

    The best epoch is that of `monitor`, which ranks the trials of a sweep; default: what the spec says.

    Of several folds or seeds, the best epoch is that of their mean, among the epochs that all reached; the
    last is the last that all reached.
    """
    table, kind = _one_curve(history), member_kind(history.columns)
    column = monitor or chooser(spec)
    last: dict[str, Any] = {"last": _row(table, len(table))}
    n = 1 if kind is None else int(history[kind].nunique())
    if n > 1:
        last |= {"last_epoch": len(table), "last_std": _row(table, len(table), "_std")}
    if column is None:
        return {"best_epoch": None, "best": {}, **last, "chosen_by": None, "verdict": None}
    name = column if column in table else f"{column}_mean"
    own = directions(spec)
    epoch = best_epoch(table[name], monitor_mode(column, own))
    restored = spec.early_stopping is not None and spec.early_stopping.restore_best
    if restored and isinstance(weights_epoch, int) and epoch is not None:
        epoch = weights_epoch
    best = _row(table, epoch) if epoch is not None else {}
    result: dict[str, Any] = {
        "best_epoch": epoch,
        "best": best,
        **last,
        "chosen_by": column,
        "verdict": _sentence(table, column, epoch, int(history["epoch"].max()), kind, own)
        if epoch is not None
        else _never_finite(history, column, kind),
    }
    if n > 1 and epoch is not None:
        unbounded = [metric_column(m) for m in spec.metrics if isinstance(m, schema.CustomMetric)]
        std = result["best_std"] = _row(table, epoch, "_std")
        result["best_interval"] = {
            name: _possible(name, *interval_of_mean(mean, std[name], n), unbounded)
            for name, mean in best.items()
        }
    return result


def best_of_run(record: Mapping[str, Any], history: pd.DataFrame) -> tuple[str | None, int | None]:
    """The column that chooses a run's best epoch and that epoch, as its record has them.

    The record has them once the run has ended; before, the history's val_loss tells.
    """
    if "chosen_by" in record:
        column, epoch = record["chosen_by"], record.get("best_epoch")
        known = isinstance(column, str) and isinstance(epoch, int) and not isinstance(epoch, bool)
        return (column, epoch) if known else (None, None)
    column, table = "val_loss", _one_curve(history)
    name = column if column in table else f"{column}_mean"
    if name not in table:
        return None, None
    return column, best_epoch(table[name], monitor_mode(column, recorded_directions(record)))


@dataclass(frozen=True)
class ChosenFrom:
    """Why a final run trains for as long as it does.

    Attributes:
        parent: the id of the run whose validation chose.
        column: the validated column that chose.
        epoch: its best epoch, from 1.
        smoothed: whether the curve was smoothed first, as the mean over several networks is.
    """

    parent: str
    column: str
    epoch: int
    smoothed: bool


def chosen_epoch(run: RunDirectory, record: Mapping[str, Any]) -> ChosenFrom | None:
    """How long a run's validation says that a final run should train; None where it chose no epoch.

    The mean curve over several folds or seeds is smoothed first: its lowest point is partly luck. A run of
    one network has its recorded best epoch.

    Raises:
        DataError: the history is missing or damaged.
    """
    epoch, column = record.get("best_epoch"), record.get("chosen_by")
    if not isinstance(epoch, int) or epoch < 1 or not isinstance(column, str):
        return None
    if len(members_of_record(record)[1]) < 2:
        return ChosenFrom(run.id, column, epoch, smoothed=False)
    table = _one_curve(run.read_history())
    if f"{column}_mean" not in table:
        raise DataError(f"The history of {run.id} has no {column}, which chose its best epoch.")
    mode = monitor_mode(column, recorded_directions(record))
    smoothed = smoothed_best_epoch(table[f"{column}_mean"], mode)
    return None if smoothed is None else ChosenFrom(run.id, column, smoothed, smoothed=True)


def _one_curve(history: pd.DataFrame) -> pd.DataFrame:
    """The history of one network; of several their mean, as far as all went."""
    kind = member_kind(history.columns)
    if kind is None:
        return history
    return history_mean(history[history["epoch"] <= reached_by_all(history, kind)])


def _possible(column: str, low: float, high: float, unbounded: Container[str]) -> tuple[float, float]:
    """The part of an interval that a measure can reach: errors are not negative, and shares end at 1."""
    measure = column.removeprefix("val_")
    if measure in unbounded:  # a custom metric may give any number
        return low, high
    return (
        low if measure == "r2" else max(low, 0.0),
        min(high, 1.0) if monitor_mode(column) == "max" else high,
    )


def _sentence(
    table: pd.DataFrame,
    column: str,
    epoch: int | None,
    last_epoch: int,
    kind: str | None,
    own: Mapping[str, bool],
) -> str:
    sentence = overfitting_sentence(table, column, epoch, own)
    if len(table) < last_epoch and sentence.endswith(MORE_EPOCHS):
        return (
            f"{column} was best at epoch {epoch}, about where early stopping ended the first {kind}: the "
            f"mean over all {kind}s goes no further."
        )
    return sentence


_NEEDS = {
    "auc": "rows of both classes",
    "average_precision": "rows of the positive class",
    "r2": "two rows",
}
"""What a metric needs among the validation rows, or it is NaN."""


def _never_finite(history: pd.DataFrame, column: str, kind: str | None) -> str:
    """Why no epoch is the best: of which networks the column is not finite, and why that may be."""
    needed = _NEEDS.get(column.removeprefix("val_"))
    why = f" It needs {needed} to validate on." if needed else ""
    if kind is None or history[kind].nunique() < 2:
        return f"{column} was never a finite number.{why}"
    values = history[column].astype(float)
    found = (values - values == 0).groupby(history[kind]).any()  # inf - inf is no number either
    bad = [f"{kind} {number}" for number, finite in found.items() if not finite]
    if len(bad) == len(found):
        return f"{column} was never a finite number.{why}"
    if not bad:
        return f"{column} was in no epoch a finite number for all {kind}s, so there is no best epoch."
    return f"{column} was never a finite number in {listing(bad, 'and')}, so there is no best epoch.{why}"


def _row(table: pd.DataFrame, epoch: int, suffix: str = "_mean") -> dict[str, float]:
    """Column → value at an epoch (from 1); of a table of means the columns with this ending, without it."""
    with_suffix = "loss_mean" in table
    values = {}
    for name in map(str, table.columns):
        if name == "epoch" or (with_suffix and not name.endswith(suffix)):
            continue
        plain = name.removesuffix(suffix) if with_suffix else name
        if plain not in ("learning_rate", "seconds"):
            values[plain] = float(table[name].iloc[epoch - 1])
    return values
