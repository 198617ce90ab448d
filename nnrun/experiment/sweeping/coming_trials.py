"""Which trials of a sweep come next, and which of them train side by side."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from nnrun.errors import SpecError
from nnrun.experiment.running.parts import parts_of
from nnrun.experiment.running.side_by_side import architecture_of
from nnrun.experiment.setup.groups import Selection
from nnrun.experiment.sweeping.nested_sweep import searches_within_folds, share_of_time
from nnrun.experiment.sweeping.sweep_listener import SweepListener
from nnrun.experiment.sweeping.tpe import TpeStudy
from nnrun.experiment.sweeping.trial_outcome import take_over
from nnrun.records import FINISHED, SweepDirectory, SweepRecord, TrialRecord
from nnrun.spec import schema
from nnrun.spec.sweep_plan import SweepPlan, Trial, spec_key
from nnrun.training.pace import Pace


def studies_of(
    sweep: SweepDirectory, plan: SweepPlan, record: SweepRecord, *, is_owner: bool, shared: bool
) -> list[TpeStudy]:
    """What proposes the trials of TPE: a study, or one for each outer fold; none for another method.

    Args:
        sweep, plan, record: the sweep.
        is_owner: whether no other process writes the files of the studies now.
        shared: whether several processes will.
    """
    if record.method != "tpe":
        return []
    found = []
    for place, fold in enumerate(searched_folds(plan)):
        file = sweep.study_file(fold) if is_owner else sweep.shared_study_file(fold)
        before = place * plan.total
        # Within an outer fold the trials are tried one after the other, by whomever.
        at_once = shared and fold is None
        found.append(
            TpeStudy(file, plan.sweep, record.seed, record.maximize, before, shared=shared, at_once=at_once)
        )
    return found


def searched_folds(plan: SweepPlan) -> Sequence[int | None]:
    """The outer folds that have trials of their own; [None] where trials are of all rows alike."""
    folds = searches_within_folds(plan.base.spec)
    return [None] if folds is None else range(folds)


def total_trials(plan: SweepPlan) -> int:
    """How many trials there are, of all outer folds where each is searched by itself."""
    return plan.total * len(searched_folds(plan))


@dataclass(eq=False)
class ComingTrials:
    """The trials of a sweep that are left to train.

    Attributes:
        plan, record: the sweep.
        studies: what proposes them; empty where all are planned.
        selection: which networks of a trial are trained, where it is not one of a single outer fold.
        listener: is told of trials that are not trained.
        save: keeps the record.
        ended: takes note of how a trial that is not trained has ended.
        pace: how much time there is for those that come next.
        workers: how many share the trials; None where this process trains them.
    """

    plan: SweepPlan
    record: SweepRecord
    studies: Sequence[TpeStudy]
    selection: Selection
    listener: SweepListener
    save: Callable[[], None]
    ended: Callable[[TrialRecord], None]
    pace: Pace
    workers: int | None = None

    def __iter__(self) -> Iterator[Sequence[Trial]]:
        """The trials that are left, those of one architecture together. `tpe` thinks of them one by one."""
        record = self.record
        if not self.studies:
            left = [t for t in self.plan.trials if record.trials[t.number - 1].status not in FINISHED]
            yield from self._alike(left)
        elif searched_folds(self.plan) == [None]:
            yield from self._chosen_by_tpe(self.studies[0], range(1, record.total + 1))
        else:
            yield from self._next_of_each_fold(range(len(self.studies)))

    def bundles(self, workers: int) -> list[list[int]]:
        """The numbers of the trials that are left, in parts for so many workers.

        The trials of a part train side by side; by TPE each is one by itself, and within outer folds a part
        has the whole searches of some of them, so that each knows its own earlier scores, and no others.
        """
        if not self.studies:
            return [[trial.number for trial in trials] for trials in self]
        done = {trial.number for trial in self.record.trials if trial.status in FINISHED}
        if searched_folds(self.plan) == [None]:
            return [[number] for number in range(1, self.record.total + 1) if number not in done]
        searches = [[n for n in self._numbers(place) if n not in done] for place in range(len(self.studies))]
        left = [numbers for numbers in searches if numbers]
        parts = parts_of(range(len(left)), workers)
        return [[number for place in part for number in left[place]] for part in parts]

    def among(self, numbers: Sequence[int]) -> Iterator[Sequence[Trial]]:
        """What is left of the searches, or of the planned trials, that trials of these numbers belong to."""
        if self.studies:
            yield from self._next_of_each_fold(sorted({self._place(number) for number in numbers}))
        else:
            wanted = set(numbers)
            yield from [trials] if (trials := [t for t in self.plan.trials if t.number in wanted]) else []

    def chosen(self, number: int) -> Trial | None:
        """The next trial of a study, by its number; None where it cannot be trained, which is noted then."""
        (study,) = self.studies
        return next((trial for (trial,) in self._chosen_by_tpe(study, [number])), None)

    def study_of(self, number: int) -> TpeStudy | None:
        """The study that a trial belongs to; None in a sweep without."""
        return self.studies[self._place(number)] if self.studies else None

    def _place(self, number: int) -> int:
        """The place among the searches of that to which a trial belongs."""
        return (number - 1) // self.plan.total if len(self.studies) > 1 else 0

    def _numbers(self, place: int) -> range:
        """The numbers of the trials of a search within an outer fold."""
        return range(place * self.plan.total + 1, (place + 1) * self.plan.total + 1)

    def known(self, number: int) -> TrialRecord:
        """The record of a trial that has begun, or is planned."""
        found = self.record.trial(number)
        assert found is not None, "it has begun, or is planned"
        return found

    def record_of(self, number: int) -> TrialRecord:
        """The record of a trial, with its values; one of TPE is made where it was not known yet."""
        study = self.study_of(number)
        found = self.record.trial(number) or self.record.add(TrialRecord(number=number, values={}))
        if study is not None:
            found.outer_fold = searched_folds(self.plan)[self._place(number)]
            found.values = found.values or self.plan.values(study.point(number))
        return found

    def selection_of(self, trial: Trial) -> Selection:
        """Which networks of a trial are trained."""
        outer_fold = self.known(trial.number).outer_fold
        return self.selection if outer_fold is None else Selection(only_fold=outer_fold)

    def spec_of(self, number: int) -> schema.ExperimentSpec:
        """The spec of a trial, without outer folds."""
        study = self.study_of(number)
        if study is None:
            spec = self.plan.trials[number - 1].loaded.spec
        else:
            spec = self.plan.trial(number, study.point(number)).loaded.spec
        return spec.model_copy(update={"nested": None})

    def _next_of_each_fold(self, places: Sequence[int]) -> Iterator[Sequence[Trial]]:
        """The next trial of every one of these outer folds, those of one architecture together, and so on.

        For each search needs its own earlier scores alone. Of a time limit each first trial has its share, so
        that no outer fold is left without.
        """
        whole, is_first = self.pace, True
        searches = [self._chosen_by_tpe(self.studies[place], self._numbers(place)) for place in places]
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
            several = self.selection_of(trial).networks(trial.loaded.spec) > 1
            alone = f"alone {trial.number}" if limited and several else None
            groups.setdefault(alone or architecture_of(trial.loaded.spec), []).append(trial)
        at_most = self._side_by_side(trials)
        for group in groups.values():
            for first in range(0, len(group), at_most):
                yield group[first : first + at_most]

    def _chosen_by_tpe(self, study: TpeStudy, numbers: Sequence[int]) -> Iterator[Sequence[Trial]]:
        """The trials of one study that are left, until its time is up."""
        earlier: dict[str, TrialRecord] = {}
        for number in numbers:
            if len(self.studies) > 1 and self.pace.is_over():
                self.record.ended_by_time = self.plan.sweep.time_limit
                return
            before = len(self.record.trials)
            known = self.record_of(number)
            if len(self.record.trials) > before:
                self.save()
            try:
                trial = self.plan.trial(number, study.point(number))
            except SpecError as error:  # a combination that could not be checked before
                if known.status not in FINISHED:
                    known.status, known.error = "failed", str(error)
                    self.ended(known)
                continue
            same = earlier.setdefault(spec_key(trial.loaded.spec), known)
            if known.status in FINISHED:
                study.ended(known)
            elif same is not known:
                take_over(known, same, self.listener)
                self.ended(known)
            else:
                yield [trial]

    def _side_by_side(self, left: Sequence[Trial]) -> int:
        """How many trials train side by side at most: with workers so many that each gets some."""
        most = self.plan.sweep.together
        return most if self.workers is None else max(1, min(most, math.ceil(len(left) / self.workers)))
