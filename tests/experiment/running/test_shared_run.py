"""Folds and seeds that several workers train: the run's folder is the one that a single process makes."""

from __future__ import annotations

import os
from collections.abc import Collection
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nnrun import kfold
from nnrun.cli import main
from nnrun.errors import DivergedError, NnrunError, UsageError
from nnrun.experiment.launching.launcher import Workers
from nnrun.experiment.running import nested
from nnrun.experiment.running.job import Settings
from nnrun.experiment.running.listener import Listener
from nnrun.experiment.running.nested import run_nested
from nnrun.experiment.running.parts import merged_history, parts_of
from nnrun.experiment.running.shared_run import resume_shared, train_shared
from nnrun.experiment.running.train import run_experiment
from nnrun.experiment.setup.groups import Selection
from nnrun.records import RunDirectory
from nnrun.spec.reading.load import load_spec
from nnrun.training.loop import EpochRecord
from tests.support.small_experiments import (
    BINARY,
    REGRESSION,
    files_of,
    growing_tokens,
    load_small,
    only_run,
    record_of,
    without_seconds,
    write_small,
)
from tests.support.workers import ForkLauncher, deaths, dying, fork_workers

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="this system cannot fork")

FOLDS = {"validation": {"kfold": {"k": 4}}}
OWN = {"id", "started", "ended", "training_seconds", "networks_at_once", "resumed"}
"""What records of the same networks need not have in common."""


class Heard(Listener):
    """Notes what is told."""

    def __init__(self) -> None:
        self.said: list[str] = []
        self.epochs: list[tuple[int, list[int]]] = []

    def message(self, text: str) -> None:
        self.said.append(text)

    def epoch(self, record: EpochRecord) -> None:
        self.epochs.append((record.epoch, sorted(record.rows)))


def settings(folder: Path, runs: str, **others: Any) -> Settings:
    return Settings("kfold", folder / runs, device="cpu", **others)


def same_runs(alone: Path, shared: Path, other: Collection[str] = ()) -> None:
    """All files but checkpoints are there, and tell the same."""
    found = [{name for name in files_of(run) if not name.startswith("checkpoint")} for run in (alone, shared)]
    assert found[0] == found[1]
    assert without_seconds(shared) == without_seconds(alone)
    for name in found[0] - {"run.json", "history.csv", "history_mean.csv"}:
        assert (shared / name).read_bytes() == (alone / name).read_bytes(), name
    records = [record_of(run) for run in (alone, shared)]
    own = OWN | set(other)
    assert {k: v for k, v in records[1].items() if k not in own} == {
        k: v for k, v in records[0].items() if k not in own
    }


EARLY = {"early_stopping": {"monitor": "val_loss", "patience": 1, "restore_best": True}}


@pytest.mark.parametrize("changes", [{}, EARLY], ids=["plain", "stopped early"])
def test_folds_of_workers_make_the_run_of_one_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, changes: dict[str, Any]
) -> None:
    loaded = load_small(tmp_path, **FOLDS, **changes, epochs=6)
    alone = run_experiment(loaded, settings(tmp_path, "alone"))
    fork_workers(monkeypatch)
    heard = Heard()
    shared = train_shared(loaded, settings(tmp_path, "shared"), heard, Workers(2))
    same_runs(alone.path, shared.path)
    assert record_of(shared.path)["networks_at_once"] == 2
    assert heard.said[0].startswith("2 workers for 4 folds in 2 parts; more can join: nnrun train --worker ")
    assert [epoch for epoch, _ in heard.epochs] == list(range(1, 1 + len(heard.epochs)))
    if not changes:
        assert heard.epochs == [(epoch, [0, 1, 2, 3]) for epoch in range(1, 7)]


def test_seeds_of_workers_make_the_run_of_one_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    loaded = load_small(tmp_path, BINARY, epochs=3, seed=5, calibrate="temperature")
    seeds = {"selection": Selection(seeds=3)}
    alone = run_experiment(loaded, settings(tmp_path, "alone", **seeds))
    fork_workers(monkeypatch)
    shared = train_shared(loaded, settings(tmp_path, "shared", **seeds), Listener(), Workers(2))
    same_runs(alone.path, shared.path)


def test_folds_of_several_shapes_stand_in_the_order_of_one_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = {
        **BINARY,
        "preprocessing": {"inputs": "multi_hot"},
        "layers": [{"dense": {"units": 1, "activation": "sigmoid"}}],
    }
    loaded = load_spec(write_small(tmp_path, spec, growing_tokens(), epochs=2, **FOLDS))
    alone = run_experiment(loaded, settings(tmp_path, "alone"))
    fork_workers(monkeypatch)
    shared = train_shared(loaded, settings(tmp_path, "shared"), Listener(), Workers(3))
    same_runs(alone.path, shared.path)


NESTED: dict[str, Any] = {"nested": 3, "epochs": 5, "optimizer": {"adam": 0.1}}
INNER: dict[str, dict[str, Any]] = {
    "kfold": {"validation": {"kfold": {"k": 2, "shuffle": True}}},
    "holdout": {"validation": {"holdout": {"fraction": 0.3}}},
    "members": {
        "validation": {"kfold": {"k": 2, "shuffle": True}},
        "nested": {"k": 3, "members": "folds"},
    },
}


def nested_runs(folder: Path) -> list[Path]:
    """The inner and the outer run, as far as they are there."""
    found = [RunDirectory(path.parent) for path in folder.glob("*/run.json")]
    return [run.path for run in sorted(found, key=lambda run: run.read_record().is_nested)]


def same_nested_runs(alone: Path, shared: Path) -> None:
    both = list(zip(nested_runs(alone), nested_runs(shared), strict=True))
    for one, other in both:
        same_runs(one, other, {"parent"})
    for folder in (alone, shared):
        ids = [path.name for path in nested_runs(folder)]
        assert [record_of(path)["parent"] for path in nested_runs(folder)] == [None, *ids[:-1]]


@pytest.mark.parametrize("kind", INNER)
def test_outer_folds_of_workers_make_the_runs_of_one_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    loaded = load_small(tmp_path, REGRESSION, **{**NESTED, **INNER[kind]})
    run_nested(loaded, settings(tmp_path, "alone"))
    fork_workers(monkeypatch)
    heard = Heard()
    found = run_nested(loaded, settings(tmp_path, "shared"), heard, Workers(2))
    same_nested_runs(tmp_path / "alone", tmp_path / "shared")
    assert found.path == nested_runs(tmp_path / "shared")[-1]
    told = [text.partition(";")[0] for text in heard.said if text.startswith("2 workers for ")]
    inner = "2 workers for 3 folds in 2 parts" if kind == "holdout" else "2 workers for 6 folds in 2 parts"
    assert told == ([inner] if kind == "members" else [inner, "2 workers for 3 folds in 2 parts"])


def test_the_command_and_the_function_share_outer_folds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    load_small(tmp_path, REGRESSION, **{**NESTED, **INNER["kfold"], "nested": None})
    spec, where = str(tmp_path / "small.yaml"), ["--device", "cpu", "-q", "--runs-dir"]
    assert main(["kfold", spec, "--nested", "3", *where, str(tmp_path / "alone")]) == 0
    launcher = fork_workers(monkeypatch)
    workers = ["--nested", "3", "--workers", "2"]
    assert main(["kfold", spec, *workers, *where, str(tmp_path / "command")]) == 0
    kfold(spec, nested=3, workers=2, runs_dir=tmp_path / "function", device="cpu")
    for name in ("command", "function"):
        same_nested_runs(tmp_path / "alone", tmp_path / name)
    assert launcher.starts == [2, 2, 2, 2]


def test_within_one_outer_fold_its_inner_folds_are_shared(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was chosen there is one network, which this process trains."""
    loaded = load_small(tmp_path, REGRESSION, **{**NESTED, **INNER["kfold"]})
    one = {"selection": Selection(only_fold=1)}
    run_nested(loaded, settings(tmp_path, "alone", **one))
    fork_workers(monkeypatch)
    run_nested(loaded, settings(tmp_path, "shared", **one), Listener(), Workers(2))
    same_nested_runs(tmp_path / "alone", tmp_path / "shared")


@pytest.mark.slow
def test_nested_folds_go_on_where_workers_or_all_of_them_are_killed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One of the inner run's workers, then all of the outer run's; then the outer run is resumed."""
    loaded = load_small(tmp_path, REGRESSION, **{**NESTED, **INNER["kfold"], "epochs": 30})
    monkeypatch.setattr(nested, "choose_within", _the_last_epoch(30))
    run_nested(loaded, settings(tmp_path, "alone"))
    setups = [dying(tmp_path / "inner deaths", 20), dying(tmp_path / "outer deaths", 20, 20)]
    launcher = fork_workers(monkeypatch, ForkLauncher(setups=setups))
    with pytest.raises(NnrunError, match="All workers have ended"):
        run_nested(loaded, settings(tmp_path, "shared"), Listener(), Workers(2))
    assert launcher.starts == [2, 2]
    assert [deaths(tmp_path / f"{stage} deaths") for stage in ("inner", "outer")] == [1, 2]
    inner, outer = nested_runs(tmp_path / "shared")
    assert [record_of(path)["status"] for path in (inner, outer)] == ["completed", "failed"]
    fork_workers(monkeypatch)
    resume_shared(RunDirectory(outer), None)
    same_nested_runs(tmp_path / "alone", tmp_path / "shared")


def _the_last_epoch(epoch: int) -> Any:
    """Outer folds choose it, so that what is trained there takes as long."""
    real = nested.choose_within

    def choose(*args: Any) -> Any:
        return {fold: chosen.model_copy(update={"epoch": epoch}) for fold, chosen in real(*args).items()}

    return choose


@pytest.mark.slow
def test_an_inner_run_of_workers_is_resumed_with_its_outer_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All workers of the inner run are killed; the command goes on with both, by workers."""
    loaded = load_small(tmp_path, REGRESSION, **{**NESTED, **INNER["kfold"], "epochs": 30})
    run_nested(loaded, settings(tmp_path, "alone"))
    fork_workers(monkeypatch, ForkLauncher(setups=[dying(tmp_path / "deaths", 20, 20)]))
    with pytest.raises(NnrunError, match="All workers have ended"):
        run_nested(loaded, settings(tmp_path, "shared"), Listener(), Workers(2))
    (inner,) = nested_runs(tmp_path / "shared")
    launcher = fork_workers(monkeypatch)
    assert main(["kfold", "--resume", str(inner), "-q"]) == 0
    assert launcher.starts == [2, 2]
    same_nested_runs(tmp_path / "alone", tmp_path / "shared")


def test_a_completed_inner_run_s_outer_run_may_have_workers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    loaded = load_small(tmp_path, REGRESSION, **{**NESTED, **INNER["kfold"]})
    run_nested(loaded, settings(tmp_path, "alone"))
    inner = run_experiment(loaded, settings(tmp_path, "shared", inner_folds=True))
    fork_workers(monkeypatch)
    resume = ["kfold", "--resume", str(inner.path), "-q", "--workers", "2"]
    assert main(resume) == 0
    same_nested_runs(tmp_path / "alone", tmp_path / "shared")
    assert main(resume) == 2, "there is nothing more to share"


@pytest.mark.slow
def test_the_part_of_a_killed_worker_goes_to_another(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    loaded = load_small(tmp_path, **FOLDS, epochs=30)
    alone = run_experiment(loaded, settings(tmp_path, "alone"))
    fork_workers(monkeypatch, ForkLauncher(setups=[dying(tmp_path / "deaths", 20)]))
    heard = Heard()
    shared = train_shared(loaded, settings(tmp_path, "shared"), heard, Workers(2))
    assert deaths(tmp_path / "deaths") == 1
    same_runs(alone.path, shared.path)
    assert sum("was ended by signal 9; its work goes to another" in text for text in heard.said) == 1


@pytest.mark.slow
def test_a_run_whose_workers_all_died_goes_on_from_their_checkpoints(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    loaded = load_small(tmp_path, **FOLDS, epochs=30)
    alone = run_experiment(loaded, settings(tmp_path, "alone"))
    fork_workers(monkeypatch, ForkLauncher(setups=[dying(tmp_path / "deaths", 20, 20)]))
    with pytest.raises(NnrunError, match="All workers have ended"):
        train_shared(loaded, settings(tmp_path, "shared"), Listener(), Workers(2))
    run = RunDirectory(only_run(tmp_path / "shared"))
    before = run.read_record()
    assert before.status == "failed"
    assert run.can_go_on(before)
    fork_workers(monkeypatch)
    heard = Heard()
    resume_shared(run, None, listener=heard)
    assert any(text.startswith(f"resuming {run.id}") for text in heard.said)
    same_runs(alone.path, run.path)
    assert not run.can_go_on(run.read_record())


def test_a_fold_that_diverges_ends_the_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rate = {"optimizer": {"sgd": {"learning_rate": 1e30}}}
    loaded = load_small(tmp_path, {**REGRESSION, **rate}, **FOLDS)
    fork_workers(monkeypatch)
    with pytest.raises(DivergedError):
        train_shared(loaded, settings(tmp_path, "shared"), Listener(), Workers(2))
    run = RunDirectory(only_run(tmp_path / "shared"))
    assert run.read_record().status == "diverged"
    with pytest.raises(UsageError, match="it diverged, and would again"):
        resume_shared(run, None)


def test_one_network_is_not_shared(tmp_path: Path) -> None:
    loaded = load_small(tmp_path)
    with pytest.raises(UsageError, match="this trains one network"):
        train_shared(loaded, settings(tmp_path, "runs"), Listener(), Workers(2))
    within_one = load_small(tmp_path, validation={"holdout": {"fraction": 0.3}}, nested=3)
    only = settings(tmp_path, "runs", selection=Selection(only_fold=1))
    with pytest.raises(UsageError, match="this trains one network"):
        run_nested(within_one, only, Listener(), Workers(2))
    assert not (tmp_path / "runs").exists()


@given(st.lists(st.integers(), unique=True, min_size=1), st.integers(1, 9))
def test_parts_are_a_partition_in_order_of_even_sizes(numbers: list[int], count: int) -> None:
    parts = parts_of(numbers, count)
    assert [number for part in parts for number in part] == numbers
    sizes = [len(part) for part in parts]
    assert len(parts) == min(count, len(numbers))
    assert max(sizes) - min(sizes) <= 1


@given(st.data())
def test_merged_histories_are_in_the_order_of_groups_epochs_and_members(data: st.DataObject) -> None:
    members = data.draw(st.permutations(range(5)))
    cut = data.draw(st.integers(1, 4))
    groups = [sorted(members[:cut]), sorted(members[cut:])]
    lasts = data.draw(st.lists(st.integers(1, 4), min_size=5, max_size=5))
    whole = [
        f"{member},{epoch},0.5"
        for group in groups
        for epoch in range(1, max(lasts) + 1)
        for member in group
        if epoch <= lasts[member]
    ]
    parts = parts_of(range(5), data.draw(st.integers(1, 5)))
    texts = [
        "\n".join(["fold,epoch,loss", *(line for line in whole if int(line[0]) in part)]) + "\n"
        for part in parts
    ]
    assert merged_history(texts, groups) == "\n".join(["fold,epoch,loss", *whole]) + "\n"
