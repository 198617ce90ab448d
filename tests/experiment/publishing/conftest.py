"""Runs to publish: folds of a table with categories, and one network of an array."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import nnrun
from tests.support.small_experiments import write_small

TABLE = """
dataset: {csv: {path: flats.csv, target: district}}
preprocessing: {inputs: [{impute: {columns: [area]}}, standardize, one_hot], targets: class_index}
layers: [dense: {units: 8, activation: relu}, dense: {units: 3, activation: softmax}]
loss: sparse_categorical_crossentropy
metrics: [accuracy]
epochs: 3
batch_size: 16
validation: {kfold: 2}
description: Which district a flat is in.
"""


def flats(rows: int = 60) -> pd.DataFrame:
    rng = np.random.default_rng(0)
    rooms = rng.integers(1, 6, rows)
    table = pd.DataFrame(
        {
            "rooms": rooms,
            "area": (rooms * 22 + rng.normal(0, 8, rows)).round(1),
            "heating": rng.choice(["gas", "oil", "wood"], rows),
            "district": np.array(["north", "south", "west"])[(rooms + rng.integers(0, 2, rows)) % 3],
        }
    )
    table.loc[::9, "area"] = np.nan
    return table


@pytest.fixture(scope="module")
def folds(tmp_path_factory: pytest.TempPathFactory) -> nnrun.Run:
    folder = tmp_path_factory.mktemp("folds")
    flats().to_csv(folder / "flats.csv", index=False)
    (folder / "flats.yaml").write_text(TABLE)
    return nnrun.kfold(folder / "flats.yaml", runs_dir=folder / "runs")


@pytest.fixture(scope="module")
def single(tmp_path_factory: pytest.TempPathFactory) -> nnrun.Run:
    folder = tmp_path_factory.mktemp("single")
    return nnrun.train(write_small(folder), runs_dir=folder / "runs")


@pytest.fixture
def rows() -> pd.DataFrame:
    return flats().head(7).drop(columns="district")


def record_file(run: nnrun.Run) -> Path:
    return run.path / "run.json"


def folders_told(run: nnrun.Run, *published: Path) -> list[Path]:
    """The files below these folders that name the folder in which the run's data lie."""
    folder = str(run.path.parents[1]).encode()
    files = [file for place in published for file in place.rglob("*") if file.is_file()]
    assert files
    return [file for file in files if folder in file.read_bytes()]
