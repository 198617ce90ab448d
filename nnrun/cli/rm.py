"""`nnrun rm`."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from nnrun.cli import options
from nnrun.cli.app import app
from nnrun.cli.output import message
from nnrun.errors import UsageError

if TYPE_CHECKING:
    from nnrun.records import RunDirectory


@app.command()
def rm(
    runs: Annotated[
        list[str], typer.Argument(metavar="RUN...", help="A path, an id, a prefix of one, or @last.")
    ],
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    runs_dir: options.RunsDir = options.DEFAULT_RUNS_DIR,
) -> None:
    """Delete runs, after asking."""
    from nnrun.records import delete_run, find_run

    # All are found before one is deleted: a mistyped name deletes nothing, and `@last` means one run.
    found = list(dict.fromkeys(find_run(reference, runs_dir) for reference in runs))
    if not yes and not _confirmed(found):
        message("Nothing was deleted.")
        return
    for run in found:
        delete_run(run, runs_dir)
        print(f"Deleted {run.path}")


def _confirmed(runs: Sequence[RunDirectory]) -> bool:
    if not sys.stdin.isatty():
        raise UsageError("nnrun rm asks before it deletes, and there is no terminal to ask at. Add --yes.")
    for run in runs:
        message(f"  {run.path}")
    print(
        f"Delete {'this run' if len(runs) == 1 else f'these {len(runs)} runs'}? [y/N] ",
        end="",
        file=sys.stderr,
    )
    sys.stderr.flush()
    return sys.stdin.readline().strip().lower() in ("y", "yes")
