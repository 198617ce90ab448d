"""A run that a time limit ends: what it keeps and says, how it goes on, and how it is repeated."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import nnrun
from nnrun.errors import UsageError
from nnrun.experiment.running.reproduce import reproduce_run
from nnrun.experiment.running.resume import resume_run
from nnrun.records import RunDirectory
from tests.support.clocks import let_epochs_take_seconds
from tests.support.small_experiments import KFOLD, growing_tokens, record_of, without_seconds, write_small

LONG: dict[str, Any] = {"epochs": 20}


@pytest.fixture(autouse=True)
def slow_epochs(monkeypatch: pytest.MonkeyPatch) -> None:
    let_epochs_take_seconds(monkeypatch)


def trained(folder: Path, name: str = "runs", **changes: Any) -> RunDirectory:
    path = write_small(folder, **{**LONG, **changes})
    return RunDirectory(nnrun.train(path, runs_dir=folder / name).path)


def test_it_ends_after_an_epoch_and_is_completed(tmp_path: Path) -> None:
    run = trained(tmp_path, time_limit="10s")
    record = run.read_record()
    assert record.status == "completed"
    assert (record.time_limit, record.stopped_by_time, record.epochs_run) == ("10s", 4, 4)
    assert record.weights_epoch == 4
    assert len(run.read_history()) == 4


def test_its_epochs_are_those_of_a_run_without_a_limit(tmp_path: Path) -> None:
    limited, whole = trained(tmp_path, time_limit="10s"), trained(tmp_path, "whole", epochs=4)
    assert without_seconds(limited.path) == without_seconds(whole.path)
    weights = [(run.path / "weights.safetensors").read_bytes() for run in (limited, whole)]
    assert weights[0] == weights[1]
    assert "time_limit" not in record_of(whole.path)


def test_one_epoch_is_trained_however_short_the_time(tmp_path: Path) -> None:
    assert trained(tmp_path, time_limit=0.001).read_record().epochs_run == 1


def test_a_limit_that_is_not_reached_ends_nothing(tmp_path: Path) -> None:
    record = trained(tmp_path, time_limit="1h").read_record()
    assert (record.epochs_run, record.stopped_by_time) == (20, None)


def test_with_more_time_it_goes_on_as_if_it_had_never_stopped(tmp_path: Path) -> None:
    run, whole = trained(tmp_path, time_limit="10s"), trained(tmp_path, "whole")
    assert not resume_run(run)
    assert not resume_run(run, overrides={"time_limit": "9s"})
    assert resume_run(run, overrides={"time_limit": "20s"})
    assert run.read_record().time_limit == "20s"
    assert 4 < (run.read_record().stopped_by_time or 0) < 20
    assert resume_run(run, overrides={"time_limit": None})
    record = run.read_record()
    assert (record.status, record.epochs_run, record.stopped_by_time, record.time_limit) == (
        "completed",
        20,
        None,
        None,
    )
    assert without_seconds(run.path) == without_seconds(whole.path)


def test_folds_stop_together_and_those_that_stopped_early_stay_as_they_are(tmp_path: Path) -> None:
    stopping = {"monitor": "val_loss", "patience": 1, "min_delta": 2.0}
    run = trained(tmp_path, validation=KFOLD, early_stopping=stopping, time_limit="14s")
    members = record_of(run.path)["members"]
    ended = {m["member"]: m.get("stopped_early") or m.get("stopped_by_time") for m in members}
    assert set(ended) == {"fold-0", "fold-1", "fold-2"}
    assert all(("stopped_early" in m) != ("stopped_by_time" in m) for m in members)
    again = reproduce_run(run, runs_dir=tmp_path / "again")
    assert again.identical


def test_folds_that_train_in_turn_share_the_time(tmp_path: Path) -> None:
    path = write_small(
        tmp_path,
        arrays=growing_tokens(),
        **{
            **LONG,
            "validation": KFOLD,
            "preprocessing": {"inputs": "multi_hot"},
            "layers": [{"dense": {"units": 1, "activation": "sigmoid"}}],
            "loss": "binary_crossentropy",
            "metrics": [],
            "time_limit": "24s",
        },
    )
    run = RunDirectory(nnrun.train(path, runs_dir=tmp_path / "runs").path)
    record = run.read_record()
    assert all(member.stopped_by_time for member in record.members)
    assert reproduce_run(run, runs_dir=tmp_path / "again").identical
    if len({member.stopped_by_time for member in record.members}) > 1:
        with pytest.raises(UsageError, match="cannot be extended: its networks did not all train"):
            resume_run(run, overrides={"time_limit": "1h"})


def test_it_is_repeated_by_its_epochs(tmp_path: Path) -> None:
    run = trained(tmp_path, time_limit="10s")
    again = reproduce_run(run, runs_dir=tmp_path / "again")
    assert again.identical
    assert again.run.read_record().epochs_run == 4
    assert "time_limit" not in record_of(again.run.path)


def test_a_final_run_takes_its_time(tmp_path: Path) -> None:
    trained(tmp_path, time_limit="10s", dataset={"npz": "small.npz"})
    record = nnrun.final(tmp_path / "small.yaml", runs_dir=tmp_path / "runs").record
    assert record["epochs_run"] == 20
    assert "time_limit" not in record
