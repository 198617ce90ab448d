"""`nnrun data show` of a spec with named inputs and outputs."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from nnrun.cli import main

ARRAYS = """
dataset: {npz: {path: data.npz}}
inputs:
  size: {preprocessing: standardize}
  words: {preprocessing: {multi_hot: 9}}
  seen: {array: pixels, preprocessing: rescale}
layers:
  flat: [from: seen, flatten]
  trunk: [concatenate: [size, words, flat], dense: 4]
  price: [from: trunk, dense: 1]
  kind: [from: trunk, dense: {units: 2, activation: softmax}]
outputs:
  price: {loss: mse, preprocessing: standardize}
  kind: {loss: categorical_crossentropy}
"""


@pytest.fixture
def arrays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    words = np.empty(4, object)
    words[:] = [[1, 2], [8], [3, 3, 4], [5]]
    np.savez(
        "data.npz",
        size_train=np.arange(8).reshape(4, 2) / 2,
        words_train=words,
        pixels_train=np.full((4, 4, 4), 51, np.uint8),
        price_train=np.array([1.0, 2.0, 3.0, 6.0]),
        kind_train=np.array(["cat", "dog", "dog", "dog"]),
    )
    Path("spec.yaml").write_text(ARRAYS)


@pytest.mark.usefixtures("arrays")
def test_the_whole_data_set_by_input_and_output(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["data", "show", "spec.yaml", "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert (document["rows"], "task" in document) == ({"train": 4, "test": 0}, False)
    assert list(document["inputs"]) == ["size", "words", "seen"]
    assert [column["mean"] for column in document["inputs"]["size"]["features"]] == [1.5, 2.0]
    assert document["inputs"]["words"]["tokens"] == {"total": 7, "different": 6, "highest": 8}
    assert document["inputs"]["seen"]["image"]["shape"] == [4, 4]
    assert document["outputs"]["price"]["target"][0]["mean"] == 3
    assert [(c["name"], c["train"]) for c in document["outputs"]["kind"]["classes"]] == [
        ("cat", 1),
        ("dog", 3),
    ]
    assert main(["data", "show", "spec.yaml"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line for line in lines if line.startswith(("input ", "output "))] == [
        "input size",
        "input words",
        "input seen",
        "output price",
        "output kind",
    ]


@pytest.mark.usefixtures("arrays")
def test_a_row_by_input_and_output_and_as_the_network_gets_it(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["data", "show", "spec.yaml", "--row", "2", "--prepared", "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["inputs"]["size"] == {"values": {"0": 2.0, "1": 2.5}}
    assert document["inputs"]["words"] == {"tokens": [3, 3, 4]}
    assert document["outputs"] == {"price": {"target": 3.0}, "kind": {"target": 1, "class": "dog"}}
    prepared = document["prepared"]
    np.testing.assert_allclose(prepared["inputs"]["size"]["values"], [5**-0.5] * 2, rtol=1e-6)
    assert (prepared["inputs"]["words"]["sparse"], prepared["inputs"]["words"]["indices"]) == (True, [3, 4])
    np.testing.assert_allclose(prepared["inputs"]["seen"]["values"], np.full((4, 4), 0.2), rtol=1e-6)
    assert prepared["outputs"] == {"price": [0.0], "kind": [0.0, 1.0]}
    assert main(["data", "show", "spec.yaml", "--row", "2", "--prepared"]) == 0
    said = capsys.readouterr().out
    assert said.startswith("data, train row 2\nprice: 3.0\nkind: 1 (dog)\n\ninput size\n")
    assert "\n\ninput words\n3 3 4\n\n" in said
    assert "\n\ninput words: 9 numbers, 2 of them not 0\n1 at the indices\n3 4\n" in said
    assert said.endswith("Its targets\nprice: 0\nkind: 0 1\n")
    assert main(["data", "show", "spec.yaml", "--row", "4"]) == 2
    assert "There is no row 4 in the train set of data: it has 4 rows" in capsys.readouterr().err


def test_columns_of_a_table_and_a_missing_target(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    rows = pd.DataFrame({"a": [1.0, 2.0, 4.5, 4.0], "c": ["x", "y", "x", "y"], "t": [1.5, None, 3.0, 4.0]})
    rows["k"] = ["no", "yes", "yes", "yes"]
    rows.to_csv("rows.csv", index=False)
    Path("spec.yaml").write_text(
        "dataset: {csv: {path: rows.csv}}\n"
        "inputs: {numbers: {columns: [a]}, both: {columns: [a, c]}}\n"
        "layers:\n  t: [concatenate: [numbers, both], dense: 1]\n"
        "  k: [concatenate: [numbers, both], dense: {units: 1, activation: sigmoid}]\n"
        "outputs: {t: {loss: mse, preprocessing: standardize}, k: {loss: binary_crossentropy}}\n"
    )
    assert main(["data", "show", "spec.yaml", "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert [column["name"] for column in document["inputs"]["both"]["columns"]] == ["a", "c"]
    assert (document["outputs"]["t"]["missing"], document["outputs"]["t"]["target"][0]["min"]) == (1, 1.5)
    assert main(["data", "show", "spec.yaml", "--row", "1", "--prepared"]) == 0
    said = capsys.readouterr().out
    assert said.startswith("rows, train row 1\nt: missing\nk: 1 (yes)\n")
    assert said.endswith("Its targets\nt: missing\nk: 1\n")
