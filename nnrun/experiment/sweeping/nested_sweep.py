"""A sweep within each outer fold of nested cross-validation: what is chosen there, and how it scores.

The trials of a grid, or drawn at random, are the same in all outer folds, so that one run trains a trial in
all of them side by side. TPE learns from scores: each outer fold has a study and trials of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Final

from nnrun.data import Dataset
from nnrun.errors import NnrunError
from nnrun.experiment.finished.nested_choice import choose_within, summarized
from nnrun.experiment.finished.run_scores import read_run_spec
from nnrun.experiment.running.job import Settings
from nnrun.experiment.running.listener import Listener
from nnrun.experiment.running.nested import outer_spec
from nnrun.experiment.running.train import run_experiment
from nnrun.experiment.setup.folds import smoke_spec
from nnrun.experiment.setup.groups import Selection
from nnrun.experiment.sweeping.sweep_listener import SweepListener
from nnrun.records import RunDirectory, SweepDirectory, SweepRecord, TrialRecord
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

    def score(self) -> None:
        """Choose within each outer fold, and train what was chosen and has not been trained for it yet.

        Raises:
            NnrunError: within an outer fold no trial has a score.
        """
        chosen, known = self._choices(), self.record.nested
        before = {fold.fold: fold for fold in known.folds} if known is not None else {}
        folds = [_same_choice(before.get(fold.fold), fold) for fold in chosen]
        spec = self._spec
        self.record.nested = NestedRecord(
            k=self._k,
            inner_folds=spec.validation.number_of_folds,
            chosen_by=self.record.monitor,
            folds=folds,
        )
        self.save()
        by_trial: dict[int, list[NestedFold]] = {}
        for fold in folds:
            if not fold.scores:
                by_trial.setdefault(fold.trial or 0, []).append(fold)
        trials = {trial.number: trial for trial in self.record.trials}
        for number, own in by_trial.items():
            for done in self._trained(trials[number], own):
                folds[done.fold] = done
            self.record.nested.folds = folds
            self.save()
        self.record.nested = summarized(self.record.nested, spec)
        self.save()

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

    def _trained(self, trial: TrialRecord, folds: list[NestedFold]) -> list[NestedFold]:
        """Train a trial on all training rows of the outer folds that chose it; these with their scores."""
        run, nested = self.sweep.run_of(trial), self.record.nested
        assert nested is not None, "the choices are recorded first"
        record, epochs = run.read_record(), {fold.fold: fold.epoch for fold in folds}
        self.listener.message(_told_of(trial, epochs))
        spec = outer_spec(read_run_spec(run), max(epochs.values()))
        own = nested.model_copy(update={"folds": folds})
        made = run_experiment(
            replace(self.base, spec=spec),
            replace(
                self.settings,
                parent=self.sweep.id,
                parent_data=record.data_hashes,
                smoke=record.smoke,
                selection=Selection(some_folds=tuple(epochs)),
                stop_after=epochs,
                inner_folds=False,
                nested=own,
            ),
            _Hears(self.listener),
            dataset=self.dataset_of(spec),
        )
        found = made.read_record().nested
        assert found is not None, "it is an outer run"
        return [fold.model_copy(update={"run": made.id}) for fold in found.folds]


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
    found = choose_within(run.read_history(), spec, monitor)
    return [
        fold.model_copy(update={"trial": trial.number, "values": dict(trial.values)})
        for outer, fold in found.items()
        if outer not in without
    ]


def _same_choice(before: NestedFold | None, now: NestedFold) -> NestedFold:
    """What an earlier start has scored, where the same was chosen."""
    if before is not None and (before.trial, before.epoch) == (now.trial, now.epoch):
        return before
    return now


class _Hears(Listener):
    """Hands messages on; the epochs of outer runs are not shown."""

    def __init__(self, listener: SweepListener) -> None:
        self._listener = listener

    def message(self, text: str) -> None:
        """Hand it on."""
        self._listener.message(text)

    def detail(self, text: str) -> None:
        """Hand it on."""
        self._listener.detail(text)
