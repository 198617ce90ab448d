"""How much memory and time data take whose prepared rows are read from a file.

    python tests/benchmarks/streamed_rows.py --kind table --gigabytes 3 --folder /tmp/streamed

It writes so many gigabytes of float32 as a Parquet file (`table`) or an npz (`npz`, with `--compressed` a
compressed one), or so many of pixels as a folder of JPEG files (`images`), trains on them with the rows in a
file and, with `--memory`, in memory as well, says how long an epoch took and what was held at the peak, and
compares the histories byte for byte. On the disk a table or an npz takes three times its size, images little
more than once.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import threading
import time
import zipfile
from pathlib import Path

import numpy as np

COLUMNS = 255
_ROW_GROUP = 100_000

SIDE = 64  # pixels of an image

SPEC = """
name: streamed
dataset: {dataset}
preprocessing: {{inputs: standardize}}
layers:
{first}  - dense: {{units: {units}, activation: relu}}
  - dense: {{units: {units}, activation: relu}}
  - {last}
loss: {loss}
optimizer: adam
metrics: [{metric}]
epochs: {epochs}
batch_size: 512
validation: {{holdout: {{fraction: 0.1, shuffle: true}}}}
linear_baseline: false
"""
NUMBERS = {"first": "", "last": "dense: 1", "loss": "mse", "metric": "mae"}
CLASSES = {
    "first": "  - flatten\n",
    "last": "dense: {units: 2, activation: softmax}",
    "loss": "sparse_categorical_crossentropy",
    "metric": "accuracy",
}


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


def write_npz(path: Path, gigabytes: float, compressed: bool) -> int:
    """The same numbers as arrays; gives how many rows they have."""
    rows = int(gigabytes * 1e9 / 4 / COLUMNS)
    rng = np.random.default_rng(0)
    x = np.lib.format.open_memmap(path.with_suffix(".npy"), "w+", np.float32, (rows, COLUMNS))
    y = np.empty(rows, np.float32)
    for first in range(0, rows, _ROW_GROUP):
        part = rng.standard_normal((min(_ROW_GROUP, rows - first), COLUMNS), np.float32)
        x[first : first + len(part)] = part
        y[first : first + len(part)] = np.tanh(part[:, :8]).sum(1)
    x.flush()
    np.save(path.with_name("y.npy"), y)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED if compressed else zipfile.ZIP_STORED) as archive:
        archive.write(path.with_suffix(".npy"), "x_train.npy", compresslevel=1)
        archive.write(path.with_name("y.npy"), "y_train.npy")
    path.with_suffix(".npy").unlink()
    return rows


def write_images(folder: Path, gigabytes: float) -> int:
    """JPEG files of noise, brighter in one of two classes; gives how many there are."""
    from PIL import Image

    rows = int(gigabytes * 1e9 / (SIDE * SIDE * 3))
    rng = np.random.default_rng(0)
    for row in range(rows):
        place = folder / f"class{row % 2}"
        place.mkdir(parents=True, exist_ok=True)
        coarse = rng.integers(0, 216, (8, 8, 3), np.uint8) + np.uint8(20 * (row % 2))
        image = Image.fromarray(coarse).resize((SIDE, SIDE))
        image.save(place / f"{row:07}.jpg")
    return rows


def written(options: argparse.Namespace) -> str:
    """The data, written; gives the spec."""
    folder, gigabytes = options.folder, options.gigabytes
    if options.kind == "images":
        rows, of_row = write_images(folder / "images", gigabytes), SIDE * SIDE * 3
        print(f"{rows:,} images of {SIDE} x {SIDE} pixels, {rows * of_row / 1e9:.1f} GB as bytes")
        dataset = f"{{image_folder: {{path: {folder / 'images'}, size: [{SIDE}, {SIDE}]}}}}"
    else:
        if options.kind == "table":
            rows = write_table(folder / "table.parquet", gigabytes)
            dataset = f"{{parquet: {{path: {folder / 'table.parquet'}, target: y}}}}"
        else:
            rows = write_npz(folder / "arrays.npz", gigabytes, options.compressed)
            dataset = f"{{npz: {folder / 'arrays.npz'}}}"
        print(f"{rows:,} rows of {COLUMNS} numbers, {rows * COLUMNS * 4 / 1e9:.1f} GB as float32")
    parts = CLASSES if options.kind == "images" else NUMBERS
    return SPEC.format(dataset=dataset, epochs=options.epochs, units=options.units, **parts)


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
    parser.add_argument("--kind", choices=("table", "npz", "images"), default="table")
    parser.add_argument("--compressed", action="store_true", help="a compressed npz, of 2 GB at most")
    parser.add_argument("--gigabytes", type=float, default=12.0)
    parser.add_argument("--folder", type=Path, required=True, help="made, and removed at the end")
    parser.add_argument("--epochs", type=int, default=2)
    parser.add_argument("--units", type=int, default=64, help="of each of two hidden layers")
    parser.add_argument("--memory", action="store_true", help="train with the rows in memory as well")
    options = parser.parse_args()
    options.folder.mkdir(parents=True)
    try:
        spec = options.folder / "streamed.yaml"
        spec.write_text(written(options))
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
