"""A sweep's folder: found by its content, held by one process, read back as it was written."""

from __future__ import annotations

import csv
import json
import multiprocessing
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest

from nnrun.errors import DataError, LockedError, UsageError
from nnrun.records import (
    RunDirectory,
    RunRecord,
    SweepDirectory,
    SweepRecord,
    TrialRecord,
    find_run,
    list_runs,
    list_sweeps,
    open_sweep,
    runs_of_sweep,
)

_count = iter(range(10**6))


def first(id_: str, content: str = "a", **changes: Any) -> SweepRecord:
    started = datetime(2026, 1, 1, tzinfo=timezone.utc) + timedelta(seconds=next(_count))
    values: dict[str, Any] = {
        "id": id_,
        "name": "small",
        "status": "running",
        "content": content,
        "method": "grid",
        "monitor": "val_loss",
        "maximize": False,
        "seed": 0,
        "total": 2,
        "smoke": False,
        "started": started.isoformat(),
    }
    return SweepRecord(**(values | changes))


@contextmanager
def hold(
    runs_dir: Path, content: str = "a", *, new: bool = False, name: str = "small"
) -> Iterator[tuple[SweepDirectory, SweepRecord, bool]]:
    def begin(id_: str) -> SweepRecord:
        return first(id_, content)

    with open_sweep(runs_dir, name, content, begin, "epochs: 1\n", "", new=new) as opened:
        yield opened.sweep, opened.record, not opened.is_new


def test_the_same_content_is_the_same_sweep(tmp_path: Path) -> None:
    with hold(tmp_path / "runs") as (sweep, record, there):
        assert (there, record.id, record.status) == (False, sweep.id, "running")
        assert sweep.id.startswith("small-sweep-")
    with hold(tmp_path / "runs") as (again, _, there):
        assert (again, there) == (sweep, True)
    with hold(tmp_path / "runs", "b") as (other, _, there):
        assert (other != sweep, there) == (True, False)
    with hold(tmp_path / "runs", new=True) as (newer, _, there):
        assert (newer not in (sweep, other), there) == (True, False)
    with hold(tmp_path / "runs") as (again, _, there):
        assert (again, there) == (newer, True)
    assert len(list_sweeps(tmp_path / "runs")) == 3


def test_a_name_that_ends_with_sweep_does_not_say_so_twice(tmp_path: Path) -> None:
    with hold(tmp_path, name="my_sweep") as (sweep, _, _):
        assert sweep.id.startswith("my_sweep-2")


def test_the_folder_is_never_without_its_record(tmp_path: Path) -> None:
    """A start that fails half-way leaves nothing that a list could show."""

    def broken(id_: str) -> SweepRecord:
        raise KeyboardInterrupt

    with (
        pytest.raises(KeyboardInterrupt),
        open_sweep(tmp_path, "small", "a", broken, "", "", new=False),
    ):
        pass
    assert list_sweeps(tmp_path) == []
    assert list_runs(tmp_path) == []


def _try_to_hold(runs_dir: Path, answer: Any) -> None:
    try:
        with hold(runs_dir):
            answer.put("held")
    except LockedError as error:
        answer.put(str(error))


def test_no_two_processes_hold_a_sweep(tmp_path: Path) -> None:
    """And the second waits for nothing."""
    processes = multiprocessing.get_context("spawn")
    answer = processes.Queue()
    with hold(tmp_path) as (sweep, _, _):
        other = processes.Process(target=_try_to_hold, args=(tmp_path, answer))
        other.start()
        assert answer.get(timeout=60) == (
            f"another process is running {sweep.id}. Wait until it ends, or start another with --new."
        )
        other.join()
    _try_to_hold(tmp_path, answer)
    assert answer.get(timeout=60) == "held"
    assert LockedError.exit_code == 6


def test_a_record_reads_back(tmp_path: Path) -> None:
    trials = [
        TrialRecord(
            number=1,
            values={"loss": "mse", "epochs": 5},
            status="completed",
            run="small-1",
            score=0.1 + 0.2,
            epoch=3,
            seconds=1.5,
        ),
        TrialRecord(
            number=2, values={"loss": {"huber": {"delta": 2.0}}, "epochs": None}, status="failed", error="no"
        ),
    ]
    with hold(tmp_path) as (sweep, record, _):
        record.trials = trials
        sweep.write_record(record)
        assert sweep.read_record() == record


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "it is not valid JSON"),
        ("{}", "id is missing"),
        ('{"trials": []}', "id is missing"),
        ('{"id": 3}', "id is 3"),
    ],
)
def test_a_damaged_record_is_said_to_be_and_passed_over(tmp_path: Path, text: str, message: str) -> None:
    with hold(tmp_path) as (sweep, _, _):
        pass
    (sweep.path / "sweep.json").write_text(text)
    with pytest.raises(DataError) as caught:
        sweep.read_record()
    assert str(caught.value).startswith(f"{sweep.path / 'sweep.json'} is damaged: ")
    assert message in str(caught.value)
    with hold(tmp_path) as (other, _, there):
        assert (other != sweep, there) == (True, False)


def test_an_unknown_status_is_damage(tmp_path: Path) -> None:
    with hold(tmp_path) as (sweep, record, _):
        record.trials = [TrialRecord(number=1, values={})]
        record.trials[0].status = "done"  # type: ignore[assignment]
        sweep.write_record(record)
        with pytest.raises(DataError) as caught:
            sweep.read_record()
    assert str(caught.value).endswith('sweep.json is damaged: trials[0]: status is "done".')


def test_ranks(tmp_path: Path) -> None:
    record = first("x")
    record.trials = [
        TrialRecord(number=1, values={}, status="completed", score=0.5),
        TrialRecord(number=2, values={}, status="pruned"),
        TrialRecord(number=3, values={}, status="completed", score=0.9),
        TrialRecord(number=4, values={}, status="completed", score=0.5),
        TrialRecord(number=5, values={}, status="interrupted"),
    ]
    assert [trial.number for trial in record.ranked()] == [1, 4, 3]
    record.maximize = True
    assert [trial.number for trial in record.ranked()] == [3, 1, 4]
    assert [trial.number for trial in record.unfinished()] == [5]


def test_the_table_of_trials(tmp_path: Path) -> None:
    values = {"loss": "mse", "layers": [{"dense": 1}, "a,b"], "epochs": 5}
    with hold(tmp_path) as (sweep, record, _):
        record.trials = [
            TrialRecord(
                number=1,
                values=values,
                status="completed",
                run="small-1",
                score=0.1 + 0.2,
                epoch=3,
                seconds=1.5,
            ),
            TrialRecord(number=2, values=values),
        ]
        sweep.write_trials(record)
        with (sweep.path / "trials.csv").open(newline="") as file:
            rows = list(csv.reader(file))
    shown = ["mse", json.dumps(values["layers"]), "5"]
    assert rows == [
        ["trial", "status", "val_loss", "epoch", "seconds", "run", "loss", "layers", "epochs"],
        ["1", "completed", "0.30000000000000004", "3", "1.5", "small-1", *shown],
        ["2", "waiting", "", "", "", "", *shown],
    ]


def test_a_torn_line_of_the_study_is_cut_off(tmp_path: Path) -> None:
    with hold(tmp_path) as (sweep, _, _):
        assert not sweep.study_file().exists()
        for text, left in (('{"a": 1}\n{"b"', '{"a": 1}\n'), ('{"a": 1}\n', '{"a": 1}\n'), ('{"a"', "")):
            sweep.study_file().write_text(text)
            assert sweep.study_file().read_text() == left


def test_a_sweep_is_no_run(tmp_path: Path) -> None:
    with hold(tmp_path) as (sweep, _, _):
        pass
    assert list_runs(tmp_path) == []
    for reference in (sweep.id, "small", str(sweep.path)):
        with pytest.raises(UsageError) as caught:
            find_run(reference, tmp_path)
        assert str(caught.value) == (
            f"{sweep.id} is a sweep, not a run: it has no network of its own. Name the run of a "
            f"trial; `nnrun show {sweep.path}` lists them all."
        )
    with pytest.raises(UsageError):
        find_run("@last", tmp_path)
    assert find_run_beside(tmp_path, sweep).id == "small-20260101T000000Z-aaaa"


def find_run_beside(runs_dir: Path, sweep: SweepDirectory) -> RunDirectory:
    """A run whose id begins alike is found by what both begin with."""
    (runs_dir / "small-20260101T000000Z-aaaa").mkdir()
    run = RunDirectory(runs_dir / "small-20260101T000000Z-aaaa")
    run.write_record(RunRecord(id=run.id, status="completed", sweep=sweep.id))
    assert [found.id for found in runs_of_sweep(sweep.id, runs_dir)] == [run.id]
    assert runs_of_sweep("another", runs_dir) == []
    return find_run("small-", runs_dir)
