"""Runs that train side by side come to what each comes to alone."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file

import nnrun.experiment.running.side_by_side
from nnrun.data import load_dataset
from nnrun.errors import DivergedError
from nnrun.experiment.running.job import Settings
from nnrun.experiment.running.listener import Listener, StopTraining
from nnrun.experiment.running.recorder import RunInterrupted
from nnrun.experiment.running.reproduce import reproduce_run
from nnrun.experiment.running.side_by_side import (
    Candidate,
    StackedRuns,
    architecture_of,
    stack_runs,
    train_side_by_side,
    train_stacked,
)
from nnrun.experiment.running.train import run_experiment
from nnrun.experiment.setup.groups import Selection
from nnrun.limits import cxx_compiler
from nnrun.records import RunDirectory
from nnrun.spec.reading.load import LoadedSpec, load_spec
from nnrun.training.loop import EpochRecord
from nnrun.training.problem import LEARNING_RATE, TrainingProblem
from tests.support.small_experiments import (
    BINARY,
    REGRESSION,
    files_of,
    growing_tokens,
    record_of,
    write_small,
)

UNITS = "layers[0].dense.units"
Changes = list[dict[str, Any]]

OPTIMIZERS: dict[str, dict[str, Any]] = {
    "rmsprop": {},
    "rmsprop, momentum": {"momentum": 0.9},
    "rmsprop, centered": {"centered": True},
    "sgd": {},
    "sgd, momentum": {"momentum": 0.9},
    "sgd, nesterov": {"momentum": 0.9, "nesterov": True},
    "adam": {},
    "adam, amsgrad": {"amsgrad": True},
    "adamw": {"weight_decay": 0.1},
    "adagrad": {},
}


def specs_of(
    folder: Path, changes: Changes, spec: dict[str, Any] = REGRESSION, **arrays: Any
) -> list[LoadedSpec]:
    path = write_small(folder, spec, **arrays)
    return [load_spec(path, change) for change in changes]


def prepared(
    folder: Path, specs: list[LoadedSpec], listeners: list[Listener] | None = None
) -> StackedRuns | None:
    settings = Settings("sweep", folder / "together")
    heard = listeners or [Listener() for _ in specs]
    candidates = [Candidate(spec, settings, listener) for spec, listener in zip(specs, heard, strict=True)]
    return stack_runs(candidates, load_dataset(specs[0].spec.dataset))


def problem_of(stacked: StackedRuns) -> TrainingProblem:
    problem = stacked.plan.groups[0].problem
    assert problem is not None
    return problem


def together(folder: Path, specs: list[LoadedSpec]) -> list[RunDirectory]:
    found = prepared(folder, specs)
    assert found is not None
    return train_stacked(found)


def alone(folder: Path, spec: LoadedSpec) -> RunDirectory:
    return run_experiment(spec, Settings("sweep", folder / "alone"))


def check_alike(mine: RunDirectory, reference: RunDirectory) -> None:
    """The same files, the same records but for times, the same numbers to 1e-5."""
    kept = [name for name in files_of(reference.path) if not name.startswith("checkpoint-")]
    assert files_of(mine.path) == kept, "trials keep no checkpoints"
    assert mine.read_resolved() == reference.read_resolved()
    assert mine.read_preprocessing() == reference.read_preprocessing()
    ours, theirs = mine.read_history(), reference.read_history()
    assert ours.columns.tolist() == theirs.columns.tolist()
    assert ours["epoch"].tolist() == theirs["epoch"].tolist()
    assert ours["learning_rate"].tolist() == theirs["learning_rate"].tolist()
    columns = [name for name in ours.columns if name != "seconds"]
    np.testing.assert_allclose(ours[columns], theirs[columns], rtol=1e-5)
    weights, expected = (load_file(run.path / "weights.safetensors") for run in (mine, reference))
    assert weights.keys() == expected.keys()
    for name, value in expected.items():
        np.testing.assert_allclose(weights[name], value, rtol=1e-4, atol=1e-6)
    record, other = record_of(mine.path), record_of(reference.path)
    # A trial has no linear model beside it, and no advice that follows from one.
    of_linear = ("linear_baseline", "not_better_than_linear", "advice")
    record, other = ({k: v for k, v in of.items() if k not in of_linear} for of in (record, other))
    assert record.keys() == other.keys()
    changing = {"id", "started", "ended", "training_seconds", "threads", "best", "last", "best_smoothed"}
    changing.add("networks_at_once")
    assert {k: v for k, v in record.items() if k not in changing} == {
        k: v for k, v in other.items() if k not in changing
    }
    assert record["best"] == pytest.approx(other["best"], rel=1e-5)


def check(folder: Path, specs: list[LoadedSpec]) -> list[RunDirectory]:
    runs = together(folder, specs)
    for run, spec in zip(runs, specs, strict=True):
        by_itself = alone(folder, spec)
        check_alike(run, by_itself)
        assert record_of(run.path)["networks_at_once"] == len(specs)
        assert record_of(by_itself.path)["networks_at_once"] == 1
    return runs


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_learning_rates(name: str, tmp_path: Path) -> None:
    kind, rates = name.partition(",")[0], (0.03, 0.001, 0.01)
    changes: Changes = [{"optimizer": {kind: {**OPTIMIZERS[name], "learning_rate": rate}}} for rate in rates]
    runs = check(tmp_path, specs_of(tmp_path, changes))
    assert len({run.read_history()["loss"].iloc[-1] for run in runs}) == 3


@pytest.mark.parametrize("kind", ["rmsprop", "sgd", "adagrad", "adam"])
def test_learning_rates_over_sparse_rows(kind: str, tmp_path: Path) -> None:
    """Where few rows of the first kernel are updated at each step, and the rest can wait."""
    spec = {
        **BINARY,
        "preprocessing": {"inputs": {"multi_hot": 400}},
        "batch_size": 4,
        "validation": {"holdout": {"first": 8}},
    }
    changes: Changes = [{"optimizer": {kind: {"learning_rate": rate}}} for rate in (0.1, 0.001)]
    check(tmp_path, specs_of(tmp_path, changes, spec, arrays=growing_tokens()))


def test_repeated_alone_the_reason_of_a_difference_is_told(tmp_path: Path) -> None:
    run, *_ = together(tmp_path, specs_of(tmp_path, [{"seed": 1}, {"seed": 2}]))
    repeated = reproduce_run(run, runs_dir=tmp_path / "repeated")
    assert repeated.changed == {"networks_at_once": (2, 1)}


def test_seeds(tmp_path: Path) -> None:
    """Each with its own weights, order of rows, dropout, and rows to validate on."""
    spec = {
        **REGRESSION,
        "layers": [{"dropout": 0.3}, *REGRESSION["layers"]],
        "validation": {"holdout": {"fraction": 0.3}},
    }
    runs = check(tmp_path, specs_of(tmp_path, [{"seed": seed} for seed in (0, 7, 8)], spec))
    assert len({run.read_history()["loss"].iloc[0] for run in runs}) == 3


def test_strengths_of_regularizers(tmp_path: Path) -> None:
    regularizers = [None, {"l2": 0.1}, {"l1": 0.01}, {"l1_l2": {"l1": 0.02, "l2": 0.03}}]
    changes: Changes = [{"layers[0].dense.kernel_regularizer": strength} for strength in regularizers]
    runs = check(tmp_path, specs_of(tmp_path, changes))
    assert len({run.read_history()["val_loss"].iloc[0] for run in runs}) == 4


def test_all_at_once(tmp_path: Path) -> None:
    changes: Changes = [
        {
            "seed": seed,
            "optimizer": {"adam": {"learning_rate": rate}},
            "layers[1].dense.kernel_regularizer": {"l2": strength},
        }
        for seed, rate, strength in ((1, 0.1, 0.5), (2, 0.01, 0.0), (1, 0.001, 0.5))
    ]
    check(tmp_path, specs_of(tmp_path, changes))


SCHEDULES: list[Any] = [
    {"step": {"every": 1, "factor": 0.5}},
    [{"warmup": 1}, "cosine"],
    {"reduce_on_plateau": {"patience": 1, "min_delta": 1000.0}},
    {"reduce_on_plateau": {"patience": 1, "monitor": "val_mae"}},
    {"rates": [0.1, 0.01]},
]


@pytest.mark.parametrize("schedule", SCHEDULES, ids=json.dumps)
@pytest.mark.parametrize("kind", ["rmsprop", "adam"])
def test_schedules_of_their_own_rates(kind: str, schedule: Any, tmp_path: Path) -> None:
    spec = {**REGRESSION, "learning_rate_schedule": schedule, "gradient_clip": {"norm": 0.5}, "epochs": 5}
    changes: Changes = [
        {"optimizer": {kind: {"learning_rate": rate}}, "seed": seed} for rate, seed in ((0.3, 1), (0.01, 2))
    ]
    runs = check(tmp_path, specs_of(tmp_path, changes, spec))
    rates = [run.read_history()["learning_rate"].tolist() for run in runs]
    assert (rates[0] == rates[1]) == (schedule == {"rates": [0.1, 0.01]})


def test_balanced_classes_of_each_seed_s_own_training_rows(tmp_path: Path) -> None:
    spec = {**BINARY, "class_weight": "balanced", "validation": {"holdout": {"fraction": 0.4}}}
    specs = specs_of(tmp_path, [{"seed": seed} for seed in (0, 2, 11)], spec)
    found = prepared(tmp_path, specs)
    assert found is not None
    assert problem_of(found).head.training_weights is not None
    assert problem_of(found).head.training_weights.shape == (3, 48)
    check(tmp_path, specs)


def test_one_that_stops_early_goes_and_the_others_go_on(tmp_path: Path) -> None:
    spec = {
        **REGRESSION,
        "epochs": 30,
        "early_stopping": {"patience": 1, "restore_best": True},
        "layers": [
            {"dense": {"units": 8, "activation": "relu", "kernel_regularizer": {"l2": 0.01}}},
            {"dense": 1},
        ],
    }
    changes: Changes = [{"optimizer": {"rmsprop": rate}} for rate in (0.001, 0.3, 0.1)]
    runs = check(tmp_path, specs_of(tmp_path, changes, spec))
    assert len({record_of(run.path)["epochs_run"] for run in runs}) > 1


def test_one_that_diverges_goes_and_the_others_go_on(tmp_path: Path) -> None:
    changes: Changes = [{"optimizer": {"sgd": rate}} for rate in (0.001, 1e30, 0.0001)]
    specs = specs_of(tmp_path, changes)
    first, second, third = together(tmp_path, specs)
    check_alike(first, alone(tmp_path, specs[0]))
    check_alike(third, alone(tmp_path, specs[2]))
    with pytest.raises(DivergedError):
        alone(tmp_path, specs[1])
    records = [record_of(path) for path in (tmp_path / "alone").iterdir() if (path / "run.json").exists()]
    (theirs,) = [record for record in records if record["status"] == "diverged"]
    mine = record_of(second.path)
    assert {key: mine.get(key) for key in ("status", "error", "epochs_run", "weights_epoch")} == {
        key: theirs.get(key) for key in ("status", "error", "epochs_run", "weights_epoch")
    }


def test_an_interruption_is_kept_in_all(tmp_path: Path) -> None:
    class Stopping(Listener):
        def epoch(self, record: EpochRecord) -> None:
            if record.epoch == 2:
                raise KeyboardInterrupt

    specs = specs_of(tmp_path, [{"seed": seed} for seed in (0, 1)])
    found = prepared(tmp_path, specs, [Listener(), Stopping()])
    assert found is not None
    with pytest.raises(RunInterrupted):
        train_stacked(found)
    records = [record_of(path) for path in (tmp_path / "together").iterdir() if (path / "run.json").exists()]
    assert [(r["status"], r["epochs_run"], r["weights_epoch"]) for r in records] == [
        ("interrupted", 2, 2)
    ] * 2


def test_each_listener_hears_of_its_own_run(tmp_path: Path) -> None:
    class Heard(Listener):
        def __init__(self) -> None:
            self.losses: list[float] = []

        def epoch(self, record: EpochRecord) -> None:
            self.losses.append(record.rows[0]["loss"])

    heard = [Heard(), Heard()]
    found = prepared(tmp_path, specs_of(tmp_path, [{"seed": seed} for seed in (0, 1)]), [*heard])
    assert found is not None
    for run, listener in zip(train_stacked(found), heard, strict=True):
        assert run.read_history()["loss"].tolist() == listener.losses


# --- runs of several networks ------------------------------------------------------------------------------

FOLDS: dict[str, Any] = {
    **REGRESSION,
    "preprocessing": {"inputs": ["standardize"]},
    "validation": {"kfold": {"k": 3, "shuffle": True}},
}


def members_alike(mine: RunDirectory, reference: RunDirectory, *, exactly: bool = False) -> None:
    """The same networks by the same names, and records that say the same of them."""
    ours, theirs = (
        run.read_history().drop(columns="seconds").sort_values(["fold", "epoch"], ignore_index=True)
        for run in (mine, reference)
    )
    if exactly:
        assert ours.equals(theirs)
    np.testing.assert_allclose(ours, theirs, rtol=1e-5)
    assert mine.members() == reference.members()
    for member in reference.members():
        assert mine.read_preprocessing(member) == reference.read_preprocessing(member)
        weights, expected = mine.read_weights(member), reference.read_weights(member)
        for name, value in expected.items():
            np.testing.assert_allclose(weights[name], value, rtol=0 if exactly else 1e-4, atol=1e-6)
    records = [record_of(run.path) for run in (mine, reference)]
    for name in ("folds", "baseline", "best_epoch", "epochs_run", "rows", "status", "error", "stopped_early"):
        assert records[0].get(name) == records[1].get(name), name


def test_folds_of_several_runs(tmp_path: Path) -> None:
    """Each run has its own splits, learning rate and strengths; the folds of each their own preprocessing."""
    changes: Changes = [
        {"seed": seed, "optimizer": {"adam": rate}, "layers[0].dense.kernel_regularizer": {"l2": strength}}
        for seed, rate, strength in ((1, 0.1, 0.5), (2, 0.01, 0.0), (1, 0.001, 0.5))
    ]
    specs = specs_of(tmp_path, changes, FOLDS)
    for run, spec in zip(together(tmp_path, specs), specs, strict=True):
        members_alike(run, alone(tmp_path, spec))
        assert record_of(run.path)["networks_at_once"] == 9


@pytest.mark.skipif(cxx_compiler() is None, reason="there is no C++ compiler")
def test_folds_of_several_runs_in_cpp(tmp_path: Path) -> None:
    """To the last bit."""
    specs = specs_of(tmp_path, [{"optimizer": {"rmsprop": rate}} for rate in (0.03, 0.001)], FOLDS)
    for run, spec in zip(together(tmp_path, specs), specs, strict=True):
        members_alike(run, alone(tmp_path, spec), exactly=True)


WIDTHS: dict[str, Any] = {
    **BINARY,
    "preprocessing": {"inputs": "multi_hot"},
    "validation": {"kfold": {"k": 3}},
}


def test_folds_of_different_widths_train_side_by_side_group_by_group(tmp_path: Path) -> None:
    rates: Changes = [{"optimizer": {"rmsprop": rate}} for rate in (0.03, 0.001)]
    specs = specs_of(tmp_path, rates, WIDTHS, arrays=growing_tokens())
    found = prepared(tmp_path, specs)
    assert found is not None
    assert len(found.plan.groups) > 1
    for run, spec in zip(train_stacked(found), specs, strict=True):
        members_alike(run, alone(tmp_path, spec))


LINEAR: dict[str, Any] = {
    **WIDTHS,
    "layers": [{"dense": {"units": 4, "activation": "relu"}}, {"dense": 1}],
    "loss": "mse",
    "metrics": [],
}


def test_of_a_run_that_diverged_no_later_group_trains(tmp_path: Path) -> None:
    rates: Changes = [{"optimizer": {"sgd": rate}} for rate in (0.001, 1e30, 0.01)]
    specs = specs_of(tmp_path, rates, LINEAR, arrays=growing_tokens())
    first, second, third = together(tmp_path, specs)
    members_alike(first, alone(tmp_path, specs[0]))
    members_alike(third, alone(tmp_path, specs[2]))
    with pytest.raises(DivergedError):
        alone(tmp_path, specs[1])
    records = [record_of(path) for path in (tmp_path / "alone").iterdir() if (path / "run.json").exists()]
    (theirs,) = [record for record in records if record["status"] == "diverged"]
    mine = record_of(second.path)
    for key in ("status", "error", "epochs_run", "members", "not_trained"):
        assert mine.get(key) == theirs.get(key), key


def test_each_run_has_its_own_choice_of_folds(tmp_path: Path) -> None:
    specs = specs_of(tmp_path, [{"optimizer": {"rmsprop": rate}} for rate in (0.03, 0.001, 0.01)], FOLDS)
    chosen = [Selection(only_fold=2), Selection(some_folds=(0, 2)), Selection()]
    candidates = [
        Candidate(spec, Settings("sweep", tmp_path / "together", selection=own), Listener())
        for spec, own in zip(specs, chosen, strict=True)
    ]
    runs = train_side_by_side(candidates, load_dataset(specs[0].spec.dataset))
    assert [record_of(run.path)["folds"] for run in runs] == [[2], [0, 2], [0, 1, 2]]
    for run, spec, own in zip(runs, specs, chosen, strict=True):
        assert record_of(run.path)["networks_at_once"] == 6
        members_alike(run, run_experiment(spec, Settings("sweep", tmp_path / "alone", selection=own)))


def test_a_fold_that_diverges_ends_its_run_and_the_others_go_on(tmp_path: Path) -> None:
    specs = specs_of(tmp_path, [{"optimizer": {"sgd": rate}} for rate in (0.001, 1e30, 0.0001)], FOLDS)
    first, second, third = together(tmp_path, specs)
    members_alike(first, alone(tmp_path, specs[0]))
    members_alike(third, alone(tmp_path, specs[2]))
    with pytest.raises(DivergedError):
        alone(tmp_path, specs[1])
    records = [record_of(path) for path in (tmp_path / "alone").iterdir() if (path / "run.json").exists()]
    (theirs,) = [record for record in records if record["status"] == "diverged"]
    mine = record_of(second.path)
    assert "loss of fold 0 " in mine["error"]
    for key in ("status", "error", "epochs_run", "members"):
        assert mine.get(key) == theirs.get(key), key


def test_one_whose_listener_stops_it_goes_and_the_others_go_on(tmp_path: Path) -> None:
    class Stopping(Listener):
        def epoch(self, record: EpochRecord) -> None:
            if record.epoch == 2:
                raise StopTraining("pruned")

    specs = specs_of(tmp_path, [{"optimizer": {"rmsprop": rate}} for rate in (0.03, 0.001)], FOLDS)
    found = prepared(tmp_path, specs, [Stopping(), Listener()])
    assert found is not None
    first, second = train_stacked(found)
    members_alike(second, alone(tmp_path, specs[1]))
    with pytest.raises(StopTraining):
        run_experiment(specs[0], Settings("sweep", tmp_path / "stopped"), Stopping())
    (path,) = [path for path in (tmp_path / "stopped").iterdir() if (path / "run.json").exists()]
    members_alike(first, RunDirectory(path))
    assert record_of(path)["status"] == "interrupted"


# --- which may train together ------------------------------------------------------------------------------

ALIKE: Changes = [
    {"seed": 5},
    {"optimizer": {"rmsprop": 0.1}},
    {"layers[0].dense.kernel_regularizer": "l2"},
    {"layers[1].dense.kernel_regularizer": {"l1": 0.5}},
]
UNLIKE: Changes = [
    {UNITS: 9},
    {"optimizer": "adam"},
    {"optimizer": {"rmsprop": {"rho": 0.5}}},
    {"layers[0].dense.activation": "tanh"},
    {"layers": [{"dense": 1}]},
    {"epochs": 4},
    {"batch_size": 4},
    {"loss": "mae"},
    {"metrics": []},
    {"validation": {"holdout": {"first": 8}}},
    {"preprocessing": {"inputs": "none"}},
    {"early_stopping": {"patience": 1}},
    {"shuffle": False},
    {"learning_rate_schedule": {"step": 2}},
    {"gradient_clip": 1.0},
    {"weight_averaging": "ema"},
    {"weight_averaging": {"ema": 0.9}},
]


@pytest.mark.parametrize("change", ALIKE, ids=json.dumps)
def test_of_one_architecture(change: dict[str, Any], tmp_path: Path) -> None:
    first, second = specs_of(tmp_path, [{}, change])
    assert architecture_of(first.spec) == architecture_of(second.spec)


@pytest.mark.parametrize("change", UNLIKE, ids=json.dumps)
def test_of_another_architecture(change: dict[str, Any], tmp_path: Path) -> None:
    first, second = specs_of(tmp_path, [{}, change])
    assert architecture_of(first.spec) != architecture_of(second.spec)


def test_what_all_have_alike_is_no_number_of_their_own(tmp_path: Path) -> None:
    """So that seeds alone train by the ordinary steps."""
    seeds = prepared(tmp_path, specs_of(tmp_path, [{"seed": seed} for seed in (0, 1)]))
    rates = prepared(tmp_path, specs_of(tmp_path, [{"optimizer": {"rmsprop": rate}} for rate in (0.1, 0.2)]))
    assert seeds is not None
    assert rates is not None
    assert problem_of(seeds).per_replica == {}
    assert list(problem_of(rates).per_replica) == [LEARNING_RATE]


def test_inputs_of_different_widths_train_one_by_one(tmp_path: Path) -> None:
    """Token rows without a limit are as wide as the training rows of each seed need."""
    spec = {
        **BINARY,
        "preprocessing": {"inputs": "multi_hot"},
        "validation": {"holdout": {"fraction": 0.3}},
    }
    specs = specs_of(tmp_path, [{"seed": seed} for seed in range(6)], spec, arrays=growing_tokens())
    assert prepared(tmp_path, specs) is None


def test_what_is_too_large_trains_one_by_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    two = specs_of(tmp_path, [{"seed": seed} for seed in (0, 1)])
    parameters = 3 * 8 + 8 + 8 + 1
    monkeypatch.setattr(nnrun.experiment.running.side_by_side, "MOST_PARAMETERS", 2 * parameters)
    assert prepared(tmp_path, two) is not None
    monkeypatch.setattr(nnrun.experiment.running.side_by_side, "MOST_PARAMETERS", 2 * parameters - 1)
    assert prepared(tmp_path, two) is None


def test_many_rows_of_which_each_run_needs_its_own_copy_train_one_by_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Standardized by training rows that differ from seed to seed."""
    monkeypatch.setattr(nnrun.experiment.running.side_by_side, "MOST_NUMBERS", 2 * 48 * 3 - 1)
    drawn = {"validation": {"holdout": {"fraction": 0.3}}}
    assert prepared(tmp_path, specs_of(tmp_path, [{"seed": seed, **drawn} for seed in (0, 1)])) is None
    assert prepared(tmp_path, specs_of(tmp_path, [{"seed": seed} for seed in (0, 1)])) is not None


@pytest.mark.skipif(cxx_compiler() is None, reason="there is no C++ compiler")
def test_in_cpp_each_computes_what_it_does_alone(tmp_path: Path) -> None:
    """To the last bit."""
    changes: Changes = [{"optimizer": {"rmsprop": {"learning_rate": rate}}} for rate in (0.03, 0.001)]
    specs = specs_of(tmp_path, changes)
    for run, spec in zip(together(tmp_path, specs), specs, strict=True):
        single = alone(tmp_path, spec)
        assert record_of(run.path)["compiled"] is True
        ours, theirs = (r.read_history().drop(columns="seconds") for r in (run, single))
        assert ours.equals(theirs)
        weights, expected = (load_file(r.path / "weights.safetensors") for r in (run, single))
        assert all(np.array_equal(weights[name], expected[name]) for name in expected)
