"""What a run's history shows (the best epoch, its scores, overfitting) and what to know before them.

A constant may do as well, or the scores may look too good.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from nnrun.data import Samples
from nnrun.data.dataset import Array
from nnrun.data.table import CategoryColumn, Column, NumberColumn, Table
from nnrun.experiment.finished.advice import are_level, are_noise, what_to_try
from nnrun.history_table import HistoryTable
from nnrun.records import SHUFFLED, Member, RunDirectory, RunRecord, member_type_of
from nnrun.records.run_record import ChosenFrom, MemberRecord, NearPerfect
from nnrun.spec import schema
from nnrun.spec.graph import all_layers
from nnrun.spec.ports import OUTPUT, output_views
from nnrun.spec.score_columns import INNER, best_epoch_column, directions, metric_column, without_phase
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
        chosen = chosen_on(history, column, own, min_delta_of_best(spec, column))
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


def min_delta_of_best(spec: schema.ExperimentSpec, column: str) -> float:
    """By how much more than this an epoch must be better in `column` to be the best of one network.

    Where early stopping restores the weights of the best epoch by the column that chooses, the two are one.
    """
    stopping = spec.early_stopping
    restores = stopping is not None and stopping.restore_best and stopping.monitor == column
    return stopping.min_delta if stopping is not None and restores else 0.0


def chosen_on(
    history: HistoryTable, column: str, own: Mapping[str, bool], min_delta: float = 0.0
) -> ChosenEpoch:
    """The best epoch of a history by one of its columns; of several networks by their mean."""
    table, member_type = _one_curve(history), member_type_of(history.columns)
    return choose_epoch(
        table.floats(column if column in table else f"{column}_mean"),
        monitor_mode(column, own),
        networks=1 if member_type is None else _networks(history, member_type),
        min_delta=min_delta,
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


_PERFECT = {"accuracy": 0.999, "r2": 0.99}
"""From which value on a score is close to perfect."""

_MOST_ROWS = 5000  # that are looked at for the column behind such a score
_MOST_COLUMNS = 500
_LEAVES = 32  # of a tree over one column
_SMALL = 1e-9  # a difference that rounding explains


def cautions(record: RunRecord, spec: schema.ExperimentSpec, samples: Samples) -> RunRecord:
    """The fields of a run's record that say what to know before its scores.

    `not_better_than_baseline` maps each score that does not beat its baseline to both, and
    `not_better_than_linear` each that does not beat the linear model's; `advice` says what to try then.
    `near_perfect` names a score that is close to perfect and the column of a table that predicts the target
    best by itself.

    Args:
        record: with scores and baselines.
        spec: the experiment.
        samples: the training rows.
    """
    if record.smoke:
        return RunRecord(not_better_than_baseline={}, near_perfect=None)
    prefix = "val_" if record.baseline_on == "validation" else ""
    scores = record.test if record.baseline_on == "test" else (record.best or record.last)
    own = {name.removeprefix(prefix): v for name, v in scores.items() if name.startswith(prefix)}
    worse = not_better(own, record.baseline, spec)
    found = RunRecord(not_better_than_baseline=worse, near_perfect=near_perfect(own, samples))
    linear = record.linear_baseline
    # On training rows the better one may only have learned them by heart.
    compares = linear is not None and record.baseline_on != "training"
    than_linear = not_better(own, linear.scores, spec, of_constant=False) if linear and compares else {}
    if linear is not None:
        found.not_better_than_linear, found.advice = than_linear, None
    close = are_level(than_linear) or are_noise(record, than_linear)
    surely_worse = worse or (than_linear and not close)
    if surely_worse and (advice := what_to_try(record, spec, than_linear)):
        found.advice = advice
    return found


def not_better(
    scores: Mapping[str, float | None],
    baseline: Mapping[str, float | None],
    spec: schema.ExperimentSpec,
    *,
    of_constant: bool = True,
) -> dict[str, list[float]]:
    """Score → [its value, the baseline's], of each that is no better than the best constant.

    Or than another baseline, without `of_constant`. A constant that is perfect tells nothing: whoever always
    says yes misses no positive. Nor does a loss that a penalty is part of. With class weights a network is to
    answer a rare class more often than it occurs, which costs accuracy and loss: where another score is
    better than its baseline, these two tell nothing.
    """
    own, worse = directions(spec), {}
    penalized = any(any(schema.regularizers(layer).values()) for _, layer in all_layers(spec))
    for name, value in scores.items():
        constant = baseline.get(name)
        if value is None or constant is None or name == SHUFFLED or (name == "loss" and penalized):
            continue
        if not (math.isfinite(value) and math.isfinite(constant)):
            continue
        highest = monitor_mode(name, own) == "max"
        if of_constant and name not in own and constant == (1.0 if highest else 0.0):
            continue
        gain = value - constant if highest else constant - value
        if gain <= _SMALL * max(1.0, abs(constant)):
            worse[name] = [value, constant]
    for port, view in output_views(spec).items():
        prefix = f"{port}_" if spec.outputs else ""
        told_little = {"loss", f"{prefix}loss", f"{prefix}accuracy", SHUFFLED}
        others = {name for name in scores if name.startswith(prefix)} & baseline.keys() - told_little
        if view.class_weight is not None and others - worse.keys():
            worse = {name: both for name, both in worse.items() if name not in told_little}
    return worse


def near_perfect(scores: Mapping[str, float | None], samples: Samples) -> NearPerfect | None:
    """The first score that is close to perfect, with the column of a table that may explain it.

    Of several outputs the one whose column explains it best.
    """
    found: list[NearPerfect] = []
    for port in samples.of_outputs or (OUTPUT,):
        prefix = f"{port}_" if samples.of_outputs else ""
        for name, least in _PERFECT.items():
            value = scores.get(f"{prefix}{name}")
            if value is not None and value >= least:
                best = _best_column(samples.output(port), classes=name == "accuracy")
                if best is not None:
                    of_output = NearPerfect(
                        score=f"{prefix}{name}", value=value, column=best[0], alone=best[1]
                    )
                    found.append(of_output)
                break
    return max(found, key=lambda each: each.alone, default=None)


def _best_column(samples: Samples, *, classes: bool) -> tuple[str, float] | None:
    """The column of a table that predicts the target best by itself, and how well a small tree does so."""
    tables = [part for part in samples.of_inputs.values() or [samples.inputs] if isinstance(part, Table)]
    columns = {column.name: column for table in tables for column in table.columns}
    known, targets = samples.with_target(np.arange(len(samples))), samples.targets
    targets = targets[:, 0] if targets.ndim == 2 and targets.shape[1] == 1 else targets
    if not columns or not len(known):
        return None
    rows = known[np.linspace(0, len(known) - 1, min(len(known), _MOST_ROWS)).astype(np.int64)]
    if targets.ndim == 2:
        targets = targets.argmax(1) if classes else targets[:, 0]
    y = targets[rows]
    found = [
        (_alone(values, y, classes=classes), column.name)
        for column in list(columns.values())[:_MOST_COLUMNS]
        for values in _numbers(column, rows)
    ]
    if not found:
        return None
    alone, name = max(found, key=lambda pair: pair[0])
    return name, alone


def _numbers(column: Column, rows: Array) -> Iterable[Array]:
    """The column's values as a tree takes them; nothing for texts."""
    if isinstance(column, NumberColumn):
        values = column.values[rows].astype(np.float64)
        return [np.nan_to_num(values, nan=np.nanmin(values) - 1 if np.isfinite(values).any() else 0.0)]
    return [column.codes[rows].astype(np.float64)] if isinstance(column, CategoryColumn) else []


def _alone(x: Array, y: Array, *, classes: bool) -> float:
    """The accuracy, or R², of a small tree over one column, on the rows that it was grown on."""
    from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor

    kind = DecisionTreeClassifier if classes else DecisionTreeRegressor
    tree = kind(max_leaf_nodes=_LEAVES, random_state=0)
    return float(tree.fit(x[:, None], y).score(x[:, None], y))
