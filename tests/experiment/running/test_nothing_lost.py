"""A run that is interrupted again, whenever and however, keeps what it had."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from nnrun.errors import DivergedError, NnrunError
from nnrun.experiment.evaluating.evaluate import evaluate_run
from nnrun.experiment.running import checkpointer, job, resume
from nnrun.experiment.running.final import final_of_spec
from nnrun.experiment.running.job import Settings
from nnrun.experiment.running.listener import Listener
from nnrun.experiment.running.recorder import RunInterrupted
from nnrun.experiment.running.resume import resume_run
from nnrun.experiment.running.train import run_experiment
from nnrun.experiment.setup.groups import Selection
from nnrun.limits import cxx_compiler
from nnrun.records import Member, RunDirectory, list_runs
from nnrun.spec.reading.load import LoadedSpec, load_spec
from nnrun.training.backends.eager import EagerBackend
from nnrun.training.engine import Engine
from nnrun.training.loop import EpochRecord, Trainer
from tests.support.runs_on_disk import write_record
from tests.support.small_experiments import BINARY, growing_tokens, load_small, without_seconds, write_small


@pytest.fixture(autouse=True)
def _checkpoints_are_rare(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only the first, that of the end, and what an interruption writes."""
    monkeypatch.setattr(checkpointer, "EVERY_SECONDS", 1e9)


class Interrupts(Listener):
    """Raises after an epoch, or when training is about to begin (epoch 0)."""

    def __init__(self, epoch: int, error: BaseException | None = None) -> None:
        self.last, self.error = epoch, error or KeyboardInterrupt()
        self.run: RunDirectory | None = None
        self.epochs: list[int] = []

    def started(self, start: Any) -> None:
        self.run = start.run
        if self.last == 0:
            raise self.error

    def epoch(self, record: EpochRecord) -> None:
        self.epochs.append(record.epoch)
        if record.epoch == self.last:
            raise self.error


Begin = Callable[[LoadedSpec, Settings, Listener], RunDirectory]


def train(loaded: LoadedSpec, settings: Settings, listener: Listener) -> RunDirectory:
    return run_experiment(loaded, settings, listener)


def seeds(loaded: LoadedSpec, settings: Settings, listener: Listener) -> RunDirectory:
    return run_experiment(
        loaded, Settings("train", settings.runs_dir, selection=Selection(seeds=2)), listener
    )


def final(loaded: LoadedSpec, settings: Settings, listener: Listener) -> RunDirectory:
    return final_of_spec(loaded, Settings("final", settings.runs_dir), listener=listener)


KINDS: dict[str, tuple[Begin, dict[str, Any]]] = {
    "train": (train, {}),
    "compiled": (train, {}),
    "kfold": (train, {"validation": {"kfold": {"k": 3}}}),
    "folds of several widths": (train, {"validation": {"kfold": {"k": 3}}}),
    "seeds": (seeds, {}),
    "final": (final, {}),
    "best weights": (train, {"early_stopping": {"patience": 9, "restore_best": True}}),
}


def spec_of(kind: str, folder: Path, epochs: int) -> LoadedSpec:
    changes = {**KINDS[kind][1], "epochs": epochs}
    if kind == "folds of several widths":
        write_small(
            folder, BINARY, growing_tokens(), preprocessing={"inputs": "multi_hot"}, **changes, batch_size=2
        )
        return load_spec(folder / "small.yaml")
    return load_small(folder, **changes)


def holdings(run: RunDirectory) -> dict[str, Any]:
    """What must not get less: rows, and what the record says of them."""
    record = run.read_record().to_json()
    return {
        "history": without_seconds(run.path).split(b"\n"),
        "epochs_run": record["epochs_run"],
        "weights_epoch": weights_epochs(record),
        "best": (record.get("best_epoch"), record.get("best")),
        "weights": weights_of(run),
        "checkpoint": run.read_checkpoint(lambda found: found).document["epoch"],
    }


def weights_of(run: RunDirectory) -> dict[str, bytes]:
    """The weights of all networks."""
    members: list[Member | None] = [*run.members()] or [None]
    return {
        f"{member}/{name}": value.tobytes()
        for member in members
        if run.has_weights(member)
        for name, value in run.read_weights(member).items()
    }


@pytest.mark.parametrize(
    "kind", [pytest.param(kind, marks=pytest.mark.slow) if kind == "compiled" else kind for kind in KINDS]
)
def test_interruptions_again_and_again(kind: str, tmp_path: Path) -> None:
    if kind == "compiled" and cxx_compiler() is None:
        pytest.skip("there is no C++ compiler")
    begin, _ = KINDS[kind]
    loaded = spec_of(kind, tmp_path, 6)
    compiled: Any = "on" if kind == "compiled" else "off"
    whole = begin(loaded, Settings("train", tmp_path / "whole", compile=compiled), Listener())
    first = Interrupts(3)
    with pytest.raises(RunInterrupted):
        begin(loaded, Settings("train", tmp_path / "runs", compile=compiled), first)
    run = first.run
    assert run is not None
    before = holdings(run)
    assert before["checkpoint"] == 3
    for moment in (resume_before_the_data, resume_before_training, resume_in_the_first_epoch):
        with pytest.raises(KeyboardInterrupt):
            moment(run)
        assert holdings(run) == before, moment.__name__
        assert run.read_record().status == "interrupted"
    again = Interrupts(4)
    with pytest.raises(RunInterrupted):
        resume_run(run, listener=again)
    assert again.epochs == [4]
    assert run.read_checkpoint(lambda found: found).document["epoch"] == 4
    assert resume_run(run)
    assert without_seconds(run.path) == without_seconds(whole.path)
    assert weights_of(run) == weights_of(whole)
    for key in ("epochs_run", "weights_epoch", "best_epoch", "best", "test", "baseline", "verdict"):
        assert getattr(run.read_record(), key) == getattr(whole.read_record(), key), key


def resume_before_the_data(run: RunDirectory) -> None:
    with patched(job, "load_data", raising(KeyboardInterrupt())):
        resume_run(run)


def resume_before_training(run: RunDirectory) -> None:
    resume_run(run, listener=Interrupts(0))


def resume_in_the_first_epoch(run: RunDirectory) -> None:
    with patched(Trainer, "epochs", raising(KeyboardInterrupt())):
        resume_run(run)


@contextmanager
def patched(owner: Any, name: str, function: Callable[..., Any]) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(owner, name, function)
        yield


_update = EagerBackend._update


def diverging(backend: EagerBackend, group: Any, gradient: Any, *rest: Any) -> None:
    """An update by gradients that are no numbers."""
    _update(backend, group, gradient * float("nan"), *rest)


def raising(error: BaseException) -> Callable[..., Any]:
    def raises(*_: object, **__: object) -> None:
        raise error

    return raises


@pytest.mark.parametrize("kind", ["train", "kfold", "seeds"])
def test_rows_later_than_the_checkpoint_stay_until_they_are_there_again(kind: str, tmp_path: Path) -> None:
    begin, _ = KINDS[kind]
    loaded = spec_of(kind, tmp_path, 6)
    whole = begin(loaded, Settings("train", tmp_path / "whole"), Listener())
    first = Interrupts(1)
    with pytest.raises(RunInterrupted):
        begin(loaded, Settings("train", tmp_path / "runs"), first)
    run = first.run
    assert run is not None
    per_epoch = len(run.read_history())
    lines = (whole.path / "history.csv").read_text().splitlines(keepends=True)
    text = "".join(lines[: 1 + 4 * per_epoch]) + "5,1."  # SIGKILL: four epochs, and a part of the fifth
    (run.path / "history.csv").write_text(text)
    write_record(run, {**json.loads((run.path / "run.json").read_text()), "status": "running"})
    weights = weights_of(run)
    assert not run.read_record().best, "that of the first epoch need not be the best of four"
    for last in (0, 2, 3):
        with pytest.raises(RunInterrupted):
            resume_run(run, listener=Interrupts(last))
        assert (run.path / "history.csv").read_text() == text
        assert weights_of(run) == weights
        record = run.read_record().to_json()
        (summary,) = list_runs(run.runs_dir)
        assert summary.epochs == record["epochs_run"] == 4
        assert summary.best == record["best"]
        if kind == "train":
            assert run.read_history()["val_loss"].min() == record["best"]["val_loss"]
        assert run.read_checkpoint(lambda found: found).document["epoch"] == max(last, 1)
        assert set(weights_epochs(record)) == {1}
        evaluate_run(run)
    with pytest.raises(RunInterrupted):
        resume_run(run, listener=Interrupts(4))
    assert len(run.read_history()) == 4 * per_epoch
    assert (run.path / "history.csv").read_text() != text, "computed again, in other seconds"
    assert set(weights_epochs(run.read_record().to_json())) == {4}
    assert resume_run(run)
    assert without_seconds(run.path) == without_seconds(whole.path)
    assert weights_of(run) == weights_of(whole)


def weights_epochs(record: dict[str, Any]) -> list[int]:
    networks = record["members"] if record["folds"] or record["seeds"] else [record]
    return [network["weights_epoch"] for network in networks]


def test_weights_that_a_killed_run_never_wrote_are_those_of_its_checkpoint(tmp_path: Path) -> None:
    first = Interrupts(2)
    with pytest.raises(RunInterrupted):
        run_experiment(load_small(tmp_path), Settings("train", tmp_path / "runs"), first)
    run = first.run
    assert run is not None
    expected = weights_of(run)
    (run.path / "weights.safetensors").unlink()
    record = json.loads((run.path / "run.json").read_text())
    write_record(run, {k: v for k, v in record.items() if k != "weights_epoch"} | {"status": "running"})
    with pytest.raises(KeyboardInterrupt):
        resume_in_the_first_epoch(run)
    assert weights_of(run) == expected
    assert run.read_record().weights_epoch == 2


def test_a_completed_run_whose_further_epochs_come_to_nothing_stays_completed(tmp_path: Path) -> None:
    run = run_experiment(load_small(tmp_path), Settings("train", tmp_path / "runs"))
    before = {path: path.read_bytes() for path in run.path.rglob("*") if path.is_file()}
    for error in (KeyboardInterrupt(), NnrunError("no space left"), RuntimeError("a fault")):
        with pytest.raises(type(error)):
            resume_run(run, overrides={"epochs": 6}, listener=Interrupts(0, error))
        assert {path: path.read_bytes() for path in run.path.rglob("*") if path.is_file()} == before
    with pytest.raises(RunInterrupted):
        resume_run(run, overrides={"epochs": 6}, listener=Interrupts(4))
    record = run.read_record().to_json()
    assert [record[key] for key in ("status", "epochs", "epochs_run", "weights_epoch")] == [
        "interrupted",
        6,
        4,
        4,
    ]
    assert resume_run(run)
    assert run.read_record().epochs_run == 6


@pytest.mark.parametrize("error", [NnrunError("a fault"), RuntimeError("a fault"), MemoryError()])
def test_whatever_ends_a_run_leaves_a_checkpoint_of_its_last_epoch(error: Exception, tmp_path: Path) -> None:
    """In the midst of an epoch, when the weights have moved on already."""
    loaded = load_small(tmp_path, epochs=5, optimizer="adam")
    whole = run_experiment(loaded, Settings("train", tmp_path / "whole", compile="off"))
    evaluate, calls = Engine.evaluate, []

    def fails_the_third_time(engine: Engine, rows: Any) -> Any:
        calls.append(1)
        if len(calls) == 3:
            raise error
        return evaluate(engine, rows)

    with patched(Engine, "evaluate", fails_the_third_time), pytest.raises((NnrunError, RuntimeError)):
        run_experiment(loaded, Settings("train", tmp_path / "runs", compile="off"))
    (run,) = (RunDirectory(path) for path in (tmp_path / "runs").iterdir())
    record = run.read_record().to_json()
    assert (record["status"], record["weights_epoch"]) == ("failed", 2)
    assert run.read_checkpoint(lambda found: found).document["epoch"] == 2
    assert resume_run(run)
    assert without_seconds(run.path) == without_seconds(whole.path)
    assert weights_of(run) == weights_of(whole)


def test_a_disk_that_is_full_hides_no_interruption(tmp_path: Path) -> None:
    told: list[str] = []

    class Tells(Interrupts):
        def message(self, text: str) -> None:
            told.append(text)

    full = raising(NnrunError("Cannot write it: No space left on device."))
    first = Tells(2)
    loaded = load_small(tmp_path)
    with patched(RunDirectory, "write_weights", full), pytest.raises(RunInterrupted):
        run_experiment(loaded, Settings("train", tmp_path / "runs"), first)
    run = first.run
    assert run is not None
    assert told[-1] == "warning: Cannot write it: No space left on device."
    record = run.read_record().to_json()
    assert (record["status"], record.get("weights_epoch")) == ("interrupted", None)
    assert resume_run(run)
    assert run.read_record().weights_epoch == 3


def test_a_run_that_diverges_when_resumed_keeps_its_last_sound_epoch(tmp_path: Path) -> None:
    run = run_experiment(load_small(tmp_path), Settings("train", tmp_path / "runs", compile="off"))
    with patched(EagerBackend, "_update", diverging), pytest.raises(DivergedError):
        resume_run(run, overrides={"epochs": 6})
    record = run.read_record().to_json()
    assert (record["status"], record["epochs_run"], record["weights_epoch"]) == ("diverged", 4, 3)
    assert len(run.read_history()) == 4
    kept = run.read_checkpoint(lambda found: found)
    assert kept.document["epoch"] == 3
    assert len(kept.document["history"].splitlines()) == 1 + 3


def test_recomputed_epochs_that_diverge_leave_those_of_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where versions are others, say."""
    first = Interrupts(1)
    with pytest.raises(RunInterrupted):
        run_experiment(load_small(tmp_path), Settings("train", tmp_path / "runs", compile="off"), first)
    run = first.run
    assert run is not None
    history = run.path / "history.csv"
    history.write_bytes(history.read_bytes() + b"2,9.0,9.0,9.0,9.0,0.001,1.0\n3,9.0,9.0,9.0,9.0,0.001,1.0\n")
    before = history.read_bytes(), weights_of(run)
    present = resume.versions()
    monkeypatch.setattr(resume, "versions", lambda: present | {"torch": "9.9"})
    with patched(EagerBackend, "_update", diverging), pytest.raises(DivergedError):
        resume_run(run, allow_inexact=True)
    assert (history.read_bytes(), weights_of(run)) == before


@pytest.mark.parametrize("kind", ["train", "kfold"])
@pytest.mark.parametrize("wrong", ["deleted", None, 7, "x", [1], {"a": 1}])
def test_a_damaged_record_is_no_obstacle(kind: str, wrong: Any, tmp_path: Path) -> None:
    """What a record lacks follows from the data and the checkpoint."""
    begin, _ = KINDS[kind]
    loaded = spec_of(kind, tmp_path, 3)
    whole = begin(loaded, Settings("train", tmp_path / "whole"), Listener())
    first = Interrupts(2)
    with pytest.raises(RunInterrupted):
        begin(loaded, Settings("train", tmp_path / "runs"), first)
    run = first.run
    assert run is not None
    record = json.loads((run.path / "run.json").read_text())
    for key in (
        "rows",
        "parameters",
        "weights_epoch",
        "stopped_early",
        "best",
        "resumed",
        "epochs_run",
        "versions",
    ):
        record[key] = wrong
        if wrong == "deleted":
            del record[key]
    write_record(run, record)
    assert resume_run(run)
    assert without_seconds(run.path) == without_seconds(whole.path)
    found, expected = run.read_record(), whole.read_record()
    for key in ("rows", "parameters", "members", "best", "epochs_run"):
        assert getattr(found, key) == getattr(expected, key), key
    assert [of.weights_epoch for of in found.networks] == [of.weights_epoch for of in expected.networks]


@pytest.mark.parametrize("seconds", [0.0, 1e9])
@pytest.mark.parametrize("gone", ["run", "all runs"])
def test_files_that_are_deleted_while_it_trains(
    gone: str, seconds: float, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is left would pass for a run of fewer files; it says that it failed, and why."""
    monkeypatch.setattr(checkpointer, "EVERY_SECONDS", seconds)

    class Deletes(Interrupts):
        def epoch(self, record: EpochRecord) -> None:
            if record.epoch == self.last:
                assert self.run is not None
                shutil.rmtree(self.run.path if gone == "run" else self.run.runs_dir)

    deletes = Deletes(2)
    with pytest.raises(NnrunError, match="deleted or moved during training"):
        train(load_small(tmp_path), Settings("train", tmp_path / "runs"), deletes)
    assert deletes.run is not None
    record = deletes.run.read_record()
    assert record.status == "failed"
    assert "deleted or moved" in (record.error or "")
