"""The standard deviation of predictions over the networks of a run, in every form that predictions have."""

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
from tests.support.small_experiments import BINARY, KFOLD, numbers, only_run, write_small

SPEC = """
dataset: {csv: {path: rows.csv, test: {column: part, value: t}}}
inputs: {numbers: {columns: [a, b]}}
layers:
  trunk: [from: numbers, dense: {units: 8, activation: relu}]
  grade: [from: trunk, dense: {units: 3, activation: softmax}]
  size: [from: trunk, dense: 1]
  tags: [from: trunk, dense: {units: 2, activation: sigmoid}]
  pair: [from: trunk, dense: 2]
outputs:
  grade: {loss: categorical_crossentropy}
  size: {loss: mse, preprocessing: standardize}
  tags: {target: [red, new], loss: binary_crossentropy}
  pair: {target: [size, c], loss: mse, preprocessing: standardize}
epochs: 2
validation: {kfold: {k: 3}}
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three folds of four outputs."""
    folder, rng = tmp_path_factory.mktemp("spread"), np.random.default_rng(0)
    table = pd.DataFrame({"a": rng.normal(size=80), "b": rng.normal(size=80)})
    table["grade"] = np.array(["low", "mid", "top"], object)[np.digitize(table["a"], [-0.4, 0.4])]
    table["size"], table["c"] = 1000 + 50 * table["b"], 3 * table["a"]
    table["red"], table["new"] = (table["a"] > 0).astype(int), (table["b"] > 0).astype(int)
    table["part"] = np.where(np.arange(80) % 4 == 3, "t", "r")
    table.to_csv(folder / "rows.csv", index=False)
    (folder / "spec.yaml").write_text(SPEC)
    nnrun.train(folder / "spec.yaml", runs_dir=folder / "runs")
    return folder


def test_it_is_that_of_what_the_networks_say(folder: Path) -> None:
    run = only_run(folder / "runs")
    rows = pd.read_csv(folder / "rows.csv").drop(columns=["grade", "size", "c", "red", "new", "part"])
    whole = nnrun.predict(run, rows, spread=True)
    each = [nnrun.predict(run, rows, member=f"fold-{i}") for i in range(3)]
    plain = nnrun.predict(run, rows)
    of_std = {name: name.removesuffix("_std") for name in map(str, whole) if name.endswith("_std")}
    values = [name for name in plain if name not in ("grade", "tags", "grade_probability")]
    assert set(of_std.values()) == {*values, "grade_probability"}
    for column in values:
        expected = np.std([own[column] for own in each], axis=0, ddof=1)
        assert whole[f"{column}_std"].to_numpy() == pytest.approx(expected, rel=1e-4, abs=1e-6), column
    of_predicted = [row[f"grade_{row['grade']}_std"] for _, row in whole.iterrows()]
    assert whole["grade_probability_std"].tolist() == of_predicted
    assert whole.drop(columns=list(of_std)).equals(plain)


def test_rows_of_the_data_set_have_it_too(folder: Path) -> None:
    run = only_run(folder / "runs")
    found = nnrun.predict(run, split="test", spread=True)
    rows = pd.read_csv(folder / "rows.csv").query("part == 't'")[["a", "b"]].reset_index(drop=True)
    again = nnrun.predict(run, rows, spread=True)
    columns = [name for name in map(str, again) if name.endswith("_std")]
    assert columns
    for column in columns:
        assert found[column].to_numpy() == pytest.approx(again[column].to_numpy(), rel=1e-5, abs=1e-7)
    with pytest.raises(UsageError, match="--spread: 60 of 60 validation rows are predicted by one network"):
        nnrun.predict(run, split="validation", spread=True)


@pytest.mark.parametrize("probabilities", [False, True])
def test_every_form_has_the_same_numbers(
    probabilities: bool, folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = only_run(folder / "runs")
    asked = ["predict", str(run), "--split", "test", "--spread", "-q"]
    asked += ["--probabilities"] if probabilities else []
    assert main([*asked, "-o", str(tmp_path / "p.csv")]) == 0
    assert main([*asked, "-o", str(tmp_path / "p.jsonl")]) == 0
    capsys.readouterr()
    assert main([*asked, "--json"]) == 0
    documents = json.loads(capsys.readouterr().out)["predictions"]
    lines = (tmp_path / "p.jsonl").read_text().splitlines()
    assert [json.loads(line) for line in lines] == documents
    with (tmp_path / "p.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    spreads = [name for name in rows[0] if name.endswith("_std")]
    one = ["grade_probability_std", "size_std", "tags_red_std", "tags_new_std", "pair_size_std", "pair_c_std"]
    assert [name for name in spreads if name in one] == one
    assert (set(spreads) == set(one)) == (not probabilities)
    for row, document in zip(rows, documents, strict=True):
        for name in spreads:
            if name.startswith("pair_"):
                continue
            assert float(row[name]) == document[name]
        assert [float(row["pair_size_std"]), float(row["pair_c_std"])] == document["pair_std"]


def test_of_an_output_without_a_name(tmp_path: Path) -> None:
    run = nnrun.train(write_small(tmp_path, BINARY, validation=KFOLD), runs_dir=tmp_path / "runs")
    x = numbers()["x_test"]
    found = nnrun.predict(run, x, spread=True)
    each = [nnrun.predict(run, x, member=f"fold-{i}")["probability_1"] for i in range(3)]
    expected = np.std(each, axis=0, ddof=1)
    for column in ("probability_std", "probability_0_std", "probability_1_std"):
        assert found[column].to_numpy() == pytest.approx(expected, rel=1e-4, abs=1e-6)
    assert list(found)[:3] == ["prediction", "probability", "probability_std"]


def test_one_network_has_none(tmp_path: Path) -> None:
    def refused(run: nnrun.Run, says: str, **asked: Any) -> None:
        with pytest.raises(UsageError, match=says):
            nnrun.predict(run, numbers()["x_test"], spread=True, **asked)

    run = nnrun.train(write_small(tmp_path), runs_dir=tmp_path / "runs")
    refused(run, "--spread is the standard deviation over several networks, and one of small-.* is asked")
    run = nnrun.train(write_small(tmp_path, validation=KFOLD), runs_dir=tmp_path / "runs")
    refused(run, "and one of small-.* is asked", member="fold-1")
    scores = {**BINARY, "loss": "hinge", "validation": KFOLD, "layers": [{"dense": 1}]}
    arrays = {**numbers(), **{n: (v > 3).astype(int) for n, v in numbers().items() if n[0] == "y"}}
    run = nnrun.train(write_small(tmp_path, scores, arrays), runs_dir=tmp_path / "runs")
    refused(run, "predicts neither numbers nor probabilities")
