"""What the outputs of a network mean."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nnrun.data import FittedPreprocessing
from nnrun.data.labels import Labels
from nnrun.data.preprocess import FittedInputs
from nnrun.data.preprocess.target_encoding import FittedTargets
from nnrun.experiment.predicting.output_decoder import (
    OutputDecoder,
    make_output_decoder,
    plain_floats,
)
from nnrun.experiment.predicting.prediction_table import CsvLines, PredictionTable
from nnrun.spec.ports import INPUT, OUTPUT
from tests.support.small_experiments import BINARY, REGRESSION, spec_text

SOFTMAX = {
    **REGRESSION,
    "layers": [{"dense": {"units": 3, "activation": "softmax"}}],
    "loss": "categorical_crossentropy",
    "metrics": [],
}
SEVERAL = {**BINARY, "layers": [{"dense": {"units": 3, "activation": "sigmoid"}}], "metrics": []}
SQUARED = {**SEVERAL, "loss": "mse"}


def meaning(
    spec: dict[str, Any], outputs: int, targets: FittedTargets | None = None, **labels: Any
) -> OutputDecoder:
    fitted = FittedPreprocessing({INPUT: FittedInputs()}, {OUTPUT: targets or FittedTargets(outputs)})
    return make_output_decoder(spec_text(spec).spec, fitted, Labels(**labels))


NAMES = ("low", "middle", "high")


def table_of(found: OutputDecoder, probabilities: bool) -> PredictionTable:
    return PredictionTable({OUTPUT: found}, probabilities=probabilities)


@pytest.mark.parametrize(
    ("found", "kind", "classes"),
    [
        (meaning(REGRESSION, 1), "numbers", (0,)),
        (meaning(BINARY, 1), "binary", (0, 1)),
        (meaning(BINARY, 1, class_names=("no", "yes")), "binary", ("no", "yes")),
        (meaning({**BINARY, "loss": "mse"}, 1, task="binary"), "binary", (0, 1)),
        (
            meaning({**BINARY, "loss": "mse"}, 1),
            "numbers",
            (0,),
        ),  # a share to predict, as far as one can tell
        (meaning(SOFTMAX, 3, FittedTargets(3, "one_hot", 3), class_names=NAMES), "class", NAMES),
        (
            meaning(SOFTMAX, 3, FittedTargets(3, "class_index", 3), class_names=NAMES[:2]),
            "class",
            ("low", "middle", 2),
        ),
        (meaning(SQUARED, 3, FittedTargets(3, "one_hot", 3)), "class", (0, 1, 2)),
        (meaning(SEVERAL, 3), "labels", (0, 1, 2)),
        (meaning(SQUARED, 3), "numbers", (0, 1, 2)),
    ],
)
def test_loss_and_targets_decide(found: OutputDecoder, kind: str, classes: tuple[Any, ...]) -> None:
    assert (found.kind, found.classes) == (kind, classes)


def test_a_binary_network_says_a_class_above_one_half() -> None:
    """As the metric accuracy has it: at one half exactly it is class 0."""
    found = OutputDecoder("binary", ("no", "yes"))
    predictions = found.predictions([3, 4, 5], np.array([[0.5], [0.75], [0.125]]))
    assert table_of(found, False).columns == ["row", "prediction", "probability"]
    assert table_of(found, False).rows({OUTPUT: predictions}) == [
        [3, "no", 0.5],
        [4, "yes", 0.75],
        [5, "no", 0.875],
    ]
    assert table_of(found, True).columns == [
        "row",
        "prediction",
        "probability",
        "probability_no",
        "probability_yes",
    ]
    assert table_of(found, True).rows({OUTPUT: predictions})[1] == [4, "yes", 0.75, 0.25, 0.75]
    assert table_of(found, True).documents({OUTPUT: predictions})[1] == {
        "row": 4,
        "prediction": "yes",
        "probability": 0.75,
        "probabilities": {"no": 0.25, "yes": 0.75},
    }


def test_the_most_probable_class() -> None:
    found = OutputDecoder("class", NAMES)
    predictions = found.predictions([0, 1], np.array([[0.25, 0.5, 0.25], [0.125, 0.125, 0.75]]))
    assert table_of(found, False).rows({OUTPUT: predictions}) == [[0, "middle", 0.5], [1, "high", 0.75]]
    assert table_of(found, True).rows({OUTPUT: predictions})[1] == [1, "high", 0.75, 0.125, 0.125, 0.75]


def test_several_labels_of_one_row() -> None:
    found = OutputDecoder("labels", NAMES)
    predictions = found.predictions([0, 1], np.array([[0.75, 0.25, 0.875], [0.125, 0.125, 0.25]]))
    assert table_of(found, False).columns == ["row", "prediction"]
    assert table_of(found, False).rows({OUTPUT: predictions}) == [[0, "low;high"], [1, ""]]
    assert table_of(found, True).rows({OUTPUT: predictions})[1] == [1, "", 0.125, 0.125, 0.25]
    assert table_of(found, False).documents({OUTPUT: predictions}) == [
        {"row": 0, "prediction": ["low", "high"]},
        {"row": 1, "prediction": []},
    ]


def test_quantiles_of_one_number_are_named_by_their_share() -> None:
    layers = [{"dense": 3}]
    loss = {"quantile": {"quantiles": [0.025, 0.5, 0.9]}}
    spec = {**REGRESSION, "layers": layers, "loss": loss}
    found = meaning(spec, 3, FittedTargets(3, repeated=True), target_names=("price",))
    predictions = found.predictions([0, 1], np.array([[1.5, 2, 3], [0, 1, 2]]), np.array([2.5, 1.0]))
    names = ["prediction_q2.5", "prediction_q50", "prediction_q90"]
    assert table_of(found, False).columns == ["row", *names]
    table, predicted = PredictionTable({OUTPUT: found}, targets=True), {OUTPUT: predictions}
    assert table.columns == ["row", "target", *names]
    assert table.rows(predicted) == [[0, 2.5, 1.5, 2.0, 3.0], [1, 1.0, 0.0, 1.0, 2.0]]
    assert table.documents(predicted)[0] == {"row": 0, "target": 2.5, "prediction": [1.5, 2.0, 3.0]}
    lines = CsvLines(table)
    assert lines.header() == f"row,target,{','.join(names)}\n"
    assert lines.lines(predicted) == "0,2.5,1.5,2.0,3.0\n1,1.0,0.0,1.0,2.0\n"


def test_numbers() -> None:
    one, two = OutputDecoder("numbers", (0,)), OutputDecoder("numbers", (0, 1))
    assert table_of(one, False).columns == ["row", "prediction"]
    assert table_of(one, False).rows({OUTPUT: one.predictions([0], np.array([[1.5]]))}) == [[0, 1.5]]
    predictions = two.predictions([0], np.array([[1.5, -2.0]]))
    assert table_of(two, False).columns == ["row", "prediction_0", "prediction_1"]
    assert table_of(two, False).rows({OUTPUT: predictions}) == [[0, 1.5, -2.0]]
    assert table_of(two, False).documents({OUTPUT: predictions}) == [{"row": 0, "prediction": [1.5, -2.0]}]


@pytest.mark.parametrize("kind", ["binary", "class", "labels", "numbers"])
def test_no_rows(kind: Any) -> None:
    classes = NAMES[:2] if kind == "binary" else NAMES
    found = OutputDecoder(kind, classes)
    empty = found.predictions([], np.empty((0, 1 if kind == "binary" else 3)))
    assert table_of(found, True).rows({OUTPUT: empty}) == []
    assert table_of(found, True).documents({OUTPUT: empty}) == []


@given(st.lists(st.floats(width=32, allow_nan=False, allow_infinity=False), min_size=1))
def test_floats_keep_every_bit_of_their_32(values: list[float]) -> None:
    array = np.array([values], np.float32)
    assert np.array(plain_floats(array), np.float32).tobytes() == array.tobytes()
    assert plain_floats(np.array([[0.1]], np.float32)) == [[0.1]]


def test_a_score_above_0_says_yes_and_the_largest_says_the_class() -> None:
    """Scores are no probabilities, so none are written."""
    hinge = {**BINARY, "layers": [{"dense": 1}], "loss": "hinge", "metrics": []}
    found = meaning(hinge, 1, class_names=("no", "yes"))
    assert (found.kind, found.of_scores) == ("binary", True)
    predictions = found.predictions([0, 1, 2], np.array([[0.2], [-0.2], [0.0]]))
    assert predictions.predicted == ["yes", "no", "no"]
    assert predictions.probability is predictions.probabilities is None
    assert table_of(found, True).columns == ["row", "prediction"]
    assert table_of(found, True).rows({OUTPUT: predictions}) == [[0, "yes"], [1, "no"], [2, "no"]]

    several = {**SOFTMAX, "layers": [{"dense": 3}], "loss": "categorical_hinge"}
    found = meaning(several, 3, class_names=("a", "b", "c"))
    assert found.predictions([0], np.array([[-3.0, -1.0, -2.0]])).predicted == ["b"]
