"""Memory that runs out, wherever it is asked for."""

from __future__ import annotations

import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pytest
from provoke import Server
from small_experiments import REGRESSION, numbers, only_run, record_of, write_small
from whole import check_files

from nnrun.experiment.out_of_memory import free_memory, out_of_memory
from nnrun.records import RunDirectory

pytestmark = pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="needs /proc")

ADVICE = "Use a smaller batch_size, fewer units"


def test_a_network_that_does_not_fit(warm: Server, tmp_path: Path) -> None:
    """1.6 GB of weights where 600 MB more may be had: the run says so."""
    units = {"units": 20_000, "activation": "relu"}
    layers = [{"dense": units}, {"dense": units}, {"dense": 1}]
    write_small(tmp_path, layers=layers)
    outcome = warm.run(["train", "small.yaml", "-q"], cwd=tmp_path, limits={"RLIMIT_AS": 600 * 2**20})
    assert (outcome.code, outcome.out) == (1, "")
    assert outcome.err.startswith("error: memory ran out: 1.6 GB more were needed at once, and ")
    assert " MB are free. " in outcome.err
    assert ADVICE in outcome.err
    assert outcome.err.count("\n") == 1
    run = RunDirectory(only_run(tmp_path / "runs"))
    check_files(run)
    record = record_of(run.path)
    assert record["status"] == "failed"
    assert f"error: {record['error']}\n" == outcome.err


def test_data_that_do_not_fit(warm: Server, tmp_path: Path) -> None:
    """An archive of 1 MB whose arrays take 1 GB is no bomb by its limits, but more than there is."""
    write_small(tmp_path)
    rows = 128 * 2**20
    np.savez_compressed(tmp_path / "small.npz", x_train=np.zeros(rows), y_train=np.zeros(3))
    outcome = warm.run(["train", "small.yaml", "-q"], cwd=tmp_path, limits={"RLIMIT_AS": 600 * 2**20})
    assert (outcome.code, outcome.out) == (1, "")
    assert outcome.err.startswith("error: memory ran out: 1.1 GB more were needed at once, and ")
    assert ADVICE in outcome.err
    assert not (tmp_path / "runs").exists()


def test_what_was_trained_before_is_kept(tmp_path: Path) -> None:
    """Memory runs out after the third epoch: its weights and rows are there."""
    write_small(tmp_path, REGRESSION, {**numbers()})
    script = textwrap.dedent(
        """
        import resource, sys, torch
        from pathlib import Path
        from nnrun.errors import NnrunError
        from nnrun.experiment.listener import Listener
        from nnrun.experiment.run import Settings, run_experiment
        from nnrun.spec.load import load_spec

        class Greedy(Listener):
            def epoch(self, record):
                if record.epoch == 3:
                    size = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
                    resource.setrlimit(resource.RLIMIT_AS, (size + 200 * 2**20,) * 2)
                    torch.empty(10**9)

        try:
            loaded = load_spec(Path("small.yaml"), ["epochs=10"])
            run_experiment(loaded, Settings("train", Path("runs")), Greedy())
        except NnrunError as error:
            print(error)
            sys.exit(error.exit_code)
        """
    )
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 1, done.stderr
    assert done.stdout.startswith("memory ran out: 4.0 GB more were needed at once, and ")
    run = RunDirectory(only_run(tmp_path / "runs"))
    check_files(run)
    record = record_of(run.path)
    assert (record["status"], record["epochs_run"], record["weights_epoch"]) == ("failed", 3, 3)
    assert len(run.read_history()) == 3
    assert run.read_weights()


def test_a_gpu_s_own_words() -> None:
    class OutOfMemoryError(RuntimeError):
        """What PyTorch calls it."""

    said = str(
        out_of_memory(
            OutOfMemoryError(
                "CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has a total capacity of 79.11 GiB of "
                "which 1.20 GiB is free."
            )
        )
    )
    assert said.startswith(
        "memory ran out: 2.1 GB more were needed at once, and 1.3 GB are free on the GPU. "
    )


def test_other_errors_are_none_of_memory() -> None:
    assert out_of_memory(RuntimeError("mat1 and mat2 shapes cannot be multiplied")) is None
    assert out_of_memory(ValueError("MemoryError")) is None
    assert str(out_of_memory(MemoryError())).startswith("memory ran out: ")
    assert 0 < (free_memory() or 0) < 2**50
