"""Files with several targets, with texts as words, and with folds of unequal size: by name, throughout."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import nnrun
from nnrun.errors import DataError, SpecError

INPUTS = ["x1", "x2", "colour"]
LAYERS: list[Any] = [{"dense": {"units": 4, "activation": "relu"}}]


def write(folder: Path, name: str, **spec: Any) -> Path:
    """A table of 60 rows, and a spec over it."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(60, 2))
    with (folder / "mine.csv").open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["x1", "x2", "colour", "left", "right", "width", "height", "day", "words"])
        for i, (a, b) in enumerate(x):
            colour = ("red", "blue")[i % 2]
            words = f"a {colour} thing of {'many' if a > 0 else 'few'} words"
            rows.writerow([a, b, colour, int(a > 0), int(b > 0), 2 * a, a - b, i, words])
    path = folder / f"{name}.yaml"
    common: dict[str, Any] = {"epochs": 2, "batch_size": 8, "validation": {"holdout": {"fraction": 0.2}}}
    path.write_text("".join(f"{key}: {json.dumps(value)}\n" for key, value in (common | spec).items()))
    return path


def of(target: Any, inputs: list[str] = INPUTS) -> dict[str, Any]:
    return {"csv": {"path": "mine.csv", "target": target, "inputs": inputs}}


def test_several_numbers_are_predicted_by_the_names_of_their_columns(tmp_path: Path) -> None:
    spec = {"dataset": of(["width", "height"]), "preprocessing": {"targets": "standardize"}, "loss": "mse"}
    path = write(tmp_path, "numbers", **spec, layers=[*LAYERS, {"dense": 2}])
    run = nnrun.train(path, runs_dir=tmp_path / "runs")
    found = nnrun.predict(run, pd.read_csv(tmp_path / "mine.csv"))
    assert list(found.columns) == ["prediction_width", "prediction_height"]
    assert len(found) == 60


def test_as_many_units_as_numbers_to_predict(tmp_path: Path) -> None:
    wrong = write(
        tmp_path, "wrong", dataset=of(["width", "height"]), layers=[*LAYERS, {"dense": 3}], loss="mse"
    )
    with pytest.raises(DataError, match="2 numbers to predict: units must be 2 in the last layer; found 3"):
        nnrun.train(wrong, runs_dir=tmp_path / "runs")


def test_several_labels_are_called_as_their_columns(tmp_path: Path) -> None:
    layers = [*LAYERS, {"dense": {"units": 2, "activation": "sigmoid"}}]
    path = write(
        tmp_path,
        "labels",
        dataset=of(["left", "right"]),
        layers=layers,
        loss="binary_crossentropy",
        optimizer={"adam": 0.1},
        epochs=20,
    )
    run = nnrun.train(path, runs_dir=tmp_path / "runs")
    found = nnrun.predict(run, pd.read_csv(tmp_path / "mine.csv"))
    assert list(found.columns) == ["prediction", "probability_left", "probability_right"]
    for _, row in found.iterrows():
        said = [name for name in ("left", "right") if row[f"probability_{name}"] > 0.5]
        assert row["prediction"] == ";".join(said)
    assert {"left", "right"} <= set(found["prediction"])


def test_texts_of_a_file_reach_an_embedding(tmp_path: Path) -> None:
    layers = [{"embedding": 4}, "global_average_pooling", {"dense": {"units": 1, "activation": "sigmoid"}}]
    dataset = of("left", ["words"])
    dataset["csv"]["types"] = {"words": "text"}
    spec = {"dataset": dataset, "layers": layers, "loss": "binary_crossentropy"}
    steps = [{"tokens": {"num_words": 20, "column": "words"}}, {"pad": 8}]
    run = nnrun.train(
        write(tmp_path, "texts", **spec, preprocessing={"inputs": steps}), runs_dir=tmp_path / "runs"
    )
    assert len(nnrun.predict(run, ["a red thing of few words", "many"])) == 2
    without = write(tmp_path, "without", **spec)
    with pytest.raises(SpecError, match=r"\w\.csv is a table; put before it tokens and pad"):
        nnrun.train(without, runs_dir=tmp_path / "runs")


def test_folds_of_different_sizes_are_told_as_a_range(tmp_path: Path) -> None:
    path = write(
        tmp_path,
        "times",
        dataset=of("width"),
        layers=[*LAYERS, {"dense": 1}],
        loss="mse",
        validation={"time_series": {"k": 3, "column": "day"}},
    )
    run = nnrun.train(path, runs_dir=tmp_path / "runs")
    rows = run.record["rows"]
    assert rows["ranges"] == {"train": [15, 45]}
    assert (rows["train"], rows["validation"]) == (15, 15)
