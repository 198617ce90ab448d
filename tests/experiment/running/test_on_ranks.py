"""One training on several processes is that of one process."""

from __future__ import annotations

import json
import os
import signal
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from torch.distributed.elastic.multiprocessing.errors import ProcessFailure

from nnrun.cli.torchrun import tell_torchrun
from tests.support.commands import nnrun_command
from tests.support.on_ranks import outcomes, run_on_ranks, start_on_ranks, torchrun
from tests.support.small_experiments import BINARY, REGRESSION, only_run, record_of, write_small

RELU: dict[str, Any] = {"units": 8, "activation": "relu"}
REGULARIZED = {"kernel_regularizer": {"l2": 0.01}, "activity_regularizer": {"l1": 0.01}}
CONV = {"conv2d": {"filters": 3, "kernel_size": 3}}
SIGMOID: dict[str, Any] = {"dense": {"units": 1, "activation": "sigmoid"}}


def words(rows: int = 50) -> dict[str, np.ndarray]:
    """Lists of words, 0 to 5 of them after padding, and which of three classes a row has."""
    rng = np.random.default_rng(0)
    lists = np.empty(rows, object)
    lists[:] = [rng.integers(1, 9, rng.integers(1, 6)).tolist() for _ in range(rows)]
    return {"x_train": lists, "y_train": np.array([sum(own) % 3 for own in lists])}


def images(rows: int = 30) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    x = rng.integers(0, 255, (rows, 6, 6)).astype(np.uint8)
    return {"x_train": x, "y_train": x[:, 2, 2] // 86}


SOFTMAX = {"dense": {"units": 3, "activation": "softmax"}}
OF_WORDS: dict[str, Any] = {
    "dataset": {"npz": "small.npz"},
    "preprocessing": {"inputs": {"pad": {"length": 5, "side": "post"}}},
    "loss": "sparse_categorical_crossentropy",
    "metrics": ["accuracy", "f1"],
    "epochs": 3,
    "batch_size": 16,
    "validation": {"holdout": {"first": 13}},
}

# Spec and arrays; of 32 training rows the last batch has 2, and one of 3 ranks has none of them.
CASES: dict[str, tuple[dict[str, Any], dict[str, np.ndarray] | None]] = {
    "dense": ({**REGRESSION, "batch_size": 10, "metrics": ["mae", "r2"]}, None),
    "batch_normalization": (
        {**REGRESSION, "batch_size": 10, "layers": [{"dense": RELU}, "batch_normalization", {"dense": 1}]},
        None,
    ),
    "dropout": (
        {
            **BINARY,
            "batch_size": 10,
            "layers": [{"dense": RELU}, {"dropout": 0.4}, {"gaussian_noise": 0.1}, SIGMOID],
            "metrics": ["accuracy", "auc", "f1"],
        },
        None,
    ),
    "weights": (
        {
            **BINARY,
            "batch_size": 7,
            "class_weight": "balanced",
            "gradient_clip": 0.5,
            "weight_averaging": "ema",
            "layers": [{"dense": RELU | REGULARIZED}, SIGMOID],
        },
        None,
    ),
    "decided": (
        {
            **REGRESSION,
            "epochs": 30,
            "optimizer": {"adam": 0.1},
            "early_stopping": {"patience": 2, "restore_best": True},
            "learning_rate_schedule": {"reduce_on_plateau": {"patience": 1, "factor": 0.5}},
        },
        None,
    ),
    "masked": (
        {
            **OF_WORDS,
            "layers": [
                {"embedding": {"output_dim": 4, "mask_zero": True}},
                "batch_normalization",
                {"gru": {"units": 4}},
                SOFTMAX,
            ],
            "optimizer": "adam",
        },
        words(),
    ),
    "sparse": (
        {
            **OF_WORDS,
            "preprocessing": {"inputs": {"multi_hot": 300}},
            "layers": [{"dense": RELU}, SOFTMAX],
            "batch_size": 3,
            "optimizer": "adam",
        },
        words(),
    ),
    "images": (
        {
            **OF_WORDS,
            "preprocessing": {"inputs": ["rescale", {"augment": {"flip": "horizontal", "rotate": 20}}]},
            "layers": [CONV, "batch_normalization", "flatten", SOFTMAX],
        },
        images(),
    ),
}  # fmt: skip


def histories(folder: Path) -> list[pd.DataFrame]:
    """The histories of a folder's runs, the oldest first, without the seconds."""
    runs = sorted(run for run in (folder / "runs").iterdir() if run.is_dir())
    return [pd.read_csv(run / "history.csv").drop(columns="seconds") for run in runs]


def assert_same_history(one: pd.DataFrame, several: pd.DataFrame) -> None:
    assert list(one.columns) == list(several.columns)
    assert len(one) == len(several) > 1
    np.testing.assert_allclose(several, one, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("world_size", [2, 3])
@pytest.mark.parametrize("case", CASES)
def test_history_and_weights_are_those_of_one_process(case: str, world_size: int, tmp_path: Path) -> None:
    spec, arrays = CASES[case]
    path = write_small(tmp_path, spec, arrays)
    one = nnrun_command("train", str(path), "--runs-dir", "one/runs", "-q", cwd=tmp_path)
    assert one.returncode == 0, one.stderr
    leader, *others = run_on_ranks(
        world_size, "train", str(path), "--runs-dir", "several/runs", "-q", cwd=tmp_path
    )
    assert leader.returncode == 0, leader.stderr
    assert [(other.returncode, other.stdout, other.stderr) for other in others] == [(0, "", "")] * len(others)
    assert_same_history(*histories(tmp_path / "one"), *histories(tmp_path / "several"))
    run = only_run(tmp_path / "several/runs")
    assert record_of(run)["world_size"] == world_size
    assert "world_size" not in record_of(only_run(tmp_path / "one/runs"))


def test_rows_without_a_target_and_weights_of_rows(tmp_path: Path) -> None:
    """Losses are means over the rows of whole batches that have a target, whoever has these rows."""
    rng = np.random.default_rng(0)
    table = pd.DataFrame({"a": rng.normal(size=61), "b": rng.normal(size=61)})
    table["grade"] = np.where(table["a"] > 0, "top", "low")
    table["size"] = table["b"] * 3 + 1
    table["counts"] = rng.integers(1, 4, 61)
    table.loc[table.index % 3 == 0, "grade"] = None
    table.loc[table.index % 7 < 4, "size"] = None
    table.to_csv(tmp_path / "rows.csv", index=False)
    (tmp_path / "table.yaml").write_text(
        """
dataset: {csv: {path: rows.csv, weight: counts, drop_missing_target: true}}
inputs: {numbers: {columns: [a, b], preprocessing: standardize}}
layers:
  trunk: [from: numbers, dense: {units: 8, activation: relu}]
  grade: [from: trunk, dense: {units: 2, activation: softmax}]
  size: [from: trunk, dense: 1]
outputs:
  grade: {loss: categorical_crossentropy, metrics: [accuracy]}
  size: {loss: mse, metrics: [mae]}
ensemble: {members: 3}
epochs: 3
batch_size: 8
validation: {holdout: {fraction: 0.3}}
"""
    )
    assert nnrun_command("train", "table.yaml", "--runs-dir", "one/runs", cwd=tmp_path).returncode == 0
    run_on_ranks(3, "train", "table.yaml", "--runs-dir", "several/runs", cwd=tmp_path)
    assert_same_history(*histories(tmp_path / "one"), *histories(tmp_path / "several"))


def test_torchrun(tmp_path: Path) -> None:
    """The command as it is documented. Rank 0 alone writes and prints, and scores as one process does."""
    write_small(tmp_path)
    arguments = ("train", "small.yaml")
    assert nnrun_command(*arguments, "--runs-dir", "one/runs", cwd=tmp_path).returncode == 0
    done = torchrun("2", "-m", "nnrun", *arguments, "--runs-dir", "several/runs", "--json", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    record = json.loads(done.stdout)
    assert (record["status"], record["world_size"], record["compiled"]) == ("completed", 2, False)
    assert done.stderr.count("epoch 3/3") == 1
    assert done.stderr.count("2 processes train together: each computes its share of every batch") == 1
    assert_same_history(*histories(tmp_path / "one"), *histories(tmp_path / "several"))


def test_torchrun_s_report_ends_with_what_nnrun_says(tmp_path: Path) -> None:
    """Its own traceback cannot be helped; the last lines, of the first failure, are the sentence."""
    write_small(tmp_path)
    done = torchrun("2", "-m", "nnrun", "train", "small.yaml", "--set", "epochs=none", cwd=tmp_path)
    assert done.returncode == 1, "torchrun's own"
    own, cause = done.stderr.split("Root Cause")
    assert own.count("error: epochs") == 1, "rank 0 alone prints it"
    lines = [line.strip() for line in cause.strip().splitlines()]
    assert lines[-1] == "=" * len(lines[-1])
    assert lines[-2] == "1 error: nothing was run."
    assert any(line.startswith("traceback : ") and "epochs" in line for line in lines)
    assert "To enable traceback see" not in cause


@pytest.mark.parametrize(("code", "later"), [(2, 0), (130, 1)])
def test_who_is_stopped_is_not_the_cause(
    code: int, later: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "error.json"
    monkeypatch.setattr(time, "time", lambda: 100.9)
    monkeypatch.setenv("TORCHELASTIC_ERROR_FILE", str(file))
    tell_torchrun("unheard", code)
    assert not file.exists(), "torchrun did not start it"
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "none")
    tell_torchrun("a\x1b[31m sentence", code)
    failure = ProcessFailure(local_rank=0, pid=1, exitcode=code, error_file=str(file))
    assert failure.timestamp == 100 + later
    assert "\x1b" not in str(failure.message)
    assert "[31m sentence" in str(failure.message)
    monkeypatch.setenv("TORCHELASTIC_ERROR_FILE", str(tmp_path / "not" / "there"))
    tell_torchrun("unheard", code)


def epochs_of(run: Path) -> int:
    return (run / "history.csv").read_bytes().count(b"\n") - 1


def wait_for_epochs(folder: Path, epochs: int) -> Path:
    deadline = time.monotonic() + 120
    while not any(epochs_of(history.parent) >= epochs for history in folder.glob("runs/*/history.csv")):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    return only_run(folder / "runs")


LONG = ("--epochs", "30", "-q")

SLOW = """
import time
from nnrun.experiment.running.recorder import Recorder
epoch = Recorder.epoch
def slowly(self, *given, **named):
    epoch(self, *given, **named)
    time.sleep(0.3)
Recorder.epoch = slowly
"""
"""Wait after each epoch, so that a run is at work when it is to be stopped."""


@pytest.mark.parametrize(("what", "rank"), [(signal.SIGKILL, 2), (signal.SIGTERM, 1), (signal.SIGSTOP, 1)])
def test_a_rank_that_dies_or_hangs_ends_the_run_as_interrupted(
    what: signal.Signals, rank: int, tmp_path: Path
) -> None:
    """The other ranks end by themselves, and the run goes on as if nothing had happened."""
    write_small(tmp_path, BINARY, layers=CASES["dropout"][0]["layers"])
    slow = {"NNRUN_RANK_TIMEOUT": "3", "PYTEST_NNRUN_SETUP": SLOW}
    processes = start_on_ranks(3, "train", "small.yaml", *LONG, cwd=tmp_path, env=slow)
    run = wait_for_epochs(tmp_path, 5)
    os.kill(processes[rank].pid, what)
    others = [process for index, process in enumerate(processes) if index != rank]
    leader, other = outcomes(others)
    processes[rank].kill()
    outcomes(processes[rank : rank + 1])
    assert (leader.returncode, other.returncode, other.stderr) == (130, 130, "")
    resume = f"torchrun --nproc-per-node 3 -m nnrun train --resume {Path('runs') / run.name}"
    assert "error: one of the processes that train together has ended, or does not answer" in leader.stderr
    assert leader.stderr.endswith(f"Start all processes again to go on: {resume}\n")
    assert record_of(run)["status"] == "interrupted"
    assert record_of(run)["error"].startswith("one of the processes that train together has ended")

    done = epochs_of(run)
    assert 5 <= done < 30
    last = str(min(done + 10, 30))
    for process in run_on_ranks(3, "train", "--resume", str(run), "--epochs", "30", cwd=tmp_path):
        assert process.returncode == 0, process.stderr
    (found,) = histories(tmp_path)
    whole = tmp_path / "whole"
    run_on_ranks(3, "train", "small.yaml", "--epochs", last, "--runs-dir", "whole/runs", cwd=tmp_path)
    (never_interrupted,) = histories(whole)
    pd.testing.assert_frame_equal(found[: int(last)], never_interrupted, check_exact=True)
    assert record_of(run)["status"] == "completed"
    assert "error" not in record_of(run)


def test_a_request_to_stop(tmp_path: Path) -> None:
    write_small(tmp_path)
    slow = {"PYTEST_NNRUN_SETUP": SLOW}
    processes = start_on_ranks(2, "train", "small.yaml", *LONG, cwd=tmp_path, env=slow)
    run = wait_for_epochs(tmp_path, 3)
    os.kill(processes[0].pid, signal.SIGINT)
    leader, other = outcomes(processes)
    assert (leader.returncode, other.returncode, other.stderr) == (130, 130, "")
    assert record_of(run)["status"] == "interrupted"


def test_resume_demands_as_many_processes(tmp_path: Path) -> None:
    """Another number rounds differently, which is allowed where it is asked for."""
    write_small(tmp_path)
    run_on_ranks(2, "train", "small.yaml", cwd=tmp_path)
    run = only_run(tmp_path / "runs")
    more = ("train", "--resume", str(run), "--epochs", "5")
    refused = nnrun_command(*more, cwd=tmp_path)
    assert refused.returncode == 2
    assert "  world_size: 2 then, 1 now\n" in refused.stderr
    leader, *others = run_on_ranks(3, *more, cwd=tmp_path)
    assert (leader.returncode, {other.stderr for other in others}) == (2, {""})
    assert "  world_size: 2 then, 3 now\n" in leader.stderr
    assert nnrun_command(*more, "--allow-inexact", cwd=tmp_path).returncode == 0
    assert record_of(run)["resumed"][0]["inexact"]["world_size"] == {"then": 2, "now": 1}
    assert "world_size" not in record_of(run)
    finished = run_on_ranks(2, *more[:3], cwd=tmp_path)
    assert [process.returncode for process in finished] == [0, 0]
    assert "there is nothing to resume" in finished[0].stderr


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (
            ["kfold", "small.yaml"],
            "To share folds out among processes, leave torchrun out and add --workers 2.",
        ),
        (
            ["sweep", "small.yaml"],
            "To share trials out among processes, leave torchrun out and add --workers 2.",
        ),
        (["train", "small.yaml", "--seeds", "3"], "leave torchrun out and add --workers 2."),
        (["ls"], "torchrun started 2 processes of `nnrun ls`, which is the work of one."),
        (
            ["train", "small.yaml", "--set", "validation={kfold: {k: 3}}"],
            "To share folds out among processes: nnrun kfold SPEC --workers 2",
        ),
        (["train", "small.yaml", "--compile", "on"], "C++ trains in one process"),
    ],
)
def test_what_is_no_training_of_one_network_is_refused(
    arguments: list[str], said: str, tmp_path: Path
) -> None:
    write_small(tmp_path)
    leader, other = run_on_ranks(2, *arguments, cwd=tmp_path)
    assert leader.returncode == 2
    assert said in leader.stderr
    assert (other.returncode, other.stdout, other.stderr) in [(2, "", ""), (130, "", "")]
    assert not (tmp_path / "runs").exists() or not any((tmp_path / "runs").iterdir())


def test_rank_0_tells_what_is_wrong_with_the_data(tmp_path: Path) -> None:
    (tmp_path / "small.npz").unlink(missing_ok=True)
    write_small(tmp_path)
    (tmp_path / "small.npz").unlink()
    leader, other = run_on_ranks(2, "train", "small.yaml", cwd=tmp_path)
    assert leader.returncode == 4
    assert leader.stderr.count("small.npz") == 1
    assert (other.returncode, other.stdout, other.stderr) == (4, "", "")


def test_what_a_layer_of_ones_own_sees_is_recorded(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(
        "import torch\n\n\nclass Norm(torch.nn.Module):\n"
        "    def __init__(self):\n        super().__init__()\n"
        "        self.norm = torch.nn.LazyBatchNorm1d()\n\n"
        "    def forward(self, x):\n        return self.norm(x)\n"
    )
    own = {"custom": {"object": "mine:Norm"}}
    write_small(tmp_path, REGRESSION, layers=[{"dense": RELU}, own, {"dense": 1}])
    arguments = ("train", "small.yaml", "--allow-custom", "mine", "-q")
    for process in run_on_ranks(2, *arguments, cwd=tmp_path):  # which is where modules are found
        assert process.returncode == 0, process.stderr
    assert record_of(only_run(tmp_path / "runs"))["of_each_rank"] == [
        "The custom layer mine:Norm sees each process's rows alone: what it draws at random, or computes "
        "over the rows of a batch, is not what one process computes."
    ]
