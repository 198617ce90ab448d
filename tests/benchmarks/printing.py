"""The comparison as text for a terminal and as Markdown for the README."""

from __future__ import annotations

import datetime
import importlib.metadata
import os
import platform
import subprocess
from collections.abc import Sequence
from pathlib import Path

from tests.benchmarks.comparison import Shown, Sitting

HEADS = ("work", "nnrun", "best peer", "nnrun / peer", "other peers", "reach")


def number(value: float) -> str:
    """Three digits, without an exponent."""
    if value >= 100:
        return f"{value:,.0f}"
    return f"{value:.3g}" if value >= 0.01 else f"{value:.2g}"


def cells(shown: Shown) -> tuple[str, ...]:
    """What stands in each column."""
    unit = shown.line.unit
    peers = [f"{system} {number(value)}" for system, value in shown.theirs.items()]
    ratio = ""
    if shown.ratio is not None and shown.least is not None and shown.most is not None:
        ratio = f"{shown.ratio:.2f} ({shown.least:.2f} to {shown.most:.2f})"
    first, others = (f"{peers[0]} {unit}", ", ".join(peers[1:])) if peers else ("", "")
    return shown.line.work, f"{number(shown.ours)} {unit}", first, ratio, others, shown.line.reach


def markdown(lines: Sequence[Shown]) -> str:
    """A table for the README."""
    rows = [HEADS, tuple("---" for _ in HEADS), *map(cells, lines)]
    return "\n".join("| " + " | ".join(row) + " |" for row in rows)


def text(shown: Shown) -> str:
    """One line for a terminal."""
    work, ours, peer, ratio, others, reach = cells(shown)
    also = f"  also {others}" if others else ""
    return f"{work:<52} {ours:>12}  {peer:<34} {ratio:<22} {reach}{also}".rstrip()


def heading(sitting: Sitting, pairs: int) -> str:
    """The machine, the date, the versions and how it was measured: a paragraph above the table."""
    here = {name: importlib.metadata.version(name) for name in ("torch", "scikit-learn", "pandas")}
    versions = [f"{name} {version}" for name, version in here.items()]
    versions += [f"{name} {version}" for name, version in _versions_of(sitting.peers).items()]
    clock = "processor time" if sitting.clock == "cpu" else "wall time"
    smoke = "Small data, whose figures mean nothing. " if sitting.smoke else ""
    machine = f"{smoke}{cpu_name()}, {os.cpu_count()} CPUs, load average {os.getloadavg()[0]:.1f}"
    versions = [f"Python {platform.python_version()}", *versions]
    return (
        f"{machine}, {datetime.date.today()}; {', '.join(versions)}. One core and one thread each, medians "
        f"of {pairs} pairs in turn, smallest and largest ratio in brackets; epochs in {clock}."
    )


def cpu_name() -> str:
    """The processor, as the system names it."""
    path = Path("/proc/cpuinfo")
    lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def _versions_of(interpreter: str) -> dict[str, str]:
    """Package → version, of the peers that the interpreter has."""
    code = (
        "import importlib.metadata as m, importlib.util as u\n"
        "for n, p in (('keras', 'keras'), ('jax', 'jax'), ('tensorflow', 'tensorflow-cpu')):\n"
        "    if u.find_spec(n): print(n, m.version(p))"
    )
    result = subprocess.run([interpreter, "-c", code], capture_output=True, text=True, check=False)
    return dict(line.split() for line in result.stdout.splitlines())
