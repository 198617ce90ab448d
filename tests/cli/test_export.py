"""`nnrun export`: a run's network as a file for others."""

from __future__ import annotations

import json
import re
from pathlib import Path
from types import SimpleNamespace

import pytest

from nnrun.cli import main
from tests.support.small_experiments import BINARY, check_screen, growing_tokens, write_small

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


def check(name: str, capsys: Capture) -> None:
    """The screen, but for the difference that was found, which is another CPU's."""
    printed = capsys.readouterr()
    out = re.sub(r"(?<=by at most )\S+", "<LITTLE>", printed.out)
    check_screen(name, SimpleNamespace(out=out, err=printed.err))


def test_the_screens(folder: Path, capsys: Capture) -> None:
    assert main(["export", "@last", "-o", "m.safetensors"]) == 0
    check("export_safetensors", capsys)
    assert main(["export", "@last", "-o", "m.pt2"]) == 0
    check("export_pt2", capsys)
    assert main(["export", "@last", "-o", "m.pt2", "--runs-dir", "folds"]) == 2
    check("export_which", capsys)


def test_the_screen_of_tokens(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture) -> None:
    monkeypatch.chdir(tmp_path)
    layers = [{"dense": {"units": 1, "activation": "sigmoid"}}]
    write_small(tmp_path, BINARY, growing_tokens(), preprocessing={"inputs": "multi_hot"}, layers=layers)
    assert main(["train", "small.yaml", "-q"]) == 0
    capsys.readouterr()
    assert main(["export", "@last", "--format", "pt2", "-o", "m.bin"]) == 0
    check("export_tokens", capsys)


def test_json_is_one_document(folder: Path, capsys: Capture) -> None:
    arguments = ["export", "@last", "-o", "m.safetensors", "--runs-dir", "folds", "--member", "fold-1"]
    assert main([*arguments, "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert (document["format"], document["member"], document["rows"]) == ("safetensors", "fold-1", 48)
    assert document["bytes"] == (folder / "m.safetensors").stat().st_size


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["-o", "m.zip"], "the name must end in .safetensors, .pt2 or .onnx"),
        (["-o", "/dev/null", "--format", "pt2"], "is not a regular file"),
        (["-o", "m.pt2", "--member", "fold-1"], "has one network, which has no name"),
        (["-o", "m.pt2", "--format", "keras"], "'--format'"),
        ([], "'--output'"),
    ],
)
def test_what_cannot_be(arguments: list[str], said: str, folder: Path, capsys: Capture) -> None:
    before = sorted(folder.iterdir())
    assert main(["export", "@last", *arguments]) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert said in printed.err
    assert sorted(folder.iterdir()) == before
