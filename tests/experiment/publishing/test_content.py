"""What is published of a run, whatever the tracker."""

from __future__ import annotations

import json
from pathlib import Path

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
    assert {file.name for file in content.files} >= {"run.json", "spec.yaml", "resolved.yaml", "history.csv"}
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
