"""Predictions of a data set's own rows: which rows, by which networks, beside their targets."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import nnrun
from nnrun.errors import UsageError
from nnrun.experiment.evaluating.evaluate import evaluate_run
from nnrun.experiment.finished.load_run import Access, load_networks
from nnrun.experiment.predicting.output_decoder import OutputDecoder
from nnrun.experiment.predicting.outputs import network_outputs
from nnrun.experiment.predicting.predict import load_predictor
from nnrun.experiment.predicting.predict_split import predict_split, refuse_without_probabilities
from nnrun.experiment.running.job import Settings
from nnrun.experiment.running.train import run_experiment
from nnrun.experiment.setup.groups import Selection
from nnrun.records import LookCount, RunDirectory
from nnrun.spec.ports import INPUT
from tests.support.small_experiments import BINARY, KFOLD, REGRESSION, load_small, numbers, record_of

CLASSES: dict[str, Any] = {
    **REGRESSION,
    "layers": [{"dense": {"units": 3, "activation": "softmax"}}],
    "loss": "sparse_categorical_crossentropy",
    "metrics": ["accuracy"],
}
WILD: dict[str, Any] = {"optimizer": {"rmsprop": {"learning_rate": 1.0}}, "epochs": 12}


def train(
    folder: Path, spec: dict[str, Any] = REGRESSION, seeds: int | None = None, **changes: Any
) -> RunDirectory:
    settings = Settings("train", folder / "runs", selection=Selection(seeds=seeds))
    return run_experiment(load_small(folder, spec, **changes), settings)


def test_validation_rows_of_a_holdout(tmp_path: Path) -> None:
    run = train(tmp_path)
    table = nnrun.predict(nnrun.Run(run.path), split="validation")
    arrays = np.load(tmp_path / "small.npz")
    assert table.index.tolist() == list(range(16))
    assert table["target"].tolist() == arrays["y_train"][:16].tolist()
    expected = load_predictor(run).outputs(arrays["x_train"][:16])[:, 0]
    assert table["prediction"].to_numpy() == pytest.approx(expected, rel=1e-6)
    scores = evaluate_run(run, split="validation").scores
    assert np.abs(table["target"] - table["prediction"]).mean() == pytest.approx(scores["mae"], rel=1e-5)


def test_training_rows_of_a_holdout_are_the_others(tmp_path: Path) -> None:
    table = predict_split(train(tmp_path), "train").table()
    assert table.index.tolist() == list(range(16, 48))


@pytest.mark.parametrize("folds", [{"k": 3}, {"k": 3, "shuffle": True}])
def test_of_folds_each_row_has_the_network_that_did_not_see_it(folds: dict[str, Any], tmp_path: Path) -> None:
    run = train(tmp_path, CLASSES, arrays=_classes(), validation={"kfold": folds})
    found = predict_split(run, "validation")
    assert (found.combined.how, found.combined.rows.tolist()) == ("out_of_fold", list(range(48)))
    x = np.load(tmp_path / "small.npz")["x_train"]
    spec = load_small(tmp_path, CLASSES, arrays=_classes(), validation={"kfold": folds}).spec
    for network in load_networks(run)[0]:
        assert network.member is not None
        own = predict_split(run, "validation", Access(member=network.member.folder))
        assert len(own.combined.rows) == 16
        outputs = network_outputs(
            spec, network.fitted, network.weights, {INPUT: x[own.combined.rows]}, _cpu()
        )
        assert own.combined.outputs == pytest.approx(outputs)
        assert found.combined.outputs[own.combined.rows] == pytest.approx(outputs)
        seen = predict_split(run, "train", Access(member=network.member.folder)).combined.rows
        assert sorted([*seen, *own.combined.rows]) == list(range(48))


def test_of_folds_training_rows_need_one_network(tmp_path: Path) -> None:
    run = train(tmp_path, validation=KFOLD)
    with pytest.raises(UsageError) as caught:
        predict_split(run, "train")
    assert str(caught.value) == (
        f"--split train: the folds of {run.id} were trained on different rows. Name one with --member "
        "(fold-0, fold-1 or fold-2); or use --split validation, where each row is predicted by networks "
        "that did not train on it."
    )


def test_seeds_on_the_same_rows_are_averaged(tmp_path: Path) -> None:
    run = train(tmp_path, seeds=2)
    for split, rows in (("train", 32), ("validation", 16), ("test", 12)):
        found = predict_split(run, split)  # type: ignore[arg-type]
        assert (found.combined.how, len(found.combined.rows)) == ("ensemble", rows)


def test_a_look_at_the_test_set_is_counted_and_others_are_not(tmp_path: Path) -> None:
    run = train(tmp_path)
    for split in ("train", "validation"):
        assert predict_split(run, split).look is None  # type: ignore[arg-type]
    assert record_of(run.path)["test_uses"] == []
    assert [predict_split(run, "test").look for _ in range(2)] == [LookCount(1, 1), LookCount(2, 2)]
    assert [use["command"] for use in record_of(run.path)["test_uses"]] == ["predict", "predict"]


def test_outputs_without_probabilities_are_refused_by_what_they_predict() -> None:
    run = RunDirectory(Path("runs/a-run"))
    steps, sequence = OutputDecoder("steps", (0, 1)), OutputDecoder("sequence", (0, 1))
    scores, classes = OutputDecoder("binary", (0, 1), 0.0, of_scores=True), OutputDecoder("binary", (0, 1))
    refuse_without_probabilities(run, {"a": steps, "b": classes})
    for decoders, said in (
        ({"a": steps}, "predicts a class for each step"),
        ({"a": sequence, "b": steps}, "predicts sequences of classes, .*; a class for each step"),
        ({"a": scores}, "predicts classes by scores, which are no probabilities"),
    ):
        with pytest.raises(UsageError, match=said):
            refuse_without_probabilities(run, decoders)


def test_what_cannot_be_given_does_not_count_as_a_look(tmp_path: Path) -> None:
    run = train(tmp_path)
    with pytest.raises(UsageError, match="predicts numbers, which have no probabilities"):
        predict_split(run, "test", need_probabilities=True)
    with pytest.raises(UsageError, match="has one network"):
        predict_split(run, "test", Access(member="fold-0"))
    assert record_of(run.path)["test_uses"] == []


def test_the_weights_of_the_best_epoch(tmp_path: Path) -> None:
    run = train(tmp_path, **WILD)
    best = predict_split(run, "validation", Access(weights="best")).table()
    mae = np.abs(best["target"] - best["prediction"]).mean()
    assert mae == pytest.approx(record_of(run.path)["best"]["val_mae"], rel=1e-5)


def test_probabilities_of_classes_and_their_names(tmp_path: Path) -> None:
    run = train(tmp_path, CLASSES, arrays=_classes())
    table = nnrun.predict(nnrun.Run(run.path), split="validation")
    probabilities = table[[f"probability_{c}" for c in range(3)]].to_numpy()
    assert probabilities.sum(axis=1) == pytest.approx(np.ones(16), abs=1e-6)
    assert (probabilities.argmax(axis=1) == table["prediction"]).all()
    assert table["target"].tolist() == [row % 3 for row in range(16)]
    accuracy = evaluate_run(run, split="validation").scores["accuracy"]
    assert (table["prediction"] == table["target"]).mean() == pytest.approx(accuracy)


def test_yes_or_no(tmp_path: Path) -> None:
    table = predict_split(train(tmp_path, BINARY), "validation").table()
    assert table["target"].tolist() == np.load(tmp_path / "small.npz")["y_train"][:16].tolist()


def test_several_numbers_and_several_labels(tmp_path: Path) -> None:
    two = {n: np.stack([a, -a], axis=1) if n.startswith("y") else a for n, a in numbers().items()}
    run = train(tmp_path, arrays=two, layers=[{"dense": 2}])
    table = predict_split(run, "validation").table()
    assert list(table.columns) == ["target_0", "target_1", "prediction_0", "prediction_1"]
    assert table[["target_0", "target_1"]].to_numpy() == pytest.approx(two["y_train"][:16])
    labels = {n: (a > np.median(a)).astype(np.int64) if n.startswith("y") else a for n, a in two.items()}
    layers = [{"dense": {"units": 2, "activation": "sigmoid"}}]
    run = train(tmp_path, BINARY, arrays=labels, layers=layers)
    table = predict_split(run, "validation").table()
    expected = [";".join(str(k) for k in range(2) if row[k]) for row in labels["y_train"][:16]]
    assert table["target"].tolist() == expected


@pytest.mark.parametrize(
    ("split", "changes", "message"),
    [
        ("validation", {"validation": "none"}, "has no validation rows. Use --split train."),
        ("test", {"arrays": numbers(test_rows=0)}, "has no test set."),
        ("all", {}, "it must be train, validation or test"),
    ],
)
def test_rows_that_are_not_there(split: Any, changes: dict[str, Any], message: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=message):
        predict_split(train(tmp_path, **changes), split)


def test_python_takes_inputs_or_a_split(tmp_path: Path) -> None:
    run = nnrun.Run(train(tmp_path).path)
    for arguments in ({}, {"inputs": [[1.0, 2.0, 3.0]], "split": "test"}):
        with pytest.raises(UsageError, match="and not both"):
            nnrun.predict(run, **arguments)  # type: ignore[arg-type]
    assert record_of(run.path)["test_uses"] == []


def _classes() -> dict[str, np.ndarray]:
    return {n: np.arange(len(a)) % 3 if n.startswith("y") else a for n, a in numbers().items()}


def _cpu() -> Any:
    import torch

    return torch.device("cpu")
