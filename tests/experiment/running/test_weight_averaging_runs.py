"""Runs with `weight_averaging`: their scores, kept weights and predictions are those of the average."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from nnrun.experiment.evaluating.evaluate import evaluate_run
from nnrun.experiment.predicting.open_run import Access
from nnrun.experiment.running.final import final_of_run
from nnrun.experiment.running.job import Settings
from nnrun.experiment.running.train import run_experiment
from nnrun.experiment.setup.groups import Selection
from nnrun.records import RunDirectory
from tests.support.small_experiments import REGRESSION, load_small

NORMALIZED: dict[str, Any] = {"layers": [{"dense": 8}, "batch_normalization", {"dense": 1}]}


def trained(
    folder: Path, only_fold: int | None = None, seeds: int | None = None, **changes: Any
) -> RunDirectory:
    loaded = load_small(folder, REGRESSION, **{"optimizer": {"adamw": 0.05}, "epochs": 6, **changes})
    selection = Selection(only_fold=only_fold, seeds=seeds)
    return run_experiment(loaded, Settings("train", folder / "runs", selection=selection))


@pytest.mark.parametrize("layers", [{}, NORMALIZED], ids=["dense", "normalized"])
@pytest.mark.parametrize("averaging", ["ema", {"swa": 3}])
def test_training_is_as_without_and_validation_is_not(
    averaging: Any, layers: dict[str, Any], tmp_path: Path
) -> None:
    plain, run = trained(tmp_path, **layers), trained(tmp_path, weight_averaging=averaging, **layers)
    mine, theirs = run.read_history(), plain.read_history()
    assert mine[["loss", "mae"]].to_numpy() == pytest.approx(theirs[["loss", "mae"]].to_numpy(), rel=1e-5)
    assert (mine["val_loss"] != theirs["val_loss"]).iloc[3:].all()
    last, others = run.read_weights(), plain.read_weights()
    assert all((last[name] != others[name]).any() for name in last)


@pytest.mark.parametrize("averaging", ["ema", {"swa": 2}])
@pytest.mark.parametrize("which", ["last", "best"])
def test_kept_weights_score_what_the_history_says(averaging: Any, which: Any, tmp_path: Path) -> None:
    run = trained(tmp_path, weight_averaging=averaging, epochs=20, **NORMALIZED)
    epoch = run.read_kept_weights(None, which).epoch
    assert epoch is not None
    (found,) = evaluate_run(run, Access(weights=which), split="validation").members
    expected = run.read_history()["val_loss"].iloc[epoch.epoch - 1]
    assert found.scores["loss"] == pytest.approx(expected, rel=1e-6)


def test_restored_are_the_averages_of_the_best_epoch(tmp_path: Path) -> None:
    stopping = {"patience": 2, "restore_best": True}
    run = trained(tmp_path, weight_averaging={"ema": 0.9}, early_stopping=stopping, epochs=60)
    table = run.read_history()
    kept = run.read_kept_weights(None, "last").epoch
    assert kept is not None
    assert kept.epoch == int(table["val_loss"].argmin()) + 1
    (found,) = evaluate_run(run, split="validation").members
    assert found.scores["loss"] == pytest.approx(table["val_loss"].min(), rel=1e-6)


@pytest.mark.parametrize("averaging", ["ema", {"swa": 2}])
def test_a_fold_alone_is_as_beside_others(averaging: Any, tmp_path: Path) -> None:
    """Folds of a time series have different numbers of steps, and so different decays."""
    changes = {"validation": {"time_series": 3}, "weight_averaging": averaging, "batch_size": 2}
    together = trained(tmp_path, **changes)
    for number, member in enumerate(together.members()):
        alone = trained(tmp_path, number, **changes)
        for name, value in together.read_weights(member).items():
            np.testing.assert_allclose(alone.read_weights(member)[name], value, rtol=1e-5, atol=1e-6)


def test_an_average_begins_where_the_spec_s_share_of_the_epochs_says(tmp_path: Path) -> None:
    """And where it began stays where it is in a final run of fewer epochs."""
    run = trained(tmp_path, weight_averaging="swa", epochs=20)
    assert "weight_averaging: {swa: {start: 16.0}}" in run.read_resolved()
    final = final_of_run(run, Settings("final", tmp_path / "runs"), epochs=12)
    assert "weight_averaging: {swa: {start: 16.0}}" in final.read_resolved()


def test_specs_without_it_are_written_as_before(tmp_path: Path) -> None:
    assert "weight_averaging" not in trained(tmp_path).read_resolved()
