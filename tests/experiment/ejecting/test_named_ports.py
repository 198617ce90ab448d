"""`nnrun eject` of networks whose inputs and outputs have names."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd
import pytest

import nnrun
from nnrun.errors import UsageError
from tests.support.ejected_scripts import needs_keras, same_histories, styled

BOTH = pytest.mark.parametrize("to", ["pytorch", pytest.param("keras", marks=needs_keras)])

SIAMESE = """
dataset: {digit_pairs: {rows: 120, test_rows: 20}}
inputs: {left: {}, right: {preprocessing: {rescale: 0.5}}}
shared: {encoder: [flatten, dense: {units: 8, activation: tanh}%(dropout)s, dense: 4]}
layers:
  a: [from: left, use: encoder]
  b: [from: right, use: encoder]
  less: [subtract: [a, b]]
  more: [subtract: [b, a]]
  same: [maximum: [less, more], dense: {units: 1, activation: sigmoid}]
outputs: {same: {loss: binary_crossentropy, metrics: [accuracy]}}
optimizer: {adam: 0.002}
early_stopping: {monitor: val_same_loss, patience: 1, restore_best: true}
epochs: 3
validation: {holdout: {fraction: 0.2}}
"""
TWO_HEADS = """
dataset: {csv: {path: table.csv}}
inputs:
  measured: {columns: [size, age], preprocessing: [impute, standardize]}
  told: {columns: [town, note], preprocessing: [one_hot, text: 3]}
layers:
  one: [from: measured, dense: {units: 6, activation: relu}]
  two: [from: told, dense: {units: 4, activation: relu}]
  trunk: [concatenate: [one, two]%(dropout)s]
  kind: [from: trunk, dense: {units: 3, activation: softmax}]
  price: [from: trunk, dense: 1]
outputs:
  kind: {loss: categorical_crossentropy, metrics: [accuracy], loss_weight: 0.25}
  price: {target: paid, preprocessing: standardize, loss: mse, metrics: [mae, mse]}
optimizer: {adam: 0.005}
weight_averaging: ema
epochs: 3
batch_size: 16
validation: {kfold: {k: 3}}
"""
TWO_BRANCHES = """
dataset: {csv: {path: table.csv, target: sold}}
inputs:
  measured: {columns: [size, age], preprocessing: [impute, standardize]}
  told: {columns: [town], preprocessing: one_hot}
layers:
  one: [from: measured, dense: {units: 6, activation: relu}]
  two: [from: told, dense: {units: 4, activation: relu}]
  out: [concatenate: [one, two]%(dropout)s, dense: {units: 1, activation: sigmoid}]
loss: binary_crossentropy
metrics: [accuracy]
optimizer: {adam: 0.005}
epochs: 3
validation: {kfold: {k: 3}}
"""

ONE_TRUNK = """
dataset: {csv: {path: table.csv, inputs: [size, age, town]}}
preprocessing: {inputs: [impute, standardize, one_hot]}
layers:
  trunk: [dense: {units: 6, activation: relu}, batch_normalization%(dropout)s]
  kind: [from: trunk, dense: {units: 3, activation: softmax}]
  price: [from: trunk, dense: 1]
outputs:
  kind: {loss: categorical_crossentropy, metrics: [accuracy]}
  price: {target: paid, preprocessing: standardize, loss: mae, metrics: [mae]}
total_loss: mean
optimizer: {adam: 0.05}
weight_averaging: {swa: 2}
early_stopping: {monitor: inner_price_mae, on: inner, patience: 2, restore_best: true}
epochs: 8
batch_size: 16
validation: {kfold: {k: 3}}
"""


def table(*, lacks: bool = False) -> pd.DataFrame:
    """Rows with gaps, a town that only the first fold has, and, if wanted, rows without targets."""
    rng, rows = np.random.RandomState(0), 90
    size = rng.normal(10, 3, rows)
    found = pd.DataFrame(
        {
            "size": np.where(rng.rand(rows) < 0.1, np.nan, size),
            "age": rng.randint(1, 90, rows),
            "town": np.where(np.arange(rows) < 3, "rare", rng.choice(["a", "b"], rows)),
            "note": [" ".join(rng.choice(["new", "old", "big", "red"], 3)) + f" {i}" for i in range(rows)],
            "kind": np.array(["low", "mid", "top"])[np.digitize(size, [9, 11])],
            "paid": (100 * size + rng.normal(0, 10, rows)).round(),
            "sold": (size + rng.normal(0, 1, rows) > 10).astype(int),
        }
    )
    if lacks:
        found.loc[np.arange(rows) % 5 == 3, "kind"] = None
        found.loc[np.arange(rows) % 5 == 4, "paid"] = None
    return found


def write(folder: Path, dropout: str, **specs: str) -> dict[str, Path]:
    table().to_csv(folder / "table.csv", index=False)
    for name, text in specs.items():
        (folder / f"{name}.yaml").write_text(text % {"dropout": dropout}, encoding="utf-8")
    return {name: folder / f"{name}.yaml" for name in specs}


@BOTH
def test_named_inputs_and_outputs(to: Literal["pytorch", "keras"], tmp_path: Path) -> None:
    """Keras draws its own dropout; PyTorch nnrun's, in a shared encoder for each input by itself."""
    dropout = ", dropout: 0.3" if to == "pytorch" else ""
    specs = write(tmp_path, dropout, pair=SIAMESE, heads=TWO_HEADS, branches=TWO_BRANCHES, trunk=ONE_TRUNK)
    same_histories(tmp_path, specs, to)
    styled(*(tmp_path / f"{name}.py" for name in specs))


def test_rows_without_a_target(tmp_path: Path) -> None:
    """They count for the other outputs alone; Keras's mean over an epoch would count them."""
    specs = write(tmp_path, "", heads=TWO_HEADS)
    table(lacks=True).to_csv(tmp_path / "table.csv", index=False)
    same_histories(tmp_path, specs, "pytorch")
    styled(tmp_path / "heads.py")
    with pytest.raises(UsageError, match="eject cannot write rows without the target of an output, with K"):
        nnrun.eject(specs["heads"], "keras", tmp_path / "keras.py")


@BOTH
def test_arrays(to: Literal["pytorch", "keras"], tmp_path: Path) -> None:
    """Arrays of an npz under other names, of which some mean something else in Python or in the script."""
    rng = np.random.RandomState(0)
    a, b = rng.normal(size=(60, 3)), rng.normal(size=(60, 2))
    kinds = (a[:, 0] > 0).astype(int) + (b[:, 0] > 0)
    np.savez(tmp_path / "rows.npz", a_train=a, b_train=b, y_train=a.sum(1), kind_train=kinds)
    (tmp_path / "rows.yaml").write_text(
        """
dataset: {npz: rows.npz}
inputs: {class: {array: a, preprocessing: standardize}, layers: {array: b}}
layers:
  keras: [concatenate: [class, layers], dense: {units: 6, activation: relu}]
  a-b: [from: keras, dense: 1]
  model: [from: keras, dense: {units: 3, activation: softmax}]
outputs:
  a-b: {target: y, loss: mae, metrics: [mse]}
  model: {target: kind, loss: sparse_categorical_crossentropy, metrics: [accuracy], loss_weight: 2}
optimizer: adam
epochs: 2
validation: none
""",
        encoding="utf-8",
    )
    same_histories(tmp_path, {"rows": tmp_path / "rows.yaml"}, to)
    styled(tmp_path / "rows.py")


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("[accuracy]", "[accuracy], class_weight: balanced", "the class_weight of an output (kind)"),
        (
            "epochs: 3",
            "epochs: 3\nensemble: {members: 2, kind: independent}",
            "an ensemble of networks whose",
        ),
        ("text: 3", "text: {num_words: 3, ngrams: 2}", "ngrams or a weighting of the step text"),
        ("price: {target: paid,", "price: {target: [paid, sold],", "several target columns"),
    ],
)
def test_what_is_refused(old: str, new: str, said: str, tmp_path: Path) -> None:
    text = TWO_HEADS.replace(old, new)
    if "[paid, sold]" in new:
        text = text.replace("price: [from: trunk, dense: 1]", "price: [from: trunk, dense: 2]")
    specs = write(tmp_path, "", heads=text)
    with pytest.raises(UsageError) as raised:
        nnrun.eject(specs["heads"], "pytorch", tmp_path / "heads.py")
    assert str(raised.value).startswith(f"eject cannot write {said}")
    assert not (tmp_path / "heads.py").exists()
