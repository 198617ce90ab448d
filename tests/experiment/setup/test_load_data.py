"""Targets that a loss cannot compare with are refused once the data are known; all other forms are taken."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

import nnrun
from nnrun.data import Dataset, Samples
from nnrun.data.load_data import load_data
from nnrun.data.suitable_targets import refuse_unknown_classes, refuse_unsuitable_targets
from nnrun.data.table import CategoryColumn, NumberColumn, Table, TextColumn
from nnrun.errors import DataError, UsageError
from nnrun.experiment.evaluating.compare import compare_runs
from nnrun.experiment.evaluating.evaluate import evaluate_run
from nnrun.experiment.running.final import final_of_run
from nnrun.experiment.running.job import Settings
from nnrun.experiment.running.reproduce import reproduce_run
from nnrun.experiment.running.train import run_experiment
from nnrun.experiment.setup.folds import folds_of, load_for_kfold, smoke_spec
from nnrun.experiment.setup.groups import EVERYTHING, Selection, prepare_groups
from nnrun.records import RunDirectory
from nnrun.spec import schema
from nnrun.spec.reading.load import load_spec
from tests.support.small_experiments import (
    BINARY,
    REGRESSION,
    numbers,
    record_of,
    spec_text,
    without_seconds,
    write_small,
)

X = np.random.default_rng(0).normal(size=(12, 3))
ONE = {"dense": {"units": 1, "activation": "sigmoid"}}
THREE = {"dense": {"units": 3, "activation": "softmax"}}
CLASSES = np.arange(12) % 3
NAMES = np.array(["ant", "bee", "cow"])[CLASSES]


def write(folder: Path, y: np.ndarray, last: Any, loss: str, targets: str | None = None) -> Path:
    np.savez(folder / "data.npz", x_train=X, y_train=y)
    spec: dict[str, Any] = {"dataset": {"npz": "data.npz"}, "layers": [last], "loss": loss}
    if targets:
        spec["preprocessing"] = {"targets": targets}
    path = folder / "spec.yaml"
    path.write_text(yaml.safe_dump(spec))
    return path


OUTSIDE = "but binary_crossentropy expects values from 0 to 1."
SEVERAL = (
    "For several classes use sparse_categorical_crossentropy with one softmax unit for each; for a number to "
    "predict use mse."
)


@pytest.mark.parametrize(
    ("y", "last", "loss", "sentence"),
    [
        (
            np.where(np.arange(12) % 2, 1, -1),
            ONE,
            "binary_crossentropy",
            f"Row 0 of the training rows has the target -1, {OUTSIDE} Write the two classes as 0 and 1.",
        ),
        (
            CLASSES,
            ONE,
            "binary_crossentropy",
            f"Row 2 of the training rows has the target 2, {OUTSIDE} {SEVERAL}",
        ),
        (
            X[:, :3].round(1),
            THREE,
            "categorical_crossentropy",
            "Row 0 of the training rows has targets from -0.1 to 0.6 that sum to 0.6, but "
            "categorical_crossentropy expects shares: none negative, summing to 1. For several labels per "
            "row use binary_crossentropy with sigmoid units; for numbers to predict use mse.",
        ),
        (
            NAMES,
            ONE,
            "binary_crossentropy",
            "The data do not match the spec: binary_crossentropy is for two classes, and data.npz has 3; use "
            "categorical_crossentropy with 3 softmax units.",
        ),
        (
            np.where(np.arange(12) % 2, 1, -1),
            {"dense": 1},
            "hinge",
            "Row 0 of the training rows has the target -1, but hinge expects values from 0 to 1. Write the "
            "two classes as 0 and 1.",
        ),
        (
            np.arange(12) - 5,
            {"dense": {"units": 1, "activation": "exponential"}},
            "poisson",
            "Row 0 of the training rows has the target -5, but poisson is for numbers of 0 and more. Use "
            "mse, mae or huber.",
        ),
    ],
    ids=["minus one", "three classes", "no shares", "three names", "hinge of minus one", "negative count"],
)
def test_targets_that_do_not_suit_are_refused(
    y: np.ndarray, last: Any, loss: str, sentence: str, tmp_path: Path
) -> None:
    with pytest.raises(DataError) as caught:
        nnrun.train(write(tmp_path, y, last, loss), runs_dir=tmp_path / "runs")
    assert str(caught.value) == sentence
    assert not (tmp_path / "runs").exists()


def test_names_are_no_numbers_to_predict(tmp_path: Path) -> None:
    path = write(tmp_path, X[:, 0].round(1).astype(str), {"dense": 1}, "mse")
    with pytest.raises(DataError, match=r"^The data do not match the spec: .*classes.*\.$"):
        nnrun.train(path, runs_dir=tmp_path / "runs")


@pytest.mark.parametrize(
    ("y", "loss", "targets"),
    [
        (CLASSES, "sparse_categorical_crossentropy", "none"),
        (CLASSES, "sparse_categorical_crossentropy", "class_index"),
        (NAMES, "sparse_categorical_crossentropy", None),
        (NAMES, "sparse_categorical_crossentropy", "none"),
        (CLASSES, "categorical_crossentropy", None),
        (np.eye(3)[CLASSES], "categorical_crossentropy", None),
        (np.eye(3)[CLASSES], "categorical_crossentropy", "none"),
    ],
)
def test_every_form_of_the_same_classes_trains_the_same(
    y: np.ndarray, loss: str, targets: str | None, tmp_path: Path
) -> None:
    run = nnrun.train(write(tmp_path, y, THREE, loss, targets), runs_dir=tmp_path / "runs")
    reference = tmp_path / "reference"
    reference.mkdir()
    plain = write(reference, CLASSES, THREE, "sparse_categorical_crossentropy")
    expected = nnrun.train(plain, runs_dir=tmp_path / "runs").history["loss"]
    np.testing.assert_allclose(run.history["loss"], expected, rtol=1e-6)


def test_one_unit_takes_class_indices_as_they_are(tmp_path: Path) -> None:
    path = write(tmp_path, np.arange(12) % 2, ONE, "binary_crossentropy", "class_index")
    assert nnrun.train(path, runs_dir=tmp_path / "runs").status == "completed"


# --- files of rows: what their numbers are is known by the loss ---------------------------------------------


def read_as(folder: Path, targets: list[Any], units: int, loss: str, **dataset: Any) -> Dataset:
    rows = "".join(f"{i},{target}\n" for i, target in enumerate(targets))
    (folder / "data.csv").write_text(f"a,y\n{rows}")
    last = {"dense": {"units": units, "activation": "sigmoid" if units == 1 else "softmax"}}
    spec = {
        "dataset": {"csv": {"path": "data.csv", "target": "y", **dataset}},
        "layers": [last],
        "loss": loss,
    }
    path = folder / "spec.yaml"
    path.write_text(yaml.safe_dump(spec))
    loaded = load_spec(path).spec
    data = load_data(loaded)
    refuse_unsuitable_targets(loaded, data, loaded.preprocessing.targets)
    return data


@pytest.mark.parametrize(
    ("numbers", "units", "loss", "labels", "names"),
    [
        ([1, 2, 3, 2], 3, "sparse_categorical_crossentropy", [0, 1, 2, 1], ("1", "2", "3")),
        ([9, 3, 5, 3], 3, "categorical_crossentropy", [2, 0, 1, 0], ("3", "5", "9")),
        ([-1, 1, 1, -1], 1, "binary_crossentropy", [0, 1, 1, 0], ("-1", "1")),
        ([10, 2, 10, 2], 2, "sparse_categorical_crossentropy", [1, 0, 1, 0], ("2", "10")),
        ([0, 1, 2, 1], 3, "sparse_categorical_crossentropy", [0, 1, 2, 1], None),
        ([1, 2, 3, 2], 4, "sparse_categorical_crossentropy", [1, 2, 3, 2], None),
        ([0, 1, 1, 0], 1, "binary_crossentropy", [0, 1, 1, 0], None),
        ([1, 2, 3, 2], 1, "mse", [1, 2, 3, 2], None),
    ],
)
def test_whole_numbers_become_classes_where_they_are_no_labels(
    tmp_path: Path, numbers: list[int], units: int, loss: str, labels: list[int], names: Any
) -> None:
    dataset = read_as(tmp_path, numbers, units, loss)
    assert (dataset.train.targets.tolist(), dataset.class_names) == (labels, names)
    assert names is None or dataset.classes == len(names)


def test_the_test_set_has_the_same_labels(tmp_path: Path) -> None:
    numbers = [7, 5] * 5
    dataset = read_as(tmp_path, numbers, 1, "binary_crossentropy", test={"fraction": 0.2, "shuffle": False})
    assert dataset.test is not None
    assert dataset.test.targets.tolist() == [1, 0]
    assert dataset.class_names == ("5", "7")


@pytest.mark.parametrize(
    ("targets", "units", "loss", "said"),
    [
        (
            ["a", "b", "c", "a"],
            1,
            "binary_crossentropy",
            "binary_crossentropy is for two classes, and data.csv has 3",
        ),
        (["a", "b", "c", "a"], 4, "sparse_categorical_crossentropy", "units must be 3; found 4"),
        ([1, 2, 5, 9], 3, "sparse_categorical_crossentropy", "units must be 4; found 3"),
        (
            [0.5, 1, 2, 3],
            3,
            "sparse_categorical_crossentropy",
            "is for classes, and data.csv has a number to predict",
        ),
    ],
)
def test_what_the_file_turns_out_to_hold_is_checked_against_the_spec(
    tmp_path: Path, targets: list[Any], units: int, loss: str, said: str
) -> None:
    with pytest.raises(DataError) as caught:
        read_as(tmp_path, targets, units, loss)
    assert str(caught.value).startswith("The data do not match the spec: ")
    assert said in str(caught.value)


def test_a_class_that_only_rows_that_validate_have(tmp_path: Path) -> None:
    dataset = read_as(tmp_path, ["a", "b", "a", "b", "c", "c"], 3, "sparse_categorical_crossentropy")
    spec = load_spec(tmp_path / "spec.yaml").spec
    refuse_unknown_classes(spec, dataset, np.arange(5), np.array([5]))
    refuse_unknown_classes(spec, dataset, np.arange(6), np.array([], np.int64))
    with pytest.raises(DataError) as caught:
        refuse_unknown_classes(spec, dataset, np.arange(4), np.array([4, 5]))
    assert str(caught.value) == (
        "Only validation rows have the class 'c' (2 rows, the first is line 6 of the file), so no network "
        "can learn it. Shuffle the rows (shuffle: true), stratify (stratify: true), or remove the class."
    )


def test_targets_that_float32_cannot_tell_apart(tmp_path: Path) -> None:
    """Rounded to multiples of 64 they would all be the same, with a baseline that is perfect."""
    path = write(tmp_path, 1e9 + X[:, 0], {"dense": 1}, "mse")
    with pytest.raises(DataError, match="rounds numbers of this size to multiples of 64: most of what"):
        nnrun.train(path, overrides={"epochs": 1}, runs_dir=tmp_path / "runs")
    fits = {"epochs": 1, "preprocessing.targets": "standardize"}
    baseline = nnrun.train(path, overrides=fits, runs_dir=tmp_path / "runs").baseline
    assert baseline["loss"] == pytest.approx(1.0)


@pytest.mark.parametrize("mean", [0.0, 1e6])
def test_scores_are_of_the_targets_before_they_are_rounded(mean: float, tmp_path: Path) -> None:
    """Around 1e6 float32 keeps multiples of 0.0625."""
    y = mean + X[:, 0]
    path = write(tmp_path, y, {"dense": 1}, "mse")
    changes = {"epochs": 1, "metrics": ["mae", "r2"]}
    baseline = nnrun.train(path, overrides=changes, runs_dir=tmp_path / "runs").baseline
    assert baseline["mae"] == pytest.approx(np.abs(y - np.median(y)).mean(), rel=1e-6)
    assert baseline["r2"] == pytest.approx(0, abs=1e-9)


SPECS = sorted(path.name for path in (Path(__file__).parents[3] / "specs").glob("*.yaml"))


@pytest.mark.parametrize(
    ("validation", "changed"),
    [
        ({"holdout": {"first": 10_000}}, {"holdout": {"first": 64}}),
        ({"holdout": {"first": 63}}, {"holdout": {"first": 63}}),
        ({"holdout": {"fraction": 0.3}}, {"holdout": {"fraction": 0.3}}),
        ({"kfold": {"k": 100, "shuffle": True}}, {"kfold": {"k": 64, "shuffle": True}}),
        ({"kfold": {"k": 4}}, {"kfold": {"k": 4}}),
        ("none", "none"),
    ],
)
def test_validation_shrinks_to_what_256_rows_can_bear(validation: Any, changed: Any) -> None:
    found = smoke_spec(spec_text(validation=validation, epochs=500).spec)
    assert found == spec_text(validation=changed, epochs=2).spec


def test_an_epoch_stays_one_epoch() -> None:
    spec = spec_text(epochs=1).spec
    assert smoke_spec(spec) == spec


@pytest.mark.parametrize("name", SPECS)
def test_the_generated_rows_suit_every_spec_of_the_book(name: str, specs_dir: Path) -> None:
    spec = smoke_spec(load_spec(specs_dir / name).spec)
    dataset = load_data(spec, smoke=True)
    groups = prepare_groups(spec, dataset)
    folds = [fold for group in groups for fold in group.folds]
    assert all(len(fold.train_rows) + len(fold.validation_rows) == 256 for fold in folds)
    assert all(len(fold.validation_rows) > 0 for fold in folds)
    assert len(folds) == (spec.validation.k if isinstance(spec.validation, schema.KFold) else 1)


SITES = CategoryColumn("site", np.array([0, 0, 1, 1, 2, 2], np.int32), ("a", "b", "c"))
YEARS = NumberColumn("year", np.array([3.0, 1, 2, 1, 3, 2]))
DAYS = TextColumn("day", np.array([f"2026-01-0{day}" for day in (6, 5, 4, 3, 2, 1)], object))


def dataset(split_columns: Table | None = None, groups: np.ndarray | None = None, **changes: Any) -> Dataset:
    train = Samples(
        np.zeros((6, 3)), np.array([0, 0, 1, 1, 1, 0]), groups=groups, split_columns=split_columns
    )
    given: dict[str, Any] = {"name": "small", "train": train, "test": None, "sources": (), "task": "binary"}
    return Dataset(**(given | changes))


def validated(validation: dict[str, Any], data: Dataset) -> list[list[int]]:
    spec = spec_text(CSV, validation=validation).spec
    return [fold.validation_rows.tolist() for fold in folds_of(spec, data, 0)]


CSV = BINARY | {"dataset": {"csv": {"path": "small.csv", "target": "y"}}, "preprocessing": {}}
ASIDE = Table((SITES, YEARS, DAYS), 6)


def test_each_kind_of_column_splits() -> None:
    data = dataset(ASIDE)
    assert validated({"holdout": {"column": "site", "value": "b"}}, data) == [[2, 3]]
    assert validated({"holdout": {"column": "year", "value": 3}}, data) == [[0, 4]]
    assert validated({"time_series": {"k": 2, "column": "year"}}, data) == [[2, 5], [0, 4]]
    assert validated({"time_series": {"k": 2, "column": "day"}}, data) == [[2, 3], [0, 1]]
    assert sorted(validated({"kfold": {"k": 3, "group": "site"}}, data)) == [[0, 1], [2, 3], [4, 5]]


def test_a_group_of_the_folds_stands_before_that_of_the_data() -> None:
    data = dataset(ASIDE, groups=np.array([0, 1, 2, 0, 1, 2]))
    assert sorted(validated({"kfold": 3}, data)) == [[0, 3], [1, 4], [2, 5]]
    assert sorted(validated({"kfold": {"k": 3, "group": "site"}}, data)) == [[0, 1], [2, 3], [4, 5]]


def test_an_input_can_be_split_by() -> None:
    data = dataset()
    inputs = Samples(ASIDE, data.train.targets)
    assert validated({"holdout": {"column": "year", "value": 3}}, dataset(train=inputs)) == [[0, 4]]


def test_a_row_without_a_group_is_refused() -> None:
    some = CategoryColumn("site", np.array([0, 0, -1, 1, 1, 1], np.int32), ("a", "b"))
    with pytest.raises(DataError) as caught:
        validated({"kfold": {"k": 2, "group": "site"}}, dataset(Table((some,), 6)))
    assert str(caught.value) == (
        "validation.kfold.group: column 'site' has no value in training row 2 (from 0), and each row needs a "
        "group. Leave out such rows, or name another column."
    )


def test_numbers_to_predict_are_no_classes() -> None:
    data = dataset(train=Samples(np.zeros((6, 3)), np.arange(6)), task=None)
    spec = spec_text(REGRESSION, validation={"kfold": 3}).spec
    assert len(folds_of(spec, data, 0)) == 3


# --- a time series from training to the test set -----------------------------------------------------------


def train(folder: Path, selection: Selection = EVERYTHING, **changes: Any) -> RunDirectory:
    spec = REGRESSION | {"validation": {"time_series": 3}, "batch_size": 5}
    loaded = load_spec(write_small(folder, spec, numbers(49), **changes))
    return run_experiment(loaded, Settings("train", folder / "runs", selection=selection))


def test_folds_of_a_time_series_train_together_as_alone(tmp_path: Path) -> None:
    run = train(tmp_path)
    assert [str(member) for member in run.members()] == ["fold 0", "fold 1", "fold 2"]
    assert record_of(run.path)["folds"] == [0, 1, 2]
    together = without_seconds(run.path).splitlines()
    alone = [
        line for i in range(3) for line in without_seconds(train(tmp_path, Selection(i)).path).splitlines()
    ]
    assert sorted(together[1:]) == sorted(line for line in alone if line[:1].isdigit())
    assert (run.path / "history_mean.csv").is_file()


def test_what_follows_a_time_series(tmp_path: Path) -> None:
    run = train(tmp_path)
    scored = evaluate_run(run, split="validation")
    assert scored.analysis is not None
    assert scored.analysis.rows == 36  # 13 of 49 rows are never validated
    assert scored.combination == "out_of_fold"
    assert reproduce_run(run, runs_dir=tmp_path / "runs").identical
    final = final_of_run(run, Settings("final", tmp_path / "runs"))
    record = record_of(final.path)
    assert record["rows"]["train"] == 49
    assert record["chosen_from"]["smoothed"] is True
    assert record["test"]


def test_a_time_series_is_compared_without_a_test(tmp_path: Path) -> None:
    first, second = train(tmp_path), train(tmp_path, optimizer="adam")
    comparison = compare_runs([first, second])
    (loss, _) = comparison.runs[1].against_first
    assert loss.difference is not None
    assert loss.test is None
    assert (
        "Not tested: each fold of a time series trains on the validation rows of earlier folds, and no "
        "known test accounts for that." in comparison.notes()
    )


def test_seeds_and_repeats_do_not_go_with_a_time_series(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="this spec declares time_series"):
        train(tmp_path, Selection(seeds=2))
    path = tmp_path / "small.yaml"
    assert load_for_kfold(path).spec.validation == load_spec(path).spec.validation
    assert (
        load_for_kfold(path, k=2, repeats=1).spec.validation
        == load_spec(path, {"validation.time_series.k": 2}).spec.validation
    )
    with pytest.raises(UsageError, match="declares time_series, and time has one order"):
        load_for_kfold(path, repeats=2)
