"""How much each input column of a run matters: by how much a score gets worse when the column is shuffled.

Permutation importance (Breiman 2001), as scikit-learn's `permutation_importance` has it, of rows that a
network did not see: of folds each network on its own validation rows. All columns are shuffled by the same
permutations of a network's rows, so that a difference between two columns is not one between two draws.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np

from nnrun.data import Samples
from nnrun.data.dataset import Array
from nnrun.errors import DataError, UsageError
from nnrun.experiment.evaluating.correlated_columns import correlated_columns
from nnrun.experiment.evaluating.evaluate import samples_of
from nnrun.experiment.evaluating.evaluation import Split
from nnrun.experiment.evaluating.exchanged_columns import InputColumn, PreparedRows, input_columns
from nnrun.experiment.evaluating.partial_dependence import PlannedCurve, measure_curves, plan_curves
from nnrun.experiment.finished.load_run import DEFAULT_ACCESS, Access, TrainedNetwork
from nnrun.experiment.predicting.open_run import OpenRun, open_run
from nnrun.experiment.running.score import MeasuredNetwork
from nnrun.records import LookCount, RunDirectory, now
from nnrun.records.importance_record import (
    ColumnImportance,
    ImportanceRecord,
    ImportanceTable,
)
from nnrun.spec import schema
from nnrun.spec.graph import graph_of
from nnrun.spec.ports import Port, output_views
from nnrun.spec.random_streams import derive_seed
from nnrun.spec.score_columns import directions, metric_column
from nnrun.spec.wording import counted, listing, nearest, quoted
from nnrun.validation.frozen_random import frozen_random
from nnrun.validation.summary import interval_of_mean, mean_and_deviation, monitor_mode


@dataclass(frozen=True)
class ImportanceSettings:
    """What is asked about a run's columns.

    Attributes:
        metric: `loss` or one of the spec's metrics; default: each output's first metric, or the loss.
        output: one of several outputs; default: all that have the metric.
        repeats: how often each column is shuffled.
        seed: of the permutations; default: the spec's.
        split: which rows the networks are asked about.
        curves: columns whose partial dependence is drawn.
    """

    metric: str | None = None
    output: str | None = None
    repeats: int = 5
    seed: int | None = None
    split: Split = "validation"
    curves: Sequence[str] = ()


@dataclass(frozen=True)
class _Score:
    """A score that gets worse: the `column` of a history, of an output, by the name of its metric."""

    port: Port
    metric: str
    column: str
    higher_is_better: bool


def measure_importance(
    run: RunDirectory, access: Access = DEFAULT_ACCESS, settings: ImportanceSettings | None = None
) -> ImportanceRecord:
    """Shuffle each column, measure the run's networks again, and keep what that shows in the run's folder.

    A look at the test set is written into the run's record before its rows are used.

    Args:
        run: the run.
        access: how it is opened. Its listener hears how much there is to do.
        settings: what is asked.

    Raises:
        UsageError: there are no such rows, columns, outputs or scores; the run is a smoke run; or its inputs
            have no columns.
        DataError: the run's files or data are missing, damaged or changed; or a score is not finite.
        LockedError: another process writes into the run's record.
    """
    settings = ImportanceSettings() if settings is None else settings
    if settings.split not in get_args(Split):
        raise UsageError(f"split is {settings.split!r}; it must be test or validation.")
    if settings.repeats < 1:
        raise UsageError(f"repeats is {settings.repeats}; it must be at least 1.")
    if run.read_record().smoke:
        raise UsageError(
            f"{run.id} is a smoke run: its networks learned from generated rows, to which no column matters. "
            "Train the spec on its data first."
        )
    with run.owned_for_a_look() if settings.split == "test" else nullcontext():
        opened = open_run(run, access)
        scores = _scores_asked_for(opened.spec, settings)
        columns = input_columns(
            run.id, graph_of(opened.spec), opened.dataset, opened.networks[0].fitted.inputs
        )
        samples = samples_of(opened, settings.split)
        curves = plan_curves(opened, columns, settings.curves, [score.port for score in scores])
        look = opened.count_look("importance")[1] if settings.split == "test" else None
    record = _measured(opened, samples, settings, columns, scores, curves, look)
    run.write_importance(record)
    return record


def _measured(
    opened: OpenRun,
    samples: Samples,
    settings: ImportanceSettings,
    columns: Sequence[InputColumn],
    scores: Sequence[_Score],
    curves: Sequence[PlannedCurve],
    look: LookCount | None,
) -> ImportanceRecord:
    seed = opened.spec.seed if settings.seed is None else settings.seed
    rows = [_rows_of(opened, network, samples, settings.split) for network in opened.networks]
    listener, networks = opened.access.listener, len(opened.networks)
    times = counted(settings.repeats, "time")
    listener.message(
        f"shuffling {counted(len(columns), 'column')} {times} for {counted(networks, 'network')}"
    )
    each = []
    for network, own in zip(opened.networks, rows, strict=True):
        at_RN = permutations(len(own), settings.repeats, seed, network)
        each.append(_drops_of(opened, network, own, columns, scores, at_RN))
    sizes = [len(own) for own in rows]
    kind: Literal["folds", "seeds"] = "seeds" if opened.member_type == "seed" else "folds"
    return ImportanceRecord(
        at=now(),
        split=settings.split,
        rows=sorted({min(sizes), max(sizes)}),
        weights=opened.weights.text,
        networks=networks,
        over=kind if networks > 1 else "repeats",
        repeats=settings.repeats,
        seed=seed,
        look=None if look is None else look.by_name,
        look_of_any=None if look is None else look.by_any,
        averaged=opened.run.read_record().ensemble is not None,
        tables=[_table(score, columns, [found[score.column] for found in each]) for score in scores],
        correlated=correlated_columns(columns, opened.dataset),
        curves=measure_curves(opened, rows, curves, seed),
    )


def permutations(rows: int, repeats: int, seed: int, network: TrainedNetwork) -> Array:
    """(repeats, rows): the permutations of one network's rows, which do not depend on the other networks."""
    rng = frozen_random(derive_seed(seed, replica=network.id, purpose="importance"))
    return np.array([rng.permutation(rows) for _ in range(repeats)]).reshape(repeats, rows)


@dataclass(frozen=True, eq=False)
class _Drops:
    """What shuffling changes in one score of one network.

    Attributes:
        score: with all columns as they are.
        drops_CR: for each of C columns and R permutations by how much the score is worse.
    """

    score: float
    drops_CR: Array


def _drops_of(
    opened: OpenRun,
    network: TrainedNetwork,
    samples: Samples,
    columns: Sequence[InputColumn],
    scores: Sequence[_Score],
    permutations_RN: Array,
) -> dict[str, _Drops]:
    """Score → what shuffling each column changes in it, of one network and its N rows.

    Raises:
        DataError: a score is not finite.
    """
    fitted = network.fitted
    measured = MeasuredNetwork.of(opened.spec, fitted, network.weights, samples, opened.device)
    prepared = PreparedRows.of(fitted.inputs, samples)
    before = _finite(measured.scores(), scores, "")
    found = {score.column: np.empty((len(columns), len(permutations_RN))) for score in scores}
    for c, column in enumerate(columns):
        for r, at in enumerate(permutations_RN):
            inputs = prepared.with_column(column, prepared, at, opened.device)
            after = _finite(measured.scores(inputs), scores, f" once {quoted(column.name)} is shuffled")
            for score in scores:
                change = after[score.column] - before[score.column]
                found[score.column][c, r] = -change if score.higher_is_better else change
    return {name: _Drops(before[name], drops_CR) for name, drops_CR in found.items()}


def _finite(measured: Mapping[str, float], scores: Sequence[_Score], when: str) -> Mapping[str, float]:
    for score in scores:
        if not np.isfinite(measured[score.column]):
            raise DataError(
                f"{score.column} is not a finite number{when}: the network diverged, or some rows are far "
                "outside of what it was trained on. `nnrun evaluate` shows what it gives."
            )
    return measured


def _table(score: _Score, columns: Sequence[InputColumn], each: Sequence[_Drops]) -> ImportanceTable:
    """The mean of all networks, each of which counts the same, as in an evaluation."""
    drops_MCR = np.stack([found.drops_CR for found in each])
    found = [_of_column(column.name, drops_MCR[:, c]) for c, column in enumerate(columns)]
    return ImportanceTable(
        output=score.port if score.column != score.metric else None,
        metric=score.metric,
        higher_is_better=score.higher_is_better,
        score=float(np.mean([drops.score for drops in each])),
        columns=sorted(found, key=lambda column: -column.importance),
    )


def _of_column(name: str, drops_MR: Array) -> ColumnImportance:
    """Of M networks and R permutations."""
    values = drops_MR.mean(axis=1) if len(drops_MR) > 1 else drops_MR[0]
    mean, std = mean_and_deviation(values)
    mean += 0.0  # no -0.0
    low = mean if std is None else interval_of_mean(mean, std, len(values))[0]
    return ColumnImportance(
        column=name, importance=mean, std=std, within_noise=low <= 0, each=drops_MR.tolist()
    )


def _rows_of(opened: OpenRun, network: TrainedNetwork, samples: Samples, split: Split) -> Samples:
    """What a network is asked about: all test rows, or its own validation rows."""
    return samples.take(opened.fold_of(network).validation_rows) if split == "validation" else samples


def _scores_asked_for(spec: schema.ExperimentSpec, settings: ImportanceSettings) -> list[_Score]:
    """One score for each output that has it.

    Raises:
        UsageError: there is no such output, or none has such a score.
    """
    views = output_views(spec)
    if settings.output is not None:
        if not spec.outputs:
            raise UsageError("--output names one of several outputs, and this run's spec names none.")
        if settings.output not in views:
            raise UsageError(_no_such("output", settings.output, list(views)))
        views = {settings.output: views[settings.output]}
    own, found, there = directions(spec), [], dict[str, None]()
    for port, view in views.items():
        names = ["loss", *map(metric_column, view.metrics)]
        there |= dict.fromkeys(names)
        prefix = f"{port}_" if spec.outputs else ""
        wanted = names[1 if len(names) > 1 else 0] if settings.metric is None else settings.metric
        metric = wanted if wanted in names else wanted.removeprefix(prefix)
        if metric in names:
            column = prefix + metric
            found.append(_Score(port, metric, column, monitor_mode(column, own) == "max"))
    if not found:
        raise UsageError(_no_such("metric", str(settings.metric), list(there)))
    return found


def _no_such(what: str, name: str, there: Sequence[str]) -> str:
    near = nearest(name, there)
    return (
        f"--{what} {quoted(name)}: the run has {listing(there, 'and')}."
        f"{f' Did you mean {quoted(near)}?' if near else ''}"
    )
