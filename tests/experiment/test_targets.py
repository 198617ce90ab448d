"""Targets that a loss cannot compare with are refused once the data are known; all other forms are taken."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

import nnrun
from nnrun.errors import DataError

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


BINARY = "but binary_crossentropy compares with values from 0 to 1."
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
            f"Row 0 of the training rows has the target -1, {BINARY} Write the two classes as 0 and 1.",
        ),
        (
            CLASSES,
            ONE,
            "binary_crossentropy",
            f"Row 2 of the training rows has the target 2, {BINARY} {SEVERAL}",
        ),
        (
            X[:, :3].round(1),
            THREE,
            "categorical_crossentropy",
            "Row 0 of the training rows has targets from -0.1 to 0.6 that sum to 0.6, but "
            "categorical_crossentropy compares with shares: none negative, their sum 1. For several labels a "
            "row use binary_crossentropy with sigmoid units; for numbers to predict use mse.",
        ),
        (
            NAMES,
            ONE,
            "binary_crossentropy",
            "The data do not suit the spec: binary_crossentropy is for two classes, and npz has 3; use "
            "categorical_crossentropy with 3 softmax units.",
        ),
    ],
    ids=["minus one", "three classes", "no shares", "three names"],
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
    with pytest.raises(DataError, match=r"^The data do not suit the spec: .*classes.*\.$"):
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
