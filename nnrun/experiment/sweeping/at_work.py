"""A sweep that is being run: its trials are trained, and what came of each is kept."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial

from nnrun.errors import NnrunError, UsageError
from nnrun.experiment.launching.launcher import Workers
from nnrun.experiment.running.job import Settings
from nnrun.experiment.running.listener import Listener, Start, StopTraining, means
from nnrun.experiment.running.recorder import RunInterrupted
from nnrun.experiment.running.side_by_side import Candidate, stack_runs, train_stacked
from nnrun.experiment.running.train import run_experiment
from nnrun.experiment.sweeping.coming_trials import ComingTrials, studies_of
from nnrun.experiment.sweeping.nested_sweep import OuterFolds
from nnrun.experiment.sweeping.shared_outer_folds import share_outer_folds
from nnrun.experiment.sweeping.shared_trials import Sharing
from nnrun.experiment.sweeping.sweep_data import Datasets
from nnrun.experiment.sweeping.sweep_listener import SweepListener
from nnrun.experiment.sweeping.sweep_result import best_text, draw_sweep
from nnrun.experiment.sweeping.trial_outcome import take_in
from nnrun.records import FINISHED, RunDirectory, SweepDirectory, SweepRecord, TrialRecord, now
from nnrun.records.claims import DEFAULT_TIMING, Timing
from nnrun.records.run_record import TrialOfSweep
from nnrun.spec.duration import seconds_of
from nnrun.spec.sweep_plan import SweepPlan, Trial
from nnrun.training.loop import EpochRecord
from nnrun.training.pace import Pace


class SweepInterrupted(KeyboardInterrupt):
    """The user stopped a sweep; `sweep` is what there is of it."""

    def __init__(self, sweep: SweepDirectory) -> None:
        super().__init__(f"interrupted; what was recorded so far is kept in {sweep.path}")
        self.sweep = sweep


@dataclass(eq=False)
class SweepAtWork:
    """A sweep that is being run: all of it, or by a worker one bundle after the other.

    Attributes:
        workers: who trains the trials; None for this process.
        is_owner: whether this process writes the sweep's record and what follows from it.
        told: what trials have said, each sentence once.
    """

    plan: SweepPlan
    settings: Settings
    listener: SweepListener
    datasets: Datasets
    sweep: SweepDirectory
    record: SweepRecord
    workers: Workers | None = None
    is_owner: bool = True
    pruned: dict[int, str] = field(default_factory=dict)
    told: set[str] = field(default_factory=set)
    coming: ComingTrials = field(init=False)

    def __post_init__(self) -> None:
        limit, shared = self.plan.sweep.time_limit, self.workers is not None or not self.is_owner
        self.coming = ComingTrials(
            self.plan,
            self.record,
            studies_of(self.sweep, self.plan, self.record, is_owner=self.is_owner, shared=shared),
            self.settings.selection,
            self.listener,
            self.save,
            self._trial_ended,
            Pace(None if limit is None else seconds_of(limit)),
            None if self.workers is None else self.workers.count,
        )

    def run(self, timing: Timing = DEFAULT_TIMING) -> None:
        """Run what is left, and keep the results."""
        record = self.record
        record.status, record.ended, record.ended_by_time = "running", None, None
        self.save()
        self.listener.began(record)
        try:
            if self.workers is not None:
                self._share(self.workers, timing)
            else:
                for trials in self.coming:
                    self.train(trials)
                    if record.ended_by_time is not None and len(self.coming.studies) < 2:
                        break
            if self.plan.base.spec.nested is not None:
                self._score_outer_folds(timing)
            if record.ranked():
                draw_sweep(self.sweep, record, self.plan.sweep)
            record.status = "completed"
        except KeyboardInterrupt:
            record.status = "interrupted"
            raise SweepInterrupted(self.sweep) from None
        finally:
            self.listener.ended()
            record.ended = now()
            self.save()

    def save(self) -> None:
        """Keep the record as it is now."""
        if self.is_owner:
            self.sweep.write_record(self.record)

    def _share(self, workers: Workers, timing: Timing) -> None:
        """Have workers train what is left."""
        record, coming = self.record, self.coming
        for study in coming.studies:
            study.reserve(record.total // len(coming.studies))
        for trial in record.trials:  # a kill may have come before the study was told
            if trial.status in FINISHED and (own := coming.study_of(trial.number)) is not None:
                own.ended(trial)
        sharing = Sharing(
            self.sweep,
            record,
            self.settings,
            self.listener,
            coming.pace,
            coming.record_of,
            self._trial_ended,
            self.save,
        )
        if not sharing.train(coming.bundles(workers.count), workers, timing):
            record.ended_by_time = self.plan.sweep.time_limit

    def should_stop(self, trial: TrialRecord, epoch: EpochRecord) -> bool:
        """Whether a trial does so badly that it need not go on."""
        study = self.coming.study_of(trial.number)
        if study is None:
            return False
        value, _ = means(epoch)[self.record.monitor]
        return study.should_stop(trial.number, epoch.epoch, value)

    def outer_folds(self) -> OuterFolds:
        """What is chosen within the outer folds of the sweep."""
        return OuterFolds(
            self.plan.base,
            self.settings,
            self.sweep,
            self.record,
            self.datasets.of,
            self.listener,
            self.save,
        )

    def _score_outer_folds(self, timing: Timing) -> None:
        """Train and score what was chosen within the outer folds; the same command again goes on with it."""
        share = None
        if self.workers is not None:
            share = partial(share_outer_folds, settings=self.settings, workers=self.workers, timing=timing)
        try:
            self.outer_folds().score(share)
        except NnrunError:
            self.record.status = "interrupted"
            raise

    def train(self, trials: Sequence[Trial]) -> None:
        """Run trials of one architecture side by side; where that does not do, each half of them.

        Not those that are not expected to end in time.
        """
        if self.coming.pace.is_over():
            self.record.ended_by_time = self.plan.sweep.time_limit
            return
        dataset = self.datasets.of(trials[0].loaded.spec)
        candidates = [self._candidate(trial) for trial in trials]
        if len(trials) == 1:
            (one,) = candidates
            with self._endings(trials):
                run_experiment(one.loaded, one.settings, one.listener, dataset=dataset)
            self.coming.pace.part_ended()
        elif stacked := stack_runs(candidates, dataset):
            with self._endings(trials):
                train_stacked(stacked)
            self.coming.pace.part_ended()
        else:
            half = len(trials) // 2
            self.train(trials[:half])
            self.train(trials[half:])

    def _candidate(self, trial: Trial) -> Candidate:
        known = self.coming.known(trial.number)
        known.run = None
        settings = replace(
            self.settings,
            parent=self.sweep.id,
            trial=TrialOfSweep(number=trial.number, values=dict(trial.values)),
            monitor=self.record.monitor,
            seconds=self.coming.pace.left,
            selection=self.coming.selection_of(trial),
        )
        return Candidate(trial.loaded, settings, _TrialListener(self, known))

    @contextmanager
    def _endings(self, trials: Sequence[Trial]) -> Iterator[None]:
        """Take note of how the trials that run here end."""
        everyone = [self.coming.known(trial.number) for trial in trials]
        error = None
        try:
            yield
        except (RunInterrupted, UsageError):  # what is wrong with the command line is not the trial's fault
            for known in everyone:
                known.status = "interrupted"
            raise
        except (StopTraining, NnrunError) as reason:
            error = str(reason)
        for known in everyone:
            if known.number in self.pruned:
                known.status, known.error = "pruned", self.pruned[known.number]
            elif known.run is not None:
                found = RunDirectory(self.settings.runs_dir / known.run).read_record()
                take_in(known, known.run, found, self.record.monitor)
            else:
                known.status, known.error = "failed", error
            self._trial_ended(known)

    def _trial_ended(self, trial: TrialRecord) -> None:
        record = self.record
        if study := self.coming.study_of(trial.number):
            study.ended(trial)
        ranked = record.ranked()
        if record.has_best and ranked[0].number != record.best and self.is_owner:
            record.best = ranked[0].number
            if record.best <= len(self.plan.trials) or self.coming.studies:
                self.sweep.write_best(best_text(self.sweep, record, self.coming.spec_of(record.best)))
        self.save()
        if self.is_owner:
            self.sweep.write_trials(record)
        self.listener.trial_ended(trial)


class _TrialListener(Listener):
    """Hears of one trial's run, and keeps the sweep's record of it."""

    def __init__(self, sweep: SweepAtWork, trial: TrialRecord) -> None:
        self._sweep, self._trial = sweep, trial
        self._networks = 1

    def message(self, text: str) -> None:
        """Hand on what no trial said before: most is of the data, which are the same."""
        if text not in self._sweep.told:
            self._sweep.told.add(text)
            self._sweep.listener.message(text)

    def detail(self, text: str) -> None:
        """Hand it on."""
        self._sweep.listener.detail(text)

    def started(self, start: Start) -> None:
        """Register the run before its training starts."""
        self._networks = len(start.member_ids)
        self._trial.run, self._trial.status = start.run.id, "running"
        self._sweep.save()
        self._sweep.listener.trial_began(self._trial, start)

    def epoch(self, record: EpochRecord) -> None:
        """Hand it on, and end a trial that is not worth its time."""
        self._sweep.listener.epoch(self._trial, record)
        everyone = len(record.rows) == self._networks  # a mean over some folds compares with nothing
        if everyone and self._sweep.should_stop(self._trial, record):
            why = (
                f"pruned: after epoch {record.epoch} its {self._sweep.record.monitor} was worse than the "
                "median of the earlier trials"
            )
            self._sweep.pruned[self._trial.number] = why
            raise StopTraining(why)
