"""The starts of a sweep or run with workers: each has a folder of its own, see `claims.py`."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
from pathlib import Path

from nnrun.atomic_files import make_folder
from nnrun.errors import NnrunError
from nnrun.machine import ProcessName
from nnrun.records.claims import Claim, SignOfLife, WorkFolder, WorkPlan

WORK = "work"
"""The folder within that of a sweep or a run, with a folder for each of its starts with workers."""

_START = re.compile(r"start-(\d+)")


def starts(folder: Path) -> list[WorkFolder]:
    """The work folders of a sweep or run, the first start first."""
    found = []
    with contextlib.suppress(OSError):
        for entry in os.scandir(folder / WORK):
            if match := _START.fullmatch(entry.name):
                found.append((int(match[1]), WorkFolder(Path(entry.path))))
    return [work for _, work in sorted(found, key=lambda each: each[0])]


def open_work(folder: Path) -> WorkFolder | None:
    """The work folder of a sweep or run that workers share now; None where none do."""
    running = [work for work in starts(folder) if not work.is_stopped()]
    return running[-1] if running else None


def begin(folder: Path, plan: WorkPlan, owner: ProcessName) -> WorkFolder:
    """Make the work folder of a new start; it appears with its plan and the owner's sign of life.

    The caller holds the sweep or run, so that no other process begins.
    """
    earlier = starts(folder)
    number = 1 + max((int(start.path.name.partition("-")[2]) for start in earlier), default=0)
    path = folder / WORK / f"start-{number}"
    hidden = WorkFolder(path.with_name(f".{path.name}.new"))
    shutil.rmtree(hidden.path, ignore_errors=True)
    make_folder(hidden.path)
    hidden.write_plan(plan)
    try:
        hidden.write_sign(SignOfLife("", owner))
        hidden.path.rename(path)
    except OSError as error:
        raise NnrunError(f"Cannot make {path}: {error.strerror}.") from error
    return WorkFolder(path)


def reopen(work: WorkFolder, owner: ProcessName) -> None:
    """Go on with the work of an earlier start, whose workers have all ended. The caller holds the run.

    Their claims count as given back: who starts again has seen to what killed them.

    Raises:
        NnrunError: it cannot be written.
    """
    before = work.read_sign("")
    for part, last in work.claims().items():
        for generation in range(1, last + 1):
            work.give_back(Claim(part, generation, ""))
    try:
        work.write_sign(SignOfLife("", owner, 0 if before is None else before.count + 1))
        work.ask_to_go_on()
    except OSError as error:
        raise NnrunError(f"Cannot write into {work.path}: {error.strerror}.") from error


def remove(work: WorkFolder) -> None:
    """Remove the folder of a start of which nothing is needed any more."""
    hidden = work.path.with_name(f".{work.path.name}.old")
    with contextlib.suppress(OSError):  # who still looks at it finds no plan, and leaves
        work.path.rename(hidden)
        shutil.rmtree(hidden, ignore_errors=True)
        work.path.parent.rmdir()
