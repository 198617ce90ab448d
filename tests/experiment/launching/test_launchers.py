"""How workers are started: command line, share of the machine, and what is said of one that ended."""

from __future__ import annotations

import importlib.util
import os
import signal
import sys
import time
from pathlib import Path

import pytest

from nnrun import extras
from nnrun.errors import UsageError
from nnrun.experiment.launching import launcher as launching
from nnrun.experiment.launching import processes
from nnrun.experiment.launching.launcher import (
    WorkerCommand,
    Workers,
    environment,
    make_launcher,
    run_worker,
    trouble,
    worker_arguments,
)
from nnrun.limits import ask_for
from nnrun.spec.allowed_modules import allowing


def test_a_worker_is_told_what_its_owner_was_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    given = {"device": "cuda", "compile_": "off"}
    found = worker_arguments("sweep", Path("runs/s"), **given, data_dir=None)  # type: ignore[arg-type]
    folder = str(tmp_path / "runs/s")
    assert found == ["sweep", "--worker", folder, "--device", "cuda", "-q", "--compile", "off"]
    ask_for(3)
    try:
        with allowing(["mine"]):
            more = worker_arguments("sweep", Path("runs/s"), **given, data_dir=Path("data"))  # type: ignore[arg-type]
    finally:
        ask_for(None)
    own = ["--data-dir", str(tmp_path / "data"), "--threads", "3", "--allow-custom", "mine"]
    assert more == [*found, *own]


def test_workers_divide_the_cpus_and_run_this_nnrun(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", "elsewhere")
    found = environment(4, {"CUDA_VISIBLE_DEVICES": "1"})
    assert found["NNRUN_CPU_SHARE"] == "4"
    assert found["CUDA_VISIBLE_DEVICES"] == "1"
    assert found["PYTHONPATH"].endswith("elsewhere")
    monkeypatch.setattr(launching, "PACKAGE", Path("/usr/lib/python3/site-packages/nnrun"))
    assert environment(1)["PYTHONPATH"] == "elsewhere", "what is installed is found without help"


@pytest.mark.parametrize(
    ("code", "said", "told"),
    [
        (0, "", None),
        (130, "interrupted", None),
        (-9, "", "worker 2 was ended by signal 9"),
        (4, "loading\nerror: no data\n", "worker 2 ended with exit code 4: no data"),
    ],
)
def test_what_is_said_of_a_worker_that_ended(code: int, said: str, told: str | None) -> None:
    assert trouble(2, code, said) == told


@pytest.mark.parametrize(("name", "package"), [("ray", "ray"), ("slurm", "submitit")])
def test_a_launcher_whose_package_is_missing_says_how_to_install_it(
    monkeypatch: pytest.MonkeyPatch, name: str, package: str
) -> None:
    there = importlib.util.find_spec
    monkeypatch.setattr(extras, "find_spec", lambda wanted: None if wanted == package else there(wanted))
    with pytest.raises(UsageError, match=rf"pip install 'nnrun\[{name}\]'.*pip install -e '\.\[{name}\]'"):
        make_launcher(Workers(2, name))  # type: ignore[arg-type]


def test_slurm_is_refused_where_its_commands_are_not(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("submitit", reason="submitit comes with the extra `slurm`")
    monkeypatch.setenv("PATH", "")
    with pytest.raises(UsageError, match="there is no `srun` here"):
        make_launcher(Workers(2, "slurm"))
    make_launcher(Workers(2, "slurm", {"cluster": "local"}))


def test_processes_are_ended_by_asking_and_their_last_words_are_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    code = "import sys, time; print('error: of 1', file=sys.stderr); sys.exit(3)"
    commands = iter([[sys.executable, "-c", code], [sys.executable, "-c", "import time; time.sleep(60)"]])
    monkeypatch.setattr(processes, "command_line", lambda _: next(commands))
    own = processes.ProcessLauncher()
    own.start(WorkerCommand((), tmp_path, tmp_path, "cpu"), 2)
    until = time.monotonic() + 120
    while own.at_work() > 1 and time.monotonic() < until:
        time.sleep(0.01)
    assert own.troubles() == ["worker 1 ended with exit code 3: of 1"]
    assert own.troubles() == []
    own.close(30)
    assert own.at_work() == 0


def test_gpus_are_given_one_after_the_other(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processes.torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(processes.torch.cuda, "device_count", lambda: 2)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    assert processes._gpus("auto") == ["0", "1"]
    assert processes._gpus("cpu") == processes._gpus("cuda:1") == []
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3,GPU-5")
    assert processes._gpus("cuda") == ["3", "GPU-5"]


def test_who_ends_the_caller_ends_the_worker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """At whatever moment; here once it has begun its work."""
    started = tmp_path / "started"
    code = f"import os, pathlib, time; pathlib.Path({str(started)!r}).write_text(str(os.getpid()) + '.'); "
    code += "time.sleep(600)"
    monkeypatch.setattr(launching, "command_line", lambda _: [sys.executable, "-c", code])

    def interrupt(number: int, frame: object) -> None:
        if started.exists() and started.read_text().endswith("."):
            raise KeyboardInterrupt

    before = signal.signal(signal.SIGALRM, interrupt)
    signal.setitimer(signal.ITIMER_REAL, 0.05, 0.05)
    try:
        with pytest.raises(KeyboardInterrupt):
            run_worker((), str(tmp_path))
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    with pytest.raises(ProcessLookupError):
        os.kill(int(started.read_text().rstrip(".")), 0)
