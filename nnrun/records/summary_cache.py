"""The summaries of finished runs in nnrun's cache: an unchanged run is listed without reading its run.json.

One file for each folder of runs holds, for each run by the name of its folder, the state of its run.json
(device, inode, size, times) and its summary. Whoever writes to a file changes the time of its last change of
status, which no program can set back. So a run.json in the same state holds the same, and the summary follows
from it alone. Kept are only runs of which that is true: not one whose run.json says `running`, which depends
on its history and on who is at work on it, and not one that is broken.

The size of a run's files is kept with the state of its folder and of those in it, which change as soon as a
file is added, replaced or removed: nnrun writes the files of a run that has ended in no other way. What
another program writes into a file in place is measured when a folder has changed: to ask for each file would
take longer than all else that a list does.

The file is replaced whole, so commands may do it at the same time: the last one's stays, and each is right.
One that is missing, damaged, of another format, or that another user could have written, counts as empty.
"""

from __future__ import annotations

import hashlib
import json
import os
import stat
import time
import zlib
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import astuple, fields
from datetime import datetime
from pathlib import Path
from typing import Any, Final

from nnrun.atomic_files import write_whole
from nnrun.file_state import FileState
from nnrun.paths import cache_dir, distrust_entry, make_private, private_place
from nnrun.records.files_size import folders_state, measure
from nnrun.records.looks import Look
from nnrun.records.run_directory import RunDirectory
from nnrun.records.run_summary import RunSummary

_VERSION: Final = 6
"""To be raised where the same run.json gives another summary, or a row holds the same in another form."""
_FIELDS: Final = [
    field.name for field in fields(RunSummary) if field.name not in ("run", "problem", "known_size")
]
_SECONDS_UNUSED: Final = 30 * 86400.0

Row = list[Any]
"""The state of run.json, the size of the run's files, and the values of `_FIELDS` as JSON holds them.

The size is None where it was not asked for, else the state of the folders, the bytes, and the folders within.
"""


def file_state(path: str) -> FileState | None:
    """The state of a regular file; None where there is none."""
    try:
        found = os.stat(path)
    except (OSError, ValueError):
        return None
    if not stat.S_ISREG(found.st_mode):
        return None
    return FileState.of(found)


def row_of(state: FileState, summary: RunSummary) -> Row:
    """What is kept of a finished run.

    Args:
        state: of its run.json, from before it was read.
        summary: of a run without a problem.
    """
    values = {name: getattr(summary, name) for name in _FIELDS}
    for name in ("started", "ended"):
        values[name] = None if values[name] is None else values[name].isoformat()
    values["looks"] = [astuple(look) for look in summary.looks]
    return [state.text, None, *values.values()]


def measured(path: str, row: Row, now_ns: int) -> tuple[Row, int]:
    """The row with the size of the run's files, and their bytes.

    Args:
        path: the run's folder.
        row: as it was kept, or new.
        now_ns: the time from before anything was looked at, in nanoseconds since 1970.
    """
    size = row[1]
    if size is not None and size[0] == folders_state(path, size[2]):
        return row, size[1]
    found = measure(path)
    if found.state is not None and found.state.lasts(now_ns):
        return [row[0], [found.state.text, found.bytes, found.folders], *row[2:]], found.bytes
    return (row if size is None else [row[0], None, *row[2:]]), found.bytes


def summary_of_row(run: RunDirectory, row: Row, known_size: int | None = None) -> RunSummary:
    """The summary that a row was made of."""
    values = dict(zip(_FIELDS, row[2:], strict=True))
    for name in ("started", "ended"):
        values[name] = None if values[name] is None else datetime.fromisoformat(values[name])
    values["data"] = tuple(values["data"])
    values["looks"] = tuple([Look(of, tuple(sha256), *others) for of, sha256, *others in values["looks"]])
    # Not by its constructor, which sets the fields of a frozen dataclass one by one: that would be most of
    # what a run costs that is not read.
    summary = object.__new__(RunSummary)
    vars(summary).update(values, run=run, problem=None, known_size=known_size)
    return summary


def read_rows(runs_dir: Path) -> dict[str, Row]:
    """Name of a run's folder → its row, as written last; empty where there are none that can be trusted."""
    if os.name != "posix":  # elsewhere `st_ctime` is another time, or files have no such numbers
        return {}
    path = _path(runs_dir)
    try:
        if distrust_entry(path) is not None:
            return {}
        text, checksum = path.read_bytes().splitlines()
        if int(checksum) != zlib.crc32(text):
            return {}
        document = json.loads(text)
        if (document["version"], document["fields"]) != (_VERSION, _FIELDS):
            return {}
        os.utime(path)  # it is in use
    except (OSError, ValueError, KeyError, TypeError):
        return {}
    rows: dict[str, Row] = document["rows"]
    return rows


def write_rows(runs_dir: Path, rows: Mapping[str, Row]) -> None:
    """Keep rows in place of those that were kept; where that is not possible, runs are read again."""
    if os.name != "posix":
        return
    path = _path(runs_dir)
    text = json.dumps({"version": _VERSION, "fields": _FIELDS, "rows": rows}, separators=(",", ":")).encode()
    content = b"%s\n%d\n" % (text, zlib.crc32(text))
    with suppress(OSError):
        private_place(path.parent)
        write_whole(path, lambda unfinished: unfinished.write_bytes(content))
        make_private(path)
        _remove_unused(path.parent)


def _path(runs_dir: Path) -> Path:
    name = hashlib.sha256(os.fsencode(os.path.realpath(runs_dir))).hexdigest()[:32]
    return cache_dir() / "run-lists" / f"{name}.json"


def _remove_unused(folder: Path) -> None:
    oldest = time.time() - _SECONDS_UNUSED
    for path in folder.glob("*.json"):
        if path.stat().st_mtime < oldest:
            path.unlink(missing_ok=True)
