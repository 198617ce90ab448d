"""A sweep within outer folds, trained by workers: what one process chooses, trains and scores there."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from nnrun.errors import DivergedError, NnrunError
from nnrun.experiment.launching.launcher import WorkerCommand, Workers
from nnrun.experiment.running.job import Settings
from nnrun.experiment.sweeping import nested_sweep, shared_outer_folds
from nnrun.experiment.sweeping.sweep import run_sweep
from nnrun.experiment.sweeping.sweep_listener import SweepListener
from nnrun.experiment.sweeping.worker import WorkDone, work_on_sweep
from nnrun.machine import this_process
from nnrun.records import RunDirectory, SweepDirectory, list_sweeps
from nnrun.records.claims import SignOfLife, WorkPlan
from nnrun.records.work_starts import begin, starts
from nnrun.spec.sweep_plan import load_sweep
from nnrun.training.pace import Pace
from tests.support.clocks import let_trials_take_seconds, ticking
from tests.support.small_experiments import REGRESSION, record_of, without_seconds, write_small
from tests.support.workers import ForkLauncher, deaths, dying, fork_workers

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="this system cannot fork")

K = 3
UNITS, RATE = "layers[0].dense.units", "optimizer.adam.learning_rate"
GRID: dict[str, Any] = {"over": {UNITS: [2, 8], RATE: [0.003, 0.1]}, "together": 2}
TPE: dict[str, Any] = {
    "over": {UNITS: [2, 4, 8], RATE: {"log_uniform": [1e-3, 0.3]}},
    "method": "tpe",
    "trials": 4,
}
SWEEPS = {"grid": GRID, "tpe": TPE}


class Heard(SweepListener):
    """Notes what is said."""

    def __init__(self) -> None:
        self.said: list[str] = []

    def message(self, text: str) -> None:
        self.said.append(text)


def write(folder: Path, section: dict[str, Any], **changes: Any) -> None:
    if section.get("method") == "tpe":
        pytest.importorskip("optuna", reason="Optuna comes with the extra `sweep`")
    spec = {
        "optimizer": {"adam": 0.01},
        "epochs": 4,
        "nested": K,
        "validation": {"holdout": {"fraction": 0.3}},
        **changes,
    }
    write_small(folder, REGRESSION, sweep=section, **spec)


def swept(
    folder: Path, runs: str, workers: int | None = None, heard: SweepListener | None = None
) -> SweepDirectory:
    settings = Settings("sweep", folder / runs, device="cpu")
    shared_by = None if workers is None else Workers(workers)
    return run_sweep(load_sweep(folder / "small.yaml"), settings, heard, workers=shared_by)


def histories(runs: Path) -> dict[tuple[Any, ...], bytes]:
    """What a run trained (its trial, or outer folds with their trials and epochs) → its history.

    Of completed runs; each is there once.
    """
    found: dict[tuple[Any, ...], bytes] = {}
    for path in runs.glob("*/run.json"):
        record = RunDirectory(path.parent).read_record()
        if record.status != "completed":
            continue
        assert record.nested is not None
        chosen = [(fold.fold, fold.trial, fold.epoch) for fold in record.nested.folds]
        what = ("trial", record.trial.number) if record.trial is not None else ("outer", *chosen)
        assert what not in found, f"{what} was trained twice"
        found[what] = without_seconds(path.parent)
    return found


def same_sweeps(alone: SweepDirectory, shared: SweepDirectory) -> None:
    """The same trials, choices and scores, and the same runs with the same bytes of histories."""
    assert histories(shared.path.parent) == histories(alone.path.parent)
    one, other = alone.read_record(), shared.read_record()
    assert (other.status, other.total) == ("completed", one.total)
    for mine, theirs in zip(other.trials, one.trials, strict=True):
        for name in ("number", "values", "status", "score", "epoch", "outer_fold"):
            assert getattr(mine, name) == getattr(theirs, name), (mine.number, name)
    assert one.nested is not None
    assert other.nested is not None
    apart = {"folds": {"__all__": {"run"}}}
    assert other.nested.model_dump(exclude=apart) == one.nested.model_dump(exclude=apart)
    for fold in other.nested.folds:
        assert (shared.path.parent / str(fold.run)).is_dir()
    files = [{path.name for path in made.path.iterdir()} for made in (alone, shared)]
    assert files[0] == files[1], "the work folder goes"


@pytest.mark.parametrize("method", SWEEPS)
def test_workers_give_what_one_process_gives(
    method: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path, SWEEPS[method])
    alone, heard = swept(tmp_path, "alone"), Heard()
    fork_workers(monkeypatch)
    shared = swept(tmp_path, "shared", 2, heard)
    same_sweeps(alone, shared)
    told = [text.partition(";")[0] for text in heard.said if text.endswith(str(shared.path))]
    trials, bundles = (12, 2) if method == "tpe" else (4, 2)
    assert told[0] == f"2 workers for {trials} trials in {bundles} bundles"
    assert told[1].partition(" for ")[2].startswith("3 outer folds")
    assert len(told) == 2
    again = Heard()
    assert swept(tmp_path, "shared", 2, again) == shared
    assert again.said == [f"{shared.id} is already complete. To run it again: --new."]


def test_the_average_of_inner_networks_is_scored_by_the_owner(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(
        tmp_path,
        GRID,
        validation={"kfold": {"k": 2, "shuffle": True}},
        nested={"k": K, "members": "folds"},
    )
    alone, heard = swept(tmp_path, "alone"), Heard()
    fork_workers(monkeypatch)
    same_sweeps(alone, swept(tmp_path, "shared", 2, heard))
    assert sum("more can join" in text for text in heard.said) == 1


@pytest.mark.slow
@pytest.mark.faults
@pytest.mark.parametrize("method", SWEEPS)
def test_the_trials_of_a_killed_worker_go_to_another(
    method: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of a search the other one goes on with the next trial, and proposes what would have been proposed."""
    write(tmp_path, SWEEPS[method], epochs=6)
    alone = swept(tmp_path, "alone")
    # In a second trial of a search; of a grid's bundle of two trials in the midst of both.
    fork_workers(monkeypatch, ForkLauncher(setups=[dying(tmp_path / "deaths", 9)]))
    heard = Heard()
    shared = swept(tmp_path, "shared", 2, heard)
    assert deaths(tmp_path / "deaths") == 1
    assert sum("was ended by signal 9; its work goes to another" in text for text in heard.said) == 1
    same_sweeps(alone, shared)


@pytest.mark.slow
@pytest.mark.faults
@pytest.mark.parametrize("workers", [None, 3])
def test_searches_whose_workers_all_died_go_on_with_others_or_without(
    workers: int | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path, TPE, epochs=6)
    alone = swept(tmp_path, "alone")
    fork_workers(monkeypatch, ForkLauncher(setups=[dying(tmp_path / "deaths", 9, 15)]))
    with pytest.raises(NnrunError, match=r"All workers have ended .* trials to do"):
        swept(tmp_path, "shared", 2)
    heard = Heard()
    same_sweeps(alone, swept(tmp_path, "shared", workers, heard))
    assert heard.said[0].endswith("of 12 trials have finished")
    assert not heard.said[0].endswith(": 0 of 12 trials have finished")


@pytest.mark.slow
@pytest.mark.faults
def test_what_was_chosen_is_trained_once_where_all_workers_are_killed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In the second stage; the same command goes on, and takes the runs that had ended."""
    write(tmp_path, {**GRID, "together": 1})
    alone = swept(tmp_path, "alone")

    def outer_runs() -> list[Path]:
        paths = [path.parent for path in (tmp_path / "shared").glob("*/run.json")]
        return [path for path in paths if record_of(path).get("trial") is None]

    fork_workers(monkeypatch, ForkLauncher(setups=["", dying(tmp_path / "deaths", 1, 1)]))
    with pytest.raises(NnrunError, match=r"All workers have ended .* outer fold"):
        swept(tmp_path, "shared", 2)
    (left,) = list_sweeps(tmp_path / "shared")
    assert left.read_record().status == "interrupted"
    same_sweeps(alone, swept(tmp_path, "shared", 2))
    assert {record_of(run)["status"] for run in outer_runs()} == {"completed", "interrupted"}


def test_an_outer_run_that_ended_before_its_owner_heard_of_it_is_not_trained_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path, GRID)
    made = swept(tmp_path, "runs")
    record = made.read_record()
    before, expected = histories(tmp_path / "runs"), record.nested
    assert expected is not None
    record.status, record.nested = (
        "running",
        expected.model_copy(
            update={
                "folds": [fold.model_copy(update={"scores": {}, "run": None}) for fold in expected.folds],
                "scores": {},
            }
        ),
    )
    made.write_record(record)
    work = begin(made.path, WorkPlan([[0, 1, 2]], details={"outer folds": True}), this_process())
    work.publish(0, {"status": "completed", "scored_fold": expected.folds[0].model_dump(mode="json")})
    work.write_sign(SignOfLife("worker", this_process(), left=True))
    monkeypatch.setattr(nested_sweep, "train_side_by_side", None)
    assert swept(tmp_path, "runs").read_record().nested == expected
    assert histories(tmp_path / "runs") == before
    assert starts(made.path) == []


class AtOnce(ForkLauncher):
    """Works in this process, from which patches are seen, before its owner looks for results."""

    def __init__(self) -> None:
        super().__init__()
        self.done: list[WorkDone] = []

    def start(self, command: WorkerCommand, count: int) -> None:
        made = SweepDirectory(Path(command.arguments[2]))
        settings = Settings("sweep", made.path.parent, device="cpu")
        plan = load_sweep(made.resolved_spec)
        self.done.append(work_on_sweep(made, plan, settings, SweepListener()))


def test_a_worker_tells_what_it_trained(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path, GRID)
    launcher = AtOnce()
    fork_workers(monkeypatch, launcher)
    swept(tmp_path, "runs", 2)
    trials, outer = launcher.done
    assert (sorted(trials.trials), trials.outer_folds, trials.stopped) == ([1, 2, 3, 4], (), False)
    assert (outer.trials, sorted(outer.outer_folds), outer.stopped) == ((), [0, 1, 2], False)


def test_time_is_shared_by_the_searches_of_a_worker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each outer fold has a trial. The worker leaves before the time is up, and what was chosen is scored."""
    let_trials_take_seconds(monkeypatch)
    for module in ("nested_sweep", "worker"):
        name = f"nnrun.experiment.sweeping.{module}.Pace"
        monkeypatch.setattr(name, lambda seconds: Pace(seconds, ticking()))
    write(tmp_path, {**TPE, "trials": 8, "time_limit": "40s"})
    fork_workers(monkeypatch, AtOnce())
    record = swept(tmp_path, "runs", 1).read_record()
    assert record.ended_by_time == "40s"
    ended = [trial.outer_fold for trial in record.trials if trial.status == "completed"]
    assert set(ended) == {0, 1, 2}
    assert len(ended) < record.total == 24
    assert record.nested is not None
    assert record.nested.scores


def test_what_fails_within_an_outer_fold_is_told_when_the_others_have_ended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path, {**GRID, "together": 1})
    real = shared_outer_folds.OuterFolds.trained

    def diverging(self: Any, chosen: Any, listener_of: Any = None) -> Any:
        if any(0 in each.epochs for each in chosen):
            raise DivergedError("the loss is NaN.")
        return real(self, chosen, listener_of)

    monkeypatch.setattr(shared_outer_folds.OuterFolds, "trained", diverging)
    fork_workers(monkeypatch, AtOnce())
    with pytest.raises(DivergedError, match=r"the loss is NaN\."):
        swept(tmp_path, "runs", 2)
    (made,) = list_sweeps(tmp_path / "runs")
    record = made.read_record()
    assert record.status == "interrupted"
    assert record.nested is not None
    first = record.nested.folds[0].trial
    scored = {fold.fold: bool(fold.scores) for fold in record.nested.folds}
    assert scored == {fold.fold: fold.trial != first for fold in record.nested.folds}
    monkeypatch.undo()
    assert swept(tmp_path, "runs").read_record().status == "completed"


def test_a_bundle_that_ends_every_worker_is_given_up(tmp_path: Path) -> None:
    audience = shared_outer_folds._Audience(Heard(), lambda _: None)
    audience.result(2, audience.given_up(2))
    audience.result(1, {"status": "completed", "scored_fold": {"fold": "damaged"}})
    with pytest.raises(NnrunError) as caught:
        audience.raise_what_failed()
    assert str(caught.value) == ("4 workers died while they trained what was chosen within outer fold 2.")
