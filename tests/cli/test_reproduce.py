"""`nnrun reproduce`: the same run once more, and whether it is the same."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from nnrun.cli import main
from nnrun.records import RunDirectory
from tests.support.runs_on_disk import write_record
from tests.support.small_experiments import check_screen, only_run, write_small

Capture = pytest.CaptureFixture[str]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture) -> Path:
    """A k-fold in runs/, and nothing printed yet."""
    monkeypatch.chdir(tmp_path)
    write_small(tmp_path)
    assert main(["kfold", "small.yaml", "--k", "3", "-q", "--compile", "off"]) == 0
    capsys.readouterr()
    return tmp_path


def change(run: RunDirectory) -> None:
    """Have a run's record tell of other numbers and other conditions."""
    history = run.path / "history.csv"
    lines = history.read_text().splitlines()
    fold, epoch, _, *others = lines[2].split(",")
    lines[2] = ",".join([fold, epoch, "12.5", *others])
    history.write_text("\n".join(lines) + "\n")
    weights = run.read_weights(run.members()[0])
    run.write_weights({name: value * 0 for name, value in weights.items()}, run.members()[0])
    write_record(run, run.read_record().to_json() | {"compiled": None})


def test_the_screen_of_the_same(folder: Path, capsys: Capture) -> None:
    assert main(["reproduce", "@last"]) == 0
    check_screen("reproduce", capsys.readouterr())


def test_the_screen_of_something_else(folder: Path, capsys: Capture) -> None:
    change(RunDirectory(only_run(folder / "runs")))
    assert main(["reproduce", "@last", "-q", "--compile", "off"]) == 1
    check_screen("reproduce_different", capsys.readouterr())


def test_the_screens_of_a_final_run(folder: Path, capsys: Capture) -> None:
    assert main(["final", "@last", "-q", "--epochs", "2"]) == 0
    capsys.readouterr()
    assert main(["reproduce", "@last", "-q"]) == 0
    check_screen("reproduce_final", capsys.readouterr())
    assert main(["show", "@last"]) == 0
    assert "did not look at the test set." in capsys.readouterr().out


def test_json_is_one_document(folder: Path, capsys: Capture) -> None:
    run = RunDirectory(only_run(folder / "runs"))
    assert main(["reproduce", run.id, "--json", "-q"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["identical"] is True
    assert document["original"] == run.id
    assert document["history"]["rows"] == 9
    assert document["weights"] == {"arrays": 12, "identical": True, "first": None, "largest": 0.0}
    change(run)
    assert main(["reproduce", run.id, "--json", "-q", "--compile", "off"]) == 1
    document = json.loads(capsys.readouterr().out)
    assert document["identical"] is False
    assert (document["history"]["column"], document["history"]["epoch"]) == ("loss", 1)
    assert document["changed"]["compiled"] == {"then": None, "now": False}


def test_what_cannot_be(folder: Path, capsys: Capture) -> None:
    run = RunDirectory(only_run(folder / "runs"))
    write_record(run, run.read_record().to_json() | {"status": "interrupted"})
    assert main(["reproduce", "@last"]) == 2
    assert "only a completed run has an end to compare with" in capsys.readouterr().err
    assert main(["reproduce", "nothing"]) == 2
    assert only_run(folder / "runs") == run.path.resolve()
