"""What is published of a run, whatever the tracker."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pandas as pd
import pytest

import nnrun
from nnrun.errors import UsageError
from nnrun.experiment.publishing.content import content_of
from nnrun.records import RunDirectory


def test_what_a_run_of_folds_holds(folds: nnrun.Run, tmp_path: Path) -> None:
    content = content_of(RunDirectory(folds.path))
    assert content.experiment == "flats"
    assert content.params["layers[0].dense.units"] == "8"
    assert content.params["validation.kfold.k"] == "2"
    assert content.params["metrics"] == "[accuracy]"
    assert content.tags["nnrun.run"] == folds.id
    assert content.tags["nnrun.status"] == "completed"
    assert content.summary["best_val_loss"] == folds.best["val_loss"]
    assert content.summary["kept_val_loss"] == folds.kept["val_loss"]
    assert content.tags["nnrun.scores"] == (
        f"best_* are of epoch {folds.best_epoch}, the same for every fold; "
        "kept_* are of the weights that were kept and predict: epoch 3, the last and the best by val_loss"
    )
    assert content.summary["baseline_accuracy"] == folds.baseline["accuracy"]
    assert list(content.networks) == ["fold-0", "fold-1"]
    own = folds.history[folds.history["fold"] == 1]
    assert list(content.networks["fold-1"].columns["val_loss"]) == list(own["val_loss"])
    assert list(content.series.columns["val_loss_mean"]) == list(folds.history_mean["val_loss_mean"])
    assert content.started < content.series.times[0] <= content.series.times[-1]
    assert {file.name for file in content.files(tmp_path)} >= {
        "run.json",
        "spec.yaml",
        "resolved.yaml",
        "history.csv",
    }
    assert [figure.name for figure in content.figures(tmp_path)] == ["accuracy.png", "loss.png"]
    assert content.has_model


def test_the_digest_is_that_of_the_record(single: nnrun.Run) -> None:
    run = RunDirectory(single.path)
    before = content_of(run).digest
    assert content_of(run).digest == before
    nnrun.evaluate(single)
    assert content_of(run).digest != before


def test_a_run_that_trains_or_has_no_epoch_is_refused(single: nnrun.Run, tmp_path: Path) -> None:
    folder = tmp_path / single.id
    folder.mkdir()
    record = json.loads((single.path / "run.json").read_text())
    (folder / "run.json").write_text(json.dumps({**record, "status": "failed"}))
    (folder / "history.csv").write_text((single.path / "history.csv").read_text().splitlines()[0] + "\n")
    with pytest.raises(UsageError, match="ended before its first epoch had"):
        content_of(RunDirectory(folder))


def test_an_average_has_its_own_scores_and_no_others(folds: nnrun.Run) -> None:
    final = nnrun.final(folds, members="folds")
    content = content_of(RunDirectory(final.path))
    ensemble = RunDirectory(final.path).read_record().ensemble
    assert ensemble is not None
    of_model = {name for name in content.summary if name.startswith("out_of_fold_")}
    assert of_model == {"out_of_fold_loss", "out_of_fold_accuracy"}
    assert content.summary["out_of_fold_accuracy"] == ensemble.validation["accuracy"]
    assert not [name for name in content.summary if name.startswith(("best_", "last_", "kept_"))]
    said = content.tags["nnrun.scores"]
    assert said.startswith("out_of_fold_* are of the average. Out of fold: each of 60 rows is predicted by")
    assert said.endswith("The history is that of its networks, the mean of the folds.")
    assert "nnrun.verdict" not in content.tags
    assert content.tags["nnrun.verdict_of_folds"] == RunDirectory(folds.path).read_record().verdict


def test_a_mean_ends_where_the_first_fold_did(folds: nnrun.Run, tmp_path: Path) -> None:
    shutil.copytree(folds.path, folder := tmp_path / folds.id)
    history = pd.read_csv(folder / "history.csv")
    shorter = history[(history["fold"] != 1) | (history["epoch"] < 3)]
    shorter.to_csv(folder / "history.csv", index=False)
    content = content_of(RunDirectory(folder))
    assert list(content.series.epochs) == [1, 2]
    assert list(content.series.columns["val_loss_mean"]) == list(folds.history_mean["val_loss_mean"][:2])
    assert [list(content.networks[name].epochs) for name in content.networks] == [[1, 2, 3], [1, 2]]
