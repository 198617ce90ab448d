"""What a run's history amounts to: the best epoch, its scores, a sentence on overfitting."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from nnrun.records import member_kind
from nnrun.spec import schema
from nnrun.spec.columns import chooser
from nnrun.validation.summary import (
    MORE_EPOCHS,
    best_epoch,
    history_mean,
    interval_of_mean,
    monitor_mode,
    overfitting_sentence,
)

if TYPE_CHECKING:
    import pandas as pd


def verdict(
    history: pd.DataFrame, spec: schema.ExperimentSpec, weights_epoch: int | Mapping[int, int] | None = None
) -> dict[str, Any]:
    """The part of a run's record that follows from its history.

    Where early stopping put back the weights of its best epoch (`weights_epoch`), that is the run's best.

    Of several folds or seeds, the best epoch is that of their mean, among the epochs that all reached; the
    last is the last that all reached.
    """
    table = history
    kind = member_kind(history.columns)
    if kind is not None:
        reached = int(history.groupby(kind)["epoch"].max().min())
        table = history_mean(history[history["epoch"] <= reached])
    column = chooser(spec)
    last: dict[str, Any] = {"last": _row(table, len(table))}
    n = 1 if kind is None else int(history[kind].nunique())
    if n > 1:
        last |= {"last_epoch": len(table), "last_std": _row(table, len(table), "_std")}
    if column is None:
        return {"best_epoch": None, "best": {}, **last, "chosen_by": None, "verdict": None}
    name = column if column in table else f"{column}_mean"
    epoch = best_epoch(table[name], monitor_mode(column))
    restored = spec.early_stopping is not None and spec.early_stopping.restore_best
    if restored and isinstance(weights_epoch, int):
        epoch = weights_epoch
    best = _row(table, epoch) if epoch is not None else {}
    result: dict[str, Any] = {
        "best_epoch": epoch,
        "best": best,
        **last,
        "chosen_by": column,
        "verdict": _sentence(table, column, epoch, int(history["epoch"].max()), kind),
    }
    if n > 1 and epoch is not None:
        std = result["best_std"] = _row(table, epoch, "_std")
        result["best_interval"] = {
            name: _possible(name, *interval_of_mean(mean, std[name], n)) for name, mean in best.items()
        }
    return result


def _possible(column: str, low: float, high: float) -> tuple[float, float]:
    """The part of an interval that a measure can reach: errors are not negative, and shares end at 1."""
    measure = column.removeprefix("val_")
    return (
        low if measure == "r2" else max(low, 0.0),
        min(high, 1.0) if monitor_mode(column) == "max" else high,
    )


def _sentence(table: pd.DataFrame, column: str, epoch: int | None, last_epoch: int, kind: str | None) -> str:
    sentence = overfitting_sentence(table, column, epoch)
    if len(table) < last_epoch and sentence.endswith(MORE_EPOCHS):
        return (
            f"{column} was best at epoch {epoch}, about where early stopping ended the first {kind}: the "
            f"mean over all {kind}s goes no further."
        )
    return sentence


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
