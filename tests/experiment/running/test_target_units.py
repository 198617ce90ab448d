"""Scaled targets: the loss is of what they are scaled to; all that people read is in their own units."""

from __future__ import annotations

import json
from pathlib import Path
from statistics import NormalDist
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

import nnrun
from nnrun.errors import DataError
from nnrun.experiment.exporting.export import export_run
from nnrun.experiment.running.job import Settings
from nnrun.experiment.running.train import run_experiment
from nnrun.limits import cxx_compiler
from nnrun.records import find_run
from nnrun.spec import schema
from nnrun.spec.reading.load import load_spec
from nnrun.training.backends.choice import Policy
from tests.support.small_experiments import spec_text

ROWS = 60
SCALES: list[Any] = ["none", "standardize", "log1p", ["log1p", "standardize"], "quantile"]
METRICS = """
import torch

def mean_true(y_true, y_pred):
    return y_true.mean()

def zeros(y_true, y_pred):
    return (y_true == 0).double().mean()

def mape(y_true, y_pred):
    return ((y_true - y_pred) / (y_true + 1)).abs().mean()
"""


def amounts() -> pd.DataFrame:
    """A long-tailed amount, sometimes exactly 0."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(ROWS, 2))
    y = np.round(np.expm1(np.clip(2 + x @ [1.0, -0.5] + rng.normal(0, 0.3, ROWS), 0, None)), 2)
    return pd.DataFrame({"a": x[:, 0], "b": x[:, 1], "y": y})


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "own_metrics.py").write_text(METRICS)
    monkeypatch.syspath_prepend(tmp_path)
    amounts().to_csv(tmp_path / "rows.csv", index=False)
    return tmp_path


def trained(folder: Path, targets: Any, **changes: Any) -> nnrun.Run:
    names = ("mean_true", "zeros", "mape")
    own = [{"custom": {"object": f"own_metrics:{name}", "maximize": False}} for name in names]
    spec = {
        "name": "amounts",
        "dataset": {"csv": {"path": str(folder / "rows.csv"), "target": "y"}},
        "preprocessing": {"targets": targets},
        "layers": [{"dense": 1}],
        "loss": "mse",
        "metrics": ["mae", "mse", "rmse", "r2", *own],
        "epochs": 3,
        "batch_size": 16,
        "optimizer": {"adam": {"learning_rate": 0.1}},
        "validation": {"holdout": {"first": 20}},
        **changes,
    }
    path = folder / "spec.yaml"
    path.write_text(json.dumps(spec))
    return nnrun.train(path, runs_dir=folder / "runs", allow_custom=["own_metrics"])


@pytest.mark.parametrize("targets", SCALES, ids=str)
def test_metrics_see_the_target_s_own_values(folder: Path, targets: Any) -> None:
    run = trained(folder, targets)
    y = amounts()["y"].to_numpy()
    last = run.history.iloc[-1]
    assert last["mean_true"] == pytest.approx(y[20:].mean(), rel=1e-6)
    assert last["val_mean_true"] == pytest.approx(y[:20].mean(), rel=1e-6)
    assert last["val_zeros"] == pytest.approx((y[:20] == 0).mean())
    assert last["val_zeros"] > 0  # exactly 0 in spite of scaling
    predicted = predictions(folder, run)
    assert last["val_mae"] == pytest.approx(np.abs(y - predicted)[:20].mean(), rel=1e-4)
    assert last["val_mape"] == pytest.approx((np.abs(y - predicted) / (y + 1))[:20].mean(), rel=1e-4)
    spread = ((y[:20] - y[:20].mean()) ** 2).sum()
    assert last["val_r2"] == pytest.approx(1 - ((y - predicted)[:20] ** 2).sum() / spread, rel=1e-4)
    assert run.baseline["mae"] == pytest.approx(np.abs(y[:20] - np.median(y[20:])).mean(), rel=1e-6)
    assert run.baseline["rmse"] == pytest.approx(np.sqrt(((y[:20] - y[20:].mean()) ** 2).mean()), rel=1e-6)


def predictions(folder: Path, run: nnrun.Run) -> np.ndarray:
    found = nnrun.predict(run, amounts().drop(columns="y"))
    return np.asarray(found["prediction"], dtype=float)


@pytest.mark.parametrize("targets", SCALES[1:4], ids=str)
def test_the_loss_is_of_the_scaled_targets(folder: Path, targets: Any) -> None:
    run = trained(folder, targets)
    y, predicted = amounts()["y"].to_numpy(), predictions(folder, run)
    known, logs = y[20:], targets != "standardize"
    if logs:
        y, predicted, known = np.log1p(y), np.log1p(predicted), np.log1p(known)
    std = 1.0 if targets == "log1p" else known.std()
    expected = (((y - predicted) / std)[:20] ** 2).mean()
    assert run.history["val_loss"].iloc[-1] == pytest.approx(expected, rel=1e-4)


def test_the_loss_is_of_values_of_a_normal_distribution(folder: Path) -> None:
    """On a curve through quantiles of the training rows, as NumPy interpolates it."""
    run = trained(folder, {"quantile": {"n_quantiles": 7}})
    y, predicted = amounts()["y"].to_numpy(), predictions(folder, run)
    quantiles = np.quantile(y[20:], np.linspace(0, 1, 7))
    normal = np.clip([NormalDist().inv_cdf(rank) for rank in (1e-6, *(np.arange(1, 6) / 6), 1 - 1e-6)], -3, 3)
    true, found = (np.interp(values[:20], quantiles, normal) for values in (y, predicted))
    assert run.history["val_loss"].iloc[-1] == pytest.approx(((true - found) ** 2).mean(), rel=1e-4)
    assert predicted.min() >= y[20:].min() - 1e-9
    assert predicted.max() <= y[20:].max() + 1e-9


@pytest.mark.parametrize("targets", ["log1p", ["log1p", "standardize"], "quantile"], ids=str)
def test_evaluations_and_folds_are_in_own_units_too(folder: Path, targets: Any) -> None:
    run = trained(folder, targets, validation={"kfold": {"k": 3}}, metrics=["mae", "r2"])
    found = nnrun.evaluate(run, split="validation")
    last = run.history[run.history["epoch"] == 3]
    for name in ("loss", "mae", "r2"):
        assert found.scores[name] == pytest.approx(last[f"val_{name}"].mean(), rel=1e-5)
    residuals = found.analysis
    assert residuals is not None
    assert residuals.mae == pytest.approx(found.scores["mae"], rel=1e-4)  # type: ignore[union-attr]


@pytest.mark.skipif(cxx_compiler() is None, reason="there is no C++ compiler")
@pytest.mark.parametrize("targets", [["log1p", "standardize"], "quantile"], ids=str)
def test_c_plus_plus_and_pytorch_agree(folder: Path, targets: Any) -> None:
    trained(folder, targets, metrics=["mae", "r2"])
    loaded, found = load_spec(folder / "spec.yaml"), []
    policies: tuple[Policy, Policy] = ("on", "off")
    for policy in policies:
        run = run_experiment(loaded, Settings("train", folder / "runs", compile=policy))
        assert run.read_record().compiled == (policy == "on")
        found.append(run.read_history().drop(columns="seconds").to_numpy())
    assert found[0] == pytest.approx(found[1], rel=1e-4)


@pytest.mark.parametrize("targets", ["log1p", ["log1p", "standardize"], "quantile"], ids=str)
def test_a_program_predicts_in_own_units(folder: Path, targets: Any) -> None:
    run = trained(folder, targets, metrics=["mae"])
    path = folder / "network.pt2"
    export_run(find_run(run.id, folder / "runs"), path, "pt2")
    rows = torch.from_numpy(amounts()[["a", "b"]].to_numpy(np.float32).copy())
    found = torch.export.load(path).module()(rows)
    assert found.numpy()[:, 0] == pytest.approx(predictions(folder, run), rel=1e-4)


@pytest.mark.parametrize("value", [-1.0, -1.5])
def test_a_target_without_a_logarithm_is_refused(folder: Path, value: float) -> None:
    table = amounts()
    table.loc[33, "y"] = value
    table.to_csv(folder / "rows.csv", index=False)
    with pytest.raises(
        DataError, match=rf"Row 33 has the target {value:g}, and `targets: log1p` takes numbers"
    ):
        trained(folder, "log1p")


def test_the_list_is_short_for_a_component(tmp_path: Path) -> None:
    spec = spec_text(preprocessing={"targets": ["log1p", "standardize"]}).spec
    assert spec.preprocessing.targets == schema.Log1pTargets(standardize=True)
    assert spec_text(preprocessing={"targets": ["log1p"]}).spec.preprocessing.targets == schema.Log1pTargets()
