"""Many at once, two on one run, a clock that is set back, a run among many that is corrupt."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import textwrap
import time
from datetime import datetime, timezone
from pathlib import Path

import pytest

from nnrun.atomic_files import is_held, locked
from nnrun.cli import main
from nnrun.errors import LockedError
from nnrun.records import RunDirectory, create_run, delete_run, find_run, list_runs
from nnrun.records.run_record import now
from tests.support.commands import nnrun_command, run_program
from tests.support.runs_on_disk import make_run, scored_run, scores_of
from tests.support.small_experiments import only_run, record_of, write_small

Capture = pytest.CaptureFixture[str]


# --- many at once ------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system cannot fork")
def test_fifty_starts_at_the_same_moment(tmp_path: Path) -> None:
    """Fifty processes that wait at a gate, and then all train: fifty folders, each a whole run."""
    write_small(tmp_path, epochs=1)
    script = textwrap.dedent(
        """
        import os, sys
        import torch
        from nnrun.cli import main
        torch.set_num_threads(1)
        gate, opened = os.pipe()
        children = []
        for _ in range(50):
            child = os.fork()
            if child == 0:
                os.close(opened)
                os.read(gate, 1)
                os._exit(main(["train", "small.yaml", "-q", "--json"]))
            children.append(child)
        os.close(opened)
        codes = [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children]
        sys.exit(max(codes))
        """
    )
    done = run_program(script, cwd=tmp_path, imported="all")
    assert (done.returncode, done.stderr) == (0, "")
    runs = list_runs(tmp_path / "runs")
    assert len({run.id for run in runs}) == 50
    assert {run.status for run in runs} == {"completed"}
    assert len({(run.run.path / "weights.safetensors").read_bytes() for run in runs}) == 1
    assert all(record_of(run.run.path)["id"] == run.id for run in runs)


def test_an_id_that_is_taken_is_not_shared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same name, second and digits at random: the folder that is there already is left alone."""
    digits = iter(["aaaa", "aaaa", "bbbb"])
    monkeypatch.setattr("nnrun.records.run_directory.secrets.token_hex", lambda _: next(digits))
    moment = datetime(2026, 1, 1, tzinfo=timezone.utc)
    first, second = (create_run(tmp_path, "x", now=moment) for _ in range(2))
    assert (first.id, second.id) == ("x-20260101T000000Z-aaaa", "x-20260101T000000Z-bbbb")


# --- two on one run ----------------------------------------------------------------------------------------


def holder(run: Path) -> subprocess.Popen[str]:
    """A process that owns a run until it is ended."""
    script = (
        "import sys, time; from pathlib import Path; from nnrun.records import RunDirectory\n"
        "with RunDirectory(Path(sys.argv[1])).owned():\n"
        "    print('held', flush=True)\n"
        "    time.sleep(1000)\n"
    )
    process = subprocess.Popen([sys.executable, "-c", script, str(run)], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    return process


def test_two_processes_on_one_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture) -> None:
    """The second says so and ends with 6; a lock whose owner was killed is free."""
    monkeypatch.chdir(tmp_path)
    write_small(tmp_path)
    assert main(["train", "small.yaml", "-q"]) == 0
    run = only_run(tmp_path / "runs")
    before = (run / "run.json").read_bytes()
    capsys.readouterr()
    process = holder(run)
    try:
        for command in (["evaluate", "@last"], ["rm", "@last", "--yes"]):
            assert main(command) == 6
            printed = capsys.readouterr()
            assert printed.out == ""
            assert "another process is working on it" in printed.err or (
                f"another process is working on {run.name}" in printed.err
            )
            assert printed.err.count("\n") == 1
        assert (run / "run.json").read_bytes() == before
        assert (
            main(["ls"]) == main(["show", "@last"]) == main(["plot", "@last"]) == 0
        )  # who reads need not wait
    finally:
        process.send_signal(signal.SIGKILL)
        process.communicate()
    assert main(["evaluate", "@last", "-q"]) == 0
    assert len(record_of(run)["test_uses"]) == 1
    assert main(["rm", "@last", "--yes"]) == 0
    assert not run.exists()


def test_a_lock_leaves_no_file(tmp_path: Path) -> None:
    with locked(tmp_path, "busy"):
        assert is_held(tmp_path) is True
        assert os.listdir(tmp_path) == []
    assert is_held(tmp_path) is False


def test_who_only_looks_is_not_taken_for_an_owner(tmp_path: Path) -> None:
    """A list takes the lock for an instant; an owner that comes at this instant waits a moment."""
    script = (
        "import fcntl, os, sys, time\n"
        "handle = os.open(sys.argv[1], os.O_RDONLY)\n"
        "fcntl.flock(handle, fcntl.LOCK_SH)\n"
        "print('held', flush=True)\n"
        "time.sleep(0.05)\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", script, str(tmp_path)], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    process.stdout.readline()
    with locked(tmp_path, "busy"):
        pass
    process.communicate()


def test_a_run_in_progress_is_not_deleted(tmp_path: Path) -> None:
    run = make_run(tmp_path, "a-20260101T000000Z-0000", status="running")
    with run.owned():
        with pytest.raises(LockedError):
            delete_run(run, tmp_path)
        assert list_runs(tmp_path)[0].status == "running"
    assert list_runs(tmp_path)[0].status == "interrupted"
    delete_run(run, tmp_path)
    assert not run.path.exists()


# --- the clock ---------------------------------------------------------------------------------------------


def test_a_clock_that_is_set_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ids differ, and `@last` is the run that says it started last: only the clock tells of the order."""
    monkeypatch.chdir(tmp_path)
    write_small(tmp_path)
    assert main(["train", "small.yaml", "-q"]) == 0
    first = only_run(tmp_path / "runs").name
    monkeypatch.setattr("nnrun.experiment.running.recorder.now", lambda: "2001-01-01T00:00:00.000000+00:00")
    assert main(["train", "small.yaml", "-q"]) == 0
    (second,) = (run.id for run in list_runs(tmp_path / "runs") if run.id != first)
    assert find_run("@last", tmp_path / "runs").id == first
    assert [run.id for run in list_runs(tmp_path / "runs")] == [first, second]
    assert main(["ls"]) == main(["show", second]) == main(["plot", second]) == 0


def test_times_do_not_follow_the_clock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Epochs are timed by a clock that nobody sets, so that none takes a negative time."""
    monkeypatch.chdir(tmp_path)
    write_small(tmp_path)
    back = iter(range(10**9, 0, -3600))
    monkeypatch.setattr(time, "time", lambda: float(next(back)))
    assert main(["train", "small.yaml", "-q"]) == 0
    run = RunDirectory(only_run(tmp_path / "runs"))
    assert (run.read_history()["seconds"] >= 0).all()
    assert run.read_record().training_seconds >= 0


def test_a_run_that_ended_before_it_began(tmp_path: Path, capsys: Capture) -> None:
    make_run(
        tmp_path,
        "a-20260101T000000Z-0000",
        started="2026-01-01T00:00:00+00:00",
        ended="2025-12-31T23:00:00+00:00",
    )
    assert main(["ls", "--runs-dir", str(tmp_path)]) == 0
    assert "-" not in capsys.readouterr().out.splitlines()[1].split("2026-01-01")[1]
    assert now() > "2026"


# --- one that is corrupt -----------------------------------------------------------------------------------

CORRUPT = {
    "cut off": b'{"id": "x", "status": "comp',
    "empty": b"",
    "binary": bytes(range(256)),
    "a list": b"[1, 2]",
    "deep": b'{"a":' * 100_000,
    "a status of its own": b'{"status": "splendid"}',
    "wrong types": json.dumps(
        {k: [1] for k in ("id", "name", "command", "status", "started", "ended", "best", "test", "data")}
    ).encode(),
    "giant numbers": b'{"status": "completed", "epochs_run": ' + b"9" * 4000 + b"}",
    "surrogates": b'{"status": "completed", "name": "\\ud800\\u001b[2J"}',
    "a web page": b"<html>",
}


def break_runs(runs: Path) -> None:
    for number, content in enumerate(CORRUPT.values()):
        (runs / f"bad-20260101T000000Z-{number:04x}").mkdir(parents=True)
        (runs / f"bad-20260101T000000Z-{number:04x}" / "run.json").write_bytes(content)
    (runs / "empty-20260101T000000Z-0000").mkdir()
    (runs / "pipe-20260101T000000Z-0000").mkdir()
    os.mkfifo(runs / "pipe-20260101T000000Z-0000" / "run.json")
    (runs / "loop-20260101T000000Z-0000").symlink_to(runs / "loop-20260101T000000Z-0000")
    (runs / "link-20260101T000000Z-0000").symlink_to("/etc")
    (runs / "folder-20260101T000000Z-0000" / "run.json").mkdir(parents=True)


def test_corrupt_runs_among_others(tmp_path: Path) -> None:
    """Lists show them as broken, and the rest as usual; each is told of with a sentence."""
    runs = tmp_path / "runs"
    good = scored_run(runs, "good-20260102T000000Z-0000", scores_of(0.5), status="completed")
    break_runs(runs)
    done = nnrun_command("ls", cwd=tmp_path)
    assert done.returncode == 0
    assert "Traceback" not in done.stderr
    assert not {letter for letter in done.stdout + done.stderr if not letter.isprintable()} - {"\n"}
    lines = {line.split()[0]: line.split()[1] for line in done.stdout.splitlines()[1:]}
    assert lines[good.id] == "completed"
    broken = [id_ for id_, status in lines.items() if status == "broken"]
    assert len(broken) >= 9
    assert {line.split(" is broken: ")[0] for line in done.stderr.splitlines()} == set(broken)
    document = nnrun_command("ls", "--json", cwd=tmp_path)
    assert document.returncode == 0
    assert {run["id"] for run in json.loads(document.stdout)} == set(lines)
    assert nnrun_command("show", "@last", cwd=tmp_path).returncode in (0, 4)
    for id_ in broken[:3]:
        for command in ("show", "plot", "evaluate"):
            done = nnrun_command(command, id_, cwd=tmp_path)
            assert done.returncode in (2, 3, 4)
            assert done.stderr.startswith("error: ") or "error" in done.stderr
            assert "Traceback" not in done.stderr


def test_a_new_run_does_not_mind_corrupt_ones(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    monkeypatch.chdir(tmp_path)
    write_small(tmp_path)
    break_runs(tmp_path / "runs")
    (tmp_path / "runs" / ".test-uses.jsonl").write_bytes(b"\x00\xff{\n")
    assert main(["final", "small.yaml", "-q"]) == 0
    assert main(["evaluate", "@last", "-q"]) == 0
    capsys.readouterr()
    shutil.rmtree(tmp_path / "runs")
