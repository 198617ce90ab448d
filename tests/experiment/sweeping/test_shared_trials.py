"""The trials of a sweep, trained by several workers: each once, with the histories that one process gives."""

from __future__ import annotations

import json
import os
import random
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from nnrun.errors import NnrunError, UsageError
from nnrun.experiment.launching.launcher import Workers
from nnrun.experiment.running.job import Settings
from nnrun.experiment.sweeping.shared_trials import SAME_AS, TIME_IS_UP, Sharing
from nnrun.experiment.sweeping.sweep import run_sweep
from nnrun.experiment.sweeping.sweep_listener import SweepListener, Working
from nnrun.experiment.sweeping.worker import work_on_sweep
from nnrun.machine import this_process
from nnrun.records import SweepDirectory, TrialRecord
from nnrun.records.claims import SignOfLife, WorkPlan
from nnrun.records.work_starts import begin, starts
from nnrun.spec.sweep_plan import load_sweep
from nnrun.training.pace import Pace
from tests.support.small_experiments import record_of, without_seconds, write_small
from tests.support.workers import ForkLauncher, deaths, dying, fork_workers

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="this system cannot fork")

UNITS, RATE = "layers[0].dense.units", "optimizer.rmsprop.learning_rate"
GRID: dict[str, Any] = {"over": {UNITS: [4, 8], RATE: [0.01, 0.003, 0.001]}, "together": 2}
TPE: dict[str, Any] = {
    "method": "tpe",
    "trials": 8,
    "prune": False,
    "over": {RATE: {"log_uniform": [1e-4, 0.1]}, UNITS: {"int_uniform": [2, 8]}},
}


class Heard(SweepListener):
    """Notes what is told."""

    def __init__(self) -> None:
        self.said: list[str] = []
        self.ended_trials: list[int] = []
        self.seen: list[list[Working]] = []

    def message(self, text: str) -> None:
        self.said.append(text)

    def trial_ended(self, trial: TrialRecord) -> None:
        self.ended_trials.append(trial.number)

    def working(self, workers: Any) -> None:
        self.seen.append(list(workers))


def sweep(
    folder: Path, runs: str, workers: int | None = None, heard: SweepListener | None = None
) -> SweepDirectory:
    """Run the sweep of small.yaml."""
    return run_sweep(
        load_sweep(folder / "small.yaml"),
        Settings("sweep", folder / runs, device="cpu"),
        heard,
        workers=None if workers is None else Workers(workers),
    )


def histories(runs: Path) -> dict[int, bytes]:
    """Trial → the history of its only completed run."""
    found: dict[int, bytes] = {}
    for path in runs.glob("*/run.json"):
        record = record_of(path.parent)
        if record["status"] == "completed":
            assert record["trial"]["number"] not in found, "a trial was trained twice"
            found[record["trial"]["number"]] = without_seconds(path.parent)
    return found


def outcomes(made: SweepDirectory) -> list[tuple[Any, ...]]:
    """What came of each trial, whoever trained it."""
    return [(t.number, t.values, t.status, t.score, t.epoch) for t in made.read_record().trials]


def test_workers_give_what_one_process_gives(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_small(tmp_path, epochs=2, sweep=GRID)
    alone, heard = sweep(tmp_path, "alone"), Heard()
    fork_workers(monkeypatch)
    shared = sweep(tmp_path, "shared", 2, heard)
    assert histories(tmp_path / "shared") == histories(tmp_path / "alone")
    assert outcomes(shared) == outcomes(alone)
    record = shared.read_record()
    assert record.status == "completed"
    assert sorted(heard.ended_trials) == [1, 2, 3, 4, 5, 6]
    assert heard.said[0].startswith(
        "2 workers for 6 trials in 4 bundles; more can join: nnrun sweep --worker "
    )
    assert shared.best_spec.is_file()
    assert shared.figure.is_file()
    files = {"spec.yaml", "resolved.yaml", "sweep.json", "trials.csv", "best.yaml", "plots"}
    assert {path.name for path in shared.path.iterdir()} == files, "the work folder goes"
    again = Heard()
    assert sweep(tmp_path, "shared", 2, again) == shared
    assert again.said == [f"{shared.id} is already complete. To run it again: --new."]


@pytest.mark.slow
@pytest.mark.faults
@pytest.mark.parametrize("seed", [0, 1])
def test_24_trials_of_4_workers_of_which_two_are_killed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    """At random moments; each trial has one completed run, and the history that one process gives it."""
    over = {UNITS: [4, 8, 12, 16], RATE: [0.01, 0.003, 0.001, 3e-4, 1e-4, 3e-5]}
    write_small(tmp_path, epochs=40, sweep={"over": over, "together": 3})
    alone = sweep(tmp_path, "alone")
    rng = random.Random(seed)
    at = [rng.randint(1, 120) for _ in range(2)]  # of the epochs that a worker trains of its first bundle
    fork_workers(monkeypatch, ForkLauncher(setups=[dying(tmp_path / "deaths", *at)]))
    heard = Heard()
    shared = sweep(tmp_path, "shared", 4, heard)
    assert deaths(tmp_path / "deaths") == 2
    found = histories(tmp_path / "shared")
    assert found == histories(tmp_path / "alone")
    assert len(found) == 24
    assert outcomes(shared) == outcomes(alone)
    statuses = Counter(record_of(p.parent)["status"] for p in (tmp_path / "shared").glob("*/run.json"))
    assert set(statuses) <= {"completed", "interrupted"}
    assert sum("was ended by signal 9; its work goes to another" in text for text in heard.said) == 2
    assert {w.name for seen in heard.seen for w in seen} & {t.worker for t in shared.read_record().trials}


def test_where_all_workers_die_the_sweep_is_interrupted_and_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_small(tmp_path, epochs=2, sweep=GRID)

    def kill_all(launcher: ForkLauncher) -> None:
        for process in launcher.processes:
            process.kill()

    fork_workers(monkeypatch, ForkLauncher(kill_all))
    with pytest.raises(NnrunError, match=r"All workers have ended \(.*signal 9.*\), with 6 trials to do"):
        sweep(tmp_path, "runs", 2)
    fork_workers(monkeypatch)
    heard = Heard()
    made = sweep(tmp_path, "runs", 2, heard)
    assert heard.said[0] == f"resuming {made.id}: 0 of 6 trials have finished"
    assert made.read_record().status == "completed"
    assert sorted(histories(tmp_path / "runs")) == [1, 2, 3, 4, 5, 6]


def test_what_workers_left_whose_owner_was_killed_is_taken_in(tmp_path: Path) -> None:
    write_small(tmp_path, epochs=2, sweep=GRID)
    made = sweep(tmp_path, "runs")
    record, before = made.read_record(), histories(tmp_path / "runs")
    work = begin(made.path, WorkPlan([[1, 2], [3, 4]]), this_process())
    for trial in record.trials[:2]:
        work.publish(trial.number, trial.dump())
        trial.status, trial.run, trial.score, trial.epoch, trial.seconds = "running", None, None, None, None
    work.publish(3, {"number": "damaged"})
    work.write_sign(SignOfLife("worker", this_process(), left=True))
    record.status = "running"
    made.write_record(record)
    heard = Heard()
    assert sweep(tmp_path, "runs", heard=heard) == made
    assert heard.ended_trials == []
    assert histories(tmp_path / "runs") == before
    assert starts(made.path) == []
    assert [trial.status for trial in made.read_record().trials] == ["completed"] * 6


@pytest.mark.slow
def test_tpe_among_workers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("optuna", reason="Optuna comes with the extra `sweep`")
    write_small(tmp_path, epochs=3, sweep=TPE)
    fork_workers(monkeypatch)
    made = sweep(tmp_path, "runs", 2)
    record = made.read_record()
    assert [(t.number, t.status) for t in record.trials] == [(n, "completed") for n in range(1, 9)]
    assert sorted(histories(tmp_path / "runs")) == list(range(1, 9))
    lines = [json.loads(line) for line in (made.path / "study.log").read_text().splitlines()]
    assert sum(line["op_code"] == 4 for line in lines) == 8, "Optuna knows of 8 trials"
    more = run_sweep(
        load_sweep(tmp_path / "small.yaml", changes={"trials": 10}),
        Settings("sweep", tmp_path / "runs", device="cpu"),
        workers=Workers(2),
    )
    assert more == made
    assert sorted(histories(tmp_path / "runs")) == list(range(1, 11))


def test_a_worker_needs_a_sweep_that_runs(tmp_path: Path) -> None:
    write_small(tmp_path, epochs=2, sweep=GRID)
    made = sweep(tmp_path, "runs")
    plan, settings = load_sweep(made.resolved_spec), Settings("sweep", tmp_path / "runs", device="cpu")
    assert work_on_sweep(made, plan, settings, SweepListener()).trials == ()
    record = made.read_record()
    record.status = "interrupted"
    made.write_record(record)
    with pytest.raises(UsageError, match="is not running with workers now"):
        work_on_sweep(made, plan, settings, SweepListener())


def sharing(made: SweepDirectory, seconds: float | None = None) -> tuple[Sharing, list[TrialRecord]]:
    """What the owner of a sweep does, with what it took note of."""
    ended: list[TrialRecord] = []
    settings = Settings("sweep", made.path.parent, device="cpu")
    pace = Pace(seconds, clock=lambda: 0.0)
    record = made.read_record()

    def record_of(number: int) -> TrialRecord:
        return record.trials[number - 1]

    return Sharing(made, record, settings, Heard(), pace, record_of, ended.append, lambda: None), ended


def test_a_trial_that_ends_every_worker_has_failed(tmp_path: Path) -> None:
    write_small(tmp_path, epochs=2, sweep=GRID)
    own, ended = sharing(sweep(tmp_path, "runs"))
    own.record.trials[2] = TrialRecord(
        number=3, values=own.record.trials[2].values, status="running", run="r"
    )
    own.result(3, own.given_up(3))
    (trial,) = ended
    assert (trial.number, trial.status, trial.error) == (3, "failed", "4 workers died while they trained it")


def test_a_trial_with_the_spec_of_another_ends_as_that_one_does(tmp_path: Path) -> None:
    write_small(tmp_path, epochs=2, sweep=GRID)
    own, ended = sharing(sweep(tmp_path, "runs"))
    first = own.record.trials[0]
    first_ended = {**first.dump(), "worker": "a-1"}
    own.record.trials = [TrialRecord(number=1, values=first.values)]
    own.result(2, {SAME_AS: 1, "number": 2, "values": first.values})
    assert ended == [], "it waits for the other"
    own.result(1, first_ended)
    assert [(t.number, t.status, t.score, t.run) for t in ended] == [
        (number, "completed", first.score, first.run) for number in (1, 2)
    ]


def test_what_is_damaged_says_nothing(tmp_path: Path) -> None:
    write_small(tmp_path, epochs=2, sweep=GRID)
    own, ended = sharing(sweep(tmp_path, "runs"))
    own.record.trials[0] = TrialRecord(number=1, values={})
    own.result(1, {"number": 1, "status": "done"})
    assert ended == []
    assert own.record.trials[0].status == "waiting"


@pytest.mark.parametrize(
    ("seconds", "told", "over"), [(None, False, False), (5, False, False), (5, True, True), (0, False, True)]
)
def test_the_time_is_up_by_the_owner_s_clock_or_where_a_worker_begins_nothing_more(
    tmp_path: Path, seconds: float | None, told: bool, over: bool
) -> None:
    write_small(tmp_path, epochs=2, sweep=GRID)
    own, _ = sharing(sweep(tmp_path, "runs"), seconds)
    left = SignOfLife("a-1", this_process(), left=True, doing={TIME_IS_UP: told})
    assert own.is_over([left]) is over
    assert own.doing() == ({} if seconds is None else {"seconds_left": seconds})
