"""The names that are kept with a run."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from nnrun.data import load_dataset
from nnrun.data.labels import Labels
from nnrun.errors import DataError
from nnrun.spec import schema


def test_the_names_of_a_data_set() -> None:
    assert Labels.of(load_dataset(schema.Sklearn(name="iris"))) == Labels(
        "multiclass",
        ("setosa", "versicolor", "virginica"),
        ("sepal length (cm)", "sepal width (cm)", "petal length (cm)", "petal width (cm)"),
    )
    boston = Labels.of(load_dataset(schema.BostonHousing()))
    assert (boston.task, boston.class_names) == ("regression", None)
    assert boston.feature_names is not None
    assert boston.feature_names[0] == "CRIM"


def test_the_names_of_each_output(tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    path.write_text("a,b,grade,height,width\n" + "1,2,low,3,4\n5,6,top,7,8\n" * 2)
    outputs = {"grade": ("grade",), "size": ("height", "width")}
    csv = schema.Csv(path=str(path), target=["grade", "height", "width"])
    labels = Labels.of(load_dataset(csv, outputs=outputs))
    assert labels.output("grade") == Labels("binary", ("low", "top"))
    assert labels.output("size").target_names == ("height", "width")
    assert (labels.class_names, labels.feature_names) == (("low", "top"), ("a", "b"))


@pytest.mark.parametrize(
    "labels",
    [
        Labels(),
        Labels("binary", ("no", "yes"), ("größe",)),
        Labels("binary", ("no", "yes"), of_outputs={"a": Labels("binary", ("no", "yes")), "b": Labels()}),
    ],
    ids=str,
)
def test_there_and_back_through_json(labels: Labels) -> None:
    assert Labels.from_json(json.loads(json.dumps(labels.to_json()))) == labels


@pytest.mark.parametrize(
    "change",
    [
        {"version": 2},
        {"task": "guess"},
        {"class_names": "ab"},
        {"feature_names": [1]},
        {"outputs": ["a"]},
        {"outputs": {"a": 3}},
        {"outputs": {"a": {"version": 7}}},
    ],
    ids=str,
)
def test_other_json_is_refused(change: dict[str, Any]) -> None:
    with pytest.raises(DataError, match="labels' JSON is damaged"):
        Labels.from_json(Labels().to_json() | change)
