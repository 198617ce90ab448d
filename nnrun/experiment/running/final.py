"""The last step of an experiment: train on all training rows, then look at the test set once."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Literal

import numpy as np

from nnrun.errors import UsageError, printable
from nnrun.experiment.finished.decision_text import decision_text, given_decision
from nnrun.experiment.finished.decisions import kept_decisions, open_outputs, with_decisions
from nnrun.experiment.finished.load_run import load_run_spec
from nnrun.experiment.finished.verdict import chosen_epoch
from nnrun.experiment.running.job import Settings
from nnrun.experiment.running.listener import SILENT, Listener
from nnrun.experiment.running.train import run_experiment
from nnrun.experiment.setup.data_location import refuse_lost_files
from nnrun.experiment.setup.folds import with_validation
from nnrun.records import RunDirectory, RunRecord, SweepDirectory, member_type_of
from nnrun.records.run_record import ChosenFrom, DecisionRecord
from nnrun.spec import schema
from nnrun.spec.ports import Port, output_views
from nnrun.spec.reading.load import LoadedSpec, read_kept_spec
from nnrun.spec.reading.overrides import Overrides, is_overridden
from nnrun.spec.score_columns import INNER
from nnrun.spec.wording import counted, listing
from nnrun.validation.calibration import Decision

Epochs = int | Literal["best"]

_NO_LINEAR_MEMBER = (
    "linear_member has no effect on one network that is trained on all rows: it is for the networks of folds "
    "(nnrun final RUN --members folds)"
)


def final_of_run(
    parent: RunDirectory,
    settings: Settings,
    *,
    epochs: Epochs = "best",
    overrides: Overrides = (),
    test: Path | None = None,
    listener: Listener = SILENT,
) -> RunDirectory:
    """Retrain a run's spec from scratch, for as many epochs as its validation chose, and use the test set.

    An override of `epochs` stands for a number of epochs.

    Args:
        parent: the run whose spec and best epoch are taken.
        settings: how and where; command, parent and the use of the test set are set here.
        epochs: a number, or `best` for the best epoch of `parent`: of several folds or seeds that of their
            smoothed mean.
        overrides: changes of the spec.
        test: a file of test rows, in place of those that the spec names.
        listener: is told what happens.

    Where validation decided the learning rates (`reduce_on_plateau`), those of `parent` are taken again. So
    is what `parent` fitted for `calibrate` and `threshold`: for the weights of best epochs, where one was
    chosen.

    Raises:
        UsageError: `parent` has no best epoch and no number was given.
    """
    record, chosen = parent.read_record(), None
    loaded = load_run_spec(parent, overrides, settings.data_dir)
    if epochs == "best" and is_overridden(overrides, "epochs"):
        epochs = loaded.spec.epochs
    elif epochs == "best":
        chosen = _best_epoch(parent, record)
        epochs = chosen.epoch
    smoke = settings.smoke or record.smoke
    if not smoke:
        refuse_lost_files(loaded.spec, parent.id)
    if watched_by_schedule(loaded.spec) is not None:
        loaded = _with_replayed_schedule(parent, loaded, listener)
    loaded, decisions = _with_decisions_of(parent, loaded, at_best=chosen is not None)
    for told in decisions:
        listener.message(decision_text(told))
    if loaded.spec.linear_member:
        listener.message(_NO_LINEAR_MEMBER)
    settings = replace(
        settings,
        decisions=decisions,
        parent=parent.id,
        parent_data=record.data_hashes,
        chosen_from=chosen,
        smoke=smoke,
    )
    return final_of_spec(loaded, settings, epochs=epochs, test=test, listener=listener)


def _best_epoch(parent: RunDirectory, record: RunRecord) -> ChosenFrom:
    """The epoch that the run's validation chose.

    Raises:
        UsageError: it chose none.
    """
    chosen = chosen_epoch(parent, record)
    if chosen is not None:
        return chosen
    if record.is_nested:
        raise UsageError(
            f"{parent.id} has no best epoch, since each of its folds has the epoch that was chosen "
            "within it. For the model, choose once more on all rows, without outer folds"
            f"{_without_outer_folds(parent, record)}. Or say how long to train with --epochs N."
        )
    raise UsageError(
        f"{parent.id} has no best epoch, since {_why(record)}; say how long to train with --epochs N."
    )


def _with_replayed_schedule(parent: RunDirectory, loaded: LoadedSpec, listener: Listener) -> LoadedSpec:
    """The spec with the learning rates of the run, which is told."""
    rates, sentence = replayed_schedule(parent, loaded.spec)
    listener.message(sentence)
    return replace(loaded, spec=loaded.spec.model_copy(update={"learning_rate_schedule": [rates]}))


def _with_decisions_of(
    parent: RunDirectory, loaded: LoadedSpec, *, at_best: bool
) -> tuple[LoadedSpec, list[DecisionRecord]]:
    """The spec with what its parent fitted where it leaves something open, and what is told of that.

    `at_best`: what was fitted for the weights of the best epochs, where they are others than the last.
    """
    wanted = open_outputs(loaded.spec)
    if not wanted or not (kept := kept_decisions(parent)):
        return loaded, []
    own = output_views(read_kept_spec(parent.read_resolved(), file=f"the spec of {parent.id}"))
    decisions = {
        port: _still_meant(found, own[port], wanted[port])
        for port, found in kept[-1 if at_best else 0].outputs.items()
        if port in wanted and port in own
    }
    spec = with_decisions(loaded.spec, decisions)
    if open_outputs(spec):
        return loaded, []
    views = output_views(spec)
    told = [
        given_decision(port if spec.outputs else None, views[port], parent.id, view)
        for port, view in wanted.items()
    ]
    return replace(loaded, spec=spec), told


def _still_meant(found: Decision, then: schema.ExperimentSpec, now: schema.ExperimentSpec) -> Decision:
    """What was fitted, as far as an output asks for the same now: a threshold is that of one calibration."""
    if then.calibrate != now.calibrate:
        return Decision()
    return found if then.threshold == now.threshold else replace(found, threshold=None)


def _without_outer_folds(parent: RunDirectory, record: RunRecord) -> str:
    """The command that repeats the choice of nested cross-validation on all rows, and what to type then."""
    folder = parent.runs_dir / str(record.parent)
    from_, sweep = RunDirectory(folder), SweepDirectory(folder)
    if sweep.is_sweep():
        file, verb, then = sweep.resolved_spec, "sweep", "nnrun final with the run of its best trial"
    elif from_.is_run():
        spec = read_kept_spec(from_.read_resolved(), file=f"the spec of {from_.id}")
        file, then = from_.resolved_spec, "nnrun final with that run"
        verb = "kfold" if spec.validation.has_folds else "train"
    else:
        return ", by the same command without --nested, and then nnrun final with that run"
    smoke = " --smoke" if record.smoke else ""
    return f": nnrun {verb} {shlex.quote(str(file))} --set nested=null{smoke}, and then {then}"


def _why(record: RunRecord) -> str:
    """Why validation chose no epoch."""
    if record.status == "running":
        return "it has not ended"
    if not record.epochs_run:
        return f"it was {record.status} before the end of its first epoch"
    if record.status in ("interrupted", "failed") and "best_epoch" not in record.model_fields_set:
        return "its process was killed before its history was summed up (nnrun train --resume goes on)"
    if record.command == "final":
        return "it has no validation (it is a final run itself)"
    if record.baseline_on == "validation":
        return f"{record.chosen_by or 'its validation loss'} was never a finite number"
    return "it has no validation"


def final_of_spec(
    loaded: LoadedSpec,
    settings: Settings,
    *,
    epochs: int | None = None,
    test: Path | None = None,
    listener: Listener = SILENT,
) -> RunDirectory:
    """Train a spec on all training rows and use the test set.

    Early stopping, with its inner rows, and a time limit are left out: all rows train, nothing is validated,
    and the number of epochs is decided. A schedule that follows from the epoch means what it means in the
    spec: a cosine is as long as the spec's epochs.

    Args:
        loaded: the spec.
        settings: how and where; the command and the use of the test set are set here.
        epochs: how long to train; default: as the spec says.
        test: a file of test rows, in place of those that the spec names: its own test rows then train.
        listener: is told what happens.

    Raises:
        UsageError: `epochs` is no such number, or the learning rates would follow from validation.
    """
    refuse_without_validation(loaded.spec)
    if test is not None:
        loaded = with_test_file(loaded, test)
    if epochs is not None and (not isinstance(epochs, int) or isinstance(epochs, bool) or epochs < 1):
        raise UsageError(f"epochs is {epochs!r}; it must be a whole number from 1, or 'best'.")
    if loaded.spec.time_limit is not None and epochs is None:
        listener.message(f"time_limit is left out: a final run trains the spec's {loaded.spec.epochs} epochs")
    if loaded.spec.early_stopping is not None:
        trains = counted(loaded.spec.epochs if epochs is None else epochs, "epoch")
        listener.message(f"early_stopping is left out: a final run keeps no rows back, and trains {trains}")
    if open_ := open_outputs(loaded.spec):
        _refuse_to_fit(open_)
    changes = {
        "nested": None,
        "early_stopping": None,
        "time_limit": None,
        "epochs": loaded.spec.epochs if epochs is None else epochs,
    }
    spec = with_validation(loaded.spec, schema.NoValidation()).model_copy(update=changes)
    settings = replace(settings, command="final", use_test_set=True)
    return run_experiment(replace(loaded, spec=spec), settings, listener)


def _refuse_to_fit(views: Mapping[Port, schema.ExperimentSpec]) -> None:
    """Raise UsageError where a final run would have to fit a calibration or a threshold."""
    view = next(iter(views.values()))
    keys = listing([key for key in ("calibrate", "threshold") if getattr(view, key) is not None], "and")
    raise UsageError(
        f"{keys} would be fitted on rows that the network was not trained on, and a final run trains on all "
        "rows. Name a completed run of this spec in place of the spec, and what it fitted is taken over; or "
        "give the values, such as --set calibrate.temperature=1.5 --set threshold=0.4; or remove the keys, "
        "with --set calibrate=null --set threshold=null."
    )


def with_test_file(loaded: LoadedSpec, test: Path) -> LoadedSpec:
    """The spec with another test set, its path relative to the current folder."""
    dataset = loaded.spec.dataset
    if isinstance(dataset, schema.PublishedTable):
        raise UsageError(
            f"A file of test rows is for a file of your own, but the data set is {dataset.kind}, one "
            f"published table. Set apart some of its rows: --set dataset.{dataset.kind}.test.fraction=0.2."
        )
    if not isinstance(dataset, schema.FILES):
        raise UsageError(
            f"A file of test rows is for csv, parquet, jsonl and text_folder, but the data set is "
            f"{dataset.kind}, "
            "which has its own test set."
        )
    if not test.exists():
        raise UsageError(f"The file of test rows {printable(str(test))} does not exist.")
    changed = dataset.model_copy(update={"test": schema.TestRows(path=str(test.absolute()))})
    return replace(loaded, spec=loaded.spec.model_copy(update={"dataset": changed}))


def watched_by_schedule(spec: schema.ExperimentSpec) -> str | None:
    """The column that decides the learning rates, of validation or inner rows; None where none does."""
    monitors = [p.monitor for p in spec.learning_rate_schedule if isinstance(p, schema.ReduceOnPlateau)]
    return next((monitor for monitor in monitors if monitor.startswith(("val_", INNER))), None)


def refuse_without_validation(spec: schema.ExperimentSpec) -> None:
    """Raise UsageError where the learning rates follow from a validation that there is not."""
    column = watched_by_schedule(spec)
    if column is not None:
        raise UsageError(
            f"reduce_on_plateau watches {column}, and a final run validates nothing. Name a run of this spec "
            "instead of the spec, and the learning rates of its epochs are reused; or set "
            "learning_rate_schedule, such as --set learning_rate_schedule=[]."
        )


def replayed_schedule(parent: RunDirectory, spec: schema.ExperimentSpec) -> tuple[schema.Rates, str]:
    """The learning rate of each of a run's epochs, to be taken again, and a sentence about it.

    Of several folds or seeds an epoch has the median over those that reached it; of an even number the lower
    of the two in the middle, so that it is a rate that one of them had.

    Args:
        parent: the run.
        spec: what the final run is about to train: the run's spec, perhaps with changes.

    Raises:
        UsageError: the spec's learning rate is another one than the run's.
        DataError: the run's history is missing or damaged.
    """
    column = watched_by_schedule(spec)
    then, now = (
        read_kept_spec(parent.read_resolved(), file=f"the spec of {parent.id}").optimizer.learning_rate,
        spec.optimizer.learning_rate,
    )
    if then != now:
        raise UsageError(
            f"The learning rates of {parent.id} follow from its {column} and start at {then:g}, so they do "
            f"not apply to a learning rate of {now:g}. Leave it as it was, or set learning_rate_schedule as "
            "well."
        )
    history = parent.read_history_table()
    member_type = member_type_of(history.columns)
    by_epoch = history.groups(history["epoch"])
    rates = [float(np.quantile(rows["learning_rate"], 0.5, method="lower")) for _, rows in by_epoch]
    networks = "" if member_type is None else f", the median over its {member_type}s"
    sentence = (
        "there is no validation here, so each epoch has the learning rate that it had in "
        f"{parent.id}{networks}"
    )
    return schema.Rates(rates=rates), sentence
