"""`lookup` and `embedding`: a vector for each value of a column, learned with the rest of the network."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from safetensors.numpy import load_file

from nnrun.errors import DataError
from nnrun.experiment.predicting.predict import load_predictor, predict_values
from nnrun.experiment.running.job import Settings
from nnrun.experiment.running.train import run_experiment
from nnrun.records import RunDirectory
from nnrun.spec.reading.load import load_spec
from tests.support.column_tables import categories, fit, rows_of, table

TOWNS = [f"town {place:02}" for place in range(12)]
SPEC = """
dataset: {csv: {path: FOLDER/rents.csv}}
inputs:
  size: {columns: [rooms]}
  town: {columns: [town], preprocessing: [lookup: {min_count: 2}]}
layers:
  place: [from: town, embedding: 3, flatten: {}]
  rent: [concatenate: [place, size], dense: {units: 16, activation: relu}, dense: 1]
outputs:
  rent: {loss: mse, preprocessing: standardize, metrics: [mae]}
optimizer: {adam: 0.02}
epochs: 40
batch_size: 16
validation: {holdout: {fraction: 0.25, shuffle: true}}
"""


def rents(folder: Path) -> None:
    """What a flat costs depends on its town, in no order, more than on its rooms."""
    rng = np.random.default_rng(0)
    price = rng.permutation(np.linspace(300, 1400, len(TOWNS)))
    place, rooms = rng.integers(0, len(TOWNS), 400), rng.integers(1, 6, 400)
    lines = [
        f"{n},{TOWNS[t]},{price[t] + 50 * n + rng.normal(0, 10):.0f}"
        for n, t in zip(rooms, place, strict=True)
    ]
    lines[7] = "3,,700"
    lines[8] = "3,hamlet,700"  # one row has it
    (folder / "rents.csv").write_text("\n".join(["rooms,town,rent", *lines, ""]), encoding="utf-8")


def train(folder: Path, text: str = SPEC) -> RunDirectory:
    rents(folder)
    (folder / "s.yaml").write_text(text.replace("FOLDER", str(folder)), encoding="utf-8")
    return run_experiment(load_spec(folder / "s.yaml"), Settings("train", folder / "runs", None, "cpu"))


def test_a_vector_for_each_value_is_learned(tmp_path: Path) -> None:
    run = train(tmp_path)
    flats = pd.read_csv(tmp_path / "rents.csv").dropna()
    found = predict_values(load_predictor(run), flats[["rooms", "town"]])
    # A network that does not see the town is off by 250 or more.
    assert np.median(np.abs(found.iloc[:, -1].to_numpy() - flats["rent"].to_numpy())) < 50
    (weights,) = run.path.glob("**/weights*.safetensors")
    shapes = [values.shape for values in load_file(weights).values()]
    assert shapes.count((13, 3)) == 1  # twelve towns, and one vector for all other values
    state = json.loads((run.path / "preprocessing.json").read_text())["inputs"]["town"]
    assert state["table"]["columns"][0]["steps"] == [
        {"lookup": {"levels": TOWNS, "rare": ["hamlet"], "missing": True, "start": 0}}
    ]


def test_other_values_have_one_vector(tmp_path: Path) -> None:
    rows = pd.DataFrame({"rooms": [2, 2, 2, 2], "town": ["nowhere", None, "hamlet", "town 00"]})
    predictor = load_predictor(train(tmp_path))
    with pytest.warns(
        UserWarning, match="1 of 4 rows have"
    ):  # no value, and a value that no training row has
        found = predict_values(predictor, rows).iloc[:, -1].tolist()
    assert found[0] == found[1] == found[2] != found[3]


def test_columns_of_one_input_share_no_index() -> None:
    inputs = table(categories("a", ["x", "y", "y"]), categories("b", ["x", None, "x"]))
    fitted = fit(inputs, {"lookup": {"min_count": 2}})
    assert rows_of(fitted, inputs).tolist() == [[0, 3], [1, 2], [1, 3]]
    assert (fitted.input.tokens, fitted.input.shape) == (4, (2,))


def test_an_input_that_holds_more_than_indices_is_refused(tmp_path: Path) -> None:
    columns = "{columns: [town, rooms], preprocessing: [lookup: {columns: [town]}]}"
    text = SPEC.replace("{columns: [town], preprocessing: [lookup: {min_count: 2}]}", columns)
    with pytest.raises(DataError, match="`lookup` of every column of an input"):
        train(tmp_path, text)
