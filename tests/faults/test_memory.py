"""Memory that runs out, wherever it is asked for."""

from __future__ import annotations

import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pytest

from nnrun.limits import free_memory, of_control_group, of_machine, out_of_memory
from nnrun.records import RunDirectory
from tests.support.provoke import Server
from tests.support.small_experiments import REGRESSION, numbers, only_run, record_of, write_small
from tests.support.whole_runs import check_files

pytestmark = pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="needs /proc")

ADVICE = "Use a smaller batch_size, fewer units"


def test_a_network_that_cannot_fit(warm: Server, tmp_path: Path) -> None:
    """1.6 GB of weights where 600 MB more may be had: nothing is begun."""
    units = {"units": 20_000, "activation": "relu"}
    write_small(tmp_path, layers=[{"dense": units}, {"dense": units}, {"dense": 1}])
    outcome = warm.run(["train", "small.yaml", "-q"], cwd=tmp_path, limits={"RLIMIT_AS": 600 * 2**20})
    assert (outcome.code, outcome.out) == (1, "")
    assert outcome.err.startswith(
        "error: there is not enough memory: the weights and the optimizer's state alone take 3.2 GB, and "
    )
    assert " MB are free. " in outcome.err
    assert ADVICE in outcome.err
    assert outcome.err.count("\n") == 1
    assert not list((tmp_path / "runs").glob("small-*"))


def test_a_network_that_does_not_fit(warm: Server, tmp_path: Path) -> None:
    """280 MB of weights and state might fit into 600 MB more, with gradients and copies they do not."""
    units = {"units": 6_000, "activation": "relu"}
    layers = [{"dense": units}, {"dense": units}, {"dense": 1}]
    write_small(tmp_path, layers=layers)
    outcome = warm.run(["train", "small.yaml"], cwd=tmp_path, limits={"RLIMIT_AS": 600 * 2**20})
    assert (outcome.code, outcome.out) == (1, "")
    warned, *_, failed = outcome.err.splitlines()
    assert warned.startswith("warning: memory may run out: networks and batches take about 1.0 GB, and ")
    assert ADVICE in warned
    assert failed.startswith("error: out of memory: 144 MB more was needed at once, ")
    assert " MB are free, and the whole run takes about 1.0 GB, in addition to Python and PyTorch. " in failed
    assert ADVICE in failed
    run = RunDirectory(only_run(tmp_path / "runs"))
    check_files(run)
    record = record_of(run.path)
    assert record["status"] == "failed"
    assert f"error: {record['error']}" == failed


def test_data_that_do_not_fit(warm: Server, tmp_path: Path) -> None:
    """An archive of 1 MB whose arrays take 1 GB is no bomb by its limits, but more than there is."""
    write_small(tmp_path)
    rows = 128 * 2**20
    np.savez_compressed(tmp_path / "small.npz", x_train=np.zeros(rows), y_train=np.zeros(3))
    outcome = warm.run(["train", "small.yaml", "-q"], cwd=tmp_path, limits={"RLIMIT_AS": 600 * 2**20})
    assert (outcome.code, outcome.out) == (1, "")
    assert outcome.err.startswith("error: out of memory: 1.1 GB more was needed at once, and ")
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
        from nnrun.experiment.running.listener import Listener
        from nnrun.experiment.running.job import Settings
        from nnrun.experiment.running.train import run_experiment
        from nnrun.spec.reading.load import load_spec

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
    assert done.stdout.startswith("out of memory: 4.0 GB more was needed at once, ")
    assert "the whole run takes about " in done.stdout
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
    assert said.startswith("out of memory: 2.1 GB more was needed at once, and 1.3 GB are free on the GPU. ")


def test_other_errors_are_none_of_memory() -> None:
    assert out_of_memory(RuntimeError("mat1 and mat2 shapes cannot be multiplied")) is None
    assert out_of_memory(ValueError("MemoryError")) is None
    assert str(out_of_memory(MemoryError())).startswith("out of memory: ")
    assert 0 < (free_memory() or 0) < 2**50


def write(root: Path, files: dict[str, str]) -> None:
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


def test_what_the_machine_has_left(tmp_path: Path) -> None:
    assert of_machine(tmp_path) is None
    write(tmp_path, {"proc/meminfo": "MemTotal: 9000 kB\nMemAvailable:    2000 kB\nSwapFree:  500 kB\n"})
    assert of_machine(tmp_path) == 2500 * 1024


@pytest.mark.parametrize(
    ("path", "left"), [("/", None), ("/box", 700), ("/box/inner", 60), ("/box/free", 700), ("/gone", None)]
)
def test_what_a_container_has_left(path: str, left: int | None, tmp_path: Path) -> None:
    """Version 2; a group below one that is limited has no more than that."""
    write(
        tmp_path,
        {
            "proc/self/cgroup": f"0::{path}\n",
            "sys/fs/cgroup/box/memory.max": "1000\n",
            "sys/fs/cgroup/box/memory.current": "500\n",
            "sys/fs/cgroup/box/memory.stat": "anon 300\ninactive_file 200\n",
            "sys/fs/cgroup/box/inner/memory.max": "100\n",
            "sys/fs/cgroup/box/inner/memory.current": "40\n",
            "sys/fs/cgroup/box/free/memory.max": "max\n",
            "sys/fs/cgroup/box/free/memory.current": "40\n",
        },
    )
    assert of_control_group(tmp_path) == left


def test_what_a_container_of_version_1_has_left(tmp_path: Path) -> None:
    """Its files may lie at the top, as they do within it, though the path is the one outside."""
    top = "sys/fs/cgroup/memory"
    write(
        tmp_path,
        {
            "proc/self/cgroup": "9:name=systemd:/\n4:memory:/docker/0af\n1:cpu:/\n",
            f"{top}/memory.limit_in_bytes": "1000\n",
            f"{top}/memory.usage_in_bytes": "900\n",
            f"{top}/memory.stat": "inactive_file 1\ntotal_inactive_file 300\n",
        },
    )
    assert of_control_group(tmp_path) == 400
    (tmp_path / top / "memory.limit_in_bytes").write_text("9223372036854771712\n")
    assert of_control_group(tmp_path) is None
