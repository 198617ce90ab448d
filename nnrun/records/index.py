"""The runs in a folder: found by what a user calls them, and listed."""

from __future__ import annotations

import difflib
import math
import os
import re
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from fnmatch import fnmatchcase
from functools import cached_property
from pathlib import Path
from typing import get_args

from nnrun.errors import AmbiguousRunError, DataError, UsageError
from nnrun.records.run_directory import RECORD, RUN_ID, RunDirectory
from nnrun.records.run_record import RunRecord, RunStatus
from nnrun.records.sweep_directory import SweepDirectory, list_sweeps

STATUSES: tuple[RunStatus, ...] = get_args(RunStatus)
BROKEN = "broken"
"""The status that a list gives to a run whose record cannot be read. No record holds it."""

LAST = "@last"

_STAMP = re.compile(r"-(\d{8}T\d{6})Z-[0-9a-f]{4}$")  # what follows an experiment's name in an id

_NO_TIME = "~"  # comes after all digits

_SECONDS_AFTER_ITS_ID = 60.0
"""How much later than the time in its id a run may have begun, to be found as the last one."""


@dataclass(frozen=True)
class RunSummary:
    """A run as a list shows it.

    Attributes:
        run: the run's folder.
        record: what run.json holds; of a run that is broken what could be read of it.
        problem: why the run is broken, as a sentence.
    """

    run: RunDirectory
    record: RunRecord
    problem: str | None = None

    @property
    def id(self) -> str:
        """The run's id."""
        return self.run.id

    @property
    def status(self) -> str:
        """One of `STATUSES`, or `broken`."""
        return BROKEN if self.problem else str(self.record.status)

    @property
    def epochs(self) -> int | None:
        """Epochs that were trained (of the fold or seed that trained longest); None where it is not known."""
        return self.record.epochs_run if "epochs_run" in self.record.model_fields_set else None

    @property
    def best(self) -> dict[str, float]:
        """Column → value at the best epoch."""
        return {name: value for name, value in self.record.best.items() if value is not None}

    @property
    def test(self) -> dict[str, float]:
        """Loss and metrics on the test set; empty where it was not used."""
        return {name: value for name, value in self.record.test.items() if value is not None}

    @property
    def data(self) -> list[str]:
        """The names of the files or data sets behind it."""
        return [data.name for data in self.record.data]

    @property
    def look(self) -> int | None:
        """Which look at its test set its last was by experiments of its name, as it was numbered then."""
        return self.record.test_uses[-1].look if self.record.test_uses else None

    @cached_property
    def started(self) -> datetime | None:
        """When it began, with the time zone."""
        return _moment(self.record.started)

    @cached_property
    def ended(self) -> datetime | None:
        """When it ended, with the time zone."""
        return _moment(self.record.ended)

    @property
    def seconds(self) -> float | None:
        """How long the run trained; from start to end where its record does not say. None while it trains."""
        if self.started is None or self.ended is None:
            return None
        if self.record.training_seconds is not None:
            return self.record.training_seconds
        return None if self.record.resumed else (self.ended - self.started).total_seconds()

    @cached_property
    def size(self) -> int:
        """The bytes of its files."""
        return self.run.size()


def find_run(reference: str, runs_dir: Path, *, newest: bool = True) -> RunDirectory:
    """The run that a user means by a path, an id, the beginning of an id, or `@last`.

    Args:
        reference: what the user wrote.
        runs_dir: where runs are kept.
        newest: of several runs that begin so, take the newest of those that are called exactly this.

    Raises:
        AmbiguousRunError: several runs begin so, and none is called exactly this.
        UsageError: there is no such run.
    """
    if reference == LAST:
        return _last_run(runs_dir)
    runs = _run_directories(runs_dir)
    for run in runs:
        if run.id == reference:
            return run
    as_path = RunDirectory(Path(os.path.expanduser(reference)))
    if reference and as_path.is_run():
        return as_path
    _refuse_sweep(reference, runs_dir, without=[run.id for run in runs])
    if as_path.path.name != reference:  # it has a separator, so it cannot be an id
        found = "that folder has no run.json" if os.path.isdir(as_path.path) else "there is no such folder"
        raise UsageError(f"{reference} is not a run: {found}.")
    reference = reference.removesuffix("…")  # as `nnrun ls` shortens an id
    matches = [run.id for run in runs if reference and run.id.startswith(reference)]
    if len(matches) == 1:
        return RunDirectory(runs_dir / matches[0])
    if matches:
        by_age = sorted(
            (_summary(RunDirectory(runs_dir / id_)) for id_ in matches), key=_age_key, reverse=True
        )
        called = [found for found in by_age if _STAMP.sub("", found.id) == reference.removesuffix("-")]
        if called and newest:
            return called[0].run
        ids = [found.id for found in by_age]
        raise AmbiguousRunError(
            f"'{reference}' matches {len(ids)} runs; name one:\n{_listed(ids)}", reference, ids
        )
    raise UsageError(_not_found(reference, [run.id for run in runs], runs_dir))


def find_runs(references: Sequence[str], runs_dir: Path, *, newest: bool = True) -> list[RunDirectory]:
    """The runs that a user means, each once, however often and in whatever spelling it is named.

    A reference may be a pattern for ids: `imdb*`. `newest` as for `find_run`.
    """
    found: dict[Path, RunDirectory] = {}
    for reference in references:
        matching = (
            _matching(reference, runs_dir)
            if _is_pattern(reference)
            else [find_run(reference, runs_dir, newest=newest)]
        )
        for run in matching:
            found.setdefault(run.path.resolve(), run)
    return list(found.values())


def _is_pattern(reference: str) -> bool:
    return any(sign in reference for sign in "*?[") and not os.path.exists(reference)


def _matching(pattern: str, runs_dir: Path) -> list[RunDirectory]:
    """The runs whose id fits a pattern; at least one."""
    runs = _run_directories(runs_dir)
    found = [run for run in runs if fnmatchcase(run.id, pattern)]
    if not found:
        raise UsageError(
            f"None of the {len(runs)} runs in {runs_dir} has an id like '{pattern}'. `nnrun ls` lists them."
        )
    return found


def _refuse_sweep(reference: str, runs_dir: Path, without: Sequence[str]) -> None:
    """Raise where a sweep is meant, and no run."""
    meant = [sweep.id for sweep in list_sweeps(runs_dir) if reference and sweep.id.startswith(reference)]
    as_sweep = SweepDirectory(Path(os.path.expanduser(reference)))
    if reference and as_sweep.is_sweep():
        meant = [as_sweep.id]
    if meant and not any(id_.startswith(reference) for id_ in without):
        raise UsageError(
            f"{meant[0]} is a sweep, not a run: it has no network of its own. Its trials are runs; "
            "`nnrun ls` lists them."
        )


def runs_of_sweep(sweep_id: str, runs_dir: Path) -> list[RunSummary]:
    """The runs that a sweep has made; those that cannot be read are left out."""
    found = (_summary(run) for run in _run_directories(runs_dir))
    return [summary for summary in found if summary.record.sweep == sweep_id]


def list_runs(runs_dir: Path) -> list[RunSummary]:
    """All runs, newest first. A run whose record cannot be read is listed as broken, the rest as usual."""
    summaries = [_summary(run) for run in _run_directories(runs_dir)]
    return sorted(summaries, key=_age_key, reverse=True)


def _run_directories(runs_dir: Path) -> list[RunDirectory]:
    """Folders that are runs, and those that by their name should be; by id."""
    runs = (RunDirectory(runs_dir / name) for name in sorted(_folders(runs_dir)))
    return [run for run in runs if _is_or_was_run(run)]


def _folders(runs_dir: Path) -> list[str]:
    """The names of the visible folders in a folder; none where it does not exist."""
    try:
        with os.scandir(runs_dir) as entries:
            return [entry.name for entry in entries if not entry.name.startswith(".") and entry.is_dir()]
    except FileNotFoundError:
        return []
    except OSError as error:
        raise UsageError(f"Cannot read the runs in {runs_dir}: {error.strerror}.") from error


def _is_or_was_run(folder: RunDirectory) -> bool:
    """Whether it has a record, or lacks it and is by its name a run's."""
    return folder.is_run() or (
        bool(RUN_ID.fullmatch(folder.id)) and not SweepDirectory(folder.path).is_sweep()
    )


def _last_run(runs_dir: Path) -> RunDirectory:
    """The readable run that began last.

    Ids tell when runs began. So only the records are read that may be of the last one: those with the latest
    times in their ids, and those whose folder was given another name.
    """
    last: RunSummary | None = None
    for stamp, name in sorted(((_time_in(name), name) for name in _folders(runs_dir)), reverse=True):
        if last is not None and last.started is not None and stamp < _least_time(last.started):
            break
        run = RunDirectory(runs_dir / name)
        summary = _summary(run) if _is_or_was_run(run) else None
        if summary is not None and summary.status != BROKEN:
            last = max(last or summary, summary, key=_age_key)
    if last is None:
        raise UsageError(f"{LAST}: there are no runs in {runs_dir} yet.")
    return last.run


def _least_time(began: datetime) -> str:
    """The least time in the id of a run that may have begun at this time or later."""
    return time.strftime("%Y%m%dT%H%M%S", time.gmtime(max(0.0, began.timestamp() - _SECONDS_AFTER_ITS_ID)))


def _time_in(id_: str) -> str:
    """The time in an id, as ids have it; one after all others where it has none."""
    found = _STAMP.search(id_)
    return _NO_TIME if found is None else found[1]


def _not_found(reference: str, ids: Sequence[str], runs_dir: Path) -> str:
    if not ids:
        return f"No run '{reference}': there are no runs in {runs_dir} yet."
    # A mistyped name is compared with names of its own length: an id's time and hex would drown the likeness.
    nearness = {id_: _likeness(reference, id_) for id_ in ids}
    near = sorted((id_ for id_ in ids if nearness[id_] >= 0.6), key=lambda id_: (-nearness[id_], id_))[:3]
    if near:
        return f"No run '{reference}' in {runs_dir}. The closest:\n{_listed(near)}"
    return f"No run '{reference}' in {runs_dir}. `nnrun ls` lists all {len(ids)}."


def _likeness(reference: str, id_: str) -> float:
    return difflib.SequenceMatcher(None, reference.lower(), id_[: len(reference) + 1].lower()).ratio()


def _listed(ids: Sequence[str], at_most: int = 10) -> str:
    more = [f"  ... and {len(ids) - at_most} more"] if len(ids) > at_most else []
    return "\n".join([*(f"  {id_}" for id_ in ids[:at_most]), *more])


def _summary(run: RunDirectory) -> RunSummary:
    try:
        record = run.read_record()
    except DataError as error:
        return RunSummary(run, RunRecord(), str(error))
    if record.status is not None:
        return RunSummary(run, record)
    status = record.malformed.get("status")
    return RunSummary(
        run,
        record,
        f"{run.path / RECORD} says status {status!r}, which is not one of {', '.join(STATUSES)}.",
    )


def _age_key(summary: RunSummary) -> tuple[float, str]:
    """Newest last: by start, then by id. A run that does not know its start is older than all that do."""
    return (summary.started.timestamp() if summary.started else -math.inf, summary.id)


def _moment(text: str | None) -> datetime | None:
    """An ISO 8601 time; one without a zone is in UTC. None for any other text."""
    if text is None:
        return None
    try:
        moment = datetime.fromisoformat(re.sub(r"[zZ]$", "+00:00", text))
        moment = moment if moment.tzinfo else moment.replace(tzinfo=timezone.utc)
        moment.timestamp()  # years at the calendar's ends have none
    except (ValueError, OverflowError):
        return None
    return moment
