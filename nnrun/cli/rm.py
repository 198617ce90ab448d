"""`nnrun rm`."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from nnrun.cli import options
from nnrun.cli.app import app
from nnrun.cli.output import message, print_json
from nnrun.errors import UsageError

if TYPE_CHECKING:
    from nnrun.records import RunDirectory


@app.command()
def rm(
    runs: options.Runs,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    runs_dir: options.RunsDir = options.DEFAULT_RUNS_DIR,
    as_json: options.Json = False,
) -> None:
    """Delete runs, after asking."""
    from nnrun.records import delete_run, find_runs, refuse_to_delete

    # All are found and looked at before one is deleted: a mistyped name deletes nothing, @last is one run.
    found = find_runs(runs, runs_dir)
    for run in found:
        refuse_to_delete(run, runs_dir)
    if not yes and not _confirmed(found):
        message("Nothing was deleted.")
        found = []
    for run in found:
        delete_run(run, runs_dir)
        if not as_json:
            print(f"Deleted {run.path}")
    if as_json:
        print_json({"deleted": [{"id": run.id, "path": str(run.path)} for run in found]})


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
