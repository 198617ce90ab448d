"""Whole runs of outputs with steps, and of classes read from steps."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

import nnrun
from nnrun.errors import DataError
from nnrun.experiment.exporting.export import export_run
from nnrun.experiment.running.job import Settings
from nnrun.experiment.running.listener import Listener, StopTraining
from nnrun.experiment.running.resume import resume_run
from nnrun.experiment.running.train import run_experiment
from nnrun.records import RunDirectory
from nnrun.spec.reading.load import load_spec
from nnrun.training.loop import EpochRecord
from tests.support.small_experiments import record_of

STEPS = 6


class StopsAfterOne(Listener):
    """Interrupts after the first epoch, and remembers the run."""

    run: RunDirectory | None = None

    def started(self, start: Any) -> None:
        self.run = start.run

    def epoch(self, record: EpochRecord) -> None:
        raise StopTraining("enough")


READ: dict[str, Any] = {
    "layers": [{"lstm": {"units": 6, "bidirectional": True, "return_sequences": True}}, {"dense": 4}],
    "loss": "ctc",
    "metrics": ["character_error_rate"],
}
TAGGED: dict[str, Any] = {
    "layers": [
        {"gru": {"units": 8, "return_sequences": True}},
        {"dense": {"units": 3, "activation": "softmax"}},
    ],
    "loss": "sparse_categorical_crossentropy",
    "metrics": ["accuracy"],
}
MASKED: dict[str, Any] = {
    **TAGGED,
    "preprocessing": {"inputs": {"pad": {"length": STEPS, "side": "post"}}},
    "layers": [{"embedding": {"output_dim": 5, "mask_zero": True}}, *TAGGED["layers"]],
}


def arrays(kind: str) -> dict[str, Any]:
    """60 rows of numbers (STEPS, 3) with a class a step, or a list to read; or of words with a class each."""
    rng = np.random.default_rng(4)
    x = rng.normal(size=(60, STEPS, 3)).astype(np.float32)
    if kind == "tagged":
        return {"x_train": x, "y_train": x.argmax(-1)}
    lists = [list(map(int, rng.integers(1, 4, rng.integers(1, STEPS // 2 + 1)))) for _ in range(60)]
    ragged = np.empty(60, object)
    ragged[:] = lists
    if kind == "read":
        return {"x_train": x, "y_train": ragged}
    tags = np.zeros((60, STEPS), np.int64)
    for row, words in enumerate(lists):
        tags[row, : len(words)] = [word % 3 for word in words]
    return {"x_train": ragged, "y_train": tags}


KINDS = {"read": READ, "tagged": TAGGED, "masked": MASKED}


def write(folder: Path, kind: str, **changes: Any) -> Path:
    spec = {
        "dataset": {"npz": "data.npz"},
        "optimizer": {"adam": 0.02},
        "epochs": 3,
        "batch_size": 16,
        "validation": {"holdout": {"first": 20}},
        **KINDS[kind],
        **changes,
    }
    np.savez(folder / "data.npz", **changes.pop("arrays", arrays(kind)))
    spec.pop("arrays", None)
    (folder / "spec.yaml").write_text(yaml.safe_dump(spec), encoding="utf-8")
    return folder / "spec.yaml"


@pytest.mark.parametrize("kind", KINDS)
def test_a_run_is_trained_evaluated_and_predicts(kind: str, tmp_path: Path) -> None:
    run = nnrun.train(write(tmp_path, kind), runs_dir=tmp_path / "runs")
    last = run.history.iloc[-1]
    assert last["loss"] < run.history.iloc[0]["loss"]
    evaluated = nnrun.evaluate(run, split="validation").scores
    for name, value in evaluated.items():
        assert value == pytest.approx(last[f"val_{name}"], rel=1e-5), name
    predicted = nnrun.predict(run, split="validation")
    assert len(predicted) == 20
    true, found = (
        [list(map(int, text.split(";"))) if text else [] for text in predicted[column]]
        for column in ("target", "prediction")
    )
    assert true == [list(map(int, row)) for row in arrays(kind)["y_train"][:20]]
    if kind == "tagged":
        assert np.mean(np.array(found) == np.array(true)) == pytest.approx(evaluated["accuracy"])
    baseline = record_of(run.path)["baseline"]
    assert (set(baseline) >= {"loss", "accuracy"}) is (kind == "tagged")


def test_masked_steps_have_no_part_in_loss_and_metrics(tmp_path: Path) -> None:
    """The same with nonsense as the targets of padding."""
    run = nnrun.train(write(tmp_path, "masked"), runs_dir=tmp_path / "runs")
    given = arrays("masked")
    lengths = np.array([len(words) for words in given["x_train"]])
    given["y_train"][np.arange(STEPS) >= lengths[:, None]] = 2
    again = nnrun.train(write(tmp_path, "masked", arrays=given), runs_dir=tmp_path / "runs")
    columns = ["loss", "accuracy", "val_loss", "val_accuracy"]
    assert run.history[columns].equals(again.history[columns])


@pytest.mark.parametrize("kind", KINDS)
def test_folds_together_are_each_fold_alone(kind: str, tmp_path: Path) -> None:
    path = write(tmp_path, kind, validation={"kfold": 3})
    together = nnrun.train(path, runs_dir=tmp_path / "runs")
    alone = nnrun.kfold(path, k=3, fold=1, runs_dir=tmp_path / "runs")
    own = together.history[together.history["fold"] == 1]
    for column in ("loss", "val_loss"):
        assert own[column].tolist() == pytest.approx(alone.history[column].tolist(), rel=1e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_a_run_in_two_parts_is_the_run_in_one(kind: str, tmp_path: Path) -> None:
    loaded = load_spec(write(tmp_path, kind))
    whole = nnrun.Run(run_experiment(loaded, Settings("train", tmp_path / "whole")).path)
    listener = StopsAfterOne()
    with pytest.raises(StopTraining):
        run_experiment(loaded, Settings("train", tmp_path / "stopped"), listener)
    assert listener.run is not None
    assert resume_run(listener.run)
    resumed = nnrun.Run(listener.run.path)
    columns = [name for name in whole.history.columns if name != "seconds"]
    assert resumed.history[columns].equals(whole.history[columns])
    for name, value in whole.weights().items():
        assert np.array_equal(value, resumed.weights()[name]), name


@pytest.mark.parametrize("kind", KINDS)
def test_an_exported_network_gives_the_same(kind: str, tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime")
    run = nnrun.train(write(tmp_path, kind), runs_dir=tmp_path / "runs")
    exported = export_run(RunDirectory(run.path), tmp_path / "network.onnx", "onnx")
    assert exported.difference < 1e-5


def test_what_ctc_cannot_read_is_told_before_training(tmp_path: Path) -> None:
    given = arrays("read")
    given["y_train"][7] = [1, 1, 1, 1]
    with pytest.raises(DataError, match=r"Row 7 .* 4 classes .* needs 7 steps .* gives 6: its loss is inf"):
        nnrun.train(write(tmp_path, "read", arrays=given), runs_dir=tmp_path / "runs")
    given["y_train"][7] = [1, 4]
    with pytest.raises(DataError, match="Row 7 has the target 4 at place 1, but the last layer has 4 units"):
        nnrun.train(write(tmp_path, "read", arrays=given), runs_dir=tmp_path / "runs")
    given["y_train"][7] = [1, 0]
    with pytest.raises(DataError, match=r"holds 0 in row 7\. Lists of classes hold integers from 1"):
        nnrun.train(write(tmp_path, "read", arrays=given), runs_dir=tmp_path / "runs")


def test_targets_that_have_no_steps_or_others_are_refused(tmp_path: Path) -> None:
    given = arrays("tagged")
    given["y_train"] = given["y_train"][:, :4]
    with pytest.raises(DataError, match=r"one class for each of 6 steps, .* rows have 4 targets each"):
        nnrun.train(write(tmp_path, "tagged", arrays=given), runs_dir=tmp_path / "runs")
    layers = [{"gru": 8}, {"dense": {"units": 3, "activation": "softmax"}}]
    with pytest.raises(DataError, match="have 6 classes each, and the last layer gives 3 numbers per row"):
        nnrun.train(write(tmp_path, "tagged", layers=layers), runs_dir=tmp_path / "runs")


def test_a_sequence_of_single_characters_is_predicted_as_a_text(tmp_path: Path) -> None:
    spec = {"dataset": {"digit_lines": {"rows": 40, "test_rows": 5}}, **READ, "epochs": 1}
    spec["validation"] = {"holdout": {"first": 10}}
    spec["layers"] = [READ["layers"][0], {"dense": 11}]
    (tmp_path / "lines.yaml").write_text(yaml.safe_dump(spec), encoding="utf-8")
    run = nnrun.train(tmp_path / "lines.yaml", runs_dir=tmp_path / "runs")
    true = list(nnrun.predict(run, split="validation")["target"])
    assert all(text.isdecimal() and 2 <= len(text) <= 4 for text in true)
    assert json.loads((run.path / "run.json").read_text())["data"][0]["rows"] == 45


def texts() -> list[str]:
    """60 texts of one to three letters, most of them different."""
    rng = np.random.default_rng(2)
    return ["".join("ÄBcd"[i] for i in rng.integers(0, 4, rng.integers(1, 4))) for _ in range(60)]


SPELLED: dict[str, Any] = {
    **READ,
    "preprocessing": {"targets": "characters"},
    "layers": [READ["layers"][0], {"dense": 5}],
}


@pytest.mark.parametrize("source", ["npz", "csv"])
def test_texts_are_read_character_by_character(source: str, tmp_path: Path) -> None:
    changes: dict[str, Any] = {**SPELLED, "epochs": 2}
    if source == "npz":
        path = write(tmp_path, "read", **changes, arrays={**arrays("read"), "y_train": np.array(texts())})
    else:
        values = np.random.default_rng(1).normal(size=(60, STEPS))
        lines = [",".join([*map(str, row), text]) for row, text in zip(values, texts(), strict=True)]
        header = ",".join([*(f"v{i}" for i in range(STEPS)), "word"])
        (tmp_path / "rows.csv").write_text("\n".join([header, *lines]) + "\n", encoding="utf-8")
        changes["dataset"] = {"csv": {"path": "rows.csv", "target": "word"}}
        changes["layers"] = [{"reshape": [STEPS, 1]}, *SPELLED["layers"]]
        path = write(tmp_path, "read", **changes)
    run = nnrun.train(path, runs_dir=tmp_path / "runs")
    preprocessing = json.loads((run.path / "preprocessing.json").read_text(encoding="utf-8"))
    assert preprocessing["targets"] == {"characters": {"characters": "Bcd\u00c4"}}
    predicted = nnrun.predict(run, split="validation")
    assert list(predicted["target"]) == texts()[:20]
    assert set("".join(predicted["prediction"])) <= set("Bcd\u00c4")
    scores = nnrun.evaluate(run, split="validation").scores
    assert scores["character_error_rate"] == pytest.approx(run.history.iloc[-1]["val_character_error_rate"])


@pytest.mark.parametrize("named", [False, True])
def test_texts_of_test_rows_need_not_be_among_those_of_training_rows(named: bool, tmp_path: Path) -> None:
    of_texts = {**arrays("read"), "y_train": np.array(texts()), "y_test": np.array(["BcdÄ", "dd"])}
    of_texts["x_test"] = of_texts["x_train"][:2]
    changes: dict[str, Any] = {**SPELLED, "epochs": 1}
    path = write(tmp_path, "read", **changes, arrays=of_texts)
    if named:
        spec = yaml.safe_load(path.read_text(encoding="utf-8"))
        output = {"target": "y", "loss": spec.pop("loss"), "metrics": spec.pop("metrics")}
        spec["outputs"] = {"word": {**output, "preprocessing": spec.pop("preprocessing")["targets"]}}
        spec["layers"] = {"word": spec["layers"]}
        path.write_text(yaml.safe_dump(spec), encoding="utf-8")
    run = nnrun.train(path, runs_dir=tmp_path / "runs")
    predicted = nnrun.predict(run, split="test")
    assert list(predicted["word_target" if named else "target"]) == ["BcdÄ", "dd"]


def test_characters_that_cannot_be_learned_are_told(tmp_path: Path) -> None:
    of_texts = {**arrays("read"), "y_train": np.array(texts())}
    with pytest.raises(DataError, match=r"4 different characters, 'BcdÄ', .* set its units to 5"):
        nnrun.train(write(tmp_path, "read", **{**SPELLED, "layers": READ["layers"]}, arrays=of_texts))
    of_texts["y_train"][3] = "zc"
    with pytest.raises(DataError, match="Row 3 has the character 'z' in its target, which no training row"):
        nnrun.train(write(tmp_path, "read", **SPELLED, arrays=of_texts), runs_dir=tmp_path / "runs")
    of_numbers = {**arrays("read"), "y_train": np.arange(60)}
    with pytest.raises(DataError, match=r"characters takes a text from each row, .* are numbers"):
        nnrun.train(write(tmp_path, "read", **SPELLED, arrays=of_numbers), runs_dir=tmp_path / "runs")


@pytest.mark.parametrize("kind", KINDS)
def test_networks_of_several_seeds_are_scored_as_one(kind: str, tmp_path: Path) -> None:
    """Where steps are masked the mean of their outputs is scored on the steps that count."""
    given = arrays(kind)
    given |= {name.replace("train", "test"): values[:30] for name, values in given.items()}
    path = write(tmp_path, kind, arrays=given, epochs=1)
    run = nnrun.train(path, seeds=2, runs_dir=tmp_path / "runs")
    evaluated = nnrun.evaluate(run, split="test")
    assert set(evaluated.ensemble) == set(evaluated.scores)
    each = [member["loss"] for member in (m.scores for m in evaluated.members)]
    assert evaluated.ensemble["loss"] <= max(each) + 1e-6


def test_outputs_with_steps_stand_beside_others(tmp_path: Path) -> None:
    tagged, read = arrays("tagged"), arrays("read")
    np.savez(
        tmp_path / "data.npz",
        x_train=tagged["x_train"],
        tags_train=tagged["y_train"],
        read_train=read["y_train"],
        sum_train=tagged["x_train"].sum((1, 2)),
    )
    spec = {
        "dataset": {"npz": "data.npz"},
        "layers": {
            "trunk": [{"gru": {"units": 8, "return_sequences": True}}],
            "tags": [{"from": "trunk"}, {"dense": {"units": 3, "activation": "softmax"}}],
            "read": [{"from": "trunk"}, {"dense": 4}],
            "sum": [{"from": "trunk"}, "global_average_pooling", {"dense": 1}],
        },
        "outputs": {
            "tags": {"loss": "sparse_categorical_crossentropy", "metrics": ["accuracy"]},
            "read": {"loss": "ctc", "metrics": ["character_error_rate"]},
            "sum": {"loss": "mse"},
        },
        "epochs": 2,
        "validation": {"holdout": {"first": 20}},
    }
    (tmp_path / "spec.yaml").write_text(yaml.safe_dump(spec), encoding="utf-8")
    run = nnrun.train(tmp_path / "spec.yaml", runs_dir=tmp_path / "runs")
    last = run.history.iloc[-1]
    assert last["loss"] == pytest.approx(last["tags_loss"] + last["read_loss"] + last["sum_loss"], rel=1e-5)
    baseline = record_of(run.path)["baseline"]
    assert {"tags_loss", "tags_accuracy", "sum_loss"} <= set(baseline)
    assert not any(name.startswith("read") for name in baseline)
