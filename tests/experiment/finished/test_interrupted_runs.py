"""What the start of a run says of an earlier one that could go on instead."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from nnrun.experiment.running import checkpointer
from nnrun.experiment.running.job import Settings
from nnrun.experiment.running.listener import Listener, StopTraining
from nnrun.experiment.running.nested import run_nested
from nnrun.experiment.running.train import run_experiment
from nnrun.records import RunDirectory, list_runs
from nnrun.training.loop import EpochRecord
from tests.support.small_experiments import load_small, numbers

NESTED: dict[str, Any] = {"validation": {"kfold": {"k": 2, "shuffle": True}}, "nested": {"k": 3}}


class Hears(Listener):
    """Keeps what it is told, and stops a run, counted from 1, after its second epoch."""

    def __init__(self, stop_in: int | None = None) -> None:
        self.told: list[str] = []
        self.begun, self.stop_in = 0, stop_in

    def message(self, text: str) -> None:
        if "goes on with it" in text:
            self.told.append(text)

    def started(self, start: Any) -> None:
        self.begun += 1

    def epoch(self, record: EpochRecord) -> None:
        if self.begun == self.stop_in and record.epoch == 2:
            raise StopTraining("as planned")


@pytest.fixture(autouse=True)
def every_epoch_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checkpointer, "EVERY_SECONDS", 0.0)
    monkeypatch.setattr(checkpointer, "COST_SHARE", 1e9)


def newest(folder: Path) -> RunDirectory:
    return list_runs(folder / "runs")[0].run


def told_by(command: str, folder: Path, stop_in: int | None = None, **spec: Any) -> list[str]:
    """What a run's start tells of earlier ones."""
    arrays = spec.pop("arrays", None)
    loaded, settings, hears = (
        load_small(folder, arrays=arrays, **spec),
        Settings(command, folder / "runs"),
        Hears(stop_in),
    )
    start = run_nested if loaded.spec.nested is not None else run_experiment
    if stop_in is None:
        start(loaded, settings, hears)
    else:
        with pytest.raises(StopTraining):
            start(loaded, settings, hears)
    return hears.told


@pytest.mark.parametrize("command", ["train", "kfold"])
def test_an_interrupted_run_of_the_same_spec_and_data(command: str, tmp_path: Path) -> None:
    spec: dict[str, Any] = {} if command == "train" else {"validation": NESTED["validation"]}
    assert told_by(command, tmp_path, stop_in=1, **spec) == []
    left = newest(tmp_path)
    assert told_by(command, tmp_path, **spec, epochs=4) == []
    assert told_by(command, tmp_path, **spec, arrays=numbers(seed=1)) == []
    said = f"{left.id} of the same spec was interrupted; nnrun {command} --resume {left.path} goes on with it"
    assert told_by(command, tmp_path, **spec) == [said]
    assert told_by(command, tmp_path, **spec) == [], "one that began later has ended"


def test_an_interrupted_inner_run(tmp_path: Path) -> None:
    assert told_by("kfold", tmp_path, stop_in=1, **NESTED) == []
    left = newest(tmp_path)
    assert left.read_record().is_inner
    said = f"{left.id} of the same spec was interrupted; nnrun kfold --resume {left.path} goes on with it"
    assert told_by("kfold", tmp_path, **NESTED) == [said]
    assert told_by("kfold", tmp_path, **NESTED) == []


def test_an_interrupted_outer_run(tmp_path: Path) -> None:
    assert told_by("kfold", tmp_path, stop_in=2, **NESTED) == []
    left = newest(tmp_path)
    assert left.read_record().is_nested
    said = f"{left.id} of the same spec was interrupted; nnrun kfold --resume {left.path} goes on with it"
    assert told_by("kfold", tmp_path, **NESTED) == [said]


def test_an_inner_run_whose_choice_was_not_scored(tmp_path: Path) -> None:
    loaded = load_small(tmp_path, **NESTED)
    inner = run_experiment(loaded, Settings("kfold", tmp_path / "runs", inner_folds=True))
    assert told_by("kfold", tmp_path, **NESTED) == [
        f"{inner.id} has chosen within the outer folds, and what it chose was not scored; nnrun kfold "
        f"--resume {inner.path} goes on with it"
    ]
