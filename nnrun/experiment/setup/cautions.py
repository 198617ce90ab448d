"""What a reader must know before the scores: that a constant does as well, or that they look too good."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping

import numpy as np

from nnrun.data import Samples
from nnrun.data.dataset import Array
from nnrun.data.table import CategoryColumn, Column, NumberColumn, Table
from nnrun.records import SHUFFLED, RunRecord
from nnrun.records.run_record import NearPerfect
from nnrun.spec import schema
from nnrun.spec.graph import all_layers
from nnrun.spec.score_columns import directions
from nnrun.validation.summary import monitor_mode

_PERFECT = {"accuracy": 0.999, "r2": 0.99}
"""From which value on a score is close to perfect."""

_MOST_ROWS = 5000  # that are looked at for the column behind such a score
_MOST_COLUMNS = 500
_LEAVES = 32  # of a tree over one column
_SMALL = 1e-9  # a difference that rounding explains


def cautions(record: RunRecord, spec: schema.ExperimentSpec, samples: Samples) -> RunRecord:
    """The fields of a run's record that say what to know before its scores.

    `not_better_than_baseline` maps each score that does not beat its baseline to both; `near_perfect` names a
    score that is close to perfect and the column of a table that predicts the target best by itself.

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
    return RunRecord(not_better_than_baseline=worse, near_perfect=near_perfect(own, samples))


def not_better(
    scores: Mapping[str, float | None], baseline: Mapping[str, float | None], spec: schema.ExperimentSpec
) -> dict[str, list[float]]:
    """Score → [its value, the baseline's], of each that is no better than the best constant.

    A baseline that is perfect tells nothing: whoever always says yes misses no positive. Nor does a loss that
    a penalty is part of. With class weights a network is to answer a rare class more often than it occurs,
    which costs accuracy and loss: where another score is better than its constant, these two tell nothing.
    """
    own, worse = directions(spec), {}
    penalized = any(getattr(layer, "kernel_regularizer", None) is not None for _, layer in all_layers(spec))
    for name, value in scores.items():
        constant = baseline.get(name)
        if value is None or constant is None or name == SHUFFLED or (name == "loss" and penalized):
            continue
        if not (math.isfinite(value) and math.isfinite(constant)):
            continue
        highest = monitor_mode(name, own) == "max"
        if name not in own and constant == (1.0 if highest else 0.0):
            continue
        gain = value - constant if highest else constant - value
        if gain <= _SMALL * max(1.0, abs(constant)):
            worse[name] = [value, constant]
    others = scores.keys() & baseline.keys() - {"loss", "accuracy", SHUFFLED}
    if spec.class_weight is not None and others - worse.keys():
        return {name: both for name, both in worse.items() if name in others}
    return worse


def near_perfect(scores: Mapping[str, float | None], samples: Samples) -> NearPerfect | None:
    """The first score that is close to perfect, with the column of a table that may explain it."""
    for name, least in _PERFECT.items():
        value = scores.get(name)
        if value is not None and value >= least:
            best = _best_column(samples, classes=name == "accuracy")
            if best is None:
                return None
            return NearPerfect(score=name, value=value, column=best[0], alone=best[1])
    return None


def _best_column(samples: Samples, *, classes: bool) -> tuple[str, float] | None:
    """The column of a table that predicts the target best by itself, and how well a small tree does so."""
    inputs, targets = samples.inputs, samples.targets
    targets = targets[:, 0] if targets.ndim == 2 and targets.shape[1] == 1 else targets
    if not isinstance(inputs, Table) or not len(inputs):
        return None
    rows = np.linspace(0, len(inputs) - 1, min(len(inputs), _MOST_ROWS)).astype(np.int64)
    if targets.ndim == 2:
        targets = targets.argmax(1) if classes else targets[:, 0]
    y = targets[rows]
    found = [
        (_alone(values, y, classes=classes), column.name)
        for column in inputs.columns[:_MOST_COLUMNS]
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
