"""A sweep from plan to best spec: every trial a separate run, none lost and none run twice.

sweep.json names a trial's run before its training starts; the run's own record tells how it ended. So
whatever kills the process, the next start knows which trials are finished.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from nnrun.atomic_files import plain
from nnrun.data import Dataset
from nnrun.data.dataset import output_data, split_columns_of
from nnrun.data.files.open_file import sha256_of
from nnrun.data.load_data import load_data
from nnrun.data.targets import target_steps
from nnrun.errors import DataError, NnrunError, SpecError, UsageError
from nnrun.experiment.launching.launcher import Workers, make_launcher
from nnrun.experiment.running.job import Settings
from nnrun.experiment.running.listener import Listener, Start, StopTraining, means
from nnrun.experiment.running.recorder import RunInterrupted, versions
from nnrun.experiment.running.side_by_side import Candidate, architecture_of, stack_runs, train_stacked
from nnrun.experiment.running.train import run_experiment
from nnrun.experiment.setup.groups import Selection
from nnrun.experiment.sweeping.nested_sweep import (
    OuterFolds,
    has_all_scores,
    searches_within_folds,
    share_of_time,
)
from nnrun.experiment.sweeping.shared_trials import Sharing, take_in_earlier_starts, take_over
from nnrun.experiment.sweeping.sweep_listener import SweepListener
from nnrun.experiment.sweeping.sweep_result import best_text, draw_sweep
from nnrun.experiment.sweeping.tpe import TpeStudy, require_optuna
from nnrun.records import (
    FINISHED,
    OpenSweep,
    RunDirectory,
    RunRecord,
    SweepDirectory,
    SweepRecord,
    TrialRecord,
    now,
    open_sweep,
    refuse_unwritable,
    runs_of_sweep,
)
from nnrun.records.claims import DEFAULT_TIMING, Timing
from nnrun.records.run_record import TrialOfSweep
from nnrun.spec import schema
from nnrun.spec.custom_objects import refuse_what_is_not_allowed
from nnrun.spec.duration import seconds_of
from nnrun.spec.score_columns import directions
from nnrun.spec.sweep_plan import SweepPlan, Trial, spec_key
from nnrun.spec.wording import counted, listing
from nnrun.spec.writing.dump import dump_spec, dump_value
from nnrun.spec.writing.value_labels import values_label
from nnrun.training.device import resolve_device
from nnrun.training.loop import EpochRecord
from nnrun.training.pace import Pace
from nnrun.validation.summary import monitor_mode


class SweepInterrupted(KeyboardInterrupt):
    """The user stopped a sweep; `sweep` is what there is of it."""

    def __init__(self, sweep: SweepDirectory) -> None:
        super().__init__(f"interrupted; what was recorded so far is kept in {sweep.path}")
        self.sweep = sweep


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
        UsageError: there is no such device, `tpe` is asked for and Optuna is not installed, or workers are
            asked for in nested cross-validation.
        DataError: the data are missing, or do not suit a trial; nothing was run.
        LockedError: another process is running this sweep.
        SweepInterrupted: the user stopped it (a KeyboardInterrupt).
    """
    listener = listener or SweepListener()
    for trial in plan.trials:
        refuse_what_is_not_allowed(trial.loaded.spec)
    refuse_what_is_not_allowed(plan.base.spec)
    refuse_unwritable(settings.runs_dir)
    resolve_device(settings.device)
    if plan.sweep.method == "tpe":
        require_optuna()
    if workers is not None and plan.base.spec.nested is not None:
        raise UsageError(
            "--workers: a sweep within outer folds (--nested) trains in one process, where the trials of all "
            "outer folds train side by side. Leave out --workers."
        )
    if workers is not None:
        make_launcher(workers)  # to refuse what is not there before anything is made
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
        left_as_it_is = only_if_longer and not opened.is_new and _had_its_time(opened.record, plan)
        if left_as_it_is:
            listener.message(f"{opened.sweep.id} has had its time; with a longer limit it goes on")
        elif opened.is_new or _goes_on(opened, plan, settings.runs_dir, listener):
            at_work = SweepAtWork(plan, settings, listener, datasets, opened.sweep, opened.record, workers)
            at_work.run(timing)
    return opened.sweep


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
        total=_total(plan),
        smoke=settings.smoke,
        command=None if settings.command == "sweep" else settings.command,
        started=now(),
        data=datasets.sources(),
        versions=versions(),
        trials=[TrialRecord(number=trial.number, values=dict(trial.values)) for trial in plan.trials],
    )


def _total(plan: SweepPlan) -> int:
    """How many trials there are, of all outer folds where each is searched by itself."""
    return plan.total * (searches_within_folds(plan.base.spec) or 1)


_CLEARLY_LONGER = 1.25


def _had_its_time(record: SweepRecord, plan: SweepPlan) -> bool:
    """Whether a time limit ended a sweep, and the present one is not clearly longer."""
    then, limit = record.ended_by_time, plan.sweep.time_limit
    if record.status != "completed" or then is None or not record.ranked():
        return False
    return limit is not None and seconds_of(limit) < _CLEARLY_LONGER * seconds_of(then)


def _goes_on(opened: OpenSweep, plan: SweepPlan, runs_dir: Path, listener: SweepListener) -> bool:
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
    if _total(plan) < record.total:
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
        record.total = max(_total(plan), last)
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


class Datasets:
    """The data sets of a sweep, each loaded once.

    Args:
        settings: where they are.
        listener: is told what happens.
    """

    def __init__(self, settings: Settings, listener: SweepListener) -> None:
        self._settings, self._listener = settings, listener
        self._loaded: dict[str, Dataset] = {}

    def of(self, spec: schema.ExperimentSpec) -> Dataset:
        """The data of a trial."""
        key = json.dumps([dump_value(spec.dataset), split_columns_of(spec.validation)])
        if key not in self._loaded:
            self._loaded[key] = load_data(
                spec,
                data_dir=self._settings.data_dir,
                smoke=self._settings.smoke,
                on_message=self._listener.message,
            )
        return self._loaded[key]

    def check(self, plan: SweepPlan) -> None:
        """Load what the trials need, and refuse a trial that its data do not suit."""
        self.of(plan.base.spec)
        for trial in plan.trials:
            spec = trial.loaded.spec
            dataset = self.of(spec)
            try:
                target_steps(output_data(spec, dataset))
            except DataError as error:
                of_trial = f"trial {trial.number} ({values_label(trial.values)})"
                raise DataError(f"{of_trial} cannot run, so nothing was run: {error}") from None

    def sources(self) -> list[dict[str, Any]]:
        """The files behind them, as records show them."""
        return [source.as_record() for dataset in self._loaded.values() for source in dataset.sources]


def content_of(plan: SweepPlan, datasets: Datasets, settings: Settings) -> str:
    """A hash of all that decides what the trials compute."""
    given = plan.base.spec.init_weights
    spec = plan.base.spec
    if plan.sweep.method != "grid" and searches_within_folds(spec) is None:  # more go on where fewer ended
        spec = spec.model_copy(update={"sweep": plan.sweep.model_copy(update={"trials": None})})
    assert spec.sweep is not None, "it was read for its sweep"
    # How long one start of it may take does not change what its trials compute.
    spec = spec.model_copy(update={"sweep": spec.sweep.model_copy(update={"time_limit": None})})
    parts: list[Any] = [
        dump_spec(spec),
        [source["sha256"] for source in datasets.sources()],
        sha256_of(Path(given)) if given else None,
        settings.smoke,
    ]
    if settings.selection.only_fold is not None:
        parts.append(settings.selection.only_fold)
    if settings.selection.seeds is not None:
        parts.append(f"{settings.selection.seeds} seeds")
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


def _take_in_runs(record: SweepRecord, runs_dir: Path) -> None:
    """Bring what sweep.json says of its trials up to what their runs say.

    We hold the sweep's lock, so a run that does not know its end is dead.
    """
    trials = {trial.number: trial for trial in record.trials}
    for summary in runs_of_sweep(record.id, runs_dir):
        found = summary.run.read_record()
        if found.ended is None and found.status not in FINISHED:
            found.status, found.ended, found.error = "interrupted", now(), "its process was killed"
            summary.run.write_record(found)
        trial = None if found.trial is None else trials.get(found.trial.number)
        if trial is not None and trial.status not in FINISHED and found.status in FINISHED:
            take_in(trial, summary.id, found, record.monitor)
    for trial in record.unfinished():
        trial.status = "waiting"


def take_in(trial: TrialRecord, run_id: str, found: RunRecord, monitor: str) -> None:
    """What the record of a trial's run says of how it ended."""
    trial.run, trial.status = run_id, found.status or "failed"
    trial.seconds, trial.error = found.training_seconds, found.error
    trial.stopped_by_time = found.stopped_by_time_at
    if trial.status == "completed":
        trial.score, trial.epoch = found.best.get(monitor), found.best_epoch
        if found.nested is not None and (diverged := found.nested.diverged):
            outer = listing(
                [str(n) for n in sorted({n // found.nested.inner_folds for n in diverged})], "and"
            )
            trial.status, trial.score, trial.epoch = "diverged", None, None
            trial.error = f"its loss stopped being a finite number within outer fold {outer}"
        elif trial.score is None:
            trial.status, trial.error = "failed", f"no epoch ended with a finite {monitor}"


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
    studies: dict[int, TpeStudy] = field(default_factory=dict)
    pruned: dict[int, str] = field(default_factory=dict)
    told: set[str] = field(default_factory=set)
    pace: Pace = field(init=False)

    def __post_init__(self) -> None:
        record, limit = self.record, self.plan.sweep.time_limit
        self.pace = Pace(None if limit is None else seconds_of(limit))
        if record.method == "tpe":
            each = self.plan.total
            for place, fold in enumerate(self._searched_folds):
                shared = self.workers is not None or not self.is_owner
                file = self.sweep.study_file(fold) if self.is_owner else self.sweep.shared_study_file(fold)
                study = TpeStudy(
                    file, self.plan.sweep, record.seed, record.maximize, place * each, shared=shared
                )
                self.studies[place] = study

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
                for trials in self._coming():
                    self.train(trials)
                    if record.ended_by_time is not None and len(self.studies) < 2:
                        break
            if self.plan.base.spec.nested is not None:
                self._score_outer_folds()
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
        record = self.record
        if self.studies:
            self.studies[0].reserve(record.total)
            done = {trial.number for trial in record.trials if trial.status in FINISHED}
            for trial in record.trials:  # a kill may have come before the study was told
                if trial.number in done:
                    self.studies[0].ended(trial)
            bundles: Sequence[Sequence[int]] = [
                [number] for number in range(1, record.total + 1) if number not in done
            ]
        else:
            bundles = [[trial.number for trial in trials] for trials in self._coming()]
        sharing = Sharing(
            self.sweep, record, self.settings, self.listener, self.pace, self._trial_ended, self.save
        )
        if not sharing.train(bundles, workers, timing):
            record.ended_by_time = self.plan.sweep.time_limit

    def should_stop(self, trial: TrialRecord, epoch: EpochRecord) -> bool:
        """Whether a trial does so badly that it need not go on."""
        study = self._study_of(trial.number)
        if study is None:
            return False
        value, _ = means(epoch)[self.record.monitor]
        return study.should_stop(trial.number, epoch.epoch, value)

    def chosen(self, number: int) -> Trial | None:
        """The next trial of a study, by its number; None where it cannot be trained, which is noted then."""
        (study,) = self.studies.values()
        return next((trial for (trial,) in self._chosen_by_tpe(study, [number])), None)

    @property
    def _searched_folds(self) -> Sequence[int | None]:
        """The outer folds that have trials of their own; [None] where trials are of all rows alike."""
        folds = searches_within_folds(self.plan.base.spec)
        return [None] if folds is None else range(folds)

    def _known(self, number: int) -> TrialRecord:
        return next(trial for trial in self.record.trials if trial.number == number)

    def _study_of(self, number: int) -> TpeStudy | None:
        """The study that a trial belongs to; None in a sweep without."""
        return self.studies[(number - 1) // self.plan.total] if self.studies else None

    def _score_outer_folds(self) -> None:
        """Train and score what was chosen within the outer folds; the same command again goes on with it."""
        try:
            OuterFolds(
                self.plan.base,
                self.settings,
                self.sweep,
                self.record,
                self.datasets.of,
                self.listener,
                self.save,
            ).score()
        except NnrunError:
            self.record.status = "interrupted"
            raise

    def _coming(self) -> Iterator[Sequence[Trial]]:
        """The trials that are left, those of one architecture together. `tpe` thinks of them one by one."""
        record = self.record
        if not self.studies:
            left = [t for t in self.plan.trials if record.trials[t.number - 1].status not in FINISHED]
            yield from self._alike(left)
            return
        if self._searched_folds == [None]:
            yield from self._chosen_by_tpe(self.studies[0], range(1, record.total + 1))
        else:
            yield from self._next_of_each_fold()

    def _next_of_each_fold(self) -> Iterator[Sequence[Trial]]:
        """The next trial of every outer fold, those of one architecture together, and so on.

        For each search needs its own earlier scores alone. Of a time limit each first trial has its share, so
        that no outer fold is left without.
        """
        each, whole = self.plan.total, self.pace
        searches = [
            self._chosen_by_tpe(self.studies[place], range(place * each + 1, (place + 1) * each + 1), fold)
            for place, fold in enumerate(self._searched_folds)
        ]
        is_first = True
        while coming := [trial for search in searches for trial in next(search, ())]:
            parts = list(self._alike(coming))
            for place, part in enumerate(parts):
                self.pace = share_of_time(whole, len(parts) - place) if is_first else whole
                yield part
                if is_first:
                    whole.part_ended()
            self.pace, is_first = whole, False

    def _alike(self, trials: Sequence[Trial]) -> Iterator[Sequence[Trial]]:
        """The trials in groups of one architecture, in the order of each group's first.

        Where time is limited, one of several networks trains alone, in the planned order: a group of many
        that the time ends would leave all of its trials half trained, where some could have been whole.
        """
        limited, groups = self.plan.sweep.time_limit is not None, dict[str, list[Trial]]()
        for trial in trials:
            several = self._selection(trial).networks(trial.loaded.spec) > 1
            alone = f"alone {trial.number}" if limited and several else None
            groups.setdefault(alone or architecture_of(trial.loaded.spec), []).append(trial)
        at_most = self._side_by_side(trials)
        for group in groups.values():
            for first in range(0, len(group), at_most):
                yield group[first : first + at_most]

    def _selection(self, trial: Trial) -> Selection:
        """Which networks of a trial are trained."""
        outer_fold = self._known(trial.number).outer_fold
        return self.settings.selection if outer_fold is None else Selection(only_fold=outer_fold)

    def _chosen_by_tpe(
        self, study: TpeStudy, numbers: Sequence[int], outer_fold: int | None = None
    ) -> Iterator[Sequence[Trial]]:
        """The trials of one study that are left, until its time is up."""
        record = self.record
        earlier: dict[str, TrialRecord] = {}
        for number in numbers:
            if outer_fold is not None and self.pace.is_over():
                record.ended_by_time = self.plan.sweep.time_limit
                return
            point = study.point(number)
            if all(trial.number != number for trial in record.trials):
                values = self.plan.values(point)
                added = TrialRecord(number=number, values=values, outer_fold=outer_fold)
                record.trials = sorted([*record.trials, added], key=lambda trial: trial.number)
                self.save()
            known = self._known(number)
            known.values = known.values or self.plan.values(point)
            try:
                trial = self.plan.trial(number, point)
            except SpecError as error:  # a combination that could not be checked before
                if known.status not in FINISHED:
                    known.status, known.error = "failed", str(error)
                    self._trial_ended(known)
                continue
            same = earlier.setdefault(spec_key(trial.loaded.spec), known)
            if known.status in FINISHED:
                study.ended(known)
            elif same is not known:
                take_over(known, same, self.listener)
                self._trial_ended(known)
            else:
                yield [trial]

    def _side_by_side(self, left: Sequence[Trial]) -> int:
        """How many trials train side by side at most: with workers so many that each gets some."""
        most = self.plan.sweep.together
        return most if self.workers is None else max(1, min(most, math.ceil(len(left) / self.workers.count)))

    def train(self, trials: Sequence[Trial]) -> None:
        """Run trials of one architecture side by side; where that does not do, each half of them.

        Not those that are not expected to end in time.
        """
        if self.pace.is_over():
            self.record.ended_by_time = self.plan.sweep.time_limit
            return
        dataset = self.datasets.of(trials[0].loaded.spec)
        candidates = [self._candidate(trial) for trial in trials]
        if len(trials) == 1:
            (one,) = candidates
            with self._endings(trials):
                run_experiment(one.loaded, one.settings, one.listener, dataset=dataset)
            self.pace.part_ended()
        elif stacked := stack_runs(candidates, dataset):
            with self._endings(trials):
                train_stacked(stacked)
            self.pace.part_ended()
        else:
            half = len(trials) // 2
            self.train(trials[:half])
            self.train(trials[half:])

    def _candidate(self, trial: Trial) -> Candidate:
        known = self._known(trial.number)
        known.run = None
        settings = replace(
            self.settings,
            parent=self.sweep.id,
            trial=TrialOfSweep(number=trial.number, values=dict(trial.values)),
            monitor=self.record.monitor,
            seconds=self.pace.left,
            selection=self._selection(trial),
        )
        return Candidate(trial.loaded, settings, _TrialListener(self, known))

    @contextmanager
    def _endings(self, trials: Sequence[Trial]) -> Iterator[None]:
        """Take note of how the trials that run here end."""
        everyone = [self._known(trial.number) for trial in trials]
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
        if study := self._study_of(trial.number):
            study.ended(trial)
        ranked = record.ranked()
        if record.has_best and ranked[0].number != record.best and self.is_owner:
            record.best = ranked[0].number
            if record.best <= len(self.plan.trials) or self.studies:
                self.sweep.write_best(best_text(self.sweep, record, self._spec_of(record.best)))
        self.save()
        if self.is_owner:
            self.sweep.write_trials(record)
        self.listener.trial_ended(trial)

    def _spec_of(self, number: int) -> schema.ExperimentSpec:
        study = self._study_of(number)
        if study is None:
            spec = self.plan.trials[number - 1].loaded.spec
        else:
            spec = self.plan.trial(number, study.point(number)).loaded.spec
        return spec.model_copy(update={"nested": None})


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
