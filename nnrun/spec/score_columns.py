"""Columns of a run's history: their names, and the one rule that chooses the best epoch."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final, NamedTuple

from nnrun.spec import schema

NOT_METRICS = ("loss", "epoch", "fold", "seed", "learning_rate", "seconds")
"""Columns of a history that are no metrics."""


def trained_columns(spec: schema.ExperimentSpec) -> list[str]:
    """The loss and the metrics of the training rows; of several outputs each one's, behind the total loss."""
    columns = ["loss", *map(metric_column, spec.metrics)]
    for name, port in spec.outputs.items():
        columns += [f"{name}_{column}" for column in ("loss", *map(metric_column, port.metrics))]
    return columns


def metric_column(metric: schema.Component) -> str:
    """The name of a metric's column: its own, or that of the custom function."""
    if isinstance(metric, schema.CustomMetric):
        return metric.name or metric.object.rpartition(":")[2]
    return metric.kind


def directions(spec: schema.ExperimentSpec) -> dict[str, bool]:
    """Column → whether it is better the higher it is, where its name does not tell.

    Of the custom metrics that say so in the spec; of several outputs, of all their columns.
    """
    found = {}
    for metric in spec.metrics:
        if isinstance(metric, schema.CustomMetric) and metric.maximize is not None:
            found[metric_column(metric)] = metric.maximize
    for name, port in spec.outputs.items():
        found[f"{name}_loss"] = False
        for metric in port.metrics:
            found[f"{name}_{metric_column(metric)}"] = _higher_is_better(metric)
    return found


def _higher_is_better(metric: schema.Component) -> bool:
    if isinstance(metric, schema.CustomMetric):
        return metric_column(metric).endswith("_score") if metric.maximize is None else metric.maximize
    assert isinstance(metric, schema.BuiltInMetric), "every other metric is nnrun's own"
    return metric.higher_is_better


def validated_columns(spec: schema.ExperimentSpec) -> list[str]:
    """The same of the validation rows; empty where nothing is validated."""
    if isinstance(spec.validation, schema.NoValidation):
        return []
    return [f"val_{column}" for column in trained_columns(spec)]


INNER = "inner_"
"""What the names of the columns of inner rows begin with (`early_stopping: {on: inner}`)."""


def has_inner_rows(spec: schema.ExperimentSpec) -> bool:
    """Whether a part of the training rows decides when to stop."""
    return spec.early_stopping is not None and spec.early_stopping.on == "inner"


def inner_columns(spec: schema.ExperimentSpec) -> list[str]:
    """The columns of the inner rows; empty where there are none."""
    return [INNER + column for column in trained_columns(spec)] if has_inner_rows(spec) else []


def without_phase(column: str) -> str:
    """A column's measure: its name without `val_` or `inner_`."""
    return column.removeprefix("val_").removeprefix(INNER)


def ranking_column(spec: schema.ExperimentSpec) -> str | None:
    """The validated column that compares the trials of a sweep by default; None where nothing is validated.

    It is the one that chooses the best epoch, or of inner rows the same measure of the validation rows.
    """
    column = chooser(spec)
    if column is None or not column.startswith(INNER):
        return column
    return None if isinstance(spec.validation, schema.NoValidation) else f"val_{without_phase(column)}"


def best_epoch_column(spec: schema.ExperimentSpec, ranked_by: str | None) -> str | None:
    """The column that chooses a run's best epoch; None where no rows do.

    Inner rows choose it by themselves, whatever column ranks the run among others.

    Args:
        spec: of the run.
        ranked_by: the column that ranks it among the trials of a sweep, if it is one.
    """
    return chooser(spec) if has_inner_rows(spec) else ranked_by or chooser(spec)


def chooser(spec: schema.ExperimentSpec) -> str | None:
    """The column that chooses the best epoch; None where no rows do, neither validation nor inner ones."""
    if has_inner_rows(spec):
        assert spec.early_stopping is not None
        return spec.early_stopping.monitor
    if isinstance(spec.validation, schema.NoValidation):
        return None
    stopping = spec.early_stopping
    watched = stopping.monitor if stopping is not None else ""
    return watched if watched.startswith("val_") else "val_loss"


class BestRule(NamedTuple):
    """Which epochs count as the best of a column, and which gains.

    Attributes:
        min_delta: a gain must be larger than this to count.
        start_from: so many epochs at the beginning do not count, unless there are no others.
    """

    min_delta: float = 0.0
    start_from: int = 0

    def begins_at(self, epoch: int) -> bool:
        """Whether this is the first epoch that counts, and takes the place of those before."""
        return 0 < self.start_from == epoch - 1


ALL_COUNT: Final = BestRule()


@dataclass
class BestEpoch:
    """The best value of a column so far.

    Attributes:
        maximize: whether larger is better.
        rule: which epochs count, and which gains.
        value: the best value so far, NaN before the first. NaN and infinities never count as best.
        epoch: its epoch, the first of equals; None before the first.
    """

    maximize: bool
    rule: BestRule = ALL_COUNT
    value: float = math.nan
    epoch: int | None = None

    def improved(self, epoch: int, value: float) -> bool:
        """Take note of an epoch's value, and say whether it is the best so far by more than `min_delta`."""
        if self.rule.begins_at(epoch):
            self.value, self.epoch = math.nan, None
        gain = value - self.value if self.maximize else self.value - value
        if math.isfinite(value) and (self.epoch is None or gain > self.rule.min_delta):
            self.value, self.epoch = value, epoch
            return True
        return False
