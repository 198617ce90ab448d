"""`nnrun rm`."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from nnrun.cli import completing, options
from nnrun.cli.output import message, print_json, size_text
from nnrun.errors import UsageError

if TYPE_CHECKING:
    from pathlib import Path

    from nnrun.records import RunDirectory


def rm(
    runs: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="RUN...",
            help="A path, an id or a prefix of one, @last, or a pattern: 'imdb*'.",
            show_default=False,
            autocompletion=completing.runs,
        ),
    ] = None,
    name: Annotated[
        str | None, typer.Option("--name", metavar="PATTERN", help="Only runs with this name: 'imdb*'.")
    ] = None,
    status: Annotated[
        str | None, typer.Option("--status", metavar="STATUS", help="Only runs with this status: failed, ...")
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    runs_dir: options.RunsDir = options.DEFAULT_RUNS_DIR,
    as_json: options.Json = False,
) -> None:
    """Delete runs, after asking: those that are named, or all with a name or status."""
    from nnrun.records import delete_run, refuse_to_delete

    # All are found and looked at before one is deleted: a mistyped name deletes nothing, @last is one run.
    found = _chosen(runs or [], name, status, runs_dir)
    for run in found:
        refuse_to_delete(run, runs_dir)
    sizes = {run.id: run.size() for run in found}
    if not found:
        message(f"No run in {runs_dir}/ matches.")
    elif not yes and not _confirmed(found, sizes):
        message("Nothing was deleted.")
        found = []
    for run in found:
        delete_run(run, runs_dir)
        if not as_json:
            print(f"Deleted {run.path}")
    freed = sum(sizes[run.id] for run in found)
    if as_json:
        deleted = [{"id": run.id, "path": str(run.path), "bytes": sizes[run.id]} for run in found]
        print_json({"deleted": deleted, "freed_bytes": freed})
    elif found:
        print(f"Freed {size_text(freed)}.")


def _chosen(
    references: Sequence[str], name: str | None, status: str | None, runs_dir: Path
) -> list[RunDirectory]:
    """The runs that are named and fit, as `nnrun ls` chooses them; without names all that fit."""
    from nnrun.experiment.finished.listing import select_runs
    from nnrun.records import find_runs, list_runs

    if not references and name is None and status is None:
        raise UsageError("Name the runs to delete, or choose them with --name or --status.")
    if name is None and status is None:
        return find_runs(references, runs_dir, newest=False)
    fitting = [summary.run for summary in select_runs(list_runs(runs_dir), name=name, status=status)]
    if not references:
        return fitting
    ids = {run.path.resolve() for run in fitting}
    return [run for run in find_runs(references, runs_dir, newest=False) if run.path.resolve() in ids]


def _confirmed(runs: Sequence[RunDirectory], sizes: Mapping[str, int]) -> bool:
    if not sys.stdin.isatty():
        raise UsageError("nnrun rm asks before it deletes, and there is no terminal to ask on. Add --yes.")
    longest = max(len(str(run.path)) for run in runs)
    for run in runs:
        message(f"  {run.path!s:<{longest}}  {size_text(sizes[run.id])}")
    print(
        f"Delete {'this run' if len(runs) == 1 else f'these {len(runs)} runs'} "
        f"({size_text(sum(sizes.values()))})? [y/N] ",
        end="",
        file=sys.stderr,
    )
    sys.stderr.flush()
    return sys.stdin.readline().strip().lower() in ("y", "yes")
