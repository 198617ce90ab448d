"""Targets that a loss cannot compare with are refused once the data are known; all other forms are taken."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

import nnrun
from nnrun.data import Dataset
from nnrun.data.dataset import output_data
from nnrun.data.load_data import load_data
from nnrun.data.suitable_targets import refuse_unsuitable_fold, refuse_unsuitable_targets
from nnrun.errors import DataError
from nnrun.spec.reading.load import load_spec

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
    outputs = output_data(spec, dataset)
    refuse_unsuitable_fold(outputs, 0, np.arange(5), np.array([5]))
    refuse_unsuitable_fold(outputs, 0, np.arange(6), np.array([], np.int64))
    with pytest.raises(DataError) as caught:
        refuse_unsuitable_fold(outputs, 0, np.arange(4), np.array([4, 5]))
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
