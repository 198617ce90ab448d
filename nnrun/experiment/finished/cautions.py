"""What to know before a run's scores: a constant or a linear model may do as well, or they look too good."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping

import numpy as np

from nnrun.data import Samples
from nnrun.data.dataset import Array
from nnrun.data.table import CategoryColumn, Column, NumberColumn, Table
from nnrun.experiment.finished.advice import are_level, are_noise, what_to_try
from nnrun.records import SHUFFLED, RunRecord
from nnrun.records.run_record import NearPerfect
from nnrun.spec import schema
from nnrun.spec.graph import all_layers
from nnrun.spec.ports import OUTPUT, output_views
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
