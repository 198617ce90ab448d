"""What an earlier start of a sweep left: trials that ended, runs whose process was killed, its record."""

from __future__ import annotations

import json
from pathlib import Path

from nnrun.atomic_files import plain
from nnrun.experiment.sweeping.coming_trials import total_trials
from nnrun.experiment.sweeping.nested_sweep import has_all_scores, searches_within_folds
from nnrun.experiment.sweeping.shared_trials import take_in_earlier_starts
from nnrun.experiment.sweeping.sweep_listener import SweepListener
from nnrun.experiment.sweeping.sweep_result import draw_sweep
from nnrun.experiment.sweeping.trial_outcome import take_in
from nnrun.records import (
    FINISHED,
    OpenSweep,
    RunRecord,
    SweepDirectory,
    SweepRecord,
    TrialRecord,
    now,
    runs_of_sweep,
)
from nnrun.records.run_record import TrialOfSweep
from nnrun.spec.duration import seconds_of
from nnrun.spec.sweep_plan import SweepPlan
from nnrun.spec.wording import counted
from nnrun.spec.writing.dump import dump_spec

_CLEARLY_LONGER = 1.25


def had_its_time(record: SweepRecord, plan: SweepPlan) -> bool:
    """Whether a time limit ended a sweep, and the present one is not clearly longer."""
    then, limit = record.ended_by_time, plan.sweep.time_limit
    if record.status != "completed" or then is None or not record.ranked():
        return False
    return limit is not None and seconds_of(limit) < _CLEARLY_LONGER * seconds_of(then)


def goes_on(opened: OpenSweep, plan: SweepPlan, runs_dir: Path, listener: SweepListener) -> bool:
    """Bring the record of an earlier start up to date; whether trials are left to run."""
    sweep, record = opened.sweep, opened.record
    before = record.total
    take_in_earlier_starts(sweep, record, listener)
    _align(record, plan)
    _take_in_runs(record, runs_dir)
    finished = record.total - record.left
    if finished == record.total and (plan.base.spec.nested is None or has_all_scores(record)):
        _repair(sweep, record, opened, plan)
        listener.message(_nothing_to_do(sweep, record, plan))
        return False
    listener.message(f"resuming {sweep.id}: {finished} of {counted(record.total, 'trial')} have finished")
    if record.total > before:
        added = counted(record.total - before, "trial")
        listener.message(f"the sweep had {counted(before, 'trial')}; {added} more will be trained")
        sweep.write_resolved(dump_spec(plan.base.spec))
    return True


def _nothing_to_do(sweep: SweepDirectory, record: SweepRecord, plan: SweepPlan) -> str:
    if total_trials(plan) < record.total:
        return (
            f"{sweep.id} has already finished {record.total} trials, and {plan.total} were requested. For "
            "more trials, raise --trials; to run it again: --new."
        )
    return f"{sweep.id} is already complete. To run it again: --new."


def _repair(sweep: SweepDirectory, record: SweepRecord, opened: OpenSweep, plan: SweepPlan) -> None:
    """Write again what was damaged, or what a process that was killed after the last trial did not write."""
    if record.ranked() and not sweep.figure.is_file():
        draw_sweep(sweep, record, plan.sweep)
    if opened.notes or record.status != "completed":
        record.status, record.ended = "completed", record.ended or now()
        record.best = record.ranked()[0].number if record.has_best else None
        sweep.write_record(record)
        sweep.write_trials(record)


def _align(record: SweepRecord, plan: SweepPlan) -> None:
    """Bring the trials of a record in line with the plan's: more of them, fewer, or those that it lacks.

    Trials that have finished stay, also where fewer are asked for now.
    """
    known = {trial.number: trial for trial in record.trials}
    last = max((number for number, trial in known.items() if trial.status in FINISHED), default=0)
    if plan.sweep.method == "tpe":
        record.total = max(total_trials(plan), last)
        if searches_within_folds(plan.base.spec) is not None:  # time may have ended each of its searches
            record.trials = [known[number] for number in sorted(known)]
            return
        # Workers may have ended later trials first; a damaged record may lack some.
        numbers = range(1, min(record.total, max(known, default=0)) + 1)
        record.trials = [known.get(n) or TrialRecord(number=n, values={}) for n in numbers]
        return
    planned = [TrialRecord(number=trial.number, values=dict(trial.values)) for trial in plan.trials]
    same = [(known.get(trial.number, trial), trial) for trial in planned]
    own = [
        old if json.dumps(plain(old.values)) == json.dumps(plain(new.values)) else new for old, new in same
    ]
    beyond = [known[number] for number in sorted(known) if len(planned) < number <= last]
    record.trials = own + [trial for trial in beyond if trial.status in FINISHED]
    record.total = len(record.trials)


def _take_in_runs(record: SweepRecord, runs_dir: Path) -> None:
    """Bring what sweep.json says of its trials up to what their runs say.

    We hold the sweep's lock, so a run that does not know its end is dead.
    """
    for summary in runs_of_sweep(record.id, runs_dir):
        found = summary.run.read_record()
        if found.ended is None and found.status not in FINISHED:
            found.status, found.ended, found.error = "interrupted", now(), "its process was killed"
            summary.run.write_record(found)
        trial = None if found.trial is None else record.trial(found.trial.number)
        if trial is None and found.trial is not None and record.method == "tpe":
            trial = _not_known_before(record, found.trial, found)
        if trial is not None and trial.status not in FINISHED and found.status in FINISHED:
            take_in(trial, summary.id, found, record.monitor)
    for trial in record.unfinished():
        trial.status = "waiting"


def _not_known_before(record: SweepRecord, of: TrialOfSweep, found: RunRecord) -> TrialRecord | None:
    """The record of a trial that a worker chose, which the owner had not heard of when it was killed."""
    if of.number > record.total or found.status not in FINISHED:
        return None
    within = None if found.nested is None else found.nested.only_fold
    return record.add(TrialRecord(number=of.number, values=dict(of.values), outer_fold=within))
