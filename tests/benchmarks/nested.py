"""Nested scores of tables without anything to learn: rows of random numbers whose labels are drawn at random.

Whatever a sweep chooses there is chance. Its best validation score lies above chance all the same, for it is
the best of several; the score of the outer folds of nested cross-validation must not.

    TMPDIR=/dev/shm python tests/benchmarks/nested.py [--tables 200]

Prints the mean accuracy over all tables, with its 95 % interval, of the plain sweep's best trial, of what was
chosen within outer folds on the inner rows that chose it, and on the outer folds; and how many of the tables'
own intervals hold 0.5.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np

from nnrun.experiment.running.job import Settings
from nnrun.experiment.sweeping.sweep import run_sweep
from nnrun.records import SweepRecord
from nnrun.spec.sweep_plan import load_sweep
from nnrun.validation.summary import interval_of_mean

ROWS, FEATURES, K = 60, 5, 5
SPEC: dict[str, Any] = {
    "dataset": {"npz": "noise.npz"},
    "layers": [
        {"dense": {"units": 8, "activation": "relu"}},
        {"dense": {"units": 1, "activation": "sigmoid"}},
    ],
    "loss": "binary_crossentropy",
    "metrics": ["accuracy"],
    "epochs": 8,
    "batch_size": 8,
    "validation": {"holdout": {"fraction": 0.3, "stratify": True}},
    "sweep": {
        "over": {"optimizer": [{"adam": 0.003}, {"adam": 0.03}, {"adam": 0.1}]},
        "monitor": "val_accuracy",
    },
}


def swept(folder: Path, seed: int, nested: int | None) -> SweepRecord:
    """A sweep over one noise table, plain or within outer folds."""
    rng = np.random.default_rng(seed)
    arrays = {"x_train": rng.normal(size=(ROWS, FEATURES)), "y_train": rng.permutation(ROWS) % 2}
    np.savez(folder / "noise.npz", **arrays)  # type: ignore[arg-type]
    path = folder / "noise.yaml"
    path.write_text(json.dumps({**SPEC, "seed": seed, **({} if nested is None else {"nested": nested})}))
    return run_sweep(load_sweep(path), Settings("sweep", folder / "runs")).read_record()


def of_one_table(seed: int) -> tuple[float, float, float, bool]:
    """Accuracies of the plain best, of inner rows and of outer folds; whether their interval holds 0.5."""
    with tempfile.TemporaryDirectory() as folder:
        plain = swept(Path(folder), seed, None).ranked()[0].score
        nested = swept(Path(folder), seed, K).nested
    assert nested is not None
    assert plain is not None
    inner, outer = nested.inner["val_accuracy"], nested.scores["val_accuracy"]
    assert inner is not None
    assert outer is not None
    low, high = nested.interval["val_accuracy"]
    return plain, inner, outer, low <= 0.5 <= high


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--tables", type=int, default=200)
    tables = parser.parse_args().tables
    with patch("nnrun.experiment.sweeping.at_work.draw_sweep"):  # a third of the time, and nobody looks
        found = np.array([of_one_table(seed) for seed in range(tables)], float)
    print(f"accuracy on {tables} tables of noise, where chance is 0.5: mean, its 95 % interval")
    for place, name in enumerate(("plain sweep's best", "inner, chosen on", "outer folds")):
        mean, std = float(found[:, place].mean()), float(found[:, place].std(ddof=1))
        low, high = interval_of_mean(mean, std, tables)
        print(f"  {name:20} {mean:.4f}  {low:.4f} to {high:.4f}")
    print(f"the interval over outer folds holds 0.5 on {found[:, 3].mean():.0%} of the tables")


if __name__ == "__main__":
    main()
