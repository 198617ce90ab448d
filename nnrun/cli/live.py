"""The live screens of a training and of a sweep: a table and a bar. They need a terminal."""

from __future__ import annotations

import math
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from nnrun.errors import printable
from nnrun.experiment.finished.sweep_text import board
from nnrun.experiment.running.listener import Lines, Listener, Start, means, members_in_words, start_line
from nnrun.experiment.sweeping.sweep_listener import SweepListener, Working, sweep_line
from nnrun.records import FINISHED, SweepRecord, TrialRecord
from nnrun.spec.wording import LARGE, score_text
from nnrun.spec.writing.value_labels import values_label
from nnrun.training.loop import EpochRecord

_MOST_ROWS = 12
_OTHER_LINES = 6
_REFRESHES_PER_SECOND = 8
_BAR_WIDTH = 30
_WITH_STD = " ±"


class LiveScreen(Lines):
    """A picture on a terminal that is drawn again and again, and messages above it."""

    def __init__(self, console: Console, *, details: bool = False) -> None:
        super().__init__(self._print, details=details)
        self._console = console
        self._live: Live | None = None

    def _print(self, text: str) -> None:
        self._console.print(printable(text), markup=False, highlight=False)

    def begin(self, screen: Callable[[], RenderableType]) -> None:
        """Begin to draw what `screen` gives."""
        self._live = Live(
            get_renderable=screen, console=self._console, refresh_per_second=_REFRESHES_PER_SECOND
        )
        self._live.start()

    def end(self, *, leave: bool) -> None:
        """Stop drawing, and leave the last picture on the screen or nothing."""
        if self._live is not None:
            self._live.transient = not leave
            self._live.stop()
            self._live = None
            if leave:
                self._console.print()


class LiveListener(LiveScreen, Listener):
    """Draws the last epochs and the best one, and how long the rest will take."""

    def __init__(self, console: Console, *, details: bool = False) -> None:
        super().__init__(console, details=details)
        self._records: list[EpochRecord] = []
        self._best: EpochRecord | None = None
        self._began = 0.0
        self._done_before = 0

    def started(self, start: Start) -> None:
        """Begin to draw."""
        self._start, self._began = start, time.perf_counter()
        self.message(start_line(start))
        for record in start.earlier:
            self._note(record)
        self._done_before = start.earlier[-1].epoch if start.earlier else 0
        self.begin(self._screen)

    def epoch(self, record: EpochRecord) -> None:
        """Take note; the screen is drawn by the clock, not by the epoch."""
        self._note(replace(record, weights={}, best={}))  # a screen has no use for them, and they are large

    def _note(self, record: EpochRecord) -> None:
        assert self._start is not None, "an epoch ends after the start"
        if self._records and record.epoch <= self._records[-1].epoch:  # folds that train after the others
            self._console.print(self._epochs())
            self._records, self._best = [], None
        self._records.append(record)
        monitor = self._start.monitor
        if monitor in means(record) and _better(record, self._best, monitor, self._start.maximize):
            self._best = record

    def ended(self) -> None:
        """Leave the last picture on the screen."""
        self.end(leave=True)

    def _screen(self) -> RenderableType:
        if not self._records:
            return Text("")
        return Group(self._epochs(), self._bar())

    def _epochs(self) -> RenderableType:
        """The table, below the names of its networks where others train before or after them."""
        assert self._start is not None, "there are records only after the start"
        trained = self._records[0].rows
        if len(trained) == len(self._start.member_ids):
            return self._table()
        return Group(Text(members_in_words(trained, self._start.member_type)), self._table())

    def _table(self) -> Table:
        height = shutil.get_terminal_size().lines - _OTHER_LINES
        records = self._records[-max(1, min(_MOST_ROWS, height)) :]
        if self._best is not None and self._best not in records:
            records = [self._best, *records[1:]]
        table = Table(box=None, pad_edge=False, header_style="bold")
        table.add_column("epoch", justify="right", no_wrap=True)
        columns = _columns(records)
        names = _what_fits(columns, self._console.width)
        for name in names:
            table.add_column(name.removesuffix(_WITH_STD), justify="right", no_wrap=True)
        table.add_column("seconds", justify="right", no_wrap=True)
        table.add_column("", no_wrap=True)
        for place, record in enumerate(records):
            cells = [columns[name][place] for name in names]
            is_best = record is self._best
            table.add_row(
                str(record.epoch),
                *cells,
                f"{record.seconds:.2f}",
                "best" if is_best else "",
                style="green" if is_best else None,
            )
        return table

    def _bar(self) -> RenderableType:
        assert self._start is not None, "there are records only after the start"
        done, total = self._records[-1].epoch, self._start.epochs
        elapsed = time.perf_counter() - self._began
        left = elapsed / max(done - self._done_before, 1) * (total - done)
        times = f"{clock(elapsed)} elapsed, {clock(left)} left" if done < total else f"{clock(elapsed)}"
        return bar(done, total, f"epoch {done}/{total}", times)


def bar(done: int, total: int, *texts: str) -> RenderableType:
    """A bar of how much is done, and texts beside it."""
    line = Table.grid(padding=(0, 2))
    line.add_row(ProgressBar(total=total, completed=done, width=_BAR_WIDTH), *texts)
    return line


def _columns(records: Sequence[EpochRecord]) -> dict[str, list[str]]:
    """Name → a cell for each epoch; and under the name and ` ±` the same with the standard deviation."""
    found = [means(record) for record in records]
    columns = {}
    for name in found[-1]:
        values = [epoch.get(name, (math.nan, None)) for epoch in found]
        plain, decimals = _alike([mean for mean, _ in values])
        columns[name] = plain
        deviations = [std for _, std in values if std is not None]
        if deviations:
            texts = iter(_deviations(deviations, decimals))
            columns[name + _WITH_STD] = [
                f"{text} ± {next(texts)}" if std is not None else text
                for text, (_, std) in zip(plain, values, strict=True)
            ]
    return columns


def _alike(values: Sequence[float]) -> tuple[list[str], int | None]:
    """Numbers of one column, written alike, so that they stand straight below each other; and their decimals.

    Four decimals, fewer of large numbers; an exponent (None) where a small one beside them would become 0.
    """
    sizes = [abs(value) for value in values if math.isfinite(value) and value != 0]
    largest, smallest = max(sizes, default=1.0), min(sizes, default=1.0)
    decimals = 4 - min(4, max(0, math.floor(math.log10(largest)) - 2))
    lost = 10.0**-decimals if decimals == 4 else 10.0 ** (1 - decimals)
    if largest >= LARGE or smallest < lost:
        return [f"{value:.4e}" for value in values], None
    return [f"{value:.{decimals}f}" for value in values], decimals


def _deviations(values: Sequence[float], decimals: int | None) -> list[str]:
    """Standard deviations of one column: two digits of the largest, no more decimals than its means have."""
    if decimals is None:
        return [f"{value:.1e}" for value in values]
    largest = max((value for value in values if math.isfinite(value)), default=0.0)
    needed = 1 - math.floor(math.log10(largest)) if largest > 0 else 0
    return [f"{value:.{max(0, min(needed, decimals))}f}" for value in values]


def _what_fits(columns: Mapping[str, Sequence[str]], width: int) -> list[str]:
    """The columns that the terminal has room for: deviations give way first, then what was not validated."""
    room = width - len("epoch  seconds  best") - 4
    plain = [name for name in columns if not name.endswith(_WITH_STD)]
    with_std = [name + _WITH_STD if name + _WITH_STD in columns else name for name in plain]
    validated = [name for name in plain if name.startswith("val_")] or plain[:1]
    validated_std = [name for name in with_std if name.removesuffix(_WITH_STD) in validated]
    for chosen in (with_std, plain, validated_std, validated):
        widths = (max(len(name.removesuffix(_WITH_STD)), *map(len, columns[name])) + 2 for name in chosen)
        if sum(widths) <= room:
            return chosen
    chosen = []
    for name in validated:
        room -= max(len(name), *map(len, columns[name])) + 2
        if room >= 0:
            chosen.append(name)
    return chosen or validated[:1]


def _better(record: EpochRecord, best: EpochRecord | None, monitor: str, maximize: bool) -> bool:
    """By the column that chooses the best epoch, which is there for all epochs or for none."""
    new = means(record)[monitor][0]
    if best is None or not math.isfinite(new):
        return math.isfinite(new)
    old = means(best)[monitor][0]
    return new > old if maximize else new < old


def clock(seconds: float) -> str:
    """`12 s`, `3 min 05 s`, `1 h 02 min`."""
    if seconds < 60:
        return f"{seconds:.0f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest:02} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60:02} min"


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
            f"{self._record.monitor} {score_text(value)}"
        )

    def trial_ended(self, trial: TrialRecord) -> None:
        """It is on the board now, if it is good enough."""
        self._running = ""

    def working(self, workers: Sequence[Working]) -> None:
        """Show a line for each worker."""
        self._running = "\n".join(str(worker) for worker in workers)

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
