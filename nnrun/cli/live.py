"""The live screen of a training: a table of epochs and a bar. Needs a terminal."""

from __future__ import annotations

import math
import shutil
import time
from dataclasses import replace

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from nnrun.errors import printable
from nnrun.experiment.listener import Listener, Start
from nnrun.experiment.progress import means, start_line
from nnrun.training.loop import EpochRecord

_MOST_ROWS = 12
_OTHER_LINES = 6
_REFRESHES_PER_SECOND = 8
_BAR_WIDTH = 30


class LiveListener(Listener):
    """Draws the last epochs and the best one, and how long the rest will take."""

    def __init__(self, console: Console, *, details: bool = False) -> None:
        self._console = console
        self._details = details
        self._live: Live | None = None
        self._start: Start | None = None
        self._records: list[EpochRecord] = []
        self._best: EpochRecord | None = None
        self._began = 0.0

    def message(self, text: str) -> None:
        """Print it above the table."""
        self._console.print(printable(text), markup=False, highlight=False)

    def detail(self, text: str) -> None:
        """Print it where details are wanted."""
        if self._details:
            self.message(text)

    def started(self, start: Start) -> None:
        """Begin to draw."""
        self._start, self._began = start, time.perf_counter()
        self.message(start_line(start))
        self._live = Live(
            get_renderable=self._screen,
            console=self._console,
            refresh_per_second=_REFRESHES_PER_SECOND,
        )
        self._live.start()

    def epoch(self, record: EpochRecord) -> None:
        """Take note; the screen is drawn by the clock, not by the epoch."""
        record = replace(record, weights={}, best={})  # a screen has no use for them, and they are large
        self._records.append(record)
        if "val_loss" in means(record) and (self._best is None or _better(record, self._best)):
            self._best = record

    def ended(self) -> None:
        """Leave the last picture on the screen."""
        if self._live is not None:
            self._live.stop()
            self._live = None
            self._console.print()

    def _screen(self) -> RenderableType:
        if not self._records:
            return Text("")
        return Group(self._table(), self._bar())

    def _table(self) -> Table:
        height = shutil.get_terminal_size().lines - _OTHER_LINES
        records = self._records[-max(1, min(_MOST_ROWS, height)) :]
        if self._best is not None and self._best not in records:
            records = [self._best, *records[1:]]
        table = Table(box=None, pad_edge=False, header_style="bold")
        table.add_column("epoch", justify="right", no_wrap=True)
        names, with_std = _what_fits(records[-1], self._console.width)
        for name in names:
            table.add_column(name, justify="right", no_wrap=True)
        table.add_column("seconds", justify="right", no_wrap=True)
        table.add_column("", no_wrap=True)
        for record in records:
            found = means(record)
            cells = [_cell(*found[name], with_std=with_std) for name in names]
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
        left = elapsed / done * (total - done)
        line = Table.grid(padding=(0, 2))
        line.add_row(
            ProgressBar(total=total, completed=done, width=_BAR_WIDTH),
            f"epoch {done}/{total}",
            f"{clock(elapsed)} gone, {clock(left)} left" if done < total else f"{clock(elapsed)}",
        )
        return line


def _what_fits(record: EpochRecord, width: int) -> tuple[list[str], bool]:
    """The columns that the terminal has room for, and whether their deviations fit too."""
    found = means(record)
    names = list(found)
    room = width - len("epoch  seconds  best") - 4
    validated = [name for name in names if name.startswith("val_")] or names[:1]
    for with_std, chosen in ((True, names), (False, names), (True, validated), (False, validated)):
        widths = (max(len(name), len(_cell(*found[name], with_std=with_std))) + 3 for name in chosen)
        if sum(widths) <= room:
            return chosen, with_std
    return validated[:1], False


def _cell(mean: float, std: float | None, *, with_std: bool) -> str:
    """Four decimals, or five digits of a large number."""
    shown = f"{mean:.4f}" if abs(mean) < 1000 else f"{mean:.5g}"
    if not with_std or std is None:
        return shown
    return f"{shown} ± {std:.2g}" if std < 100 else f"{shown} ± {std:.0f}"


def _better(record: EpochRecord, best: EpochRecord) -> bool:
    """By val_loss, which is there for all epochs or for none."""
    new, old = means(record)["val_loss"][0], means(best)["val_loss"][0]
    return math.isfinite(new) and not new >= old


def clock(seconds: float) -> str:
    """`12 s`, `3 min 05 s`, `1 h 02 min`."""
    if seconds < 60:
        return f"{seconds:.0f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest:02} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60:02} min"
