"""Nested cross-validation of one spec, `nnrun kfold --nested`: two runs, of which the second is the result.

The *inner run* trains the folds that the spec's validation makes within the training rows of every outer
fold, all side by side. From its history follows how long to train within each outer fold. The *outer run* is
a k-fold run over the outer folds: each network trains on all training rows of its fold for that long, as
`nnrun final` would, and no row that scores it had a say in anything. Both are ordinary runs, which are
resumed, reproduced and predicted with as any other.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from nnrun.errors import UsageError
from nnrun.experiment.finished.load_run import load_run_spec
from nnrun.experiment.finished.nested_choice import choose_within, refuse_missing_choices
from nnrun.experiment.running.job import Settings
from nnrun.experiment.running.listener import SILENT, Listener
from nnrun.experiment.running.train import run_experiment
from nnrun.experiment.setup.folds import smoke_spec, with_validation
from nnrun.experiment.setup.groups import Selection
from nnrun.records import RunDirectory, RunRecord, list_runs
from nnrun.spec import schema
from nnrun.spec.outer_folds import outer_validation
from nnrun.spec.reading.load import LoadedSpec

_AS_FINAL: Final = {"nested": None, "sweep": None, "early_stopping": None, "time_limit": None}
"""What is left out where the number of epochs is decided, as a final run leaves it out."""


def run_nested(loaded: LoadedSpec, settings: Settings, listener: Listener = SILENT) -> RunDirectory:
    """Choose the epoch within each outer fold, then train and score what was chosen; give the outer run.

    Args:
        loaded: a spec with `nested`.
        settings: how and where; `only_fold` names an outer fold.
        listener: is told what happens.

    Raises:
        NnrunError: nothing can be chosen within one of them.
        DataError: the data do not allow such folds.
        UsageError, DivergedError, RunInterrupted: as from `run_experiment`, of the inner or the outer run.
    """
    if settings.smoke:
        loaded = replace(loaded, spec=smoke_spec(loaded.spec))
    inner = run_experiment(loaded, replace(settings, inner_folds=True), listener)
    return _run_outer(inner, loaded, settings, listener)


def go_on_with_nested(run: RunDirectory, settings: Settings, listener: Listener = SILENT) -> RunDirectory:
    """The outer run of an inner run that has completed: trained now, where it has not begun yet.

    Any other run is given back; of the trials of a sweep the sweep trains what was chosen.

    Raises:
        UsageError: the outer run has begun and not ended: it is to be resumed itself.
    """
    record = run.read_record()
    if not record.is_inner or record.trial is not None or record.status != "completed":
        return run
    begun = _outer_runs(run, record)
    if not begun:
        loaded = load_run_spec(run, data_dir=settings.data_dir)
        device = record.device if settings.device == "auto" and record.device else settings.device
        settings = replace(settings, command="kfold", runs_dir=run.runs_dir, device=device)
        return _run_outer(run, loaded, settings, listener)
    outer = begun[0]
    if outer.read_record().status != "completed":
        raise UsageError(
            f"{run.id} has ended, and what was chosen in it is trained in {outer.id}. Resume that: nnrun "
            f"train --resume {outer.path}"
        )
    return outer


def _outer_runs(inner: RunDirectory, record: RunRecord) -> list[RunDirectory]:
    """The outer runs of an inner run, the newest first."""
    same_name = [found.run for found in list_runs(inner.runs_dir) if found.name == record.name]
    records = [(run, run.read_record()) for run in same_name]
    return [run for run, of in records if of.parent == inner.id and of.is_nested]


def outer_spec(spec: schema.ExperimentSpec, epochs: int) -> schema.ExperimentSpec:
    """The spec of an outer run, whose validation are the outer folds of a spec with `nested`."""
    changes = {**_AS_FINAL, "epochs": epochs}
    return with_validation(spec, outer_validation(spec)).model_copy(update=changes)


def _run_outer(
    inner: RunDirectory, loaded: LoadedSpec, settings: Settings, listener: Listener
) -> RunDirectory:
    """Train what was chosen within each outer fold on all its training rows, and score it on the others."""
    record, spec = inner.read_record(), loaded.spec
    known = record.nested
    assert known is not None, "it is an inner run"
    chosen = choose_within(inner.read_history(), spec)
    wanted = range(known.k) if known.only_fold is None else (known.only_fold,)
    refuse_missing_choices(list(chosen), wanted, record.chosen_by)
    epochs = {fold: choice.epoch for fold, choice in chosen.items()}
    listener.message(
        f"chosen by {record.chosen_by} within the outer folds: epoch {', '.join(map(str, epochs.values()))}; "
        "each is now trained on all training rows of its fold"
    )
    nested = known.model_copy(update={"part": "outer", "folds": list(chosen.values())})
    nested.chosen_by = record.chosen_by
    outer = outer_spec(spec, max(epochs.values()))
    return run_experiment(
        replace(loaded, spec=outer),
        replace(
            settings,
            selection=Selection(only_fold=known.only_fold),
            parent=inner.id,
            parent_data=record.data_hashes,
            smoke=record.smoke,
            stop_after=epochs,
            nested=nested,
        ),
        listener,
    )
