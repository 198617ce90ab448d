"""`nnrun eject`, as a command."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from nnrun.cli import main
from tests.support.small_experiments import write_small


def test_what_is_printed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Text, JSON, and what stands on disk."""
    monkeypatch.chdir(tmp_path)
    write_small(tmp_path)
    assert main(["eject", "small.yaml", "--to", "pytorch", "-o", "lesson.py"]) == 0
    lines = len(Path("lesson.py").read_text(encoding="utf-8").splitlines())
    assert capsys.readouterr().out.splitlines() == [
        f"lesson.py, {lines} lines",
        "beside   lesson_weights.npz: the initial weights, which the script reads",
        "run      python lesson.py; it writes lesson_history.csv",
    ]
    assert main(["eject", "small.yaml", "--to", "pytorch", "-o", "long.py", "--epochs", "77"]) == 0
    assert "77" in Path("long.py").read_text(encoding="utf-8")
    assert "77" not in Path("lesson.py").read_text(encoding="utf-8")
    capsys.readouterr()
    assert main(["train", "small.yaml"]) == 0, "the data are as they were"
    capsys.readouterr()
    dropped = "layers=[{dense: 4}, {dropout: 0.5}, {dense: 1}]"
    assert main(["eject", "small.yaml", "--to", "keras", "--set", dropped, "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    (note,) = document.pop("notes")
    assert note.startswith("Keras draws what dropout leaves out by a generator of its own")
    lines = len(Path("small.py").read_text(encoding="utf-8").splitlines())
    assert document == {
        "path": "small.py",
        "beside": "small_weights.npz",
        "history": "small_history.csv",
        "to": "keras",
        "lines": lines,
    }


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["-o", "lesson.txt"], "error: -o lesson.txt: the name of a script must end in .py.\n"),
        (
            ["--set", "time_limit=1m"],
            "error: eject cannot write the key time_limit. Leave it out of the spec; `nnrun train` has it.\n",
        ),
    ],
)
def test_what_is_refused(
    arguments: list[str],
    said: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    write_small(tmp_path)
    assert main(["eject", "small.yaml", "--to", "pytorch", *arguments]) == 2
    assert capsys.readouterr().err == said
    assert not list(tmp_path.glob("*.py"))
