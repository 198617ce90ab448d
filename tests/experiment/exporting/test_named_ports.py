"""Programs of networks with named inputs and outputs, asked by their names."""

from __future__ import annotations

import dataclasses
import io
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

import nnrun
from nnrun.data.dataset import Array
from nnrun.errors import NnrunError, UsageError
from nnrun.experiment.exporting import export as export_module
from nnrun.experiment.exporting.export import export_run
from nnrun.experiment.exporting.export_formats import FORMATS
from nnrun.experiment.finished.load_run import Access
from nnrun.records import RunDirectory
from tests.support.commands import nnrun_command
from tests.support.small_experiments import shared_spec
from tests.support.two_ports import GRAPH, ROWS, STEPS, arrays


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A k-fold of the graph in runs/, its data and its spec."""
    folder = tmp_path_factory.mktemp("graph")
    parts = {part: arrays(rows, rows) for part, rows in (("train", ROWS), ("test", 20))}
    np.savez(
        folder / "data.npz",
        **{f"{name}_{part}": a for part, named in parts.items() for name, a in named.items()},
    )
    (folder / "graph.yaml").write_text(GRAPH)
    nnrun.train(folder / "graph.yaml", runs_dir=folder / "runs")
    return folder


def run_in(folder: Path) -> RunDirectory:
    return RunDirectory(next(entry for entry in (folder / "runs").iterdir() if entry.is_dir()))


def given_rows() -> dict[str, Array]:
    """The test rows as a program takes them."""
    raw = arrays(20, 20)
    padded = np.zeros((20, STEPS), np.float32)
    for row, words in zip(padded, raw["words"], strict=True):
        row[STEPS - len(words) :] = words
    return {
        "size": raw["size"].astype(np.float32),
        "pic-ture": raw["pixels"].astype(np.float32),
        "words": padded,
    }


def check(found: Mapping[str, Array], table: pd.DataFrame, rows: int) -> None:
    """Outputs of a program for the first test rows are what the run predicts for them."""
    table = table.iloc[:rows]
    np.testing.assert_allclose(found["select"], table[["select_0", "select_1"]], rtol=1e-5, atol=1e-5)
    kinds = table[[f"ki-nd_{k}" for k in range(3)]]
    np.testing.assert_allclose(found["ki-nd"], kinds, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(found["late"][:, 0], table["late_1"], rtol=1e-5, atol=1e-5)
    assert found["tags"].shape == (rows, STEPS, 3)
    assert [";".join(map(str, row)) for row in found["tags"].argmax(-1).tolist()] == list(table["tags"])


def test_a_program_takes_and_gives_dictionaries(folder: Path, tmp_path: Path) -> None:
    run, access = run_in(folder), Access(member="fold-1")
    exported = export_run(run, tmp_path / "m.pt2", "pt2", access)
    assert (exported.difference <= 1e-5, exported.rows_from) == (True, "training")
    assert {n: (i.row_shape, i.dtype, i.rows_of) for n, i in exported.inputs.items()} == {
        "size": ((3,), "float32", "features"),
        "pic-ture": ((4, 3), "float32", "features"),
        "words": ((STEPS,), "float32", "pad"),
    }
    kinds = {name: (given.outputs, given.meaning.kind) for name, given in exported.outputs.items()}
    assert kinds == {
        "select": (2, "numbers"),
        "ki-nd": (3, "class"),
        "late": (1, "binary"),
        "tags": (3, "steps"),
    }
    held = {"spec": "", "preprocessing": "", "member": ""}
    program = torch.export.load(io.BytesIO((tmp_path / "m.pt2").read_bytes()), extra_files=held).module()
    assert (held["spec"], held["member"]) == (shared_spec(run), "fold-1")
    assert set(json.loads(held["preprocessing"])["inputs"]) == {"size", "pic-ture", "words"}
    table = nnrun.predict(run.path, split="test", member="fold-1")
    for rows in (1, 20):
        found = program({name: torch.from_numpy(x[:rows]) for name, x in given_rows().items()})
        check({name: values.numpy() for name, values in found.items()}, table, rows)


def test_onnx_has_their_names(folder: Path, tmp_path: Path) -> None:
    for name in ("onnx", "onnxscript"):
        pytest.importorskip(name, reason="ONNX comes with the extra `onnx`")
    onnxruntime = pytest.importorskip("onnxruntime", reason="ONNX comes with the extra `onnx`")
    run = run_in(folder)
    assert (
        export_run(run, tmp_path / "m.onnx", "onnx", Access(member="fold-0"), float64=True).difference <= 1e-5
    )
    session = onnxruntime.InferenceSession(tmp_path / "m.onnx")
    types = {i.name: i.type for i in session.get_inputs()}
    assert types == {"size": "tensor(double)", "pic-ture": "tensor(double)", "words": "tensor(float)"}
    assert {i.name: i.shape for i in session.get_inputs()}["pic-ture"] == ["rows", 4, 3]
    assert [o.shape for o in session.get_outputs()][-1] == ["rows", STEPS, 3]
    names = [o.name for o in session.get_outputs()]
    assert names == ["select", "ki-nd", "late", "tags"]
    table = nnrun.predict(run.path, split="test", member="fold-0")
    wide = {"size": arrays(20, 20)["size"], "pic-ture": given_rows()["pic-ture"].astype(np.float64)}
    for rows in (1, 20):
        taken = {name: x[:rows] for name, x in {**given_rows(), **wide}.items()}
        check(dict(zip(names, session.run(names, taken), strict=True)), table, rows)
    assert session.get_modelmeta().custom_metadata_map["spec"] == shared_spec(run)


def test_the_weights_alone_are_asked_by_what_the_file_says(folder: Path, tmp_path: Path) -> None:
    exported = export_run(run_in(folder), tmp_path / "m.safetensors", "safetensors", Access(member="fold-0"))
    assert exported.difference == 0
    assert {each.dtype for each in exported.inputs.values()} == {None}


def test_without_the_data_generated_rows_of_every_input_do(folder: Path, tmp_path: Path) -> None:
    (folder / "data.npz").rename(tmp_path / "data.npz")
    try:
        exported = export_run(
            run_in(folder), tmp_path / "m.safetensors", "safetensors", Access(member="fold-0")
        )
    finally:
        (tmp_path / "data.npz").rename(folder / "data.npz")
    assert (exported.rows_from, exported.rows) == ("generated", 1000)


def test_an_output_that_differs_is_named(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kind = FORMATS["safetensors"]

    def ask(*arguments: Any) -> dict[str, Array]:
        outputs = dict(kind.ask(*arguments))
        return outputs | {"late": outputs["late"] + 1e-3}

    monkeypatch.setattr(export_module, "FORMATS", {"safetensors": dataclasses.replace(kind, ask=ask)})
    with pytest.raises(NnrunError, match="was not kept: when read back, its predictions for 'late' differ"):
        export_run(run_in(folder), tmp_path / "m.safetensors", "safetensors", Access(member="fold-0"))
    assert not (tmp_path / "m.safetensors").exists()


def test_the_command_has_a_line_for_each(folder: Path, tmp_path: Path) -> None:
    run = run_in(folder).path
    arguments = ("export", str(run), "--member", "fold-0", "-o", str(tmp_path / "m.pt2"))
    made = nnrun_command(*arguments, cwd=tmp_path)
    assert made.returncode == 0, made.stderr
    lines = [line.strip() for line in made.stdout.splitlines()]
    assert "takes    size (N, 3) float32: raw features; their preprocessing is included" in lines
    assert "pic-ture (N, 4, 3) float32: raw rows; their preprocessing is included" in lines
    assert "gives    select (N, 2) float32: in the target's own units" in lines
    assert "ki-nd (N, 3) float32: the probability of each class" in lines
    made = nnrun_command(*arguments[:-1], str(tmp_path / "m.safetensors"), "--json", cwd=tmp_path)
    document = json.loads(made.stdout)
    assert list(document["takes"]) == ["size", "pic-ture", "words"]
    assert document["takes"]["pic-ture"]["row_shape"] == [4, 3]
    assert document["gives"]["late"] == {"outputs": 1, "meaning": {"kind": "binary", "classes": [0, 1]}}


TABLE = """
dataset: {csv: {path: rows.csv, target: height}}
inputs:
  predictions: {columns: [a, b], preprocessing: [impute, standardize]}
  prepared: {columns: [kind, a]}
layers:
  trunk: [concatenate: [predictions, prepared], dense: 1]
loss: mse
epochs: 1
validation: {holdout: {fraction: 0.25}}
"""


@pytest.fixture
def table(tmp_path: Path) -> Path:
    """A run of named inputs and a single output without a name."""
    rng = np.random.default_rng(0)
    rows = pd.DataFrame({"a": rng.normal(size=60), "b": rng.normal(size=60)})
    rows.loc[3, "b"] = None
    rows["kind"] = rng.choice(["x", "y"], 60)
    rows["height"] = rows["a"]
    rows.to_csv(tmp_path / "rows.csv", index=False)
    (tmp_path / "table.yaml").write_text(TABLE)
    nnrun.train(tmp_path / "table.yaml", runs_dir=tmp_path / "runs")
    return tmp_path


def test_the_only_output_has_a_name_that_no_input_has(table: Path) -> None:
    onnxruntime = pytest.importorskip("onnxruntime", reason="ONNX comes with the extra `onnx`")
    exported = export_run(run_in(table), table / "m.onnx", "onnx")
    assert {name: (i.rows_of, i.dtype) for name, i in exported.inputs.items()} == {
        "a": ("column", "float32"),
        "b": ("column", "float32"),
        "kind": ("column", "string"),
    }
    session = onnxruntime.InferenceSession(table / "m.onnx")
    assert {i.name for i in session.get_inputs()} == {"a", "b", "kind"}
    assert [o.name for o in session.get_outputs()] == ["predictions_"]


@pytest.mark.parametrize("format_", ["onnx", "script"])
def test_generated_rows_have_one_value_of_a_column_that_two_inputs_take(table: Path, format_: Any) -> None:
    if format_ == "onnx":
        pytest.importorskip("onnxruntime", reason="ONNX comes with the extra `onnx`")
    (table / "rows.csv").rename(table / "moved.csv")
    exported = export_run(run_in(table), table / f"m.{'py' if format_ == 'script' else format_}", format_)
    assert (exported.rows_from, exported.rows) == ("generated", 1000)


def test_a_step_of_one_input_without_a_program_is_refused(table: Path) -> None:
    code = "class Twice:\n    def fit(self, x):\n        return []\n\n"
    code += "    def transform(self, x, state):\n        return 2 * x\n"
    (table / "mine.py").write_text(code)
    spec = TABLE.replace("columns: [kind, a]}", "columns: [kind, a], preprocessing: [{custom: mine:Twice}]}")
    (table / "custom.yaml").write_text(spec)
    made = nnrun_command("train", "custom.yaml", "--allow-custom", "mine", cwd=table)
    assert made.returncode == 0, made.stderr
    made = nnrun_command("export", "@last", "-o", "m.pt2", "--allow-custom", "mine", cwd=table)
    assert made.returncode == UsageError.exit_code
    assert "An exported program cannot contain the preprocessing step mine:Twice" in " ".join(
        made.stderr.split()
    )
