"""A run that an earlier start of the same experiment left, which could go on instead of being begun again."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from nnrun.errors import DataError
from nnrun.experiment.finished.listing import outer_runs
from nnrun.records import RunDirectory, RunRecord, runs_called

_MOST_LOOKED_AT: Final = 100
"""So many of the newest runs of a name are looked at: a sweep may have left thousands."""


def how_to_go_on_instead(record: RunRecord, resolved: str, runs_dir: Path) -> str | None:
    """That an earlier run of the same spec and data can go on, and by which command; None where none can.

    Nothing is said once a newer one has ended. The outer run of nested cross-validation counts to the inner
    run that chose for it.

    Args:
        record: the first of the run that is about to be trained.
        resolved: its spec, as its folder has it.
        runs_dir: where runs are kept.
    """
    if record.parent is not None or record.reproduces is not None or record.name is None:
        return None
    for run, of in _alike(runs_called(record.name, runs_dir, _MOST_LOOKED_AT), record, resolved):
        if of.is_inner and of.status == "completed" and not of.has_outer_scores:
            outer = outer_runs(run)
            if not outer:
                return _told(run, "has chosen within the outer folds, and what it chose was not scored", of)
            run = outer[0]
            of = run.read_record()
        if of.status not in ("interrupted", "failed"):
            return None  # it has ended, or is at work
        if run.can_go_on(of):
            ended = "was interrupted" if of.status == "interrupted" else "failed"
            return _told(run, f"of the same spec {ended}", of)
    return None


def _told(run: RunDirectory, what: str, record: RunRecord) -> str:
    return f"{run.id} {what}; nnrun {record.command} --resume {run.word} goes on with it"


def _alike(
    runs: Sequence[RunDirectory], new: RunRecord, resolved: str
) -> list[tuple[RunDirectory, RunRecord]]:
    """Earlier runs of the same command, spec, rows and networks, that come from no other; newest first."""
    found = []
    for run in runs:
        with contextlib.suppress(DataError):  # a run that cannot be read cannot go on
            # The spec first: few have the same, and reading a record takes longer.
            if run.id != new.id and run.read_resolved() == resolved:
                found.append((run, run.read_record()))
    alike = [(run, record) for run, record in found if _is_same(record, new)]
    return sorted(alike, key=lambda pair: pair[1].started or "", reverse=True)


def _is_same(record: RunRecord, new: RunRecord) -> bool:
    return all(
        getattr(record, name) == getattr(new, name)
        for name in ("command", "smoke", "folds", "seeds", "is_inner", "data_hashes", "parent", "reproduces")
    )
