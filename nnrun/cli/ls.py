"""`nnrun ls`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

from nnrun.cli import options
from nnrun.cli.app import app
from nnrun.cli.output import message, ordinal, print_json, shortened, terminal_width
from nnrun.errors import printable

if TYPE_CHECKING:
    from nnrun.records import RunSummary

# The columns that give way, first to last, where the terminal is too narrow for all. The id never does.
_GIVE_WAY = ("DEVICE", "COMMAND", "TOOK", "STARTED", "TEST", "LOOK", "EPOCHS", "VALIDATION")


@app.command()
def ls(
    sort: Annotated[
        str | None,
        typer.Option(
            "--sort",
            metavar="KEY",
            help="started, name, status, epochs, took, or a score, best first: val_loss, test_accuracy, ...",
        ),
    ] = None,
    reverse: Annotated[bool, typer.Option("--reverse", help="The other way round.")] = False,
    name: Annotated[
        str | None, typer.Option("--name", metavar="PATTERN", help="Only runs of this name: 'imdb*'.")
    ] = None,
    status: Annotated[
        str | None, typer.Option("--status", metavar="STATUS", help="Only runs that ended so: completed, ...")
    ] = None,
    command: Annotated[
        str | None, typer.Option("--command", metavar="NAME", help="Only runs of a command: kfold, ...")
    ] = None,
    data: Annotated[
        str | None, typer.Option("--data", metavar="NAME", help="Only runs on these data: imdb, ...")
    ] = None,
    limit: Annotated[
        int | None, typer.Option("--limit", min=1, metavar="N", help="The first N of them.")
    ] = None,
    runs_dir: options.RunsDir = options.DEFAULT_RUNS_DIR,
    as_json: options.Json = False,
) -> None:
    """List the runs, newest first: how they ended, and how well they did."""
    from nnrun.experiment.listing import select_runs, sort_runs
    from nnrun.records import all_looks, list_runs

    every = list_runs(runs_dir)
    # Sorted before one is left out: which columns there are does not depend on what is shown.
    ordered = sort_runs(every, sort or "started", reverse=reverse)
    runs = select_runs(ordered, name=name, status=status, command=command, data=data)[:limit]
    looks = all_looks(runs_dir, every)
    if looks.problem is not None:
        message(printable(looks.problem))
    of_name = [looks.like(run.looks[-1]) if run.looks else None for run in runs]
    if as_json:
        print_json([as_document(run, count) for run, count in zip(runs, of_name, strict=True)])
    elif not every:
        message(f"No runs in {runs_dir}/ yet. Start with: nnrun train specs/reuters.yaml")
    elif not runs:
        message(f"None of the {len(every)} runs in {runs_dir}/ fits.")
    else:
        rows = [as_row(run, count, sort) for run, count in zip(runs, of_name, strict=True)]
        print(table(rows, terminal_width(), sort))
        for run in runs:
            if run.problem:
                message(f"{run.id} is broken: {run.problem}")


def as_document(run: RunSummary, looks: int | None) -> dict[str, Any]:
    """A run as `--json` gives it; `looks` at its test set by experiments of its name, where it has looked."""
    return {
        "id": run.id,
        "path": str(run.run.path),
        "name": run.name,
        "command": run.command,
        "status": run.status,
        "device": run.device,
        "started": run.started.isoformat() if run.started else None,
        "ended": run.ended.isoformat() if run.ended else None,
        "seconds": run.seconds,
        "epochs": run.epochs,
        "best_epoch": run.best_epoch,
        "best": dict(run.best),
        "test": dict(run.test),
        "data": list(run.data),
        "test_uses": len(run.looks),
        "look": run.look,
        "looks": looks,
        "problem": run.problem,
    }


def as_row(run: RunSummary, looks: int | None, sort: str | None = None) -> dict[str, str]:
    """A run as a row of the table: heading → text; the score that is sorted by before the others.

    LOOK is which look at its test set its last was, of how many by experiments of its name.
    """
    validation = {
        name.removeprefix("val_"): value for name, value in run.best.items() if name.startswith("val_")
    }
    epochs = "" if run.epochs is None else str(run.epochs)
    if run.best_epoch is not None:
        epochs = f"{epochs or '?'}, best {run.best_epoch}"
    return {
        "ID": _printable(run.id),
        "STATUS": run.status,
        "COMMAND": _printable(run.command or ""),
        "DEVICE": _printable(run.device or ""),
        "EPOCHS": epochs,
        "VALIDATION": _scores(validation, _after("val_", sort)),
        "TEST": _scores(run.test, _after("test_", sort)),
        "LOOK": "" if looks is None else f"{'?' if run.look is None else ordinal(run.look)} of {looks}",
        "STARTED": _local_time(run.started),
        "TOOK": _duration(run.seconds),
    }


def table(rows: Sequence[Mapping[str, str]], width: int | None, sort: str | None = None) -> str:
    """Rows under their headings, without columns that hold no text or for which `width` has no room.

    The column that is sorted by gives way last.
    """
    sorted_by = "VALIDATION" if _after("val_", sort) else "TEST" if _after("test_", sort) else ""
    sorted_by = sorted_by or (sort or "").upper()
    headings = [name for name in rows[0] if any(row[name] for row in rows)]
    widths = {name: max(len(name), *(len(row[name]) for row in rows)) for name in headings}
    for name in sorted(_GIVE_WAY, key=lambda name: name == sorted_by):
        if width is None or sum(widths[heading] + 2 for heading in headings) - 2 <= width:
            break
        headings = [heading for heading in headings if heading != name]
    lines = [{name: name for name in headings}, *rows]
    return "\n".join(
        "  ".join(f"{line[name]:<{widths[name]}}" for name in headings).rstrip() for line in lines
    )


def _after(prefix: str, sort: str | None) -> str:
    """The measure that is sorted by, where it is one of this kind."""
    return sort.removeprefix(prefix) if sort is not None and sort.startswith(prefix) else ""


def _scores(scores: Mapping[str, float], first: str, at_most: int = 3) -> str:
    plain = [(name.removesuffix("_mean"), value) for name, value in scores.items()]
    plain.sort(key=lambda score: score[0] != first)
    shown = [f"{_printable(name)} {value:.4g}" for name, value in plain]
    return ", ".join(shown[:at_most]) + (", ..." if len(shown) > at_most else "")


def _printable(text: str) -> str:
    """Text from a record, which may hold anything, as one short line without control characters."""
    line = "".join(letter if letter.isprintable() else "?" for letter in text)
    return shortened(line, 100)


def _local_time(moment: datetime | None) -> str:
    if moment is None:
        return ""
    try:
        return moment.astimezone().strftime("%Y-%m-%d %H:%M")
    except (OverflowError, ValueError, OSError):  # a year that this machine's clock does not know
        return moment.strftime("%Y-%m-%d %H:%M")


def _duration(seconds: float | None) -> str:
    if seconds is None or seconds < 0:
        return ""
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest} s"
    return f"{minutes // 60} h {minutes % 60} min"
