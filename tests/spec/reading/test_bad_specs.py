"""Whole screens: what `nnrun check` prints for each spec in `bad/`, to the letter.

Arguments stand in a spec's first line: `# --set epochs=0`. To write the screens anew after a change of words:

    NNRUN_WRITE_SCREENS=1 pytest tests/spec/reading/test_bad_specs.py

and read every changed one: it must say what was found, what is allowed and what to write, at the right place.
"""

from __future__ import annotations

import os
import shlex
from pathlib import Path

import pytest

from nnrun.cli import main

pytestmark = pytest.mark.faults

BAD = Path(__file__).parent / "bad"
SPECS = sorted(path.stem for path in BAD.glob("*.yaml"))


def arguments(spec: Path) -> list[str]:
    first_line = spec.read_text(encoding="utf-8").partition("\n")[0]
    return shlex.split(first_line.removeprefix("# ")) if first_line.startswith("# --") else []


@pytest.mark.parametrize("name", SPECS)
def test_screen(name: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(BAD)
    code = main(["check", f"{name}.yaml", *arguments(BAD / f"{name}.yaml")])
    printed = capsys.readouterr()

    screen = BAD / f"{name}.txt"
    if "NNRUN_WRITE_SCREENS" in os.environ:
        screen.write_text(printed.out, encoding="utf-8")
    assert printed.out == screen.read_text(encoding="utf-8")
    assert printed.err == ""
    assert code == (0 if name.startswith("warning_") else 3)


def test_every_screen_has_its_spec() -> None:
    assert sorted(path.stem for path in BAD.glob("*.txt")) == SPECS
