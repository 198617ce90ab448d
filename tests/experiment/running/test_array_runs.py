"""Runs on arrays whose rows have more axes: trained, predicted, exported; and runs that flattened them."""

from __future__ import annotations

import json
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from safetensors.numpy import load_file

from nnrun.data.new_rows.row_source import source_of
from nnrun.errors import DataError, SpecError
from nnrun.experiment.describing.describe_spec import describe_spec
from nnrun.experiment.evaluating.evaluate import evaluate_run
from nnrun.experiment.exporting.export import export_run
from nnrun.experiment.predicting.predict import load_predictor, predict_source
from nnrun.experiment.running.job import Settings
from nnrun.experiment.running.train import run_experiment
from nnrun.experiment.setup.groups import Selection
from nnrun.records import RunDirectory
from nnrun.spec.ports import OUTPUT
from nnrun.spec.reading.load import LoadedSpec, load_spec

RNG = np.random.default_rng(0)
CONVOLUTIONS = [{"conv2d": {"filters": 3, "kernel_size": 3, "activation": "relu"}}, "flatten"]


def load(folder: Path, shape: tuple[int, ...], layers: list[Any], **changes: Any) -> LoadedSpec:
    x, y = RNG.normal(size=(40, *shape)), np.arange(40) % 2
    np.savez(folder / "a.npz", x_train=x, y_train=y, x_test=x[:9], y_test=y[:9])
    spec = {
        "dataset": {"npz": {"path": "a.npz"}},
        "preprocessing": {"inputs": "standardize"},
        "layers": [*layers, {"dense": {"units": 1, "activation": "sigmoid"}}],
        "loss": "binary_crossentropy",
        "metrics": ["accuracy"],
        "epochs": 2,
        "batch_size": 16,
    } | changes
    (folder / "spec.yaml").write_text(yaml.safe_dump(spec))
    return load_spec(folder / "spec.yaml")


def train(folder: Path, shape: tuple[int, ...], layers: list[Any], **changes: Any) -> RunDirectory:
    return run_experiment(
        load(folder, shape, layers, **changes), Settings("train", folder / "runs", None, "cpu")
    )


def predicted(run: RunDirectory, path: Path) -> np.ndarray:
    (part,) = predict_source(load_predictor(run), source_of(path))
    predictions = part[OUTPUT]
    assert predictions.probabilities is not None
    return predictions.probabilities


@pytest.mark.parametrize(
    ("shape", "layers"),
    [
        ((6, 5, 1), CONVOLUTIONS),
        ((6, 5, 3), CONVOLUTIONS),
        ((6, 5), [{"reshape": [6, 5, 1]}, *CONVOLUTIONS]),
        ((6, 5), CONVOLUTIONS),
        ((6, 5), [{"separable_conv2d": {"filters": 2, "kernel_size": 3}}, "flatten"]),
        (
            (6, 5),
            [{"depthwise_conv2d": 3}, {"conv2d_transpose": {"filters": 2, "kernel_size": 2}}, "flatten"],
        ),
        ((6, 5), [{"lstm": 3}]),
        ((6, 5), ["flatten", {"dense": 3}]),
        ((6, 5, 2), [{"reshape": [60]}]),
    ],
)
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
def test_trained_evaluated_predicted_exported(
    shape: tuple[int, ...], layers: list[Any], tmp_path: Path
) -> None:
    run = train(tmp_path, shape, layers)
    assert run.read_preprocessing(None)["table"]["row_shape"] == list(shape)
    evaluate_run(run)
    x = np.load(tmp_path / "a.npz")["x_test"]
    expected = load_predictor(run).outputs(x)
    np.savez(tmp_path / "flat.npz", x=x.reshape(9, -1))
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row.tolist()) + "\n" for row in x))
    np.savetxt(tmp_path / "rows.csv", x.reshape(9, -1), delimiter=",", fmt="%.17g")
    for name in ("a.npz", "flat.npz", "rows.jsonl", "rows.csv"):
        np.testing.assert_allclose(predicted(run, tmp_path / name)[:, -1:], expected, rtol=1e-6, err_msg=name)
    for format_ in ("safetensors", "pt2"):
        exported = export_run(run, tmp_path / f"m.{format_}", format_)  # type: ignore[arg-type]
        taken = exported.inputs["rows"]
        assert (taken.row_shape, taken.rows_of, exported.rows_from) == (shape, "features", "training")
    (tmp_path / "a.npz").unlink()
    assert export_run(run, tmp_path / "n.pt2", "pt2").rows_from == "generated"


def test_folds_of_bytes_together_are_each_alone(tmp_path: Path) -> None:
    """Bytes are kept once for all folds, beside what each fold's own preprocessing makes of them."""
    load(tmp_path, (6, 5, 3), CONVOLUTIONS, validation={"kfold": {"k": 3}})
    arrays = dict(np.load(tmp_path / "a.npz"))
    x = RNG.integers(0, 256, (40, 6, 5, 3), np.uint8)
    np.savez(tmp_path / "a.npz", x_train=x, y_train=arrays["y_train"])
    loaded = load_spec(tmp_path / "spec.yaml")
    together = run_experiment(loaded, Settings("kfold", tmp_path / "runs", None, "cpu"))
    alone = run_experiment(
        loaded, Settings("kfold", tmp_path / "alone", None, "cpu", selection=Selection(only_fold=1))
    )
    member = together.members()[1]
    mine, other = together.read_preprocessing(member), alone.read_preprocessing(alone.members()[0])
    assert mine == other
    for name, value in load_file(together.path / "fold-1" / "weights.safetensors").items():
        again = load_file(alone.path / "fold-1" / "weights.safetensors")[name]
        np.testing.assert_allclose(value, again, rtol=1e-5, atol=1e-6)


AUGMENT = {"augment": {"flip": "horizontal", "shift": 0.2, "rotate": 10, "zoom": 0.1}}


def histories(run: RunDirectory) -> list[str]:
    return [line.rsplit(",", 1)[0] for line in (run.path / "history.csv").read_text().splitlines()]


def test_augmentation_changes_training_and_nothing_else(tmp_path: Path) -> None:
    run = train(
        tmp_path, (6, 5, 1), CONVOLUTIONS, preprocessing={"inputs": ["standardize", AUGMENT]}, epochs=1
    )
    scores = evaluate_run(run)
    parameters = dict(load_file(run.path / "weights.safetensors"))
    plain = load_spec(tmp_path / "spec.yaml", ["preprocessing={inputs: standardize}"])
    other = run_experiment(plain, Settings("train", tmp_path / "runs", None, "cpu"))
    assert histories(other)[1].split(",")[:2] != histories(run)[1].split(",")[:2]
    x = np.load(tmp_path / "a.npz")["x_test"]
    np.testing.assert_array_equal(load_predictor(run).outputs(x), load_predictor(run).outputs(x))
    assert evaluate_run(run).scores == scores.scores
    assert run.read_preprocessing(None) == other.read_preprocessing(None)
    assert parameters.keys() == load_file(other.path / "weights.safetensors").keys()
    assert export_run(run, tmp_path / "m.pt2", "pt2").difference <= 1e-5


def test_augmented_folds_together_are_each_alone(tmp_path: Path) -> None:
    loaded = load(
        tmp_path,
        (6, 5, 1),
        CONVOLUTIONS,
        preprocessing={"inputs": ["standardize", AUGMENT]},
        validation={"kfold": {"k": 3, "shuffle": True}},
    )
    together = run_experiment(loaded, Settings("kfold", tmp_path / "runs", None, "cpu"))
    alone = run_experiment(
        loaded, Settings("kfold", tmp_path / "alone", None, "cpu", selection=Selection(only_fold=1))
    )
    mine, other = (load_file(run.path / "fold-1" / "weights.safetensors") for run in (together, alone))
    for name, value in mine.items():
        np.testing.assert_allclose(value, other[name], rtol=1e-5, atol=1e-6)


def test_augment_is_for_images(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match=r"augment turns images.* gives rows of \(2, 2, 2, 2\)"):
        load(tmp_path, (2, 2, 2, 2), ["flatten"], preprocessing={"inputs": AUGMENT})
    with pytest.raises(SpecError, match="augment changes nothing"):
        load(tmp_path, (6, 5), ["flatten"], preprocessing={"inputs": "augment"})


def test_onnx(tmp_path: Path) -> None:
    for name in ("onnx", "onnxscript", "onnxruntime"):
        pytest.importorskip(name, reason="ONNX comes with the extra `onnx`")
    run = train(tmp_path, (6, 5, 1), CONVOLUTIONS)
    assert export_run(run, tmp_path / "m.onnx", "onnx").inputs["rows"].row_shape == (6, 5, 1)


def test_other_shapes_are_refused_when_predicting(tmp_path: Path) -> None:
    run = train(tmp_path, (6, 5, 1), CONVOLUTIONS)
    np.savez(tmp_path / "alike.npz", x=np.zeros((3, 6, 5)))
    assert len(predicted(run, tmp_path / "alike.npz")) == 3  # an axis of one place makes no difference
    np.savez(tmp_path / "turned.npz", x=np.zeros((3, 5, 6)))
    with pytest.raises(DataError, match=r"shape \(3, 5, 6\); the network takes rows of shape \(6, 5, 1\)"):
        predicted(run, tmp_path / "turned.npz")


def test_rows_of_height_and_width_are_images_of_one_channel(tmp_path: Path) -> None:
    (tmp_path / "two").mkdir()
    gray = load(tmp_path, (6, 5), CONVOLUTIONS, preprocessing={"inputs": "none"})
    arrays = dict(np.load(tmp_path / "a.npz"))
    added = {name: x[..., None] if name.startswith("x") else x for name, x in arrays.items()}
    np.savez(tmp_path / "two" / "a.npz", **added)
    (tmp_path / "two" / "spec.yaml").write_text((tmp_path / "spec.yaml").read_text())
    histories = []
    for spec in (gray, load_spec(tmp_path / "two" / "spec.yaml")):
        run = run_experiment(spec, Settings("train", tmp_path / "runs", None, "cpu"))
        histories.append(run.read_history()["loss"].tolist())
    assert histories[0] == histories[1]


def test_steps_are_no_images(tmp_path: Path) -> None:
    with pytest.raises(SpecError) as error:
        load(tmp_path, (6, 5), [{"lstm": {"units": 4, "return_sequences": True}}, *CONVOLUTIONS])
    (problem,) = error.value.problems
    assert problem.line is not None
    assert "add a channel axis: reshape: [6, 4, 1]" in problem.message


def test_dense_layers_alone_are_told_to_flatten(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match="add flatten"):
        load(tmp_path, (6, 5), [])


def test_the_description_has_the_shape(tmp_path: Path) -> None:
    description = describe_spec(load(tmp_path, (6, 5, 1), CONVOLUTIONS).spec, None)
    assert (description.row_shape, description.features) == ((6, 5, 1), 30)
    assert description.layers[0].outputs == (4, 3, 3)


def test_a_run_that_flattened_is_still_read(tmp_path: Path) -> None:
    """Rows of (6, 5) once were 30 numbers, and their preprocessing.json has version 2."""
    flat = train(tmp_path, (30,), [{"dense": 3}])
    assert flat.read_preprocessing(None)["version"] == 2
    before = evaluate_run(flat)
    arrays = np.load(tmp_path / "a.npz")
    shaped = {name: a.reshape(-1, 6, 5) if name[0] == "x" else a for name, a in arrays.items()}
    x = arrays["x_test"]
    expected = load_predictor(flat).outputs(x)
    np.savez(tmp_path / "a.npz", **shaped)
    record = json.loads((flat.path / "run.json").read_text())
    record["data"][0]["sha256"] = sha256((tmp_path / "a.npz").read_bytes()).hexdigest()
    (flat.path / "run.json").write_text(json.dumps(record))
    after = evaluate_run(flat)
    assert after.scores == before.scores
    np.testing.assert_allclose(predicted(flat, tmp_path / "a.npz")[:, -1:], expected, rtol=1e-6)
