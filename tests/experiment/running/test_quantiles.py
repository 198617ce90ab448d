"""Several quantiles of one number: a unit for each, one target, metrics of the median."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import sklearn.metrics

from nnrun.experiment.evaluating.error_analysis import Residuals
from nnrun.experiment.evaluating.evaluate import evaluate_run
from nnrun.experiment.predicting.predict_split import SplitPredictions, predict_split
from nnrun.experiment.running.job import Settings
from nnrun.experiment.running.train import run_experiment
from nnrun.records import RunDirectory
from tests.support.small_experiments import REGRESSION, load_small, numbers

QUANTILES = [0.1, 0.5, 0.9]
ROWS = 21  # of the validation rows; each quantile of their targets is that of a row
SPEC: dict[str, Any] = {
    **REGRESSION,
    "layers": [{"dense": {"units": 8, "activation": "relu"}}, {"dense": 3}],
    "loss": {"quantile": {"quantiles": QUANTILES}},
    "optimizer": {"adam": 0.05},
    "metrics": ["mae", "r2", {"d2": 0.9}],
    "validation": {"holdout": {"first": ROWS}},
    "epochs": 30,
}


def trained(folder: Path, targets: str) -> RunDirectory:
    loaded = load_small(folder, SPEC, preprocessing={"inputs": "standardize", "targets": targets})
    return run_experiment(loaded, Settings("train", folder / "runs"))


@pytest.mark.parametrize("targets", ["none", "standardize"])
def test_scores_are_those_of_its_predictions(targets: str, tmp_path: Path) -> None:
    run = trained(tmp_path, targets)
    found = predict_split(run, "validation")
    assert isinstance(found, SplitPredictions)
    true, outputs = numbers()["y_train"][:ROWS], found.combined.outputs
    assert outputs.shape == (ROWS, 3)
    low, median, high = outputs.T
    last = run.read_record().last
    assert last["val_mae"] == pytest.approx(np.abs(true - median).mean(), rel=1e-4)
    assert last["val_r2"] == pytest.approx(sklearn.metrics.r2_score(true, median), rel=1e-4)
    expected = sklearn.metrics.d2_pinball_score(true, high, alpha=0.9)
    assert last["val_d2"] == pytest.approx(expected, rel=1e-4)
    scale = 1.0 if targets == "none" else numbers()["y_train"][ROWS:].std()
    pinball = [
        sklearn.metrics.mean_pinball_loss(true, of, alpha=q)
        for of, q in zip(outputs.T, QUANTILES, strict=True)
    ]
    assert last["val_loss"] == pytest.approx(np.mean(pinball) / scale, rel=1e-4)
    assert low.mean() < median.mean() < high.mean()


def test_the_baseline_knows_the_quantiles_of_the_training_targets(tmp_path: Path) -> None:
    run = trained(tmp_path, "none")
    y, true = numbers()["y_train"][ROWS:], numbers()["y_train"][:ROWS]
    best = [np.quantile(y, q, method="inverted_cdf") for q in QUANTILES]
    pinball = [
        sklearn.metrics.mean_pinball_loss(true, np.full(ROWS, of), alpha=q)
        for of, q in zip(best, QUANTILES, strict=True)
    ]
    scores = run.read_record().baseline
    assert scores["loss"] == pytest.approx(np.mean(pinball), rel=0.02)  # a quantile may lie between two rows
    assert scores["mae"] == pytest.approx(np.abs(true - np.median(y)).mean(), rel=1e-5)


def test_its_residuals_are_those_of_the_median(tmp_path: Path) -> None:
    run = trained(tmp_path, "none")
    found = evaluate_run(run, split="validation")
    assert isinstance(found.analysis, Residuals)
    assert found.analysis.mae == pytest.approx(run.read_record().last["val_mae"], rel=1e-4)
