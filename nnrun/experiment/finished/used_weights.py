"""Of which epoch the weights are that something was computed with, in words."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, get_args

from nnrun.errors import DataError, UsageError
from nnrun.records import KeptWeights, Member, RunDirectory, RunRecord, WeightsChoice, WeightsEpoch
from nnrun.records.run_record import MemberRecord
from nnrun.spec.score_columns import INNER

_ENDED_EARLY: Final = {"interrupted": "was interrupted", "failed": "failed", "diverged": "diverged"}
_MOST_EPOCHS = 10
"""So many folds are named with their epochs; of more the first and the last epoch."""


@dataclass(frozen=True)
class UsedWeights:
    """The weights of some of a run's networks.

    Attributes:
        which: what was asked for; of a run that took over only the weights of best epochs, `best`.
        members: the networks; None for a run of one.
        epochs: of each when its weights were trained; None where that is not known.
        chosen_by: the column by which the best epoch is the best; None where nothing was validated.
        best: of each the epoch of its best weights, where other weights are used; else None.
        only_best: whether the run has none but those of best epochs.
        ended_early: what happened to a run whose training did not come to its end, `was interrupted`; else
            empty.
    """

    which: WeightsChoice
    members: tuple[Member | None, ...]
    epochs: tuple[WeightsEpoch | None, ...]
    chosen_by: str | None
    best: tuple[int | None, ...]
    only_best: bool = False
    ended_early: str = ""

    @property
    def epoch(self) -> int | None:
        """The epoch of all, where they have the same."""
        epochs = {None if of is None else of.epoch for of in self.epochs}
        return epochs.pop() if len(epochs) == 1 else None

    @property
    def chosen_apart(self) -> bool:
        """Whether the epoch of each of several networks was chosen by its own validation scores."""
        if len(self.epochs) < 2 or self.chosen_on_inner_rows:
            return False
        return self.which == "best" or self.epoch is None or any(of and of.restored for of in self.epochs)

    @property
    def chosen_on_inner_rows(self) -> bool:
        """Whether rows that are not scored choose epochs (`early_stopping: {on: inner}`)."""
        return self.chosen_by is not None and self.chosen_by.startswith(INNER)

    @property
    def chosen_on_validation(self) -> bool:
        """Whether validation rows chose some of these epochs among others."""
        if self.chosen_by is None or self.chosen_on_inner_rows:
            return False
        return self.which == "best" or any(of and of.restored for of in self.epochs)

    @property
    def text(self) -> str:
        """`epoch 20, the last`; `epoch 7, the best by val_loss`; `each fold's last epoch (epochs 9, 12)`.

        Of a run that did not come to its end: `epoch 3, the last, of a run that was interrupted`.
        """
        return self._epochs_text + (f", of a run that {self.ended_early}" if self.ended_early else "")

    @property
    def _epochs_text(self) -> str:
        known = [of for of in self.epochs if of is not None]
        if len(known) < len(self.epochs):
            return "of an epoch that is not recorded"
        if len(set(known)) == 1:
            return f"epoch {known[0].epoch}, {self._what(known[0])}"
        averaged = ", averaged over its updates (use_ema)" if any(of.averaged for of in known) else ""
        if self.epoch is not None and all(of.last for of in known):
            return f"epoch {self.epoch}, the last{averaged}"
        restored = any(of.restored for of in known)
        if restored and all(of.restored or of.best for of in known):  # where training ended at its best
            what = f"best epoch{self._by}, restored by early stopping"
        elif restored:
            what = f"best epoch{self._by}, restored by early stopping, or its last"
        else:
            what = (
                f"best epoch{self._by}"
                if all(of.best for of in known) and self.which == "best"
                else f"last epoch{averaged}"
            )
        return f"{self._each} {what} ({_epochs([of.epoch for of in known])})"

    @property
    def others(self) -> str:
        """How to get the other weights, where there are any: the end of a sentence."""
        if self.only_best:
            return ""
        if self.which == "best":
            ended_with = all(of is not None and (of.last or of.restored) for of in self.epochs)
            return "" if ended_with else "--weights last uses those that training ended with"
        if all(number is None for number in self.best):
            return ""
        if len(self.best) == 1:
            return f"--weights best uses those of epoch {self.best[0]}, the best{self._by}"
        return f"--weights best uses those of {self._each} best epoch{self._by}"

    @property
    def sentence(self) -> str:
        """`weights: epoch 20, the last; --weights best uses those of epoch 7, the best by val_loss`."""
        return f"weights: {self.text}" + (f"; {self.others}" if self.others else "")

    def as_document(self) -> dict[str, Any]:
        """As `--json` and the record of a run have it."""
        numbers = [None if of is None else of.epoch for of in self.epochs]
        each = {m.folder: number for m, number in zip(self.members, numbers, strict=True) if m is not None}
        return {"which": self.which, "epoch": self.epoch, "epochs": each or None, "text": self.text}

    @property
    def _each(self) -> str:
        """`each fold's`."""
        return f"each {'fold' if self.members[0] is None else self.members[0].type}'s"

    @property
    def _by(self) -> str:
        return "" if self.chosen_by is None else f" by {self.chosen_by}"

    def _what(self, of: WeightsEpoch) -> str:
        best = f"the best{self._by}"
        if of.averaged:
            return "the last, averaged over its updates (use_ema)"
        if of.restored:
            return f"{best}, restored by early stopping" if of.best else "restored by early stopping"
        if of.best and of.last:
            return f"the last and {best}"
        return best if of.best else "the last"


def _epochs(epochs: Sequence[int]) -> str:
    if len(epochs) <= _MOST_EPOCHS:
        return f"epoch{'s' if len(epochs) > 1 else ''} {', '.join(map(str, epochs))}"
    return f"epochs {min(epochs)} to {max(epochs)}"


def read_used_weights(
    run: RunDirectory, members: Sequence[Member | None], which: WeightsChoice
) -> tuple[list[KeptWeights], UsedWeights]:
    """The weights of some networks of a run, and of which epochs they are.

    Args:
        run: its folder.
        members: the networks; None for the only one.
        which: `last`, or `best`.

    Raises:
        UsageError: the best are asked for, and no epoch was chosen as the best.
        DataError: the run kept none, or they are damaged.
    """
    if which not in get_args(WeightsChoice):
        raise UsageError(f"weights is {which!r}; it must be last or best.")
    record = run.read_record()
    found = [run.read_kept_weights(member, which) for member in members]
    epochs = [
        kept.epoch or _recorded_epoch(record, member) for kept, member in zip(found, members, strict=True)
    ]
    if which == "best":
        _refuse_others(run, record, epochs)
    used = _used(record, which, members, epochs)
    return found, replace(used, ended_early=_ENDED_EARLY.get(record.status or "", ""))


def _refuse_others(run: RunDirectory, record: RunRecord, epochs: Sequence[WeightsEpoch | None]) -> None:
    """Raise an error where the weights that were found are not the best."""
    if all(of is not None and of.best for of in epochs):
        return
    if record.best_epoch is None:
        raise UsageError(
            f"--weights best: {run.id} has no best epoch, since nothing was validated with a finite score. "
            "Its weights are those that training ended with: leave --weights out."
        )
    raise DataError(
        f"--weights best: {run.id} kept only the weights that training ended with, as older versions of "
        "nnrun did, and not those of its best epoch. Train it again, or leave --weights out."
    )


def recorded_weights(record: RunRecord) -> UsedWeights | None:
    """The weights that a run ended with, as its record shows them; None where it has none."""
    members = record.named_members
    epochs = [_recorded_epoch(record, member) for member in members]
    return None if any(epoch is None for epoch in epochs) else _used(record, "last", members, epochs)


def _used(
    record: RunRecord,
    which: WeightsChoice,
    members: Sequence[Member | None],
    epochs: Sequence[WeightsEpoch | None],
) -> UsedWeights:
    best = [
        None if of is None or of.best else record.network(member).best_weights_epoch
        for of, member in zip(epochs, members, strict=True)
    ]
    only_best = _has_only_best(record)
    which = "best" if only_best else which
    return UsedWeights(which, tuple(members), tuple(epochs), record.chosen_by, tuple(best), only_best)


def _has_only_best(record: RunRecord) -> bool:
    """Whether a run took over the weights of best epochs, and those that training ended with it has not."""
    return record.ensemble is not None and record.ensemble.weights == "best"


def _diverged(record: RunRecord, member: Member | None) -> bool:
    """Whether a network's last epoch has no weights, since they stopped being finite numbers in it."""
    inner = record.nested.diverged if record.nested is not None else []
    return record.status == "diverged" or (member is not None and member.id in inner)


def _recorded_epoch(record: RunRecord, member: Member | None) -> WeightsEpoch | None:
    """What the record says of weights; those of an older nnrun do not say it themselves."""
    known = record.network(member)
    # Each of several may have ended by itself: by its own number of epochs, early stopping, time, divergence.
    own_end = known.epochs if isinstance(known, MemberRecord) else None
    epoch, ended = known.weights_epoch, own_end or known.stopped_early or record.epochs_run
    if epoch is None:
        return None
    best = known.best_weights_epoch or (record.best_epoch if member is None else None)
    averaged = known.weights_averaged
    restored = epoch != ended and not _has_only_best(record) and not _diverged(record, member)
    return WeightsEpoch(epoch, epoch == ended, epoch == best and not averaged, restored, averaged)
