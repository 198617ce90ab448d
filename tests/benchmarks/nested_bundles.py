"""How much faster a nested sweep is whose trials and outer folds train side by side, than one by one.

    TMPDIR=/dev/shm python tests/benchmarks/nested_bundles.py [--repeats 3]

Each line: a kind of sweep, the seconds with `together: 1`, those with the default, and their ratio; medians
of several runs in turn. The scores are the same but for how sums are rounded, which is checked here too.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np

from nnrun.experiment.running.job import Settings
from nnrun.experiment.sweeping.sweep import run_sweep
from nnrun.records import SweepRecord
from nnrun.spec.sweep_plan import load_sweep

ROWS, FEATURES = 400, 10
SPEC: dict[str, Any] = {
    "dataset": {"npz": "rows.npz"},
    "preprocessing": {"inputs": ["standardize"]},
    "layers": [{"dense": {"units": 16, "activation": "relu"}}, {"dense": 1}],
    "loss": "mse",
    "optimizer": {"adam": 0.01},
    "epochs": 20,
    "batch_size": 32,
}
KFOLD, HOLDOUT = {"kfold": {"k": 3, "shuffle": True}}, {"holdout": {"fraction": 0.25}}
RATE = "optimizer.adam.learning_rate"
GRID = {"over": {RATE: [0.001, 0.002, 0.005, 0.01, 0.02, 0.03, 0.05, 0.1]}}
TPE = {"method": "tpe", "trials": 6, "over": {RATE: {"log_uniform": [1e-3, 0.1]}}}
CLIPPED = {"gradient_clip": {"norm": 1.0}}  # which PyTorch computes, and our C++ does not
KINDS: dict[str, dict[str, Any]] = {
    "grid of 8, nested 5, inner 3 folds": {"nested": 5, "validation": KFOLD, "sweep": GRID},
    "grid of 8, nested 5, inner holdout": {"nested": 5, "validation": HOLDOUT, "sweep": GRID},
    "TPE of 6, nested 5, inner holdout": {"nested": 5, "validation": HOLDOUT, "sweep": TPE},
    "the same grid, steps by PyTorch": {"nested": 5, "validation": HOLDOUT, "sweep": GRID, **CLIPPED},
    "grid of 8, 3 folds, not nested": {"validation": KFOLD, "sweep": GRID},
}


def seconds_of(kind: dict[str, Any], folder: Path, **settings: Any) -> tuple[float, SweepRecord]:
    """How long a sweep takes, and its record."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(ROWS, FEATURES))
    y = x[:, 0] * x[:, 1] + rng.normal(size=ROWS)
    np.savez(folder / "rows.npz", x_train=x, y_train=y)
    path = folder / "rows.yaml"
    path.write_text(json.dumps({**SPEC, **kind, "sweep": {**kind["sweep"], **settings}}))
    began = time.perf_counter()
    record = run_sweep(load_sweep(path), Settings("sweep", folder / "runs", device="cpu")).read_record()
    return time.perf_counter() - began, record


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--repeats", type=int, default=3)
    repeats = parser.parse_args().repeats
    with patch("nnrun.experiment.sweeping.at_work.draw_sweep"):
        for name, kind in KINDS.items():
            seconds: dict[str, list[float]] = {"alone": [], "bundled": []}
            for _ in range(repeats):
                scores = []
                for how, settings in (("alone", {"together": 1}), ("bundled", {})):
                    with tempfile.TemporaryDirectory() as folder:
                        taken, record = seconds_of(kind, Path(folder), **settings)
                    seconds[how].append(taken)
                    scores.append([trial.score for trial in record.trials])
                np.testing.assert_allclose(*np.array(scores, float), rtol=1e-5)
            alone, bundled = (statistics.median(of) for of in seconds.values())
            print(
                f"{name:36} {alone:6.2f} s one by one  {bundled:6.2f} s side by side  {alone / bundled:4.1f}x"
            )


if __name__ == "__main__":
    main()
