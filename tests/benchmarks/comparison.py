"""Rows of the comparison: what is measured of whom, and what comes out of several pairs."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tests.benchmarks.programs import Program, ProgramFailedError, missing, run

FAR_BEHIND = 1.5
"""A peer with so many times the best peer's value cannot be the best; runs of one differ by less."""


@dataclass(frozen=True)
class Sitting:
    """What all rows share.

    Attributes:
        folder: for data, runs and the cache; deleted at the end.
        peers: the interpreter that has Keras, JAX and TensorFlow.
        clock: what epochs are timed by: `cpu` (seconds of the process) or `wall`.
        data_dir: where IMDB lies; None for generated rows.
        smoke: small data, only to see that every program runs.
    """

    folder: Path
    peers: str
    clock: str
    data_dir: Path | None
    smoke: bool = False

    def size(self, rows: int, least: int = 1) -> int:
        """How many rows (or runs) there are, where a real sitting has so many."""
        return max(rows // 100, least) if self.smoke else rows

    @property
    def cache(self) -> Path:
        """nnrun's cache: the C++ that this sitting compiled, and what it read."""
        return self.folder / "cache"


@dataclass(frozen=True)
class Line:
    """A line of the table: one value of the processes of a row.

    Attributes:
        work: what is done.
        value: the value's name, as `run` gives it; of `epochs` and so on the programs print it.
        unit: behind the number.
        reach: what nnrun is to reach; empty where nothing is set.
        against: the value of the peers, where it has another name.
    """

    work: str
    value: str
    unit: str
    reach: str = ""
    against: str | None = None


@dataclass(frozen=True)
class Row:
    """Programs that do the same work, and the lines that come of them.

    Attributes:
        lines: what is shown.
        nnrun: how nnrun does it.
        peers: how others do it.
        before: what a program needs beforehand is made by these; they are not measured.
        warm: whether each program runs once unmeasured, so that files and bytecode are in memory.
        before_each: runs before each pair, unmeasured.
    """

    lines: Sequence[Line]
    nnrun: Program
    peers: Sequence[Program] = ()
    before: Sequence[Program] = ()
    warm: bool = False
    before_each: Sequence[Program] = field(default=())


RowMaker = Callable[[Sitting], Row]
"""Makes the row of a name; what it needs is written below the sitting's folder."""


@dataclass(frozen=True)
class Shown:
    """A line with its numbers.

    Attributes:
        line: which.
        ours: nnrun's median.
        theirs: system → median, the best first.
        ratio: the median over pairs of nnrun's value over the best peer's; None without a peer.
        least, most: the smallest and the largest of those ratios.
    """

    line: Line
    ours: float
    theirs: Mapping[str, float]
    ratio: float | None
    least: float | None = None
    most: float | None = None


@dataclass(frozen=True)
class Outcome:
    """What a row gave.

    Attributes:
        shown: its lines.
        notes: who was left out and why.
        failed: whether nnrun itself failed.
    """

    shown: Sequence[Shown]
    notes: Sequence[str]
    failed: bool = False


Measured = Mapping[str, Sequence[Mapping[str, float]]]
"""System → the values of each pair."""


def measure(row: Row, sitting: Sitting, pairs: int) -> Outcome:
    """Run nnrun and its peers in turn, so often.

    A peer that is missing or fails is left out, and a note says so. One that is far behind the best peer in
    the first pair is not run again.
    """
    notes: list[str] = []
    peers = []
    for peer in row.peers:
        if absent := missing(peer):
            notes.append(f"{peer.system}: {' and '.join(absent)} not installed (pip install -e '.[bench]')")
        else:
            peers.append(peer)
    try:
        for program in row.before:
            run(program, sitting.cache)
        if row.warm:
            for program in (row.nnrun, *peers):
                run(program, sitting.cache)
    except ProgramFailedError as error:
        return Outcome([], [*notes, str(error)], failed=True)
    values: dict[str, list[Mapping[str, float]]] = {}
    for _ in range(pairs):
        for program in row.before_each:
            run(program, sitting.cache)
        for program in (row.nnrun, *peers):
            try:
                values.setdefault(program.system, []).append(run(program, sitting.cache))
            except ProgramFailedError as error:
                notes.append(str(error))
                if program is row.nnrun:
                    return Outcome([], notes, failed=True)
                peers.remove(program)
                values.pop(program.system)
        peers = _contenders(row.lines[0], peers, values)
    return Outcome([line_of(line, row.nnrun.system, values) for line in row.lines], notes)


def _contenders(line: Line, peers: Sequence[Program], values: Measured) -> list[Program]:
    """The peers that may still turn out to be the best."""
    firsts = {peer.system: values[peer.system][0][line.against or line.value] for peer in peers}
    return [peer for peer in peers if firsts[peer.system] <= FAR_BEHIND * min(firsts.values())]


def line_of(line: Line, ours: str, values: Measured) -> Shown:
    """A line's medians, and the ratio to the peer with the smallest median, as the median over pairs."""
    own = [pair[line.value] for pair in values[ours]]
    theirs = {
        system: [pair[line.against or line.value] for pair in pairs]
        for system, pairs in values.items()
        if system != ours
    }
    medians = {system: statistics.median(each) for system, each in theirs.items()}
    medians = dict(sorted(medians.items(), key=lambda item: item[1]))
    if not medians:
        return Shown(line, statistics.median(own), {}, None)
    best = theirs[next(iter(medians))]
    ratios = [a / b for a, b in zip(own, best, strict=True)]
    return Shown(line, statistics.median(own), medians, statistics.median(ratios), min(ratios), max(ratios))
