"""How fast IMDB is read, against NumPy and loops. Run by hand:

python tests/benchmarks/read_data.py FOLDER_WITH_IMDB_NPZ

A large CSV file, against pandas: `python tests/benchmarks/table.py --only csv_first csv_again`.
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from nnrun.data import TokenRows, load_dataset
from nnrun.data.preprocess import multi_hot
from nnrun.spec import schema

SPEC = schema.Imdb(num_words=10_000)


def timed(work: Callable[[], Any], times: int = 3) -> tuple[float, Any]:
    """The shortest of some runs, and what the last gave."""
    best = float("inf")
    for _ in range(times):
        start = time.perf_counter()
        result = work()
        best = min(best, time.perf_counter() - start)
    return best, result


def with_loops(folder: Path) -> list[list[int]]:
    """As Keras reads it: np.load(allow_pickle=True) and Python loops over all tokens."""
    with np.load(folder / "imdb.npz", allow_pickle=True) as file:
        parts = [file["x_train"], file["x_test"]]
    rng = np.random.RandomState(113)
    rows: list[list[int]] = []
    for x in parts:
        order = np.arange(len(x))
        rng.shuffle(order)
        rows += [[1] + [w + 3 for w in row] for row in x[order]]
    return [[w if 0 <= w < 10_000 else 2 for w in row] for row in rows]


def multi_hot_with_loops(rows: TokenRows) -> Any:
    """As the book does it, with small integers to fit in memory."""
    x = np.zeros((len(rows), 10_000), np.uint8)
    for i in range(len(rows)):
        for token in rows.row(i):
            x[i, token] = 1
    return x


def main() -> None:
    """Print one line per reading."""
    folder = Path(sys.argv[1])
    with tempfile.TemporaryDirectory() as cache:
        os.environ["NNRUN_CACHE_DIR"] = cache
        # First, as in a fresh process: the loops leave a heap behind that slows what comes after.
        first, _ = timed(lambda: load_dataset(SPEC, data_dir=folder), 1)
        reference, _ = timed(lambda: with_loops(folder), 1)
        cached, dataset = timed(lambda: load_dataset(SPEC, data_dir=folder))
        rows = dataset.train.inputs
        loops, _ = timed(lambda: multi_hot_with_loops(rows), 1)
        sets, _ = timed(lambda: multi_hot(rows, 10_000))
    lines = [
        ("np.load(allow_pickle=True) and loops", reference, reference),
        ("first reading, all in", first, reference),
        ("from the cache", cached, reference),
        ("multi_hot of 25,000 rows with loops", loops, loops),
        ("multi_hot of 25,000 rows", sets, loops),
    ]
    for name, seconds, against in lines:
        print(f"{name:<40} {seconds:8.3f} s   1/{against / seconds:.0f}")


if __name__ == "__main__":
    main()
