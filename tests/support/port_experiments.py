"""Small experiments of named inputs and outputs: arrays of an npz, and columns of a table."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

import nnrun

ARRAYS = """
dataset: {npz: {path: data.npz}}
inputs:
  size: {preprocessing: standardize}
  place: {array: where}
layers:
  trunk: [concatenate: [size, place], dense: {units: 8, activation: relu}]
  price: [from: trunk, dense: 1]
  kind: [from: trunk, dense: {units: 3, activation: softmax}]
outputs:
  price: {loss: mse, preprocessing: standardize, metrics: [mae]}
  kind: {loss: sparse_categorical_crossentropy, target: sort, metrics: [accuracy]}
optimizer: {adam: 0.01}
epochs: 3
batch_size: 16
validation: {holdout: {fraction: 0.25}}
"""
"""Two arrays in; a number and one of three classes out."""

COLUMNS = """
dataset: {csv: {path: rows.csv, test: {column: part, value: t}, drop_missing_target: true}}
inputs:
  numbers: {columns: [a, b], preprocessing: standardize}
  words: {columns: [kind, a]}
layers:
  trunk: [concatenate: [numbers, words], dense: {units: 16, activation: relu}]
  grade: [from: trunk, dense: {units: 3, activation: softmax}]
  size: [from: trunk, dense: 1]
outputs:
  grade: {loss: categorical_crossentropy, metrics: [accuracy]}
  size: {target: height, loss: mse, preprocessing: standardize, metrics: [mae]}
optimizer: {adam: 0.01}
epochs: 3
validation: {holdout: {fraction: 0.25}}
"""
"""Two inputs that share a column; one of three classes and a number of about 1000 out."""


def arrays_of_ports(classes: Sequence[str | int] = ("cat", "dog", "emu")) -> dict[str, np.ndarray]:
    """What data.npz holds: 96 training and 30 test rows."""
    rng = np.random.default_rng(0)
    arrays = {}
    for part, rows in (("train", 96), ("test", 30)):
        size, where = rng.normal(5, 2, (rows, 3)), rng.normal(size=(rows, 2))
        arrays |= {f"size_{part}": size, f"where_{part}": where}
        arrays[f"price_{part}"] = 100 * size.sum(1) + 10 * where[:, 0]
        arrays[f"sort_{part}"] = np.array(classes)[np.digitize(where[:, 1], [-0.5, 0.5])]
    return arrays


def table_of_ports() -> pd.DataFrame:
    """What rows.csv holds: 120 rows, of which every fifth is a test row."""
    rng = np.random.default_rng(0)
    rows = pd.DataFrame({"a": rng.normal(size=120), "b": rng.normal(size=120)})
    rows["kind"] = rng.choice(["x", "y"], 120)
    rows["grade"] = np.array(["low", "mid", "top"])[np.digitize(rows["a"], [-0.4, 0.4])]
    rows["height"] = 1000 + 50 * rows["b"] + np.where(rows["kind"] == "x", 30, 0)
    rows["part"] = np.where(np.arange(120) % 5 == 4, "t", "r")
    return rows


def assert_folds_are_each_alone(path: Path, folder: Path) -> None:
    """The three folds of a spec, trained together, have the histories of each fold trained alone."""
    together = nnrun.train(path, runs_dir=folder / "runs").history
    for fold in range(3):
        alone = nnrun.kfold(path, fold=fold, runs_dir=folder / f"fold-{fold}").history
        own = together[together["fold"] == fold].reset_index(drop=True)
        columns = [c for c in own if c != "seconds"]
        pd.testing.assert_frame_equal(own[columns], alone[columns], rtol=1e-5, atol=1e-5)


def write_arrays(folder: Path) -> Path:
    """Write data.npz and arrays.yaml; give the spec's path."""
    np.savez(folder / "data.npz", **arrays_of_ports())  # type: ignore[arg-type]
    path = folder / "arrays.yaml"
    path.write_text(ARRAYS)
    return path


def write_columns(folder: Path) -> Path:
    """Write rows.csv and columns.yaml; give the spec's path."""
    table_of_ports().to_csv(folder / "rows.csv", index=False)
    path = folder / "columns.yaml"
    path.write_text(COLUMNS)
    return path
