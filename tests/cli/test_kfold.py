"""`nnrun kfold`: k-fold, whatever the spec says."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from nnrun.cli import main
from nnrun.spec.reading.load import load_spec
from nnrun.spec.schema import KFold
from tests.support.small_experiments import (
    BINARY,
    check_screen,
    growing_tokens,
    only_run,
    record_of,
    write_small,
)

Capture = pytest.CaptureFixture[str]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    write_small(tmp_path)
    return tmp_path


def test_the_screen(folder: Path, capsys: Capture) -> None:
    assert main(["kfold", "small.yaml", "--k", "3"]) == 0
    check_screen("kfold", capsys.readouterr())


def test_the_screen_of_one_fold(folder: Path, capsys: Capture) -> None:
    assert main(["kfold", "small.yaml", "--k", "3", "--fold", "2"]) == 0
    check_screen("kfold_one_fold", capsys.readouterr())


def test_the_screen_of_folds_with_different_vocabularies(folder: Path, capsys: Capture) -> None:
    write_small(folder, BINARY, growing_tokens(), preprocessing={"inputs": "multi_hot"}, epochs=2)
    assert main(["kfold", "small.yaml", "--k", "3"]) == 0
    check_screen("kfold_vocabularies", capsys.readouterr())


@pytest.mark.parametrize(
    ("arguments", "expected", "networks"),
    [
        ([], KFold(k=4), 4),
        (["--k", "2"], KFold(k=2), 2),
        (["--k", "2", "--set", "validation={kfold: {shuffle: true}}"], KFold(k=2, shuffle=True), 2),
        (
            ["--repeats", "3", "--set", "validation={kfold: {k: 2, shuffle: true}}"],
            KFold(k=2, shuffle=True, repeats=3),
            6,
        ),
    ],
)
def test_the_folds_that_were_asked_for(
    folder: Path, arguments: list[str], expected: KFold, networks: int
) -> None:
    assert main(["kfold", "small.yaml", "--epochs", "1", "-q", *arguments]) == 0
    run = only_run(folder / "runs")
    assert load_spec(run / "resolved.yaml").spec.validation == expected
    record = record_of(run)
    assert (record["command"], record["folds"]) == ("kfold", list(range(networks)))


def test_json(folder: Path, capsys: Capture) -> None:
    assert main(["kfold", "small.yaml", "--k", "3", "--fold", "1", "--json", "-q"]) == 0
    printed = capsys.readouterr()
    run = only_run(folder / "runs")
    assert json.loads(printed.out) == {**record_of(run), "path": f"runs/{run.name}"}
    assert record_of(run)["folds"] == [1]
    assert printed.err == ""


MISTAKES: list[tuple[list[str], int, str]] = [
    (["--k", "3", "--fold", "3"], 2, "error: --fold 3: there are 3 folds, numbered from 0 to 2.\n"),
    (
        ["--k", "49"],
        4,
        "error: validation.kfold.k is 49, but there are 48 training rows: "
        "k must not be above the number of rows.\n",
    ),
]


@pytest.mark.parametrize(("arguments", "code", "sentence"), MISTAKES)
def test_a_mistake_is_one_sentence_and_no_run(
    arguments: list[str], code: int, sentence: str, folder: Path, capsys: Capture
) -> None:
    assert main(["kfold", "small.yaml", *arguments]) == code
    assert capsys.readouterr() == ("", sentence)
    assert not (folder / "runs").exists()


@pytest.mark.parametrize(
    "arguments",
    [["--k", "1"], ["--k", "two"], ["--fold", "-1"], ["--repeats", "0"], ["--epochs", "0"]],
)
def test_a_number_out_of_range_is_a_usage_error(arguments: list[str], folder: Path, capsys: Capture) -> None:
    """The sentence is the option parser's; that it names the option is ours to see."""
    assert main(["kfold", "small.yaml", *arguments]) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert f"'{arguments[0]}'" in printed.err
    assert printed.err.endswith("\nTry 'nnrun kfold --help'.\n")
    assert not (folder / "runs").exists()


def test_repeats_without_shuffling_are_refused(folder: Path, capsys: Capture) -> None:
    assert main(["kfold", "small.yaml", "--repeats", "2"]) == 3
    assert capsys.readouterr() == (
        "",
        "--repeats: error: without shuffle every repeat has the same folds; "
        "add shuffle: true, or remove repeats\n"
        "      | validation.kfold.repeats=2\n"
        "      | ^\n"
        "1 error: nothing was run.\n",
    )
    assert not (folder / "runs").exists()
