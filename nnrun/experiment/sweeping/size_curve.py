"""A learning curve over the number of training rows: a sweep over `train_fraction` alone.

Each fraction is a run of its own, whose folds, or seeds where the spec has no folds, train side by side. The
records are those of a sweep: `runs/<name>-curve-sweep-...`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from nnrun.data import Dataset
from nnrun.errors import UsageError
from nnrun.experiment.running.job import Settings
from nnrun.experiment.setup.folds import folds_of
from nnrun.experiment.setup.groups import Selection
from nnrun.experiment.sweeping.size_curve_result import COMMAND, KEY
from nnrun.experiment.sweeping.sweep import run_sweep
from nnrun.experiment.sweeping.sweep_data import Datasets
from nnrun.experiment.sweeping.sweep_listener import SweepListener
from nnrun.records import SweepDirectory
from nnrun.spec import schema
from nnrun.spec.comparing.sweep_scores import not_comparable
from nnrun.spec.reading.load import load_spec
from nnrun.spec.reading.overrides import Override, Overrides, overrides_of
from nnrun.spec.reading.sources import SpecSource
from nnrun.spec.score_columns import ranking_column, validated_columns
from nnrun.spec.sweep_plan import SweepPlan, load_sweep
from nnrun.spec.wording import listing


@dataclass(frozen=True)
class CurveOptions:
    """What a curve has.

    Attributes:
        fractions: of the training rows of each fold.
        seeds: how many networks each fraction trains where the spec has no folds.
        metric: the score that is compared, without `val_`; default: the one that chooses the best epoch.
        same_epochs: train each fraction for the spec's epochs, and not for as many steps as all rows.
    """

    fractions: Sequence[float] = (0.125, 0.25, 0.5, 1.0)
    seeds: int = 5
    metric: str | None = None
    same_epochs: bool = False


@dataclass(frozen=True)
class PlannedCurve:
    """A curve that can be trained: the sweep, how and where, and the data."""

    plan: SweepPlan
    settings: Settings
    datasets: Datasets


def plan_curve(
    path: SpecSource,
    settings: Settings,
    *,
    overrides: Overrides = (),
    options: CurveOptions = CurveOptions(),
    listener: SweepListener | None = None,
) -> PlannedCurve:
    """Read the spec, load its data, and decide how many epochs each fraction is trained.

    All are trained for about as many steps: fewer rows for more epochs, since with as many epochs small parts
    would be trained too little, and look worse than they are. The patience of early stopping grows alike.

    Args:
        path: the spec file.
        settings: how and where; the command and the seeds are set here.
        overrides: changes of the spec.
        options: which fractions.
        listener: is told what happens.

    Raises:
        UsageError: there are no such fractions or metric, or the spec has no validation.
        SpecError, DataError: the spec or its data are not in order.
    """
    fractions = _checked(options)
    spec = load_spec(path, overrides).spec
    if isinstance(spec.validation, schema.NoValidation):
        raise UsageError(
            "curve compares scores on validation rows, and the spec validates nothing. Add validation, such "
            "as --set validation=holdout."
        )
    if spec.nested is not None:
        raise UsageError("curve trains the folds of a spec once: leave out nested (--set nested=none).")
    seeds = None if spec.has_folds else options.seeds
    settings = replace(settings, command=COMMAND, selection=Selection(seeds=seeds))
    datasets = Datasets(settings, listener or SweepListener())
    section = {"over": {KEY: fractions}, "monitor": _monitor(spec, options.metric), "together": 1}
    changes = {"name": f"{spec.name}-curve", "sweep": section}
    of_curve = [Override.of_value(name, value, COMMAND, prevails=True) for name, value in changes.items()]
    plan = load_sweep(path, [*overrides_of(overrides), *of_curve])
    if not options.same_epochs:
        dataset = datasets.of(spec)
        trials = tuple(
            replace(trial, loaded=replace(trial.loaded, spec=_as_many_steps(trial.loaded.spec, dataset)))
            for trial in plan.trials
        )
        plan = replace(plan, trials=trials)
    return PlannedCurve(plan, settings, datasets)


def run_curve(
    planned: PlannedCurve, listener: SweepListener | None = None, *, new: bool = False
) -> SweepDirectory:
    """Train what has not been trained yet; the same curve again trains nothing. Raises as `run_sweep`."""
    return run_sweep(planned.plan, planned.settings, listener, new=new, datasets=planned.datasets)


def _checked(options: CurveOptions) -> list[float]:
    """The fractions, ascending, each once."""
    fractions = sorted(set(options.fractions))
    if len(fractions) < 2 or not 0 < fractions[0] <= fractions[-1] <= 1:
        shown = ", ".join(f"{fraction:g}" for fraction in options.fractions)
        raise UsageError(
            f"The fractions of the training rows are {shown}; there must be two or more, above 0 and at most "
            "1, such as 0.25,0.5,1."
        )
    if options.seeds < 2:
        raise UsageError(
            "A curve needs 2 or more seeds: one network for each fraction cannot show what is chance."
        )
    return fractions


def _monitor(spec: schema.ExperimentSpec, metric: str | None) -> str:
    """The validated column that is compared: what chooses the best epoch, if it means the same for all parts.

    The loss of targets that are scaled by the rows of each part does not.
    """
    columns = validated_columns(spec)
    whole, part = (spec.model_copy(update={KEY: fraction}) for fraction in (1.0, 0.5))
    reasons = {column: not_comparable(whole, part, column) for column in columns}
    comparable = [column.removeprefix("val_") for column, reason in reasons.items() if reason is None]
    chosen = ranking_column(spec) if metric is None else f"val_{metric.removeprefix('val_')}"
    assert chosen is not None, "there is validation"
    if chosen not in columns:
        names = listing([name.removeprefix("val_") for name in columns], "and")
        raise UsageError(f"metric {metric}: the spec has no such score. It has {names}.")
    if reasons[chosen] is None:
        return chosen
    if metric is None and comparable:
        return f"val_{comparable[0]}"
    instead = (
        f"Compare by another: --metric {comparable[0]}" if comparable else "Add one: --set metrics=[mae]"
    )
    raise UsageError(f"{chosen} cannot compare parts of the training rows: {reasons[chosen]}. {instead}.")


def _as_many_steps(spec: schema.ExperimentSpec, dataset: Dataset) -> schema.ExperimentSpec:
    """The spec with more epochs, so that its part of the rows makes as many steps as all of them."""
    part = _steps_per_epoch(spec, dataset)
    whole = _steps_per_epoch(spec.model_copy(update={KEY: 1.0}), dataset)
    changes: dict[str, object] = {"epochs": math.ceil(spec.epochs * whole / part)}
    stopping = spec.early_stopping
    if stopping is not None:
        patience = math.ceil(stopping.patience * whole / part)
        changes["early_stopping"] = stopping.model_copy(update={"patience": patience})
    return spec.model_copy(update=changes)


def _steps_per_epoch(spec: schema.ExperimentSpec, dataset: Dataset) -> int:
    """Of the first fold."""
    return math.ceil(len(folds_of(spec, dataset, spec.seed)[0].train_rows) / spec.batch_size)
