"""How often a test set was looked at, by experiments of one name and by any, over the runs of a folder.

Each look stands in the run's own record and as a line of .test-uses.jsonl, in order, which outlives the runs:
deleting one that disappointed does not take back that it was tested.

    {"data": "reuters", "sha256": ["..."], "name": "reuters", "run": "<id>", "command": "final", "at": "..."}
"""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from functools import cache, cached_property
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from nnrun.atomic_files import writing
from nnrun.errors import NnrunError
from nnrun.records.index import list_runs
from nnrun.records.looks import Look, LookCount, looks_of_record
from nnrun.records.run_directory import RunDirectory
from nnrun.records.run_record import RunRecord, TestUse, now
from nnrun.records.run_summary import RunSummary

LEDGER = ".test-uses.jsonl"

_INSTEAD = (
    "looks at a test set are counted from the runs' own records, so those of deleted runs may be missing."
)


@dataclass(frozen=True)
class Looks:
    """Looks at test sets: those of the ledger, or all that a folder of runs knows of.

    Attributes:
        looks: in the order in which they were written.
        problem: why some may be missing, as a sentence; None where all is well.
        exists: whether there is a ledger.
    """

    looks: tuple[Look, ...] = ()
    problem: str | None = None
    exists: bool = True

    def like(self, look: Look) -> LookCount:
        """How many looks there were at this look's test set, itself included.

        Its cost is that of the data sets with a file in common, whatever the number of looks.
        """
        return self._counts.like(look)

    @cached_property
    def _counts(self) -> _Counts:
        return _Counts(self.looks)

    def of_run(self, own: Sequence[Look]) -> LookCount | None:
        """The same for the last of a run's own looks; None for a run that has not looked."""
        return self.like(own[-1]) if own else None

    def of_record(self, record: RunRecord) -> LookCount | None:
        """The same for the last look of a run, by its record."""
        return self.of_run(looks_of_record(record))


class _Counts:
    """Looks by what is looked at: the files of a test set, and the name of the experiments."""

    def __init__(self, looks: Iterable[Look]) -> None:
        self._by_name = Counter((look.sha256, look.name) for look in looks)
        self._by_any = Counter(look.sha256 for look in looks)
        self._with_file: dict[str, set[tuple[str, ...]]] = {}
        for files in self._by_any:
            for file in files:
                self._with_file.setdefault(file, set()).add(files)

    def like(self, look: Look) -> LookCount:
        same: set[tuple[str, ...]] = set().union(*(self._with_file.get(file, ()) for file in look.sha256))
        by_name = sum(self._by_name[files, look.name] for files in same)
        return LookCount(by_name, sum(self._by_any[files] for files in same))


def look_at_test_set(
    run: RunDirectory,
    record: RunRecord,
    data: str,
    command: str,
    on_message: Callable[[str], None],
    *,
    sha256: Sequence[str],
) -> LookCount | None:
    """Write a look into the run's record and into the ledger of all runs next to it, before it is made.

    Args:
        run: the run that looks.
        record: its record, which is added to and written.
        data: the name of the data set.
        command: `final`, `evaluate` or `predict`.
        on_message: is told where the number may be too low.
        sha256: of the files that the test rows come from.

    Returns:
        Which look at this test set it is by experiments of this name, and of any, from 1. None for a smoke
        run, whose rows are generated: its look does not count.
    """
    use = TestUse(command=command, at=now(), data=data)
    if list(sha256) != [source.sha256 for source in record.data]:
        use.sha256 = list(sha256)
    record.test_uses = [*record.test_uses, use]
    counted = looks_of_record(record)
    count = None
    if counted:
        count, problem = count_look(run.runs_dir, counted[-1])
        use.look, use.look_of_any = count.by_name, count.by_any
        if problem is not None:
            on_message(problem)
    run.write_record(record)
    return count


def count_look(runs_dir: Path, look: Look) -> tuple[LookCount, str | None]:
    """Write a look into the ledger; its number, and why that may be too low, as a sentence.

    Of two that come at the same moment, the one that stands first in the ledger has the lower number. Where
    the ledger cannot be written, the records alone are counted, and the sentence says so.
    """
    recorded = _recorded(list_runs(runs_dir))
    existed = read_ledger(runs_dir).exists
    try:
        end = append_looks(runs_dir, [look])
    except NnrunError as error:
        known = _with_recorded(runs_dir, read_ledger(runs_dir), recorded | Counter([look]))
        return known.like(look), f"{error} The look is counted only in the run's record."
    known = _with_recorded(runs_dir, read_ledger(runs_dir), recorded, existed=existed)
    all_of_them, later = known.like(look), read_ledger(runs_dir, start=end).like(look)
    count = LookCount(all_of_them.by_name - later.by_name, all_of_them.by_any - later.by_any)
    return count, known.problem


def all_looks(runs_dir: Path, summaries: Sequence[RunSummary] | None = None) -> Looks:
    """Every look that the ledger or the records of the runs in a folder tell of, each once.

    Args:
        runs_dir: the folder.
        summaries: its runs, where the caller has read them already.
    """
    recorded = _recorded(list_runs(runs_dir) if summaries is None else summaries)
    ledger = read_ledger(runs_dir)
    return _with_recorded(runs_dir, ledger, recorded, existed=ledger.exists)


def _recorded(summaries: Iterable[RunSummary]) -> Counter[Look]:
    """The looks of all records; those of a run that was copied count once."""
    looks: Counter[Look] = Counter()
    for summary in summaries:
        for look, number in Counter(summary.looks).items():
            looks[look] = max(looks[look], number)
    return looks


def _with_recorded(runs_dir: Path, ledger: Looks, recorded: Counter[Look], *, existed: bool = True) -> Looks:
    """The ledger's looks, then those that it lacks. `existed`: whether there was a ledger before."""
    missing = tuple((recorded - Counter(ledger.looks)).elements())
    problem = ledger.problem
    if not existed and missing:
        problem = (
            f"{runs_dir / LEDGER} is missing: looks at a test set are counted from the runs' own records, so "
            "looks by deleted runs are not included."
        )
    return Looks((*ledger.looks, *missing), problem)


def read_ledger(runs_dir: Path, *, start: int = 0) -> Looks:
    """The looks in a folder's ledger; a line that cannot be read is left out, and `problem` says so.

    Args:
        runs_dir: the folder of the runs.
        start: leave out this many bytes, whole lines, at the beginning.
    """
    path = runs_dir / LEDGER
    if path.exists() and not (path.is_file() or path.is_dir()):  # a pipe keeps waiting
        return Looks(problem=f"{path} is not a regular file: {_INSTEAD}")
    try:
        data = path.read_bytes()[start:]
    except FileNotFoundError:
        return Looks(exists=False)
    except OSError as error:
        return Looks(problem=f"Cannot read {path} ({error.strerror}): {_INSTEAD}")
    lines = {number: line for number, line in enumerate(data.split(b"\n"), start=1) if line.strip()}
    looks = {number: _look(line) for number, line in lines.items()}
    damaged = [number for number, look in looks.items() if look is None]
    found = tuple(look for look in looks.values() if look is not None)
    if not damaged:
        return Looks(found)
    where = f"line {damaged[0]} is" if len(damaged) == 1 else f"{len(damaged)} lines from {damaged[0]} on are"
    return Looks(found, f"{path}: {where} damaged: {_INSTEAD}")


def missing_in_ledger(runs_dir: Path, looks: Sequence[Look]) -> list[Look]:
    """Those of these looks that a folder's ledger does not hold.

    A line as it is written now is found without parsing the others: whoever deletes many runs asks for each
    of them.
    """
    if not looks:
        return []
    path = runs_dir / LEDGER
    try:
        data = path.read_bytes() if path.is_file() else b""
    except OSError:
        data = b""
    unseen = [look for look in looks if _line(look) not in data]
    known = set(read_ledger(runs_dir).looks) if unseen else set()
    return [look for look in unseen if look not in known]


def append_looks(runs_dir: Path, looks: Iterable[Look]) -> int:
    """Add lines and bring them to the disk. Who adds at the same moment adds before or after, not between.

    Returns:
        The length of the file in bytes up to the end of the last line that was added.

    Raises:
        NnrunError: the file cannot be written.
    """
    path = runs_dir / LEDGER
    lines = b"".join(map(_line, looks))
    with writing(path), path.open("a+b", buffering=0) as file:
        if file.seek(0, os.SEEK_END):
            file.seek(-1, os.SEEK_END)
            if file.read(1) != b"\n":  # a crash left the last line unfinished
                lines = b"\n" + lines
        while lines:
            lines = lines[file.write(lines) :]
        end = file.tell()
        os.fsync(file.fileno())
    return end


def _line(look: Look) -> bytes:
    return (json.dumps(asdict(look), ensure_ascii=False) + "\n").encode()


def _look(line: bytes) -> Look | None:
    """The look of a line; None where the line is damaged."""
    try:
        return _look_reader().validate_json(line)
    except ValidationError:
        return None


@cache
def _look_reader() -> TypeAdapter[Look]:
    return TypeAdapter(Look)
