"""How often experiments of one name have looked at a test set: in all runs of a folder, deleted ones too."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nnrun.errors import NnrunError
from nnrun.records.index import RunSummary, list_runs
from nnrun.records.test_set_ledger import LEDGER, Ledger, Look, append_looks, looks_of_record, read_ledger


@dataclass(frozen=True)
class Looks:
    """All looks at test sets that a folder of runs knows of.

    Attributes:
        looks: each once, whether the ledger tells of it, or the run's record, or both.
        problem: why some may be missing, as a sentence; None where all is well.
    """

    looks: tuple[Look, ...]
    problem: str | None

    def like(self, look: Look) -> int:
        """How many looks there were at this look's test set by experiments of its name, itself included."""
        return sum(other.counts_with(look) for other in self.looks)

    def of_record(self, record: Mapping[str, Any]) -> int | None:
        """The same for the last look of a run, by its record; None for a run that has not looked."""
        own = looks_of_record(record)
        return self.like(own[-1]) if own else None


@dataclass(frozen=True)
class Numbered:
    """A look that has been counted.

    Attributes:
        number: which look it is at its test set by experiments of its name, from 1.
        problem: why the number may be too low, as a sentence; None where all is well.
    """

    number: int
    problem: str | None


def all_looks(runs_dir: Path, summaries: Sequence[RunSummary] | None = None) -> Looks:
    """Every look that the ledger or the records of the runs in a folder tell of.

    Args:
        runs_dir: the folder.
        summaries: its runs, where the caller has read them already.
    """
    recorded = _recorded(list_runs(runs_dir) if summaries is None else summaries)
    ledger = read_ledger(runs_dir)
    return _together(runs_dir, ledger, recorded, exists=ledger.exists)


def count_look(runs_dir: Path, look: Look) -> Numbered:
    """Write a look into the ledger, before it is made, and number it.

    Of two that come at the same moment, the one that stands first in the ledger has the lower number. Where
    the ledger cannot be written, the records alone are counted, and `problem` says so.
    """
    recorded = _recorded(list_runs(runs_dir))
    existed = read_ledger(runs_dir).exists
    try:
        end = append_looks(runs_dir, [look])
    except NnrunError as error:
        known = _together(runs_dir, read_ledger(runs_dir), recorded | Counter([look]))
        return Numbered(known.like(look), f"{error} The look is counted only in the run's record.")
    ledger = read_ledger(runs_dir)
    known = _together(runs_dir, ledger, recorded, exists=existed)
    later = read_ledger(runs_dir, start=end).looks
    return Numbered(known.like(look) - sum(look.counts_with(other) for other in later), known.problem)


def _recorded(summaries: Iterable[RunSummary]) -> Counter[Look]:
    """The looks of all records; those of a run that was copied count once."""
    looks: Counter[Look] = Counter()
    for summary in summaries:
        looks |= Counter(summary.looks)
    return looks


def _together(runs_dir: Path, ledger: Ledger, recorded: Counter[Look], *, exists: bool = True) -> Looks:
    missing = tuple((recorded - Counter(ledger.looks)).elements())
    problem = ledger.problem
    if not exists and missing:
        problem = (
            f"{runs_dir / LEDGER} is missing: looks at a test set are counted from the runs' own records, so "
            "looks by deleted runs are not included."
        )
    return Looks((*ledger.looks, *missing), problem)
