"""A sweep from plan to best spec: every trial a separate run, none lost and none run twice.

sweep.json names a trial's run before its training starts; the run's own record tells how it ended. So
whatever kills the process, the next start knows which trials are finished.
"""

from __future__ import annotations

from dataclasses import replace

from nnrun.experiment.launching.launcher import Workers, make_launcher
from nnrun.experiment.running.job import Settings
from nnrun.experiment.running.recorder import versions
from nnrun.experiment.sweeping.at_work import SweepAtWork
from nnrun.experiment.sweeping.coming_trials import total_trials
from nnrun.experiment.sweeping.earlier_start import goes_on, had_its_time
from nnrun.experiment.sweeping.sweep_data import Datasets, content_of
from nnrun.experiment.sweeping.sweep_listener import SweepListener
from nnrun.experiment.sweeping.tpe import require_optuna
from nnrun.records import (
    SweepDirectory,
    SweepRecord,
    TrialRecord,
    now,
    open_sweep,
    refuse_unwritable,
)
from nnrun.records.claims import DEFAULT_TIMING, Timing
from nnrun.spec.custom_objects import refuse_what_is_not_allowed
from nnrun.spec.score_columns import directions
from nnrun.spec.sweep_plan import SweepPlan
from nnrun.spec.writing.dump import dump_spec
from nnrun.training.device import resolve_device
from nnrun.validation.summary import monitor_mode


def run_sweep(
    plan: SweepPlan,
    settings: Settings,
    listener: SweepListener | None = None,
    *,
    new: bool = False,
    resume: SweepDirectory | None = None,
    datasets: Datasets | None = None,
    only_if_longer: bool = False,
    workers: Workers | None = None,
    timing: Timing = DEFAULT_TIMING,
) -> SweepDirectory:
    """Run the trials of a sweep that have not been run yet.

    The same plan on the same data is the same sweep: where an earlier start of it did not finish,
    this one resumes it.

    Args:
        plan: the trials.
        settings: how and where each trial runs; parent and trial are set here.
        listener: is told what happens.
        new: begin a new sweep in any case.
        resume: the sweep to go on with; default: the newest that tries the same.
        datasets: what has been loaded already.
        only_if_longer: leave a sweep that its time limit ended as it is, unless that is clearly longer now.
        workers: who trains the trials; default: this process.
        timing: of the workers' signs of life.

    Raises:
        UsageError: there is no such device or launcher, or `tpe` is asked for and Optuna is not installed.
        DataError: the data are missing, or do not suit a trial; nothing was run.
        LockedError: another process is running this sweep.
        SweepInterrupted: the user stopped it (a KeyboardInterrupt).
    """
    listener = listener or SweepListener()
    _refuse_what_cannot_run(plan, settings, workers)
    settings = replace(settings, inner_folds=plan.base.spec.nested is not None)
    datasets = datasets or Datasets(settings, listener)
    datasets.check(plan)
    spec, content = plan.base.spec, content_of(plan, datasets, settings)

    def first(id_: str) -> SweepRecord:
        return _first_record(id_, plan, content, datasets, settings)

    texts = plan.base.source_text, dump_spec(spec)
    with open_sweep(settings.runs_dir, spec.name, content, first, *texts, new=new, resume=resume) as opened:
        for note in opened.notes:
            listener.message(note)
        left_as_it_is = only_if_longer and not opened.is_new and had_its_time(opened.record, plan)
        if left_as_it_is:
            listener.message(f"{opened.sweep.id} has had its time; with a longer limit it goes on")
        elif opened.is_new or goes_on(opened, plan, settings.runs_dir, listener):
            at_work = SweepAtWork(plan, settings, listener, datasets, opened.sweep, opened.record, workers)
            at_work.run(timing)
    return opened.sweep


def _refuse_what_cannot_run(plan: SweepPlan, settings: Settings, workers: Workers | None) -> None:
    """Refuse modules, folders, devices and launchers that are not there, before anything is made."""
    for trial in plan.trials:
        refuse_what_is_not_allowed(trial.loaded.spec)
    refuse_what_is_not_allowed(plan.base.spec)
    refuse_unwritable(settings.runs_dir)
    resolve_device(settings.device)
    if plan.sweep.method == "tpe":
        require_optuna()
    if workers is not None:
        make_launcher(workers)  # which refuses what is not there


def _first_record(
    id_: str, plan: SweepPlan, content: str, datasets: Datasets, settings: Settings
) -> SweepRecord:
    """What a sweep's record says before any trial has run."""
    return SweepRecord(
        id=id_,
        name=plan.base.spec.name,
        status="running",
        content=content,
        method=plan.sweep.method,
        monitor=plan.monitor,
        maximize=monitor_mode(plan.monitor, directions(plan.base.spec)) == "max",
        seed=plan.seed,
        total=total_trials(plan),
        smoke=settings.smoke,
        command=None if settings.command == "sweep" else settings.command,
        started=now(),
        data=datasets.sources(),
        versions=versions(),
        trials=[TrialRecord(number=trial.number, values=dict(trial.values)) for trial in plan.trials],
    )
