"""pandas reads the large table of the benchmark and makes float32 rows of it, as a network takes them.

    python tests/benchmarks/peers/pandas_rows.py FILE

It is told every column's type, which makes it faster and halves its memory, and reads in chunks, so that the
frame and the rows never lie side by side. Prints {"read", "rows"}: seconds of processor time until all chunks
are read, and until their numbers are standardized beside one-hot categories.
"""

from __future__ import annotations

import json
import sys
import time

import numpy as np
import pandas as pd

CHUNK = 50_000


def main() -> None:
    path = sys.argv[1]
    header = pd.read_csv(path, nrows=1).columns
    types = {name: np.float32 if name.startswith("n") else "category" for name in header}
    numbers = [name for name in header if name.startswith("n")]
    categories = [name for name in header if name.startswith("c")]
    began = time.process_time()
    chunks = []
    for frame in pd.read_csv(path, dtype=types, chunksize=CHUNK):
        codes = [frame[name].cat.codes.to_numpy() for name in categories]
        levels = [frame[name].cat.categories for name in categories]
        chunks.append((frame[numbers].to_numpy(np.float32), codes, levels))
    read = time.process_time()
    first_levels = chunks[0][2]
    assert all(all(map(pd.Index.equals, levels, first_levels)) for _, _, levels in chunks)
    total, width = sum(len(x) for x, _, _ in chunks), len(numbers) + sum(map(len, first_levels))
    rows = np.zeros((total, width), np.float32)
    end = total
    while chunks:
        x, codes, levels = chunks.pop()
        start, place = end - len(x), len(numbers)
        rows[start:end, :place] = x
        for own, level in zip(codes, levels, strict=True):
            rows[np.arange(start, end), place + own] = 1
            place += len(level)
        end = start
    means = rows[:, : len(numbers)].mean(0, dtype=np.float64).astype(np.float32)
    deviations = rows[:, : len(numbers)].std(0, dtype=np.float64).astype(np.float32)
    for block in np.array_split(rows[:, : len(numbers)], max(1, total // CHUNK)):
        block -= means
        block /= deviations
    ended = time.process_time()
    print(json.dumps({"read": read - began, "rows": ended - began, "width": rows.shape[1]}))


if __name__ == "__main__":
    main()
