"""A worker of a sweep: it claims bundles of trials, trains them, and writes what came of each."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from nnrun.errors import DataError, UsageError
from nnrun.experiment.launching.membership import Membership
from nnrun.experiment.running.job import Settings
from nnrun.experiment.running.listener import Start, means
from nnrun.experiment.running.recorder import versions
from nnrun.experiment.sweeping.at_work import SweepAtWork
from nnrun.experiment.sweeping.shared_outer_folds import is_of_outer_folds, train_outer_folds
from nnrun.experiment.sweeping.shared_trials import SAME_AS, SECONDS_LEFT, TIME_IS_UP, note
from nnrun.experiment.sweeping.sweep_data import Datasets, content_of
from nnrun.experiment.sweeping.sweep_listener import SweepListener
from nnrun.experiment.sweeping.tpe import require_optuna
from nnrun.experiment.sweeping.trial_outcome import take_in
from nnrun.records import FINISHED, SweepDirectory, TrialRecord, now, runs_of_sweep
from nnrun.records.claims import Claim, WorkFolder
from nnrun.records.work_starts import open_work
from nnrun.spec.sweep_plan import SweepPlan
from nnrun.training.loop import EpochRecord
from nnrun.training.pace import Pace


@dataclass(frozen=True)
class WorkDone:
    """What a worker has done.

    Attributes:
        sweep: the sweep.
        worker: the worker's name; empty where there was nothing to join.
        trials: the numbers of the trials that it ended.
        outer_folds: those for which it trained what was chosen within them.
        stopped: whether it was asked to stop before all had ended.
    """

    sweep: SweepDirectory
    worker: str = ""
    trials: tuple[int, ...] = ()
    outer_folds: tuple[int, ...] = ()
    stopped: bool = False


def work_on_sweep(
    sweep: SweepDirectory,
    plan: SweepPlan,
    settings: Settings,
    listener: SweepListener,
    *,
    stop_process: bool = False,
) -> WorkDone:
    """Train trials of a sweep that runs, until all have ended or it is stopped.

    Args:
        sweep: the sweep, whose folder several machines may see.
        plan: that of its resolved spec.
        settings: how and where trials run here.
        listener: is told what this worker does.
        stop_process: whether a request to stop is also sent to this process as a signal.

    Raises:
        UsageError: the sweep is not running with workers, or its spec has other content here.
        DataError: the data are missing here, or are others.
        KeyboardInterrupt: this worker was stopped; its trials go to another.
    """
    folder = open_work(sweep.path)
    record = sweep.read_record()
    if folder is None:
        if record.status == "completed":
            return WorkDone(sweep)
        raise UsageError(
            f"{sweep.id} is not running with workers now, so there is nothing to join. Start it again with "
            f"them: nnrun sweep --resume {sweep.word} --workers N"
        )
    if record.method == "tpe":
        require_optuna()
    settings = replace(settings, inner_folds=plan.base.spec.nested is not None)
    datasets = Datasets(settings, listener)
    datasets.of(plan.base.spec)
    if content_of(plan, datasets, settings) != record.content:
        raise DataError(
            f"{sweep.id} trains on other data than are found here, or from other initial weights: a worker "
            "must see the same files (--data-dir)."
        )
    with Membership(folder, stop_process=stop_process) as member:
        own = _Own(member, listener)
        _tell_of_other_versions(member, record.versions)
        at_work = SweepAtWork(plan, settings, own, datasets, sweep, record, is_owner=False)
        at_work.coming.pace = Pace(_seconds_left(folder))
        folds: list[int] = []
        listener.began(record)
        try:
            if is_of_outer_folds(member.plan):
                stopped = train_outer_folds(at_work.outer_folds(), member, folds)
            else:
                stopped = member.do_all(lambda claim: _train_bundle(claim, own, at_work))
        finally:
            listener.ended()
        return WorkDone(sweep, member.name, tuple(own.ended_trials), tuple(folds), stopped)


def _train_bundle(claim: Claim, own: _Own, at_work: SweepAtWork) -> bool:
    """Train what is left of a bundle; whether there is time for another."""
    member = own.member
    numbers = _without_results(member.plan.parts[claim.part], at_work, own)
    if claim.generation > 1:
        numbers = _without_finished(numbers, at_work, own)
    _train(numbers, at_work, own)
    if at_work.record.ended_by_time is None:
        return True
    member.folder.give_back(claim)
    member.doing({TIME_IS_UP: True})
    return False


def _train(numbers: Sequence[int], at_work: SweepAtWork, own: _Own) -> None:
    if len(at_work.coming.studies) == 1:
        (study,) = at_work.coming.studies
        for number in numbers:
            trial = at_work.coming.chosen(number)
            if trial is None:
                continue
            if (same := study.same_before(number)) is not None:
                own.member.publish(number, {SAME_AS: same, "number": number, "values": dict(trial.values)})
            else:
                at_work.train([trial])
        return
    for trials in at_work.coming.among(numbers):
        at_work.train(trials)


def _without_results(numbers: Sequence[int], at_work: SweepAtWork, own: _Own) -> list[int]:
    """The trials of a bundle that have no result. Of the others it is noted: a search builds upon them."""
    left, folder = [], own.member.folder
    finished = folder.finished()
    for number in numbers:
        if number not in finished:
            left.append(number)
        elif (found := folder.result(number)) is not None and SAME_AS not in found:
            note(at_work.record, number, found)
    return left


def _without_finished(numbers: Sequence[int], at_work: SweepAtWork, own: _Own) -> list[int]:
    """The trials that are left of a bundle whose worker died: their runs tell which it had ended."""
    left, sweep = list(numbers), at_work.sweep
    for summary in runs_of_sweep(sweep.id, sweep.path.parent):
        found = summary.run.read_record()
        number = None if found.trial is None else found.trial.number
        if number is None or number not in left:
            continue
        if found.status in FINISHED:
            trial = at_work.coming.record_of(number)
            take_in(trial, summary.id, found, at_work.record.monitor)
            own.trial_ended(trial)
            left.remove(number)
        elif found.ended is None:
            found.status, found.ended = "interrupted", now()
            found.error = "its worker died, or was paused for so long that another took its place"
            summary.run.write_record(found)
    return left


def _seconds_left(folder: WorkFolder) -> float | None:
    sign = folder.read_sign("")
    left = None if sign is None else sign.doing.get(SECONDS_LEFT)
    return None if left is None else float(left)


def _tell_of_other_versions(member: Membership, owner: dict[str, str]) -> None:
    """Numbers may round differently where another version computes; each run's record has its own."""
    here = versions()
    other = [f"{name} {here[name]}, not {of}" for name, of in owner.items() if here.get(name, of) != of]
    if other:
        member.message(
            f"warning: worker {member.name} has {'; '.join(other)}: its numbers may differ slightly"
        )


@dataclass(eq=False)
class _Own(SweepListener):
    """Hears of the trials of this worker, and passes it on: what ended, what runs, and what is said."""

    member: Membership
    listener: SweepListener
    ended_trials: list[int] = field(default_factory=list)
    _doing: dict[str, Any] = field(default_factory=dict)

    def message(self, text: str) -> None:
        """To the owner, and to who watches this worker."""
        self.member.message(text)
        self.listener.message(text)

    def detail(self, text: str) -> None:
        """The same."""
        self.member.detail(text)
        self.listener.detail(text)

    def trial_began(self, trial: TrialRecord, start: Start) -> None:
        """Tell which run it is before it trains."""
        number = str(trial.number)
        runs = {**self._doing.get("runs", {}), number: str(trial.run)}
        values = {**self._doing.get("values", {}), number: trial.values}
        outer_folds = {**self._doing.get("outer_folds", {}), number: trial.outer_fold}
        self._doing = {
            "trials": sorted(map(int, runs)),
            "runs": runs,
            "values": values,
            "outer_folds": outer_folds,
            "epoch": 0,
            "monitor": start.monitor,
            "scores": {},
        }
        self.member.check(now=True)
        self.member.doing(self._doing)
        self.listener.trial_began(trial, start)

    def epoch(self, trial: TrialRecord, epoch: EpochRecord) -> None:
        """Go on only while the bundle is this worker's."""
        self.member.check()
        found, _ = means(epoch).get(self._doing.get("monitor", ""), (math.nan, None))
        scores = {**self._doing.get("scores", {}), str(trial.number): found if math.isfinite(found) else None}
        self._doing = {**self._doing, "epoch": epoch.epoch, "scores": scores}
        self.member.note(self._doing)
        self.listener.epoch(trial, epoch)

    def trial_ended(self, trial: TrialRecord) -> None:
        """Write what came of it, once."""
        if trial.status not in FINISHED:
            return
        worker = self.member.name
        if self.member.publish(trial.number, trial.model_copy(update={"worker": worker}).dump()):
            self.ended_trials.append(trial.number)
            self.listener.trial_ended(trial)
        runs = {n: run for n, run in self._doing.get("runs", {}).items() if n != str(trial.number)}
        self._doing = {**self._doing, "runs": runs, "trials": sorted(map(int, runs))} if runs else {}
        self.member.doing(self._doing)
