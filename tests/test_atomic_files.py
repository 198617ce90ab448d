"""What a killed process leaves beside a file that it was writing goes with the next write."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from matplotlib.figure import Figure

from nnrun.atomic_files import remove_abandoned, unfinished, write_text
from nnrun.errors import DataError
from nnrun.figures.curve_figure import save
from nnrun.machine import this_machine
from nnrun.records import RunDirectory


@pytest.fixture(scope="module")
def dead() -> int:
    """The number of a process that has ended."""
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


def test_only_what_is_abandoned_is_removed(tmp_path: Path, dead: int) -> None:
    stays = [
        unfinished(tmp_path / "mine.json").name,
        f".other.{os.getppid()}.ab12.tmp",
        f".notes.{dead}.tmp",
        f"visible.{dead}.ab12.tmp",
        ".hidden.tmp",
        ".x.tmp.ab12",
    ]
    for name in [*stays, f".run.json.{dead}.ab12.tmp", f".a\nb.{dead}.00ff.tmp"]:
        (tmp_path / name).write_text("x")
    (tmp_path / f".folder.{dead}.ab12.tmp").mkdir()
    remove_abandoned(tmp_path)
    assert sorted(p.name for p in tmp_path.iterdir()) == sorted([*stays, f".folder.{dead}.ab12.tmp"])
    remove_abandoned(tmp_path / "missing")


def test_what_another_machine_writes_stays_for_a_day(tmp_path: Path, dead: int) -> None:
    new, old = (tmp_path / f".{name}.json.0123abcd-{dead}.ab12.tmp" for name in ("new", "old"))
    own = tmp_path / f".own.json.{this_machine()}-{dead}.ab12.tmp"
    for path in (new, old, own):
        path.write_text("half")
    two_days_ago = time.time() - 2 * 86400
    os.utime(old, (two_days_ago, two_days_ago))
    remove_abandoned(tmp_path)
    assert list(tmp_path.iterdir()) == [new]


def test_the_next_write_removes_it(tmp_path: Path, dead: int) -> None:
    for write in (lambda: write_text(tmp_path / "a.txt", "a"), lambda: save(Figure(), tmp_path / "a.png")):
        (tmp_path / f".report.html.{dead}.ab12.tmp").write_text("half")
        write()
        assert not list(tmp_path.glob(".*"))


def test_resuming_removes_it_in_every_folder_of_the_run(tmp_path: Path, dead: int) -> None:
    for folder in ("", "plots", "fold-0"):
        (tmp_path / folder).mkdir(exist_ok=True)
        (tmp_path / folder / f".x.{dead}.ab12.tmp").write_text("half")
    with pytest.raises(DataError, match="has no checkpoint"):
        RunDirectory(tmp_path).read_checkpoint(lambda found: found)
    assert not list(tmp_path.rglob(".*.tmp"))
