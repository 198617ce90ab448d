"""A run that an earlier start of the same experiment left, which could go on instead of being begun again."""

from __future__ import annotations

import contextlib
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from nnrun.errors import DataError
from nnrun.records import RunDirectory, RunRecord, runs_called

_MOST_READ: Final = 100
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
    earlier = _read(runs_called(record.name, runs_dir)[:_MOST_READ], of=record)
    for run, of in earlier:
        if not _is_same(run, of, record, resolved):
            continue
        if of.is_inner and of.status == "completed" and not of.has_outer_scores:
            outer = [(other, its) for other, its in earlier if its.parent == run.id and its.is_nested]
            if not outer:
                return _told(run, "has chosen within the outer folds, and what it chose was not scored", of)
            run, of = outer[0]
        if of.status not in ("interrupted", "failed"):
            return None  # it has ended, or is at work
        if run.can_go_on(of):
            ended = "was interrupted" if of.status == "interrupted" else "failed"
            return _told(run, f"of the same spec {ended}", of)
    return None


def _told(run: RunDirectory, what: str, record: RunRecord) -> str:
    return f"{run.id} {what}; nnrun {record.command} --resume {shlex.quote(str(run.path))} goes on with it"


def _read(runs: Sequence[RunDirectory], of: RunRecord) -> list[tuple[RunDirectory, RunRecord]]:
    """Earlier runs with their records, the one that began last first."""
    found = []
    for run in runs:
        with contextlib.suppress(DataError):  # a run that cannot be read cannot go on
            found.append((run, run.read_record()))
    earlier = [(run, record) for run, record in found if run.id != of.id]
    return sorted(earlier, key=lambda pair: pair[1].started or "", reverse=True)


def _is_same(run: RunDirectory, record: RunRecord, new: RunRecord, resolved: str) -> bool:
    """Whether a run is of the same command, spec, rows and networks, and comes from no other."""
    alike = all(
        getattr(record, name) == getattr(new, name)
        for name in ("command", "smoke", "folds", "seeds", "is_inner", "data_hashes", "parent", "reproduces")
    )
    if not alike:
        return False
    with contextlib.suppress(DataError):
        return run.read_resolved() == resolved
    return False
