"""What `calibrate` and `threshold` are worth on an overfitted network, by rows whose truth is known.

    python tests/benchmarks/calibration.py [--tables 20]

Each table has 300 training rows, about one in six of a rare class, 20 columns of which three matter, and 4000
test rows. A network of 128 units learns the training rows by heart in 5 folds. For each method the mean over
the tables of log loss and expected calibration error on the test rows, with the standard error: of the single
networks, since a calibration is fitted on what these say, and of the mean of the five. Beside it stands what
the run itself says, cross-fitted, which should agree with the single networks' on the test rows. The last
lines are of the threshold. About a minute and a half on one core for 20 tables.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from nnrun.experiment.evaluating.error_analysis import calibrate
from nnrun.experiment.finished.load_run import Access
from nnrun.experiment.predicting.open_run import open_run
from nnrun.experiment.running.job import Settings
from nnrun.experiment.running.train import run_experiment
from nnrun.spec.reading.load import load_spec_text
from nnrun.validation.calibration import decision_score

METHODS = (None, "temperature", "platt", "isotonic")


def table(seed: int, train: int = 300, test: int = 4000) -> dict[str, np.ndarray]:
    """Rows with a logit that follows from three of twenty columns."""
    rng = np.random.RandomState(seed)
    x = rng.normal(size=(train + test, 20))
    logit = 1.2 * x[:, 0] - 0.8 * x[:, 1] + 0.6 * x[:, 2] - 2.2
    y = (rng.uniform(size=len(x)) < 1 / (1 + np.exp(-logit))).astype(int)
    return {"x_train": x[:train], "y_train": y[:train], "x_test": x[train:], "y_test": y[train:]}


def spec(method: str | None) -> str:
    """An overfitted network, in 5 folds."""
    keys: dict[str, Any] = {
        "dataset": {"npz": "table.npz"},
        "layers": [
            {"dense": {"units": 128, "activation": "relu"}},
            {"dense": {"units": 1, "activation": "sigmoid"}},
        ],
        "loss": "binary_crossentropy",
        "optimizer": {"adam": {"learning_rate": 0.01}},
        "epochs": 40,
        "validation": {"kfold": {"k": 5, "shuffle": True, "stratify": True}},
        "threshold": {"maximize": "f1"},
    }
    return json.dumps({**keys, **({} if method is None else {"calibrate": method})})


def scores(p: np.ndarray, y: np.ndarray) -> tuple[float, float]:
    """Log loss and expected calibration error."""
    likely = np.clip(np.where(y == 1, p, 1 - p), 1e-15, 1)
    return float(-np.log(likely).mean()), calibrate(np.stack([1 - p, p], 1), y).error


def measure(folder: Path, seed: int, method: str | None) -> dict[str, float]:
    """One table, one method: what test rows say of it, and what the run says itself."""
    arrays = table(seed)
    np.savez(folder / "table.npz", **arrays)  # type: ignore[arg-type]
    loaded = load_spec_text(spec(method), file="table", base=folder, default_name="table")
    run = run_experiment(loaded, Settings("kfold", folder / "runs", compile="off"))
    opened, y = open_run(run, Access()), arrays["y_test"]
    assert opened.dataset.test is not None
    each = [opened.outputs(network, opened.dataset.test)[:, 0] for network in opened.networks]
    alone = np.mean([scores(p, y) for p in each], axis=0)
    together = scores(np.mean(each, axis=0), y)
    threshold = opened.spec.threshold
    assert threshold is not None
    assert threshold.at is not None
    (told,) = run.read_record().decisions
    of_run = {"said_f1": told.score["after"]}
    if method is not None:
        of_run |= {"said_log_loss": told.log_loss["after"], "said_error": told.calibration_error["after"]}
    return {
        "log_loss": alone[0],
        "error": alone[1],
        "log_loss_of_mean": together[0],
        "error_of_mean": together[1],
        "f1_at_half": float(np.mean([decision_score("f1", p > 0.5, y) for p in each])),
        "f1": float(np.mean([decision_score("f1", p > threshold.at, y) for p in each])),
        "same_rows_f1": told.score["same_rows"] or np.nan,
        **{name: np.nan if value is None else value for name, value in of_run.items()},
    }


def main() -> None:
    """Measure all, and print the means."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tables", type=int, default=20)
    tables = parser.parse_args().tables
    names = ["log_loss", "said_log_loss", "error", "said_error", "log_loss_of_mean", "error_of_mean"]
    print(f"{tables} tables, mean ± standard error; said: by the run itself, cross-fitted")
    print("calibrate    " + "  ".join(f"{name:>17}" for name in names))
    f1: list[str] = []
    for method in METHODS:
        found: list[dict[str, float]] = []
        for seed in range(tables):
            with tempfile.TemporaryDirectory() as folder:
                found.append(measure(Path(folder), seed, method))
        cells = [_cell([each.get(name, np.nan) for each in found]) for name in names]
        print(f"{method or 'none':<13}" + "  ".join(f"{cell:>17}" for cell in cells), flush=True)
        columns = ("f1_at_half", "f1", "said_f1", "same_rows_f1")
        cells = [f"{name} {_cell([each[name] for each in found])}" for name in columns]
        f1.append(f"threshold after {method or 'none'}: {', '.join(cells)}")
    print("\n".join(f1))


def _cell(values: list[float]) -> str:
    if np.isnan(values).all():
        return ""
    return f"{np.mean(values):.4f} ± {np.std(values, ddof=1) / len(values) ** 0.5:.4f}"


if __name__ == "__main__":
    main()
