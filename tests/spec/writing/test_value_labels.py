"""Short words for what a sweep tries."""

from __future__ import annotations

from typing import Any

import pytest

from nnrun.spec.writing.value_labels import key_labels, value_label, values_label

RELU = {"dense": {"units": 16, "activation": "relu"}}


@pytest.mark.parametrize(
    ("value", "label"),
    [
        (32, "32"),
        (0.00037801244375, "0.000378"),
        (1e-7, "1e-07"),
        (True, "true"),
        (None, "null"),
        ("mse", "mse"),
        ({"adam": {"learning_rate": 0.01}}, "{adam: {learning_rate: 0.01}}"),
        ([RELU, RELU, {"dense": {"units": 1, "activation": "sigmoid"}}], "16 relu ×2, 1 sigmoid"),
        ([{"dropout": 0.5}, {"dense": 1}], "dropout 0.5, 1"),
        ([{"dropout": {"rate": 0.5}}], "dropout 0.5"),
        ([1, 2], "[1, 2]"),
        ("a" * 50, "a" * 39 + "…"),
    ],
)
def test_a_value(value: Any, label: str) -> None:
    assert value_label(value) == label


def test_a_key_is_its_last_part_where_that_is_enough() -> None:
    assert key_labels(["layers[0].dense.units", "loss"]) == {"layers[0].dense.units": "units", "loss": "loss"}
    both = ["layers[0].dense.units", "layers[1].dense.units"]
    assert key_labels(both) == {key: key for key in both}


def test_values() -> None:
    assert values_label({"layers[0].dense.units": 32, "loss": "mse"}) == "units 32, loss mse"
