"""What `nnrun init` says of a table's inputs."""

from __future__ import annotations

import numpy as np

from nnrun.data.table import NumberColumn, TextColumn, category_column
from nnrun.experiment.checking.at_once import said_at_once


def numbers(name: str, rows: int, seed: int = 0) -> NumberColumn:
    return NumberColumn(name, np.random.RandomState(seed).normal(size=rows))


def test_nothing_is_said_of_a_clean_table() -> None:
    assert said_at_once([numbers("a", 60), numbers("b", 60, 1)], [numbers("y", 60, 2)], 60) == []


def test_copies_gaps_and_a_column_of_nearly_one_value() -> None:
    rows = [*range(300), 4, 7, 7]
    a, b, y = (numbers(name, 300, seed).take(rows) for seed, name in enumerate("aby"))
    targets = NumberColumn("y", y.values.copy())
    targets.values[301] += 1
    flag = NumberColumn("flag", np.zeros(303))
    gaps = NumberColumn("gaps", np.where(np.arange(303) % 4 > 0, np.nan, 1.0 + np.arange(303) % 3))
    gaps.values[300:] = gaps.values[[4, 7, 7]]
    flag.values[3] = 1
    assert said_at_once([a, b, flag, gaps], [targets], 303) == [
        "3 of 303 rows equal an earlier one in all inputs, 2 of them in the target too",
        "'flag' is 0 in all but 1 row",
        "'gaps' has a value in 76 rows (25.1%)",
    ]


def test_texts_that_stand_twice_are_never_chance() -> None:
    texts = TextColumn(
        "t", np.array([f"text {i} of many words" for i in range(50)] + ["text 3 of many words"], object)
    )
    labels = category_column("y", [None if i == 9 else "ab"[i % 2] for i in range(51)])
    assert said_at_once([texts], [labels], 51) == [
        "1 of 51 rows equals an earlier one in all inputs, 0 of them in the target too"
    ]


def test_a_target_is_compared_with_that_of_every_earlier_row_of_the_same_inputs() -> None:
    """The last three rows equal the first in their inputs; the target of one stands only in a later one."""
    a, b, y = (numbers(name, 60, seed).take([*range(60), 0, 0, 0]) for seed, name in enumerate("aby"))
    y.values[[60, 61, 62]] = [y.values[0] + 1, y.values[0], y.values[0] + 1]
    assert said_at_once([a, b], [y], 63) == [
        "3 of 63 rows equal an earlier one in all inputs, 2 of them in the target too"
    ]
