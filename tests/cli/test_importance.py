"""`nnrun importance`: its screens, its JSON, its figures, and what it refuses."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pytest

from nnrun.cli import main
from tests.support.port_experiments import table_of_ports, write_columns
from tests.support.small_experiments import BINARY, check_screen, only_run, write_small

Capture = pytest.CaptureFixture[str]

KINDS = {
    "dataset": {"csv": {"path": "rows.csv", "target": "dear"}},
    "preprocessing": {"inputs": ["impute", "standardize", "one_hot"]},
    "epochs": 60,
    "optimizer": {"adam": 0.02},
    "validation": {"kfold": {"k": 4}},
}


def rows() -> pd.DataFrame:
    """A number, its double, a category and a column that decides nothing; which rows are dear."""
    found = table_of_ports()[["a", "kind", "b"]]
    found["twice"] = 2 * found["a"] + 1
    found["dear"] = ((found["a"] > 0) | (found["kind"] == "x")).map({True: "yes", False: "no"})
    return found


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture) -> Path:
    """A k-fold of a table with a category, in runs/, and nothing printed yet."""
    monkeypatch.chdir(tmp_path)
    rows().to_csv("rows.csv", index=False)
    write_small(tmp_path, {**BINARY, **KINDS})
    assert main(["train", "small.yaml", "-q"]) == 0
    capsys.readouterr()
    return tmp_path


def test_the_screens(folder: Path, capsys: Capture) -> None:
    assert main(["importance", "@last"]) == 0
    check_screen("importance", capsys.readouterr())
    arguments = ["--curve", "a", "--curve", "kind", "--metric", "loss", "--repeats", "2"]
    assert main(["importance", "@last", *arguments]) == 0
    check_screen("importance_curves", capsys.readouterr())
    plots = only_run(folder / "runs") / "plots"
    assert {path.name for path in plots.iterdir()} >= {"importance.png", "curve-a.png", "curve-kind.png"}


def test_the_screen_of_a_look_at_the_test_set(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    monkeypatch.chdir(tmp_path)
    write_columns(tmp_path)
    assert main(["train", "columns.yaml", "-q", "--epochs", "30"]) == 0
    capsys.readouterr()
    arguments = ["--split", "test", "--no-figures", "--curve", "kind"]
    assert main(["importance", "@last", *arguments]) == 0
    check_screen("importance_test_set", capsys.readouterr())
    assert not (only_run(tmp_path / "runs") / "plots" / "grade_importance.png").exists()


def test_json_has_all_of_it(folder: Path, capsys: Capture) -> None:
    assert main(["importance", "@last", "--json", "--curve", "kind", "--seed", "3", "--repeats", "2"]) == 0
    document = json.loads(capsys.readouterr().out)
    run = only_run(folder / "runs")
    assert document["run"] == run.name
    kept = json.loads((run / "importance.json").read_text())
    assert {name: value for name, value in document.items() if name not in ("run", "figures")} == kept
    assert (document["seed"], document["repeats"], document["split"], document["look"]) == (
        *(3, 2, "validation"),
        None,
    )
    (found,) = document["tables"]
    assert (found["metric"], found["higher_is_better"]) == ("accuracy", True)
    assert {column["column"] for column in found["columns"]} == {"a", "twice", "kind", "b"}
    assert all(len(column["each"]) == 4 for column in found["columns"])
    assert [(p["first"], p["second"]) for p in document["correlated"]] == [("a", "twice")]
    (curve,) = document["curves"]
    assert (curve["kind"], curve["predicted"]) == ("category", "probability")
    assert set(curve["values"]) == {"x", "y"}
    assert [line["name"] for line in curve["lines"]] == ["yes"]
    assert [Path(path).name for path in document["figures"]] == ["importance.png", "curve-kind.png"]


def test_every_column_is_shown_if_it_is_asked_for(folder: Path, capsys: Capture) -> None:
    assert main(["importance", "@last", "-v", "--no-figures"]) == 0
    screen = capsys.readouterr().out
    assert all(f"\n  {name} " in screen for name in ("a", "twice", "kind", "b"))


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--metric", "acc"], "error: --metric 'acc': the run has loss and accuracy."),
        (["--curve", "kinds"], "take no such column. Did you mean 'kind'? They take 'kind', "),
        (
            ["--output", "dear"],
            "error: --output names one of several outputs, and this run's spec names none.",
        ),
        (["--split", "test"], "error: rows has no test set. Use --split validation."),
        (["--repeats", "0"], "Invalid value for '--repeats'"),
    ],
)
def test_what_it_refuses(folder: Path, capsys: Capture, arguments: list[str], sentence: str) -> None:
    assert main(["importance", "@last", *arguments]) == 2
    assert sentence in capsys.readouterr().err
