"""`nnrun compare`: the screens, the figure, CSV and JSON."""

from __future__ import annotations

import csv
import io
import json
import sys
from pathlib import Path
from typing import Any

import pytest
from scipy import stats

from nnrun.cli import main
from nnrun.records import find_run
from tests.support.runs_on_disk import make_run, scored_run, scores_of
from tests.support.small_experiments import check_screen, write_small

Capture = pytest.CaptureFixture[str]

LOW = (0.70, 0.72, 0.71, 0.74, 0.73, 0.70, 0.72)
HIGH = (0.75, 0.78, 0.75, 0.77, 0.80, 0.74, 0.79)
A, B, C = (f"{name}-2026010{i}T000000Z-aaa{i}" for i, name in enumerate(("small", "adam", "noisy"), 1))
ONLY_A = f"compare needs at least two runs, but got only {A}"
WIDER = [{"dense": {"units": 64, "activation": "relu"}}, {"dense": {"units": 1, "activation": "sigmoid"}}]
ADAM: dict[str, Any] = {"optimizer": {"adam": {"learning_rate": 0.01}}, "layers": WIDER}


@pytest.fixture
def runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two runs of seven seeds, the second better, and a third that is as good as the first."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("COLUMNS", raising=False)
    scored_run(Path("runs"), A, scores_of(*LOW))
    scored_run(Path("runs"), B, scores_of(*HIGH), spec=ADAM)
    noisy = (value + (-0.02 if i % 2 else 0.021) for i, value in enumerate(LOW))
    scored_run(Path("runs"), C, scores_of(*noisy), spec={"batch_size": 512})
    return Path("runs")


def on_a_terminal(monkeypatch: pytest.MonkeyPatch, columns: int) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True, raising=False)


def test_the_screen(runs: Path, capsys: Capture) -> None:
    assert main(["compare", "small", "adam"]) == 0
    check_screen("compare", capsys.readouterr())
    assert (runs / A / "plots" / "compare.png").read_bytes().startswith(b"\x89PNG")


def test_a_narrow_screen_of_three(runs: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch) -> None:
    on_a_terminal(monkeypatch, 80)
    assert main(["compare", "small", "adam", "noisy", "-o", "all.png"]) == 0
    printed = capsys.readouterr()
    assert max(map(len, printed.out.splitlines())) <= 80
    check_screen("compare_narrow", printed)


def test_the_screen_of_folds(runs: Path, capsys: Capture) -> None:
    folds: dict[str, Any] = {"kind": "fold", "command": "kfold"}
    kfold = {"validation": {"kfold": 4}}
    scored_run(runs, "k4-20260104T000000Z-bbbb", scores_of(*LOW[:4]), spec=kfold, **folds)
    scored_run(runs, "k4-20260105T000000Z-cccc", scores_of(*HIGH[:4]), spec={**kfold, "epochs": 9}, **folds)
    assert main(["compare", "k4-20260104", "k4-20260105", "--no-figure"]) == 0
    check_screen("compare_folds", capsys.readouterr())


def test_the_screen_of_what_is_not_comparable(runs: Path, capsys: Capture) -> None:
    tested: dict[str, Any] = {"test_uses": [{}], "weights_epoch": 3}
    scored_run(
        runs,
        "one-20260104T000000Z-bbbb",
        scores_of(0.7),
        kind=None,
        test={"loss": 0.4, "accuracy": 0.69},
        **tested,
    )
    scored_run(
        runs,
        "other-20260105T000000Z-cccc",
        scores_of(0.8, measure="val_auc"),
        kind=None,
        spec={"validation": {"holdout": {"fraction": 0.5}}, "metrics": ["auc"]},
        status="interrupted",
        test={"loss": 0.3, "auc": 0.9},
        **tested,
    )
    late = make_run(runs, "late-20260106T000000Z-dddd", status="running")
    late.write_resolved(find_run("one", runs).read_resolved())
    with late.owned():
        assert main(["compare", "one", "other", "late"]) == 0
    check_screen("compare_other_rows", capsys.readouterr())


def test_the_screen_of_the_specs_alone(runs: Path, capsys: Capture) -> None:
    assert main(["compare", "small", "adam", "--spec-only"]) == 0
    check_screen("compare_spec_only", capsys.readouterr())
    assert not list(runs.glob("*/plots"))


def test_csv(runs: Path, capsys: Capture) -> None:
    assert main(["compare", "small", "adam", "--csv"]) == 0
    printed = capsys.readouterr()
    header, *rows = csv.reader(io.StringIO(printed.out))
    assert header == ["what", "name", A, B]
    table = {(what, name): values for what, name, *values in rows}
    assert table["spec", "optimizer"] == ["rmsprop", "{adam: 0.01}"]
    assert table["run", "best_epoch"] == ["2", "2"]
    scores = table["score", "val_accuracy"]
    assert [float(score) for score in scores] == pytest.approx([sum(LOW) / 7, sum(HIGH) / 7])
    assert table["difference", "val_accuracy"][0] == ""
    assert float(table["t_p", "val_accuracy"][1]) == pytest.approx(stats.ttest_rel(HIGH, LOW).pvalue)
    assert table["pairs", "val_accuracy"] == ["", "7"]
    assert ("run", "tested_epoch") not in table
    assert printed.err == f"Figure  runs/{A}/plots/compare.png\n"


def test_json(runs: Path, capsys: Capture) -> None:
    assert main(["compare", "small", "adam", "noisy", "--json", "-o", "x.svg"]) == 0
    printed = capsys.readouterr()
    document = json.loads(printed.out)
    assert printed.err == ""
    assert list(document) == [
        "runs",
        "pairs",
        "spec_differences",
        "verdicts",
        "power",
        "notes",
        "figure",
    ]
    assert document["figure"] == "x.svg"
    assert Path("x.svg").is_file()
    assert [run["label"] for run in document["runs"]] == ["A", "B", "C"]
    assert document["runs"][0]["against_first"] == []
    loss, accuracy = document["runs"][1]["against_first"]
    assert (loss["name"], accuracy["name"]) == ("val_loss", "val_accuracy")
    assert accuracy["test"]["n"] == 7
    assert accuracy["test"]["t_p"] == pytest.approx(stats.ttest_rel(HIGH, LOW).pvalue)
    assert document["spec_differences"][0] == {"path": "layers[0].dense.units", "values": [16, 64, 16]}
    assert len(document["verdicts"]) == 6
    assert [(pair["first"], pair["second"]) for pair in document["pairs"]] == [
        ("A", "B"),
        ("A", "C"),
        ("B", "C"),
    ]
    assert document["pairs"][0]["scores"] == document["runs"][1]["against_first"]
    of_third = document["pairs"][2]["scores"][1]
    assert of_third["holm_p"] == pytest.approx(max(2 * of_third["test"]["t_p"], 3 * accuracy["holm_p"] / 3))
    assert (of_third["equal"], of_third["common"]) == (None, list(range(7)))
    assert of_third["power"]["detectable"] > 0
    assert document["runs"][0]["scores"]["val_accuracy"]["mean"] == pytest.approx(sum(LOW) / 7)


def test_the_screen_where_small_differences_are_none(runs: Path, capsys: Capture) -> None:
    """Of an interrupted run only some seeds have scores."""
    some = scored_run(runs, "some-20260104T000000Z-aaa4", scores_of(*HIGH[:4]), status="interrupted")
    record = some.read_record()
    record.seeds = list(range(7))
    some.write_record(record)
    assert main(["compare", "small", "some", "--equal", "0.01", "--equal", "loss=0.02", "--no-figure"]) == 0
    check_screen("compare_equal", capsys.readouterr())


def test_the_screen_of_three_where_small_differences_are_none(runs: Path, capsys: Capture) -> None:
    assert main(["compare", "small", "adam", "noisy", "--equal", "0.01", "--no-figure"]) == 0
    check_screen("compare_pairs", capsys.readouterr())


def test_small_differences_in_json_and_csv(runs: Path, capsys: Capture) -> None:
    assert main(["compare", "small", "adam", "noisy", "--equal", "0.05", "--json", "--no-figure"]) == 0
    document = json.loads(capsys.readouterr().out)
    loss, accuracy = document["pairs"][0]["scores"]
    assert loss["equal"] is None
    assert list(accuracy["equal"]) == ["within", "first_better", "equal", "second_better"]
    assert sum(accuracy["equal"].values()) == pytest.approx(1.05)
    assert (
        main(["compare", "small", "adam", "noisy", "--equal", "val_accuracy=0.05", "--csv", "--no-figure"])
        == 0
    )
    table = {(w, n): v for w, n, *v in csv.reader(io.StringIO(capsys.readouterr().out))}
    better = table["p_better", "val_accuracy"]
    assert (better[0], float(better[1])) == ("", pytest.approx(accuracy["equal"]["second_better"]))
    third = document["pairs"][2]["scores"][1]["equal"]
    assert table[f"p_worse from {B}", "val_accuracy"][:2] == ["", ""]
    assert float(table[f"p_worse from {B}", "val_accuracy"][2]) == pytest.approx(third["first_better"])


def test_trained_seeds_from_end_to_end(
    tmp_path: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    write_small(tmp_path)
    for change in ("batch_size=8", "batch_size=4"):
        assert main(["train", "small.yaml", "--seeds", "3", "-q", "--set", change, "--runs-dir", change]) == 0
    capsys.readouterr()
    paths = [next(Path(folder).iterdir()) for folder in ("batch_size=8", "batch_size=4")]
    assert main(["compare", *(f"./{path}" for path in paths), "--json", "--no-figure"]) == 0
    document = json.loads(capsys.readouterr().out)
    columns = []
    for path in paths:
        history = find_run(f"./{path}", tmp_path).read_history()
        record = json.loads((path / "run.json").read_text())
        columns.append(history[history["epoch"] == record["best_epoch"]]["val_mae"].to_numpy())
    test = next(s for s in document["runs"][1]["against_first"] if s["name"] == "val_mae")["test"]
    assert test["t_p"] == pytest.approx(stats.ttest_rel(columns[1], columns[0]).pvalue, rel=1e-5)
    assert document["spec_differences"] == [{"path": "batch_size", "values": [8, 4]}]


def test_runs_of_one_id_go_by_their_paths(runs: Path, capsys: Capture) -> None:
    scored_run(Path("others"), A, scores_of(*HIGH))
    assert main(["compare", A, f"others/{A}", "--no-figure"]) == 0
    first, second = capsys.readouterr().out.splitlines()[:2]
    assert first == f"A  runs/{A}    train, 7 seeds"
    assert second == f"B  others/{A}  train, 7 seeds"


def test_runs_without_an_epoch_have_no_figure(runs: Path, capsys: Capture) -> None:
    resolved = find_run("small", runs).read_resolved()
    for name in ("x", "y"):
        make_run(runs, name, status="failed").write_resolved(resolved)
    assert main(["compare", "x", "y"]) == 0
    printed = capsys.readouterr()
    assert printed.err == "No figure: none of these runs has finished an epoch.\n"
    assert printed.out == (
        "A  x  train, failed\nB  y  train, failed\n\nThe specs are the same.\n\n"
        "A has no scores: no epoch has ended.\nB has no scores: no epoch has ended.\n"
    )


@pytest.mark.parametrize(
    ("arguments", "code", "sentence"),
    [
        (["small"], 2, f"{ONLY_A}."),
        (["small", "small"], 2, f"{ONLY_A}: 'small' is named more than once."),
        (["small", f"runs/{A}"], 2, f"{ONLY_A}: 'small' and 'runs/{A}' are the same run."),
        (["small", "adam", "--json", "--csv"], 2, "--json and --csv are two formats: choose one."),
        (["small", "adam", "-o", "x.jpg"], 2, "-o must name a .png or .svg file, but got x.jpg."),
        (
            ["small", "adam", "-o", "x.png", "--no-figure"],
            2,
            "-o asks for a figure and --no-figure for none.",
        ),
        (
            ["small", "adam", "-o", "x.png", "--spec-only"],
            2,
            "-o asks for a figure and --spec-only for none.",
        ),
        (
            ["small", "adam", "--equal", "-1"],
            2,
            "--equal takes a number from 0, in the score's units, or SCORE=NUMBER, but got '-1'.",
        ),
        (["small", "adam", "--equal", "1", "--equal", "2"], 2, "--equal is given twice without a score."),
        (
            ["small", "adam", "--equal", "auc=1"],
            2,
            "--equal names 'auc', which these runs have no validation score of. They have loss and accuracy.",
        ),
        (
            ["small", "adam", "--equal", "1", "--spec-only"],
            2,
            "--equal asks about scores, --spec-only for none.",
        ),
        (["small", "typo"], 2, "No run 'typo' in runs. `nnrun ls` lists all 3."),
        (["small", "adam", "-o", "no/x.png"], 1, "Cannot write no/x.png: No such file or directory."),
        (["small", "bare"], 4, "runs/bare has no resolved.yaml."),
    ],
)
def test_what_cannot_be_compared_is_said(
    runs: Path, arguments: list[str], code: int, sentence: str, capsys: Capture
) -> None:
    if "bare" in arguments:
        make_run(runs, "bare")
    assert main(["compare", *arguments]) == code
    printed = capsys.readouterr()
    assert printed.err == f"error: {sentence}\n"
    if "--json" not in arguments:
        assert printed.out == ""


def test_a_record_cannot_disturb_the_terminal(runs: Path, capsys: Capture) -> None:
    scored_run(runs, "evil", scores_of(*LOW), command="\x1b[2J\x9b")
    for arguments in ([], ["--csv"], ["--spec-only"]):
        assert main(["compare", "small", "evil", "--no-figure", *arguments]) == 0
        assert not set("\x1b\x9b") & set(capsys.readouterr().out)
