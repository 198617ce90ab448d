"""`nnrun rm`."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from nnrun.cli import completing, options
from nnrun.cli.output import message, print_json, size_text
from nnrun.errors import UsageError
from nnrun.spec.wording import counted, listing

if TYPE_CHECKING:
    from nnrun.records import RunDirectory, SweepDirectory

    Doomed = RunDirectory | SweepDirectory


_Runs = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="RUN...",
        help="A run or a sweep: a path, an id or a prefix of one, @last, or a pattern: 'imdb*'.",
        show_default=False,
        autocompletion=completing.runs,
    ),
]
_Status = Annotated[
    str | None, typer.Option("--status", metavar="STATUS", help="Only runs with this status: failed, ...")
]


def rm(
    runs: _Runs = None,
    name: options.NamePattern = None,
    status: _Status = None,
    trials: Annotated[
        bool, typer.Option("--trials", help="Of a sweep also the runs that it made, which stay otherwise.")
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    runs_dir: options.RunsDir = options.DEFAULT_RUNS_DIR,
    as_json: options.Json = False,
) -> None:
    """Delete runs and sweeps, after asking: those that are named, or all with a name or status."""
    from nnrun.records import (
        RunDirectory,
        delete_run,
        delete_sweep,
        refuse_to_delete,
        refuse_to_delete_sweep,
    )

    # All are found and looked at before one is deleted: a mistyped name deletes nothing, @last is one run.
    found = _chosen(runs or [], name, status, runs_dir, trials=trials)
    for each in found:
        if isinstance(each, RunDirectory):
            refuse_to_delete(each, runs_dir)
        else:
            refuse_to_delete_sweep(each, runs_dir)
    sizes = {each.path: each.size() for each in found}
    for text in _bests(found, runs_dir):
        message(text)
    if not found:
        message(f"No run in {runs_dir}/ matches.")
    elif not yes and not _confirmed(found, sizes):
        message("Nothing was deleted.")
        found = []
    for each in found:
        if isinstance(each, RunDirectory):
            delete_run(each, runs_dir)
        else:
            delete_sweep(each, runs_dir)
        if not as_json:
            print(f"Deleted {each.path}")
    freed = sum(sizes[each.path] for each in found)
    if as_json:
        deleted = [{"id": each.id, "path": str(each.path), "bytes": sizes[each.path]} for each in found]
        print_json({"deleted": deleted, "freed_bytes": freed})
    elif found:
        print(f"Freed {size_text(freed)}.")


def _chosen(
    references: Sequence[str], name: str | None, status: str | None, runs_dir: Path, *, trials: bool
) -> list[Doomed]:
    """The runs and sweeps that are named and fit, as `nnrun ls` chooses them; without names all that fit.

    With `trials` also the runs that these sweeps made.
    """
    from nnrun.experiment.finished.listing import runs_within, select_runs, select_sweeps
    from nnrun.records import SweepDirectory, find_runs_and_sweeps, list_runs, list_sweeps

    if not references and name is None and status is None:
        raise UsageError("Name the runs to delete, or choose them with --name or --status.")
    found = find_runs_and_sweeps(references, runs_dir)
    if name is not None or status is not None:
        fitting: list[Doomed] = [
            *(summary.run for summary in select_runs(list_runs(runs_dir), name=name, status=status)),
            *select_sweeps(list_sweeps(runs_dir), name=name, status=status),
        ]
        paths = {each.path.resolve() for each in fitting}
        found = [each for each in found if each.path.resolve() in paths] if references else fitting
    sweeps = [each for each in found if isinstance(each, SweepDirectory)]
    if not trials:
        return found
    if not sweeps:
        raise UsageError("--trials is for sweeps, and none is among these runs. Leave it out.")
    made: list[Doomed] = [run for sweep in sweeps for run in runs_within(sweep)]
    runs = [each for each in found if not isinstance(each, SweepDirectory)]
    return list({each.path.resolve(): each for each in (*runs, *made, *sweeps)}.values())


def _bests(found: Sequence[Doomed], runs_dir: Path) -> list[str]:
    """Which runs are the best of a sweep that stays."""
    from nnrun.records import RunDirectory, best_of_their_sweeps

    ids = {each.id for each in found}
    runs = [each for each in found if isinstance(each, RunDirectory)]
    return [
        f"{run.id} is {what}, of the sweep {sweep.id}. Its spec stays in {sweep.best_spec}."
        for run, sweep, what in best_of_their_sweeps(runs, runs_dir)
        if sweep.id not in ids
    ]


def _confirmed(found: Sequence[Doomed], sizes: Mapping[Path, int]) -> bool:
    if not sys.stdin.isatty():
        raise UsageError("nnrun rm asks before it deletes, and there is no terminal to ask on. Add --yes.")
    longest = max(len(str(each.path)) for each in found)
    for each in found:
        message(f"  {each.path!s:<{longest}}  {size_text(sizes[each.path])}")
    print(
        f"Delete {_these(found)} ({size_text(sum(sizes.values()))})? [y/N] ",
        end="",
        file=sys.stderr,
    )
    sys.stderr.flush()
    return sys.stdin.readline().strip().lower() in ("y", "yes")


def _these(found: Sequence[Doomed]) -> str:
    """`this run`, `these 2 runs`, `these 3 runs and 1 sweep`."""
    from nnrun.records import SweepDirectory

    sweeps = sum(isinstance(each, SweepDirectory) for each in found)
    if len(found) == 1:
        return "this sweep, whose trials stay," if sweeps else "this run"
    kinds = {"run": len(found) - sweeps, "sweep": sweeps}
    return f"these {listing([counted(number, kind) for kind, number in kinds.items() if number], 'and')}"
