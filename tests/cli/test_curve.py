"""`nnrun curve`: what a person sees, and what a script gets."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from nnrun.cli import main
from tests.support.small_experiments import KFOLD, check_screen, write_small

Capture = pytest.CaptureFixture[str]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the command is typed: small.yaml is there, and runs/ will be."""
    monkeypatch.chdir(tmp_path)
    write_small(tmp_path, validation=KFOLD)
    return tmp_path


def test_the_screen_of_folds(folder: Path, capsys: Capture) -> None:
    assert main(["curve", "small.yaml"]) == 0
    check_screen("curve_folds", capsys.readouterr())


def test_the_screen_of_seeds(folder: Path, capsys: Capture) -> None:
    arguments = ["--set", "validation=holdout", "--fractions", "1/4,1", "--seeds", "3", "--same-epochs"]
    assert main(["curve", "small.yaml", *arguments, "--metric", "mae", "-o", "mine.svg"]) == 0
    check_screen("curve_seeds", capsys.readouterr())
    assert (folder / "mine.svg").is_file()


def test_json(folder: Path, capsys: Capture) -> None:
    assert main(["curve", "small.yaml", "--fractions", "0.5,1", "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert [point["rows"] for point in document["points"]] == [16, 32]
    assert [list(point["validation"]) for point in document["points"]] == [["0", "1", "2"]] * 2
    means = [point["mean"] for point in document["points"]]
    assert document["gain"] == pytest.approx(means[0] - means[1])
    assert document["verdict"].startswith(("More data would", "It cannot be said"))
    assert Path(document["figure"]).is_file()


def test_its_networks_are_not_the_last_run(folder: Path, capsys: Capture) -> None:
    assert main(["curve", "small.yaml", "--fractions", "0.5,1", "-q"]) == 0
    assert main(["show", "@last"]) == 2
    assert "@last: there are no runs" in capsys.readouterr().err


def test_where_every_part_diverges_the_exit_code_is_1(folder: Path, capsys: Capture) -> None:
    arguments = ["--set", "optimizer={sgd: 1e20}", "--fractions", "0.5,1"]
    assert main(["curve", "small.yaml", *arguments, "-q"]) == 1
    assert "the last two parts have no scores to compare" in capsys.readouterr().out.replace("\n", " ")


def test_a_fraction_that_is_none(folder: Path, capsys: Capture) -> None:
    assert main(["curve", "small.yaml", "--fractions", "half,1"]) == 2
    assert capsys.readouterr().err == ("error: --fractions: 'half' is no fraction, such as 1/8 or 0.125.\n")
