"""How many CPU threads a run computes with."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from nnrun.cli import main
from nnrun.errors import UsageError
from nnrun.experiment.running.job import Settings
from nnrun.experiment.running.reproduce import reproduce_run
from nnrun.experiment.running.resume import resume_run
from nnrun.experiment.running.train import run_experiment
from nnrun.limits import ask_for, cxx_compiler, free_cpus, usable_cpus, wanted_threads
from nnrun.training.device import threads_for
from tests.support.small_experiments import load_small, only_run, record_of, without_seconds, write_small


@pytest.fixture(autouse=True)
def _nobody_asked(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.delenv("NNRUN_THREADS", raising=False)
    ask_for(None)
    yield
    ask_for(None)


def write(root: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


@pytest.mark.parametrize(
    ("files", "cpus"),
    [
        ({}, 64),
        ({"proc/self/cgroup": "0::/a/b\n", "sys/fs/cgroup/a/b/cpu.max": "max 100000\n"}, 64),
        ({"proc/self/cgroup": "0::/a/b\n", "sys/fs/cgroup/a/b/cpu.max": "250000 100000\n"}, 2),
        ({"proc/self/cgroup": "0::/a/b\n", "sys/fs/cgroup/a/cpu.max": "300000 100000\n"}, 3),
        ({"proc/self/cgroup": "0::/outside\n", "sys/fs/cgroup/cpu.max": "50000 100000\n"}, 1),
        (
            {
                "proc/self/cgroup": "4:memory:/x\n3:cpu,cpuacct:/x\n",
                "sys/fs/cgroup/cpu,cpuacct/x/cpu.cfs_quota_us": "400000\n",
                "sys/fs/cgroup/cpu,cpuacct/x/cpu.cfs_period_us": "100000\n",
            },
            4,
        ),
        (
            {
                "proc/self/cgroup": "3:cpu,cpuacct:/x\n",
                "sys/fs/cgroup/cpu,cpuacct/x/cpu.cfs_quota_us": "-1\n",
                "sys/fs/cgroup/cpu,cpuacct/x/cpu.cfs_period_us": "100000\n",
            },
            64,
        ),
    ],
)
def test_the_quota_of_a_container(
    files: dict[str, str], cpus: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("os.sched_getaffinity", lambda pid: set(range(64)), raising=False)
    assert usable_cpus(write(tmp_path, files)) == cpus


def test_the_affinity(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("os.sched_getaffinity", lambda pid: {5}, raising=False)
    assert usable_cpus(tmp_path) == 1
    assert threads_for(10**12) == 1


@pytest.mark.parametrize(("share", "cpus"), [("2", 4), ("3", 2), ("20", 1), ("", 8), ("x", 8), ("0", 8)])
def test_workers_of_a_machine_divide_its_cpus(
    share: str, cpus: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("os.sched_getaffinity", lambda pid: set(range(8)), raising=False)
    monkeypatch.setenv("NNRUN_CPU_SHARE", share)
    assert usable_cpus(tmp_path) == cpus


@pytest.mark.skipif(not hasattr(os, "getloadavg"), reason="this system does not tell its load")
@pytest.mark.parametrize(("load", "free"), [(0.2, 4), (1.0, 4), (6.0, 3), (7.6, 1), (40.0, 1)])
def test_cpus_that_others_use_are_not_free(load: float, free: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of the machine's 8 CPUs this process may use 4."""
    monkeypatch.setattr("nnrun.limits.usable_cpus", lambda: 4)
    monkeypatch.setattr("os.cpu_count", lambda: 8)
    monkeypatch.setattr("os.getloadavg", lambda: (load, 0.0, 0.0))
    assert free_cpus() == free


def test_the_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NNRUN_THREADS", " 3 ")
    assert threads_for(1) == threads_for(10**12) == 3
    monkeypatch.setenv("NNRUN_THREADS", "")
    assert wanted_threads() is None
    for wrong in ("0", "-1", "two", "1.5"):
        monkeypatch.setenv("NNRUN_THREADS", wrong)
        with pytest.raises(UsageError, match="must be a whole number from 1"):
            wanted_threads()


@pytest.mark.parametrize(
    "command",
    [["train", "small.yaml"], ["kfold", "small.yaml", "--k", "2"], ["final", "small.yaml"]],
    ids=lambda command: command[0],
)
def test_it_is_recorded_and_taken_again(
    command: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    write_small(tmp_path)
    monkeypatch.chdir(tmp_path)
    assert main([*command, "-q", "--threads", "2"]) == 0
    assert record_of(only_run(tmp_path / "runs"))["threads"] == 2
    monkeypatch.setenv("NNRUN_THREADS", "1")
    assert main(["reproduce", "@last", "-q", "--runs-dir", "runs"]) == 0
    records = [record_of(path) for path in (tmp_path / "runs").glob("small-*")]
    assert [record["threads"] for record in records] == [2, 2]
    capsys.readouterr()


def test_a_resumed_run_says_that_it_keeps_its_threads(tmp_path: Path) -> None:
    from nnrun.experiment.running.listener import Listener

    ask_for(2)
    run = run_experiment(load_small(tmp_path), Settings("train", tmp_path / "runs"))
    ask_for(1)
    told: list[str] = []

    class Tells(Listener):
        def message(self, text: str) -> None:
            told.append(text)

    assert resume_run(run, overrides={"epochs": 4}, listener=Tells())
    assert "with 2 threads, as before: a different number would round differently" in told
    assert run.read_record().threads == 2
    assert reproduce_run(run, runs_dir=tmp_path / "again").identical


@pytest.mark.slow
def test_compiled_steps_are_the_same_with_any_number(tmp_path: Path) -> None:
    if cxx_compiler() is None:
        pytest.skip("there is no C++ compiler")
    histories = set()
    for threads in (1, 2, 5):
        ask_for(threads)
        settings: Any = Settings("train", tmp_path / "runs", compile="on")
        run = run_experiment(load_small(tmp_path), settings)
        assert run.read_record().threads == threads
        histories.add(without_seconds(run.path))
    assert len(histories) == 1


def test_no_such_number(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", "small.yaml", "--threads", "0"]) == 2
    assert "Invalid value for '--threads'" in capsys.readouterr().err
