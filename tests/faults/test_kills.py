"""SIGKILL before every system call that changes a file, and in the middle of every write.

The other calls change a file at once, or not at all: a kill in their middle is one before the next call.
"""

from __future__ import annotations

import json
import os
import signal
import time
from pathlib import Path

import numpy as np
import pytest

from nnrun.cli import main
from nnrun.records import RunDirectory, list_runs
from tests.support.commands import start_nnrun
from tests.support.provoke import KILLED, Fault, Server
from tests.support.small_experiments import BINARY, numbers, only_run, record_of, write_small
from tests.support.whole_runs import check_files

KFOLD = ["kfold", "small.yaml", "--k", "2", "--epochs", "2", "-q"]


def ended(folder: Path, prefix: str) -> list[RunDirectory]:
    """The runs of folders `<prefix>-<moment>`, one each at most."""
    runs_dirs = sorted(folder.glob(f"{prefix}-*"), key=lambda path: int(path.name.rpartition("-")[2]))
    return [RunDirectory(run) for runs in runs_dirs for run in runs.iterdir() if not run.name.startswith(".")]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("fault", "moments", "looks"), [("kill before", 60, 40), ("kill in a write", 20, 15)]
)
def test_a_run_killed_at_any_moment(
    fault: Fault,
    moments: int,
    looks: int,
    faulty: Server,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Its files are whole, a list tells that it was interrupted, and what has epochs can be looked at."""
    write_small(tmp_path)
    assert faulty.run([*KFOLD, "--runs-dir", "whole"], cwd=tmp_path).code == 0
    other = only_run(tmp_path / "whole")
    moment = 0
    while True:
        moment += 1
        runs_dir = f"runs-{moment}"
        outcome = faulty.run([*KFOLD, "--runs-dir", runs_dir], cwd=tmp_path, fault=fault, moment=moment)
        if outcome.code == 0:
            break
        assert (outcome.code, outcome.err) == (KILLED, "")
    assert moment > moments
    seen = set()
    looked = 0
    for run in ended(tmp_path, "runs"):
        (summary,) = list_runs(run.runs_dir)
        seen.add(summary.status)
        if summary.status == "completed":
            continue
        check_files(run)
        if summary.status == "broken":  # killed between its folder and its record
            assert "has no run.json" in str(summary.problem)
            continue
        record = run.read_record().to_json()
        assert (record["status"], record["epochs_run"]) == ("interrupted", summary.epochs)
        assert json.loads((run.path / "run.json").read_text())["status"] == "running"
        commands = [["ls", "--runs-dir", str(run.runs_dir)], ["show", str(run.path)]]
        if summary.epochs and looked % 6 == 0:  # figures take most of the time
            commands.append(["compare", str(run.path), str(other)])
            commands.append(["plot", str(run.path)])
        else:
            commands.append(["compare", str(run.path), str(other), "--no-figure"])
        looked += 1
        codes = [main(command) for command in commands]
        printed = capsys.readouterr()
        assert (max(codes), printed.err) == (0, ""), run.path
        assert "interrupted" in printed.out
        assert "Its process ended without recording why: it was killed" in printed.out
    assert looked > looks
    assert {"broken", "interrupted"} <= seen


@pytest.mark.slow
def test_an_evaluation_killed_at_any_moment(faulty: Server, tmp_path: Path) -> None:
    """The record is the old one or the new one, and a look that may have been is counted."""
    write_small(tmp_path)
    assert faulty.run(["train", "small.yaml", "-q"], cwd=tmp_path).code == 0
    run = RunDirectory(only_run(tmp_path / "runs"))
    before = run.read_record().to_json()
    moment = looks = 0
    while True:
        moment += 1
        outcome = faulty.run(["evaluate", "@last", "-q"], cwd=tmp_path, fault="kill before", moment=moment)
        check_files(run)
        record = run.read_record().to_json()
        assert record["status"] == "completed"
        assert {k: v for k, v in record.items() if not k.startswith("test")} == {
            k: v for k, v in before.items() if not k.startswith("test")
        }
        assert len(record["test_uses"]) >= looks
        looks = len(record["test_uses"])
        assert "test" not in record or looks > 0
        if outcome.code == 0:
            break
        assert outcome.code == KILLED
    assert moment > 10


def test_predictions_killed_at_any_moment_are_whole_or_not_there(faulty: Server, tmp_path: Path) -> None:
    write_small(tmp_path, BINARY)
    np.savetxt(tmp_path / "rows.csv", numbers()["x_test"], delimiter=",")
    assert faulty.run(["train", "small.yaml", "-q"], cwd=tmp_path).code == 0
    command = ["predict", "@last", "rows.csv", "-o", "out.csv", "-q"]
    assert faulty.run(command, cwd=tmp_path).code == 0
    whole = (tmp_path / "out.csv").read_bytes()
    (tmp_path / "out.csv").unlink()
    moment, code = 0, KILLED
    while code == KILLED:
        moment += 1
        code = faulty.run(command, cwd=tmp_path, fault="kill amid", moment=moment).code
        if (tmp_path / "out.csv").exists():
            assert (tmp_path / "out.csv").read_bytes() == whole
            (tmp_path / "out.csv").unlink()
    assert code == 0
    assert moment > 4


def test_a_run_that_is_killed_from_outside(tmp_path: Path) -> None:
    """While it goes on a list says `running`; once it is dead, `interrupted`, with the epochs it had."""
    write_small(tmp_path)
    command = ["train", "small.yaml", "-q", "--epochs", "1000000", "--compile", "off"]
    process = start_nnrun(*command, cwd=tmp_path)
    try:
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            if any(h.read_bytes().count(b"\n") > 5 for h in tmp_path.glob("runs/*/history.csv")):
                break
            time.sleep(0.02)
        (summary,) = list_runs(tmp_path / "runs")
        assert summary.status == "running"
        assert summary.epochs
    finally:
        process.send_signal(signal.SIGKILL)
        process.communicate(timeout=30)
    assert process.returncode == KILLED
    (summary,) = list_runs(tmp_path / "runs")
    assert (summary.status, summary.problem) == ("interrupted", None)
    assert summary.epochs == len(summary.run.read_history())
    assert record_of(summary.run.path)["status"] == "running"
    assert os.listdir(tmp_path / "runs") == [summary.id]
