"""A sweep by one process and by workers: `python tests/benchmarks/workers.py [--trials 24] [--workers 1 2]`.

Trials train one at a time (`together: 1`), as those of large networks do. Printed are the seconds of the
whole command, the imports of each process included, and whether all histories are the same bytes.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

SPEC = """
dataset: {npz: rows.npz}
layers: [dense: {units: 128, activation: relu}, dense: {units: 128, activation: relu}, dense: 1]
loss: mse
optimizer: adam
epochs: 10
batch_size: 64
validation: {holdout: {fraction: 0.2}}
sweep:
  method: random
  trials: TRIALS
  together: 1
  over: {optimizer.adam.learning_rate: {log_uniform: [1e-4, 1e-2]}}
"""


def main() -> None:
    """Time each number of workers."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--trials", type=int, default=24)
    parser.add_argument("--workers", type=int, nargs="*", default=[1, 2])
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        rng = np.random.default_rng(0)
        x = rng.normal(size=(4000, 32)).astype("float32")
        np.savez(folder / "rows.npz", x_train=x, y_train=(x[:, 0] * x[:, 1] + x[:, 2]).astype("float32"))
        (folder / "spec.yaml").write_text(SPEC.replace("TRIALS", str(asked.trials)))
        alone = _timed(folder, "one process", [])
        for count in asked.workers:
            found = _timed(folder, f"{count} workers", ["--workers", str(count)])
            print("  the same histories" if found == alone else "  other histories")
        print(f"on {os.cpu_count()} CPUs, load {os.getloadavg()[0]:.1f}")


def _timed(folder: Path, name: str, options: list[str]) -> dict[int, list[str]]:
    runs = folder / name.replace(" ", "-")
    command = [
        sys.executable,
        "-m",
        "nnrun",
        "sweep",
        "spec.yaml",
        "--runs-dir",
        str(runs),
        "-q",
        "--device",
        "cpu",
    ]
    began = time.perf_counter()
    subprocess.run([*command, *options], cwd=folder, check=True, stdout=subprocess.DEVNULL)
    print(f"{name}: {time.perf_counter() - began:.1f} s", flush=True)
    found = {}
    for path in runs.glob("*/run.json"):
        lines = (path.parent / "history.csv").read_text().splitlines()
        number = json.loads(path.read_text())["trial"]["number"]
        found[number] = [line.rpartition(",")[0] for line in lines]
    return found


if __name__ == "__main__":
    main()
