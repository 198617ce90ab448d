"""Out-of-fold predictions: as arrays, and as the file that a run of folds or seeds keeps."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import nnrun
from nnrun.cli import main
from nnrun.errors import UsageError
from nnrun.experiment.finished.load_run import Access
from nnrun.experiment.predicting import out_of_fold as module
from nnrun.experiment.predicting.out_of_fold import out_of_fold
from nnrun.experiment.predicting.predict_split import predict_split
from nnrun.experiment.running import checkpointer
from nnrun.experiment.running.job import Settings
from nnrun.experiment.running.listener import Listener, StopTraining
from nnrun.experiment.running.resume import resume_run
from nnrun.experiment.running.train import run_experiment
from nnrun.experiment.setup.groups import Selection
from nnrun.records import RunDirectory
from nnrun.spec.ports import OUTPUT
from nnrun.training.loop import EpochRecord
from tests.support.small_experiments import (
    BINARY,
    KFOLD,
    REGRESSION,
    load_small,
    numbers,
    only_run,
    record_of,
    write_small,
)

CLASSES: dict[str, Any] = {
    **REGRESSION,
    "layers": [{"dense": {"units": 3, "activation": "softmax"}}],
    "loss": "sparse_categorical_crossentropy",
    "metrics": ["accuracy"],
}
SHUFFLED = {"kfold": {"k": 3, "shuffle": True}}
TWICE = {"kfold": {"k": 3, "shuffle": True, "repeats": 2}}

SEVERAL = """
dataset: {csv: {path: rows.csv}}
inputs: {numbers: {columns: [a, b], preprocessing: standardize}}
layers:
  trunk: [from: numbers, dense: {units: 8, activation: relu}]
  grade: [from: trunk, dense: {units: 3, activation: softmax}]
  size: [from: trunk, dense: 1]
  tags: [from: trunk, dense: {units: 2, activation: sigmoid}]
outputs:
  grade: {loss: categorical_crossentropy}
  size: {loss: mse, preprocessing: standardize}
  tags: {target: [red, new], loss: binary_crossentropy}
epochs: 2
validation: {kfold: {k: 3, shuffle: true}}
"""


def train(
    folder: Path, spec: dict[str, Any] = REGRESSION, selection: Selection | None = None, **changes: Any
) -> RunDirectory:
    arrays = numbers()
    if spec is CLASSES:
        arrays |= {"y_train": np.arange(48) % 3, "y_test": np.arange(12) % 3}
    loaded = load_small(folder, spec, arrays=None if spec is BINARY else arrays, **changes)
    return run_experiment(loaded, Settings("kfold", folder / "runs", selection=selection or Selection()))


def written(run: RunDirectory) -> list[list[str]]:
    """The fields of oof.csv as texts, the names first."""
    with (run.path / "oof.csv").open(newline="") as file:
        return list(csv.reader(file))


def predicted(run: RunDirectory, *more: str) -> list[list[str]]:
    """What `nnrun predict --split validation --probabilities` writes."""
    out = run.path.parent / "predicted.csv"
    arguments = ["predict", str(run.path), "--split", "validation", "-o", str(out), "-q", *more]
    assert main(arguments) == 0
    with out.open(newline="") as file:
        return list(csv.reader(file))


@pytest.mark.parametrize("spec", [REGRESSION, BINARY, CLASSES], ids=["numbers", "binary", "classes"])
@pytest.mark.parametrize("validation", [KFOLD, SHUFFLED], ids=["contiguous", "shuffled"])
def test_the_file_has_what_predict_gives(
    spec: dict[str, Any], validation: dict[str, Any], tmp_path: Path
) -> None:
    run = train(tmp_path, spec, validation=validation)
    names, *lines = written(run)
    assert names[:3] == ["row", "fold", "target"]
    assert [line[0] for line in lines] == list(map(str, range(48)))
    probabilities = () if spec is REGRESSION else ("--probabilities",)
    assert [[line[0], *line[2:]] for line in (names, *lines)] == predicted(run, *probabilities)
    for fold in range(3):
        own = predict_split(run, "validation", Access(member=f"fold-{fold}")).combined.rows
        assert [int(line[0]) for line in lines if line[1] == str(fold)] == own.tolist()


def test_the_arrays_are_the_outputs_of_the_network_that_did_not_train_on_the_row(tmp_path: Path) -> None:
    run = train(tmp_path, CLASSES, validation=SHUFFLED)
    found, whole = out_of_fold(run), predict_split(run, "validation")
    assert found.rows.tolist() == list(range(48))
    assert np.array_equal(found.outputs[OUTPUT], whole.combined.outputs)
    assert found.targets[OUTPUT].tolist() == [row % 3 for row in range(48)]
    assert found.decoders[OUTPUT].classes == (0, 1, 2)
    logits = out_of_fold(run, logits=True).outputs[OUTPUT]
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    assert powers / powers.sum(axis=1, keepdims=True) == pytest.approx(found.outputs[OUTPUT], abs=1e-12)
    assert logits.min() < 0 or logits.max() > 1


def test_repeats_give_a_row_once_for_each_fold_that_validated_it(tmp_path: Path) -> None:
    run = train(tmp_path, CLASSES, validation=TWICE)
    lines = written(run)[1:]
    pairs = [(int(row), int(fold)) for row, fold, *_ in lines]
    assert pairs == sorted(set(pairs))
    assert sorted(row for row, _ in pairs) == sorted([*range(48), *range(48)])
    assert all({fold // 3 for other, fold in pairs if other == row} == {0, 1} for row in range(48))
    found = out_of_fold(run)
    assert list(zip(found.rows.tolist(), found.members.tolist(), strict=True)) == pairs
    mean = found.outputs[OUTPUT].reshape(48, 2, 3).mean(axis=1)
    assert mean == pytest.approx(predict_split(run, "validation").combined.outputs)


def test_seeds_have_a_column_of_their_own(tmp_path: Path) -> None:
    run = train(tmp_path, selection=Selection(seeds=2))
    names, *lines = written(run)
    assert names == ["row", "seed", "target", "prediction"]
    assert [line[:2] for line in lines] == [[str(row), str(seed)] for row in range(16) for seed in (0, 1)]


def test_a_single_fold_has_its_own_rows_as_in_the_whole_run(tmp_path: Path) -> None:
    whole = written(train(tmp_path, validation=SHUFFLED))
    alone = written(train(tmp_path, selection=Selection(only_fold=1), validation=SHUFFLED))
    assert alone == [whole[0], *(line for line in whole[1:] if line[1] == "1")]


def test_a_run_of_one_network_keeps_no_file_and_gives_its_validation_rows(tmp_path: Path) -> None:
    run = train(tmp_path)
    assert not (run.path / "oof.csv").exists()
    found = out_of_fold(run)
    assert (found.rows.tolist(), set(found.members.tolist())) == (list(range(16)), {0})
    assert found.outputs[OUTPUT].shape == (16, 1)
    run = train(tmp_path, validation="none")
    with pytest.raises(UsageError, match="was trained on all training rows"):
        out_of_fold(run)


def test_several_outputs_and_rows_without_a_target(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    table = pd.DataFrame({"a": rng.normal(size=60), "b": rng.normal(size=60)})
    table["grade"] = np.array(["low", "mid", "top"], object)[np.digitize(table["a"], [-0.4, 0.4])]
    table["size"] = 1000 + 50 * table["b"]
    table["red"], table["new"] = (table["a"] > 0).astype(int), (table["b"] > 0).astype(int)
    table.loc[7, "size"] = None
    table.to_csv(tmp_path / "rows.csv", index=False)
    (tmp_path / "spec.yaml").write_text(SEVERAL)
    run = RunDirectory(nnrun.train(tmp_path / "spec.yaml", runs_dir=tmp_path / "runs").path)
    names, *lines = written(run)
    assert [[line[0], *line[2:]] for line in (names, *lines)] == predicted(run, "--probabilities")
    assert names[:5] == ["row", "fold", "file_row", "grade_target", "grade"]
    assert [line[names.index("size_target")] == "" for line in lines[6:9]] == [False, True, False]
    kept = pd.read_csv(run.path / "oof.csv")
    own = pd.read_csv(tmp_path / "rows.csv").iloc[kept["file_row"]]
    assert kept["grade_target"].tolist() == own["grade"].tolist()
    np.testing.assert_array_equal(kept["size_target"], own["size"])
    found = out_of_fold(run)
    assert (~found.present["size"]).nonzero()[0].tolist() == [7]
    assert found.outputs["size"].mean() == pytest.approx(1000, abs=100)


def test_outputs_with_steps(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(24, 6, 2)).astype(np.float32)
    np.savez(tmp_path / "small.npz", x_train=x, y_train=(x[..., 0] > 0).astype(int) + (x[..., 1] > 0))
    spec = {
        **CLASSES,
        "preprocessing": {},
        "layers": [{"gru": {"units": 4, "return_sequences": True}}, *CLASSES["layers"]],
        "validation": KFOLD,
    }
    (tmp_path / "small.yaml").write_text(json.dumps(spec))
    run = RunDirectory(nnrun.train(tmp_path / "small.yaml", runs_dir=tmp_path / "runs").path)
    names, *lines = written(run)
    assert [[line[0], *line[2:]] for line in (names, *lines)] == predicted(run)
    assert lines[0][2].count(";") == 5
    assert out_of_fold(run).outputs[OUTPUT].shape == (24, 6, 3)


def test_trials_keep_none(tmp_path: Path) -> None:
    path = write_small(tmp_path, validation=KFOLD)
    arguments = ["sweep", str(path), "--over", "seed=0,1", "--runs-dir", str(tmp_path / "runs"), "-q"]
    assert main(arguments) == 0
    assert len(list(tmp_path.rglob("history_mean.csv"))) == 2
    assert not list(tmp_path.rglob("oof.csv"))


def test_what_is_left_out_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST_OUT_OF_FOLD", 143)
    run = train(tmp_path, CLASSES, validation=KFOLD)
    assert record_of(run.path)["without_out_of_fold"] == (
        "oof.csv was left out: its rows have 144 outputs, and more than 143 are not kept with a run. "
        f"nnrun predict {run.id} --split validation writes the predictions."
    )
    assert not (run.path / "oof.csv").exists()
    monkeypatch.setattr(module, "MOST_OUT_OF_FOLD", 144)
    assert "without_out_of_fold" not in record_of(train(tmp_path, CLASSES, validation=KFOLD).path)


class _StopsAfter(Listener):
    """Interrupts after an epoch, and remembers the run."""

    def __init__(self, epoch: int) -> None:
        self.last = epoch
        self.run: RunDirectory | None = None

    def started(self, start: Any) -> None:
        self.run = start.run

    def epoch(self, record: EpochRecord) -> None:
        if record.epoch == self.last:
            raise StopTraining("enough")


def test_an_interrupted_run_has_none_and_a_resumed_one_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checkpointer, "EVERY_SECONDS", 0.0)
    monkeypatch.setattr(checkpointer, "COST_SHARE", 1e9)
    whole = written(train(tmp_path, validation=KFOLD))
    stopping, loaded = _StopsAfter(2), load_small(tmp_path, validation=KFOLD)
    with pytest.raises(StopTraining):
        run_experiment(loaded, Settings("kfold", tmp_path / "runs"), stopping)
    run = stopping.run
    assert run is not None
    assert not (run.path / "oof.csv").exists()
    with pytest.raises(UsageError, match="its status is interrupted, and its networks have not been trained"):
        out_of_fold(run)
    assert resume_run(run)
    assert written(run) == whole
    # Extended, and stopped again: the predictions of the weights that it had before are gone.
    with pytest.raises(StopTraining):
        resume_run(run, overrides=("epochs=6",), listener=_StopsAfter(4))
    assert not (run.path / "oof.csv").exists()
    assert resume_run(run)
    assert written(run) == written(train(tmp_path, validation=KFOLD, epochs=6)) != whole


def test_the_model_of_all_folds_has_those_of_its_parent(tmp_path: Path) -> None:
    parent = train(tmp_path, CLASSES, validation=SHUFFLED)
    runs = tmp_path / "final"
    arguments = ["final", str(parent.path), "--members", "folds", "--runs-dir", str(runs), "-q"]
    assert main(arguments) == 0
    run = RunDirectory(only_run(runs))
    assert written(run) == written(parent)
    assert np.array_equal(out_of_fold(run).outputs[OUTPUT], out_of_fold(parent).outputs[OUTPUT])
