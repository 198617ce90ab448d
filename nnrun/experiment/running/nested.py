"""Nested cross-validation of one spec, `nnrun kfold --nested`: two runs, of which the second is the result.

The *inner run* trains the folds that the spec's validation makes within the training rows of every outer
fold, all side by side. From its history follows how long to train within each outer fold. The *outer run* is
a k-fold run over the outer folds: each network trains on all training rows of its fold for that long, as
`nnrun final` would, and no row that scores it had a say in anything. Both are ordinary runs, which are
resumed, reproduced and predicted with as any other. With `members: folds` there is no outer run: the inner
folds' networks, averaged, are what is scored, and the inner run has the scores.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from nnrun.data import Dataset
from nnrun.data.load_data import load_data
from nnrun.errors import UsageError
from nnrun.experiment.finished.decisions import as_trained
from nnrun.experiment.finished.listing import outer_runs
from nnrun.experiment.finished.load_run import load_networks, load_run_spec, refuse_changed_data
from nnrun.experiment.finished.nested_choice import choose_within, refuse_missing_choices, summarized
from nnrun.experiment.launching.launcher import Workers
from nnrun.experiment.running.job import Settings
from nnrun.experiment.running.listener import SILENT, Listener
from nnrun.experiment.running.score import known_targets, score_average
from nnrun.experiment.running.shared_run import train_shared
from nnrun.experiment.running.train import run_experiment
from nnrun.experiment.setup.folds import folds_of, outer_folds_of, smoke_spec, with_validation
from nnrun.experiment.setup.groups import Selection
from nnrun.records import Member, RunDirectory, RunRecord
from nnrun.records.run_record import NestedFold
from nnrun.spec import schema
from nnrun.spec.outer_folds import outer_validation
from nnrun.spec.reading.load import LoadedSpec
from nnrun.training.device import resolve_device
from nnrun.validation.splits import rows_scored_once

_AS_FINAL: Final = {"nested": None, "sweep": None, "early_stopping": None, "time_limit": None}
"""What is left out where the number of epochs is decided, as a final run leaves it out."""


def run_nested(
    loaded: LoadedSpec, settings: Settings, listener: Listener = SILENT, workers: Workers | None = None
) -> RunDirectory:
    """Choose the epoch within each outer fold, then train and score what was chosen; give the outer run.

    Args:
        loaded: a spec with `nested`.
        settings: how and where; `only_fold` names an outer fold.
        listener: is told what happens.
        workers: who trains the folds of both runs; default: this process.

    Raises:
        NnrunError: nothing can be chosen within one of them.
        DataError: the data do not allow such folds.
        UsageError, DivergedError, RunInterrupted: as from `run_experiment` or `train_shared`, of the inner or
            the outer run.
    """
    if settings.smoke:
        loaded = replace(loaded, spec=smoke_spec(loaded.spec))
    inner_settings = replace(settings, inner_folds=True)
    if workers is None:
        inner = run_experiment(loaded, inner_settings, listener)
    else:
        inner = train_shared(loaded, inner_settings, listener, workers)
    if loaded.spec.nested is not None and loaded.spec.nested.members:
        return _score_inner(inner, loaded.spec, settings, listener)
    return _run_outer(inner, loaded, settings, listener, workers)


def awaits_outer_run(run: RunDirectory) -> bool:
    """Whether it is an inner run that has completed, of what was chosen in which nothing has been trained."""
    record = run.read_record()
    if not record.is_inner or record.trial is not None or record.status != "completed":
        return False
    of_members = record.nested is not None and record.nested.members is not None
    return not of_members and not outer_runs(run)


def go_on_with_nested(
    run: RunDirectory, settings: Settings, listener: Listener = SILENT, workers: Workers | None = None
) -> RunDirectory:
    """The outer run of an inner run that has completed: trained now, where it has not begun yet.

    Any other run is given back; of the trials of a sweep the sweep trains what was chosen. Where there are
    `workers`, they train it.

    Raises:
        UsageError: the outer run has begun and not ended: it is to be resumed itself.
    """
    record = run.read_record()
    if not record.is_inner or record.trial is not None or record.status != "completed":
        return run
    if record.nested is not None and record.nested.members:
        if record.nested.scores:
            return run
        loaded = load_run_spec(run, data_dir=settings.data_dir)
        return _score_inner(run, loaded.spec, settings, listener)
    begun = outer_runs(run)
    if not begun:
        loaded = replace(load_run_spec(run, data_dir=settings.data_dir), source_text=run.read_spec())
        device = record.device if settings.device == "auto" and record.device else settings.device
        settings = replace(settings, command="kfold", runs_dir=run.runs_dir, device=device)
        return _run_outer(run, loaded, settings, listener, workers)
    outer = begun[0]
    if outer.read_record().status != "completed":
        raise UsageError(
            f"{run.id} has ended, and what was chosen in it is trained in {outer.id}. Resume that: nnrun "
            f"train --resume {outer.path}"
        )
    return outer


def outer_spec(spec: schema.ExperimentSpec, epochs: int) -> schema.ExperimentSpec:
    """The spec of an outer run, whose validation are the outer folds of a spec with `nested`."""
    changes = {**_AS_FINAL, "epochs": epochs}
    return with_validation(spec, outer_validation(spec)).model_copy(update=changes)


def score_members(
    inner: RunDirectory, spec: schema.ExperimentSpec, dataset: Dataset, outer: Sequence[int], device: str
) -> dict[int, dict[str, float]]:
    """Outer fold → column → what its inner folds' networks, averaged, score on the rows of the fold.

    They have the weights that training ended with, as those of `nnrun final --members folds`. None of them
    has seen these rows.

    Args:
        inner: the run that trained them.
        spec: its spec, with `nested`.
        dataset: its data.
        outer: the outer folds.
        device: where to compute.

    Raises:
        DataError: the run's files are missing or damaged.
    """
    n, plain, where = spec.validation.number_of_folds, as_trained(spec), resolve_device(device)
    outer_folds, inner_folds = outer_folds_of(spec, dataset, spec.seed), folds_of(spec, dataset, spec.seed)
    found = {}
    for index in outer:
        own = range(index * n, (index + 1) * n)
        networks, _ = load_networks(inner, "last", [Member("fold", number) for number in own])
        parts = [(network.fitted, network.weights) for network in networks]
        known = [known_targets(dataset.train, inner_folds[number].train_rows) for number in own]
        samples = dataset.train.take(outer_folds[index].validation_rows)
        _, average = score_average(plain, parts, samples, known, where)
        found[index] = {f"val_{name}": value for name, value in average.items()}
    return found


def rows_of_outer_folds(spec: schema.ExperimentSpec, dataset: Dataset) -> int | None:
    """How many rows the outer folds of a spec with `nested` score together, each once."""
    return rows_scored_once(outer_folds_of(spec, dataset, spec.seed))


def _score_inner(
    inner: RunDirectory, spec: schema.ExperimentSpec, settings: Settings, listener: Listener
) -> RunDirectory:
    """Score the average of the inner folds' networks on each outer fold; the inner run keeps it."""
    chosen, record = _choices(inner, spec)
    nested = record.nested
    assert nested is not None, "it is an inner run"
    listener.message(
        f"on each outer fold the average of its {nested.inner_folds} inner networks is scored: nothing is "
        "trained anew"
    )
    on_message = listener.message
    dataset = load_data(spec, data_dir=settings.data_dir, smoke=record.smoke, on_message=on_message)
    refuse_changed_data(dataset, record.data_hashes, inner.id)
    scores = score_members(inner, spec, dataset, list(chosen), settings.device)
    folds = [fold.model_copy(update={"scores": scores[fold.fold]}) for fold in chosen.values()]
    found = nested.model_copy(update={"folds": folds, "chosen_by": record.chosen_by})
    with inner.owned():
        record = inner.read_record()
        record.nested = summarized(found, spec, rows_of_outer_folds(spec, dataset))
        inner.write_record(record)
    return inner


def _choices(inner: RunDirectory, spec: schema.ExperimentSpec) -> tuple[dict[int, NestedFold], RunRecord]:
    """Outer fold → what was chosen within it, and the inner run's record."""
    record = inner.read_record()
    known = record.nested
    assert known is not None, "it is an inner run"
    chosen = choose_within(inner.read_history_table(), spec)
    wanted = range(known.k) if known.only_fold is None else (known.only_fold,)
    refuse_missing_choices(list(chosen), wanted, record.chosen_by)
    return chosen, record


def _run_outer(
    inner: RunDirectory, loaded: LoadedSpec, settings: Settings, listener: Listener, workers: Workers | None
) -> RunDirectory:
    """Train what was chosen within each outer fold on all its training rows, and score it on the others."""
    spec = loaded.spec
    chosen, record = _choices(inner, spec)
    known = record.nested
    assert known is not None, "it is an inner run"
    epochs = {fold: choice.epoch for fold, choice in chosen.items()}
    listener.message(
        f"chosen by {record.chosen_by} within the outer folds: epoch {', '.join(map(str, epochs.values()))}; "
        "each is now trained on all training rows of its fold"
    )
    nested = known.model_copy(update={"part": "outer", "folds": list(chosen.values())})
    nested.chosen_by = record.chosen_by
    outer = outer_spec(spec, max(epochs.values()))
    settings = replace(
        settings,
        selection=Selection(only_fold=known.only_fold),
        parent=inner.id,
        parent_data=record.data_hashes,
        smoke=record.smoke,
        stop_after=epochs,
        nested=nested,
    )
    loaded = replace(loaded, spec=outer)
    if workers is None or len(epochs) == 1:  # one network is nothing to share
        return run_experiment(loaded, settings, listener)
    return train_shared(loaded, settings, listener, workers)
