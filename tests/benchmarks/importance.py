"""Whether importance finds the columns that matter, on generated tables whose truth is known.

    python tests/benchmarks/importance.py [--tables 12]

Each table has 30 columns, one in five of them a category, of which three drawn ones decide about the target:
a number by a straight line, by its distance from 0, by its product with another, or a category by its levels.
A small network trains in five folds, and `nnrun importance` asks about its columns. Printed for each table:
whether the three stand first; how many of them are told from chance; how many of the 27 others are; and the
seconds that asking took. At the end the sums, and the smallest importance of one that matters beside the
largest of one that does not, as shares of the largest.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from pathlib import Path

import numpy as np
import pandas as pd

import nnrun

ROWS, COLUMNS, FOLDS = 500, 30, 5
SPEC = {
    "dataset": {"csv": {"path": "rows.csv", "target": "y"}},
    "preprocessing": {"inputs": ["standardize", "one_hot"], "targets": "standardize"},
    "layers": [{"dense": {"units": 32, "activation": "relu"}}, {"dense": 1}],
    "loss": "mse",
    "metrics": ["mae"],
    "optimizer": {"adam": 0.005},
    "epochs": 40,
    "batch_size": 32,
    "validation": {"kfold": {"k": FOLDS, "shuffle": True}},
}


def made_table(seed: int) -> tuple[pd.DataFrame, list[str]]:
    """A table, and the three columns that decide about its target."""
    rng = np.random.default_rng(seed)
    rows = pd.DataFrame({f"n{i}": rng.normal(size=ROWS) for i in range(COLUMNS - COLUMNS // 5)})
    for i in range(COLUMNS // 5):
        rows[f"c{i}"] = rng.choice(["red", "green", "blue", "grey"], ROWS)
    numbers = [name for name in rows if name.startswith("n")]
    first, second = rng.choice(numbers, 2, replace=False)
    third = rng.choice([name for name in rows if name not in (first, second)])
    y = 2 * rows[first] + 2 * np.abs(rows[second]) + rows[first] * rows[second] / 2
    if third.startswith("c"):
        y += rows[third].map(dict(zip(["red", "green", "blue", "grey"], rng.permutation(4), strict=True)))
    else:
        y += np.where(rows[third] > 0, 2.0, 0.0)
    rows["y"] = y + rng.normal(0, 0.5, ROWS)
    return rows, [first, second, third]


def measure(seed: int, folder: Path) -> tuple[bool, int, int, float, float, float]:
    """Of a table: three first; told from chance, of 3 and of 27; seconds; the least of 3, the most of 27."""
    rows, decide = made_table(seed)
    rows.to_csv(folder / "rows.csv", index=False)
    path = folder / f"table{seed}.yaml"
    path.write_text("".join(f"{key}: {json.dumps(value)}\n" for key, value in SPEC.items()))
    run = nnrun.train(path, runs_dir=folder / "runs")
    start = time.perf_counter()
    (found,) = nnrun.importance(run).tables
    seconds = time.perf_counter() - start
    certain = {of.column for of in found.columns if not of.within_noise}
    by_name = {of.column: of.importance for of in found.columns}
    largest = found.columns[0].importance
    least = min(by_name[name] for name in decide) / largest
    most = max(value for name, value in by_name.items() if name not in decide) / largest
    first = {of.column for of in found.columns[:3]} == set(decide)
    return first, len(certain & set(decide)), len(certain - set(decide)), seconds, least, most


def main() -> None:
    """Print a line for each table, and the sums."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--tables", type=int, default=12)
    count = parser.parse_args().tables
    print("table  three first  told, of 3  told, of 27  seconds  least of 3  most of 27")
    each = []
    with tempfile.TemporaryDirectory() as folder:
        for seed in range(count):
            found = measure(seed, Path(folder))
            each.append(found)
            first, told, others, seconds, least, most = found
            told_first = "yes" if first else "no"
            line = f"{seed:5}  {told_first:>11}  {told:10}  {others:11}  {seconds:7.2f}"
            print(f"{line}  {least:10.3f}  {most:10.3f}", flush=True)
    firsts, told, others = (sum(of[place] for of in each) for place in range(3))
    print(f"\n{firsts} of {count} tables have the three first.")
    print(f"{told} of {3 * count} that matter and {others} of {27 * count} others are told from chance.")


if __name__ == "__main__":
    main()
