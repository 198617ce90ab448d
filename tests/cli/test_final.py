"""`nnrun final`: the last step, and the only training that looks at the test set."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from nnrun.cli import main
from tests.support.small_experiments import check_screen, only_run, record_of, write_small

Capture = pytest.CaptureFixture[str]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture) -> Path:
    """A run in runs/, and nothing printed yet."""
    monkeypatch.chdir(tmp_path)
    write_small(tmp_path)
    assert main(["train", "small.yaml", "-q"]) == 0
    capsys.readouterr()
    return tmp_path


def test_the_screen(folder: Path, capsys: Capture) -> None:
    assert main(["final", "@last", "--runs-dir", "runs"]) == 0
    check_screen("final", capsys.readouterr())


def test_the_screen_of_a_spec(folder: Path, capsys: Capture) -> None:
    assert main(["final", "small.yaml", "--epochs", "2", "--seed", "1"]) == 0
    check_screen("final_of_a_spec", capsys.readouterr())


def test_the_screen_without_a_test_set(folder: Path, specs_dir: Path, capsys: Capture) -> None:
    assert main(["final", str(specs_dir / "breast_cancer.yaml"), "--epochs", "2", "-q"]) == 0
    check_screen("final_without_test_set", capsys.readouterr())


def test_the_screen_of_folds_averaged(folder: Path, capsys: Capture) -> None:
    changes = [
        "--set",
        "early_stopping={patience: 1, restore_best: true}",
        "--set",
        "optimizer={rmsprop: 0.3}",
    ]
    assert main(["kfold", "small.yaml", "--k", "3", "--epochs", "9", "-q", *changes]) == 0
    capsys.readouterr()
    assert main(["final", "@last", "--members", "folds"]) == 0
    check_screen("final_members_folds", capsys.readouterr())


def test_the_screen_of_seeds_averaged(folder: Path, capsys: Capture) -> None:
    assert main(["final", "small.yaml", "--seeds", "3", "-q"]) == 0
    check_screen("final_seeds", capsys.readouterr())


def test_members_are_not_trained(folder: Path, capsys: Capture) -> None:
    assert main(["final", "@last", "--members", "folds", "--epochs", "3"]) == 2
    wanted = "--epochs is for training, and with --members folds nothing is trained: leave it out."
    assert wanted in capsys.readouterr().err
    assert main(["final", "small.yaml", "--members", "seeds"]) == 2
    assert "--members seeds takes the networks of a run, and small.yaml is a spec" in capsys.readouterr().err


def test_json(folder: Path, capsys: Capture) -> None:
    parent = only_run(folder / "runs")
    assert main(["final", str(parent), "--runs-dir", "finals", "--json", "-q"]) == 0
    printed = capsys.readouterr()
    run = only_run(folder / "finals")
    document = json.loads(printed.out)
    assert document == {**record_of(run), "path": f"finals/{run.name}"}
    assert (document["command"], document["parent"]) == ("final", parent.name)
    assert set(document["test"]) == {"loss", "mae"}
    assert printed.err == ""


def test_the_best_epoch_of_the_mean_over_seeds(folder: Path, capsys: Capture) -> None:
    fast = ["--set", "optimizer={rmsprop: 3.0}", "--epochs", "8", "--seed", "7"]
    assert main(["train", "small.yaml", "--seeds", "3", "-q", "--runs-dir", "seeds", *fast]) == 0
    capsys.readouterr()
    parent = record_of(only_run(folder / "seeds"))
    assert parent["best_epoch"] < 8
    assert main(["final", "@last", "-q", "--json", "--runs-dir", "seeds"]) == 0
    document = json.loads(capsys.readouterr().out)
    chosen = document["chosen_from"]
    assert (document["epochs_run"], document["parent"]) == (chosen["epoch"], parent["id"])
    assert (chosen["column"], chosen["smoothed"]) == ("val_loss", True)
    assert (document["seed"], document["seeds"]) == (7, None)


@pytest.mark.parametrize(
    ("arguments", "epochs"), [([], 3), (["--epochs", "best"], 3), (["--epochs", "5"], 5)]
)
def test_how_long(folder: Path, arguments: list[str], epochs: int) -> None:
    assert main(["final", "runs/" + only_run(folder / "runs").name, "--runs-dir", "finals", *arguments]) == 0
    assert record_of(only_run(folder / "finals"))["epochs_run"] == epochs


def test_a_smoke_run_of_every_kind_of_source(folder: Path, specs_dir: Path) -> None:
    """Of a spec with --smoke; and of a smoke run, whose data are generated again."""
    assert main(["final", str(specs_dir / "reuters.yaml"), "--smoke", "-q", "--runs-dir", "a"]) == 0
    record = record_of(only_run(folder / "a"))
    assert (record["smoke"], record["rows"]["train"], set(record["test"])) == (
        True,
        256,
        {"loss", "accuracy"},
    )
    assert main(["train", str(specs_dir / "imdb.yaml"), "--smoke", "-q", "--runs-dir", "b"]) == 0
    assert main(["final", "@last", "-q", "--runs-dir", "b"]) == 0
    assert [record_of(run)["smoke"] for run in (folder / "b").iterdir()] == [True, True]


MISTAKES: list[tuple[list[str], int, str]] = [
    (
        ["small.yaml", "--epochs", "best"],
        2,
        "error: --epochs best needs a run with validation; name the run, or give a number.\n",
    ),
    (["@last", "--epochs", "0"], 2, "error: --epochs is '0'; it must be a whole number from 1, or best.\n"),
    (["@last", "--epochs", "-3"], 2, "error: --epochs is '-3'; it must be a whole number from 1, or best.\n"),
    (["@last", "--epochs", "x"], 2, "error: --epochs is 'x'; it must be a whole number from 1, or best.\n"),
    (["nothing"], 2, "error: No run 'nothing' in runs. `nnrun ls` lists all 1.\n"),
    (["smal.yaml"], 2, "error: smal.yaml: no such file; did you mean small.yaml?\n"),
]


@pytest.mark.parametrize(("arguments", "code", "sentence"), MISTAKES)
def test_a_mistake_is_one_sentence_and_no_run(
    arguments: list[str], code: int, sentence: str, folder: Path, capsys: Capture
) -> None:
    before = only_run(folder / "runs")
    assert main(["final", *arguments]) == code
    assert capsys.readouterr() == ("", sentence)
    assert only_run(folder / "runs") == before


def test_of_a_final_run_somebody_must_say_how_long(folder: Path, capsys: Capture) -> None:
    assert main(["final", "@last", "--runs-dir", "runs", "-q", "--json"]) == 0
    final = json.loads(capsys.readouterr().out)["id"]
    assert main(["final", final]) == 2
    assert capsys.readouterr() == (
        "",
        f"error: {final} has no best epoch, since it has no validation (it is a final run itself); "
        "say how long to train with --epochs N.\n",
    )
