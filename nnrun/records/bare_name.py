"""What a name means that runs have: the newest of them, or the sweep that made it, or its best trial."""

from __future__ import annotations

import contextlib
import re
import shlex
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

from nnrun.errors import DataError, UsageError
from nnrun.records.run_directory import RunDirectory
from nnrun.records.run_record import MEASURING_COMMANDS
from nnrun.records.run_summary import RunSummary
from nnrun.records.sweep_directory import SweepDirectory, SweepRecord, TrialRecord

STAMP: Final = re.compile(r"-(\d{8}T\d{6})Z-[0-9a-f]{4}$")
"""What follows an experiment's name in an id."""


def is_called(id_: str, name: str) -> bool:
    """Whether a run of this id has this name."""
    return STAMP.sub("", id_) == name.removesuffix("-")


def run_of_name(
    name: str, by_age: Sequence[RunSummary], runs_dir: Path, tell: Callable[[str], None]
) -> RunDirectory | None:
    """The run that a name means; None where no run is called exactly so.

    Args:
        name: what the user wrote.
        by_age: runs, newest first.
        runs_dir: where they are kept.
        tell: is told which run is taken, where that is not the only one.

    Raises:
        UsageError: the name is that of a sweep which scored outer folds.
    """
    meant, passed_over = _called(by_age, name)
    if not meant:
        return None
    sweep = _sweep_of(meant[0], runs_dir)
    if sweep is not None and meant[0].nested is not None:
        # Its runs trained within outer folds, or were scored on them: none is what the user chose.
        raise UsageError(_scored_outer_folds(name, sweep))
    best = None if sweep is None else _best_trial(sweep)
    if sweep is not None and best is not None:
        tell(f"{name} is the sweep {sweep.id}: {best[0].id}, {best[1]}, is taken")
        return best[0]
    which = f", the newest of {len(meant)} runs of this name," if len(meant) > 1 else ""
    aside = "; reproductions are passed over" if passed_over else ""
    if which or aside:
        tell(f"{name}: {meant[0].id}{which} is taken{aside}")
    return meant[0].run


def sweep_of_name(name: str, by_age: Sequence[RunSummary], runs_dir: Path) -> SweepDirectory | None:
    """The sweep that made the newest run of a name; None where none did, or no run is called so."""
    meant, _ = _called(by_age, name)
    return _sweep_of(meant[0], runs_dir) if meant else None


def _called(runs: Sequence[RunSummary], name: str) -> tuple[list[RunSummary], bool]:
    """Those that are called exactly so, and whether reproductions were left out, newer than one of them.

    Ones that only measured a setting, or reproduce another run, are meant where there are no others.
    """
    called = [found for found in runs if is_called(found.id, name)]
    called = [found for found in called if found.command not in MEASURING_COMMANDS] or called
    meant = [found for found in called if found.reproduces is None] or called
    return meant, bool(meant) and meant[0] is not called[0]


def _sweep_of(run: RunSummary, runs_dir: Path) -> SweepDirectory | None:
    """The sweep that made a run, as a trial or to score its choice on outer folds; None where it is gone."""
    made_by = run.parent if run.sweep is None and run.nested == "outer" else run.sweep
    sweep = None if made_by is None else SweepDirectory(runs_dir / made_by)
    return sweep if sweep is not None and sweep.is_sweep() else None


def _best_trial(sweep: SweepDirectory) -> tuple[RunDirectory, str] | None:
    """The run of the best trial that has one still, and what it is in words; None where none has a score."""
    with contextlib.suppress(DataError):  # a sweep whose record cannot be read has no best trial
        record, _ = sweep.read_sound_part()
        trial = sweep.best_that_is_there(record)
        if trial is not None:
            return sweep.run_of(trial), _what(trial, record)
    return None


def better_trial_text(run: RunSummary, runs_dir: Path) -> str | None:
    """That a run is taken which is a trial of a sweep, and which one is the best; None where it is that."""
    sweep = _sweep_of(run, runs_dir)
    if sweep is not None and run.nested is not None:
        return f"{run.id} is taken, since it began last. It is of the sweep {_no_run_is_the_model(sweep)}"
    best = None if sweep is None else _best_trial(sweep)
    if sweep is None or best is None or best[0].id == run.id:
        return None
    return (
        f"{run.id}, a trial of the sweep {sweep.id}, is taken, since it began last. The best is "
        f"{best[0].id}, {best[1]}."
    )


def _what(trial: TrialRecord, record: SweepRecord) -> str:
    """`trial 2, the best by val_loss`; or the best whose run is there."""
    first = record.ranked()[0]
    if first.number == trial.number:
        return f"trial {trial.number}, the best by {record.monitor}"
    return (
        f"trial {trial.number}, the best by {record.monitor} whose run is there (that of trial "
        f"{first.number}, the best, is gone)"
    )


def no_run(sweep: SweepDirectory) -> str:
    """That a sweep is no run, and what to name instead."""
    best = ""
    with contextlib.suppress(DataError):  # then its trials are told of by `show` alone
        record, _ = sweep.read_sound_part()
        trial = sweep.best_that_is_there(record)
        if trial is not None:
            best = f", such as {trial.run} ({_what(trial, record)})"
    return (
        f"{sweep.id} is a sweep, not a run: it has no network of its own. Name the run of a trial{best}; "
        f"`nnrun show {sweep.word}` lists them all."
    )


def _scored_outer_folds(name: str, sweep: SweepDirectory) -> str:
    """That a name means no run of a sweep, and what to do instead."""
    return (
        f"{name} is the sweep {_no_run_is_the_model(sweep)} Or name a run by its id; "
        f"`nnrun show {sweep.word}` lists them."
    )


def _no_run_is_the_model(sweep: SweepDirectory) -> str:
    """Its id, that none of its runs is the model, and how that is made."""
    model = ""
    with contextlib.suppress(DataError):  # then `show` tells what is wrong
        record, _ = sweep.read_sound_part()
        model = f" For the model, {_to_make_the_model(sweep, record)}."
    return f"{sweep.id}, which scored outer folds: none of its runs is the model.{model}"


def _to_make_the_model(sweep: SweepDirectory, record: SweepRecord) -> str:
    """What the closing screen of nested cross-validation says, as commands."""
    averaged = record.nested is not None and record.nested.members is not None
    smoke = " --smoke" if record.smoke else ""
    best_spec = shlex.quote(str(sweep.best_spec))
    if not record.has_best or not sweep.best_spec.is_file():
        then = "nnrun final with the run of its best trial" + (" and --members folds" if averaged else "")
        return (
            "choose once more on all rows, without outer folds: nnrun sweep "
            f"{shlex.quote(str(sweep.resolved_spec))} --set nested=null{smoke}, and then {then}"
        )
    best = record.ranked()[0]
    whose = f"trial {best.number}, the best of all by {record.monitor}"
    if averaged:
        then = "nnrun final with that run and --members folds"
        return f"nnrun kfold {best_spec}{smoke} ({whose}), and then {then}"
    if best.number in sweep.gone(record):
        return f"nnrun train {best_spec}{smoke} ({whose}), and then nnrun final with that run"
    return f"nnrun final {sweep.run_of(best).word} ({whose})"


def best_of_their_sweeps(
    runs: Sequence[RunDirectory], runs_dir: Path
) -> list[tuple[RunDirectory, SweepDirectory, str]]:
    """Those among runs that are the best trial of their sweep, with it and which trial that is in words."""
    made_by: dict[str, list[RunDirectory]] = {}
    for run in runs:
        # A record that cannot be read says of nothing that it is the best.
        with contextlib.suppress(DataError):
            sweep_id = run.read_written_record().sweep
            if sweep_id is not None:
                made_by.setdefault(sweep_id, []).append(run)
    found = []
    for sweep_id, trials in made_by.items():
        sweep = SweepDirectory(runs_dir / sweep_id)
        with contextlib.suppress(DataError):
            record = sweep.read_sound_part()[0] if sweep.is_sweep() else None
            if record is None or not record.has_best or record.command in MEASURING_COMMANDS:
                continue
            best = record.ranked()[0]
            what = f"trial {best.number}, the best by {record.monitor}"
            found += [(run, sweep, what) for run in trials if run.id == best.run]
    return found
