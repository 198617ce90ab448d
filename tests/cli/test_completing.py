"""What a shell offers after Tab, asked for as the shell asks."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from nnrun.cli import completing, main

_RUNS = ("boston-20261124T124414Z-0890", "boston-20261125T124414Z-1111", "imdb-20261123T124414Z-2222")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    for name in _RUNS:
        (tmp_path / "runs" / name).mkdir(parents=True)
    (tmp_path / "specs").mkdir()
    for name in ("boston.yaml", "imdb.yml", "notes.txt"):
        (tmp_path / "specs" / name).touch()
    return tmp_path


def _offered(line: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> list[str]:
    """What bash is offered for the last word of a line."""
    monkeypatch.setenv("_NNRUN_COMPLETE", "complete_bash")
    monkeypatch.setenv("COMP_WORDS", line)
    monkeypatch.setenv("COMP_CWORD", str(len(line.split(" ")) - 1))
    with pytest.raises(SystemExit) as left:
        main([])
    assert left.value.code == 0
    return capsys.readouterr().out.split()


@pytest.mark.parametrize(
    ("line", "offered"),
    [
        ("nnrun impo", ["importance"]),
        ("nnrun train --see", ["--seeds", "--seed"]),
        ("nnrun train s", ["specs/"]),
        ("nnrun train specs/", ["specs/boston.yaml", "specs/imdb.yml"]),
        ("nnrun check specs/b", ["specs/boston.yaml"]),
        ("nnrun plot b", [_RUNS[1], _RUNS[0]]),
        ("nnrun plot @", ["@last"]),
        ("nnrun plot --runs-dir elsewhere b", []),
        ("nnrun diff specs/i", ["specs/imdb.yml"]),
        ("nnrun diff im", [_RUNS[2]]),
        ("nnrun help layers.ls", ["layers.lstm"]),
        ("nnrun help kf", ["kfold"]),
        ("nnrun init --example boston_b", ["boston_best"]),
    ],
)
def test_what_is_offered(
    line: str,
    offered: list[str],
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert _offered(line, monkeypatch, capsys) == offered


def test_a_folder_that_is_not_there_or_cannot_be_read_offers_nothing(folder: Path) -> None:
    assert completing.specs("nowhere/") == []
    (folder / "runs").rename(folder / "kept")
    (folder / "runs").touch()
    context = type("Context", (), {"params": {}})()
    assert completing.runs(context, "b") == []


@pytest.mark.skipif(shutil.which("bash") is None, reason="needs bash")
def test_bash_itself_completes_after_the_installation(folder: Path) -> None:
    home = folder / "home"
    home.mkdir()
    environment = {
        **os.environ,
        "HOME": str(home),
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
    }
    command = ["nnrun", "--install-completion", "bash"]
    installed = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert installed.returncode == 0, installed.stderr
    (script,) = (home / ".bash_completions").iterdir()
    asked = (
        f"source {script}; COMP_WORDS=(nnrun train specs/b); COMP_CWORD=2; "
        "_nnrun_completion nnrun; echo ${COMPREPLY[@]}"
    )
    said = subprocess.run(["bash", "-c", asked], env=environment, capture_output=True, text=True, check=False)
    assert said.stdout.strip() == "specs/boston.yaml"
