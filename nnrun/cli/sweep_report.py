"""What is shown of a sweep: who shows its progress, and its last screen."""

from __future__ import annotations

import contextlib
import shlex
import sys
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from nnrun.cli.output import aligned, live_screen, message, print_json, terminal_width, wrapped
from nnrun.errors import EXIT_INTERRUPTED, Problem, printable
from nnrun.spec.wording import counted
from nnrun.spec.writing.value_labels import key_labels, value_label

if TYPE_CHECKING:
    from nnrun.experiment.sweeping.sweep_listener import SweepListener
    from nnrun.records import SweepDirectory, SweepRecord, TrialRecord

MOST_SHOWN = 10
_WITHOUT_SCORE = ("pruned", "diverged", "failed", "interrupted", "running", "waiting")


def sweep_and_report(
    start: Callable[[SweepListener], SweepDirectory],
    *,
    warnings: Sequence[Problem] = (),
    quiet: bool = False,
    verbose: bool = False,
    as_json: bool = False,
) -> int:
    """Run a sweep, show how it goes, and print its closing screen, or its record as JSON.

    Args:
        start: runs the sweep, telling the listener.
        warnings: what is doubtful in the spec.
        quiet: no progress and no warnings.
        verbose: details as well.
        as_json: the record instead of the screen.

    Returns:
        0; 1 where no trial has a score; 130 where the user interrupted it.
    """
    from nnrun.experiment.sweeping.sweep import SweepInterrupted

    if not quiet:
        for warning in warnings:
            message(warning.render())
    try:
        sweep, interrupted = start(_listener(quiet=quiet, verbose=verbose)), False
    except SweepInterrupted as interruption:
        sweep, interrupted = interruption.sweep, True
    record = sweep.read_record()
    # A terminal that was closed asked for the end, and reads nothing.
    with contextlib.suppress(*([OSError] if interrupted else [])):
        if as_json:
            print_json(_document(sweep, record))
        else:
            print(closing_text(sweep, record))
        sys.stdout.flush()
    return EXIT_INTERRUPTED if interrupted else 0 if record.ranked() else 1


def _listener(*, quiet: bool, verbose: bool) -> SweepListener:
    """Who shows the progress: a live board on a terminal, plain lines elsewhere, nobody where quiet."""
    from nnrun.experiment.sweeping.sweep_listener import SweepLines, SweepListener

    if quiet:
        return SweepListener()
    if not live_screen():
        return SweepLines(message, details=verbose)
    from rich.console import Console

    from nnrun.cli.sweep_live import LiveBoard

    return LiveBoard(Console(stderr=True), details=verbose)


def board(record: SweepRecord, *, with_runs: bool = True) -> list[list[str]]:
    """The best trials as rows of a table, its headings first."""
    best = record.ranked()[:MOST_SHOWN]
    keys = list(best[0].values) if best else []
    labels = key_labels(keys)
    table = [
        ["trial", *(labels[key] for key in keys), record.monitor, "epoch", *(["run"] if with_runs else [])]
    ]
    for trial in best:
        values = [value_label(trial.values[key]) for key in keys]
        run = [trial.run or ""] if with_runs else []
        table.append([str(trial.number), *values, f"{trial.score:.4f}", str(trial.epoch), *run])
    return table


def closing_text(sweep: SweepDirectory, record: SweepRecord) -> str:
    """The closing screen of a sweep, from its record only."""
    width = terminal_width()
    blocks = [wrapped(_headline(record), width)]
    if scored := len(record.ranked()):
        shown = f"the best {MOST_SHOWN}\n" if scored > MOST_SHOWN else ""
        blocks.append(f"{shown}{aligned(board(record))}")
    failures = _failures(record)
    if failures:
        blocks.append(wrapped(failures, width))
    if record.ranked():
        blocks.append(wrapped(_warning(record), width))
    blocks.append(_next_steps(sweep, record))
    return printable("\n\n".join(blocks))


def _headline(record: SweepRecord) -> str:
    done = {"completed": "done", "running": "not finished"}.get(record.status, record.status)
    scored = len(record.ranked())
    text = f"{record.name}: {done}, {scored} of {counted(record.total, 'trial')} with a score"
    counts = [(status, sum(trial.status == status for trial in record.trials)) for status in _WITHOUT_SCORE]
    others = ", ".join(f"{number} {status}" for status, number in counts if number)
    text += f" ({others})" if others else ""
    return f"{text}\nThis was a smoke run: its numbers are meaningless." if record.smoke else text


def _failures(record: SweepRecord) -> str:
    """The trials that went wrong, each with its error."""
    wrong = [trial for trial in record.trials if trial.status in ("failed", "diverged")]
    lines = [f"trial {t.number} {t.status}{_in_run(t)}: {_first_line(t)}" for t in wrong[:MOST_SHOWN]]
    more = [f"... and {len(wrong) - MOST_SHOWN} more"] if len(wrong) > MOST_SHOWN else []
    return "\n".join([*lines, *more])


def _in_run(trial: TrialRecord) -> str:
    return f" in {trial.run}" if trial.run else ""


def _first_line(trial: TrialRecord) -> str:
    return (trial.error or "").partition("\n")[0]


def _warning(record: SweepRecord) -> str:
    scored = len(record.ranked())
    return (
        f"The best of {scored} validation scores is optimistic: part of it is luck. Only rows that were not "
        "used to choose it can measure it."
        if scored > 1
        else "A single trial says nothing about values that were not tried."
    )


def _next_steps(sweep: SweepDirectory, record: SweepRecord) -> str:
    lines = [f"Files  {sweep.path}"]
    if sweep.figure.is_file():
        lines.append(f"Figure {sweep.figure}")
    steps = [] if record.status == "completed" else ["the same command resumes this sweep"]
    if record.ranked():
        lines.append(f"Best   {sweep.best_spec}")
        run = sweep.path.parent / str(record.ranked()[0].run)
        steps += [
            f"nnrun {verb} {shlex.quote(str(path))}"
            for verb, path in (("train", sweep.best_spec), ("final", run))
        ]
    lines += [f"{'       ' if place else 'Next   '}{step}" for place, step in enumerate(steps)]
    return "\n".join(lines)


def _document(sweep: SweepDirectory, record: SweepRecord) -> dict[str, Any]:
    """A sweep as `--json` gives it."""
    return {
        **record.model_dump(),
        "path": str(sweep.path),
        "best_spec": str(sweep.best_spec) if record.ranked() else None,
        "figure": str(sweep.figure) if sweep.figure.is_file() else None,
    }
