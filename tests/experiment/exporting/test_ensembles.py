"""An ensemble as one file: all of its networks are inside, each with its own preprocessing, averaged."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors import safe_open

import nnrun
from nnrun.cli import main
from nnrun.data.table import Table
from nnrun.errors import UsageError
from nnrun.experiment.exporting.export import export_run
from nnrun.experiment.finished.load_run import Access, load_networks
from nnrun.experiment.predicting.predict import load_predictor
from nnrun.records import RunDirectory
from tests.support.small_experiments import BINARY, KFOLD, REGRESSION, numbers, write_small

MIXED = """
dataset: {csv: {path: rows.csv, target: y}}
layers: [dense: {units: 4, activation: relu}, dense: 1]
loss: mse
epochs: 1
validation: {kfold: {k: 3}}
"""
NAMED = """
dataset: {csv: {path: rows.csv}}
inputs:
  sizes: {columns: [a, b], preprocessing: standardize}
  words: {columns: [kind]}
layers:
  y: [concatenate: [sizes, words], dense: 1]
  kind_of: [concatenate: [sizes, words], dense: {units: 2, activation: softmax}]
outputs:
  y: {loss: mse, preprocessing: standardize}
  kind_of: {target: sort, loss: categorical_crossentropy}
epochs: 1
validation: {kfold: {k: 3}}
"""


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A table of which the last third of the rows has a category that the others lack."""
    folder, rng = tmp_path_factory.mktemp("ensembles"), np.random.default_rng(0)
    rows = pd.DataFrame({"a": rng.normal(5, 2, 60), "b": rng.normal(size=60)})
    rows["kind"] = np.where(np.arange(60) < 40, rng.choice(["x", "y"], 60), "z")
    rows["y"], rows["sort"] = rows["a"] - rows["b"], np.where(rows["b"] > 0, "up", "down")
    rows.to_csv(folder / "rows.csv", index=False)
    return folder


def ensemble(folder: Path, spec: Any = REGRESSION, **changes: Any) -> RunDirectory:
    path = write_small(folder, spec, validation=KFOLD, **changes)
    parent = nnrun.train(path, runs_dir=folder / "runs")
    return RunDirectory(nnrun.final(parent, members="folds", runs_dir=folder / "runs").path)


def of_text(folder: Path, name: str, text: str) -> RunDirectory:
    (folder / f"{name}.yaml").write_text(text)
    parent = nnrun.train(folder / f"{name}.yaml", runs_dir=folder / "runs")
    return RunDirectory(nnrun.final(parent, members="folds", runs_dir=folder / "runs").path)


def asked(path: Path, rows: Any) -> Any:
    with torch.inference_mode():
        return torch.export.load(io.BytesIO(path.read_bytes())).module()(rows)


@pytest.mark.parametrize("spec", [REGRESSION, BINARY], ids=["numbers", "classes"])
def test_a_program_takes_raw_rows_and_gives_the_average(spec: dict[str, Any], tmp_path: Path) -> None:
    made = ensemble(tmp_path, spec)
    exported = export_run(made, tmp_path / "m.pt2", "pt2")
    assert (exported.member, exported.averaged) == (None, ("fold-0", "fold-1", "fold-2"))
    assert list(exported.inputs) == ["rows"]
    assert not exported.named_inputs
    x = numbers()["x_test"]
    expected = load_predictor(made).outputs(x)
    for rows in (1, len(x)):
        found = asked(tmp_path / "m.pt2", torch.from_numpy(x[:rows]).float())
        assert found.numpy() == pytest.approx(expected[:rows], rel=1e-5, abs=1e-5)
    alone = export_run(made, tmp_path / "one.pt2", "pt2", Access(member="fold-1"))
    assert (alone.member, alone.averaged) == ("fold-1", ())


def test_rows_that_each_network_prepares_outside_are_inputs_of_their_own(table: Path, tmp_path: Path) -> None:
    made = of_text(table, "mixed", MIXED)
    exported = export_run(made, tmp_path / "m.pt2", "pt2")
    assert list(exported.inputs) == ["rows_fold_0", "rows_fold_1", "rows_fold_2"]
    assert [exported.inputs[name].rows_of for name in exported.inputs] == ["prepared"] * 3
    widths = [exported.inputs[name].features for name in exported.inputs]
    networks, _ = load_networks(made)
    assert widths == [next(iter(n.fitted.inputs.values())).width for n in networks]
    predictor = load_predictor(made)
    frame = pd.read_csv(table / "rows.csv").drop(columns=["y"])
    (batch,) = predictor.decoder.of_python(frame)
    given = {}
    assert isinstance(batch.inputs, Table)
    for name, network in zip(exported.inputs, networks, strict=True):
        (inputs,) = network.fitted.inputs.values()
        given[name] = torch.from_numpy(inputs.transform(batch.inputs).to_dense())
    found = asked(tmp_path / "m.pt2", given)
    assert found.numpy() == pytest.approx(predictor.outputs(batch.inputs), rel=1e-5, abs=1e-5)


@pytest.mark.parametrize("format_", ["pt2", "onnx", "safetensors"])
def test_several_inputs_and_outputs(format_: Any, table: Path, tmp_path: Path) -> None:
    if format_ == "onnx":
        pytest.importorskip("onnxruntime")
    made = of_text(table, "named", NAMED)
    exported = export_run(made, tmp_path / f"m.{format_}", format_)
    prepared_outside = ["sizes", "words_fold_0", "words_fold_1", "words_fold_2"]
    # An ONNX file prepares all rows itself, and takes each column once, by its name.
    assert list(exported.inputs) == (["a", "b", "kind"] if format_ == "onnx" else prepared_outside)
    assert list(exported.outputs) == ["y", "kind_of"]
    assert exported.difference < 1e-4


def test_onnx_holds_the_average(tmp_path: Path) -> None:
    onnxruntime = pytest.importorskip("onnxruntime")
    made = ensemble(tmp_path)
    export_run(made, tmp_path / "m.onnx", "onnx")
    session = onnxruntime.InferenceSession(tmp_path / "m.onnx")
    assert [of.name for of in session.get_inputs()] == ["rows"]
    x = numbers()["x_test"]
    (found,) = session.run(["predictions"], {"rows": x.astype(np.float32)})
    assert found == pytest.approx(load_predictor(made).outputs(x), rel=1e-5, abs=1e-5)


def test_a_file_of_weights_has_those_of_each(tmp_path: Path) -> None:
    made = ensemble(tmp_path)
    export_run(made, tmp_path / "m.safetensors", "safetensors")
    with safe_open(tmp_path / "m.safetensors", framework="np") as file:
        metadata, arrays = file.metadata(), {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    members = made.members()
    assert json.loads(metadata["members"]) == [member.folder for member in members]
    assert "member" not in metadata
    fitted = json.loads(metadata["preprocessing"])
    for member in members:
        assert fitted[member.folder] == made.read_preprocessing(member)
        for name, value in made.read_weights(member).items():
            assert arrays.pop(f"{member.folder}.{name}").tobytes() == value.tobytes()
    assert arrays == {}


def test_seeds_that_prepare_rows_alike_share_them(table: Path, tmp_path: Path) -> None:
    (table / "seeds.yaml").write_text(MIXED)
    made = nnrun.final(table / "seeds.yaml", seeds=2, runs_dir=table / "runs")
    exported = export_run(RunDirectory(made.path), tmp_path / "m.pt2", "pt2")
    assert list(exported.inputs) == ["rows"]
    assert not exported.named_inputs


def test_networks_that_are_no_model_together_are_refused(tmp_path: Path) -> None:
    run = nnrun.train(write_small(tmp_path, validation=KFOLD), runs_dir=tmp_path / "runs")
    says = r"choose with --member fold-0, .* Or make their average one model: nnrun final .* --members folds"
    with pytest.raises(UsageError, match=says):
        export_run(RunDirectory(run.path), tmp_path / "m.pt2", "pt2")


def test_the_command_tells_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    ensemble(tmp_path)
    assert main(["export", "@last", "-o", "m.safetensors"]) == 0
    printed = capsys.readouterr().out.splitlines()
    assert printed[0].endswith(", the average of 3 networks, in m.safetensors")
    assert "holds    the weights of each; as metadata the spec, the preprocessing of each" in printed[2]
    assert main(["export", "@last", "-o", "m.safetensors", "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert (document["member"], document["members"]) == (None, ["fold-0", "fold-1", "fold-2"])
