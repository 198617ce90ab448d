"""Classes, calibration and residuals, against scikit-learn and by hand."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import classification_report, confusion_matrix, precision_recall_fscore_support

from nnrun.experiment.evaluating.error_analysis import (
    Classification,
    MultiLabel,
    Residuals,
    analyse,
    calibrate,
)
from nnrun.experiment.predicting.outputs import combine

NAMES = ("ant", "bee", "cow")


def of_classes(outputs: list[list[float]], targets: object, activation: str = "softmax") -> Classification:
    found = analyse(
        np.array(outputs, np.float32),
        np.array(targets),
        activation=activation,
        class_names=NAMES[: max(2, len(outputs[0]))],
        text_of=lambda row: f"row {row}",
    )
    assert isinstance(found, Classification)
    return found


@given(st.lists(st.tuples(st.integers(0, 2), st.integers(0, 2)), min_size=1, max_size=40))
def test_class_scores_are_those_of_scikit_learn(pairs: list[tuple[int, int]]) -> None:
    true, predicted = zip(*pairs, strict=True)
    outputs = np.full((len(pairs), 3), 0.2)
    outputs[np.arange(len(pairs)), predicted] = 0.6
    found = of_classes(outputs.tolist(), true)
    assert found.confusion == tuple(map(tuple, confusion_matrix(true, predicted, labels=[0, 1, 2]).tolist()))
    expected = precision_recall_fscore_support(true, predicted, labels=[0, 1, 2], zero_division=0)
    for place, of_class in enumerate(found.classes):
        values = (of_class.precision, of_class.recall, of_class.f1, of_class.support)
        assert values == pytest.approx([column[place] for column in expected])
    assert found.wrong == sum(t != p for t, p in pairs)


LABELS = st.lists(st.booleans(), min_size=3, max_size=3)


@given(st.lists(st.tuples(LABELS, LABELS), min_size=1, max_size=30))
def test_label_scores_are_those_of_scikit_learn(pairs: list[tuple[list[bool], list[bool]]]) -> None:
    true, predicted = np.array([t for t, _ in pairs], int), np.array([p for _, p in pairs])
    outputs = np.where(predicted, 0.51, 0.5)
    found = analyse(outputs, true, activation="sigmoid", label_names=NAMES)
    assert isinstance(found, MultiLabel)
    expected = classification_report(
        true, predicted.astype(int), target_names=NAMES, zero_division=0, output_dict=True
    )
    scores = {s.name.replace(" mean", " avg"): s for s in (*found.labels, found.micro, found.macro)}
    for name, of_label in {**scores, "weighted avg": found.weighted}.items():
        values = (of_label.precision, of_label.recall, of_label.f1, of_label.support)
        keys = ("precision", "recall", "f1-score", "support")
        assert values == pytest.approx([expected[name][key] for key in keys])
    assert found.right == sum(t == p for t, p in pairs)
    assert [label.predicted for label in found.labels] == predicted.sum(0).tolist()


def test_labels_without_names_are_called_by_their_numbers() -> None:
    found = analyse(np.full((2, 2), 0.7), np.array([[1, 0], [1, 1]]), activation="sigmoid")
    assert isinstance(found, MultiLabel)
    assert [label.name for label in found.labels] == ["0", "1"]


def test_mistakes_come_with_the_most_confident_first() -> None:
    outputs = [[0.9, 0.05, 0.05], [0.2, 0.7, 0.1], [0.1, 0.1, 0.8], [0.3, 0.3, 0.4]]
    found = of_classes(outputs, [1, 1, 0, 0])
    assert [(m.row, m.true, m.predicted, m.text) for m in found.mistakes] == [
        (0, "bee", "ant", "row 0"),
        (2, "ant", "cow", "row 2"),
        (3, "ant", "cow", "row 3"),
    ]
    assert found.mistakes[0].probability == pytest.approx(0.9)
    assert found.mistakes[0].probability_of_true == pytest.approx(0.05)
    first = found.confusions[0]
    assert (first.true, first.predicted, first.rows) == ("ant", "cow", 2)


@pytest.mark.parametrize("targets", [[1, 0], [[1], [0]], [[0, 1], [1, 0]]])
def test_targets_may_be_labels_or_one_hot(targets: object) -> None:
    found = of_classes([[0.2, 0.8], [0.3, 0.7]], targets)
    assert (found.wrong, found.mistakes[0].row) == (1, 1)


def test_one_sigmoid_has_two_classes() -> None:
    found = of_classes([[0.8], [0.4]], [1, 1], "sigmoid")
    assert found.confusion == ((0, 0), (1, 1))
    assert found.mistakes[0].probability == pytest.approx(0.6)


def test_the_calibration_error_of_a_network_that_is_too_sure() -> None:
    """Four rows at 0.9, of which two are right: off by 0.4. One at 0.6, right: off by 0.4."""
    probabilities = np.array([[0.9, 0.1]] * 4 + [[0.6, 0.4]])
    found = calibrate(probabilities, np.array([0, 0, 1, 1, 0]))
    assert found.error == pytest.approx(0.4)
    assert [(b.rows, b.accuracy) for b in found.bins] == [(1, 1.0), (4, 0.5)]
    assert found.accuracy == pytest.approx(3 / 5)


@given(st.lists(st.tuples(st.floats(-100, 100), st.floats(-100, 100)), min_size=1, max_size=30))
def test_residuals(pairs: list[tuple[float, float]]) -> None:
    true, predicted = (np.array(column) for column in zip(*pairs, strict=True))
    found = analyse(predicted[:, None], true, activation="linear")
    assert isinstance(found, Residuals)
    rest = true - predicted
    assert found.mae == pytest.approx(np.abs(rest).mean())
    assert found.mean**2 + found.std**2 == pytest.approx((rest**2).mean(), abs=1e-6)
    assert abs(found.worst[0].residual) == pytest.approx(np.abs(rest).max())


@pytest.mark.parametrize(
    ("outputs", "targets", "activation"),
    [
        (np.zeros((0, 1)), np.zeros(0), "linear"),
        (np.full((2, 1), np.nan), np.zeros(2), "linear"),
        (np.zeros((2, 3)), np.zeros((2, 3)), "linear"),
        (np.full((2, 3), 0.5), np.array([[1, 0.2, 0], [0, 1, 0]]), "sigmoid"),
        (np.full((2, 2), 0.5), np.array([[0.3, 0.7], [0.5, 0.5]]), "softmax"),
    ],
    ids=["no rows", "no numbers", "several numbers", "shares of labels", "shares"],
)
def test_what_has_neither_one_class_nor_one_number(
    outputs: np.ndarray, targets: np.ndarray, activation: str
) -> None:
    assert analyse(outputs, targets, activation=activation) is None


def test_rows_of_several_folds_are_put_in_order() -> None:
    found = combine([(np.array([2, 0]), np.array([[2.0], [0.0]])), (np.array([1]), np.array([[1.0]]))])
    assert (found.rows.tolist(), found.outputs[:, 0].tolist(), found.how) == (
        [0, 1, 2],
        [0.0, 1.0, 2.0],
        "out_of_fold",
    )


def test_networks_that_were_all_asked_about_a_row_give_their_mean() -> None:
    rows = np.arange(2)
    found = combine([(rows, np.array([[1.0], [3.0]])), (rows, np.array([[3.0], [5.0]]))])
    assert (found.outputs[:, 0].tolist(), found.how) == ([2.0, 4.0], "ensemble")


def test_the_macro_mean_leaves_out_classes_that_do_not_occur() -> None:
    """Of five classes only 0, 1 and 2 are among the rows, and 3 among the predictions."""
    true, predicted = np.array([0, 1, 2, 2, 1]), np.array([0, 1, 3, 2, 1])
    found = analyse(0.9 * np.eye(5)[predicted] + 0.02, true, activation="softmax")
    assert isinstance(found, Classification)
    precision, recall, f1, _ = precision_recall_fscore_support(
        true, predicted, average="macro", zero_division=0
    )
    assert (found.macro.precision, found.macro.recall, found.macro.f1) == pytest.approx(
        (precision, recall, f1)
    )
