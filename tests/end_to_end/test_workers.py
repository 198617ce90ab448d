"""Sweeps with workers by the real commands: stopped and resumed, joined, started by Ray and by submitit."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from nnrun.records import SweepDirectory, list_sweeps
from tests.support.commands import nnrun_command, start_nnrun
from tests.support.small_experiments import record_of, without_seconds, write_small

pytestmark = [
    pytest.mark.faults,
    pytest.mark.slow,
    pytest.mark.skipif(not hasattr(os, "fork"), reason="this system cannot fork"),
]

UNITS, RATE = "layers[0].dense.units", "optimizer.rmsprop.learning_rate"
GRID: dict[str, Any] = {
    "over": {UNITS: [4, 8, 12, 16], RATE: [0.01, 0.003, 0.001, 3e-4, 1e-4, 3e-5]},
    "together": 6,
}
PATIENCE = 120.0  # seconds
LONG = 400
"""Epochs: a sweep of so many has not ended when it is found to be under way."""


def the_sweep(runs_dir: Path) -> SweepDirectory:
    (sweep,) = list_sweeps(runs_dir)
    return sweep


def histories(runs_dir: Path) -> dict[int, bytes]:
    """Trial → the history of its only completed run."""
    found: dict[int, bytes] = {}
    for path in runs_dir.glob("*/run.json"):
        record = record_of(path.parent)
        if record["status"] == "completed":
            assert record["trial"]["number"] not in found, "a trial was trained twice"
            found[record["trial"]["number"]] = without_seconds(path.parent)
    return found


def wait_until(true: Any, process: Any) -> None:
    until = time.monotonic() + PATIENCE
    while not true():
        assert process.poll() is None, "it ended before"
        assert time.monotonic() < until, "nothing happens"
        time.sleep(0.02)


def alone(folder: Path) -> dict[int, bytes]:
    """The histories that one process gives."""
    done = nnrun_command("sweep", "small.yaml", "--runs-dir", "alone", "--device", "cpu", "-q", cwd=folder)
    assert done.returncode == 0, done.stderr
    return histories(folder / "alone")


def _scores(runs_dir: Path) -> list[float | None]:
    return [trial.score for trial in the_sweep(runs_dir).read_record().trials]


def test_ctrl_c_stops_all_workers_and_the_same_command_goes_on(tmp_path: Path) -> None:
    write_small(tmp_path, epochs=LONG, sweep=GRID)
    alone(tmp_path)
    command = ["sweep", "small.yaml", "--workers", "2", "--device", "cpu", "-q", "--json"]
    process = start_nnrun(*command, cwd=tmp_path)
    runs = tmp_path / "runs"
    wait_until(lambda: len(list(runs.glob("*/history.csv"))) > 6, process)
    work = the_sweep(runs).path / "work" / "start-1"
    workers = [json.loads(path.read_text()) for path in work.glob("worker-*.json")]
    process.send_signal(signal.SIGINT)
    out, _ = process.communicate(timeout=PATIENCE)
    assert process.returncode == 130
    assert json.loads(out)["status"] == "interrupted"
    assert workers
    for worker in workers:  # none of them is at work any more
        with pytest.raises(ProcessLookupError):
            os.kill(worker["process"]["pid"], 0)
    assert len(histories(runs)) < 24
    done = nnrun_command(*command, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert sorted(histories(runs)) == list(range(1, 25))
    assert _scores(runs) == pytest.approx(_scores(tmp_path / "alone"), rel=1e-5)  # other bundles may go on
    assert {record_of(p.parent)["status"] for p in runs.glob("*/run.json")} == {"completed", "interrupted"}


def test_workers_whose_owner_is_killed_stop_and_nothing_is_lost(tmp_path: Path) -> None:
    write_small(tmp_path, epochs=60, sweep={**GRID, "together": 2})
    expected = alone(tmp_path)
    command = ["sweep", "small.yaml", "--workers", "2", "--device", "cpu", "-q", "--json"]
    process = start_nnrun(*command, cwd=tmp_path)
    runs = tmp_path / "runs"
    wait_until(lambda: len(list(runs.glob("*/history.csv"))) > 4, process)
    process.kill()
    process.communicate(timeout=PATIENCE)
    work = the_sweep(runs).path / "work" / "start-1"
    workers = [json.loads(path.read_text())["process"]["pid"] for path in work.glob("worker-*.json")]
    assert workers
    done = nnrun_command(*command, cwd=tmp_path)  # at once: it waits until the others have stopped
    assert done.returncode == 0, done.stderr
    assert histories(runs) == expected
    for pid in workers:
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)


def test_a_worker_joins_a_sweep_that_runs(tmp_path: Path) -> None:
    """The first one pauses until the other is at work, which may be slow to begin."""
    write_small(tmp_path, epochs=60, sweep={**GRID, "together": 2})
    expected = alone(tmp_path)
    options = ["--device", "cpu", "--json"]
    process = start_nnrun("sweep", "small.yaml", "--workers", "1", "-q", *options, cwd=tmp_path)
    wait_until(lambda: len(list((tmp_path / "runs").glob("*/history.csv"))) > 0, process)
    work = the_sweep(tmp_path / "runs").path / "work" / "start-1"
    (first,) = work.glob("worker-*.json")
    pid = json.loads(first.read_text())["process"]["pid"]
    os.kill(pid, signal.SIGSTOP)
    claimed = len(list(work.glob("part-*.claim-1")))
    joining = start_nnrun("sweep", "--worker", "@last", *options, cwd=tmp_path)
    try:
        wait_until(lambda: len(list(work.glob("part-*.claim-1"))) > claimed, joining)
    finally:
        os.kill(pid, signal.SIGCONT)
    said, errors = joining.communicate(timeout=PATIENCE)
    out, err = process.communicate(timeout=PATIENCE)
    assert joining.returncode == 0, errors
    assert process.returncode == 0, err
    told, record = json.loads(said), json.loads(out)
    assert told["trials"]
    own = [trial["number"] for trial in record["trials"] if trial["worker"] == told["worker"]]
    assert sorted(told["trials"]) == own
    assert histories(tmp_path / "runs") == expected


@pytest.mark.parametrize(
    ("package", "options"),
    [
        ("ray", ["--launcher", "ray"]),
        ("submitit", ["--launcher", "slurm", "--launcher-set", "cluster=local"]),
    ],
)
def test_workers_that_another_system_starts(tmp_path: Path, package: str, options: list[str]) -> None:
    if find_spec(package) is None:
        pytest.skip(f"{package} comes with the extra `{options[1]}`")
    write_small(tmp_path, epochs=2, sweep=GRID)
    expected = alone(tmp_path)
    command = ["sweep", "small.yaml", "--workers", "2", *options, "--device", "cpu", "-q", "--json"]
    environment = {name: value for name, value in os.environ.items() if name != "RAY_ADDRESS"}
    done = subprocess.run(
        ["nnrun", *command],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        timeout=2 * PATIENCE,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    record = json.loads(done.stdout)
    assert [trial["status"] for trial in record["trials"]] == ["completed"] * 24
    assert histories(tmp_path / "runs") == expected


def test_what_cannot_be_is_refused_before_anything_is_made(tmp_path: Path) -> None:
    write_small(tmp_path, epochs=2, sweep=GRID)
    for options, told in {
        ("--launcher", "ray"): "--launcher starts workers: say how many, such as --workers 4.",
        ("--workers", "2", "--launcher-set", "a=1"): "processes of this machine have no options",
        ("--workers", "2", "--launcher-set", "a"): "write KEY=VALUE",
        ("--worker", "@last"): "the other options",
    }.items():
        done = nnrun_command("sweep", "small.yaml", *options, cwd=tmp_path)
        assert (done.returncode, told in done.stderr) == (2, True), done.stderr
    assert not (tmp_path / "runs").exists()
