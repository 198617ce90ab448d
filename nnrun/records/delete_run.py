"""Deleting the folder of a run or of a sweep, and nothing else."""

from __future__ import annotations

import contextlib
import os
import shutil
from pathlib import Path

from nnrun.atomic_files import is_held, locked
from nnrun.errors import DataError, LockedError, NnrunError, UsageError
from nnrun.records.looks import looks_of_record
from nnrun.records.run_directory import RECORD, RUN_ID, RunDirectory
from nnrun.records.sweep_directory import SWEEP_RECORD, SweepDirectory
from nnrun.records.test_set_uses import append_looks, missing_in_ledger


def delete_run(run: RunDirectory, runs_dir: Path) -> None:
    """Delete a run's folder. Refuses whatever is not beyond doubt a run of ours.

    A run is a real folder (no link) directly under `runs_dir`, whose record names this very folder as its id;
    or which has the name of a run and holds nothing but specs, since it was killed before it had a record.
    Its looks at a test set stay counted: those that the ledger lacks are written there first.
    """
    refuse_to_delete(run, runs_dir)
    with run.owned():
        if run.is_run():
            missing = missing_in_ledger(runs_dir, looks_of_record(run.read_record()))
            if missing:
                append_looks(runs_dir, missing)
        _delete(run.path, runs_dir)


def delete_sweep(sweep: SweepDirectory, runs_dir: Path) -> None:
    """Delete a sweep's folder, and none of its trials' runs. It refuses what `delete_run` refuses of runs."""
    refuse_to_delete_sweep(sweep, runs_dir)
    with locked(sweep.path, f"{sweep.path} was not deleted: another process is running it. Stop it first."):
        _delete(sweep.path, runs_dir)


def _delete(path: Path, runs_dir: Path) -> None:
    """Delete a folder that nobody else is at work on."""
    for left in runs_dir.glob(".*.deleted"):  # by a process that was killed while it deleted
        id_ = left.name.removeprefix(".").removesuffix(".deleted")
        if RUN_ID.fullmatch(id_) and not left.is_symlink():
            shutil.rmtree(left, ignore_errors=True)
    doomed = path.with_name(f".{path.name or path.resolve().name}.deleted")
    try:
        path.rename(doomed)  # one step, so that no half of a run is ever listed
        with contextlib.suppress(FileNotFoundError):  # another process may be clearing up as above
            shutil.rmtree(doomed)
    except OSError as error:
        raise NnrunError(f"Cannot delete {path}: {error.strerror}.") from error


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


def refuse_to_delete_sweep(sweep: SweepDirectory, runs_dir: Path) -> None:
    """Raise an error where `delete_sweep` would refuse; deletes nothing.

    Raises:
        UsageError: it is not beyond doubt a sweep of ours.
        LockedError: a process is running it.
    """
    refusal = _why_not_delete_sweep(sweep, runs_dir)
    if refusal:
        raise UsageError(f"{sweep.path} was not deleted: {refusal}.")
    if is_held(sweep.path):
        raise LockedError(f"{sweep.path} was not deleted: another process is running it. Stop it first.")


def _why_not_delete_sweep(sweep: SweepDirectory, runs_dir: Path) -> str | None:
    if (refusal := _why_no_folder_of_ours(sweep.path, runs_dir)) is not None:
        return refusal
    if not sweep.is_sweep() or (sweep.path / SWEEP_RECORD).is_symlink():
        return "it has no sweep.json, so it may not be a sweep; delete it by hand if you are sure"
    try:
        record, _ = sweep.read_sound_part()
    except DataError as error:
        return f"its record cannot be read ({str(error).rstrip('.')}); delete it by hand if you are sure"
    if record.id != sweep.path.resolve().name:
        return f"its sweep.json says id {record.id!r}; delete it by hand if you are sure"
    return None


def _why_no_folder_of_ours(path: Path, runs_dir: Path) -> str | None:
    if path.is_symlink():
        return "it is a link, not a folder"
    if not os.path.isdir(path):
        return "there is no such folder"
    if path.resolve().parent != runs_dir.resolve():
        return f"it is not directly under {runs_dir} (--runs-dir says where runs are)"
    return None


def _why_not_delete(run: RunDirectory, runs_dir: Path) -> str | None:
    if (refusal := _why_no_folder_of_ours(run.path, runs_dir)) is not None:
        return refusal
    if run.has_specs_alone():
        return None
    if not run.is_run() or (run.path / RECORD).is_symlink():
        return "it has no run.json, so it may not be a run; delete it by hand if you are sure"
    try:
        record = run.read_record()
    except DataError as error:
        return f"its record cannot be read ({str(error).rstrip('.')}); delete it by hand if you are sure"
    recorded = record.malformed.get("id", record.id)
    if recorded != run.path.resolve().name:
        return f"its run.json says id {recorded!r}; delete it by hand if you are sure"
    return None
