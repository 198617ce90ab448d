"""`nnrun diff`: specs and runs, by path."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from nnrun.cli import main
from tests.support.runs_on_disk import scored_run, scores_of
from tests.support.small_experiments import check_screen, write_small

Capture = pytest.CaptureFixture[str]


def test_the_screens(
    tmp_path: Path, specs_dir: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(specs_dir.parent)
    monkeypatch.delenv("COLUMNS", raising=False)
    specs = ["specs/imdb.yaml", "specs/imdb_mse.yaml", "specs/imdb_three_hidden.yaml"]
    assert main(["diff", *specs]) == 0
    check_screen("diff", capsys.readouterr())
    assert main(["diff", *specs, "--csv"]) == 0
    check_screen("diff_csv", capsys.readouterr())
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True, raising=False)
    assert main(["diff", *specs, "specs/boston.yaml"]) == 0
    printed = capsys.readouterr()
    assert max(map(len, printed.out.splitlines())) <= 80
    check_screen("diff_narrow", printed)


def test_a_spec_and_a_run(tmp_path: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    path = write_small(tmp_path)
    assert main(["train", "small.yaml", "-q", "--epochs", "2"]) == 0
    run = next(Path("runs").iterdir()).name
    capsys.readouterr()
    assert main(["diff", path.name, "@last", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {
        "specs": ["small.yaml", run],
        "spec_differences": [{"path": "epochs", "values": [3, 2]}],
    }


def test_the_same_spec(tmp_path: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write_small(tmp_path)
    assert main(["diff", "small.yaml", "small.yaml"]) == 0
    assert capsys.readouterr().out == "A  small.yaml\nB  small.yaml\n\nThe specs are the same.\n"


def test_long_values_are_cut_and_still_tell_what_differs(
    tmp_path: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for name, end in (("a", "one"), ("b", "two")):
        scored_run(
            Path("runs"), name, scores_of(0.5), spec={"description": f"{'A long story. ' * 9}Part {end}."}
        )
    assert main(["diff", "a", "b"]) == 0
    _, row = capsys.readouterr().out.rstrip().rsplit("\n", 1)
    path, first, second = row.split("  ")[1:]
    assert path == "description"
    assert (first[0], first[-10:]) == ("…", 'Part one."')
    assert (second[0], second[-10:]) == ("…", 'Part two."')


@pytest.mark.parametrize(
    ("arguments", "code", "sentence"),
    [
        (["small.yaml"], 2, "diff needs at least two specs or runs, but got only small.yaml."),
        (["small.yaml", "smal.yaml"], 2, "smal.yaml: no such file; did you mean small.yaml?"),
        (["small.yaml", "@last"], 2, "@last: there are no runs in runs yet."),
    ],
)
def test_what_cannot_be_compared_is_said(
    tmp_path: Path,
    arguments: list[str],
    code: int,
    sentence: str,
    capsys: Capture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    write_small(tmp_path)
    assert main(["diff", *arguments]) == code
    assert capsys.readouterr() == ("", f"error: {sentence}\n")


def test_an_invalid_spec_exits_with_3(
    tmp_path: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    write_small(tmp_path)
    Path("bad.yaml").write_text("loss: mse\n")
    assert main(["diff", "small.yaml", "bad.yaml"]) == 3
    assert "bad.yaml" in capsys.readouterr().err
