"""Which runs a list shows, and in which order."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from fnmatch import fnmatchcase
from pathlib import PurePath

from nnrun.errors import DataError, UsageError
from nnrun.records import BROKEN, STATUSES, RunDirectory, RunSummary, SweepDirectory, list_runs
from nnrun.spec.wording import listing, nearest, quoted

_Value = float | str | datetime | None

# Key → its value, and whether the highest comes first.
_COLUMNS: Mapping[str, tuple[Callable[[RunSummary], _Value], bool]] = {
    "started": (lambda run: run.started, True),
    "name": (lambda run: run.name, False),
    "status": (lambda run: run.status, False),
    "epochs": (lambda run: run.epochs, True),
    "took": (lambda run: run.seconds, True),
    "size": (lambda run: run.size, True),
}


def select_sweeps(
    sweeps: Sequence[SweepDirectory], *, name: str | None = None, status: str | None = None
) -> list[SweepDirectory]:
    """The sweeps that fit, as `select_runs` chooses runs. One that a killed process left is interrupted."""
    found = []
    for sweep in sweeps:
        try:
            record, _ = sweep.read_sound_part()
        except DataError:
            own_name, own_status = sweep.id, BROKEN
        else:
            killed = record.status == "running" and not sweep.is_running()
            own_name, own_status = record.name, "interrupted" if killed else record.status
        if (name is None or fnmatchcase(own_name, name)) and (status is None or status == own_status):
            found.append(sweep)
    return found


def runs_within(sweep: SweepDirectory) -> list[RunDirectory]:
    """The runs that a sweep made: its trials, and what was chosen within outer folds; newest first."""
    return [
        summary.run
        for summary in list_runs(sweep.path.parent)
        if summary.sweep == sweep.id or (summary.nested == "outer" and summary.parent == sweep.id)
    ]


def outer_runs(inner: RunDirectory) -> list[RunDirectory]:
    """The runs that trained on the outer folds what an inner run chose within them, the newest first."""
    return [
        summary.run
        for summary in list_runs(inner.runs_dir)
        if summary.nested == "outer" and summary.parent == inner.id
    ]


def select_runs(
    runs: Sequence[RunSummary],
    *,
    name: str | None = None,
    status: str | None = None,
    command: str | None = None,
    data: str | None = None,
) -> list[RunSummary]:
    """The runs that fit all that is asked for, in their order.

    Args:
        runs: all of them.
        name: a pattern (`imdb*`) for the name; for the id where a run has no name.
        status: one of `STATUSES`, or `broken`.
        command: the command that made the run.
        data: a pattern for a file or data set behind it, with or without its ending.

    Raises:
        UsageError: there is no such status.
    """
    statuses = (*STATUSES, BROKEN)
    if status is not None and status not in statuses:
        raise UsageError(f"--status must be one of {listing(statuses)}, but got {quoted(status)}.")
    return [
        run
        for run in runs
        if (name is None or fnmatchcase(run.name or run.id, name))
        and (status is None or run.status == status)
        and (command is None or run.command == command)
        and (
            data is None
            or any(fnmatchcase(of, data) for name in run.data for of in (name, PurePath(name).stem))
        )
    ]


def sort_runs(runs: Sequence[RunSummary], key: str, *, reverse: bool = False) -> list[RunSummary]:
    """The runs by a column, best first for a score; newest, longest, most epochs first; names from a to z.

    A run that lacks it comes last, reversed or not; equal ones keep their order.

    Args:
        runs: all of them, newest first.
        key: `started`, `name`, `status`, `epochs`, `took`, `size`, or a score:
            `val_<measure>`, `test_<measure>`.
        reverse: in reverse order.

    Raises:
        UsageError: no run has such a column.
    """
    if key in _COLUMNS:
        value, highest_first = _COLUMNS[key]
    elif key in _scores_of(runs) or (not runs and key.startswith(("val_", "test_"))):
        from nnrun.validation.summary import monitor_mode  # pandas: only where a score is asked for

        value = lambda run: _scores(run).get(key)  # noqa: E731
        own = {name: is_max for run in reversed(runs) for name, is_max in run.directions.items()}
        highest_first = monitor_mode(key.removeprefix("test_"), own) == "max"
    else:
        raise UsageError(_unknown(key, _scores_of(runs)))
    known = [(value(run), run) for run in runs]
    having = [(found, run) for found, run in known if found is not None]
    # sorted() keeps the order of equals, with reverse=True as well.
    ordered = sorted(having, key=lambda pair: pair[0], reverse=highest_first != reverse)
    return [run for _, run in ordered] + [run for found, run in known if found is None]


def _scores(run: RunSummary) -> dict[str, float]:
    """The scores that a list shows, by the names that it is sorted by."""
    validation = {
        name.removesuffix("_mean"): value for name, value in run.best.items() if name.startswith("val_")
    }
    return {**validation, **{f"test_{name}": value for name, value in run.test.items()}}


def _scores_of(runs: Sequence[RunSummary]) -> list[str]:
    names = dict.fromkeys(name for run in runs for name in _scores(run))
    return sorted(names, key=lambda name: name.startswith("test_"))


def _unknown(key: str, scores: Sequence[str]) -> str:
    match = nearest(key, (*_COLUMNS, *scores))
    meant = f" Did you mean {match}?" if match else ""
    of_runs = f"the scores of these runs are {', '.join(scores)}" if scores else "these runs have no scores"
    return f"--sort {quoted(key)} is not a column.{meant} Columns are {', '.join(_COLUMNS)}; {of_runs}."
