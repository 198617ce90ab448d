"""What a run's history shows: the best epoch, its scores, a sentence on overfitting."""

from __future__ import annotations

from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from nnrun.records import Member, RunDirectory, member_kind, recorded_directions
from nnrun.spec import schema
from nnrun.spec.score_columns import chooser, directions, metric_column
from nnrun.spec.wording import listing
from nnrun.validation.summary import (
    MORE_EPOCHS,
    ChosenEpoch,
    choose_epoch,
    history_mean,
    interval_of_mean,
    monitor_mode,
    overfitting_sentence,
    reached_by_all,
)

if TYPE_CHECKING:
    import pandas as pd


def verdict(history: pd.DataFrame, spec: schema.ExperimentSpec, monitor: str | None = None) -> dict[str, Any]:
    """The part of a run's record that follows from its history.

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
        members = _members(history, None)
        return {"best_epoch": None, "best": {}, **last, **members, "chosen_by": None, "verdict": None}
    own = directions(spec)
    chosen = _chosen_on(history, column, own, min_delta_of_best(spec, column))
    epoch = chosen.epoch
    best = _row(table, epoch) if epoch is not None else {}
    result: dict[str, Any] = {
        "best_epoch": epoch,
        "best": best,
        **last,
        **_members(history, epoch),
        "chosen_by": column,
        "smoothed_over": chosen.smoothed_over,
        "verdict": _sentence(table, column, chosen, int(history["epoch"].max()), kind, own)
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

    The record has them once the run has ended; before, its history tells.
    """
    column, epoch = record.get("chosen_by", "val_loss"), record.get("best_epoch")
    if "best_epoch" in record:
        known = isinstance(column, str) and isinstance(epoch, int) and not isinstance(epoch, bool)
        return (column, epoch) if known else (None, None)
    if not isinstance(column, str) or column not in history:
        return None, None
    return column, _chosen_on(history, column, recorded_directions(record)).epoch


def min_delta_of_best(spec: schema.ExperimentSpec, column: str) -> float:
    """By how much more than this an epoch must be better in `column` to be the best of one network.

    Where early stopping restores the weights of the best epoch by the column that chooses, the two are one.
    """
    stopping = spec.early_stopping
    restores = stopping is not None and stopping.restore_best and stopping.monitor == column
    return stopping.min_delta if stopping is not None and restores else 0.0


def _chosen_on(
    history: pd.DataFrame, column: str, own: Mapping[str, bool], min_delta: float = 0.0
) -> ChosenEpoch:
    """The best epoch of a history by one of its columns; of several networks by their mean."""
    table, kind = _one_curve(history), member_kind(history.columns)
    return choose_epoch(
        table[column if column in table else f"{column}_mean"],
        monitor_mode(column, own),
        networks=1 if kind is None else int(history[kind].nunique()),
        min_delta=min_delta,
    )


@dataclass(frozen=True)
class ChosenFrom:
    """Why a final run trains for as long as it does.

    Attributes:
        parent: the id of the run whose validation chose.
        column: the validated column that chose.
        epoch: its best epoch, from 1.
        smoothed: whether the curve was smoothed first, as the mean over several networks is.
        smoothed_over: over about how many epochs; None where it was not.
    """

    parent: str
    column: str
    epoch: int
    smoothed: bool
    smoothed_over: int | None = None


def chosen_epoch(run: RunDirectory, record: Mapping[str, Any]) -> ChosenFrom | None:
    """How long a run's validation says that a final run should train: its recorded best epoch, if any."""
    epoch, column = record.get("best_epoch"), record.get("chosen_by")
    if not isinstance(epoch, int) or epoch < 1 or not isinstance(column, str):
        return None
    over = record.get("smoothed_over")
    return ChosenFrom(run.id, column, epoch, over is not None, over if isinstance(over, int) else None)


def _one_curve(history: pd.DataFrame) -> pd.DataFrame:
    """The history of one network; of several their mean, up to the last epoch that all reached."""
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
    chosen: ChosenEpoch,
    last_epoch: int,
    kind: str | None,
    own: Mapping[str, bool],
) -> str:
    smoothed = chosen.smoothed_over is not None
    sentence = overfitting_sentence(table, column, chosen.epoch, own, smoothed=smoothed)
    if len(table) < last_epoch and sentence.endswith(MORE_EPOCHS):
        # More epochs were trained, but not of all: early stopping or an interruption ended the first before.
        near = "" if chosen.epoch == len(table) else f", near epoch {len(table)}"
        return (
            f"The smoothed mean {column} was best at epoch {chosen.epoch}{near}, the last that all {kind}s "
            "reached; later epochs have no mean over all of them."
        )
    return sentence


def _members(history: pd.DataFrame, best_epoch: int | None) -> dict[str, Any]:
    """For each of several folds or seeds its scores at the best epoch of all, and at its own last one."""
    kind = member_kind(history.columns)
    if kind is None or history[kind].nunique() < 2:
        return {}
    found = []
    for number, table in history.groupby(kind):
        own = table.drop(columns=kind).reset_index(drop=True)
        best = {} if best_epoch is None else _row(own, best_epoch)
        name = Member(kind, int(str(number))).folder
        found.append({"member": name, "best": best, "last": _row(own, len(own)), "epochs": len(own)})
    return {"members": found}


def not_trained(history: pd.DataFrame, kind: str | None, numbers: Sequence[int]) -> dict[str, list[int]]:
    """The folds or seeds of a run that have no epoch in its history, as a part of its record.

    Folds of different widths train one group after the other, so that a run that ends before its time may
    never have begun some of them. Empty where all have begun.
    """
    begun = set() if kind is None else set(history[kind].tolist())
    missing = [] if kind is None else [number for number in numbers if number not in begun]
    return {"not_trained": missing} if missing else {}


_NEEDS = {
    "auc": "rows of both classes",
    "average_precision": "rows of the positive class",
    "r2": "two rows",
}
"""What a metric needs among the validation rows, or it is NaN."""


def _never_finite(history: pd.DataFrame, column: str, kind: str | None) -> str:
    """Why no epoch is the best: of which networks the column is not finite, and why that may be."""
    needed = _NEEDS.get(column.removeprefix("val_"))
    why = f" It needs {needed} among the validation rows." if needed else ""
    if kind is None or history[kind].nunique() < 2:
        return f"{column} was never a finite number.{why}"
    values = history[column].astype(float)
    found = (values - values == 0).groupby(history[kind]).any()  # inf - inf is no number either
    bad = [f"{kind} {number}" for number, finite in found.items() if not finite]
    if len(bad) == len(found):
        return f"{column} was never a finite number.{why}"
    if not bad:
        return f"In no epoch was {column} finite for all {kind}s, so there is no best epoch."
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
