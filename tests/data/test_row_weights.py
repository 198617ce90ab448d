"""Weights of rows: numbers that can count, and what says otherwise where they cannot."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from nnrun.data import Samples, TokenRows
from nnrun.data.row_weights import row_weights
from nnrun.errors import DataError

RULE = "Weights are one number for each row, finite and not negative."


@pytest.mark.parametrize("values", [[0, 1, 2], [0.5, 0, 1e6], [True, False, True]])
def test_numbers_are_taken_as_they_are(values: list[Any]) -> None:
    found = row_weights(np.array(values), "it")
    assert found.dtype == np.float32
    assert found.tolist() == values


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ([1.0, -0.5], f"rows.csv: weight holds -0.5 in row 1. {RULE}"),
        ([1.0, np.nan], f"rows.csv: weight holds nan in row 1. {RULE}"),
        ([np.inf, 1.0], f"rows.csv: weight holds inf in row 0. {RULE}"),
        ([1.0, 1e300], f"rows.csv: weight holds 1e+300 in row 1. {RULE}"),
        ([[1.0], [2.0]], f"rows.csv: weight has shape (2, 1) and the type float64. {RULE}"),
        (["a", "b"], f"rows.csv: weight has shape (2,) and the type <U1. {RULE}"),
        (
            [0.0, 0.0],
            "rows.csv: weight holds nothing but 0, so no row counts. At least one must be above 0.",
        ),
    ],
)
@pytest.mark.filterwarnings("ignore:overflow")
def test_what_cannot_count_is_refused(values: list[Any], message: str) -> None:
    with pytest.raises(DataError) as caught:
        row_weights(np.array(values), "rows.csv: weight")
    assert str(caught.value) == message


def test_rows_that_are_taken_keep_their_weights() -> None:
    inputs = TokenRows.from_lists([[1], [2], [3]])
    samples = Samples(inputs, np.array([10, 20, 30]), np.array([0.1, 0.2, 0.3]))
    taken = samples.take([2, 0])
    assert taken.weights is not None
    assert taken.weights.tolist() == [0.3, 0.1]
    assert Samples(inputs, samples.targets).take([2, 0]).weights is None
