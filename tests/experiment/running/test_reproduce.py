"""A run trained once more: what is the same, and what is not."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from nnrun.errors import DataError, UsageError
from nnrun.experiment.running import reproduce as module
from nnrun.experiment.running.final import final_of_run
from nnrun.experiment.running.job import Settings
from nnrun.experiment.running.reproduce import (
    HistoryComparison,
    Reproduction,
    changed_conditions,
    compare_histories,
    reproduce_run,
)
from nnrun.experiment.running.train import run_experiment
from nnrun.experiment.setup.groups import Selection
from nnrun.history_table import HistoryTable
from nnrun.records import RunDirectory, RunRecord
from tests.support.runs_on_disk import write_record
from tests.support.small_experiments import KFOLD, load_small, numbers


def settings(folder: Path, **parameters: Any) -> Settings:
    return replace(Settings("train", folder / "runs", None, "cpu"), **parameters)


def again(run: RunDirectory, folder: Path) -> Reproduction:
    return reproduce_run(run, runs_dir=folder / "runs")


KINDS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "holdout": ({}, {}),
    "dropout and early stopping": (
        {
            "layers": [{"dense": 8}, {"dropout": 0.3}, {"dense": 1}],
            "epochs": 12,
            "early_stopping": {"patience": 1, "restore_best": True},
        },
        {},
    ),
    "folds": ({"validation": KFOLD}, {"command": "kfold"}),
    "one fold": ({"validation": KFOLD}, {"command": "kfold", "selection": Selection(only_fold=1)}),
    "seeds": ({"seed": 5}, {"selection": Selection(seeds=2)}),
    "smoke": ({"epochs": 50}, {"smoke": True}),
}


@pytest.mark.parametrize("kind", KINDS)
def test_a_run_repeats_bit_for_bit(kind: str, tmp_path: Path) -> None:
    changes, parameters = KINDS[kind]
    run = run_experiment(load_small(tmp_path, **changes), settings(tmp_path, **parameters))
    before = {path: path.read_bytes() for path in run.path.rglob("*") if path.is_file()}
    found = again(run, tmp_path)
    assert found.identical
    assert found.changed == {}
    assert found.history.rows == len(run.read_history())
    assert found.weights.arrays == 4 * max(1, len(run.members()))
    record, original = found.run.read_record().to_json(), run.read_record().to_json()
    assert (record["parent"], record["reproduces"]) == (run.id, run.id)
    for key in (
        "command",
        "folds",
        "seeds",
        "smoke",
        "compiled",
        "status",
        "stopped_early",
        "weights_epoch",
        "members",
    ):
        assert record.get(key) == original.get(key)
    assert {path: path.read_bytes() for path in before} == before


def test_of_a_final_run_the_test_set_is_left_alone(tmp_path: Path) -> None:
    parent = run_experiment(load_small(tmp_path), settings(tmp_path))
    final = final_of_run(parent, settings(tmp_path))
    found = again(final, tmp_path)
    assert found.identical
    assert found.test_set_left_out
    record = found.run.read_record().to_json()
    assert (record["command"], record["parent"], record["test_uses"]) == ("final", final.id, [])
    assert "test" not in record
    assert final.read_record().test_uses != []


def test_what_differs_first_and_by_how_much(tmp_path: Path) -> None:
    run = run_experiment(load_small(tmp_path, validation=KFOLD), settings(tmp_path))
    path = run.path / "history.csv"
    lines = path.read_text().splitlines()
    cells = lines[5].split(",")  # epoch 2 of fold 1
    assert cells[:2] == ["1", "2"]
    changed = float(np.nextafter(float(cells[3]), 1e9))
    cells[3] = repr(changed)
    path.write_text("\n".join([*lines[:5], ",".join(cells), *lines[6:]]) + "\n")
    weights = run.read_weights(run.members()[2])
    bias = weights["1.bias"].copy()
    bias[0] += 0.25
    run.write_weights({**weights, "1.bias": bias}, run.members()[2])

    found = again(run, tmp_path)
    assert not found.identical
    history = found.history
    assert (history.member, history.epoch, history.column) == ("fold 1", 2, "mae")
    assert history.then == changed
    assert history.difference == abs(changed - float(lines[5].split(",")[3])) > 0
    assert found.weights.first == "1.bias of fold 2"
    assert found.weights.largest == pytest.approx(0.25)
    assert found.changed == {}


def test_another_seed_is_another_run(tmp_path: Path) -> None:
    run = run_experiment(load_small(tmp_path), settings(tmp_path))
    run.write_resolved(run.read_resolved().replace("seed: 0", "seed: 1"))
    found = again(run, tmp_path)
    assert (found.history.epoch, found.history.column) == (1, "loss")
    assert (found.history.identical, found.weights.identical) == (False, False)


def test_changed_data_are_told_and_compared_all_the_same(tmp_path: Path) -> None:
    run = run_experiment(load_small(tmp_path), settings(tmp_path))
    np.savez(tmp_path / "small.npz", **numbers(seed=1))  # type: ignore[arg-type]
    found = again(run, tmp_path)
    assert not found.identical
    assert list(found.changed) == ["data small.npz"]
    (tmp_path / "small.npz").unlink()
    with pytest.raises(DataError, match="does not exist"):
        again(run, tmp_path)


def test_conditions_that_the_records_tell_of() -> None:
    then: dict[str, Any] = {
        "device": "cuda",
        "threads": 1,
        "compiled": True,
        "versions": {"torch": "2.8", "numpy": "2.0"},
        "data": [{"name": "a.npz", "sha256": "1"}],
        "git_commit": "x",
    }
    now = {
        **then,
        "threads": 2,
        "versions": {"torch": "2.9", "numpy": "2.0", "scipy": "1"},
        "data": [{"name": "a.npz", "sha256": "2"}],
        "git_commit": "y",
    }
    before, after = RunRecord.read(then), RunRecord.read(now)
    assert changed_conditions(before, before) == {}
    assert changed_conditions(before, after) == {
        "threads": (1, 2),
        "torch": ("2.8", "2.9"),
        "scipy": (None, "1"),
        "data a.npz": ("1", "2"),
    }
    assert changed_conditions(RunRecord(), RunRecord(device="cpu")) == {"device": (None, "cpu")}


def table(**columns: Any) -> HistoryTable:
    return HistoryTable.of_values({"epoch": [1, 2], "loss": [0.5, 0.25], "seconds": [1.0, 2.0]} | columns)


def test_histories_bit_for_bit() -> None:
    assert compare_histories(table(), table(seconds=[9.0, 9.0])) == HistoryComparison(2, 2, True)
    nan = table(loss=[0.5, float("nan")])
    assert compare_histories(nan, nan).identical
    found = compare_histories(table(), nan)
    assert (found.epoch, found.column, found.member) == (2, "loss", None)
    zeros = compare_histories(table(loss=[0.0, 1.0]), table(loss=[-0.0, 1.0]))
    assert (zeros.identical, zeros.difference) == (False, 0.0)


def test_histories_of_other_shapes() -> None:
    shorter = compare_histories(table(), table().rows(slice(1)))
    assert shorter == HistoryComparison(2, 2, False, "there were 2 rows, and there are now 1")
    wider = compare_histories(table(), table(mae=[1.0, 1.0]))
    assert wider.shape == "the columns were epoch, loss, and are now epoch, loss, mae"


@pytest.mark.parametrize("status", ["running", "interrupted", "failed", "diverged"])
def test_what_did_not_complete_is_not_repeated(status: str, tmp_path: Path) -> None:
    run = run_experiment(load_small(tmp_path), settings(tmp_path))
    write_record(run, run.read_record().to_json() | {"status": status})
    with run.owned(), pytest.raises(UsageError, match=f"is {status}: only a completed run"):
        again(run, tmp_path)


@pytest.mark.parametrize(
    ("recorded", "asked", "expected"),
    [
        ({"compiled": True, "device": "cuda:1"}, {}, ("recorded", "cuda:1")),
        ({"compiled": False}, {}, ("off", "cpu")),
        ({"compiled": None}, {}, ("auto", "cpu")),
        ({"compiled": True}, {"compile_": "off", "device": "auto"}, ("off", "auto")),
    ],
)
def test_device_and_compiled_steps_are_the_run_s(
    recorded: dict[str, Any],
    asked: dict[str, Any],
    expected: tuple[str, str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    run = run_experiment(load_small(tmp_path), settings(tmp_path))
    write_record(run, run.read_record().to_json() | recorded)
    seen: list[Settings] = []

    def stop(loaded: Any, given: Settings, listener: Any) -> None:
        seen.append(given)
        raise UsageError("enough")

    monkeypatch.setattr(module, "run_experiment", stop)
    with pytest.raises(UsageError, match="enough"):
        reproduce_run(run, runs_dir=tmp_path / "runs", **asked)
    assert (seen[0].compile, seen[0].device) == expected
    assert not seen[0].use_test_set
