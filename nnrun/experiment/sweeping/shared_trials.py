"""The trials of a sweep, shared among workers: what the owner of the sweep's folder does.

A worker trains a bundle: trials of one architecture, as many as train side by side. The owner alone writes
sweep.json and what follows from it; workers write what came of each trial into the work folder, once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from nnrun.experiment.launching.launcher import WorkerCommand, Workers, make_launcher, worker_arguments
from nnrun.experiment.launching.oversee import Audience, Oversight, wait_for_the_end_of
from nnrun.experiment.running.job import Settings
from nnrun.experiment.sweeping.sweep_listener import SweepListener, Working
from nnrun.experiment.sweeping.trial_outcome import take_over
from nnrun.machine import this_process
from nnrun.records import FINISHED, SweepDirectory, SweepRecord, TrialRecord
from nnrun.records.claims import SignOfLife, Timing, WorkPlan
from nnrun.records.takeover import MOST_ATTEMPTS
from nnrun.records.work_starts import begin, remove, starts
from nnrun.spec.wording import counted
from nnrun.training.pace import Pace

TIME_IS_UP = "time_is_up"
SECONDS_LEFT = "seconds_left"
SAME_AS = "same_as"
OUTER_FOLD = "scored_fold"
"""In what came of an outer fold, beside what came of trials."""


@dataclass(eq=False)
class Sharing:
    """A sweep whose trials are shared.

    Attributes:
        sweep, record: the sweep, and what is known of it.
        settings: how its trials run.
        listener: is told what happens.
        pace: how much time there is.
        record_of: gives the record of a trial, and makes one where there was none.
        ended: takes note that a trial, whose record is complete, has ended.
        save: keeps the record.
    """

    sweep: SweepDirectory
    record: SweepRecord
    settings: Settings
    listener: SweepListener
    pace: Pace
    record_of: Callable[[int], TrialRecord]
    ended: Callable[[TrialRecord], None]
    save: Callable[[], None]
    _waiting: dict[int, tuple[int, TrialRecord]] = field(default_factory=dict)
    _time_is_up: bool = False

    def train(self, parts: Iterable[Sequence[int]], workers: Workers, timing: Timing) -> bool:
        """Have bundles of trials trained; whether there was time for all.

        Raises:
            NnrunError: all workers have ended, and trials are left.
            UsageError: there is no such launcher.
            KeyboardInterrupt: the user stopped it.
        """
        plan = WorkPlan([list(part) for part in parts], timing)
        if not plan.parts:
            return True
        try:
            have_done(self.sweep, plan, self, self.settings, workers)
        finally:
            for trial in self.record.unfinished():
                trial.status = "interrupted" if trial.status == "running" else trial.status
        return not self._time_is_up

    # --- what `Audience` asks for ---

    def message(self, text: str) -> None:
        """Hand it on."""
        self.listener.message(text)

    def detail(self, text: str) -> None:
        """Hand it on."""
        self.listener.detail(text)

    def result(self, item: int, found: Mapping[str, Any]) -> None:
        """Take note of how a trial ended; of one with the spec of another, once that one has."""
        same = found.get(SAME_AS)
        trial = note(self.record, item, found)
        if same is not None:
            self._waiting[item] = int(same), trial
        elif trial.status in FINISHED:
            self.ended(trial)
        for number, (first, later) in list(self._waiting.items()):
            source = self.record.trial(first)
            if source is not None and source.status in FINISHED:
                del self._waiting[number]
                take_over(later, source, self.listener)
                self.ended(later)

    def at_work(self, signs: list[SignOfLife]) -> None:
        """Show what the workers do, and keep which runs they train in."""
        begun = False
        for sign in signs:
            for number, run in sign.doing.get("runs", {}).items():
                values = sign.doing.get("values", {}).get(number, {})
                fold = sign.doing.get("outer_folds", {}).get(number)
                trial = _trial_of(self.record, int(number), values, fold)
                if trial.status not in FINISHED and trial.run != run:
                    trial.run, trial.status, begun = run, "running", True
        if begun:
            self.save()
        self.listener.working([Working.of(sign) for sign in signs])

    def given_up(self, item: int) -> Mapping[str, Any]:
        """A trial that ends every worker has failed."""
        error = f"{MOST_ATTEMPTS} workers died while they trained it"
        return self.record_of(item).model_copy(update={"status": "failed", "error": error}).dump()

    def is_over(self, signs: list[SignOfLife]) -> bool:
        """Whether the time is up, or so little is left that workers left what they would not end in it."""
        self._time_is_up |= any(sign.doing.get(TIME_IS_UP) for sign in signs)
        self._time_is_up |= self.pace.left is not None and self.pace.left <= 0
        return self._time_is_up

    def in_words(self, items: int) -> str:
        """`3 trials`."""
        return counted(items, "trial")

    def doing(self) -> Mapping[str, Any]:
        """The time that is left, by the owner's clock."""
        return {} if self.pace.left is None else {SECONDS_LEFT: self.pace.left}


def have_done(
    sweep: SweepDirectory, plan: WorkPlan, audience: Audience, settings: Settings, workers: Workers
) -> None:
    """Have workers do a part of a sweep's work: it is over, and its folder gone, when this returns.

    Raises:
        NnrunError: all workers have ended, and work is left.
        UsageError: there is no such launcher.
        KeyboardInterrupt: the user stopped it.
    """
    launcher = make_launcher(workers)
    folder = begin(sweep.path, plan, this_process())
    arguments = worker_arguments(
        "sweep",
        sweep.path,
        device=settings.device,
        compile_=settings.compile,
        data_dir=settings.data_dir,
    )
    command = WorkerCommand(arguments, Path.cwd(), folder.path.resolve(), settings.device)
    bundles = "" if len(plan.parts) == len(plan.items) else f" in {counted(len(plan.parts), 'bundle')}"
    audience.message(
        f"{counted(workers.count, 'worker')} for {audience.in_words(len(plan.items))}{bundles}; more can "
        f"join: nnrun sweep --worker {sweep.word}"
    )
    Oversight(folder, plan, audience, launcher).run(command, workers.count)
    remove(folder)


def take_in_earlier_starts(sweep: SweepDirectory, record: SweepRecord, listener: SweepListener) -> None:
    """Have workers of earlier starts end, and take in what they left: their owner may have been killed."""
    for folder in starts(sweep.path):
        wait_for_the_end_of(folder, listener.message)
        for number in sorted(folder.finished()):
            found = folder.result(number)
            if found is not None and SAME_AS not in found and OUTER_FOLD not in found:
                note(record, number, found)
        remove(folder)


def _trial_of(
    record: SweepRecord, number: int, values: Mapping[str, Any], outer_fold: int | None = None
) -> TrialRecord:
    """A trial's record; TPE's begins to exist when a worker has begun it."""
    new = TrialRecord(number=number, values=dict(values), outer_fold=outer_fold)
    return record.trial(number) or record.add(new)


def note(record: SweepRecord, number: int, found: Mapping[str, Any]) -> TrialRecord:
    """Keep what a worker wrote of a trial, unless more was known already; what is damaged says nothing."""
    try:
        told = TrialRecord.model_validate(
            {name: value for name, value in found.items() if name in TrialRecord.model_fields}
        )
    except ValidationError:
        return _trial_of(record, number, {})
    known = _trial_of(record, number, told.values)
    if known.status not in FINISHED and told.status in FINISHED:
        for name in TrialRecord.model_fields:
            setattr(known, name, getattr(told, name))
    return known
