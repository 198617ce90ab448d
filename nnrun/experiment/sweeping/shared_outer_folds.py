"""What was chosen within the outer folds of a sweep, trained by workers: what the owner does, and a worker.

An item of the work is an outer fold, a part of it what `OuterFolds.bundles` gives: the runs are those of one
process.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from pydantic import ValidationError

from nnrun.errors import NnrunError
from nnrun.experiment.launching.launcher import Workers
from nnrun.experiment.launching.membership import Membership
from nnrun.experiment.launching.outcomes import failed, raise_failed
from nnrun.experiment.running.job import Settings
from nnrun.experiment.running.listener import OnlyMessages, Start
from nnrun.experiment.sweeping.nested_sweep import Chosen, OuterFolds, take_in_outer_runs
from nnrun.experiment.sweeping.shared_trials import OUTER_FOLD, have_done
from nnrun.experiment.sweeping.sweep_listener import SweepListener, Working
from nnrun.records.claims import Claim, SignOfLife, Timing, WorkPlan
from nnrun.records.run_record import NestedFold
from nnrun.records.takeover import MOST_ATTEMPTS
from nnrun.spec.wording import counted
from nnrun.training.loop import EpochRecord

_STAGE = "outer folds"


def is_of_outer_folds(plan: WorkPlan) -> bool:
    """Whether workers train what was chosen within outer folds, and no trials."""
    return bool(plan.details.get(_STAGE))


def share_outer_folds(outer: OuterFolds, settings: Settings, workers: Workers, timing: Timing) -> None:
    """Have workers train what is left.

    Raises:
        DivergedError, NnrunError: what was chosen within an outer fold diverged, or could not be trained. The
            others have been trained to their end.
    """
    parts = [
        [fold.fold for chosen in bundle for fold in chosen.folds]
        for bundle in outer.bundles(outer.left, workers.count)
    ]
    audience = _Audience(outer.listener, outer.take)
    few = Workers(min(workers.count, len(parts)), workers.launcher, workers.options)
    have_done(outer.sweep, WorkPlan(parts, timing, {_STAGE: True}), audience, settings, few)
    audience.raise_what_failed()


@dataclass(eq=False)
class _Audience:
    """Is told how it goes (`oversee.Audience`).

    Attributes:
        listener: of the sweep.
        take: keeps outer folds that were scored.
    """

    listener: SweepListener
    take: Callable[[list[NestedFold]], None]
    _failed: dict[int, Mapping[str, Any]] = field(default_factory=dict)

    def message(self, text: str) -> None:
        """Hand it on."""
        self.listener.message(text)

    def detail(self, text: str) -> None:
        """Hand it on."""
        self.listener.detail(text)

    def result(self, item: int, found: Mapping[str, Any]) -> None:
        """Keep what an outer fold scores; what is damaged says nothing, and is trained again."""
        if found.get("status") != "completed":
            self._failed[item] = found
            return
        try:
            self.take([NestedFold.model_validate(found[OUTER_FOLD])])
        except (KeyError, ValidationError):
            return

    def at_work(self, signs: list[SignOfLife]) -> None:
        """Show what the workers do."""
        self.listener.working([Working.of(sign) for sign in signs])

    def given_up(self, item: int) -> Mapping[str, Any]:
        """What ends every worker has failed."""
        what = f"what was chosen within outer fold {item}"
        return _failed(NnrunError(f"{MOST_ATTEMPTS} workers died while they trained {what}."), item)

    def is_over(self, signs: list[SignOfLife]) -> bool:
        """No time limit ends it."""
        return False

    def in_words(self, items: int) -> str:
        """`3 outer folds`."""
        return counted(items, "outer fold")

    def doing(self) -> Mapping[str, Any]:
        """Workers need to know nothing."""
        return {}

    def raise_what_failed(self) -> None:
        """Raise what ended the training for the first outer fold that has no scores."""
        for _, found in sorted(self._failed.items()):
            raise_failed(found)


def train_outer_folds(outer: OuterFolds, member: Membership, scored: list[int]) -> bool:
    """As a worker, claim bundles and train them until there is nothing left.

    Args:
        outer: what was chosen within the outer folds.
        member: this worker.
        scored: the outer folds of which it has written scores are added to it.

    Returns:
        Whether it was asked to stop before all had ended.

    Raises:
        KeyboardInterrupt: this worker was stopped; its bundle goes to another.
    """

    def train(claim: Claim) -> bool:
        _train(outer, member, claim, scored)
        return True

    return member.do_all(train)


def _train(outer: OuterFolds, member: Membership, claim: Claim, scored: list[int]) -> None:
    """Train a bundle, and write what came of each of its outer folds."""
    nested = outer.record.nested
    assert nested is not None, "the owner keeps the choices before it has workers started"

    def publish(folds: list[NestedFold]) -> None:
        for fold in folds:
            document = {"status": "completed", OUTER_FOLD: fold.model_dump(mode="json")}
            if member.publish(fold.fold, document):
                scored.append(fold.fold)

    open_ = set(member.plan.parts[claim.part]) - member.folder.finished()
    folds = [fold for fold in nested.folds if fold.fold in open_]
    if claim.generation > 1:
        died = "its worker died, or was paused for so long that another took its place"
        publish(earlier := take_in_outer_runs(outer.sweep, folds, died))
        open_ -= {fold.fold for fold in earlier}
    try:
        for bundle in outer.bundles([fold for fold in folds if fold.fold in open_]):
            done = outer.trained(bundle, lambda chosen: _ChosenListener(member, outer.listener, chosen))
            publish(done)
            open_ -= {fold.fold for fold in done}
    except NnrunError as error:
        for number in sorted(open_):
            member.publish(number, _failed(error, number))


def _failed(error: NnrunError, outer_fold: int) -> dict[str, Any]:
    """What is kept of an outer fold; it says that it is one."""
    return {**failed(error), OUTER_FOLD: outer_fold}


class _ChosenListener(OnlyMessages):
    """Hears of the training of what was chosen, and goes on only while the bundle is this worker's."""

    def __init__(self, member: Membership, listener: SweepListener, chosen: Chosen) -> None:
        super().__init__(listener)
        self._member, self._trial = member, chosen.trial.number

    def started(self, start: Start) -> None:
        """Look whether it still is."""
        self._member.check(now=True)
        self._member.doing({"trials": [self._trial], "epoch": 0})

    def epoch(self, record: EpochRecord) -> None:
        """Look whether it still is."""
        self._member.check()
        self._member.note({"trials": [self._trial], "epoch": record.epoch})
