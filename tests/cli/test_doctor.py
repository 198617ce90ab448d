import json
import os
from dataclasses import replace
from pathlib import Path

import pytest

from nnrun.cli import doctor, main
from nnrun.training.loop import Trainer, TrainerState

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
compiler    no C++ compiler found: training works, but its steps are not compiled (install g++ or clang++)
runs        runs (writable)
data        /data: imdb.npz
data        /cache: no known data file

pandas is not installed."""


def test_the_whole_screen() -> None:
    assert doctor.render(REPORT) == WHOLE_SCREEN
    assert doctor.render({**REPORT, "problems": []}).endswith("\n\nEverything that nnrun needs is installed.")


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
    assert closing == f"Runs cannot be stored in {runs_dir}: {tmp_path / 'file'} is a file."


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_that_is_not_writable(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    assert doctor.examine(tmp_path / "runs", None)["runs_dir"]["writable"] is False
    tmp_path.chmod(0o700)


def test_verify_resume(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """It trains, stops and goes on; nothing is left where runs are kept, and a difference is exit code 1."""
    assert main(["doctor", "--verify-resume", "--device", "cpu", "--runs-dir", str(tmp_path / "runs")]) == 0
    (line,) = (line for line in capsys.readouterr().out.split("\n") if line.startswith("resume"))
    assert line.split(maxsplit=1)[1] == (
        "exact: 6 epochs, stopped after 3, on cpu: "
        "history and weights are identical to those of an uninterrupted run"
    )
    assert not (tmp_path / "runs").exists()
    load_state_dict = Trainer.load_state_dict

    def forgetful(trainer: Trainer, state: TrainerState) -> None:
        tensors = {name: value * 0 if "/slot" in name else value for name, value in state.tensors.items()}
        load_state_dict(trainer, replace(state, tensors=tensors))

    monkeypatch.setattr(Trainer, "load_state_dict", forgetful)
    assert main(["doctor", "--verify-resume", "--device", "cpu", "--json"]) == 1
    report = json.loads(capsys.readouterr().out)
    assert report["resume"]["exact"] is False
    assert report["problems"] == ["Runs on cpu are not resumed exactly."]
