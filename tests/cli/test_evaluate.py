"""`nnrun evaluate`: a look at the test set, counted; or at the validation rows, which costs nothing."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from nnrun.cli import main
from tests.support.small_experiments import (
    BINARY,
    check_screen,
    numbers,
    only_run,
    record_of,
    write_small,
)

Capture = pytest.CaptureFixture[str]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture) -> Path:
    """A run in runs/, a k-fold in folds/, and nothing printed yet."""
    monkeypatch.chdir(tmp_path)
    write_small(tmp_path)
    assert main(["train", "small.yaml", "-q"]) == 0
    assert main(["kfold", "small.yaml", "--k", "3", "-q", "--runs-dir", "folds"]) == 0
    capsys.readouterr()
    return tmp_path


def test_the_screens(folder: Path, capsys: Capture) -> None:
    assert main(["evaluate", "@last"]) == 0
    check_screen("evaluate", capsys.readouterr())
    assert main(["evaluate", "@last"]) == 0
    check_screen("evaluate_again", capsys.readouterr())
    assert main(["evaluate", "@last", "--split", "validation"]) == 0
    check_screen("evaluate_validation", capsys.readouterr())


@pytest.mark.parametrize("classes", [2, 3, 20])
def test_it_fits_a_screen_unless_all_is_asked_for(
    classes: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setattr("sys.stdout.isatty", lambda: True, raising=False)
    rng = np.random.RandomState(0)
    arrays = {"x_train": rng.normal(size=(120, 3)), "y_train": np.arange(120) % classes}
    layers = [{"dense": {"units": classes, "activation": "softmax"}}]
    losses = {"loss": "sparse_categorical_crossentropy", "metrics": ["accuracy"]}
    write_small(tmp_path, arrays=arrays, layers=layers, **losses, linear_baseline=False)
    assert main(["kfold", "small.yaml", "--k", "3", "-q"]) == 0
    capsys.readouterr()
    assert main(["evaluate", "@last", "--split", "validation"]) == 0
    brief = capsys.readouterr().out
    assert len(brief.splitlines()) <= 30
    assert max(len(line) for line in brief.splitlines() if not line.startswith("runs/")) <= 80
    for part in ("macro mean", "expected calibration error", "Most confident mistakes"):
        assert part in brief
    assert main(["evaluate", "@last", "--split", "validation", "-v"]) == 0
    whole = capsys.readouterr().out
    assert len(whole.splitlines()) > len(brief.splitlines())
    assert any(line.startswith("  ") and " to " in line for line in whole.splitlines())  # of calibration


def test_mistakes_that_are_asked_for_are_shown_in_full(folder: Path, capsys: Capture) -> None:
    assert main(["evaluate", "@last", "--split", "validation", "--mistakes", "12", "--no-figures"]) == 0
    assert len([line for line in capsys.readouterr().out.splitlines() if line.startswith("      ")]) >= 12


def test_the_screens_of_folds(folder: Path, capsys: Capture) -> None:
    assert main(["evaluate", "@last", "--runs-dir", "folds"]) == 0
    check_screen("evaluate_folds", capsys.readouterr())
    assert main(["evaluate", "@last", "--runs-dir", "folds", "--interval", "0.8"]) == 0
    check_screen("evaluate_interval", capsys.readouterr())
    assert main(["evaluate", "@last", "--runs-dir", "folds", "--split", "validation"]) == 0
    check_screen("evaluate_folds_validation", capsys.readouterr())


def test_the_screens_of_seeds(folder: Path, capsys: Capture) -> None:
    drawn = "validation={holdout: {fraction: 0.3, shuffle: true}}"
    arguments = ["--seeds", "3", "--set", drawn, "-q", "--runs-dir", "seeds"]
    assert main(["train", "small.yaml", *arguments]) == 0
    capsys.readouterr()
    assert main(["evaluate", "@last", "--runs-dir", "seeds"]) == 0
    check_screen("evaluate_seeds", capsys.readouterr())
    assert main(["evaluate", "@last", "--runs-dir", "seeds", "--split", "validation"]) == 0
    check_screen("evaluate_seeds_validation", capsys.readouterr())


def test_the_screens_of_a_calibrated_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    monkeypatch.chdir(tmp_path)
    fitted = {"calibrate": "platt", "threshold": {"maximize": "f1"}}
    write_small(tmp_path, BINARY, metrics=["f1"], epochs=20, **fitted)
    assert main(["kfold", "small.yaml", "--k", "3", "-q"]) == 0
    check_screen("kfold_calibrated", capsys.readouterr())
    assert main(["evaluate", "@last"]) == 0
    check_screen("evaluate_calibrated", capsys.readouterr())
    assert main(["evaluate", "@last", "--split", "validation"]) == 0
    check_screen("evaluate_calibrated_validation", capsys.readouterr())
    assert main(["evaluate", "@last", "--json"]) == 0
    undecided = json.loads(capsys.readouterr().out)["undecided"]
    assert undecided["scores"].keys() == {"loss", "f1"}
    assert not undecided["fitted_on_these_rows"]
    assert main(["export", "@last", "--member", "fold-0", "-o", "m.pt2"]) == 0
    check_screen("export_calibrated", capsys.readouterr())
    assert main(["final", "@last", "-q"]) == 0
    check_screen("final_calibrated", capsys.readouterr())


def test_the_screen_of_a_model_of_folds_on_validation_rows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    monkeypatch.chdir(tmp_path)
    write_small(tmp_path, BINARY, metrics=["accuracy", "f1"], epochs=20)
    assert main(["kfold", "small.yaml", "--k", "5", "-q"]) == 0
    assert main(["final", "@last", "--members", "folds", "-q"]) == 0
    capsys.readouterr()
    assert main(["evaluate", "@last", "--split", "validation", "--no-figures"]) == 0
    check_screen("evaluate_out_of_fold", capsys.readouterr())


def test_looks_of_other_runs_count_as_well(folder: Path, capsys: Capture) -> None:
    assert main(["evaluate", "@last"]) == 0
    assert main(["final", "@last", "-q"]) == 0
    assert "\nThis is the 2nd look at the small test set by experiments named 'small' (in runs/).\n" in (
        capsys.readouterr().out
    )
    assert main(["rm", "-y", "@last"]) == 0
    assert main(["evaluate", "@last"]) == 0
    assert capsys.readouterr().out.endswith(
        "\nThis is the 3rd look at the small test set by experiments named 'small' (in runs/), "
        "the 2nd by this run.\n"
    )
    assert main(["final", "small.yaml", "-q", "--set", "name=other"]) == 0
    assert (
        "This is the 1st look at the small test set by experiments named 'other', the 4th by any experiment "
        "(in runs/)."
    ) in capsys.readouterr().out
    assert main(["ls", "--json", "--name", "other"]) == 0
    (listed,) = json.loads(capsys.readouterr().out)
    assert [listed[key] for key in ("look", "looks", "look_of_any", "looks_of_any")] == [1, 1, 4, 4]
    assert main(["ls", "--name", "other"]) == 0
    assert "1st of 1, 4th of 4 by any" in capsys.readouterr().out


def test_json(folder: Path, capsys: Capture) -> None:
    assert main(["evaluate", "@last", "--json"]) == 0
    printed = capsys.readouterr()
    document = json.loads(printed.out)
    record = record_of(only_run(folder / "runs"))
    assert list(document) == [
        "run",
        "name",
        "data",
        "split",
        "rows",
        "weights",
        "networks",
        "kind",
        "members",
        "scores",
        "std",
        "scores_epoch",
        "kept",
        "ensemble",
        "baseline",
        "test_uses",
        "look",
        "look_of_any",
        "combination",
        "not_better_than_baseline",
        "linear_baseline",
        "not_better_than_linear",
        "unknown",
        "epoch",
        "chosen_on_these_rows",
        "classification",
        "multi_label",
        "residuals",
        "figures",
    ]
    assert (document["run"], document["split"], document["rows"]) == (record["id"], "test", 12)
    assert (document["scores"], document["test_uses"]) == (record["test"], 1)
    assert printed.err == ""


def test_the_same_scores_are_shown_as_kept(folder: Path, capsys: Capture) -> None:
    assert main(["evaluate", "@last", "--json"]) == 0
    first = json.loads(capsys.readouterr().out)
    assert main(["evaluate", "@last", "--json"]) == 0
    second = json.loads(capsys.readouterr().out)
    assert first["scores"] == second["scores"]
    assert (first["test_uses"], second["test_uses"]) == (1, 2)
    assert (first["look"], second["look"]) == (1, 2)
    assert len(record_of(only_run(folder / "runs"))["test_uses"]) == 2


def test_changed_data_are_refused_with_4_and_not_looked_at(folder: Path, capsys: Capture) -> None:
    write_small(folder, arrays=numbers(seed=1))
    assert main(["evaluate", "@last"]) == 4
    printed = capsys.readouterr()
    run = only_run(folder / "runs")
    assert printed.out == ""
    assert printed.err.startswith(
        f"error: small.npz is not the file that {run.name} was trained on: its SHA-256 is "
    )
    assert record_of(run)["test_uses"] == []


def test_scikit_learn_s_sets_have_no_test_set(folder: Path, specs_dir: Path, capsys: Capture) -> None:
    arguments = ["--epochs", "1", "-q", "--runs-dir", "sklearn"]
    assert main(["train", str(specs_dir / "breast_cancer.yaml"), *arguments]) == 0
    capsys.readouterr()
    assert main(["evaluate", "@last", "--runs-dir", "sklearn"]) == 2
    assert capsys.readouterr() == (
        "",
        "error: breast_cancer has no test set. Use --split validation.\n",
    )
    assert main(["evaluate", "@last", "--runs-dir", "sklearn", "--split", "validation"]) == 0


def test_a_run_without_validation(folder: Path, capsys: Capture) -> None:
    assert main(["train", "small.yaml", "--set", "validation=none", "-q", "--runs-dir", "whole"]) == 0
    capsys.readouterr()
    assert main(["evaluate", "@last", "--split", "validation", "--runs-dir", "whole"]) == 2
    run = only_run(folder / "whole")
    assert capsys.readouterr() == (
        "",
        f"error: {run.name} was trained on all training rows: it has no validation rows.\n",
    )


def test_a_run_that_is_not_there(folder: Path, capsys: Capture) -> None:
    assert main(["evaluate", "nothing"]) == 2
    assert capsys.readouterr() == ("", "error: No run 'nothing' in runs. `nnrun ls` lists all 1.\n")
    assert main(["evaluate", "@last", "--runs-dir", "empty"]) == 2
    assert capsys.readouterr() == ("", "error: @last: there are no runs in empty yet.\n")


def test_a_split_that_is_not_there(folder: Path, capsys: Capture) -> None:
    assert main(["evaluate", "@last", "--split", "tset"]) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert "'--split'" in printed.err
    assert "'tset'" in printed.err


def test_figures_are_drawn_into_the_run_or_not_at_all(folder: Path, capsys: Capture) -> None:
    run = only_run(folder / "runs")
    assert main(["evaluate", "@last", "--split", "validation", "--no-figures"]) == 0
    assert ".png" not in capsys.readouterr().out
    assert not (run / "plots" / "residuals.png").exists()
    assert main(["evaluate", "@last", "--split", "validation", "--json"]) == 0
    (figure,) = json.loads(capsys.readouterr().out)["figures"]
    assert Path(figure).resolve() == run / "plots" / "residuals.png"
    assert (run / "plots" / "residuals.png").stat().st_size > 0


def test_as_many_rows_are_shown_as_are_asked_for(folder: Path, capsys: Capture) -> None:
    arguments = ["evaluate", "@last", "--split", "validation", "--no-figures", "--json", "--mistakes"]
    assert main([*arguments, "2"]) == 0
    two = json.loads(capsys.readouterr().out)["residuals"]["worst"]
    assert main([*arguments, "99"]) == 0
    every = json.loads(capsys.readouterr().out)["residuals"]["worst"]
    assert (len(two), len(every)) == (2, 16)
    assert two == every[:2]
    sizes = [abs(row["true"] - row["predicted"]) for row in every]
    assert sizes == sorted(sizes, reverse=True)
    assert main([*arguments, "0"]) == 0
    assert json.loads(capsys.readouterr().out)["residuals"]["worst"] == []


def test_several_labels_a_row(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture) -> None:
    monkeypatch.chdir(tmp_path)
    rows = [f"{i / 20},{int(i > 9)},{int(i % 10 == 0)}" for i in range(20)]
    Path("rows.csv").write_text("\n".join(["a,big,old", *rows, *rows]) + "\n")
    Path("labels.yaml").write_text(
        "dataset: {csv: {path: rows.csv, target: [big, old], test: {fraction: 0.5, shuffle: false}}}\n"
        "layers: [{dense: {units: 2, activation: sigmoid}}]\n"
        "loss: binary_crossentropy\noptimizer: {adam: 0.1}\nbatch_size: 4\nepochs: 60\n"
    )
    assert main(["train", "labels.yaml", "-q"]) == 0
    capsys.readouterr()
    assert main(["evaluate", "@last"]) == 0
    printed = capsys.readouterr()
    assert printed.err == ""
    assert (
        "\n\n".join(printed.out.split("\n\n")[2:4])
        == """\
Labels: all labels are correct in 18 of 20 rows (0.9000); a label is predicted where its probability is above
0.5
  label          precision  recall      F1  support
  big               1.0000  1.0000  1.0000       10
  old               0.0000  0.0000  0.0000        2

  micro mean        1.0000  0.8333  0.9091       12
  macro mean        0.5000  0.5000  0.5000       12
  weighted mean     0.8333  0.8333  0.8333       12"""
    )
    (figure,) = Path("runs").glob("*/plots/labels.png")
    assert printed.out.split("\n\n")[4] == str(figure)


@pytest.mark.parametrize("split", ["test", "validation"])
@pytest.mark.parametrize("target", ["word", "number"])
def test_rows_of_a_file_are_told_by_their_lines(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    split: str,
    target: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    rows = [f"{i},{i * 37 % 11},{'abc'[i * 7 % 3]}" for i in range(40)]
    (tmp_path / "rows.csv").write_text("\n".join(["x,number,word", *rows]) + "\n")
    words = target == "word"
    last = {"units": 3, "activation": "softmax"} if words else {"units": 1}
    spec = {
        "dataset": {"csv": {"path": "rows.csv", "target": target, "inputs": "x", "test": {"fraction": 0.4}}},
        "layers": [{"dense": last}],
        "loss": "sparse_categorical_crossentropy" if words else "mse",
        "validation": {"holdout": {"fraction": 0.4}},
    }
    (tmp_path / "spec.yaml").write_text(json.dumps(spec))
    assert main(["train", "spec.yaml", "-q"]) == 0
    capsys.readouterr()
    assert main(["evaluate", "@last", "--split", split, "--no-figures", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    shown = found["classification"]["mistakes"] if words else found["residuals"]["worst"]
    assert len(shown) == 5
    for row in shown:
        line = [None, "x,number,word", *rows][row["in_file"]]
        assert line == rows[row["file_row"]]
        assert line is not None
        true = row["true"] if words else f"{row['true']:g}"
        assert line.split(",")[2 if words else 1] == true
        assert line.split(",")[0] in row["text"].split()
    assert main(["evaluate", "@last", "--split", split, "--no-figures"]) == 0
    assert "row  line" in capsys.readouterr().out
