"""Paths as people write them: `~` where no shell replaces it, and what is empty."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import nnrun
from nnrun.cli import main
from nnrun.errors import UsageError
from nnrun.paths import path_of_variable, user_path
from tests.support.small_experiments import only_run, write_small

Capture = pytest.CaptureFixture[str]


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home with an experiment in it, while one stands elsewhere."""
    (tmp_path / "home").mkdir()
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path / "elsewhere")
    write_small(tmp_path / "home", epochs=1)
    return tmp_path / "home"


def test_a_tilde_is_the_home_folder_in_every_path(home: Path, capsys: Capture) -> None:
    assert main(["train", "~/small.yaml", "-q", "--runs-dir", "~/runs"]) == 0
    run = only_run(home / "runs")
    dirs = ["--runs-dir", "~/runs"]
    assert main(["plot", "@last", "-o", "~/a.png", *dirs]) == 0
    assert main(["plot", f"~/runs/{run.name}", "-o", "~/b.svg"]) == 0
    assert main(["report", "@last", "-o", "~/r.html", "--data-dir", "~/data", *dirs]) == 0
    assert main(["export", "@last", "-o", "~/w.safetensors", *dirs]) == 0
    (home / "rows.csv").write_text("1,2,3\n")
    assert main(["predict", "@last", "~/rows.csv", "-o", "~/p.csv", *dirs]) == 0
    (home / "t.csv").write_text("x,y\n" + "".join(f"{i},{2.5 * i}\n" for i in range(30)))
    assert main(["init", "~/t.csv", "-y", "-o", "~/t.yaml"]) == 0
    for name in ("a.png", "b.svg", "r.html", "w.safetensors", "p.csv", "t.yaml"):
        assert (home / name).is_file(), name
    assert list(Path().iterdir()) == []
    capsys.readouterr()
    assert main(["check", "~/t.yaml"]) == 0
    assert main(["diff", "~/t.yaml", "~/small.yaml"]) == 0
    assert main(["show", "~/small.yaml"]) == 0
    assert main(["data", "show", "~/small.yaml", "--row", "0"]) == 0


def test_a_tilde_in_the_environment(home: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture) -> None:
    monkeypatch.setenv("NNRUN_RUNS_DIR", "~/runs")
    monkeypatch.setenv("NNRUN_DATA_DIR", "~/data")
    assert main(["train", "~/small.yaml", "-q"]) == 0
    only_run(home / "runs")
    assert nnrun.load_run("@last").path.parent == home / "runs"
    assert nnrun.train("~/small.yaml", runs_dir="~/others").path.parent == home / "others"


def test_an_empty_variable_is_one_that_is_not_set(
    home: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    for name in ("NNRUN_RUNS_DIR", "NNRUN_DATA_DIR", "NNRUN_CACHE_DIR"):
        monkeypatch.setenv(name, "")
        assert path_of_variable(name) is None
    assert main(["train", "~/small.yaml", "-q"]) == 0
    only_run(Path("runs"))
    assert nnrun.load_run("@last").path.parent == Path("runs")


@pytest.mark.parametrize("empty", ["", " "])
@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["ls", "--runs-dir"], "--runs-dir"),
        (["data", "ls", "--data-dir"], "--data-dir"),
        (["plot", "@last", "-o"], "--output"),
        (["report", "@last", "--output"], "--output"),
        (["predict", "@last", "x.csv", "-o"], "--output"),
        (["export", "@last", "-o"], "--output"),
        (["init", "x.csv", "-o"], "--output"),
        (["check"], "SPEC"),
        (["train"], "SPEC"),
        (["init"], "FILE"),
    ],
)
def test_an_empty_path_is_an_error_that_names_its_option(
    arguments: list[str], named: str, empty: str, home: Path, capsys: Capture
) -> None:
    assert main([*arguments, empty]) == 2
    said = capsys.readouterr().err
    assert named in said
    assert "is empty" in said
    assert list(Path().iterdir()) == []


def test_from_python_an_empty_path_is_an_error_too(home: Path) -> None:
    with pytest.raises(UsageError, match="runs_dir is empty"):
        nnrun.train("~/small.yaml", runs_dir="")
    with pytest.raises(UsageError, match="data_dir is empty"):
        nnrun.train("~/small.yaml", data_dir="")
    with pytest.raises(UsageError, match="path is empty"):
        nnrun.train("")
    assert user_path("~/x") == home / "x"
    assert user_path(Path("x/~")) == Path("x/~")


def test_json_of_an_empty_path(home: Path, capsys: Capture) -> None:
    assert main(["ls", "--json", "--runs-dir", ""]) == 2
    assert json.loads(capsys.readouterr().out)["error"] == "UsageError"
