"""What an exported file says of intervals is what `nnrun predict --interval` gives, or which command does."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors import safe_open

import nnrun
from nnrun.experiment.exporting.export import Exported, export_run
from nnrun.experiment.finished.load_run import Access
from nnrun.experiment.running.job import Settings
from nnrun.experiment.running.train import run_experiment
from nnrun.records import RunDirectory
from nnrun.spec.ports import OUTPUT
from nnrun.validation.conformal import adaptive_scores
from tests.support.small_experiments import BINARY, KFOLD, REGRESSION, load_small, numbers

CLASSES: dict[str, Any] = {
    **REGRESSION,
    "layers": [{"dense": {"units": 3, "activation": "softmax"}}],
    "loss": "sparse_categorical_crossentropy",
    "metrics": [],
}


def train(folder: Path, spec: dict[str, Any] = REGRESSION, **changes: Any) -> RunDirectory:
    arrays = None
    if spec is CLASSES:
        arrays = numbers() | {"y_train": np.arange(48) % 3, "y_test": np.arange(12) % 3}
    loaded = load_small(folder, spec, arrays=arrays, **changes)
    return run_experiment(loaded, Settings("train", folder / "runs"))


def written(path: Path) -> dict[str, Any]:
    with safe_open(path, framework="np") as file:
        found: dict[str, Any] = json.loads(file.metadata()["intervals"])
    return found


def export(run: RunDirectory, access: Access | None = None) -> Exported:
    return export_run(run, run.path.parent / "m.safetensors", "safetensors", access or Access())


def test_half_the_width_of_the_intervals_of_numbers(tmp_path: Path) -> None:
    run = train(tmp_path)
    exported = export(run)
    found = written(exported.path)
    assert list(found["half_widths"]) == ["predictions"]
    assert list(found["half_widths"]["predictions"]) == ["0.8", "0.9"]  # 16 rows are too few for 0.95
    for level, (width,) in found["half_widths"]["predictions"].items():
        rows = nnrun.predict(run.path, split="test", interval=float(level))
        for end, sign in (("lower", -1), ("upper", 1)):
            distance = rows[f"prediction_{end}"] - rows["prediction"]
            assert distance.tolist() == pytest.approx([sign * width] * 12, rel=1e-4)
    assert found["text"].startswith(
        "intervals by split conformal prediction, from 16 validation rows: at least"
    )


@pytest.mark.parametrize("spec", [CLASSES, BINARY], ids=["classes", "binary"])
def test_how_far_the_sets_of_classes_reach(spec: dict[str, Any], tmp_path: Path) -> None:
    run = train(tmp_path, spec)
    exported = export(run)
    reaches = written(exported.path)["reaches"]["predictions"]
    for level, reach in reaches.items():
        rows = nnrun.predict(run.path, split="test", interval=float(level))
        columns = [name for name in rows if name.startswith("probability_")]
        names = [name.removeprefix("probability_") for name in columns]
        within = adaptive_scores(rows[columns].to_numpy()) <= reach + 1e-6
        sets = [";".join(n for n, there in zip(names, row, strict=True) if there) for row in within]
        assert sets == rows["prediction_set"].tolist()
    assert exported.outputs["predictions"].outputs == (3 if spec is CLASSES else 1)


def test_one_fold_has_those_of_its_own_rows_and_all_have_none(tmp_path: Path) -> None:
    run = train(tmp_path, validation=KFOLD)
    alone = export(run, Access(member="fold-1"))
    assert "split conformal prediction, from 16 validation rows" in written(alone.path)["text"]
    whole = nnrun.final(run.path, members="folds", runs_dir=tmp_path / "runs")
    exported = export(RunDirectory(whole.path))
    assert written(exported.path) == {
        "text": "none in this file: CV+ takes the errors and the networks of all folds; nnrun predict "
        f"{whole.id} --interval 0.9 gives them"
    }


def test_without_the_data_or_validation_there_are_none(tmp_path: Path) -> None:
    assert export(train(tmp_path, validation="none")).intervals is None
    run = train(tmp_path)
    (tmp_path / "small.npz").unlink()
    exported = export(run)
    assert written(exported.path)["text"].startswith("none in this file, since the data are not here")


def test_named_outputs_by_their_names(tmp_path: Path) -> None:
    arrays = numbers()
    np.savez(
        tmp_path / "a.npz",
        x_train=arrays["x_train"],
        size_train=arrays["y_train"],
        large_train=(arrays["y_train"] > np.median(arrays["y_train"])).astype(int),
    )
    (tmp_path / "a.yaml").write_text(
        """
dataset: {npz: {path: a.npz}}
inputs: {x: {preprocessing: standardize}}
layers:
  trunk: [from: x, dense: {units: 4, activation: relu}]
  size: [from: trunk, dense: 1]
  large: [from: trunk, dense: {units: 1, activation: sigmoid}]
outputs:
  size: {loss: mse}
  large: {loss: binary_crossentropy}
epochs: 1
validation: {holdout: {fraction: 0.4}}
"""
    )
    run = nnrun.train(tmp_path / "a.yaml", runs_dir=tmp_path / "runs")
    found = written(export(RunDirectory(run.path)).path)
    assert (list(found["half_widths"]), list(found["reaches"])) == (["size"], ["large"])
    assert OUTPUT not in found["half_widths"]
