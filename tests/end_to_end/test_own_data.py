"""Real tables and texts as a person would give them: each trains, beats its baseline, and repeats."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

import nnrun

RELU = {"dense": {"units": 16, "activation": "relu"}}
SIGMOID = {"dense": {"units": 1, "activation": "sigmoid"}}


def softmax(units: int) -> dict[str, Any]:
    return {"dense": {"units": units, "activation": "softmax"}}


# name → (spec, the measure, its least or greatest value on the rows that validate)
SPECS: dict[str, tuple[dict[str, Any], str, float]] = {
    "penguins": (
        {
            "dataset": {
                "csv": {
                    "path": "tables/penguins.csv",
                    "target": "species",
                    "test": {"fraction": 0.2, "stratify": True},
                    "drop_missing": True,
                }
            },
            "preprocessing": {"inputs": ["standardize", "one_hot"]},
            "layers": [RELU, softmax(3)],
            "loss": "categorical_crossentropy",
            "optimizer": "adam",
            "metrics": ["accuracy"],
            "epochs": 30,
            "validation": {"holdout": {"fraction": 0.2, "stratify": True}},
        },
        "val_accuracy",
        0.9,
    ),
    "titanic": (
        {
            "dataset": {
                "csv": {
                    "path": "tables/titanic.csv",
                    "target": "survived",
                    "inputs": ["pclass", "sex", "age", "fare", "embarked"],
                    "types": {"pclass": "category"},
                }
            },
            "preprocessing": {"inputs": ["impute", "standardize", "one_hot"]},
            "layers": [RELU, SIGMOID],
            "loss": "binary_crossentropy",
            "optimizer": "adam",
            "metrics": ["accuracy"],
            "epochs": 20,
            "validation": {"holdout": {"fraction": 0.2}},
        },
        "val_accuracy",
        0.75,
    ),
    "mpg": (
        {
            "dataset": {
                "csv": {
                    "path": "tables/mpg.csv",
                    "target": "mpg",
                    "inputs": ["cylinders", "displacement", "horsepower", "weight", "model_year", "origin"],
                    "test": {"fraction": 0.2},
                }
            },
            "preprocessing": {"inputs": ["impute", "standardize", "one_hot"], "targets": "standardize"},
            "layers": [RELU, {"dense": 1}],
            "loss": "mse",
            "metrics": ["mae"],
            "epochs": 40,
            "validation": {"holdout": {"fraction": 0.2}},
        },
        "val_mae",
        3.0,
    ),
    "wires": (
        {
            "dataset": {"csv": {"path": "text/reuters.csv", "target": "topic", "inputs": "text"}},
            "preprocessing": {"inputs": {"text": {"num_words": 5000}}},
            "layers": [{"dense": {"units": 64, "activation": "relu"}}, softmax(45)],
            "loss": "sparse_categorical_crossentropy",
            "metrics": ["accuracy"],
            "epochs": 4,
            "batch_size": 256,
            "validation": {"holdout": {"fraction": 0.1}},
        },
        "val_accuracy",
        0.75,
    ),
    "reviews": (
        {
            "dataset": {"text_folder": "text/aclImdb-sample"},
            "preprocessing": {"inputs": {"text": {"num_words": 5000}}},
            "layers": [RELU, SIGMOID],
            "loss": "binary_crossentropy",
            "metrics": ["accuracy"],
            "epochs": 4,
            "batch_size": 64,
            "validation": {"holdout": {"fraction": 0.2}},
        },
        "val_accuracy",
        0.75,
    ),
}


def write(name: str, folder: Path, data_dir: Path) -> Path:
    spec = json.loads(json.dumps(SPECS[name][0]))
    ((kind, keys),) = spec["dataset"].items()
    if isinstance(keys, str):
        spec["dataset"][kind] = str(data_dir / keys)
    else:
        keys["path"] = str(data_dir / keys["path"])
    path = folder / f"{name}.yaml"
    path.write_text(yaml.safe_dump(spec))
    return path


@pytest.mark.parametrize("name", SPECS)
def test_it_learns(name: str, tmp_path: Path, data_dir: Path) -> None:
    _, measure, bound = SPECS[name]
    run = nnrun.train(write(name, tmp_path, data_dir), runs_dir=tmp_path / "runs")
    best = run.record["best"][measure]
    assert best <= bound if measure == "val_mae" else best >= bound
    (data, *_) = run.record["data"]
    assert len(data["sha256"]) == 64


def test_the_test_set_and_a_second_run_are_the_same(tmp_path: Path, data_dir: Path) -> None:
    spec = write("penguins", tmp_path, data_dir)
    first, second = (nnrun.train(spec, runs_dir=tmp_path / "runs") for _ in range(2))
    histories = [(tmp_path / "runs" / run.id / "history.csv").read_text() for run in (first, second)]
    assert [line.rsplit(",", 1)[0] for line in histories[0].split("\n")] == [
        line.rsplit(",", 1)[0] for line in histories[1].split("\n")
    ]
    final = nnrun.final(first, runs_dir=tmp_path / "runs")
    assert final.record["test"]["accuracy"] > 0.9


@pytest.mark.parametrize("name", SPECS)
def test_a_smoke_run(name: str, tmp_path: Path, data_dir: Path) -> None:
    run = nnrun.train(write(name, tmp_path, data_dir), runs_dir=tmp_path / "runs", smoke=True)
    assert (run.record["status"], run.record["smoke"]) == ("completed", True)
