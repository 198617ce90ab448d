"""A run's network as a file for others: what is read again says what the run says."""

from __future__ import annotations

import dataclasses
import io
import json
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest
import torch
from safetensors import safe_open

from nnrun.data import Dataset, Samples, TokenRows, load_dataset
from nnrun.data.dataset import Array
from nnrun.data.preprocess import fit_input
from nnrun.errors import NnrunError, UsageError
from nnrun.experiment.exporting import export as export_module
from nnrun.experiment.exporting.export import (
    Exported,
    ExportedInput,
    ExportedOutput,
    export_run,
    generated_rows,
)
from nnrun.experiment.exporting.export_formats import FORMATS, FormatName
from nnrun.experiment.finished.load_run import Access
from nnrun.experiment.predicting.output_decoder import OutputDecoder
from nnrun.experiment.predicting.predict import load_predictor
from nnrun.experiment.running.job import Settings
from nnrun.experiment.running.train import run_experiment
from nnrun.model.layers import DenseLayer
from nnrun.records import RunDirectory
from nnrun.spec import schema
from nnrun.spec.ports import OUTPUT, Port
from nnrun.spec.reading.load import load_spec_text
from tests.support.small_experiments import (
    BINARY,
    KFOLD,
    REGRESSION,
    growing_tokens,
    load_small,
    numbers,
    shared_spec,
)

# Normalized first, so that no activation carries the values away.
HIDDEN = [
    layer
    for name in get_args(schema.ActivationName)
    for layer in ({"dense": 6}, "layer_normalization", {"activation": name})
]


def train(
    folder: Path, spec: dict[str, Any] = REGRESSION, *, smoke: bool = False, **changes: Any
) -> RunDirectory:
    settings = Settings("train", folder / "runs", None, "cpu", smoke)
    return run_experiment(load_small(folder, spec, **changes), settings)


def train_tokens(folder: Path) -> RunDirectory:
    layers = [{"dense": {"units": 4, "activation": "relu"}}, {"dense": {"units": 1, "activation": "sigmoid"}}]
    return train(
        folder, BINARY, arrays=growing_tokens(), preprocessing={"inputs": "multi_hot"}, layers=layers
    )


def program(path: Path) -> Any:
    return torch.export.load(io.BytesIO(path.read_bytes())).module()


def check_program(run: RunDirectory, path: Path, inputs: Array, member: str | None = None) -> None:
    """The program's outputs are what the run predicts, however many rows come."""
    own = load_predictor(run, Access(member=member)).outputs(inputs)
    asked = program(path)
    for rows in (1, 2, len(inputs)):
        found = asked(torch.from_numpy(inputs[:rows]).float()).numpy()
        np.testing.assert_allclose(found, own[:rows], rtol=1e-5, atol=1e-5)


def test_a_program_takes_raw_features(tmp_path: Path) -> None:
    run = train(tmp_path, layers=[{"dropout": 0.5}, *REGRESSION["layers"]])
    exported = export_run(run, tmp_path / "m.pt2", "pt2")
    assert exported == Exported(
        path=tmp_path / "m.pt2",
        format="pt2",
        run=run,
        member=None,
        averaged=(),
        weights=exported.weights,
        inputs={"rows": ExportedInput(3, (3,), "float32", "features", ())},
        outputs={"predictions": ExportedOutput(1, OutputDecoder("numbers", (0,)))},
        named_inputs=False,
        named_outputs=False,
        rows=48,
        rows_from="training",
        difference=exported.difference,
        intervals=exported.intervals,
    )
    assert exported.weights.text == "epoch 3, the last and the best by val_loss"
    assert exported.difference <= 1e-5
    check_program(run, tmp_path / "m.pt2", numbers()["x_test"])


@pytest.mark.parametrize(
    "changes",
    [
        {
            "preprocessing": {
                "inputs": [{"standardize": [2, 0]}, {"standardize": [1]}],
                "targets": "standardize",
            }
        },
        {"preprocessing": {"inputs": "none"}},
        {"preprocessing": {"inputs": [{"piecewise_linear": {"bins": 4, "keep": True}}, "quantile"]}},
        {"preprocessing": {"inputs": ["robust", "piecewise_linear"]}},
        {"layers": [*HIDDEN, {"dense": {"units": 1, "use_bias": False}}]},
    ],
    ids=["scales", "no scale", "bins and quantiles", "bins", "activations"],
)
def test_what_is_inside_a_program(changes: dict[str, Any], tmp_path: Path) -> None:
    run = train(tmp_path, **changes)
    assert export_run(run, tmp_path / "m.pt2", "pt2").difference <= 1e-5
    check_program(run, tmp_path / "m.pt2", numbers()["x_test"])


def test_a_program_gives_probabilities(tmp_path: Path) -> None:
    run = train(tmp_path, BINARY)
    exported = export_run(run, tmp_path / "m.pt2", "pt2")
    assert exported.outputs["predictions"].meaning.kind == "binary"
    outputs = program(tmp_path / "m.pt2")(torch.from_numpy(numbers()["x_test"]).float())
    assert ((outputs > 0) & (outputs < 1)).all()


def test_a_token_network_takes_multi_hot_rows(tmp_path: Path) -> None:
    run = train_tokens(tmp_path)
    exported = export_run(run, tmp_path / "m.pt2", "pt2", float64=True)
    taken = exported.inputs["rows"]
    assert (taken.rows_of, taken.dtype, exported.rows_from) == ("multi_hot", "float32", "training")
    rows = TokenRows.from_lists([[1, 5], [7, 7, 2]])
    multi_hot = torch.zeros(2, taken.features)
    multi_hot[0, [1, 5]] = 1
    multi_hot[1, [7, 2]] = 1
    found = program(tmp_path / "m.pt2")(multi_hot).numpy()
    np.testing.assert_allclose(found, load_predictor(run).outputs(rows), atol=1e-6)


def test_one_of_several_networks(tmp_path: Path) -> None:
    run = train(tmp_path, validation=KFOLD)
    with pytest.raises(UsageError, match="choose with --member fold-0, fold-1 or fold-2"):
        export_run(run, tmp_path / "m.pt2", "pt2")
    assert not (tmp_path / "m.pt2").exists()
    assert export_run(run, tmp_path / "m.pt2", "pt2", Access(member="fold-2")).member == "fold-2"
    check_program(run, tmp_path / "m.pt2", numbers()["x_test"], "fold-2")


def test_weights_with_what_tells_what_they_are(tmp_path: Path) -> None:
    run = train(
        tmp_path, BINARY, dataset={"sklearn": "breast_cancer"}, preprocessing={"inputs": "standardize"}
    )
    exported = export_run(run, tmp_path / "m.safetensors", "safetensors")
    assert (exported.inputs["rows"].dtype, exported.difference) == (None, 0)
    with safe_open(tmp_path / "m.safetensors", framework="np") as file:
        metadata = file.metadata()
        arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - it is no mapping
    for name, value in run.read_weights().items():
        np.testing.assert_array_equal(arrays[name], value)
    assert metadata["spec"] == shared_spec(run)
    assert json.loads(metadata["preprocessing"]) == run.read_preprocessing()
    assert json.loads(metadata["labels"])["class_names"] == ["malignant", "benign"]
    assert metadata["run"] == run.id


@pytest.mark.parametrize("format_", get_args(FormatName))
def test_no_folder_of_this_machine_goes_into_a_file(format_: FormatName, tmp_path: Path) -> None:
    if format_ == "onnx":
        pytest.importorskip("onnxruntime", reason="the extra onnx")
    (tmp_path / "out").mkdir()
    run = train(tmp_path)
    ending = ".py" if format_ == "script" else ".file"
    export_run(run, tmp_path / "out" / f"network{ending}", format_)
    for file in (tmp_path / "out").iterdir():
        assert str(tmp_path).encode() not in file.read_bytes(), file


def test_programs_tell_it_too(tmp_path: Path) -> None:
    run = train(tmp_path)
    export_run(run, tmp_path / "m.pt2", "pt2")
    held = {"spec": "", "preprocessing": "", "labels": "", "run": ""}
    torch.export.load(io.BytesIO((tmp_path / "m.pt2").read_bytes()), extra_files=held)
    assert held["spec"] == shared_spec(run)
    assert json.loads(held["preprocessing"]) == run.read_preprocessing()


@pytest.mark.parametrize("wrong", [1e-4, np.nan])
@pytest.mark.parametrize("format_", ["safetensors", "pt2"])
def test_a_file_that_says_something_else_is_not_kept(
    format_: FormatName, wrong: float, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = train(tmp_path)
    kind = FORMATS[format_]
    path = tmp_path / f"m.{format_}"
    path.write_text("as it was")
    before = sorted(tmp_path.iterdir())

    def ask(*arguments: Any) -> dict[Port, Array]:
        (outputs,) = kind.ask(*arguments).values()
        outputs[7] += wrong
        return {OUTPUT: outputs}

    monkeypatch.setattr(export_module, "FORMATS", {format_: dataclasses.replace(kind, ask=ask)})
    with pytest.raises(NnrunError, match="was not kept: when read back, its predictions differ"):
        export_run(run, path, format_)
    assert path.read_text() == "as it was"
    assert sorted(tmp_path.iterdir()) == before


def test_a_network_that_pytorch_cannot_trace_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def forward(self: DenseLayer, parameters: Any, x: Any) -> Any:
        return torch.tensor(x.tolist())  # leaves PyTorch, as a layer may that an exporter does not know

    run = train(tmp_path)
    monkeypatch.setattr(DenseLayer, "linear", forward)
    monkeypatch.setattr(export_module, "predictions_of", lambda *arguments: {})
    with pytest.raises(
        NnrunError, match=r"No program was written: PyTorch .* cannot trace a network of dense "
    ):
        export_run(run, tmp_path / "m.pt2", "pt2")
    assert not (tmp_path / "m.pt2").exists()


def test_features_far_from_0_need_float64(tmp_path: Path) -> None:
    arrays = {name: a + 1e6 if name.startswith("x") else a for name, a in numbers().items()}
    run = train(tmp_path, arrays=arrays)
    with pytest.raises(NnrunError, match=r"differ .* need --float64"):
        export_run(run, tmp_path / "m.pt2", "pt2")
    exported = export_run(run, tmp_path / "m.pt2", "pt2", float64=True)
    assert exported.inputs["rows"].dtype == "float64"
    outputs = program(tmp_path / "m.pt2")(torch.from_numpy(arrays["x_test"])).numpy()
    np.testing.assert_allclose(outputs, load_predictor(run).outputs(arrays["x_test"]), atol=1e-5)


def test_without_the_data_generated_rows_do(tmp_path: Path) -> None:
    table, tokens = train(tmp_path), train(tmp_path, smoke=True)
    assert export_run(tokens, tmp_path / "m.pt2", "pt2").rows_from == "training"  # a smoke run's own
    np.savez(tmp_path / "small.npz", **numbers(seed=1))  # type: ignore[arg-type]
    assert export_run(table, tmp_path / "m.pt2", "pt2").rows_from == "generated"
    (tmp_path / "small.npz").unlink()
    exported = export_run(table, tmp_path / "m.safetensors", "safetensors")
    assert (exported.rows_from, exported.rows) == ("generated", 1000)


def test_nothing_is_downloaded(keras_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    spec = {
        "dataset": {"reuters": 50},
        "preprocessing": {"inputs": "multi_hot"},
        "layers": [{"dense": {"units": 46, "activation": "softmax"}}],
        "loss": "categorical_crossentropy",
        "epochs": 1,
    }
    run = run_experiment(
        load_small(tmp_path, {**BINARY, "metrics": []}, **spec),
        Settings("train", tmp_path / "runs", keras_folder, "cpu"),
    )
    monkeypatch.setattr(
        "nnrun.data.archives.download._download", lambda *arguments: pytest.fail("a download")
    )
    path = tmp_path / "m.safetensors"
    assert export_run(run, path, "safetensors", Access(data_dir=keras_folder)).rows_from == "training"
    assert export_run(run, path, "safetensors", Access(data_dir=None)).rows_from == "generated"


def test_generated_rows_are_about_where_the_training_rows_were() -> None:
    boston = load_dataset(schema.BostonHousing()).train.inputs
    assert isinstance(boston, np.ndarray)
    standardize = schema.Preprocessing(inputs=[schema.Standardize()])
    rows = generated_rows(fit_input(standardize, load_dataset(schema.BostonHousing())), 500)
    assert isinstance(rows, np.ndarray)
    np.testing.assert_allclose(rows.mean(0), boston.mean(0), atol=0.2 * boston.std(0).max())
    lists = Samples(TokenRows.from_lists([[1, 19], [2]]), np.zeros(2))
    multi_hot = schema.Preprocessing(inputs=[schema.MultiHot()])
    tokens = generated_rows(fit_input(multi_hot, Dataset("w", lists, None, ())), 50)
    assert isinstance(tokens, TokenRows)
    assert len(tokens) == 50
    assert (tokens.tokens.min(), tokens.tokens.max()) == (0, 19)


# --- ONNX --------------------------------------------------------------------------------------------------


@pytest.fixture
def onnxruntime() -> Any:
    for name in ("onnx", "onnxscript"):
        pytest.importorskip(name, reason="ONNX comes with the extra `onnx`")
    return pytest.importorskip("onnxruntime", reason="ONNX comes with the extra `onnx`")


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"preprocessing": {"inputs": [{"standardize": [2, 0]}], "targets": "standardize"}},
        {"preprocessing": {"inputs": ["robust", {"piecewise_linear": {"keep": True}}, "quantile"]}},
        {"layers": [*HIDDEN, {"dense": 1}]},
    ],
    ids=["plain", "scales", "bins and quantiles", "activations"],
)
@pytest.mark.parametrize("float64", [False, True])
def test_onnx(changes: dict[str, Any], float64: bool, tmp_path: Path, onnxruntime: Any) -> None:
    run = train(tmp_path, **changes)
    exported = export_run(run, tmp_path / "m.onnx", "onnx", float64=float64)
    assert exported.difference <= 1e-5
    assert [path.name for path in tmp_path.iterdir() if "onnx" in path.name] == ["m.onnx"]
    session = onnxruntime.InferenceSession(tmp_path / "m.onnx")
    assert session.get_inputs()[0].shape == ["rows", 3]
    rows = numbers()["x_test"].astype(np.float64 if float64 else np.float32)
    for count in (1, len(rows)):
        (outputs,) = session.run(["predictions"], {"rows": rows[:count]})
        np.testing.assert_allclose(outputs, load_predictor(run).outputs(rows[:count]), rtol=1e-5, atol=1e-5)
    assert session.get_modelmeta().custom_metadata_map["spec"] == shared_spec(run)


def test_onnx_of_tokens(tmp_path: Path, onnxruntime: Any) -> None:
    run = train_tokens(tmp_path)
    exported = export_run(run, tmp_path / "m.onnx", "onnx")
    assert (exported.inputs["rows"].rows_of, exported.rows_from) == ("multi_hot", "training")


def test_without_its_packages_onnx_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("nnrun.extras.find_spec", lambda name: None)
    with pytest.raises(
        UsageError, match=r"needs onnx, onnxscript and onnxruntime.*pip install 'nnrun\[onnx\]'"
    ):
        export_run(train(tmp_path), tmp_path / "m.onnx", "onnx")


@pytest.mark.parametrize("format_", get_args(FormatName))
@pytest.mark.parametrize("method", ["temperature", "platt", "isotonic"])
def test_calibration_and_threshold_go_into_the_file(tmp_path: Path, method: str, format_: FormatName) -> None:
    if format_ == "onnx":
        pytest.importorskip("onnxruntime", reason="ONNX comes with the extra `onnx`")
    run = train(tmp_path, BINARY, calibrate=method, threshold=0.3, epochs=20)
    exported = export_run(run, tmp_path / "m", format_)
    assert exported.difference <= 1e-5
    given = exported.outputs["predictions"]
    assert given.calibration is not None
    assert given.calibration.startswith(method)
    assert given.meaning == load_predictor(run).output_decoder
    assert given.meaning.threshold == 0.3
    if format_ == "pt2":
        check_program(run, tmp_path / "m", numbers()["x_test"])
    if format_ == "safetensors":
        with safe_open(tmp_path / "m", framework="np") as file:
            spec = load_spec_text(file.metadata()["spec"], file="m", base=tmp_path, default_name="m").spec
        assert spec.calibrate == load_predictor(run).spec.calibrate
