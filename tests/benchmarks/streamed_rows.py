"""How much memory and time a table takes whose prepared rows are read from a file.

    python tests/benchmarks/streamed_rows.py --gigabytes 3 --folder /tmp/streamed

It writes a Parquet file of so many gigabytes of float32, trains on it with the rows in a file and, with
`--memory`, in memory as well, says how long an epoch took and what was held at the peak, and compares the
histories byte for byte. On the disk it takes three times the size of the table.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np

COLUMNS = 255
_ROW_GROUP = 100_000

SPEC = """
name: streamed
dataset: {{parquet: {{path: {table}, target: y}}}}
preprocessing: {{inputs: standardize}}
layers: [dense: {{units: {units}, activation: relu}}, dense: {{units: {units}, activation: relu}}, dense: 1]
loss: mse
optimizer: adam
metrics: [mae]
epochs: {epochs}
batch_size: 512
validation: {{holdout: {{fraction: 0.1, shuffle: true}}}}
linear_baseline: false
"""


def write_table(path: Path, gigabytes: float) -> int:
    """A table of normal numbers, and a number that follows from them; gives how many rows it has."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    rows = int(gigabytes * 1e9 / 4 / COLUMNS)
    rng = np.random.default_rng(0)
    names = [f"x{column}" for column in range(COLUMNS)]
    schema = pa.schema([*((name, pa.float32()) for name in names), ("y", pa.float32())])
    with pq.ParquetWriter(path, schema, compression="none", use_dictionary=False) as writer:
        for first in range(0, rows, _ROW_GROUP):
            x = rng.standard_normal((COLUMNS, min(_ROW_GROUP, rows - first)), np.float32)
            y = np.tanh(x[:8]).sum(0)
            writer.write_table(pa.table([*map(pa.array, x), pa.array(y)], schema))
    return rows


def train(spec: Path, place: str, folder: Path) -> tuple[int, int, list[float], bytes]:
    """Peak of resident memory, of that which is no file, seconds of each epoch, the history without them."""
    runs = folder / f"runs-{place}"
    process = subprocess.Popen(
        [sys.executable, "-m", "nnrun", "train", str(spec), "--runs-dir", str(runs)],
        env={**os.environ, "NNRUN_ROWS": place, "NNRUN_CACHE_DIR": str(folder / "cache")},
        stdout=subprocess.DEVNULL,
    )
    peaks = {"VmHWM": 0, "RssAnon": 0}

    def watch() -> None:
        while process.poll() is None:
            try:
                text = Path(f"/proc/{process.pid}/status").read_text()
            except OSError:
                return
            for line in text.splitlines():
                name, _, value = line.partition(":")
                if name in peaks:
                    peaks[name] = max(peaks[name], int(value.split()[0]) * 1024)
            time.sleep(0.05)

    watcher = threading.Thread(target=watch)
    watcher.start()
    if process.wait():
        raise SystemExit(f"nnrun ended with {process.returncode}")
    watcher.join()
    (history,) = runs.glob("*/history.csv")
    lines = history.read_bytes().splitlines()
    seconds = [float(line.rpartition(b",")[2]) for line in lines[1:]]
    return peaks["VmHWM"], peaks["RssAnon"], seconds, b"\n".join(line.rpartition(b",")[0] for line in lines)


def main() -> None:
    """Measure, and remove what was written."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--gigabytes", type=float, default=12.0)
    parser.add_argument("--folder", type=Path, required=True, help="made, and removed at the end")
    parser.add_argument("--epochs", type=int, default=2)
    parser.add_argument("--units", type=int, default=64, help="of each of two hidden layers")
    parser.add_argument("--memory", action="store_true", help="train with the rows in memory as well")
    options = parser.parse_args()
    options.folder.mkdir(parents=True)
    try:
        table, spec = options.folder / "table.parquet", options.folder / "streamed.yaml"
        rows = write_table(table, options.gigabytes)
        spec.write_text(SPEC.format(table=table, epochs=options.epochs, units=options.units))
        print(f"{rows:,} rows of {COLUMNS} numbers, {rows * COLUMNS * 4 / 1e9:.1f} GB as float32")
        found = {}
        for place in ("file", "memory") if options.memory else ("file",):
            began = time.perf_counter()
            found[place] = train(spec, place, options.folder)
            peak, anonymous, seconds, _ = found[place]
            print(
                f"rows in {place}: {peak / 1e9:.2f} GB at the peak, {anonymous / 1e9:.2f} GB of it no file; "
                f"epochs of {', '.join(f'{second:.1f}' for second in seconds)} s; "
                f"{time.perf_counter() - began:.0f} s in all",
                flush=True,
            )
        if len(found) == 2:
            ratio = min(found["file"][2]) / min(found["memory"][2])
            same = found["file"][3] == found["memory"][3]
            print(f"an epoch takes {ratio:.2f} times as long; the same history: {'yes' if same else 'NO'}")
    finally:
        shutil.rmtree(options.folder)


if __name__ == "__main__":
    main()
