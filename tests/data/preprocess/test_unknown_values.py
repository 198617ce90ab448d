"""Values that training never saw are counted, and told before they are scored."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import nnrun
from nnrun.cli import main
from nnrun.data.preprocess.unknown_values import UnknownCounts, tables_of, unknown_values
from nnrun.data.table import CategoryColumn, NumberColumn, Table
from nnrun.errors import DataError
from nnrun.experiment.evaluating.evaluate import evaluate_run
from nnrun.experiment.finished.load_run import load_networks
from nnrun.records import RunDirectory
from nnrun.spec.ports import INPUT

SPEC: dict[str, Any] = {
    "layers": [{"dense": {"units": 1, "activation": "sigmoid"}}],
    "loss": "binary_crossentropy",
    "metrics": ["accuracy"],
    "epochs": 1,
    "validation": {"holdout": {"first": 8}},
}


def rows(values: list[str], n: int = 24) -> str:
    words = ["gold rose", "oil fell", "tax cut"]
    return "g,t,x,y\n" + "".join(
        f"{values[i % len(values)]},{words[i % 3]},{i % 7},{i % 2}\n" for i in range(n)
    )


@pytest.fixture
def spec(tmp_path: Path) -> Path:
    (tmp_path / "train.csv").write_text(rows(["1.0", "2.0", "3.0"]))
    types = {"g": "category", "t": "text"}
    csv = {"path": "train.csv", "target": "y", "types": types, "test": {"path": "test.csv"}}
    (tmp_path / "s.yaml").write_text(json.dumps({"dataset": {"csv": csv}, **SPEC}))
    return tmp_path / "s.yaml"


def test_a_test_file_in_another_spelling_is_told_before_it_is_used(
    spec: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (spec.parent / "test.csv").write_text(rows(["1", "2", "3"], 9))
    runs = spec.parent / "runs"
    run = nnrun.train(spec, runs_dir=runs)
    sentence = "column 'g': 9 of 9 rows have a value that no training row has, such as '1'"
    for command in ("final", "evaluate"):
        code = main([command, str(run.path), "--runs-dir", str(runs), "-q"])
        err = capsys.readouterr().err
        assert code == 4
        assert sentence in err
        assert "--allow-unknown" in err
    assert run.record["test_uses"] == []
    assert len(list(runs.glob("s-*"))) == 1
    with pytest.raises(DataError, match="allow_unknown=True"):
        nnrun.final(run, runs_dir=runs)
    final = nnrun.final(run, runs_dir=runs, allow_unknown=True)
    wanted = {"column": "g", "what": "value", "count": 9, "rows": 9, "example": "1"}
    assert final.record["unknown"] == [wanted]
    code = main(["evaluate", str(run.path), "--allow-unknown", "--json", "--no-figures"])
    captured = capsys.readouterr()
    assert code == 0
    assert json.loads(captured.out)["unknown"] == [wanted]
    assert f"test set: {sentence}" in captured.err


def test_a_few_unknown_values_are_told_and_used(spec: Path) -> None:
    (spec.parent / "test.csv").write_text(rows(["1.0", "2.0", "new"], 9))
    final = nnrun.final(spec, runs_dir=spec.parent / "runs")
    assert final.record["unknown"] == [
        {"column": "g", "what": "value", "count": 3, "rows": 9, "example": "new"}
    ]
    assert final.test


@pytest.mark.parametrize("how", ["csv", "jsonl", "file"])
def test_rows_to_predict(spec: Path, how: str, capsys: pytest.CaptureFixture[str]) -> None:
    (spec.parent / "test.csv").write_text(rows(["1.0"], 9))
    run = nnrun.train(spec, runs_dir=spec.parent / "runs")
    new = [("1.0", "gold"), ("4", "unheard of"), ("", ""), ("5", "tax")]
    if how == "jsonl":
        path = spec.parent / "new.jsonl"
        lines = [{"g": g or None, "t": t or None, "x": None if not g else 1} for g, t in new]
        path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    else:
        path = spec.parent / "new.csv"
        path.write_text("g,t,x\n" + "".join(f"{g or 'NA'},{t or 'NA'},{1 if g else 'NA'}\n" for g, t in new))
    output = ["-o", str(spec.parent / "out.csv")] if how == "file" else []
    assert main(["predict", str(run.path), str(path), "--json", *output]) == 0
    captured = capsys.readouterr()
    assert json.loads(captured.out)["unknown"] == [
        {"column": "g", "what": "value", "count": 2, "rows": 4, "example": "4"},
        {"column": "g", "what": "missing", "count": 1, "rows": 4, "example": None},
        {"column": "t", "what": "words", "count": 1, "rows": 4, "example": "unheard of"},
        {"column": None, "what": "row", "count": 1, "rows": 4, "example": None},
    ]
    assert captured.err.splitlines()[-4:] == [
        f"{path}: column 'g': 2 of 4 rows have a value that no training row has, such as '4'",
        f"{path}: column 'g': 1 of 4 rows have no value; every training row has one",
        f"{path}: column 't': 1 of 4 rows hold no word that the network knows, such as 'unheard of'",
        f"{path}: 1 of 4 rows have no value in any input column",
    ]
    with pytest.warns(UserWarning, match="1 of 2 rows have a value that no training row has, such as '4'"):
        nnrun.predict(run, pd.DataFrame({"g": ["1.0", "4"], "t": ["gold", "oil"], "x": [1, 2]}))


def test_validation_rows_of_values_that_a_fold_never_saw(
    spec: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = "g,x,y\n" + "".join(f"{'abc'[i // 8]},{i % 7},{i % 2}\n" for i in range(24))
    (spec.parent / "train.csv").write_text(text)
    document = {"dataset": {"csv": {"path": "train.csv", "target": "y"}}, **SPEC}
    spec.write_text(json.dumps({**document, "validation": {"kfold": {"k": 3}}}))
    assert main(["train", str(spec), "--runs-dir", str(spec.parent / "runs")]) == 0
    err = capsys.readouterr().err
    assert (
        "validation rows of fold 0: column 'g': 8 of 8 rows have a value that no training row has, such as "
        "'a'" in err
    )
    run = RunDirectory(next((spec.parent / "runs").iterdir()))
    found = evaluate_run(run, split="validation").unknown
    assert [(unknown.count, unknown.rows) for unknown in found] == [(24, 24)]
    # What one of the networks saw is known: of new rows all three are asked.
    tables = tables_of([network.fitted for network in load_networks(run)[0]])
    column = CategoryColumn("g", np.array([0, 1, -1], np.int32), ("a", "z"))
    table = Table((column, NumberColumn("x", np.arange(3.0))), 3)
    assert [(u.what, u.count) for u in unknown_values(tables[INPUT], table)] == [("value", 1), ("missing", 1)]
    counts = UnknownCounts(tables)
    for _ in range(2):
        counts.add({INPUT: table})
    assert [(u.count, u.rows) for u in counts.found] == [(2, 6), (2, 6)]


def test_rare_values_were_seen(spec: Path) -> None:
    (spec.parent / "train.csv").write_text(rows(["a", "b", "a", "b", "a", "b", "a", "rare"]))
    (spec.parent / "test.csv").write_text(rows(["rare"], 9))
    document = json.loads(spec.read_text())
    document["preprocessing"] = {"inputs": [{"one_hot": {"columns": "g", "min_count": 4}}]}
    spec.write_text(json.dumps(document))
    assert nnrun.final(spec, runs_dir=spec.parent / "runs").record["unknown"] == []
