"""What only processes of their own can show: the same bytes from a fresh start, Ctrl-C, exit codes."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file

import nnrun
from tests.support.commands import nnrun_command, start_nnrun
from tests.support.small_experiments import (
    BINARY,
    REGRESSION,
    only_run,
    record_of,
    without_seconds,
    write_small,
)

pytestmark = pytest.mark.faults

SPECS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "plain": (REGRESSION, {}),
    "folds": (BINARY, {"validation": {"kfold": {"k": 3, "shuffle": True}}}),
    "dropout": (REGRESSION, {"layers": [{"dropout": 0.3}, *REGRESSION["layers"]]}),
}


def test_fresh_processes_write_the_same_bytes(tmp_path: Path) -> None:
    """In whatever order the runs are made, and whatever the hash of a string is in this process."""
    for name, (spec, changes) in SPECS.items():
        (tmp_path / name).mkdir()
        write_small(tmp_path / name, spec, **changes)
    for process, order in {"1": list(SPECS), "2": [*reversed(SPECS)]}.items():
        commands = [
            ["train", f"{name}/small.yaml", "-q", "--runs-dir", f"runs-{process}/{name}"] for name in order
        ]
        code = f"import sys; from nnrun.cli import main; sys.exit(max(map(main, {commands!r})))"
        done = subprocess.run(
            [sys.executable, "-c", code],
            cwd=tmp_path,
            env={**os.environ, "PYTHONHASHSEED": process},
            capture_output=True,
            text=True,
            check=False,
        )
        assert (done.returncode, done.stderr) == (0, "")
    for name in SPECS:
        first, second = (only_run(tmp_path / f"runs-{process}" / name) for process in "12")
        assert without_seconds(first) == without_seconds(second), name
        for file in first.rglob("*.safetensors"):
            assert file.read_bytes() == (second / file.relative_to(first)).read_bytes(), name
        for file in first.rglob("preprocessing.json"):
            assert file.read_bytes() == (second / file.relative_to(first)).read_bytes(), name


def test_ctrl_c_leaves_the_weights_of_the_last_whole_epoch(tmp_path: Path) -> None:
    """And with --json a document that says so."""
    write_small(tmp_path)
    arguments = ["train", "small.yaml", "--epochs", "1000000", "--compile", "off", "--json", "-q"]
    process = start_nnrun(*arguments, cwd=tmp_path)
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        if sum(history.read_bytes().count(b"\n") for history in tmp_path.glob("runs/*/history.csv")) > 5:
            break
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    try:
        out, err = process.communicate(timeout=30)
    finally:
        process.kill()  # nothing to kill, unless it did not end
    assert (process.returncode, err) == (130, "")
    run = only_run(tmp_path / "runs")
    document = json.loads(out)
    assert document == {**record_of(run), "path": f"runs/{run.name}"}
    assert document["status"] == "interrupted"

    epochs = document["epochs_run"]
    history = (run / "history.csv").read_bytes()
    assert history.count(b"\n") == epochs + 1
    assert history.endswith(b"\n")
    in_pytorch = ("--compile", "off", "--runs-dir", "again", "-q")
    assert (
        nnrun_command("train", "small.yaml", "--epochs", str(epochs), *in_pytorch, cwd=tmp_path).returncode
        == 0
    )
    again = nnrun.load_run(only_run(tmp_path / "again"))
    assert without_seconds(again.path) == without_seconds(run)
    weights = load_file(run / "weights.safetensors")
    for name, value in again.weights().items():
        assert np.array_equal(weights[name], value), name


def test_an_invalid_spec_is_exit_code_3_before_anything_heavy_is_imported(tmp_path: Path) -> None:
    write_small(tmp_path, loss="msee")
    code = (
        "import sys; from nnrun.cli import main; code = main(['train', 'small.yaml']); "
        "print(sorted({'torch', 'pandas', 'numpy', 'sklearn'} & set(sys.modules))); sys.exit(code)"
    )
    environment = {**os.environ}  # without COLUMNS, which readline sets behind Python's back
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout) == (3, "[]\n")
    assert done.stderr == (
        "small.yaml:4:7: error: loss cannot be 'msee'; did you mean 'mse'? Allowed: binary_crossentropy, "
        "categorical_crossentropy, sparse_categorical_crossentropy, mse, mae, huber, "
        "binary_focal_crossentropy, categorical_focal_crossentropy, kl_divergence, hinge, "
        "squared_hinge, categorical_hinge, dice, tversky, log_cosh, mape, msle, poisson, "
        "cosine_similarity, quantile, ctc or custom\n"
        '    4 | loss: "msee"\n'
        "      |       ^\n"
        "1 error: nothing was run.\n"
    )
    assert not (tmp_path / "runs").exists()


def test_a_runs_folder_that_cannot_be_made_is_exit_code_2(tmp_path: Path) -> None:
    write_small(tmp_path)
    (tmp_path / "runs").write_text("a file")
    done = nnrun_command("train", "small.yaml", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "error: Cannot make the folder runs: a file of that name already exists.\n"


def test_a_reader_that_goes_away_is_no_fault(tmp_path: Path) -> None:
    """`nnrun train small.yaml | head -0`: the run is whole, and nothing is said of a broken pipe."""
    write_small(tmp_path)
    process = start_nnrun("train", "small.yaml", "-q", cwd=tmp_path)
    assert process.stdout is not None
    process.stdout.close()
    assert process.stderr is not None
    err = process.stderr.read()
    process.stderr.close()
    assert (process.wait(timeout=60), err) == (0, "")
    assert record_of(only_run(tmp_path / "runs"))["status"] == "completed"


def test_who_wants_to_hear_of_the_end_hears_of_it(tmp_path: Path) -> None:
    """The process is not taken apart at its end, but threads are waited for and `atexit` is kept."""
    written = tmp_path / "written"
    program = (
        "import atexit, pathlib, sys, threading, time\n"
        "def late():\n"
        "    time.sleep(0.3)\n"
        f"    pathlib.Path({str(written)!r}).touch()\n"
        "threading.Thread(target=late).start()\n"
        "from nnrun.cli import entry_point\n"
        "def again():\n"
        "    print('the last words')\n"
        "sys.argv = ['nnrun', 'check', 'nowhere.yaml']\n"
        "threading.Thread(target=lambda: (time.sleep(0.1), atexit.register(again))).start()\n"
        "entry_point()\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert done.stdout.startswith("error: nowhere.yaml: no such file")
    assert done.stdout.endswith("\nthe last words\n")
    assert written.exists()
