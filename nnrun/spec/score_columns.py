"""Columns of a run's history: their names, and the one rule that chooses the best epoch."""

from __future__ import annotations

import math
from dataclasses import dataclass

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


def chooser(spec: schema.ExperimentSpec) -> str | None:
    """The column that chooses the best epoch; None where nothing is validated."""
    if isinstance(spec.validation, schema.NoValidation):
        return None
    stopping = spec.early_stopping
    watched = stopping.monitor if stopping is not None else ""
    return watched if watched.startswith("val_") else "val_loss"


@dataclass
class BestEpoch:
    """The best value of a column so far.

    Attributes:
        maximize: whether larger is better.
        min_delta: a gain must be larger than this to count.
        value: the best value so far, NaN before the first. NaN and infinities never count as best.
        epoch: its epoch, the first of equals; None before the first.
    """

    maximize: bool
    min_delta: float = 0.0
    value: float = math.nan
    epoch: int | None = None

    def improved(self, epoch: int, value: float) -> bool:
        """Take note of an epoch's value, and say whether it is the best so far by more than `min_delta`."""
        gain = value - self.value if self.maximize else self.value - value
        if math.isfinite(value) and (self.epoch is None or gain > self.min_delta):
            self.value, self.epoch = value, epoch
            return True
        return False
