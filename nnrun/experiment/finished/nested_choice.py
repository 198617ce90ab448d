"""Nested cross-validation as its histories tell it: what was chosen within each outer fold, and its score."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from nnrun.errors import NnrunError
from nnrun.experiment.finished.verdict import (
    best_rule,
    chosen_on,
    interval_of,
    members_of,
)
from nnrun.history_table import HistoryTable
from nnrun.records import RunRecord
from nnrun.records.run_record import MemberRecord, NestedFold, NestedRecord, Scores
from nnrun.spec import schema
from nnrun.spec.score_columns import best_epoch_column, directions
from nnrun.validation.summary import mean_and_deviation


def choose_within(
    history: HistoryTable, spec: schema.ExperimentSpec, monitor: str | None = None
) -> dict[int, NestedFold]:
    """Outer fold → the epoch that its inner folds choose, by the rule of a run that has these folds alone.

    An outer fold of whose column no epoch is finite for all its inner folds is not among them.

    Args:
        history: of the inner folds, numbered one outer fold after the other.
        spec: of the inner run, with `nested`.
        monitor: the column that ranks trials, of a sweep.
    """
    column = best_epoch_column(spec, monitor)
    assert column is not None, "lint wants validation for nested"
    found = {}
    for outer, table in history.groups(history["fold"] // spec.validation.number_of_folds):
        chosen = chosen_on(table, column, directions(spec), best_rule(spec, column))
        if chosen.epoch is None:
            continue
        validated = [name for name in table.columns if name.startswith("val_")]
        there = table.rows(table["epoch"] == chosen.epoch)
        found[outer] = NestedFold(
            fold=outer,
            epoch=chosen.epoch,
            smoothed_over=chosen.smoothed_over,
            inner={name: float(np.mean(there.floats(name))) for name in validated},
        )
    return found


def refuse_missing_choices(found: Sequence[int], wanted: Sequence[int], column: str | None) -> None:
    """Raise NnrunError where nothing could be chosen within an outer fold."""
    missing = [fold for fold in wanted if fold not in found]
    if missing:
        raise NnrunError(
            f"Within outer fold {missing[0]} no epoch has a finite {column}, so nothing can be chosen there. "
            "Choose by another column (early_stopping.monitor), or use fewer folds."
        )


def outer_verdict(
    history: HistoryTable, spec: schema.ExperimentSpec, nested: NestedRecord, rows: int | None = None
) -> RunRecord:
    """The fields of an outer run's record that follow from its history; `verdict` says those of other runs.

    No epoch is the best one: each fold ends at the epoch that was chosen within it, and is scored there. The
    means are there once all folds have reached theirs.
    """
    members = members_of(history, None)
    found = RunRecord(best_epoch=None, best={}, chosen_by=None, verdict=None, members=members)
    found.last, found.last_std = means_and_stds([member.last for member in members])
    ended = {m.id: m for m in members}
    folds = [_scored(fold, ended.get(fold.fold)) for fold in nested.folds]
    found.nested = summarized(nested.model_copy(update={"folds": folds}), spec, rows)
    return found


def _scored(fold: NestedFold, member: MemberRecord | None) -> NestedFold:
    if member is None or member.epochs != fold.epoch:
        return fold
    scores = {name: value for name, value in member.last.items() if name.startswith("val_")}
    return fold.model_copy(update={"scores": scores})


def summarized(nested: NestedRecord, spec: schema.ExperimentSpec, rows: int | None = None) -> NestedRecord:
    """The record with the means over its outer folds, if all have scores; `rows`: see `interval_of`."""
    found = nested.model_copy()
    found.inner, found.inner_std = means_and_stds([fold.inner for fold in found.folds])
    if not all(fold.scores for fold in found.folds):
        return found
    found.scores, found.scores_std = means_and_stds([fold.scores for fold in found.folds])
    n = len(found.folds)
    found.interval = {
        name: interval_of(name, mean, std, n, spec, rows)
        for name, mean in found.scores.items()
        if mean is not None and (std := found.scores_std.get(name)) is not None
    }
    return found


def means_and_stds(each: Sequence[Scores]) -> tuple[dict[str, float | None], dict[str, float | None]]:
    """Column → the mean over folds; and the standard deviation (ddof 1), where there are several.

    None where one of them is not finite.
    """
    means: dict[str, float | None] = {}
    stds: dict[str, float | None] = {}
    for name in each[0] if each else ():
        values = [math.nan if (value := of.get(name)) is None else value for of in each]
        mean, std = mean_and_deviation(values) if np.isfinite(values).all() else (None, None)
        means[name] = mean
        if len(each) > 1:
            stds[name] = std
    return means, stds
