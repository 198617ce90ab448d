"""The first spec of rows that a program gives: nothing is guessed about which columns are meant."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from nnrun.data.frames import jsonl_of
from nnrun.errors import DataError
from nnrun.experiment.init.given_rows import spec_of_given_rows
from nnrun.spec.reading.load import load_spec


def written(folder: Path, frame: pd.DataFrame) -> Path:
    path = folder / "rows.jsonl"
    path.write_bytes(jsonl_of(frame))
    return path


def loaded(text: str, target: list[str]) -> object:
    return load_spec(text, {"dataset": {"jsonl": {"path": "rows.jsonl", "target": target}}}).spec


def test_every_column_is_an_input_but_those_of_one_value(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    y = rng.normal(size=1200)
    frame = pd.DataFrame(
        {
            "id": np.arange(1200),
            "copy": y,
            "fold": np.arange(1200) % 5,
            "day": pd.Timestamp("2026-01-01") + pd.to_timedelta(np.arange(1200), "D"),
            "same": 0,
            "target": y,
            "w": 1.0,
        }
    )
    found = spec_of_given_rows(written(tmp_path, frame), ["target"], "regression", besides=["w"])
    assert found.inputs == ("id", "copy", "fold", "day")
    assert "test" not in found.text
    assert "validation: {kfold: {k: 8, shuffle: true}}" in found.text
    assert "datetime" in found.text
    loaded(found.text, ["target"])


@pytest.mark.parametrize(
    ("targets", "task", "layer"),
    [
        (["a"], "classification", "{units: 2, activation: sigmoid}"),
        (["a", "b"], "classification", "{units: 2, activation: sigmoid}"),
        (["a", "b"], "regression", "dense: 2"),
    ],
)
def test_one_target_or_several(tmp_path: Path, targets: list[str], task: str, layer: str) -> None:
    frame = pd.DataFrame({"x": np.arange(40.0), "a": [0, 1] * 20, "b": [0, 0, 1, 1] * 10})
    found = spec_of_given_rows(written(tmp_path, frame), targets, task)  # type: ignore[arg-type]
    assert layer.replace("units: 2", f"units: {len(targets)}") in found.text
    loaded(found.text, targets)


def test_a_class_of_one_row_is_trained_on(tmp_path: Path) -> None:
    frame = pd.DataFrame({"x": np.arange(10.0), "y": ["a"] * 9 + ["b"]})
    found = spec_of_given_rows(written(tmp_path, frame), ["y"], "classification")
    assert "validation: none  # a class has a single row" in found.text
    assert "early_stopping" not in found.text


def test_nothing_to_learn_from(tmp_path: Path) -> None:
    three = pd.DataFrame({"x": [1.0, 2, 3], "y": [1.0, 2, 3]})
    with pytest.raises(DataError, match=r"There are 3 rows; training and validation need 4 or more\."):
        spec_of_given_rows(written(tmp_path, three), ["y"], "regression")
    same = pd.DataFrame({"x": [1.0] * 5, "y": np.arange(5.0)})
    with pytest.raises(DataError, match="Each column of the inputs has the same value in every row"):
        spec_of_given_rows(written(tmp_path, same), ["y"], "regression")
