"""The book's chapter from the command line alone, on fewer epochs: tests/chapter3.sh."""

from __future__ import annotations

import csv
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.commands import forked_nnrun_for_a_shell

SCRIPT = Path(__file__).parents[1] / "chapter3.sh"


@pytest.mark.skipif(shutil.which("bash") is None, reason="there is no bash on this machine")
@pytest.mark.slow
def test_the_chapter_from_train_to_predict(data_dir: Path, tmp_path: Path) -> None:
    nnrun, server = forked_nnrun_for_a_shell(tmp_path, imported="packages")
    folders = (nnrun.parent, Path(sys.executable).parent, os.environ["PATH"])
    environment = os.environ | {
        "NNRUN_DATA_DIR": str(data_dir),
        "PATH": os.pathsep.join(map(str, folders)),
        "COLUMNS": "120",
    }
    result = subprocess.run(
        ["bash", str(SCRIPT), str(tmp_path), "2", "4"],
        env=environment,
        pass_fds=[server],
        capture_output=True,
        text=True,
        timeout=500,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    out = result.stdout
    assert "the best constant for each score, on the validation rows" in out
    assert "unlikely to be chance" in out or "may be more than chance" in out or "could well be chance" in out
    assert "history  identical" in out
    assert "weights  identical" in out
    assert {"bottleneck.png", "report.html", "reuters.pt2"} <= {path.name for path in tmp_path.iterdir()}
    # Two reviews and one house, each with its answer.
    tables = [lines for lines in out.split("\n$ ") if lines.startswith("nnrun predict")]
    reviews, houses = (list(csv.DictReader(table.splitlines()[1:])) for table in tables)
    assert [row["prediction"] for row in reviews[:2]] == ["positive", "negative"]
    assert 5 < float(houses[0]["prediction"]) < 50
