"""Who is told what happens while an experiment runs, and training as plain lines."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from nnrun.history_table import HistoryTable
from nnrun.records import MemberType, RunDirectory, member_type_of
from nnrun.spec.wording import counted, listing, score_text
from nnrun.training.loop import EpochRecord
from nnrun.validation.summary import mean_and_deviation


@dataclass(frozen=True)
class Start:
    """What is about to be trained.

    Attributes:
        run: its folder.
        name: the experiment's name.
        member_type: what tells the networks apart (`fold`, `seed`); None where there is one.
        member_ids: the folds or seeds; [0] for a run of one network.
        epochs: epochs that were asked for.
        train_rows, validation_rows, inner_rows: of the first fold or seed.
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
    inner_rows: int = 0
    earlier: Sequence[EpochRecord] = ()


class StopTraining(Exception):
    """A listener has seen enough of a run; the text says why. The run keeps what there was."""


class HearsMessages(Protocol):
    """Who is told sentences."""

    def message(self, text: str) -> None:
        """Something took long or went differently."""

    def detail(self, text: str) -> None:
        """Something that only the curious want to know."""


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


SILENT = Listener()


class OnlyMessages(Listener):
    """Hands on what is said, and no epochs.

    Args:
        listener: hears it: a `Listener`, or that of a sweep.
    """

    def __init__(self, listener: HearsMessages) -> None:
        self._listener = listener

    def message(self, text: str) -> None:
        """Hand it on."""
        self._listener.message(text)

    def detail(self, text: str) -> None:
        """Hand it on."""
        self._listener.detail(text)


class Lines:
    """Writes what a listener is told in words.

    Args:
        write: takes a line, without its end.
        details: whether to write those too.
    """

    def __init__(self, write: Callable[[str], None], *, details: bool = False) -> None:
        self._write = write
        self._details = details
        self._start: Start | None = None

    def message(self, text: str) -> None:
        """Write it as it is."""
        self._write(text)

    def detail(self, text: str) -> None:
        """Write it where details are wanted."""
        if self._details:
            self.message(text)


class LineListener(Lines, Listener):
    """Writes messages, and one line when training starts and after each epoch."""

    def started(self, start: Start) -> None:
        """Say what is trained, on what, where."""
        self._start = start
        self._write(start_line(start))

    def epoch(self, record: EpochRecord) -> None:
        """Write the epoch's line."""
        assert self._start is not None, "an epoch ends after the start"
        self._write(epoch_line(record, self._start))


def start_line(start: Start) -> str:
    """`reuters: a network of 650,478 parameters, 7,982 training and 1,000 validation rows, on cpu`."""
    networks = (
        f"{counted(len(start.member_ids), start.member_type)} of" if start.member_type else "a network of"
    )
    parts = {"training": start.train_rows, "inner": start.inner_rows, "validation": start.validation_rows}
    rows = f"{listing([f'{n:,} {kind}' for kind, n in parts.items() if n], 'and')} rows"
    rows = start.rows or rows
    each = " each" if start.member_type and len(start.member_ids) > 1 else ""
    return f"{start.name}: {networks} {start.parameters:,} parameters{each}, {rows}, on {start.device}"


def epoch_line(record: EpochRecord, start: Start) -> str:
    """`epoch  3/20  loss 0.5312  accuracy 0.8891  0.35 s`; of several networks mean ± deviation."""
    width = len(str(start.epochs))
    parts = [f"epoch {record.epoch:>{width}}/{start.epochs}"]
    if len(record.rows) < len(start.member_ids):
        parts[0] += f" ({members_in_words(record.rows, start.member_type)})"
    for name, (mean, std) in means(record).items():
        parts.append(f"{name} {number_text(mean, std)}")
    return "  ".join([*parts, f"{record.seconds:.2f} s"])


def members_in_words(member_ids: Collection[int], member_type: str | None) -> str:
    """`fold 2`, or `folds 0, 1, 3`."""
    return f"{member_type}{'s' if len(member_ids) > 1 else ''} {', '.join(map(str, member_ids))}"


def epochs_of_history(history: HistoryTable) -> list[EpochRecord]:
    """The epochs of a history, as they were told when they ended (without weights)."""
    member_type = member_type_of(history.columns)
    columns = [c for c in history.columns if c not in (member_type, "epoch", "learning_rate", "seconds")]
    epochs = []
    for epoch, rows in history.groups(history["epoch"]):
        ids = [0] * len(rows) if member_type is None else rows[member_type].tolist()
        lists = [rows.floats(name).tolist() for name in columns]
        values = {
            member_id: dict(zip(columns, row, strict=True))
            for member_id, *row in zip(ids, *lists, strict=True)
        }
        rates = dict(zip(ids, rows.floats("learning_rate").tolist(), strict=True))
        epochs.append(EpochRecord(epoch, values, rates, float(np.fmax.reduce(rows["seconds"]))))
    return epochs


def number_text(value: float, std: float | None = None) -> str:
    """A measure's value while training: four decimals; five digits of what is too large or small for that.

    Its standard deviation has as many decimals, or two digits: `0.9913 ± 0.0001`, `4.4908e-04 ± 3.1e-05`.
    """
    if not 0 < abs(value) < 0.001:
        return score_text(value) if std is None else f"{score_text(value)} ± {score_text(std)}"
    text = f"{value:.4e}"
    return text if std is None else f"{text} ± {std:.1e}"


def means(record: EpochRecord) -> Mapping[str, tuple[float, float | None]]:
    """Column → mean over the replicas and their standard deviation (None for a single replica)."""
    rows = list(record.rows.values())
    result: dict[str, tuple[float, float | None]] = {}
    for name in rows[0]:
        values = [row[name] for row in rows]
        with np.errstate(invalid="ignore", over="ignore"):  # the numbers of a network that diverged
            result[name] = mean_and_deviation(values)
    return result
