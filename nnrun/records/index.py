"""The runs in a folder: found by what a user calls them, listed, deleted."""

from __future__ import annotations

import contextlib
import difflib
import math
import os
import re
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timezone
from fnmatch import fnmatchcase
from functools import cached_property
from pathlib import Path
from typing import Any

from nnrun.errors import AmbiguousRunError, DataError, LockedError, NnrunError, UsageError
from nnrun.records.history import is_finite
from nnrun.records.run_directory import RECORD, RUN_ID, RunDirectory
from nnrun.records.sweep_directory import SweepDirectory, list_sweeps
from nnrun.records.test_set_ledger import Look, append_looks, looks_of_record, read_ledger

STATUSES = ("running", "completed", "interrupted", "failed", "diverged")
BROKEN = "broken"
"""The status that a list gives to a run whose record cannot be read. No record holds it."""

LAST = "@last"


@dataclass(frozen=True)
class RunSummary:
    """What a list shows of a run. A field is None where the record does not hold it, or not as it should.

    Attributes:
        run: the run's folder.
        status: one of `STATUSES`, or `broken`.
        started, ended: with their time zone.
        epochs: epochs that were trained (of the fold or seed that trained longest).
        best: column → value at the best epoch.
        test: loss and metrics on the test set; empty where it was not used.
        directions: measure → whether it is better the higher it is, where its spec says so.
        data: the names of the files or data sets behind it.
        looks: at the test set, as its record lists them.
        look: which look the last of them was by experiments of its name, as it was numbered then.
        training_seconds: what its epochs took, without the time that it stood still before it was resumed.
        resumed: whether it was.
        problem: why the run is broken, as a sentence.
    """

    run: RunDirectory
    status: str
    name: str | None = None
    command: str | None = None
    device: str | None = None
    started: datetime | None = None
    ended: datetime | None = None
    epochs: int | None = None
    best_epoch: int | None = None
    best: Mapping[str, float] = field(default_factory=dict)
    test: Mapping[str, float] = field(default_factory=dict)
    directions: Mapping[str, bool] = field(default_factory=dict)
    data: tuple[str, ...] = ()
    looks: tuple[Look, ...] = ()
    look: int | None = None
    training_seconds: float | None = None
    resumed: bool = False
    problem: str | None = None

    @property
    def id(self) -> str:
        """The run's id."""
        return self.run.id

    @property
    def seconds(self) -> float | None:
        """How long the run trained; from start to end where its record does not say. None while it trains."""
        if self.started is None or self.ended is None:
            return None
        if self.training_seconds is not None:
            return self.training_seconds
        return None if self.resumed else (self.ended - self.started).total_seconds()

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
        called = [found for found in by_age if _name_of(found.id) == reference.removesuffix("-")]
        if called and newest:
            return called[0].run
        ids = [found.id for found in by_age]
        raise AmbiguousRunError(
            f"'{reference}' matches {len(ids)} runs; name one:\n{_listed(ids)}", reference, ids
        )
    raise UsageError(_not_found(reference, [run.id for run in runs], runs_dir))


def _name_of(id_: str) -> str:
    """The name of the experiment that an id begins with."""
    return re.sub(r"-\d{8}T\d{6}Z-[0-9a-f]{4}$", "", id_)


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


def runs_of_sweep(sweep_id: str, runs_dir: Path) -> list[tuple[RunDirectory, dict[str, Any]]]:
    """The runs that a sweep has made, with their records; those that cannot be read are left out."""
    found = []
    for run in _run_directories(runs_dir):
        try:
            record = run.read_record()
        except DataError:
            continue
        if record.get("sweep") == sweep_id:
            found.append((run, record))
    return found


def list_runs(runs_dir: Path) -> list[RunSummary]:
    """All runs, newest first. A run whose record cannot be read is listed as broken, the rest as usual."""
    summaries = [_summary(run) for run in _run_directories(runs_dir)]
    return sorted(summaries, key=_age_key, reverse=True)


def delete_run(run: RunDirectory, runs_dir: Path) -> None:
    """Delete a run's folder. Refuses whatever is not beyond doubt a run of ours.

    A run is a real folder (no link) directly under `runs_dir`, whose record names this very folder as its id.
    Its looks at a test set stay counted: those that the ledger lacks are written there first.
    """
    refuse_to_delete(run, runs_dir)
    with run.owned():
        known = read_ledger(runs_dir).looks
        missing = [look for look in looks_of_record(run.read_record()) if look not in known]
        if missing:
            append_looks(runs_dir, missing)
        for left in runs_dir.glob(".*.deleted"):  # by a process that was killed while it deleted
            id_ = left.name.removeprefix(".").removesuffix(".deleted")
            if RUN_ID.fullmatch(id_) and not left.is_symlink():
                shutil.rmtree(left, ignore_errors=True)
        doomed = run.path.with_name(f".{run.id}.deleted")
        try:
            run.path.rename(doomed)  # one step, so that no half of a run is ever listed
            with contextlib.suppress(FileNotFoundError):  # another process may be clearing up as above
                shutil.rmtree(doomed)
        except OSError as error:
            raise NnrunError(f"Cannot delete {run.path}: {error.strerror}.") from error


def refuse_to_delete(run: RunDirectory, runs_dir: Path) -> None:
    """Raise an error where `delete_run` would refuse; deletes nothing.

    Raises:
        UsageError: it is not beyond doubt a run of ours.
        LockedError: a process is working on it.
    """
    refusal = _why_not_delete(run, runs_dir)
    if refusal:
        raise UsageError(f"{run.path} was not deleted: {refusal}.")
    if run.is_owned():
        raise LockedError(f"{run.path} was not deleted: another process is working on it. Stop it first.")


def _why_not_delete(run: RunDirectory, runs_dir: Path) -> str | None:
    if run.path.is_symlink():
        return "it is a link, not a folder"
    if not os.path.isdir(run.path):
        return "there is no such folder"
    if run.path.resolve().parent != runs_dir.resolve():
        return f"it is not directly under {runs_dir} (--runs-dir says where runs are)"
    if not run.is_run() or (run.path / RECORD).is_symlink():
        return "it has no run.json, so it may not be a run; delete it by hand if you are sure"
    try:
        recorded = run.read_record().get("id")
    except DataError as error:
        return f"its record cannot be read ({str(error).rstrip('.')}); delete it by hand if you are sure"
    if recorded != run.path.resolve().name:
        return f"its run.json says id {recorded!r}; delete it by hand if you are sure"
    return None


def _run_directories(runs_dir: Path) -> list[RunDirectory]:
    """Folders that are runs, and those that by their name should be; by id."""
    try:
        entries = sorted(entry for entry in runs_dir.iterdir() if entry.is_dir())
    except FileNotFoundError:
        return []
    except OSError as error:
        raise UsageError(f"Cannot read the runs in {runs_dir}: {error.strerror}.") from error
    visible = (RunDirectory(entry) for entry in entries if not entry.name.startswith("."))
    return [run for run in visible if run.is_run() or (RUN_ID.fullmatch(run.id) and not _is_sweep(run))]


def _is_sweep(folder: RunDirectory) -> bool:
    return SweepDirectory(folder.path).is_sweep()


def _last_run(runs_dir: Path) -> RunDirectory:
    readable = [summary for summary in list_runs(runs_dir) if summary.status != BROKEN]
    if not readable:
        raise UsageError(f"{LAST}: there are no runs in {runs_dir} yet.")
    return readable[0].run


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
        return RunSummary(run, BROKEN, problem=str(error))
    status = record.get("status")
    problem = None
    if status not in STATUSES:
        problem = f"{run.path / RECORD} says status {status!r}, which is not one of {', '.join(STATUSES)}."
    return RunSummary(
        run,
        status=BROKEN if problem else str(status),
        name=_text(record.get("name")),
        command=_text(record.get("command")),
        device=_text(record.get("device")),
        started=_moment(record.get("started")),
        ended=_moment(record.get("ended")),
        epochs=_count(record.get("epochs_run")),
        best_epoch=_count(record.get("best_epoch")),
        best=_scores(record.get("best")),
        test=_scores(record.get("test")),
        directions=recorded_directions(record),
        data=_names(record.get("data")),
        looks=looks_of_record(record),
        look=_last_look(record.get("test_uses")),
        training_seconds=_seconds(record.get("training_seconds")),
        resumed=bool(record.get("resumed")),
        problem=problem,
    )


def _age_key(summary: RunSummary) -> tuple[float, str]:
    """Newest last: by start, then by id. A run that does not know its start is older than all that do."""
    return (summary.started.timestamp() if summary.started else -math.inf, summary.id)


def _text(value: object) -> str | None:
    return value if isinstance(value, str) else None


def _count(value: object) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else None


def _seconds(value: object) -> float | None:
    return float(value) if isinstance(value, (int, float)) and is_finite(value) and value >= 0 else None


def _last_look(uses: object) -> int | None:
    last = uses[-1] if isinstance(uses, list) and uses else None
    return _count(last.get("look")) if isinstance(last, Mapping) else None


def recorded_directions(record: Mapping[str, Any]) -> dict[str, bool]:
    """Measure → whether it is better the higher it is, of the custom metrics of which a record says so."""
    value = record.get("directions")
    entries = value.items() if isinstance(value, Mapping) else ()
    return {str(name): is_max for name, is_max in entries if isinstance(is_max, bool)}


def _scores(value: object) -> dict[str, float]:
    if not isinstance(value, Mapping):
        return {}
    return {str(name): float(score) for name, score in value.items() if is_finite(score)}


def _names(value: object) -> tuple[str, ...]:
    """The names in a record's list of data."""
    entries = value if isinstance(value, list) else []
    return tuple(str(entry["name"]) for entry in entries if isinstance(entry, Mapping) and "name" in entry)


def _moment(value: object) -> datetime | None:
    """An ISO 8601 time; one without a zone is in UTC."""
    if not isinstance(value, str):
        return None
    try:
        moment = datetime.fromisoformat(re.sub(r"[zZ]$", "+00:00", value))
        moment = moment if moment.tzinfo else moment.replace(tzinfo=timezone.utc)
        moment.timestamp()  # years at the calendar's ends have none
    except (ValueError, OverflowError):
        return None
    return moment
