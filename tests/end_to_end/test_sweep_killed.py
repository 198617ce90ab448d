"""A sweep that is killed, at whatever moment, and started again: no trial is lost and none runs twice.

A helper process imports everything once, for all tests here, and then forks: one child runs the sweep and
kills itself with SIGKILL at the n-th moment at which something reaches the disk, the next runs it to its end.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from nnrun.records import SweepDirectory, list_sweeps
from tests.support.commands import nnrun_command, start_nnrun
from tests.support.small_experiments import record_of, write_small

pytestmark = [
    pytest.mark.faults,
    pytest.mark.skipif(not hasattr(os, "fork"), reason="this system cannot fork"),
]

UNITS, RATE = "layers[0].dense.units", "optimizer.rmsprop.learning_rate"
GRID: dict[str, Any] = {"over": {UNITS: [4, 8], RATE: [0.01, 0.001]}}
TPE: dict[str, Any] = {
    "method": "tpe",
    "trials": 7,
    "over": {RATE: {"log_uniform": [1e-4, 0.1]}, UNITS: {"int_uniform": [2, 8]}},
}

# Each line of its input is [where, folder of the runs, moment or null]; each of its output the child's exit
# code.
HELPER = """
import contextlib, gc, io, json, os, signal, sys, tempfile
import matplotlib.figure, nnrun.figures.sweep_figure, nnrun.figures.curve_figure
from nnrun.cli import main
from nnrun.experiment.sweeping.sweep import run_sweep
from nnrun.records.history import HistoryWriter
try:
    import optuna
except ImportError:
    pass

def kill_at(moment):
    reached = [0]
    def counted(function, before):
        def call(*arguments, **named):
            reached[0] += 1
            this_one = reached[0] == moment
            if this_one and before:
                os.kill(os.getpid(), signal.SIGKILL)
            try:
                return function(*arguments, **named)
            finally:
                if this_one:
                    os.kill(os.getpid(), signal.SIGKILL)
        return call
    for name in ("replace", "rename", "mkdir"):
        setattr(os, name, counted(getattr(os, name), before=moment % 2 == 0))
    HistoryWriter.append = counted(HistoryWriter.append, before=False)
    os.fsync = counted(os.fsync, before=False)

warm = False
for line in sys.stdin:
    folder, runs_dir, moment = json.loads(line)
    if not warm:  # the first sweep of a process imports and prepares what the next, of all children, have
        with tempfile.TemporaryDirectory() as other, contextlib.redirect_stdout(io.StringIO()):
            command = ["sweep", folder + "/small.yaml", "--runs-dir", other, "--device", "cpu", "-q"]
            assert main([*command, "--compile", "off"]) == 0
        gc.collect()
        gc.freeze()  # a child that looks for garbage need not copy what it only looks at
        warm = True
    child = os.fork()
    if child == 0:
        os.chdir(folder)
        sys.stdout = sys.stderr = open(os.devnull, "w")
        if moment is not None:
            kill_at(moment)
        os._exit(main(["sweep", "small.yaml", "--runs-dir", runs_dir, "--device", "cpu"]))
    _, status = os.waitpid(child, 0)
    print(os.waitstatus_to_exitcode(status), flush=True)
"""


class Helper:
    """The helper process."""

    def __init__(self, cache: Path) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-c", HELPER],
            # One thread computes: others would not survive the fork.
            env={**os.environ, "NNRUN_CACHE_DIR": str(cache), "OMP_NUM_THREADS": "1"},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def run(self, runs_dir: Path, moment: int | None = None) -> int:
        """Run the sweep beside its runs in a child that is killed at a moment; give its exit code."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps([str(runs_dir.parent), str(runs_dir), moment]) + "\n")
        self._process.stdin.flush()
        return int(self._process.stdout.readline())

    def close(self) -> None:
        """End the process."""
        self._process.communicate(timeout=60)


@pytest.fixture(scope="module")
def helper(session_cache: Path) -> Iterator[Helper]:
    running = Helper(session_cache)
    yield running
    running.close()


def outcomes(sweep: SweepDirectory) -> list[tuple[Any, ...]]:
    """How each trial ended; who trained beside it may have rounded its score otherwise."""
    return [
        (trial.values, trial.status, None if trial.score is None else pytest.approx(trial.score, rel=1e-5))
        for trial in sweep.read_record().trials
    ]


def the_sweep(runs_dir: Path) -> SweepDirectory:
    (sweep,) = list_sweeps(runs_dir)
    return sweep


def check_all_ran_once(runs_dir: Path, expected: list[tuple[Any, ...]]) -> None:
    """Each trial has one finished run, and the sweep came to what it would have come to."""
    sweep = the_sweep(runs_dir)
    record = sweep.read_record()
    found = [(trial.values, trial.status, trial.score) for trial in record.trials]
    assert (record.status, found) == ("completed", expected)
    # A kill may come between a run's folder and its record: such a folder is empty but for the spec.
    everyone = [record_of(path.parent) for path in runs_dir.glob("*/run.json")]
    records = [run for run in everyone if "trial" in run]  # else what was chosen within outer folds
    assert {run["sweep"] for run in records} == {sweep.id}
    assert {run["status"] for run in records} <= {"completed", "interrupted"}
    completed = Counter(run["trial"]["number"] for run in records if run["status"] == "completed")
    assert completed == {trial.number: 1 for trial in record.trials if trial.status == "completed"}
    runs = {run["id"]: run for run in records}
    for trial in record.trials:
        assert trial.run is not None
        assert runs[trial.run]["trial"]["number"] == trial.number
        assert runs[trial.run]["status"] == ("completed" if trial.status == "completed" else "interrupted")
    assert sweep.best_spec.is_file() == record.has_best
    assert sweep.figure.is_file()
    if record.nested is not None:
        scored = {fold.run for fold in record.nested.folds}
        assert scored <= {run["id"] for run in everyone if run["status"] == "completed"}


def kills(helper: Helper, folder: Path, every: int, first: int) -> None:
    """Kill it at every so many moments, each time in a folder of its own, and start it again."""
    assert helper.run(folder / "whole") == 0
    expected = outcomes(the_sweep(folder / "whole"))
    moment, killed = first, 0
    while helper.run(folder / f"runs-{moment}", moment) == -9:
        killed += 1
        assert helper.run(folder / f"runs-{moment}") == 0, moment
        check_all_ran_once(folder / f"runs-{moment}", expected)
        moment += every
    assert killed >= 6


@pytest.mark.slow
def test_a_grid_killed_at_many_moments(helper: Helper, tmp_path: Path) -> None:
    write_small(tmp_path, epochs=2, sweep=GRID)
    kills(helper, tmp_path, every=16, first=3)


@pytest.mark.slow
def test_tpe_killed_at_many_moments(helper: Helper, tmp_path: Path) -> None:
    pytest.importorskip("optuna", reason="Optuna comes with the extra `sweep`")
    write_small(tmp_path, epochs=4, sweep=TPE)
    kills(helper, tmp_path, every=38, first=5)


@pytest.mark.slow
@pytest.mark.parametrize("method", ["grid", "tpe"])
def test_a_nested_sweep_killed_at_many_moments(method: str, helper: Helper, tmp_path: Path) -> None:
    """Trials, outer folds and what was chosen train side by side; it comes to the same scores."""
    pytest.importorskip("optuna", reason="Optuna comes with the extra `sweep`")
    section = {**TPE, "trials": 2} if method == "tpe" else GRID
    write_small(tmp_path, epochs=2, nested=3, sweep=section, validation={"holdout": {"fraction": 0.3}})
    scores = []
    kills(helper, tmp_path, every=51, first=7)
    for folder in tmp_path.glob("*/"):
        if list_sweeps(folder):
            nested = the_sweep(folder).read_record().nested
            assert nested is not None
            scores.append((nested.scores["val_loss"], [fold.epoch for fold in nested.folds]))
    assert scores == [(pytest.approx(scores[0][0], rel=1e-5), scores[0][1])] * len(scores)


@pytest.mark.slow
def test_a_sweep_killed_again_and_again_comes_to_its_end(helper: Helper, tmp_path: Path) -> None:
    """As long as no more is lost each time than one trial; trials that train together are lost together."""
    write_small(tmp_path, epochs=2, sweep={**GRID, "together": 1})
    assert helper.run(tmp_path / "whole") == 0
    starts = 1
    while helper.run(tmp_path / "runs", 40) == -9:
        starts += 1
        assert starts < 20
    assert starts > 3
    check_all_ran_once(tmp_path / "runs", outcomes(the_sweep(tmp_path / "whole")))


@pytest.mark.slow
def test_a_kill_from_outside_in_the_middle_of_a_training(tmp_path: Path) -> None:
    write_small(tmp_path, epochs=60, sweep={"over": {**GRID["over"], UNITS: [4, 8, 12]}})
    command = ["sweep", "small.yaml", "-q", "--json"]
    process = start_nnrun(*command, cwd=tmp_path)
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        if sum(history.read_bytes().count(b"\n") for history in tmp_path.glob("runs/*/history.csv")) > 150:
            break
        time.sleep(0.01)
    process.kill()
    process.communicate(timeout=30)
    assert process.returncode == -9
    sweep = the_sweep(tmp_path / "runs")
    before = sweep.read_record()
    assert before.status == "running"
    assert {trial.status for trial in before.trials} >= {"completed", "waiting"}
    done = nnrun_command(*command, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    after = json.loads(done.stdout)
    finished = [trial.number for trial in before.trials if trial.status == "completed"]
    for trial in after["trials"]:
        if trial["number"] in finished:
            assert trial["run"] == before.trials[trial["number"] - 1].run
    check_all_ran_once(tmp_path / "runs", outcomes(sweep))
