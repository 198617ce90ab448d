"""Which columns tell the target, and which tell each other."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nnrun.data.table import CategoryColumn, NumberColumn
from nnrun.experiment.init.leaks import Leak, copies_among, leak_of, same_order
from tests.support.tables_of_columns import CLASSES, NUMBERS, table


def category(codes: Sequence[int]) -> CategoryColumn:
    return CategoryColumn("c", np.array(codes, np.int32), ("a", "b", "c", "d"))


def number(values: Sequence[float] | np.ndarray) -> NumberColumn:
    return NumberColumn("n", np.asarray(values, np.float64))


LABELS = np.arange(400) % 2


def test_the_same_classes_in_other_words_are_a_copy() -> None:
    target = category(LABELS.tolist())
    assert leak_of(category((1 - LABELS).tolist()), target, True) == Leak(
        "each of its values goes with one class", True
    )
    assert leak_of(number(LABELS * 3.0), target, True) == Leak("each of its values goes with one class", True)


def test_finer_classes_are_told_and_no_copy() -> None:
    finer = LABELS + 2 * (np.arange(400) % 4 < 2)
    found = leak_of(category(finer.tolist()), category(LABELS.tolist()), True)
    assert found == Leak("each of its values goes with one class", False)


@pytest.mark.parametrize(("wrong", "found"), [(0, True), (2, True), (3, False)])
def test_some_exceptions_are_let_pass(wrong: int, found: bool) -> None:
    """1 % of the 200 rows outside the largest class."""
    almost = LABELS.copy()
    almost[:wrong] = 1 - almost[:wrong]
    assert (leak_of(category(almost.tolist()), category(LABELS.tolist()), True) is not None) is found


def test_that_most_rows_are_of_one_class_is_no_giveaway() -> None:
    labels = (np.arange(1000) % 200 == 0).astype(int)  # 5 of 1,000
    column = category(((np.arange(1000) // 7) % 2).tolist())
    assert leak_of(column, category(labels.tolist()), True) is None


def test_values_of_few_rows_prove_nothing() -> None:
    labels = np.arange(18) % 2
    assert leak_of(category(labels.tolist()), category(labels.tolist()), True) is None
    names = number(np.random.RandomState(0).permutation(60) * 1.0)
    assert leak_of(names, category((np.arange(60) % 2).tolist()), True) is None


def test_a_clean_measurement_is_no_copy() -> None:
    rng = np.random.RandomState(0)
    score = rng.uniform(size=200)
    labels = category((score > 0.4).astype(int).tolist())
    assert leak_of(number(score), labels, True) == Leak(
        "each class covers its own interval of its values", False
    )
    noisy = number(score + rng.normal(0, 0.05, 200))
    assert leak_of(noisy, labels, True) is None
    assert leak_of(noisy, number(score), False) is None


def test_numbers_on_another_scale_are_copies() -> None:
    rng = np.random.RandomState(0)
    price = rng.lognormal(size=200)
    target = number(1e200 * price)
    assert leak_of(number(3 - 2 * price), target, False) == Leak(
        "the target is a linear function of it", True
    )
    logs = leak_of(number(np.log(price)), target, False)
    assert logs == Leak("both put all rows in the same order (a rank correlation of 1)", True)
    inverse = leak_of(number(1 / price), target, False)
    assert inverse == Leak("both put all rows in the opposite order (a rank correlation of -1)", True)
    assert leak_of(number(np.log(price)[::-1]), target, False) is None
    cut = leak_of(number((price > 1).astype(float)), target, False)
    assert cut == Leak("each of its values covers its own interval of the target", True)
    assert leak_of(category((price > 1).astype(int).tolist()), target, False) is None
    coarse = np.round(3 * rng.uniform(size=200))
    told = leak_of(category(coarse.astype(int).tolist()), number(coarse), False)
    assert told == Leak("each of its values goes with one number", True)


def test_gaps_do_not_hide_a_copy() -> None:
    values = np.random.RandomState(0).normal(size=100)
    target, other = values.copy(), np.exp(values)
    target[:10], other[20:30] = np.nan, np.nan
    found = leak_of(number(other), number(target), False)
    assert found is not None
    assert found.copy


@given(st.lists(st.floats(-10, 10), min_size=2, max_size=40))
def test_a_rising_function_keeps_the_order(values: list[float]) -> None:
    x = np.array(values)
    assert same_order(x, np.arctan(np.round(x, 3))) in ((1,) if len(np.unique(np.round(x, 3))) > 1 else (0,))


def test_columns_that_copy_another(tmp_path: Path) -> None:
    columns = {
        "port": CLASSES,
        "town": [{"x": "Cork", "y": "Cherbourg", "z": "Southampton"}[c] for c in CLASSES],
        "price": NUMBERS,
        "cents": [100 * n for n in NUMBERS],
        "other": CLASSES[::-1],
    }
    file = table(tmp_path, columns)
    assert copies_among(file, list(columns))["town"] == "port"
    assert copies_among(file, list(columns))["cents"] == "price"
