"""Predictions of outputs side by side, as rows, as lines of CSV and JSON, as a data frame."""

from __future__ import annotations

import csv
import io
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nnrun.cells import cell, json_text
from nnrun.errors import UsageError
from nnrun.experiment.predicting.output_decoder import OutputDecoder
from nnrun.experiment.predicting.prediction_table import CsvLines, JsonLines, PredictionTable
from nnrun.spec.ports import OUTPUT

CLASSES = ("yes", "=1+1", 'a "b", c', "ä\x1b", "{0}", "", "-1")
KIND = OutputDecoder("class", ("low", "top"), port="kind")
SIZE = OutputDecoder("numbers", (0,), port="size")
PLACE = OutputDecoder("numbers", ("x", "y"), port="place")
TAGS = OutputDecoder("labels", ("a", "b"), port="tags")


@given(
    st.sampled_from(["binary", "class", "labels", "numbers", "number"]),
    st.lists(st.lists(st.floats(0, 1, width=32), min_size=7, max_size=7), max_size=6),
    st.booleans(),
    st.sampled_from([[None], ["a"], ["a{}", 'b "', "="]]),
)
def test_lines_are_those_of_the_csv_and_json_modules(
    kind: str, outputs: list[list[float]], probabilities: bool, ports: list[str | None]
) -> None:
    width = {"binary": 1, "number": 1}.get(kind, 7)
    names = CLASSES[: 2 if kind == "binary" else width]
    found = OutputDecoder("numbers" if kind == "number" else kind, names)  # type: ignore[arg-type]
    outputs_NK = np.array(outputs, np.float64).reshape(-1, 7)[:, :width]
    predictions = found.predictions(list(range(3, 3 + len(outputs))), outputs_NK)
    table = PredictionTable({p or OUTPUT: replace(found, port=p) for p in ports}, probabilities)
    predicted = dict.fromkeys(table.decoders, predictions)
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(map(cell, table.columns))
    writer.writerows(map(cell, row) for row in table.rows(predicted))
    lines = CsvLines(table)
    assert lines.header() + lines.lines(predicted) == file.getvalue()
    documents = table.documents(predicted)
    expected = "".join(json_text(document) + "\n" for document in documents)
    assert JsonLines(table).lines(predicted) == expected


def test_columns_of_named_outputs_begin_with_their_names() -> None:
    table = PredictionTable({d.port or "": d for d in (KIND, SIZE, PLACE, TAGS)}, probabilities=True)
    predicted = {
        "kind": KIND.predictions([5], np.array([[0.25, 0.75]])),
        "size": SIZE.predictions([5], np.array([[1.5]])),
        "place": PLACE.predictions([5], np.array([[1.0, -2.0]])),
        "tags": TAGS.predictions([5], np.array([[0.75, 0.875]])),
    }
    of_kind = ["kind", "kind_probability", "kind_low", "kind_top"]
    assert table.columns == ["row", *of_kind, "size", "place_x", "place_y", "tags", "tags_a", "tags_b"]
    assert table.rows(predicted) == [[5, "top", 0.75, 0.25, 0.75, 1.5, 1.0, -2.0, "a;b", 0.75, 0.875]]
    assert table.documents(predicted) == [
        {"row": 5, "kind": "top", "kind_probability": 0.75, "kind_low": 0.25, "kind_top": 0.75}
        | {"size": 1.5, "place": [1.0, -2.0], "tags": ["a", "b"], "tags_a": 0.75, "tags_b": 0.875}
    ]
    frame = table.frame([predicted, predicted])
    assert (frame.index.name, frame.index.tolist(), list(frame)) == ("row", [5, 5], table.columns[1:])


def test_true_targets_stand_before_their_predictions() -> None:
    table = PredictionTable({"kind": KIND, "place": PLACE}, targets=True)
    targets = np.array([0]), np.array([[3.0, 4.0]])
    predicted = {
        "kind": KIND.predictions([0], np.array([[0.25, 0.75]]), targets[0]),
        "place": PLACE.predictions([0], np.array([[1.0, -2.0]]), targets[1]),
    }
    of_place = ["place_target_x", "place_target_y", "place_x", "place_y"]
    assert table.columns == ["row", "kind_target", "kind", "kind_probability", *of_place]
    assert table.rows(predicted) == [[0, "low", "top", 0.75, 3.0, 4.0, 1.0, -2.0]]
    assert table.documents(predicted) == [
        {"row": 0, "kind_target": "low", "kind": "top", "kind_probability": 0.75}
        | {"place_target": [3.0, 4.0], "place": [1.0, -2.0]}
    ]


def test_two_columns_of_one_name_are_refused() -> None:
    other = OutputDecoder("class", ("probability", "other"), port="kind")
    PredictionTable({"kind": other}).refuse_one_name_twice()
    with pytest.raises(UsageError, match="Two columns of the predictions would be called 'kind_probability'"):
        PredictionTable({"kind": other}, probabilities=True).refuse_one_name_twice()


def test_sets_of_classes_whose_names_hold_a_semicolon_are_told_apart() -> None:
    decoder = OutputDecoder("class", ("a;b", "c", "a", "b;c"))
    table = PredictionTable({OUTPUT: decoder}, intervals=(OUTPUT,))
    sets = np.array([[True, True, False, False], [False, False, True, True], [False, True, True, False]])
    predicted = {OUTPUT: decoder.predictions([0, 1, 2], np.full((3, 4), 0.25), region=sets)}
    fields = ['"a;b";c', 'a;"b;c"', "c;a"]
    assert [row[2] for row in table.rows(predicted)] == fields
    assert [row[2] for row in csv.reader(io.StringIO(CsvLines(table).lines(predicted)))] == fields
    assert [document["prediction_set"] for document in table.documents(predicted)] == [
        ["a;b", "c"],
        ["a", "b;c"],
        ["c", "a"],
    ]
