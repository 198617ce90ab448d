"""What a run's numbers depend on besides its spec and data."""

from __future__ import annotations

import platform
import subprocess
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import safetensors
import scipy
import sklearn
import torch

import nnrun
from nnrun.experiment.running.recorder import git_commit, versions


def test_the_versions_are_those_of_what_computes_here() -> None:
    assert versions() == {
        "nnrun": nnrun.__version__,
        "python": platform.python_version(),
        "torch": str(torch.__version__),
        "numpy": np.__version__,
        "scipy": scipy.__version__,
        "pandas": pd.__version__,
        "scikit-learn": sklearn.__version__,
        "safetensors": safetensors.__version__,
    }


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    return tmp_path


def git(*arguments: str) -> str:
    who = ("-c", "user.name=nobody", "-c", "user.email=nobody@example.org", "-c", "commit.gpgsign=false")
    return subprocess.run(
        ["git", *who, *arguments], check=True, capture_output=True, text=True
    ).stdout.strip()


def test_the_commit_and_whether_files_differ_from_it(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    git("init", "--quiet")
    (folder / "spec.yaml").write_text("epochs: 1\n")
    git("add", "spec.yaml")
    git("commit", "--quiet", "--message", "first")
    commit = git("rev-parse", "HEAD")
    assert git_commit() == commit
    (folder / "untracked").touch()
    assert git_commit() == commit
    (folder / "spec.yaml").write_text("epochs: 2\n")
    assert git_commit() == f"{commit}+"
    within = folder / "runs" / "today"
    within.mkdir(parents=True)
    monkeypatch.chdir(within)
    assert git_commit() == f"{commit}+"
    monkeypatch.chdir(folder.parent)
    assert git_commit() is None
    monkeypatch.setenv("GIT_DIR", str(folder / ".git"))
    monkeypatch.setenv("GIT_WORK_TREE", str(folder))
    assert git_commit() == f"{commit}+"


def test_a_repository_without_a_commit_has_none(folder: Path) -> None:
    git("init", "--quiet")
    assert git_commit() is None


def test_outside_a_repository_there_is_none(folder: Path) -> None:
    assert git_commit() is None


def test_without_git_there_is_none(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(folder))
    assert git_commit() is None
