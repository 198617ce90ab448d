"""Rows of arrays and of tokens: a script refuses what `nnrun predict` refuses, and takes what it takes."""

from __future__ import annotations

import runpy
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import nnrun
from nnrun.cli import main
from nnrun.errors import DataError
from tests.support.commands import run_script
from tests.support.small_experiments import BINARY, REGRESSION, growing_tokens, write_small
from tests.support.two_ports import GRAPH
from tests.support.two_ports import arrays as graph_arrays

GOOD = [1, 2.5, -3]


def _written(folder: Path, *spec: Any, **changes: Any) -> tuple[nnrun.Run, Any]:
    """A run, and its script, in the folder."""
    run = nnrun.train(write_small(folder, *spec, **changes), runs_dir=folder / "runs")
    assert main(["export", str(run.path), "-o", str(folder / "model.py")]) == 0
    return run, runpy.run_path(str(folder / "model.py"))


@pytest.fixture(scope="module")
def of_numbers(tmp_path_factory: pytest.TempPathFactory) -> tuple[nnrun.Run, Any]:
    return _written(tmp_path_factory.mktemp("numbers"), REGRESSION)


@pytest.fixture(scope="module")
def of_tokens(tmp_path_factory: pytest.TempPathFactory) -> tuple[nnrun.Run, Any]:
    changes = {"preprocessing": {"inputs": "multi_hot"}}
    changes["layers"] = [{"dense": {"units": 1, "activation": "sigmoid"}}]  # type: ignore[assignment]
    return _written(tmp_path_factory.mktemp("tokens"), BINARY, growing_tokens(), **changes)


BAD_NUMBERS: list[Any] = [
    [1, 2],
    [1, 2, 3, 4],
    [1, None, 3],
    [1, "2", 3],
    [True, 2, 3],
    [1, float("nan"), 3],
    [1, float("inf"), 3],
    [1, 10**400, 3],
    [[1, 2, 3], [4, 5, 6]],
    [1, [2], 3],
    "123",
    None,
    7,
]
BAD_TOKENS: list[Any] = [[1, -1], [1, 2**24 + 1], [1, 2.0], [True], ["1"], [None], [[1]], 7, None, 1.5]


@pytest.mark.parametrize("row", BAD_NUMBERS, ids=lambda row: f"{row!r:.30}")
def test_no_row_of_numbers(row: Any, of_numbers: tuple[nnrun.Run, Any]) -> None:
    run, script = of_numbers
    with pytest.raises(script["BadRow"], match="row 1 "):
        script["predict"]([GOOD, row])
    with pytest.raises(DataError, match="row 1 "):
        nnrun.predict(run, [GOOD, row])


@pytest.mark.parametrize("row", BAD_TOKENS, ids=lambda row: f"{row!r:.30}")
def test_no_list_of_tokens(row: Any, of_tokens: tuple[nnrun.Run, Any]) -> None:
    run, script = of_tokens
    with pytest.raises(script["BadRow"], match="row 1 "):
        script["predict"]([[1, 2], row])
    with pytest.raises(DataError, match="row 1 "):
        nnrun.predict(run, [[1, 2], row])


BAD_ARRAYS: dict[str, Any] = {
    "too wide": np.zeros((2, 4)),
    "one row without its axis": np.zeros(3),
    "a number": np.array(3.0),
    "complex numbers": np.zeros((2, 3), complex),
    "texts": np.full((2, 3), "1"),
    "a gap": np.array([[1, 2, 3], [1, np.nan, 3]]),
}


@pytest.mark.parametrize("name", BAD_ARRAYS)
def test_no_rows_of_numbers(name: str, of_numbers: tuple[nnrun.Run, Any]) -> None:
    run, script = of_numbers
    with pytest.raises(ValueError, match="row"):
        script["predict"](BAD_ARRAYS[name])
    with pytest.raises(DataError):
        nnrun.predict(run, BAD_ARRAYS[name])


ROWS_IN_FORMS: dict[str, Any] = {
    "lists": [GOOD, [0, 0, 0]],
    "arrays in a list": [np.array(GOOD), np.zeros(3)],
    "whole numbers": np.arange(6).reshape(2, 3),
    "true and false": np.ones((2, 3), bool),
    "another axis": np.arange(6.0).reshape(2, 1, 3),
    "a frame": pd.DataFrame(np.arange(6.0).reshape(2, 3)),
}


@pytest.mark.parametrize("name", ROWS_IN_FORMS)
def test_rows_in_each_form(name: str, of_numbers: tuple[nnrun.Run, Any]) -> None:
    run, script = of_numbers
    own = nnrun.predict(run, ROWS_IN_FORMS[name])["prediction"].to_numpy()
    found = [row["prediction"] for row in script["predict"](ROWS_IN_FORMS[name])]
    np.testing.assert_allclose(found, own, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize(("content", "said"), [
    ("1,2,3\n4,x,6\n", "row 1 has 'x', which is not a number"),
    ("a,b,c\n1,2,3\n1,2\n", "row 1 has 2 fields; the first line has 3"),
    ("1,2,3,4\n", "row 0 has the shape (4,); the network takes (3,)"),
    ("1,2,nan\n", "row 0 has a value that is missing or not finite"),
])  # fmt: skip
def test_a_file_of_numbers(content: str, said: str, of_numbers: tuple[nnrun.Run, Any]) -> None:
    run, script = of_numbers
    folder = run.path.parent.parent
    (folder / "rows.csv").write_text(content)
    with pytest.raises(script["BadRow"]) as error:
        script["predict"](script["read_array"](str(folder / "rows.csv")))
    assert said in str(error.value)


def test_columns_of_a_file_are_found_by_name(tmp_path: Path, of_numbers: tuple[nnrun.Run, Any]) -> None:
    _, script = of_numbers
    (tmp_path / "rows.csv").write_text("c,a,b,id\n3,1,2,9\n")
    assert script["read_array"](str(tmp_path / "rows.csv"), ["a", "b", "c"]) == [[1, 2, 3]]
    frame = pd.DataFrame({"c": [3], "a": [1], "b": [2], "id": [9]})
    assert script["array_rows"](frame, (3,), ["a", "b", "c"]).tolist() == [[1, 2, 3]]
    (tmp_path / "rows.csv").write_text("c,a\n3,1\n")
    with pytest.raises(ValueError, match="lacks the columns b"):
        script["read_array"](str(tmp_path / "rows.csv"), ["a", "b", "c"])


def test_a_file_of_tokens_that_is_none(of_tokens: tuple[nnrun.Run, Any]) -> None:
    run, _ = of_tokens
    folder = run.path.parent.parent
    (folder / "rows.jsonl").write_text("[1, 2]\n[1,\n")
    made = run_script("model.py", "rows.jsonl", cwd=folder)
    assert (made.returncode, made.stdout) == (1, "")
    assert made.stderr.strip() == "rows.jsonl: row 1 is '[1,', which is not JSON"


def test_tokens_beyond_the_limits_of_the_data_set_are_unknown(of_tokens: tuple[nnrun.Run, Any]) -> None:
    _, script = of_tokens
    limited = script["token_rows"]([[1, 5, 900, 2]], 2**24, first=4, end=900, unknown=2)
    assert limited == [[2, 5, 2, 2]]


def test_inputs_of_different_lengths(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    parts = {part: graph_arrays(rows, rows) for part, rows in (("train", 48), ("test", 20))}
    arrays = {f"{name}_{part}": a for part, named in parts.items() for name, a in named.items()}
    np.savez("data.npz", **arrays)
    Path("graph.yaml").write_text(GRAPH)
    assert main(["train", "graph.yaml", "-q"]) == 0
    assert main(["export", "@last", "-o", "model.py", "--member", "fold-1"]) == 0
    script, test = runpy.run_path("model.py"), parts["test"]
    rows = {"size": test["size"], "pic-ture": test["pixels"], "words": test["words"].tolist()}
    assert len(script["predict"](rows)) == 20
    with pytest.raises(ValueError, match="different numbers of rows"):
        script["predict"]({**rows, "words": rows["words"][:5]})
    with pytest.raises(ValueError, match="those of each input: "):
        script["predict"]({"size": test["size"]})
    with pytest.raises(script["BadRow"], match="row 3 "):
        script["predict"]({**rows, "words": [*rows["words"][:3], "a text", *rows["words"][4:]]})
    np.savez("less.npz", x=test["size"])
    with pytest.raises(ValueError, match="lacks the arrays "):
        script["read_arrays"]("less.npz", {"size": "size"})


NAMED_NONE: dict[str, Any] = {
    "dataset": {"csv": {"target": "y"}},
    "preprocessing": {"inputs": ["impute", "standardize", "one_hot"]},
    "layers": [{"dense": 1}],
    "loss": "mse",
    "epochs": 2,
    "validation": "holdout",
}
ODD_ROWS = pd.DataFrame(
    {
        "kind": ["None", "NA", "nan", "", "red"],
        "other": ["a", "NA", "None", "", "b"],
        "n": ["1", "NA", "2", "", "3"],
    }
)


def named_none() -> pd.DataFrame:
    rng = np.random.default_rng(0)
    kind = rng.choice(np.array(["None", "NA", "red"], object), 90)
    frame = pd.DataFrame({"kind": kind, "other": rng.choice(["a", "b"], 90), "n": rng.normal(size=90)})
    frame["y"] = (kind == "None") * 3.0 + (kind == "NA") * 1.0
    frame.loc[3, "kind"] = frame.loc[5, "other"] = frame.loc[7, "n"] = None
    return frame


def test_a_category_spelt_like_a_missing_value(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    run = nnrun.train(NAMED_NONE, data=named_none())
    ODD_ROWS.to_csv("rows.csv", index=False)
    assert main(["predict", "@last", "rows.csv", "-o", "own.csv", "-q"]) == 0
    own = pd.read_csv("own.csv")["prediction"]
    assert main(["export", "@last", "-o", "model.py"]) == 0
    made = run_script("model.py", "rows.csv", cwd=tmp_path)
    assert made.returncode == 0, made.stderr
    script = [float(line.split(",")[1]) for line in made.stdout.splitlines()[1:]]
    np.testing.assert_allclose(script, own, atol=1e-6)
    as_trained = pd.DataFrame(
        {
            "kind": ["None", "NA", None, None, "red"],
            "other": ["a", None, None, None, "b"],
            "n": [1.0, np.nan, 2.0, np.nan, 3.0],
        }
    )
    with pytest.warns(UserWarning, match="have no value in any input column"):
        typed = nnrun.predict(run, as_trained)["prediction"]
    np.testing.assert_allclose(own, typed, atol=1e-6)
    others = nnrun.predict(run, as_trained.assign(kind="red").iloc[[0]])["prediction"]
    assert abs(others.iloc[0] - own[0]) > 1e-3, "None is a category of its own"


def test_texts_in_a_frame_are_missing_as_in_the_csv_of_training(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    named_none().to_csv("train.csv", index=False)
    run = nnrun.train({**NAMED_NONE, "dataset": {"csv": {"path": "train.csv", "target": "y"}}})
    assert main(["export", "@last", "-o", "model.py"]) == 0
    said = runpy.run_path("model.py")["predict"](ODD_ROWS)
    ODD_ROWS.to_csv("rows.csv", index=False)
    with pytest.warns(UserWarning, match="have no value in any input column"):
        of_texts = nnrun.predict(run, ODD_ROWS)
    with pytest.warns(UserWarning, match="have no value in any input column"):
        assert of_texts.equals(nnrun.predict(run, pd.read_csv("rows.csv")))
    np.testing.assert_allclose([row["prediction"] for row in said], of_texts["prediction"], atol=1e-6)
