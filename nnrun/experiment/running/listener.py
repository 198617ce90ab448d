"""Who is told what happens while an experiment runs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from nnrun.records import MemberType, RunDirectory
from nnrun.training.loop import EpochRecord


@dataclass(frozen=True)
class Start:
    """What is about to be trained.

    Attributes:
        run: its folder.
        name: the experiment's name.
        member_type: what tells the networks apart (`fold`, `seed`); None where there is one.
        member_ids: the folds or seeds; [0] for a run of one network.
        epochs: epochs that were asked for.
        train_rows, validation_rows: of the first fold or seed.
        parameters: numbers to learn in one network.
        device: where.
        rows: the rows in words, where they are not the same for all folds.
        monitor: the column that chooses the best epoch.
        maximize: whether its highest value is its best.
        earlier: the epochs that had ended before the run was resumed.
    """

    run: RunDirectory
    name: str
    member_type: MemberType | None
    member_ids: Sequence[int]
    epochs: int
    train_rows: int
    validation_rows: int
    parameters: int
    device: str
    rows: str = ""
    monitor: str = "val_loss"
    maximize: bool = False
    earlier: Sequence[EpochRecord] = ()


class StopTraining(Exception):
    """A listener has seen enough of a run; the text says why. The run keeps what there was."""


class Listener:
    """Hears nothing. What shows progress overrides what it needs."""

    def message(self, text: str) -> None:
        """Something took long or went differently; a sentence."""

    def detail(self, text: str) -> None:
        """Something that only the curious want to know; a line."""

    def started(self, start: Start) -> None:
        """The run's folder is there and training begins."""

    def epoch(self, record: EpochRecord) -> None:
        """An epoch ended; its rows are in the history. May raise `StopTraining`."""

    def ended(self) -> None:
        """Training is over, however it ended."""
