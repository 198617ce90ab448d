"""Losses and metrics that are no numbers; devices that are not there; threads that are recorded."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import nnrun
from nnrun.cli import main
from nnrun.records import RunDirectory
from nnrun.spec import schema
from nnrun.training.device import cpu_setup
from nnrun.training.early_stopping import EarlyStopping
from nnrun.validation.summary import best_epoch
from tests.support.runs_on_disk import scored_run, scores_of
from tests.support.small_experiments import (
    BINARY,
    KFOLD,
    REGRESSION,
    numbers,
    only_run,
    record_of,
    write_small,
    yes_or_no,
)

Capture = pytest.CaptureFixture[str]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


# --- a loss that is no number ------------------------------------------------------------------------------

# What is given to the spec → what the message says, how many epochs have rows, and whose weights are kept.
DIVERGENCES: dict[str, tuple[dict[str, Any], str]] = {
    "at once": (
        {"optimizer": {"sgd": 1e30}},
        "the training loss stopped being a finite number in epoch 1, batch 2",
    ),
    "slowly": ({"optimizer": {"sgd": 0.3}, "epochs": 500}, "stopped being"),
    "of a fold": (
        {"optimizer": {"sgd": 1e30}, "validation": KFOLD},
        "of fold 0 stopped being a finite number",
    ),
}


@pytest.mark.parametrize("kind", DIVERGENCES)
def test_a_loss_that_is_no_number(kind: str, folder: Path, capsys: Capture) -> None:
    """It stops, names the epoch and the batch, says what to try; the weights are the last finite epoch's."""
    changes, said = DIVERGENCES[kind]
    write_small(folder, **changes)
    assert main(["train", "small.yaml", "-q"]) == 5
    printed = capsys.readouterr()
    assert printed.out == ""
    assert said in printed.err
    assert "Try a smaller learning rate" in printed.err
    assert printed.err.count("\n") == 1
    run = RunDirectory(only_run(folder / "runs"))
    record = record_of(run.path)
    assert record["status"] == "diverged"
    assert f"in epoch {record['epochs_run']}" in record["error"] or (
        f"at the end of epoch {record['epochs_run']}" in record["error"]
    )
    history = run.read_history()
    assert history["epoch"].max() == record["epochs_run"]
    for member in [*run.members(), None]:
        if (run.path / (member.folder if member else "") / "weights.safetensors").exists():
            assert all(np.isfinite(value).all() for value in run.read_weights(member).values())
    assert "NaN" not in (run.path / "run.json").read_text()
    assert main(["ls"]) == main(["show", "@last"]) == 0
    drawable = bool(np.isfinite(history["loss"]).any())
    assert main(["plot", "@last"]) == (0 if drawable else 2)  # a figure of nothing finite is not drawn


def test_the_last_finite_epoch_s_weights_are_kept(folder: Path) -> None:
    """They are those of a run that was asked for one epoch less."""
    path = write_small(folder, optimizer={"sgd": 0.3}, epochs=500)
    assert main(["train", "small.yaml", "-q"]) == 5
    run = RunDirectory(only_run(folder / "runs"))
    record = record_of(run.path)
    assert record["weights_epoch"] == record["epochs_run"] - 1 > 0
    again = nnrun.train(path, overrides={"epochs": record["weights_epoch"]}, runs_dir=folder / "again")
    for name, value in again.weights().items():
        assert value.tobytes() == run.read_weights()[name].tobytes()


def test_an_infinite_target_is_refused_before(folder: Path, capsys: Capture) -> None:
    arrays = numbers()
    arrays["y_train"][3] = np.inf
    write_small(folder, REGRESSION, arrays)
    assert main(["train", "small.yaml", "-q"]) == 4
    assert "holds inf in row 3" in capsys.readouterr().err
    assert not (folder / "runs").exists()


# --- a metric that is none ---------------------------------------------------------------------------------

VALUES = st.lists(st.floats(allow_nan=True, allow_infinity=True, width=32), min_size=1, max_size=12)


@given(VALUES, st.sampled_from(["min", "max"]))
def test_a_nan_never_counts_as_best(values: list[float], mode: Any) -> None:
    found = best_epoch(pd.Series(values, dtype=float), mode)
    finite = [value for value in values if math.isfinite(value)]
    if found is None:
        assert not finite
    else:
        assert values[found - 1] == (min(finite) if mode == "min" else max(finite))


@given(VALUES, st.booleans())
def test_a_nan_never_is_what_early_stopping_restores(values: list[float], maximize: bool) -> None:
    watcher = EarlyStopping(schema.EarlyStopping(monitor="val_loss", patience=3, restore_best=True), maximize)
    for epoch, value in enumerate(values, start=1):
        improved = watcher.improved(epoch, value)
        assert not (improved and not math.isfinite(value))
    if any(math.isfinite(value) for value in values):
        assert watcher.best_epoch is not None
        assert math.isfinite(values[watcher.best_epoch - 1])


def test_a_metric_that_is_never_a_number_chooses_nothing(folder: Path) -> None:
    """AUC of validation rows of one class is none."""
    arrays = yes_or_no()
    arrays["y_train"][:16] = 1
    write_small(folder, BINARY, arrays, metrics=["auc", "accuracy"])
    assert main(["train", "small.yaml", "-q"]) == 0
    run = RunDirectory(only_run(folder / "runs"))
    assert run.read_history()["val_auc"].isna().all()
    record = record_of(run.path)
    assert record["best_epoch"] == run.read_history()["val_loss"].to_numpy().argmin() + 1
    assert record["best"]["val_auc"] is None


def test_a_run_whose_score_is_no_number_is_listed_last(folder: Path, capsys: Capture) -> None:
    for name, value in (("a", math.nan), ("b", 0.5), ("c", 0.7)):
        best = {"val_accuracy_mean": value}
        scored_run(folder / "runs", f"{name}-20260101T000000Z-0000", scores_of(0.5, 0.6), best=best)
    assert main(["ls", "--sort", "val_accuracy", "--json"]) == 0
    assert [run["id"][0] for run in json.loads(capsys.readouterr().out)] == ["c", "b", "a"]


# --- what numbers depend on --------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["regression", "dropout and batches", "folds alone"])
def test_validation_never_changes_training(kind: str, folder: Path) -> None:
    """Weights are the same bits with validation after every epoch, and with none at all."""
    arrays = numbers(rows=60, test_rows=0)
    layers = REGRESSION["layers"]
    changes: dict[str, Any] = {"metrics": ["mae", "rmse"], "epochs": 4, "batch_size": 7, "shuffle": False}
    if kind == "dropout and batches":
        changes["layers"] = [{"dropout": 0.4}, layers[0], {"dropout": 0.2}, layers[1]]
    if kind == "folds alone":
        changes["optimizer"] = "adam"
    weights = []
    for first, validation in ((0, {"holdout": {"first": 20}}), (20, "none")):
        kept = {name: value[first:] for name, value in arrays.items()}
        path = write_small(folder, REGRESSION, kept, validation=validation, **changes)
        weights.append(nnrun.train(path, runs_dir=folder / "runs").weights())
    with_validation, without = weights
    assert {n: w.tobytes() for n, w in with_validation.items()} == {
        n: w.tobytes() for n, w in without.items()
    }


@pytest.mark.parametrize("threads", [1, 2])
def test_threads_are_recorded_and_pinned(threads: int, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As many as the record says compute, whatever others set, and all is as before at the end."""
    write_small(folder)
    seen: list[int] = []
    monkeypatch.setattr("nnrun.experiment.running.job.threads_for", lambda *sizes: threads)
    monkeypatch.setattr(
        "nnrun.experiment.running.recorder.Recorder.epoch",
        lambda self, epoch: seen.append(torch.get_num_threads()),
    )
    before = torch.get_num_threads()
    assert main(["train", "small.yaml", "-q"]) == 0
    assert seen == [threads] * 3
    assert record_of(only_run(folder / "runs"))["threads"] == threads
    assert torch.get_num_threads() == before


def test_threads_are_as_before_after_a_failure() -> None:
    before = torch.get_num_threads()
    with pytest.raises(ZeroDivisionError), cpu_setup(1):
        raise ZeroDivisionError
    assert torch.get_num_threads() == before


@pytest.mark.parametrize(
    "device", ["cuda:99", "cuda", "gpu", "cuda:-1", "cuda:9999999999999999999999", "mps", ""]
)
@pytest.mark.parametrize("command", ["train small.yaml", "kfold small.yaml --k 2", "final small.yaml"])
def test_a_device_that_is_not_there(device: str, command: str, folder: Path, capsys: Capture) -> None:
    if device == "cuda" and torch.cuda.is_available():
        pytest.skip("there is a CUDA GPU here")
    write_small(folder)
    assert main([*command.split(), "--device", device]) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.startswith("error: --device ")
    assert not (folder / "runs").exists()
