"""The commands that tests fork are those that a new process runs: `tests.support.commands`."""

from __future__ import annotations

import signal
import subprocess
from pathlib import Path

import pytest

from tests.support.commands import nnrun_command, start_new_nnrun, start_nnrun
from tests.support.small_experiments import write_small


@pytest.mark.parametrize(
    ("arguments", "stdin"),
    [
        (["check", "small.yaml", "--set", "layers[0].dense.units=none"], None),
        (["show", "no-such-run"], None),
        (["predict", "@last", "-", "-q"], "1,2,3\n"),
    ],
    ids=["refuses", "fails", "reads stdin"],
)
def test_a_forked_command_ends_as_a_new_one(arguments: list[str], stdin: str | None, tmp_path: Path) -> None:
    write_small(tmp_path)
    if stdin is not None:
        assert nnrun_command("train", "small.yaml", "-q", cwd=tmp_path).returncode == 0
    forked = nnrun_command(*arguments, cwd=tmp_path, input=stdin)
    new = start_new_nnrun(*arguments, cwd=tmp_path, piped=stdin is not None)
    out, err = new.communicate(stdin)
    assert (forked.returncode, forked.stdout, forked.stderr) == (new.returncode, out, err)


def test_a_variable_that_an_import_reads_needs_a_new_process(tmp_path: Path) -> None:
    process = start_nnrun("--version", cwd=tmp_path, env={"OMP_NUM_THREADS": "3"})
    assert isinstance(process, subprocess.Popen)
    assert process.communicate()[0].startswith("nnrun ")


def test_a_killed_command_tells_its_signal(tmp_path: Path) -> None:
    write_small(tmp_path)
    process = start_nnrun(
        "train", "small.yaml", "--epochs", "1000000", "--compile", "off", "-q", cwd=tmp_path
    )
    assert process.poll() is None
    process.kill()
    assert process.communicate(timeout=180) == ("", "")
    assert process.poll() == process.returncode == -signal.SIGKILL
