""".test-uses.jsonl: every look at a test set from the runs of one folder, one line each, in order.

    {"data": "reuters", "sha256": ["..."], "name": "reuters", "run": "<id>", "command": "final", "at": "..."}

It outlives the runs: deleting one that disappointed does not take back that it was tested.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from nnrun.errors import NnrunError

LEDGER = ".test-uses.jsonl"


@dataclass(frozen=True)
class Look:
    """One use of a test set.

    Attributes:
        data: the data set, as a spec names it.
        sha256: of the files behind it.
        name: the experiment's name.
        run: the run's id.
        command: `final` or `evaluate`.
        at: when, as the run's record has it.
    """

    data: str
    sha256: tuple[str, ...]
    name: str
    run: str
    command: str
    at: str

    def counts_with(self, other: Look) -> bool:
        """Whether both are looks at the same test set (they share a file) by experiments of one name."""
        return self.name == other.name and not set(self.sha256).isdisjoint(other.sha256)


@dataclass(frozen=True)
class Ledger:
    """What the file holds.

    Attributes:
        looks: in the order in which they were written.
        problem: why it could not be read, or not in whole, as a sentence; None where all is well.
        exists: whether there is such a file.
    """

    looks: tuple[Look, ...] = ()
    problem: str | None = None
    exists: bool = True


def looks_of_record(record: Mapping[str, Any]) -> tuple[Look, ...]:
    """The looks that a run's own record lists. Those of a smoke run, at generated rows, do not count."""
    uses, data = record.get("test_uses"), record.get("data")
    if record.get("smoke") is True or not isinstance(uses, list):
        return ()
    sources = [s for s in data if isinstance(s, Mapping)] if isinstance(data, list) else []
    sha256 = tuple(str(source.get("sha256")) for source in sources)
    of_file = str(sources[0].get("name", "")).removesuffix(".npz") if sources else ""
    return tuple(
        Look(
            data=str(use.get("data", of_file)),
            sha256=sha256,
            name=str(record.get("name")),
            run=str(record.get("id")),
            command=str(use.get("command")),
            at=str(use.get("at")),
        )
        for use in uses
        if isinstance(use, Mapping)
    )


def read_ledger(runs_dir: Path, *, start: int = 0) -> Ledger:
    """The looks in a folder's ledger; a line that cannot be read is left out and told of.

    Args:
        runs_dir: the folder of the runs.
        start: leave out this many bytes, whole lines, at the beginning.
    """
    path = runs_dir / LEDGER
    if path.exists() and not (path.is_file() or path.is_dir()):  # a pipe keeps waiting
        return Ledger(problem=f"{path} is not a regular file: {_INSTEAD}")
    try:
        data = path.read_bytes()[start:]
    except FileNotFoundError:
        return Ledger(exists=False)
    except OSError as error:
        return Ledger(problem=f"Cannot read {path} ({error.strerror}): {_INSTEAD}")
    looks, damaged = [], []
    for number, line in enumerate(data.split(b"\n"), start=1):
        look = _look(line) if line.strip() else None
        if look is not None:
            looks.append(look)
        elif line.strip():
            damaged.append(number)
    if not damaged:
        return Ledger(tuple(looks))
    lines = f"line {damaged[0]} is" if len(damaged) == 1 else f"{len(damaged)} lines from {damaged[0]} on are"
    return Ledger(tuple(looks), f"{path}: {lines} damaged: {_INSTEAD}")


_INSTEAD = (
    "looks at a test set are counted from the runs' own records, so those of deleted runs may be missing."
)


def append_looks(runs_dir: Path, looks: Iterable[Look]) -> int:
    """Add lines and bring them to the disk. Who adds at the same moment adds before or after, not between.

    Returns:
        The length of the file in bytes up to the end of the last line that was added.

    Raises:
        NnrunError: the file cannot be written.
    """
    path = runs_dir / LEDGER
    lines = "".join(json.dumps(asdict(look), ensure_ascii=False) + "\n" for look in looks).encode()
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o666)
        try:
            if _ends_amid_a_line(descriptor):
                lines = b"\n" + lines
            while lines:
                lines = lines[os.write(descriptor, lines) :]
            end = os.lseek(descriptor, 0, os.SEEK_CUR)
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
    except OSError as error:
        raise NnrunError(f"Cannot write {path}: {error.strerror}.") from error
    return end


def _ends_amid_a_line(descriptor: int) -> bool:
    """Whether the last line of the file was never finished, as a crash would leave it."""
    if os.lseek(descriptor, 0, os.SEEK_END) == 0:
        return False
    os.lseek(descriptor, -1, os.SEEK_END)
    return os.read(descriptor, 1) != b"\n"


def _look(line: bytes) -> Look | None:
    try:
        entry = json.loads(line)
    except (ValueError, RecursionError):
        return None
    if not isinstance(entry, dict) or not isinstance(entry.get("sha256"), list):
        return None
    names = ("data", "name", "run", "command", "at")
    if not all(isinstance(value, str) for value in (*entry["sha256"], *map(entry.get, names))):
        return None
    return Look(sha256=tuple(entry["sha256"]), **{name: entry[name] for name in names})
