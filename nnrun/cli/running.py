"""What the commands that train have in common: who shows the progress, and what is said at the end."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from nnrun.cli.output import live_screen, message, print_json
from nnrun.errors import EXIT_INTERRUPTED, Problem

if TYPE_CHECKING:
    from nnrun.experiment.running.listener import Listener
    from nnrun.records import RunDirectory


def train_and_report(
    start: Callable[[Listener], RunDirectory],
    *,
    warnings: Sequence[Problem] = (),
    quiet: bool = False,
    verbose: bool = False,
    as_json: bool = False,
) -> int:
    """Run an experiment, show how it goes, and print its closing screen, or its record as JSON.

    Args:
        start: runs the experiment, telling the listener.
        warnings: what is doubtful in the spec.
        quiet: no progress and no warnings.
        verbose: details as well.
        as_json: the record instead of the screen.

    Returns:
        0, or 130 where the user interrupted it.
    """
    from nnrun.experiment.running.recorder import RunInterrupted

    if not quiet:
        for warning in warnings:
            message(warning.render())
    try:
        run = start(listener_for(quiet=quiet, verbose=verbose))
    except RunInterrupted as interruption:
        with contextlib.suppress(OSError):  # a terminal that was closed asked for the end, and reads nothing
            _report(interruption.run, as_json, verbose)
            sys.stdout.flush()
        return EXIT_INTERRUPTED
    _report(run, as_json, verbose)
    return 0


def listener_for(*, quiet: bool, verbose: bool) -> Listener:
    """Who shows the progress: a live table on a terminal, plain lines elsewhere, nobody where quiet."""
    from nnrun.experiment.running.listener import Listener
    from nnrun.experiment.running.progress import LineListener

    if quiet:
        return Listener()
    if not live_screen():
        return LineListener(message, details=verbose)
    from rich.console import Console

    from nnrun.cli.live import LiveListener

    return LiveListener(Console(stderr=True), details=verbose)


def _report(run: RunDirectory, as_json: bool, verbose: bool) -> None:
    from nnrun.cli.closing import closing_text

    record = run.read_record()
    if as_json:
        print_json({**record.to_json(), "path": str(run.path)})
    else:
        print(closing_text(run, record, verbose=verbose))
