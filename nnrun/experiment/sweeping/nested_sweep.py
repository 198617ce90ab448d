"""A sweep within each outer fold of nested cross-validation: what is chosen there, and how it scores.

The trials of a grid, or drawn at random, are the same in all outer folds, so that one run trains a trial in
all of them side by side. TPE learns from scores: each outer fold has a study and trials of its own. As in any
sweep, trials of one architecture train side by side, and so do those that were chosen, on the outer folds.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

from nnrun.data import Dataset
from nnrun.errors import DivergedError, NnrunError
from nnrun.experiment.finished.listing import runs_within
from nnrun.experiment.finished.nested_choice import choose_within, summarized
from nnrun.experiment.finished.run_scores import read_run_spec
from nnrun.experiment.running.job import Settings
from nnrun.experiment.running.listener import Listener, OnlyMessages
from nnrun.experiment.running.nested import outer_spec, rows_of_outer_folds, score_members
from nnrun.experiment.running.side_by_side import Candidate, architecture_of, train_side_by_side
from nnrun.experiment.setup.folds import smoke_spec
from nnrun.experiment.setup.groups import Selection
from nnrun.experiment.sweeping.sweep_listener import SweepListener
from nnrun.records import RunDirectory, RunRecord, SweepDirectory, SweepRecord, TrialRecord, now
from nnrun.records.run_record import NestedFold, NestedRecord
from nnrun.spec import schema
from nnrun.spec.reading.load import LoadedSpec
from nnrun.spec.wording import listing
from nnrun.training.pace import Pace

_MAY_HAVE_SCORES: Final = ("completed", "diverged")
"""How a trial ended that may be chosen: one that diverged did so within some of the outer folds alone."""


def searches_within_folds(base: schema.ExperimentSpec) -> int | None:
    """How many outer folds have trials of their own; None where trials are not those of one outer fold."""
    sweep, nested = base.sweep, base.nested
    return nested.k if nested is not None and sweep is not None and sweep.method == "tpe" else None


def share_of_time(whole: Pace, folds_left: int) -> Pace:
    """The time of the next of so many outer folds that are searched one after the other."""
    return Pace(None if whole.left is None else whole.left / folds_left)


def has_all_scores(record: SweepRecord) -> bool:
    """Whether what was chosen within the outer folds has been scored on all of them."""
    return record.nested is not None and bool(record.nested.scores)


@dataclass(frozen=True, eq=False)
class OuterFolds:
    """What a sweep chose within the outer folds is trained and scored.

    Attributes:
        base: the sweep's spec, with `nested`.
        settings: how and where, as its trials had them.
        sweep, record: the sweep.
        dataset_of: the data of a spec.
        listener: is told what happens.
        save: keeps the record.
    """

    base: LoadedSpec
    settings: Settings
    sweep: SweepDirectory
    record: SweepRecord
    dataset_of: Callable[[schema.ExperimentSpec], Dataset]
    listener: SweepListener
    save: Callable[[], None]

    def score(self, train: Callable[[OuterFolds], object] | None = None) -> None:
        """Choose within each outer fold, and train what was chosen and has not been trained for it yet.

        Args:
            train: has others train what is `left`, and `take` what comes of it; default: this process trains.

        Raises:
            NnrunError: within an outer fold no trial has a score.
        """
        chosen, known = self._choices(), self.record.nested
        before = {fold.fold: fold for fold in known.folds} if known is not None else {}
        folds = [_same_choice(before.get(fold.fold), fold) for fold in chosen]
        spec, members = self._spec, None if self._spec.nested is None else self._spec.nested.members
        self.record.nested = NestedRecord(
            k=self._k,
            inner_folds=spec.validation.number_of_folds,
            chosen_by=self.record.monitor,
            folds=folds,
        )
        if members is not None:
            self.record.nested.members = members
            if spec.linear_member:
                self.record.nested.without_linear_member = True
            self._score_members(folds)
            return
        self.take(take_in_outer_runs(self.sweep, self.left, "its process was killed"))
        if train is not None and self.left:
            train(self)
        for part in self.bundles(self.left):
            self.take(self.trained(part))
        self._summarize(self.record.nested)

    def _summarize(self, nested: NestedRecord) -> None:
        spec = self._spec
        rows = rows_of_outer_folds(spec, self.dataset_of(spec))
        self.record.nested = summarized(nested, spec, rows)
        self.save()

    @property
    def left(self) -> list[NestedFold]:
        """The outer folds that have no scores yet, each with what was chosen within it."""
        nested = self.record.nested
        return [] if nested is None else [fold for fold in nested.folds if not fold.scores]

    def take(self, scored: Sequence[NestedFold]) -> None:
        """Keep what was chosen and has been scored."""
        nested, by_fold = self.record.nested, {fold.fold: fold for fold in scored}
        assert nested is not None, "the choices are recorded first"
        nested.folds = [by_fold.get(fold.fold, fold) for fold in nested.folds]
        self.save()

    def _score_members(self, folds: list[NestedFold]) -> None:
        """Score the inner networks of the chosen trials, averaged, on the outer folds: nothing is trained."""
        nested = self.record.nested
        assert nested is not None, "the choices are recorded first"
        self.save()
        trials = {trial.number: trial for trial in self.record.trials}
        for fold in [fold for fold in folds if not fold.scores]:
            run = self.sweep.run_of(trials[fold.trial or 0])
            spec = read_run_spec(run)
            scores = score_members(run, spec, self.dataset_of(spec), [fold.fold], self.settings.device)
            folds[fold.fold] = fold.model_copy(update={"scores": scores[fold.fold], "run": run.id})
        nested.folds = folds
        self._summarize(nested)

    def _choices(self) -> list[NestedFold]:
        """The best trial within each outer fold, the first of equals."""
        sign = -1 if self.record.maximize else 1
        best: dict[int, tuple[float, NestedFold]] = {}
        for trial in self.record.trials:
            if trial.status not in _MAY_HAVE_SCORES or trial.run is None:
                continue
            run = self.sweep.run_of(trial)
            spec = read_run_spec(run)
            for fold in _scores_within(run, spec, trial, self.record.monitor):
                value = fold.inner.get(self.record.monitor)
                if value is not None and (fold.fold not in best or sign * value < best[fold.fold][0]):
                    best[fold.fold] = sign * value, fold
        missing = [str(fold) for fold in range(self._k) if fold not in best]
        if missing:
            folds = f"outer fold{'s' if len(missing) > 1 else ''} {listing(missing, 'and')}"
            raise NnrunError(
                f"Within {folds} no trial has a score, so there is nothing to choose; {self.sweep.path} says "
                "how the trials ended. With a time limit (--time), a longer one lets more of them end."
            )
        return [best[fold][1] for fold in range(self._k)]

    @property
    def _spec(self) -> schema.ExperimentSpec:
        return smoke_spec(self.base.spec) if self.record.smoke else self.base.spec

    @property
    def _k(self) -> int:
        nested = self._spec.nested
        assert nested is not None, "the sweep is one within outer folds"
        return nested.k

    def bundles(self, folds: Sequence[NestedFold], workers: int = 1) -> list[list[Chosen]]:
        """What was chosen, each with the outer folds that chose it; those of one architecture together.

        As many as train side by side, and so many that each of the workers gets some.
        """
        by_trial: dict[int, list[NestedFold]] = {}
        for fold in folds:
            by_trial.setdefault(fold.trial or 0, []).append(fold)
        trials = {trial.number: trial for trial in self.record.trials}
        together = self.base.spec.sweep.together if self.base.spec.sweep is not None else 1
        at_most = max(1, min(together, math.ceil(len(by_trial) / workers)))
        found: dict[str, list[list[Chosen]]] = {}
        for number, own in by_trial.items():
            spec = outer_spec(
                read_run_spec(self.sweep.run_of(trials[number])), max(fold.epoch for fold in own)
            )
            # Each ends by itself: they need not have one number of epochs.
            alike = found.setdefault(architecture_of(spec.model_copy(update={"epochs": 1})), [[]])
            if len(alike[-1]) == at_most:
                alike.append([])
            alike[-1].append(Chosen(trials[number], own, spec))
        return [part for alike in found.values() for part in alike]

    def trained(
        self, chosen: Sequence[Chosen], listener_of: Callable[[Chosen], Listener] | None = None
    ) -> list[NestedFold]:
        """Train trials on all training rows of the outer folds that chose them; these with their scores.

        Args:
            chosen: the trials.
            listener_of: who hears of the training of each; default: who hears of the sweep hears messages.

        Raises:
            DivergedError: one of them did. The others have been trained to their end.
        """
        for each in chosen:
            self.listener.message(_told_of(each.trial, each.epochs))
        candidates = [
            self._candidate(each, OnlyMessages(self.listener) if listener_of is None else listener_of(each))
            for each in chosen
        ]
        made = train_side_by_side(candidates, self.dataset_of(chosen[0].spec))
        folds = []
        for run in made:
            record = run.read_record()
            if record.status == "diverged":
                raise DivergedError(f"{record.error} What was recorded so far is kept in {run.path}.")
            folds += _scored_by(run, record)
        return folds

    def _candidate(self, chosen: Chosen, listener: Listener) -> Candidate:
        """An outer run to be."""
        record, nested = self.sweep.run_of(chosen.trial).read_record(), self.record.nested
        assert nested is not None, "the choices are recorded first"
        settings = replace(
            self.settings,
            parent=self.sweep.id,
            parent_data=record.data_hashes,
            smoke=record.smoke,
            selection=Selection(some_folds=tuple(chosen.epochs)),
            stop_after=chosen.epochs,
            inner_folds=False,
            nested=nested.model_copy(update={"folds": list(chosen.folds)}),
        )
        return Candidate(replace(self.base, spec=chosen.spec), settings, listener)


@dataclass(frozen=True)
class Chosen:
    """A trial, the outer folds that chose it, and the spec by which it is trained there."""

    trial: TrialRecord
    folds: Sequence[NestedFold]
    spec: schema.ExperimentSpec

    @property
    def epochs(self) -> dict[int, int]:
        """Outer fold → how many epochs it chose."""
        return {fold.fold: fold.epoch for fold in self.folds}


def take_in_outer_runs(sweep: SweepDirectory, folds: Sequence[NestedFold], died: str) -> list[NestedFold]:
    """Those of some outer folds that an earlier process has scored, although it died before it said so.

    Args:
        sweep: the sweep.
        folds: what was chosen within these. Nobody else trains for them now.
        died: what the record of a run says that has not ended.
    """
    wanted, found = {fold.fold: fold for fold in folds}, dict[int, NestedFold]()
    for run in runs_within(sweep) if folds else ():
        record = run.read_record()
        if record.trial is not None or record.nested is None:
            continue
        own = [fold for fold in _scored_by(run, record) if fold.fold in wanted]
        if own and record.ended is None:
            record.status, record.ended, record.error = "interrupted", now(), died
            run.write_record(record)
        elif record.status == "completed":
            same = [fold for fold in own if fold.scores and _is_same(fold, wanted[fold.fold])]
            found |= {fold.fold: fold for fold in same if fold.fold not in found}
    return list(found.values())


def _scored_by(run: RunDirectory, record: RunRecord) -> list[NestedFold]:
    """The outer folds of an outer run."""
    folds = [] if record.nested is None else record.nested.folds
    return [fold.model_copy(update={"run": run.id}) for fold in folds]


def _told_of(trial: TrialRecord, epochs: Mapping[int, int]) -> str:
    """That a trial is trained for outer folds that chose it, each for its number of epochs."""
    folds, numbers = (listing([str(n) for n in of], "and") for of in (epochs, epochs.values()))
    which = f"folds {folds}" if len(epochs) > 1 else f"fold {folds}"
    return (
        f"trial {trial.number} was chosen within outer {which}, and is now trained on all training rows "
        f"there, for {numbers} epochs"
    )


def _scores_within(
    run: RunDirectory, spec: schema.ExperimentSpec, trial: TrialRecord, monitor: str
) -> list[NestedFold]:
    """What a trial scores within each outer fold where none of its inner folds diverged."""
    record = run.read_record()
    if record.status != "completed" or record.nested is None:
        return []
    n = record.nested.inner_folds
    without = {inner // n for inner in record.nested.diverged}
    found = choose_within(run.read_history_table(), spec, monitor)
    return [
        fold.model_copy(update={"trial": trial.number, "values": dict(trial.values)})
        for outer, fold in found.items()
        if outer not in without
    ]


def _same_choice(before: NestedFold | None, chosen: NestedFold) -> NestedFold:
    """What an earlier start has scored, where the same was chosen."""
    return before if before is not None and _is_same(before, chosen) else chosen


def _is_same(one: NestedFold, other: NestedFold) -> bool:
    return (one.trial, one.epoch) == (other.trial, other.epoch)
