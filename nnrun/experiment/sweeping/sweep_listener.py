"""Who is told what happens while a sweep runs, and a sweep as plain lines."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from nnrun.experiment.running.listener import Lines, Start, epoch_line, start_line
from nnrun.records import FINISHED, SweepRecord, TrialRecord
from nnrun.records.claims import SignOfLife
from nnrun.spec.wording import counted, listing, with_std
from nnrun.spec.writing.value_labels import values_label
from nnrun.training.loop import EpochRecord


@dataclass(frozen=True)
class Working:
    """A worker, and what it does now.

    Attributes:
        name: of the worker.
        trials: what it trains; empty while it loads the data or waits.
        epoch: the epoch that ended last; 0 before the first.
        values: trial → the monitored column at that epoch.
    """

    name: str
    trials: tuple[int, ...]
    epoch: int
    values: Mapping[int, float]

    @classmethod
    def of(cls, sign: SignOfLife) -> Working:
        """As its sign of life tells it."""
        doing = sign.doing
        values = {int(number): float(value) for number, value in doing.get("scores", {}).items() if value}
        return cls(sign.name, tuple(doing.get("trials", ())), int(doing.get("epoch", 0)), values)

    def __str__(self) -> str:
        if not self.trials:
            return f"{self.name}: no trial yet, or waiting"
        trials = f"trial{'s' * (len(self.trials) > 1)} {listing([str(n) for n in self.trials], 'and')}"
        return f"{self.name}: {trials}, epoch {self.epoch}"


class SweepListener:
    """Hears nothing. What shows progress overrides what it needs."""

    def message(self, text: str) -> None:
        """Something took long or went differently; a sentence."""

    def detail(self, text: str) -> None:
        """Something that only the curious want to know; a line."""

    def began(self, record: SweepRecord) -> None:
        """The sweep's folder exists. The record keeps changing while the sweep runs."""

    def trial_began(self, trial: TrialRecord, start: Start) -> None:
        """A trial's run is there and its training begins."""

    def epoch(self, trial: TrialRecord, epoch: EpochRecord) -> None:
        """An epoch of a trial ended."""

    def trial_ended(self, trial: TrialRecord) -> None:
        """A trial is over; how, its status says."""

    def working(self, workers: Sequence[Working]) -> None:
        """What the workers of the sweep do; told again and again."""

    def ended(self) -> None:
        """The sweep is over, however it ended."""


class SweepLines(Lines, SweepListener):
    """Writes messages, and one line after each trial; with details the epochs too.

    Args:
        write, details: as for `Lines`.
        each: whether the lines of trials are no details.
    """

    def __init__(self, write: Callable[[str], None], *, details: bool = False, each: bool = True) -> None:
        super().__init__(write, details=details)
        self._each = each
        self._told: dict[str, str] = {}

    _record: SweepRecord | None = None

    def began(self, record: SweepRecord) -> None:
        """Say what is tried."""
        self._record = record
        self._write(sweep_line(record))

    def trial_began(self, trial: TrialRecord, start: Start) -> None:
        """Write what is trained, where details are wanted."""
        self._start = start
        self.detail(start_line(start))

    def epoch(self, trial: TrialRecord, epoch: EpochRecord) -> None:
        """Write the epoch's line, where details are wanted."""
        if self._start is not None:
            self.detail(epoch_line(epoch, self._start))

    def trial_ended(self, trial: TrialRecord) -> None:
        """Write how it ended."""
        assert self._record is not None, "a trial ends after the sweep began"
        (self._write if self._each else self.detail)(trial_line(trial, self._record))

    def working(self, workers: Sequence[Working]) -> None:
        """Write what is new of each worker, where details are wanted."""
        for worker in workers:
            if (line := str(worker)) != self._told.get(worker.name):
                self._told[worker.name] = line
                self.detail(line)


def sweep_line(record: SweepRecord) -> str:
    """`reuters: 24 trials of a grid, compared by val_accuracy (higher is better)`."""
    drawn = {"grid": "of a grid", "random": "drawn at random", "tpe": "chosen by TPE"}[record.method]
    better = "higher" if record.maximize else "lower"
    done = sum(trial.status in FINISHED for trial in record.trials)
    finished = f"; {done} finished" if done else ""
    trials = counted(record.total, "trial")
    return f"{record.name}: {trials} {drawn}, compared by {record.monitor} ({better} is better){finished}"


def trial_line(trial: TrialRecord, record: SweepRecord) -> str:
    """`trial  3/24  units 32, loss mse: val_accuracy 0.8812 at epoch 4, the best so far  1.23 s`."""
    place = f"trial {trial.number:>{len(str(record.total))}}/{record.total}"
    within = "" if trial.outer_fold is None else f"outer fold {trial.outer_fold}, "
    line = f"{place}  {within}{values_label(trial.values)}: {outcome(trial, record.monitor)}"
    ranked = [other for other in record.ranked() if other.outer_fold == trial.outer_fold]
    if trial.score is not None and len(ranked) > 1:
        best = ranked[0]
        behind = f" (best {with_std(best.score)}, trial {best.number})"
        line += ", the best so far" if best is trial else behind
    line = line if trial.seconds is None else f"{line}  {trial.seconds:.2f} s"
    return line if trial.worker is None else f"{line}  by {trial.worker}"


def outcome(trial: TrialRecord, monitor: str) -> str:
    """`val_loss 0.2812 at epoch 4`, or how it ended without a score."""
    if trial.score is None:
        return trial.status
    return f"{monitor} {with_std(trial.score)} at epoch {trial.epoch}"
