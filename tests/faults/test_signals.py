"""Requests to stop, terminals that close, readers that go away."""

from __future__ import annotations

import json
import os
import pty
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from nnrun.records import RunDirectory, list_runs
from tests.support.commands import (
    Command,
    forked_nnrun_for_a_shell,
    nnrun_command,
    start_new_nnrun,
    start_nnrun,
)
from tests.support.provoke import Server
from tests.support.runs_on_disk import make_run
from tests.support.small_experiments import BINARY, only_run, record_of, without_seconds, write_small
from tests.support.whole_runs import check_files

PATIENCE = 180
"""Seconds; the machine may be busy with other tests."""

ENDLESS = ["--epochs", "1000000", "--compile", "off"]
COMMANDS = {
    "train": ["train", "small.yaml", *ENDLESS],
    "kfold": ["kfold", "small.yaml", "--k", "2", *ENDLESS],
    "final": ["final", "small.yaml", *ENDLESS],
}


def wait_for(what: Callable[[], bool], seconds: float = PATIENCE) -> None:
    deadline = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def epochs_in(folder: Path) -> int:
    return sum(history.read_bytes().count(b"\n") - 1 for history in folder.glob("runs/*/history.csv"))


def has_rows(runs_dir: Path) -> bool:
    return any(history.stat().st_size > 300 for history in runs_dir.glob("*/history.csv"))


def end(process: Command | subprocess.Popen[str]) -> tuple[str, str]:
    try:
        return process.communicate(timeout=PATIENCE)
    except subprocess.TimeoutExpired:
        process.kill()
        process.communicate()
        raise


@pytest.mark.parametrize("command", COMMANDS.values(), ids=COMMANDS.keys())
@pytest.mark.parametrize(
    ("request_to_stop", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)]
)
def test_a_request_to_stop(
    command: list[str], request_to_stop: signal.Signals, code: int, warm: Server, tmp_path: Path
) -> None:
    """The epoch that is under way is dropped; the weights are those of the last whole one."""
    write_small(tmp_path)
    process = warm.start(*command, "-q", cwd=tmp_path)
    wait_for(lambda: epochs_in(tmp_path) > 3)
    process.send_signal(request_to_stop)
    ended, out, err = process.end(PATIENCE)
    assert (ended, err) == (code, "")
    assert "interrupted" in out
    run = RunDirectory(only_run(tmp_path / "runs"))
    check_files(run)
    record = record_of(run.path)
    assert record["status"] == "interrupted"
    members = record.get("members", [record])
    history = run.read_history()
    assert record["epochs_run"] == history["epoch"].max()
    assert {member["weights_epoch"] for member in members} == {record["epochs_run"]}
    assert "test" not in record


LONG_EPOCHS = {
    "eager": ["--compile", "off"],
    "C++": ["--compile", "on"],
}


def write_long(folder: Path, rows: int = 20_000, units: int = 512) -> None:
    """An epoch of some seconds also in C++: many steps on few rows, as of texts, sparse."""
    rng = np.random.RandomState(0)
    lists = np.empty(rows, object)
    lists[:] = list(rng.randint(1, 1000, (rows, 20)).tolist())
    layers = [{"dense": {"units": units, "activation": "relu"}}] * 2
    write_small(
        folder,
        BINARY,
        {"x_train": lists, "y_train": np.arange(rows) % 2},
        preprocessing={"inputs": {"multi_hot": 1000}},
        layers=[*layers, {"dense": {"units": 1, "activation": "sigmoid"}}],
        batch_size=1,
        epochs=2,
        validation={"holdout": {"first": 1000}},
    )


@pytest.mark.parametrize("engine", LONG_EPOCHS.values(), ids=LONG_EPOCHS.keys())
@pytest.mark.parametrize(
    ("requests", "codes"),
    [
        ([signal.SIGINT], [130]),
        ([signal.SIGTERM], [143]),
        ([signal.SIGINT, signal.SIGINT], [130, -signal.SIGINT]),
        ([signal.SIGTERM, signal.SIGTERM], [143, -signal.SIGTERM]),
    ],
    ids=["SIGINT", "SIGTERM", "SIGINT twice", "SIGTERM twice"],
)
def test_a_request_within_a_long_epoch(
    engine: list[str], requests: list[signal.Signals], codes: list[int], tmp_path: Path
) -> None:
    """The first epoch is far from its end: the batch is not."""
    write_long(tmp_path)
    process = start_nnrun("train", "small.yaml", "-q", "--epochs", "1000", *engine, cwd=tmp_path)
    wait_for(lambda: any(tmp_path.glob("runs/*/checkpoint-*/manifest.json")))
    time.sleep(0.3)
    for number in requests:
        process.send_signal(number)
    _, err = end(process)
    assert (process.returncode in codes, err) == (True, "")
    run = RunDirectory(only_run(tmp_path / "runs"))
    check_files(run)
    assert run.read_record().status == "interrupted"
    assert epochs_in(tmp_path) == 0


@pytest.mark.slow
def test_what_was_stopped_within_an_epoch_in_c_goes_on_exactly(tmp_path: Path) -> None:
    write_long(tmp_path, rows=50_000, units=256)  # an epoch takes a second or more: four are trained
    whole = nnrun_command("train", "small.yaml", "-q", "--compile", "on", "--runs-dir", "whole", cwd=tmp_path)
    assert whole.returncode == 0, whole.stderr
    command = ["train", "small.yaml", "-q", "--compile", "on"]
    for epochs_before, request_to_stop in enumerate([signal.SIGINT, signal.SIGTERM]):
        process = start_nnrun(*command, cwd=tmp_path)
        wait_for(lambda: any(tmp_path.glob("runs/*/checkpoint-*/manifest.json")))
        wait_for(lambda: epochs_in(tmp_path) == epochs_before)  # noqa: B023 - called at once
        time.sleep(0.1)
        process.send_signal(request_to_stop)
        end(process)
        assert process.returncode == 128 + request_to_stop
        assert epochs_in(tmp_path) == epochs_before
        command = ["train", "--resume", "@last", "-q"]
    done = nnrun_command(*command, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    one, other = only_run(tmp_path / "runs"), only_run(tmp_path / "whole")
    assert without_seconds(one) == without_seconds(other)
    weights = "weights.safetensors"
    assert (one / weights).read_bytes() == (other / weights).read_bytes()


def test_a_request_ends_a_sweep_and_its_trial(tmp_path: Path) -> None:
    write_small(tmp_path, sweep={"over": {"layers[0].dense.units": [4, 8]}, "together": 1})
    process = start_nnrun("sweep", "small.yaml", "-q", *ENDLESS, cwd=tmp_path)
    wait_for(lambda: epochs_in(tmp_path) > 3)
    process.send_signal(signal.SIGINT)
    out, err = end(process)
    assert (process.returncode, err) == (130, ""), out
    (record,) = (json.loads(path.read_text()) for path in tmp_path.glob("runs/*/sweep.json"))
    assert record["status"] == "interrupted"
    assert [run.status for run in list_runs(tmp_path / "runs")] == ["interrupted"]


@pytest.mark.slow
@pytest.mark.parametrize("request_to_stop", [signal.SIGINT, signal.SIGTERM])
def test_a_second_request_leaves_at_once(
    request_to_stop: signal.Signals, warm: Server, tmp_path: Path
) -> None:
    """Whatever the first had begun: files are whole, and a list says that the run was interrupted."""
    write_small(tmp_path)
    for attempt, pause in enumerate([0.0, 0.0005, 0.001, 0.002, 0.005, 0.01]):
        folder = tmp_path / f"runs-{attempt}"
        process = warm.start(*COMMANDS["kfold"], "-q", "--runs-dir", folder.name, cwd=tmp_path)
        wait_for(partial(has_rows, folder))
        process.send_signal(request_to_stop)
        time.sleep(pause)
        process.send_signal(request_to_stop)
        ended, _, err = process.end(PATIENCE)
        assert ended in (-request_to_stop, 128 + request_to_stop)  # a shell says 130 of both
        assert "Traceback" not in err
        run = RunDirectory(only_run(folder))
        check_files(run)
        assert run.read_record().status == "interrupted"


def answers(process: subprocess.Popen[str], number: signal.Signals) -> bool:
    """Whether the process has set up a handler for a signal."""
    text = Path(f"/proc/{process.pid}/status").read_text()
    caught = next(line.split()[1] for line in text.splitlines() if line.startswith("SigCgt:"))
    return bool(int(caught, 16) >> (number - 1) & 1)


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs /proc")
@pytest.mark.parametrize(("request_to_stop", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_request_while_nnrun_starts(request_to_stop: signal.Signals, code: int, tmp_path: Path) -> None:
    """While modules are imported, the command line and the data are read: a word, and the right code."""
    write_small(tmp_path)
    for number, pause in enumerate([0.0, 0.02, 0.05, 0.1, 0.2, 0.3, 0.4, 0.6, 0.9, 1.3]):
        runs_dir = f"runs-{number}"
        process = start_new_nnrun("train", "small.yaml", *ENDLESS, "--runs-dir", runs_dir, "-q", cwd=tmp_path)
        wait_for(partial(answers, process, signal.SIGTERM))
        time.sleep(pause)
        process.send_signal(request_to_stop)
        out, err = end(process)
        assert process.returncode == code, err
        assert "Traceback" not in err
        assert "interrupted" in out + err
        for run in list_runs(tmp_path / runs_dir):
            assert run.status == "interrupted"


def test_a_second_request_does_not_wait_for_what_hangs(tmp_path: Path) -> None:
    """A listener that never returns stands for a computation that no request can interrupt."""
    write_small(tmp_path)
    script = (
        "import sys, time, signal\n"
        "from nnrun.records import RunDirectory\n"
        "def hang(*_):\n"
        "    open('saving', 'w').close()\n"
        "    time.sleep(1000)\n"
        "RunDirectory.write_weights = hang\n"
        "from nnrun.cli import entry_point\n"
        f"sys.argv = ['nnrun', *{[*COMMANDS['train'], '-q']!r}]\n"
        "entry_point()\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", script],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    wait_for(lambda: epochs_in(tmp_path) > 1)
    process.send_signal(signal.SIGINT)
    wait_for((tmp_path / "saving").exists)
    process.send_signal(signal.SIGINT)
    _, err = end(process)  # which waits for less than the 1,000 s of what hangs
    assert (process.returncode, err) == (-signal.SIGINT, "")
    assert list_runs(tmp_path / "runs")[0].status == "interrupted"


def test_nohup_is_respected(tmp_path: Path) -> None:
    write_small(tmp_path)
    command = f"trap '' HUP; exec {sys.executable} -m nnrun train small.yaml -q {' '.join(ENDLESS)}"
    process = subprocess.Popen(
        ["bash", "-c", command], cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    wait_for(lambda: epochs_in(tmp_path) > 3)
    process.send_signal(signal.SIGHUP)
    before = epochs_in(tmp_path)
    wait_for(lambda: epochs_in(tmp_path) > before + 3)
    process.send_signal(signal.SIGTERM)
    end(process)
    assert process.returncode == 143


def test_a_terminal_that_is_closed(tmp_path: Path) -> None:
    """With the live screen on it, which can be drawn nowhere any more."""
    write_small(tmp_path)
    child, terminal = pty.fork()
    if child == 0:
        os.chdir(tmp_path)
        os.execv(sys.executable, [sys.executable, "-m", "nnrun", *COMMANDS["train"]])
    shown = b""

    def enough() -> bool:
        nonlocal shown
        if select.select([terminal], [], [], 0)[0]:
            shown += os.read(terminal, 1 << 16)
        return epochs_in(tmp_path) > 20 and b"epoch" in shown

    wait_for(enough)
    os.close(terminal)
    _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == 129
    assert b"Traceback" not in shown
    run = RunDirectory(only_run(tmp_path / "runs"))
    check_files(run)
    record = record_of(run.path)
    assert (record["status"], record.get("error")) == ("interrupted", None)
    assert record["weights_epoch"] == record["epochs_run"] > 0


@pytest.mark.parametrize(
    "command", ["ls", "show {run}", "ls --json", "schema", "data ls", "check small.yaml"]
)
def test_a_reader_that_leaves(command: str, tmp_path: Path) -> None:
    """`nnrun ls | head -1`, with more to say than a pipe holds, and with nobody there from the start."""
    write_small(tmp_path)
    long = tmp_path / "runs"
    for number in range(1000 if command.startswith("ls") else 3):
        make_run(long, f"many-20260101T000000Z-{number:04x}", best={"val_loss": 0.5}, best_epoch=1)
    run = make_run(long, "one-20260102T000000Z-0000")
    text = (tmp_path / "small.yaml").read_text().replace('"small.npz"', '"../../small.npz"')
    run.write_resolved(text.replace('"first": 16', '"first": 16, "shuffle": false'))  # as every default is
    forked, server = forked_nnrun_for_a_shell(tmp_path)
    nnrun = f"{forked} {command.format(run=run.path)}"
    for reader in ("head -1", "true"):
        line = f"{nnrun} 2>said | {reader} >/dev/null; exit ${{PIPESTATUS[0]}}"
        done = subprocess.run(["bash", "-c", line], cwd=tmp_path, pass_fds=[server], check=False)
        said = (tmp_path / "said").read_text()
        if command == "data ls":  # where the reader leaves after its last line, the advice is still given
            said = said.replace("Download a missing one with: nnrun data fetch NAME\n", "")
        assert (said, done.returncode) == ("", 0)


def test_progress_into_a_full_disk_does_not_stop_the_training(tmp_path: Path) -> None:
    write_small(tmp_path)
    forked, server = forked_nnrun_for_a_shell(tmp_path)
    command = f"{forked} train small.yaml 2>/dev/full"
    done = subprocess.run(
        ["bash", "-c", command],
        cwd=tmp_path,
        pass_fds=[server],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0
    assert "small: trained" in done.stdout


def test_results_into_a_full_disk_are_a_failure(tmp_path: Path) -> None:
    write_small(tmp_path)
    command = f"{sys.executable} -m nnrun check small.yaml --json >/dev/full"
    done = subprocess.run(["bash", "-c", command], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (1, "error: No space left on device.\n")


def test_a_server_of_the_tests_says_what_commands_say(warm: Server, tmp_path: Path) -> None:
    """What the other tests rest on."""
    assert warm.run(["train", "nothing.yaml"], cwd=tmp_path).code == 2


@pytest.mark.parametrize(
    ("request_to_stop", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)]
)
def test_the_json_of_an_interruption_has_the_exit_code_of_the_process(
    request_to_stop: signal.Signals, code: int
) -> None:
    program = (
        "import signal, sys\n"
        "import nnrun.cli.app\n"
        f"nnrun.cli.app.app = lambda *_, **__: signal.raise_signal({int(request_to_stop)})\n"
        "sys.argv = ['nnrun', 'ls', '--json']\n"
        "nnrun.cli.entry_point()\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=PATIENCE)
    assert (done.returncode, done.stderr) == (code, "interrupted\n")
    assert json.loads(done.stdout) == {
        "error": "KeyboardInterrupt",
        "exit_code": code,
        "message": "interrupted",
    }
