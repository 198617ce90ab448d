import json
import os
from pathlib import Path

import pytest

from nnrun.cli import doctor, main

REPORT = {
    "versions": {"nnrun": "0.1.0", "python": "3.11.2", "torch": "2.9.0", "pandas": None},
    "platform": "Linux-6.1-x86_64",
    "executable": "/usr/bin/python",
    "devices": ["cpu", "cuda:0 (NVIDIA H100)"],
    "threads": 2,
    "cpus": 4,
    "compiler": None,
    "runs_dir": {"path": "runs", "writable": True},
    "data": [{"path": "/data", "files": ["imdb.npz"]}, {"path": "/cache", "files": []}],
    "problems": ["pandas is not installed."],
}

WHOLE_SCREEN = """\
nnrun       0.1.0
python      3.11.2
torch       2.9.0
pandas      not installed
platform    Linux-6.1-x86_64
executable  /usr/bin/python
device      cpu
device      cuda:0 (NVIDIA H100)
threads     2 of 4 CPUs
compiler    no C++ compiler found: training works, but long runs go step by step (install g++ or clang++)
runs        runs (writable)
data        /data: imdb.npz
data        /cache: no known data file

pandas is not installed."""


def test_the_whole_screen() -> None:
    assert doctor.render(REPORT) == WHOLE_SCREEN
    assert doctor.render({**REPORT, "problems": []}).endswith("\n\nEverything that nnrun needs is here.")


def test_here(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data_dir = tmp_path / "data"
    data_dir.mkdir()
    (data_dir / "reuters.npz").write_text("")
    runs_dir = tmp_path / "runs"
    assert main(["doctor", "--json", "--data-dir", str(data_dir), "--runs-dir", str(runs_dir)]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["problems"] == []
    assert report["devices"][0] == "cpu"
    assert report["data"][0] == {"path": str(data_dir), "files": ["reuters.npz"]}
    assert report["runs_dir"] == {"path": str(runs_dir), "writable": True}
    assert not runs_dir.exists()


def test_a_file_in_the_way_of_runs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").write_text("")
    runs_dir = tmp_path / "file" / "runs"
    assert main(["doctor", "--runs-dir", str(runs_dir)]) == 1
    closing = capsys.readouterr().out.splitlines()[-1]
    assert closing == f"Runs cannot be kept in {runs_dir}: {tmp_path / 'file'} is a file."


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_that_is_not_writable(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    assert doctor.examine(tmp_path / "runs", None)["runs_dir"]["writable"] is False
    tmp_path.chmod(0o700)
