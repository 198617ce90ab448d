"""The table of commands: a module and a line make a command, and only the command that is run is imported."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from nnrun.cli import app, main
from nnrun.version import __version__

SCRATCH = '''
"""A command."""
from nnrun.cli import options

def greet(name: str, *, changes: options.Changes, as_json: options.Json = False) -> int:
    """Greet somebody. No more than that."""
    print(f"hello {name}, epochs {changes.epochs}, json {as_json}")
    return 3
'''


@pytest.fixture(autouse=True)
def scratch_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "scratch_greet.py").write_text(SCRATCH)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setitem(app.COMMANDS, "greet", "scratch_greet:greet")


def test_a_new_command_is_a_module_and_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["greet", "you", "--epochs", "5", "--json"]) == 3
    assert capsys.readouterr().out == "hello you, epochs 5, json True\n"


def test_it_stands_in_the_help(capsys: pytest.CaptureFixture[str]) -> None:
    main(["--help"])
    assert re.search(r"^  greet +Greet somebody\.$", capsys.readouterr().out, re.MULTILINE)
    main(["greet", "--help"])
    text = capsys.readouterr().out
    assert "Greet somebody. No more than that." in text
    for option in ("--set", "--seed", "--epochs", "--smoke", "--json"):
        assert f"  {option}" in text


def test_its_name_is_suggested(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["great", "you"]) == 2
    assert "Did you mean 'greet'?" in capsys.readouterr().err


def test_a_command_imports_no_other() -> None:
    code = (
        "import sys; from nnrun.cli import app, main; main(['schema'])\n"
        "modules = {entry.partition(':')[0] for entry in app.COMMANDS.values()}\n"
        "print(sorted(modules & set(sys.modules)), file=sys.stderr)"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stderr == "['nnrun.cli.schema_command']\n"


def test_a_clock_beyond_what_python_counts_is_told(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """In the year 2343 nothing that reads the time works, not even the import of Python's `logging`."""

    def beyond() -> float:
        raise OverflowError("timestamp too large to convert to C _PyTime_t")

    monkeypatch.setattr("time.time", beyond)
    monkeypatch.setattr("nnrun.cli.app._load", lambda name: beyond())
    assert main(["greet", "you"]) == 1
    assert capsys.readouterr().err.startswith("error: the clock of this machine shows a year after 2262, ")


def test_the_version_is_the_same_however_it_is_asked_for(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--version"]) == main(["--version", "--help"]) == 0
    assert capsys.readouterr().out == 2 * f"nnrun {__version__}\n"
