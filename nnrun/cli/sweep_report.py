"""A sweep as text and as JSON: its best trials, and its last screen."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING, Any

from nnrun.cli.output import aligned, terminal_width, wrapped
from nnrun.errors import printable
from nnrun.spec.wording import counted
from nnrun.spec.writing.value_labels import key_labels, value_label

if TYPE_CHECKING:
    from nnrun.records import SweepDirectory, SweepRecord

MOST_SHOWN = 10
_WITHOUT_SCORE = ("pruned", "diverged", "failed", "interrupted", "running", "waiting")


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
    lines = []
    for trial in wrong[:MOST_SHOWN]:
        in_run = f" in {trial.run}" if trial.run else ""
        first_line, _, _ = (trial.error or "").partition("\n")
        lines.append(f"trial {trial.number} {trial.status}{in_run}: {first_line}")
    more = [f"... and {len(wrong) - MOST_SHOWN} more"] if len(wrong) > MOST_SHOWN else []
    return "\n".join([*lines, *more])


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


def sweep_document(sweep: SweepDirectory, record: SweepRecord) -> dict[str, Any]:
    """A sweep as `--json` gives it."""
    return {
        **record.model_dump(),
        "path": str(sweep.path),
        "best_spec": str(sweep.best_spec) if record.ranked() else None,
        "figure": str(sweep.figure) if sweep.figure.is_file() else None,
    }
