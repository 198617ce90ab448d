"""The live screen of a sweep: its leader board, the trial that runs, and a bar. Needs a terminal."""

from __future__ import annotations

import shutil
import time

from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from nnrun.cli.live import LiveScreen, bar, clock
from nnrun.cli.sweep_report import board
from nnrun.experiment.running.listener import Start
from nnrun.experiment.running.progress import means
from nnrun.experiment.sweeping.sweep_listener import SweepListener, sweep_line
from nnrun.records import FINISHED, SweepRecord, TrialRecord
from nnrun.spec.writing.value_labels import values_label
from nnrun.training.loop import EpochRecord

_OTHER_LINES = 6


class LiveBoard(LiveScreen, SweepListener):
    """Draws the best trials, the trial that runs, and how long the rest will take."""

    def __init__(self, console: Console, *, details: bool = False) -> None:
        super().__init__(console, details=details)
        self._record: SweepRecord | None = None
        self._running = ""
        self._began, self._done_before = 0.0, 0

    def began(self, record: SweepRecord) -> None:
        """Begin to draw."""
        self._record, self._began, self._done_before = record, time.perf_counter(), _done(record)
        self.message(sweep_line(record))
        self.begin(self._screen)

    def trial_began(self, trial: TrialRecord, start: Start) -> None:
        """Show what it tries."""
        self._epochs = start.epochs
        self._running = f"trial {trial.number}: {values_label(trial.values)}"

    def epoch(self, trial: TrialRecord, epoch: EpochRecord) -> None:
        """Show how far it is; the screen is drawn by the clock, not by the epoch."""
        assert self._record is not None, "an epoch ends after the sweep began"
        value, _ = means(epoch)[self._record.monitor]
        self._running = (
            f"trial {trial.number}: {values_label(trial.values)}  epoch {epoch.epoch}/{self._epochs}  "
            f"{self._record.monitor} {value:.4f}"
        )

    def trial_ended(self, trial: TrialRecord) -> None:
        """It is on the board now, if it is good enough."""
        self._running = ""

    def ended(self) -> None:
        """Leave nothing: the closing screen shows the board once more."""
        self.end(leave=False)

    def _screen(self) -> RenderableType:
        assert self._record is not None, "there is a screen only after the sweep began"
        parts: list[RenderableType] = []
        if self._record.ranked():
            parts.append(self._table(self._record))
        parts += [Text(self._running, no_wrap=True, overflow="ellipsis"), self._bar(self._record)]
        return Group(*parts)

    def _table(self, record: SweepRecord) -> Table:
        headings, *rows = board(record, with_runs=False)
        table = Table(box=None, pad_edge=False, header_style="bold")
        for heading in headings:
            table.add_column(heading, justify="right", no_wrap=True, overflow="ellipsis")
        room = max(1, shutil.get_terminal_size().lines - _OTHER_LINES)
        for place, row in enumerate(rows[:room]):
            table.add_row(*row, style="green" if place == 0 else None)
        return table

    def _bar(self, record: SweepRecord) -> RenderableType:
        done, total = _done(record), record.total
        elapsed, new = time.perf_counter() - self._began, done - self._done_before
        left = f", about {clock(elapsed / new * (total - done))} left" if new > 0 and done < total else ""
        return bar(done, total, f"{done}/{total} trials", f"{clock(elapsed)} elapsed{left}")


def _done(record: SweepRecord) -> int:
    return sum(trial.status in FINISHED for trial in record.trials)
