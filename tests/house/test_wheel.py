"""What is installed: a wheel holds all that the program reads beside its own code."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

HOUSE = Path(__file__).parents[2]
PACKAGE = HOUSE / "nnrun"


def test_a_wheel_holds_every_file_of_the_package_and_the_examples(tmp_path: Path) -> None:
    pytest.importorskip("hatchling")
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)]
    subprocess.run(command, cwd=HOUSE, check=True, capture_output=True)
    (wheel,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        held = {name for name in archive.namelist() if name.startswith("nnrun/")}
    own = {
        path.relative_to(HOUSE).as_posix()
        for path in PACKAGE.rglob("*")
        if path.is_file() and path.suffix != ".pyc" and not path.name.startswith(".")
    }
    examples = {f"nnrun/examples/{path.name}" for path in (HOUSE / "specs").iterdir()}
    assert held == own | examples
    assert {"nnrun/py.typed", "nnrun/spec/schema.json", "nnrun/native/cpp/steps.cpp"} <= held
