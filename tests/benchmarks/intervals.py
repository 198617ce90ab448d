"""How many new rows intervals and sets cover, on generated tables whose rows are drawn alike.

    python tests/benchmarks/intervals.py [--tables 200] [--level 0.9]

Each table has 400 training rows and 300 test rows, and is trained as 5 folds and as a holdout: numbers with
noise, whose spread grows with a column, and one of three classes that a row's columns make more or less
probable. What is printed is the coverage of the test rows by `nnrun evaluate --interval`, its mean over the
tables and how far apart the tables are.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import numpy as np

from nnrun.experiment.evaluating.evaluate import evaluate_run
from nnrun.experiment.running.job import Settings
from nnrun.experiment.running.train import run_experiment
from nnrun.records.run_record import CoverageRecord
from nnrun.spec.reading.load import load_spec_text

ROWS, TEST_ROWS, COLUMNS = 400, 300, 4
_SPEC = """
name: {kind}
dataset: {{npz: {kind}.npz}}
preprocessing: {{inputs: standardize{targets}}}
layers:
  - dense: {{units: 8, activation: relu}}
  - dense: {{units: {units}{activation}}}
loss: {loss}
optimizer: {{adam: 0.02}}
epochs: 20
batch_size: 32
validation: {validation}
"""
KINDS = {
    "numbers": {"targets": ", targets: standardize", "units": 1, "activation": "", "loss": "mse"},
    "classes": {
        "targets": "",
        "units": 3,
        "activation": ", activation: softmax",
        "loss": "sparse_categorical_crossentropy",
    },
}
VALIDATIONS = {"5 folds (CV+)": "{kfold: 5}", "holdout of 100 rows (split)": "{holdout: {first: 100}}"}


def arrays_of(kind: str, rng: np.random.Generator) -> dict[str, np.ndarray]:
    """A table of numbers or of classes: the rows of its training and its test set are drawn alike."""
    n = ROWS + TEST_ROWS
    x = rng.normal(size=(n, COLUMNS))
    slopes = rng.normal(size=(COLUMNS, 3))
    if kind == "numbers":
        y = x @ slopes[:, 0] + np.sin(2 * x[:, 0]) + rng.normal(size=n) * np.exp(x[:, 1] / 2)
    else:
        y = (x @ slopes + rng.gumbel(size=(n, 3))).argmax(axis=1)
    return {"x_train": x[:ROWS], "y_train": y[:ROWS], "x_test": x[ROWS:], "y_test": y[ROWS:]}


def coverage_of_table(kind: str, validation: str, seed: int, level: float, folder: Path) -> CoverageRecord:
    """Train on one table, and measure."""
    np.savez(folder / f"{kind}.npz", **arrays_of(kind, np.random.default_rng(seed)))  # type: ignore[arg-type]
    text = _SPEC.format(kind=kind, validation=validation, **KINDS[kind])
    loaded = load_spec_text(text, file=f"{kind}.yaml", base=folder, default_name=kind)
    run = run_experiment(loaded, Settings("kfold", folder / f"runs-{seed}"))
    (found,) = evaluate_run(run, mistakes=0, interval=level).coverage
    return found


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--tables", type=int, default=200)
    parser.add_argument("--level", type=float, default=0.9)
    asked = parser.parse_args()
    for kind in KINDS:
        for name, validation in VALIDATIONS.items():
            with tempfile.TemporaryDirectory() as folder:
                each = [
                    coverage_of_table(kind, validation, seed, asked.level, Path(folder))
                    for seed in range(asked.tables)
                ]
            shares = 100 * np.array([found.share for found in each])
            sizes = [found.width if found.classes is None else found.classes for found in each]
            error = shares.std(ddof=1) / np.sqrt(len(shares))
            print(
                f"{kind}, {name}: {shares.mean():.2f} % covered (± {1.96 * error:.2f} of the mean; tables "
                f"{np.quantile(shares, 0.05):.0f} to {np.quantile(shares, 0.95):.0f} %), "
                f"{'width' if kind == 'numbers' else 'classes'} {np.mean([s for s in sizes if s]):.2f}",
                flush=True,
            )


if __name__ == "__main__":
    main()
