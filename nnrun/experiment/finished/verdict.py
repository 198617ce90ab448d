"""What a run's history shows: the best epoch, its scores, overfitting."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np

from nnrun.history_table import HistoryTable
from nnrun.records import Member, RunDirectory, RunRecord, member_type_of
from nnrun.records.run_record import ChosenFrom, MemberRecord
from nnrun.spec import schema
from nnrun.spec.ports import output_views
from nnrun.spec.score_columns import (
    ALL_COUNT,
    INNER,
    BestRule,
    best_epoch_column,
    directions,
    metric_column,
    without_phase,
)
from nnrun.spec.wording import listing
from nnrun.validation.summary import (
    MORE_EPOCHS,
    ChosenEpoch,
    choose_epoch,
    interval_of_mean,
    interval_of_share,
    mean_of_all,
    monitor_mode,
    overfitting_sentence,
)

# Losses that can be negative; and metrics that can be, with the lowest value that they can have.
_LOSSES_BELOW_ZERO = frozenset({"poisson", "cosine_similarity", "kl_divergence"})
_LOWEST = {
    **dict.fromkeys(("r2", "explained_variance", "d2"), -math.inf),
    **dict.fromkeys(("mcc", "cohen_kappa", "pearson"), -1.0),
}


def verdict(
    history: HistoryTable, spec: schema.ExperimentSpec, monitor: str | None = None, rows: int | None = None
) -> RunRecord:
    """The fields of a run's record that follow from its history.

    The best epoch is that of `monitor`, which ranks the trials of a sweep; default: what the spec says.

    Of several folds or seeds, the best epoch is that of their mean, among the epochs that all reached; the
    last is the last that all reached. `rows` as for `interval_of`.
    """
    table, member_type = _one_curve(history), member_type_of(history.columns)
    column = best_epoch_column(spec, monitor)
    last = _row(table, len(table))
    found = RunRecord(best_epoch=None, best={}, last=last, chosen_by=column, verdict=None)
    n = 1 if member_type is None else _networks(history, member_type)
    if n > 1:
        found.last_epoch, found.last_std = len(table), _row(table, len(table), "_std")
    if column is not None:
        own = directions(spec)
        chosen = chosen_on(history, column, own, best_rule(spec, column))
        found.best_epoch, found.smoothed_over = epoch, _ = chosen.epoch, chosen.smoothed_over
        if epoch is None:
            found.verdict = _never_finite(history, column, member_type)
        else:
            found.best = best = _row(table, epoch)
            last_epoch = int(history["epoch"].max())
            found.verdict = _sentence(table, column, chosen, (last_epoch, spec.epochs), member_type, own)
            if n > 1:
                found.best_std = std = _row(table, epoch, "_std")
                found.best_interval = {
                    name: interval_of(name, mean, std[name], n, spec, rows) for name, mean in best.items()
                }
    if n > 1:
        found.members = members_of(history, found.best_epoch)
    return found


def best_of_run(record: RunRecord, history: HistoryTable) -> tuple[str | None, int | None]:
    """The column that chooses a run's best epoch and that epoch, as its record has them.

    The record has them once the run has ended; before, its history tells.
    """
    column = record.chosen_by if "chosen_by" in record.model_fields_set else "val_loss"
    if "best_epoch" in record.model_fields_set:
        return (column, record.best_epoch) if column and record.best_epoch is not None else (None, None)
    if column is None or column not in history:
        return None, None
    return column, chosen_on(history, column, record.directions).epoch


def best_rule(spec: schema.ExperimentSpec, column: str) -> BestRule:
    """Which epochs count as the best in `column`, and by how much more they must be better.

    Where early stopping restores the weights of the best epoch by the column that chooses, the two are one.
    """
    stopping = spec.early_stopping
    if stopping is None or stopping.monitor != column:
        return ALL_COUNT
    return BestRule(stopping.min_delta if stopping.restore_best else 0.0, stopping.start_from_epoch)


def chosen_on(
    history: HistoryTable, column: str, own: Mapping[str, bool], rule: BestRule = ALL_COUNT
) -> ChosenEpoch:
    """The best epoch of a history by one of its columns; of several networks by their mean."""
    table, member_type = _one_curve(history), member_type_of(history.columns)
    return choose_epoch(
        table.floats(column if column in table else f"{column}_mean"),
        monitor_mode(column, own),
        networks=1 if member_type is None else _networks(history, member_type),
        rule=rule,
    )


def chosen_epoch(run: RunDirectory, record: RunRecord) -> ChosenFrom | None:
    """How long a run's validation says that a final run should train: its recorded best epoch, if any."""
    if not record.best_epoch or record.chosen_by is None:
        return None
    over = record.smoothed_over
    return ChosenFrom(
        parent=run.id,
        column=record.chosen_by,
        epoch=record.best_epoch,
        smoothed=over is not None,
        smoothed_over=over,
    )


def _one_curve(history: HistoryTable) -> HistoryTable:
    """The history of one network; of several their mean, up to the last epoch that all reached."""
    member_type = member_type_of(history.columns)
    if member_type is None:
        return history
    return mean_of_all(history, member_type)


def _networks(history: HistoryTable, member_type: str) -> int:
    """How many folds or seeds it has rows of."""
    return len(np.unique(history[member_type]))


def limits_of(spec: schema.ExperimentSpec) -> dict[str, tuple[float, float]]:
    """Measure, as the history has it without `val_` → the lowest and the highest value that it can have.

    Custom losses and metrics may give any number.
    """
    limits, losses = {}, []
    for port, view in output_views(spec).items():
        prefix = f"{port}_" if spec.outputs else ""
        assert view.loss is not None, "lint has seen to that"
        any_loss = isinstance(view.loss, schema.Custom) or view.loss.kind in _LOSSES_BELOW_ZERO
        losses.append(-math.inf if any_loss else 0.0)
        limits[f"{prefix}loss"] = losses[-1], math.inf
        for metric in view.metrics:
            low, high = -math.inf, math.inf
            if isinstance(metric, schema.BuiltInMetric):
                low, high = _LOWEST.get(metric.kind, 0.0), 1.0 if metric.higher_is_better else math.inf
            limits[f"{prefix}{metric_column(metric)}"] = low, high
    limits["loss"] = min(losses), math.inf
    return limits


def pooled_rows(record: RunRecord, spec: schema.ExperimentSpec) -> int | None:
    """How many rows the folds of a run validate together, each once; None where they are no such folds.

    At least so many, where training rows were left out: these are not counted, and folds differ in size.
    """
    method, rows = spec.validation, record.rows
    if not isinstance(method, schema.KFold) or method.repeats > 1 or record.nested is not None:
        return None
    if spec.train_fraction < 1:
        return method.k * min(rows.ranges.get("validation", [rows.validation]))
    return rows.train + rows.inner + rows.validation


def interval_of(
    column: str, mean: float, std: float, n: int, spec: schema.ExperimentSpec, rows: int | None
) -> list[float]:
    """The 95 % interval of a mean over n networks, within what the measure can reach: Student's t.

    Folds that happen to make equally many errors say nothing of how many others would make. So that of an
    accuracy is Wilson's, of all rows together, where this is the wider one.

    Args:
        column: of the history.
        mean, std: over the networks.
        n: how many these are.
        spec: tells what values a measure can have.
        rows: how many validation rows all of them were scored on, each once; None where others were.
    """
    found = possible(column, *interval_of_mean(mean, std, n), limits_of(spec))
    name = without_phase(column)
    shares = [f"{port}_accuracy" if spec.outputs else "accuracy" for port in output_views(spec)]
    if rows and name in shares and column.startswith("val_") and 0 <= mean <= 1:
        of_rows = possible(column, *interval_of_share(mean, rows), limits_of(spec))
        return max(found, of_rows, key=lambda each: each[1] - each[0])
    return found


def possible(column: str, low: float, high: float, limits: Mapping[str, tuple[float, float]]) -> list[float]:
    """The part of an interval that a measure can reach: errors are not negative, and shares end at 1."""
    lowest, highest = limits.get(without_phase(column), (-math.inf, math.inf))
    return [max(low, lowest), min(high, highest)]


def _sentence(
    table: HistoryTable,
    column: str,
    chosen: ChosenEpoch,
    epochs: tuple[int, int],
    member_type: str | None,
    own: Mapping[str, bool],
) -> str:
    """What the mean shows; `epochs` are the last that one network reached, and those it was to have."""
    smoothed = chosen.smoothed_over is not None
    last_epoch, wanted = epochs
    near_the_last = overfitting_sentence(table, column, chosen.epoch, own, smoothed=smoothed)
    if len(table) < last_epoch and near_the_last.endswith(MORE_EPOCHS):
        # More epochs were trained, but not of all: early stopping or an interruption ended the first before.
        near = "" if chosen.epoch == len(table) else f", near epoch {len(table)}"
        return (
            f"The smoothed mean {column} was best at epoch {chosen.epoch}{near}, the last that all "
            f"{member_type}s reached; later epochs have no mean over all of them."
        )
    return overfitting_sentence(table, column, chosen.epoch, own, smoothed=smoothed, epochs=wanted)


def members_of(history: HistoryTable, best_epoch: int | None) -> list[MemberRecord]:
    """Of each of several folds or seeds its scores at the best epoch of all, and at its own last one."""
    member_type = member_type_of(history.columns)
    assert member_type is not None, "there are several networks"
    found = []
    for member_id, table in history.groups(history[member_type]):
        own = table.without(member_type)
        best = {} if best_epoch is None else _row(own, best_epoch)
        name = Member(member_type, member_id).folder
        found.append(MemberRecord(member=name, best=best, last=_row(own, len(own)), epochs=len(own)))
    return found


def not_trained(history: HistoryTable, member_type: str | None, ids: Sequence[int]) -> list[int]:
    """The folds or seeds of a run that have no epoch in its history.

    Folds of different widths train one group after the other, so that a run that ends before its time may
    never have begun some of them.
    """
    begun = set() if member_type is None else set(history[member_type].tolist())
    return [] if member_type is None else [member_id for member_id in ids if member_id not in begun]


_NEEDS = {
    "auc": "rows of both classes",
    "average_precision": "rows of the positive class",
    "r2": "two rows",
    "explained_variance": "two rows",
    "d2": "two rows",
    "pearson": "targets and outputs that are not all the same",
    "cohen_kappa": "two classes",
}
"""What a metric needs among the validation rows, or it is NaN."""


def _never_finite(history: HistoryTable, column: str, member_type: str | None) -> str:
    """Why no epoch is the best: of which networks the column is not finite, and why that may be."""
    needed = _NEEDS.get(without_phase(column))
    rows = "inner" if column.startswith(INNER) else "validation"
    why = f" It needs {needed} among the {rows} rows." if needed else ""
    if member_type is None or _networks(history, member_type) < 2:
        return f"{column} was never a finite number.{why}"
    groups = history.groups(history[member_type])
    found = {number: bool(np.isfinite(own.floats(column)).any()) for number, own in groups}
    bad = [f"{member_type} {number}" for number, finite in found.items() if not finite]
    if len(bad) == len(found):
        return f"{column} was never a finite number.{why}"
    if not bad:
        return f"In no epoch was {column} finite for all {member_type}s, so there is no best epoch."
    return f"{column} was never a finite number in {listing(bad, 'and')}, so there is no best epoch.{why}"


def _row(table: HistoryTable, epoch: int, suffix: str = "_mean") -> dict[str, float]:
    """Column → value at an epoch (from 1); of a table of means the columns with this ending, without it."""
    with_suffix = "loss_mean" in table
    values = {}
    for name in table.columns:
        if name == "epoch" or (with_suffix and not name.endswith(suffix)):
            continue
        plain = name.removesuffix(suffix) if with_suffix else name
        if plain not in ("learning_rate", "seconds"):
            values[plain] = float(table[name][epoch - 1])
    return values
