"""A disk that is full, a quota, a limit on the size of files, folders that may not be written."""

from __future__ import annotations

import errno
import json
import os
import re
import shutil
import subprocess
import sys
import textwrap
from dataclasses import replace
from pathlib import Path

import pytest

import nnrun
from nnrun.records import RunDirectory, list_runs
from tests.support.commands import nnrun_command
from tests.support.provoke import Server
from tests.support.small_experiments import only_run, record_of, write_small
from tests.support.whole_runs import check_files

TRAIN = ["train", "small.yaml", "-q", "--epochs", "2"]

needs_namespaces = pytest.mark.skipif(
    sys.platform != "linux"
    or shutil.which("unshare") is None
    or subprocess.run(["unshare", "-rm", "true"], capture_output=True, check=False).returncode != 0,
    reason="needs Linux and leave to mount a file system of one's own (unshare -rm)",
)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("code", "said", "every"),
    [(errno.ENOSPC, "No space left on device", 1), (errno.EDQUOT, "Disk quota exceeded", 3)],
)
def test_a_disk_that_fills_at_any_moment(
    code: int, said: str, every: int, faulty: Server, tmp_path: Path
) -> None:
    """A sentence that names the file, and files that are whole. The moments are the same for any error."""
    write_small(tmp_path)
    moment, refused = 1, 0
    while True:
        runs_dir = f"runs-{moment}"
        outcome = faulty.run(
            [*TRAIN, "--runs-dir", runs_dir], cwd=tmp_path, fault="fail from", moment=moment, code=code
        )
        if outcome.code == 0:
            break
        refused += 1
        assert outcome.err.startswith("error: Cannot "), outcome
        assert outcome.err.count("\n") == 1
        assert said in outcome.err
        assert runs_dir in outcome.err
        assert outcome.code in (1, 2)
        for summary in list_runs(tmp_path / runs_dir):
            check_files(summary.run)
            assert summary.status in ("interrupted", "failed", "broken", "completed")
            assert not list(summary.run.path.rglob(".*"))
        moment += every if moment < 40 else 3
    assert refused > 20 / every


_WORKER_WITHIN = """
import nnrun.experiment.sweeping.shared_trials as sharing
from nnrun.experiment.running.job import Settings
from nnrun.experiment.sweeping.sweep_listener import SweepListener
from nnrun.experiment.sweeping.worker import work_on_sweep
from nnrun.records import SweepDirectory
from nnrun.spec.sweep_plan import load_sweep
from pathlib import Path

class Within:
    def start(self, command, count):
        sweep = SweepDirectory(Path(command.arguments[2]))
        settings = Settings("sweep", sweep.path.parent, device="cpu")
        work_on_sweep(sweep, load_sweep(sweep.resolved_spec), settings, SweepListener())
    def at_work(self): return 0
    def troubles(self): return []
    def close(self, seconds): pass

sharing.make_launcher = lambda workers: Within()
"""
"""Have a sweep's worker work within its owner's process, whose system calls fail."""


@pytest.mark.slow
@pytest.mark.parametrize("nested", [False, True], ids=["plain", "nested"])
def test_a_disk_that_fills_while_workers_search(nested: bool, faulty: Server, tmp_path: Path) -> None:
    """By TPE, whose study Optuna writes. Whoever meets the full disk, the sentence names a file."""
    pytest.importorskip("optuna", reason="Optuna comes with the extra `sweep`")
    over = {"optimizer.rmsprop.learning_rate": {"log_uniform": [1e-4, 0.1]}}
    changes = {"nested": {"k": 2}, "validation": {"holdout": {"fraction": 0.3}}} if nested else {}
    write_small(tmp_path, epochs=1, sweep={"method": "tpe", "trials": 2, "over": over}, **changes)
    within, studies, moment = replace(faulty, setup=_WORKER_WITHIN), 0, 1
    while True:
        runs_dir = f"runs-{moment}"
        command = ["sweep", "small.yaml", "-q", "--workers", "1", "--runs-dir", runs_dir]
        outcome = within.run(
            command,
            cwd=tmp_path,
            fault="fail from",
            moment=moment,
            code=errno.ENOSPC,
        )
        if outcome.code == 0:
            break
        assert outcome.err.startswith("error: Cannot "), outcome
        assert "No space left on device" in outcome.err
        assert runs_dir in outcome.err
        studies += "study" in outcome.err
        moment += 2 if moment < 40 else 9
    assert studies


@pytest.mark.slow
def test_a_disk_that_was_full_for_a_moment(faulty: Server, tmp_path: Path) -> None:
    """One write fails and the next do not: the record itself says that the run failed, and why."""
    write_small(tmp_path)
    moment, failed = 1, 0
    while True:
        runs_dir = f"runs-{moment}"
        outcome = faulty.run(
            [*TRAIN, "--runs-dir", runs_dir],
            cwd=tmp_path,
            fault="fail once",
            moment=moment,
            code=errno.ENOSPC,
        )
        if outcome.calls < moment:
            break
        if outcome.code != 0:
            assert "No space left on device" in outcome.err
            for summary in list_runs(tmp_path / runs_dir):
                check_files(summary.run)
                if summary.status == "failed":
                    failed += 1
                    assert "No space left on device" in record_of(summary.run.path)["error"]
        moment += 1
    assert failed > 5


@needs_namespaces
def test_a_real_disk_that_is_full(tmp_path: Path) -> None:
    """A tmpfs of 200 kB, on which the history of a long run does not fit."""
    write_small(tmp_path)
    (tmp_path / "full").mkdir()
    script = textwrap.dedent(
        f"""
        mount -t tmpfs -o size=200k none full
        {sys.executable} -m nnrun train small.yaml --epochs 100000 --compile off -q --runs-dir full/runs
        code=$?
        cp -r full/runs kept
        {sys.executable} -m nnrun ls --runs-dir full/runs
        exit $code
        """
    )
    done = subprocess.run(
        ["unshare", "-rm", "bash", "-c", script], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 1, done.stderr
    assert "No space left on device" in done.stderr
    assert "Traceback" not in done.stderr
    assert "interrupted" in done.stdout or "failed" in done.stdout
    run = RunDirectory(only_run(tmp_path / "kept"))
    check_files(run)
    assert len(run.read_history()) > 500


def test_a_file_may_not_grow(warm: Server, tmp_path: Path) -> None:
    """RLIMIT_FSIZE, whose signal would end a process that does not ask for the error instead."""
    write_small(tmp_path)
    command = ["train", "small.yaml", "-q", "--epochs", "100000", "--compile", "off"]
    outcome = warm.run(command, cwd=tmp_path, limits={"RLIMIT_FSIZE": 20_000})
    assert outcome.code == 1
    assert "File too large" in outcome.err
    assert outcome.err.count("\n") == 1
    run = RunDirectory(only_run(tmp_path / "runs"))
    check_files(run)
    record = record_of(run.path)
    assert record["status"] == "failed"
    assert re.search(r"history\.csv: File too large|checkpoint in .*: File too large", record["error"])
    assert record["epochs_run"] == len(run.read_history()) > 100
    assert run.read_weights()


@needs_namespaces
def test_a_folder_that_is_read_only_is_said_before_anything_is_loaded(tmp_path: Path) -> None:
    commands = ["train small.yaml", "kfold small.yaml --k 2", "final small.yaml"]
    write_small(tmp_path)
    (tmp_path / "locked").mkdir()
    (tmp_path / "small.npz").unlink()  # the data are not looked for before
    twice = [
        [*command.split(), "--runs-dir", runs_dir]
        for command in commands
        for runs_dir in ("locked/runs", "locked")
    ]
    script = textwrap.dedent(
        f"""
        mount -t tmpfs -o ro none locked
        exec {sys.executable} -c '
        import sys
        from nnrun.cli import main
        codes = [main(command) for command in {json.dumps(twice)}]
        assert codes == [2] * 6, codes
        sys.exit(2)
        '
        """
    )
    done = subprocess.run(
        ["unshare", "-rm", "bash", "-c", script], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == (
        "error: Cannot make a run in locked/runs: locked may not be written (Read-only file system). Name "
        "another folder with --runs-dir.\n"
        "error: Cannot make a run in locked: locked may not be written (Read-only file system). Name another "
        "folder with --runs-dir.\n"
    ) * len(commands)


@needs_namespaces
def test_each_command_names_the_file_that_it_cannot_write(tmp_path: Path) -> None:
    spec = write_small(tmp_path)
    (tmp_path / "rows.csv").write_text("a,y\n" + "".join(f"{i},{i % 3}\n" for i in range(40)))
    run = nnrun.train(spec, runs_dir=tmp_path / "runs").path
    (tmp_path / "locked").mkdir()
    written = {
        "locked/i.yaml": ["init", "rows.csv", "--yes"],
        "locked/e_weights.npz": ["eject", "small.yaml", "--to", "pytorch"],
        "locked/p.svg": ["plot", str(run)],
        "locked/r.html": ["report", str(run)],
        "locked/m.safetensors": ["export", str(run)],
    }
    commands = [[*command, "-o", file.replace("_weights.npz", ".py")] for file, command in written.items()]
    script = textwrap.dedent(
        f"""
        mount -t tmpfs -o ro none locked
        exec {sys.executable} -c '
        import sys
        from nnrun.cli import main
        sys.exit(sum(main(command) != 1 for command in {json.dumps(commands)}))
        '
        """
    )
    done = subprocess.run(
        ["unshare", "-rm", "bash", "-c", script], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    errors = [line for line in done.stderr.splitlines() if line.startswith("error")]
    assert errors == [f"error: Cannot write {file}: Read-only file system." for file in written]
    assert (done.returncode, done.stdout) == (0, "")


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_without_rights_is_said_before_anything_is_loaded(tmp_path: Path) -> None:
    write_small(tmp_path)
    (tmp_path / "small.npz").unlink()
    (tmp_path / "locked").mkdir(mode=0o500)
    done = nnrun_command("train", "small.yaml", "--runs-dir", "locked", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert "locked may not be written (Permission denied)" in done.stderr
