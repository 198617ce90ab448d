"""Runs of every kind that can be served, with rows to ask them about."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

import nnrun
from nnrun.experiment.serving.requests import Options
from nnrun.records import RunDirectory
from tests.support.port_experiments import arrays_of_ports, table_of_ports, write_arrays, write_columns
from tests.support.small_experiments import BINARY, KFOLD, REGRESSION, growing_tokens, numbers, write_small

TABLE = """
dataset: {csv: {path: people.csv, target: survived, types: {seen: date, job: text}}}
preprocessing: {inputs: [impute, standardize, one_hot, datetime, text: 20]}
layers: [dense: {units: 8, activation: relu}, dense: {units: 1, activation: sigmoid}]
loss: binary_crossentropy
metrics: [accuracy]
epochs: 2
validation: {holdout: {fraction: 0.25}}
"""


def people(rows: int = 60) -> pd.DataFrame:
    rng = np.random.default_rng(0)
    table = pd.DataFrame({"age": rng.integers(1, 80, rows).astype(float)})
    table.loc[rng.random(rows) < 0.2, "age"] = np.nan
    table["sex"] = rng.choice(["female", "male"], rows)
    table["job"] = rng.choice(["baker of bread", "ship's cook", "cook and baker"], rows)
    table["seen"] = pd.date_range("2020-01-01", periods=rows, freq="11D").strftime("%Y-%m-%d")
    table["survived"] = rng.choice(["no", "yes"], rows)
    return table


def values_of(table: pd.DataFrame) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(table.to_json(orient="records"))
    return found


def small(folder: Path, spec: dict[str, Any] = REGRESSION, **changes: Any) -> Path:
    return write_small(folder, spec, **changes)


def of_table(folder: Path) -> Path:
    people().to_csv(folder / "people.csv", index=False)
    (folder / "table.yaml").write_text(TABLE)
    return folder / "table.yaml"


def images() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    shown = rng.integers(0, 255, (60, 6, 6)).astype(np.uint8)
    return {
        "x_train": shown[:48],
        "y_train": np.arange(48) % 3,
        "x_test": shown[48:],
        "y_test": np.arange(12) % 3,
    }


CONVOLUTION: dict[str, Any] = {
    "preprocessing": {"inputs": "rescale"},
    "layers": [
        {"conv2d": {"filters": 4, "kernel_size": 3, "activation": "relu"}},
        "flatten",
        {"dense": {"units": 3, "activation": "softmax"}},
    ],
    "loss": "sparse_categorical_crossentropy",
    "metrics": ["accuracy"],
}

PLAIN = Options()


@dataclass(frozen=True)
class Case:
    spec: Callable[[Path], Path]
    rows: Callable[[], list[Any]]
    options: Options = PLAIN


def number_rows() -> list[Any]:
    return numbers()["x_test"].tolist()


def port_rows() -> list[Any]:
    arrays = arrays_of_ports()
    return [
        {"size": size, "place": place}
        for size, place in zip(arrays["size_test"].tolist(), arrays["where_test"].tolist(), strict=True)
    ]


CASES = {
    "numbers": Case(small, number_rows),
    "folds": Case(lambda folder: small(folder, validation=KFOLD), number_rows),
    "interval": Case(lambda folder: small(folder, validation=KFOLD), number_rows, Options(interval=0.8)),
    "yes_or_no": Case(lambda folder: small(folder, BINARY), number_rows, Options(probabilities=True)),
    "calibrated": Case(
        lambda folder: small(
            folder, BINARY, validation=KFOLD, calibrate="temperature", threshold={"maximize": "f1"}
        ),
        number_rows,
        Options(probabilities=True),
    ),
    "ensemble": Case(lambda folder: small(folder, ensemble={"members": 3}), number_rows),
    "table": Case(of_table, lambda: values_of(people(40)), Options(probabilities=True)),
    "tokens": Case(
        lambda folder: small(
            folder,
            BINARY,
            arrays=growing_tokens(),
            preprocessing={"inputs": "multi_hot"},
            validation={"holdout": {"first": 8}},
        ),
        lambda: growing_tokens()["x_train"].tolist(),
    ),
    "images": Case(
        lambda folder: small(folder, arrays=images(), **CONVOLUTION),
        lambda: images()["x_test"].tolist(),
        Options(probabilities=True),
    ),
    "arrays_of_ports": Case(write_arrays, port_rows, Options(probabilities=True)),
    "columns_of_ports": Case(write_columns, lambda: values_of(table_of_ports())),
}


def trained(spec: Path, folder: Path) -> RunDirectory:
    return RunDirectory(nnrun.train(spec, runs_dir=folder / "runs").path)
