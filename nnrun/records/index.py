"""The runs in a folder: found by what a user calls them, and listed."""

from __future__ import annotations

import difflib
import math
import os
import time
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from fnmatch import fnmatchcase
from itertools import islice
from pathlib import Path
from typing import get_args

from nnrun.errors import AmbiguousRunError, DataError, UsageError
from nnrun.garbage import without_collecting
from nnrun.records.bare_name import STAMP, better_trial_text, is_called, no_run, run_of_name, sweep_of_name
from nnrun.records.run_directory import RECORD, RUN_ID, RunDirectory, new_id
from nnrun.records.run_record import MEASURING_COMMANDS, RunRecord, RunStatus
from nnrun.records.run_summary import BROKEN, RunSummary, summary_of
from nnrun.records.summary_cache import (
    Row,
    file_state,
    measured,
    read_rows,
    row_of,
    summary_of_row,
    write_rows,
)
from nnrun.records.sweep_directory import SweepDirectory, find_sweep, list_sweeps

STATUSES: tuple[RunStatus, ...] = get_args(RunStatus)
LAST = "@last"

_NO_TIME = "~"  # comes after all digits

_WORTH_KEEPING = 32
"""So many records must have been read before summaries are written: fewer are read again in less time."""

_SECONDS_AFTER_ITS_ID = 60.0
"""How much later than the time in its id a run may have begun, to be found as the last one."""


def find_run(
    reference: str, runs_dir: Path, *, newest: bool = True, tell: Callable[[str], None] | None = None
) -> RunDirectory:
    """The run that a user means by a path, an id, the beginning of an id, a name, or `@last`.

    A name means the newest run that is called so and reproduces no other; where that is a trial of a sweep,
    the sweep's best trial whose run is there.

    Args:
        reference: what the user wrote.
        runs_dir: where runs are kept.
        newest: of several runs that begin so, take one of those that are called exactly this.
        tell: is told which run is taken for a name that several have, or that is a sweep's.

    Raises:
        AmbiguousRunError: several runs begin so, and none is called exactly this.
        UsageError: there is no such run; or the name is that of a sweep that scored outer folds.
    """
    found = _find(reference, runs_dir, newest, tell, or_sweep=False)
    assert isinstance(found, RunDirectory), "no sweep was asked for"
    return found


def _find(
    reference: str, runs_dir: Path, newest: bool, tell: Callable[[str], None] | None, *, or_sweep: bool
) -> RunDirectory | SweepDirectory:
    """The same; with `or_sweep` a sweep where that is meant. The folder of runs is looked through once."""
    tell = tell or (lambda text: None)
    if reference == LAST:
        last = _last_run(runs_dir)
        if (text := better_trial_text(last, runs_dir)) is not None:
            tell(f"{LAST}: {text}")
        return last.run
    runs = _run_directories(runs_dir)
    for run in runs:
        if run.id == reference:
            return run
    as_path = RunDirectory(Path(os.path.expanduser(reference)))
    if reference and as_path.is_run():
        return as_path
    if (sweep := _meant_sweep(reference, runs_dir, without=[run.id for run in runs])) is not None:
        if or_sweep:
            return find_sweep(reference, runs_dir)
        raise UsageError(no_run(sweep))
    if as_path.path.name != reference:  # it has a separator, so it cannot be an id
        found = "that folder has no run.json" if os.path.isdir(as_path.path) else "there is no such folder"
        raise UsageError(f"{reference} is not a run: {found}.")
    beginning = reference.removesuffix("…")  # as `nnrun ls` shortens an id
    matches = [run.id for run in runs if beginning and run.id.startswith(beginning)]
    # One of a name may be all that is left of a sweep: that is looked at as several are.
    if len(matches) == 1 and not (newest and is_called(matches[0], beginning)):
        return RunDirectory(runs_dir / matches[0])
    if matches:
        by_age = _by_age(matches, runs_dir)
        if newest and or_sweep and (sweep := sweep_of_name(reference, by_age, runs_dir)) is not None:
            tell(f"{reference} is the sweep {sweep.id}")
            return sweep
        named = run_of_name(beginning, by_age, runs_dir, tell) if newest else None
        if named is not None:
            return named
        ids = [found.id for found in by_age]
        raise AmbiguousRunError(
            f"'{beginning}' matches {len(ids)} runs; name one:\n{_listed(ids)}", beginning, ids
        )
    raise UsageError(_not_found(beginning, [run.id for run in runs], runs_dir))


def _by_age(ids: Sequence[str], runs_dir: Path) -> list[RunSummary]:
    """These runs, newest first."""
    if len(ids) < _WORTH_KEEPING:
        found = [_summary(RunDirectory(runs_dir / id_)) for id_ in ids]
    else:
        among = frozenset(ids)
        found = [summary for summary in _summaries(runs_dir) if summary.id in among]
    return sorted(found, key=_age_key, reverse=True)


def find_runs(
    references: Sequence[str],
    runs_dir: Path,
    *,
    newest: bool = True,
    tell: Callable[[str], None] | None = None,
) -> list[RunDirectory]:
    """The runs that a user means, each once, however often and in whatever spelling it is named.

    A reference may be a pattern for ids: `imdb*`. `newest` and `tell` as for `find_run`.
    """
    found: dict[Path, RunDirectory] = {}
    for reference in references:
        matching = (
            _matching(reference, runs_dir)
            if is_pattern(reference)
            else [find_run(reference, runs_dir, newest=newest, tell=tell)]
        )
        for run in matching:
            found.setdefault(run.path.resolve(), run)
    return list(found.values())


def is_pattern(reference: str) -> bool:
    """Whether it is a pattern for ids, and no path."""
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


def find_run_or_sweep(
    reference: str, runs_dir: Path, *, newest: bool = True, tell: Callable[[str], None] | None = None
) -> RunDirectory | SweepDirectory:
    """The run that a user means, or the sweep where none is meant; `@last` is a run.

    A name means the newest run that is called so, or the sweep whose trial that is; `newest` and `tell` as
    for `find_run`.

    Raises:
        AmbiguousRunError, UsageError: as from `find_run`; or several sweeps begin so.
    """
    return _find(reference, runs_dir, newest, tell, or_sweep=True)


def find_runs_and_sweeps(references: Sequence[str], runs_dir: Path) -> list[RunDirectory | SweepDirectory]:
    """The same of several, each once, runs before sweeps; of several runs that begin so, none is meant.

    A pattern for ids (`imdb*`) means the runs and the sweeps that it fits.
    """
    found: dict[Path, RunDirectory | SweepDirectory] = {}
    for reference in references:
        matching: list[RunDirectory | SweepDirectory]
        if is_pattern(reference):
            sweeps = [sweep for sweep in list_sweeps(runs_dir) if fnmatchcase(sweep.id, reference)]
            runs = [run for run in _run_directories(runs_dir) if fnmatchcase(run.id, reference)]
            matching = [*(runs or ([] if sweeps else _matching(reference, runs_dir))), *sweeps]
        else:
            matching = [find_run_or_sweep(reference, runs_dir, newest=False)]
        for each in matching:
            found.setdefault(each.path.resolve(), each)
    return sorted(found.values(), key=lambda each: isinstance(each, SweepDirectory))


def _meant_sweep(reference: str, runs_dir: Path, without: Sequence[str]) -> SweepDirectory | None:
    """A sweep where one is meant, and no run."""
    as_sweep = SweepDirectory(Path(os.path.expanduser(reference)))
    meant = [sweep for sweep in list_sweeps(runs_dir) if reference and sweep.id.startswith(reference)]
    if reference and as_sweep.is_sweep():
        meant = [as_sweep]
    return meant[0] if meant and not any(id_.startswith(reference) for id_ in without) else None


def runs_of_sweep(sweep_id: str, runs_dir: Path) -> list[RunSummary]:
    """The runs that a sweep has made; those that cannot be read are left out."""
    return [summary for summary in _summaries(runs_dir) if summary.sweep == sweep_id]


def list_runs(runs_dir: Path, *, sizes: bool = False) -> list[RunSummary]:
    """All runs, newest first. A run whose record cannot be read is listed as broken, the rest as usual.

    With `sizes` the sizes of their files are looked up together; else each is measured when it is asked for.
    """
    with without_collecting():
        return sorted(_summaries(runs_dir, sizes=sizes), key=_age_key, reverse=True)


def _summaries(runs_dir: Path, *, sizes: bool = False) -> list[RunSummary]:
    """All runs by id: those that are unchanged since they were read last from the cache."""
    now_ns, names = time.time_ns(), sorted(_folders(runs_dir))
    kept = read_rows(runs_dir) if len(names) >= _WORTH_KEEPING else {}
    folder = os.fspath(runs_dir)
    found: list[RunSummary] = []
    rows: dict[str, Row] = {}
    for name in names:
        run = RunDirectory(runs_dir / name)
        path = os.path.join(folder, name)
        state = file_state(os.path.join(path, RECORD))
        row = kept.get(name)
        summary = size = None
        if state is None or row is None or row[0] != state.text:
            if state is None and not _was_run(run):
                continue
            summary, lasts = _summary_and_whether_it_lasts(run)
            row = row_of(state, summary) if lasts and state is not None and state.lasts(now_ns) else None
        if row is not None:
            if sizes:
                row, size = measured(path, row, now_ns)
            rows[name] = row
            summary = summary_of_row(run, row, size)
        if summary is not None:
            found.append(summary)
    if sum(row is not kept.get(name) for name, row in rows.items()) >= _WORTH_KEEPING:
        write_rows(runs_dir, rows)
    return found


def run_ids(runs_dir: Path) -> list[str]:
    """The ids of the runs in a folder, the newest first by the time in them. No record is read."""
    return _newest_first(run.id for run in _run_directories(runs_dir))


def runs_called(name: str, runs_dir: Path, at_most: int) -> list[RunDirectory]:
    """The runs of an experiment's name, the newest first by the time in their ids. No record is read."""
    stem = STAMP.sub("", new_id(name))  # ids have of a name what is safe in the name of a file
    called = _newest_first(id_ for id_ in _folders(runs_dir) if is_called(id_, stem))
    runs = (RunDirectory(runs_dir / id_) for id_ in called)
    return list(islice((run for run in runs if _is_or_was_run(run)), at_most))


def _newest_first(ids: Iterable[str]) -> list[str]:
    """Ids by the time in them; those without one last."""
    return sorted(ids, key=lambda id_: id_.rsplit("-", 2)[1:], reverse=True)


def _run_directories(runs_dir: Path) -> list[RunDirectory]:
    """Folders that are runs, and those that by their name should be; by id."""
    runs = (RunDirectory(runs_dir / name) for name in sorted(_folders(runs_dir)))
    return [run for run in runs if _is_or_was_run(run)]


def _folders(runs_dir: Path) -> list[str]:
    """The names of the visible folders in a folder; none where it does not exist."""
    try:
        with os.scandir(runs_dir) as entries:
            return [entry.name for entry in entries if not entry.name.startswith(".") and _is_folder(entry)]
    except FileNotFoundError:
        return []
    except OSError as error:
        raise UsageError(f"Cannot read the runs in {runs_dir}: {error.strerror}.") from error


def _is_folder(entry: os.DirEntry[str]) -> bool:
    """Whether it is a folder or a link to one; a link that leads in a circle is none."""
    try:
        return entry.is_dir()
    except OSError:
        return False


def _is_or_was_run(folder: RunDirectory) -> bool:
    """Whether it has a record, or lacks it and is by its name a run's."""
    return folder.is_run() or _was_run(folder)


def _was_run(folder: RunDirectory) -> bool:
    """Whether a folder without a record is by its name a run's."""
    return bool(RUN_ID.fullmatch(folder.id)) and not SweepDirectory(folder.path).is_sweep()


def _last_run(runs_dir: Path) -> RunSummary:
    """The readable run that began last; not one that only measured a setting.

    Ids tell when runs began. So only the records are read that may be of the last one: those with the latest
    times in their ids, and those whose folder was given another name. Where these are many, as the trials of
    a sweep on many machines, they are looked up as a list of runs does it.
    """
    last: RunSummary | None = None
    listed: dict[str, RunSummary] | None = None
    names = sorted(((_time_in(name), name) for name in _folders(runs_dir)), reverse=True)
    for place, (stamp, name) in enumerate(names):
        if last is not None and last.started is not None and stamp < _least_time(last.started):
            break
        if place == _WORTH_KEEPING:
            listed = {found.id: found for found in _summaries(runs_dir)}
        if listed is not None:
            summary = listed.get(name)
        else:
            run = RunDirectory(runs_dir / name)
            summary = _summary(run) if _is_or_was_run(run) else None
        if summary is None or summary.command in MEASURING_COMMANDS:
            continue
        if summary.status != BROKEN:
            last = max(last or summary, summary, key=_age_key)
    if last is None:
        raise UsageError(f"{LAST}: there are no runs in {runs_dir} yet.")
    return last


def _least_time(began: datetime) -> str:
    """The least time in the id of a run that may have begun at this time or later."""
    return time.strftime("%Y%m%dT%H%M%S", time.gmtime(max(0.0, began.timestamp() - _SECONDS_AFTER_ITS_ID)))


def _time_in(id_: str) -> str:
    """The time in an id, as ids have it; one after all others where it has none."""
    found = STAMP.search(id_)
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
    return _summary_and_whether_it_lasts(run)[0]


def _summary_and_whether_it_lasts(run: RunDirectory) -> tuple[RunSummary, bool]:
    """The summary, and whether it stays the same as long as run.json does."""
    try:
        written = run.read_written_record()
        running = written.status == "running"
        record = run.brought_up_to_date(written)
    except DataError as error:
        return summary_of(run, RunRecord(), str(error)), False
    if record.status is not None:
        return summary_of(run, record), not running
    status = record.malformed.get("status")
    problem = f"{run.path / RECORD} says status {status!r}, which is not one of {', '.join(STATUSES)}."
    return summary_of(run, record, problem), False


def _age_key(summary: RunSummary) -> tuple[float, str]:
    """Newest last: by start, then by id. A run that does not know its start is older than all that do."""
    return (summary.started.timestamp() if summary.started else -math.inf, summary.id)
