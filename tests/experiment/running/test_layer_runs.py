"""Whole runs of the layers beyond dense: their files, what comes after training, and their exports."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file, save_file

import nnrun
from nnrun.data import TokenRows
from nnrun.errors import DataError
from nnrun.experiment.describing.describe_spec import describe_spec
from nnrun.experiment.exporting.export import export_run
from nnrun.experiment.predicting.predict import load_predictor
from nnrun.experiment.running.job import Settings
from nnrun.experiment.running.listener import Listener
from nnrun.experiment.running.side_by_side import Candidate, architecture_of, stack_runs, train_stacked
from nnrun.experiment.running.train import run_experiment
from nnrun.records import RunDirectory
from nnrun.spec.reading.load import load_spec
from tests.support.small_experiments import (
    BINARY,
    REGRESSION,
    growing_tokens,
    load_small,
    record_of,
    write_small,
)

SIGMOID = {"dense": {"units": 1, "activation": "sigmoid"}}
NORMALIZED = [{"dense": 6}, {"batch_normalization": {"momentum": 0.7}}, {"activation": "relu"}, {"dense": 1}]
IMAGES: list[Any] = [
    {"dense": 18},
    {"reshape": [3, 3, 2]},
    {"conv2d": {"filters": 4, "kernel_size": 2, "padding": "same", "kernel_regularizer": "l2"}},
    "batch_normalization",
    {"max_pooling": {"padding": "same"}},
    {"reshape": [4, 4]},
    {"conv1d": {"filters": 3, "kernel_size": 2, "activation": "relu"}},
    "layer_normalization",
    {"dropout": 0.2},
    {"gru": 3},
    {"dense": 1},
]
WORDS: list[Any] = [
    {"embedding": 4},
    {"lstm": {"units": 3, "return_sequences": True}},
    "global_average_pooling",
    SIGMOID,
]
OF_WORDS: dict[str, Any] = {
    "preprocessing": {"inputs": "pad"},
    "layers": WORDS,
    "validation": {"holdout": {"first": 8}},
}


def train(folder: Path, spec: dict[str, Any] = REGRESSION, **changes: Any) -> RunDirectory:
    return run_experiment(load_small(folder, spec, **changes), Settings("train", folder / "runs"))


def train_words(folder: Path, **changes: Any) -> RunDirectory:
    return train(folder, BINARY, **{"arrays": growing_tokens(), **OF_WORDS, **changes})


# --- what a layer keeps beside its parameters --------------------------------------------------------------


def test_moving_statistics_are_in_the_weights_file_and_counted_apart(tmp_path: Path) -> None:
    run = train(tmp_path, layers=NORMALIZED)
    weights = load_file(run.path / "weights.safetensors")
    assert {name: value.shape for name, value in weights.items()} == {
        "0.weight": (6, 3),
        "0.bias": (6,),
        "1.weight": (6,),
        "1.bias": (6,),
        "1.running_mean": (6,),
        "1.running_var": (6,),
        "3.weight": (1, 6),
        "3.bias": (1,),
    }
    assert (weights["1.running_mean"] != 0).all()
    assert record_of(run.path)["parameters"] == 18 + 6 + 12 + 7
    described = describe_spec(load_small(tmp_path, layers=NORMALIZED).spec, None)
    assert (described.parameters, described.state) == (43, 12)
    assert [layer.state for layer in described.layers] == [0, 12, 0, 0]


def test_the_best_epoch_s_statistics_are_restored(tmp_path: Path) -> None:
    """The network that is kept scores on the validation rows what its epoch scored, to the last digits."""
    path = write_small(
        tmp_path,
        layers=NORMALIZED,
        epochs=30,
        optimizer={"adam": 0.3},
        early_stopping={"patience": 3, "restore_best": True},
    )
    run = nnrun.train(path, runs_dir=tmp_path / "runs")
    record = record_of(run.path)
    assert record["weights_epoch"] < record["epochs_run"]  # it was stopped after its best epoch
    scores = nnrun.evaluate(run, split="validation").scores
    best = run.history.set_index("epoch").loc[record["weights_epoch"]]
    assert scores["loss"] == pytest.approx(best["val_loss"], rel=1e-5)


def test_a_run_starts_from_given_statistics(tmp_path: Path) -> None:
    """One epoch of a hopeless rate leaves the weights where they were: outputs come from the given file."""
    first = train(tmp_path, layers=NORMALIZED)
    weights = load_file(first.path / "weights.safetensors")
    save_file(weights, tmp_path / "init.safetensors")
    changes: dict[str, Any] = {"init_weights": "init.safetensors", "optimizer": {"sgd": 1e-30}, "epochs": 1}
    again = train(tmp_path, layers=NORMALIZED, **changes)
    found = load_file(again.path / "weights.safetensors")
    np.testing.assert_array_equal(found["0.weight"], weights["0.weight"])
    assert not np.array_equal(found["1.running_mean"], weights["1.running_mean"])
    del weights["1.running_var"]
    save_file(weights, tmp_path / "init.safetensors")
    with pytest.raises(DataError, match=r"1\.running_var: needs \(6,\), the file has nothing"):
        train(tmp_path, layers=NORMALIZED, **changes)


# --- folds and trials side by side -------------------------------------------------------------------------


@pytest.mark.parametrize("layers", [NORMALIZED, IMAGES], ids=["normalized", "images"])
def test_a_fold_alone_is_the_fold_among_others(layers: list[Any], tmp_path: Path) -> None:
    path = write_small(tmp_path, layers=layers, validation={"kfold": {"k": 5}}, optimizer="sgd")
    together = nnrun.train(path, runs_dir=tmp_path / "runs")
    alone = nnrun.kfold(path, k=5, fold=3, runs_dir=tmp_path / "runs")
    for name, value in alone.weights(fold=3).items():
        np.testing.assert_allclose(value, together.weights(fold=3)[name], rtol=1e-4, atol=1e-6, err_msg=name)


def test_folds_of_different_vocabularies_have_tables_of_their_own(tmp_path: Path) -> None:
    path = write_small(tmp_path, BINARY, growing_tokens(), **{**OF_WORDS, "validation": {"kfold": {"k": 3}}})
    run = nnrun.train(path, runs_dir=tmp_path / "runs")
    assert [len(run.weights(fold=fold)["0.weight"]) for fold in range(3)] == [34, 34, 26]


def test_trials_with_regularizers_of_their_own(tmp_path: Path) -> None:
    path = write_small(tmp_path, layers=IMAGES)
    strength = "layers[2].conv2d.kernel_regularizer.l2.l2"
    specs = [load_spec(path, {strength: value}) for value in (0.5, 0.001)]
    assert len({architecture_of(spec.spec) for spec in specs}) == 1
    candidates = [Candidate(spec, Settings("sweep", tmp_path / "together"), Listener()) for spec in specs]
    from nnrun.data import load_dataset

    prepared = stack_runs(candidates, load_dataset(specs[0].spec.dataset))
    assert prepared is not None
    for run, spec in zip(train_stacked(prepared), specs, strict=True):
        alone = run_experiment(spec, Settings("sweep", tmp_path / "alone"))
        ours, theirs = run.read_history(), alone.read_history()
        np.testing.assert_allclose(ours["val_loss"], theirs["val_loss"], rtol=1e-4)


# --- words -------------------------------------------------------------------------------------------------


def test_padded_words_from_training_to_prediction(tmp_path: Path) -> None:
    run = train_words(tmp_path)
    predictor = load_predictor(run)
    rows = TokenRows.from_lists([[1, 2, 33], [2, 33, 99_999], [2, 33]])
    outputs = predictor.outputs(rows)
    assert outputs.shape == (3, 1)
    assert outputs[1] == outputs[2]  # a word that no training row could hold is left out


def test_an_embedding_that_is_too_small_for_the_words_is_refused(tmp_path: Path) -> None:
    layers = [{"embedding": {"input_dim": 20, "output_dim": 4}}, *WORDS[1:]]
    with pytest.raises(DataError, match=r"hold tokens up to 33, but input_dim is 20.*Set input_dim to 34"):
        train_words(tmp_path, layers=layers)
    assert not (tmp_path / "runs").exists()


def test_an_embedding_may_have_room_for_more(tmp_path: Path) -> None:
    run = train_words(tmp_path, layers=[{"embedding": {"input_dim": 50, "output_dim": 4}}, *WORDS[1:]])
    assert load_file(run.path / "weights.safetensors")["0.weight"].shape == (50, 4)


def test_layers_that_only_the_data_show_to_be_wrong(tmp_path: Path) -> None:
    """An archive's width is not known to `nnrun check`."""
    with pytest.raises(DataError) as caught:
        train(tmp_path, layers=[{"reshape": [2, 2]}, "flatten", {"dense": 1}])
    assert str(caught.value) == (
        "layers[0] does not fit the data: reshape to (2, 2) holds 4 numbers; the inputs give (3), 3 numbers; "
        "they must be as many."
    )


# --- exports -----------------------------------------------------------------------------------------------


def asked(path: Path, rows: np.ndarray) -> np.ndarray:
    program = torch.export.load(io.BytesIO(path.read_bytes())).module()
    found: np.ndarray = program(torch.from_numpy(rows)).numpy()
    return found


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
def test_a_program_of_images(tmp_path: Path) -> None:
    run = train(tmp_path, layers=IMAGES)
    assert export_run(run, tmp_path / "m.safetensors", "safetensors").difference <= 1e-5
    assert export_run(run, tmp_path / "m.pt2", "pt2").inputs["rows"].rows_of == "features"
    x = np.load(tmp_path / "small.npz")["x_test"]
    expected = load_predictor(run).outputs(x)
    for count in (1, len(x)):
        found = asked(tmp_path / "m.pt2", x[:count].astype(np.float32))
        np.testing.assert_allclose(found, expected[:count], rtol=1e-5, atol=1e-5)


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
def test_a_program_of_words_takes_padded_rows(tmp_path: Path) -> None:
    run = train_words(tmp_path)
    exported = export_run(run, tmp_path / "m.pt2", "pt2").inputs["rows"]
    assert (exported.rows_of, exported.features, exported.dtype) == ("pad", 5, "float32")
    found = asked(tmp_path / "m.pt2", np.array([[0, 0, 1, 2, 33]], np.float32))
    own = load_predictor(run).outputs(TokenRows.from_lists([[1, 2, 33]]))
    np.testing.assert_allclose(found, own, atol=1e-6)


@pytest.mark.parametrize("words", [True, False])
def test_onnx(words: bool, tmp_path: Path) -> None:
    for name in ("onnx", "onnxscript", "onnxruntime"):
        pytest.importorskip(name, reason="ONNX comes with the extra `onnx`")
    run = train_words(tmp_path) if words else train(tmp_path, layers=IMAGES)
    assert export_run(run, tmp_path / "m.onnx", "onnx").difference <= 1e-5
