"""`nnrun lr`: what a person sees, and what a script gets."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from nnrun.cli import main
from nnrun.records import list_runs, list_sweeps
from tests.support.small_experiments import (
    KFOLD,
    check_screen,
    record_of,
    steady,
    without_seconds,
    write_small,
)

Capture = pytest.CaptureFixture[str]
KEY = "optimizer.rmsprop.learning_rate"
FEW = ["--from", "1e-4", "--to", "10", "--count", "6", "--epochs", "4"]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the command is typed: small.yaml is there, and runs/ will be."""
    monkeypatch.chdir(tmp_path)
    write_small(tmp_path)
    return tmp_path


def test_the_screen(folder: Path, capsys: Capture) -> None:
    assert main(["lr", "small.yaml", *FEW]) == 0
    check_screen("lr", capsys.readouterr())


def test_the_screen_of_folds_and_a_schedule(folder: Path, capsys: Capture) -> None:
    write_small(
        folder, validation=KFOLD, learning_rate_schedule={"cosine": {}}, early_stopping={"monitor": "loss"}
    )
    assert main(["lr", "small.yaml", *FEW]) == 0
    check_screen("lr_folds", capsys.readouterr())
    assert all(record_of(run.run.path)["folds"] == [0] for run in list_runs(folder / "runs"))


def test_where_every_rate_diverges_the_exit_code_is_1(folder: Path, capsys: Capture) -> None:
    arguments = ["--set", "optimizer=sgd", "--from", "1e20", "--to", "1e22", "--count", "3"]
    assert main(["lr", "small.yaml", *arguments]) == 1
    check_screen("lr_diverged", capsys.readouterr())


def test_the_plot_in_the_terminal(folder: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "60")
    assert main(["lr", "small.yaml", *FEW, "-q", "--terminal"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("Training and validation loss, learning rates, on a logarithmic axis; take ")
    assert lines[13].split() == ["0.0001", "10"]


def test_without_options_32_rates_take_200_steps(folder: Path, capsys: Capture) -> None:
    assert main(["lr", "small.yaml", "-q", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    rates = [trial["rate"] for trial in found["rates"]]
    assert (rates[0], rates[-1], len(rates)) == (1e-5, 1.0, 32)
    assert found["epochs"] == 50  # of 32 training rows in batches of 8
    assert found["rate"] in rates
    assert found["set"] == f"{KEY}={found['rate']:g}"
    assert found["plateau"][0] <= found["rate"] <= found["plateau"][1]
    assert Path(found["figure"]).is_file()
    assert main(["train", "small.yaml", "--set", found["set"], "-q"]) == 0


def test_rows_that_would_be_inner_rows_train(folder: Path, capsys: Capture) -> None:
    inner = ["--set", "early_stopping={on: inner, fraction: 0.5}"]
    assert main(["lr", "small.yaml", "-q", "--json", *inner, "--count", "3", "--steps", "8"]) == 0
    assert json.loads(capsys.readouterr().out)["epochs"] == 2  # of 32 training rows in batches of 8


def test_the_same_test_again_trains_nothing(folder: Path, capsys: Capture) -> None:
    assert main(["lr", "small.yaml", *FEW, "-q"]) == 0
    first = capsys.readouterr().out
    assert main(["lr", "small.yaml", *FEW]) == 0
    again = capsys.readouterr()
    assert again.out == first
    assert again.err.endswith(" is already complete. To run it again: --new.\n")
    assert main(["lr", "small.yaml", *FEW, "-q", "--new"]) == 0
    assert len(list_sweeps(folder / "runs")) == 2


def test_each_rate_is_trained_as_it_would_be_alone(folder: Path, capsys: Capture) -> None:
    assert main(["lr", "small.yaml", *FEW, "-q", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    (sweep,) = list_sweeps(folder / "runs")
    for trial in sweep.read_record().trials[1:3]:
        change = f"{KEY}={trial.values[KEY]}"
        arguments = ["--set", change, "--epochs", "4", "--runs-dir", f"alone{trial.number}", "-q"]
        assert main(["train", "small.yaml", *arguments]) == 0
        (alone,) = list_runs(folder / f"alone{trial.number}")
        assert without_seconds(folder / "runs" / str(trial.run)) == without_seconds(alone.run.path)
    assert found["rates"][1]["val_loss"] == sweep.read_record().trials[1].score


def test_its_runs_are_those_of_a_sweep_with_a_name_of_its_own(folder: Path, capsys: Capture) -> None:
    assert main(["lr", "small.yaml", *FEW, "-q"]) == 0
    capsys.readouterr()
    assert main(["ls", "--command", "lr", "--json"]) == 0
    assert {run["name"] for run in json.loads(capsys.readouterr().out)} == {"small-lr"}
    (sweep,) = list_sweeps(folder / "runs")
    assert sweep.id.startswith("small-lr-sweep-")
    assert main(["sweep", "--resume", sweep.id]) == 2
    said = steady(capsys.readouterr().err)
    assert said == (
        "error: small-lr-sweep-<ID> was started by `nnrun lr`. Type that command again: it goes on.\n"
    )
    assert main(["rm", "small-lr-*", "--yes"]) == 0
    assert not list_runs(folder / "runs")


def test_its_runs_are_not_the_last_and_are_listed_where_they_are_asked_for(
    folder: Path, capsys: Capture
) -> None:
    assert main(["lr", "small.yaml", *FEW, "-q"]) == 0
    assert main(["show", "@last"]) == 2
    assert "@last: there are no runs" in capsys.readouterr().err
    assert main(["ls"]) == 0
    nothing = capsys.readouterr()
    assert nothing.out == ""
    assert (
        "that were trained to measure a setting: nnrun ls --command curve or nnrun ls --command lr"
        in " ".join(nothing.err.split())
    )
    assert main(["train", "small.yaml", "--epochs", "1", "-q"]) == 0
    assert main(["lr", "small.yaml", *FEW, "-q", "--new"]) == 0
    capsys.readouterr()
    assert main(["show", "@last", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["run"]["command"] == "train"
    assert main(["ls", "--json"]) == 0
    assert len(json.loads(capsys.readouterr().out)) == 1


def test_a_figure_where_it_is_wanted(folder: Path, capsys: Capture) -> None:
    assert main(["lr", "small.yaml", *FEW, "-q", "-o", "rates.svg"]) == 0
    assert "\nFigure rates.svg\n" in capsys.readouterr().out
    assert (folder / "rates.svg").read_bytes().startswith(b"<?xml")


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (
            ["--set", "validation=none"],
            2,
            "error: lr compares learning rates on validation rows, and the spec validates nothing. Add "
            "validation, such as --set validation=holdout.\n",
        ),
        (
            ["--from", "1", "--to", "0.1"],
            2,
            "error: The learning rates go from 1 to 0.1; they must go from a positive number to a larger "
            "one.\n",
        ),
        (["--count", "2"], 2, "error: 2 learning rates: try at least 3 and at most 200.\n"),
        (
            ["--from", "1", "--to", "1.01"],
            2,
            "error: 32 learning rates from 1 to 1.01 differ in less than three digits. Try fewer, or a wider "
            "range.\n",
        ),
        (
            ["--steps", "3", "--epochs", "2"],
            2,
            "error: --steps and --epochs both say how long to train; leave out one.\n",
        ),
        (
            ["--terminal", "--json"],
            2,
            "error: --terminal prints the plot as text: it cannot be combined with --json or -o.\n",
        ),
    ],
)
def test_what_is_refused(folder: Path, capsys: Capture, arguments: list[str], code: int, said: str) -> None:
    assert main(["lr", "small.yaml", *arguments]) == code
    assert capsys.readouterr().err == said
    assert not (folder / "runs").exists()
