"""What columns are for: ids, marks of rows, times."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from nnrun.experiment.init.roles import SplitMark, counts_rows, roles_of, split_mark
from tests.support.tables_of_columns import CLASSES, DUMMY, NAMES, NUMBERS, table

IDS = [i * 7 % 31 for i in range(30)]


@pytest.mark.parametrize(
    ("name", "values", "counts"),
    [
        ("a", range(1, 31), True),
        ("customer_id", IDS, True),
        ("userId", IDS, True),
        ("Customer Number", IDS, True),
        ("code", NAMES, True),
        ("paid", IDS, False),  # ends in id, and is no id
        ("weight", IDS, False),
        ("id", [i % 3 for i in range(30)], False),  # one of three machines
        ("id", NUMBERS, False),
        ("year", range(1990, 2020), False),  # a time
        ("temperature", range(15, 45), False),  # goes up by one, and does not begin at 0 or 1
    ],
)
def test_what_counts_or_names_rows(name: str, values: Sequence[object], counts: bool, tmp_path: Path) -> None:
    file = table(tmp_path, {name: values})
    assert counts_rows(name, file.columns[name], file.n_rows) is counts


@pytest.mark.parametrize(
    ("name", "values", "repeats"),
    [
        ("subject", [i // 3 for i in range(30)], True),
        ("user_id", [f"u{i % 10}" for i in range(30)], True),
        ("nr", [i // 5 + 100 for i in range(30)], True),
        ("subject", [i // 10 for i in range(30)], False),  # three are too few to hold out
        ("subject", NUMBERS, False),
        ("state", [i // 3 for i in range(30)], False),
    ],
)
def test_ids_that_repeat(name: str, values: Sequence[object], repeats: bool, tmp_path: Path) -> None:
    assert (name in roles_of(table(tmp_path, {name: values, "y": CLASSES})).members) is repeats


PARTS = ["train"] * 20 + ["valid"] * 5 + ["test"] * 5


@pytest.mark.parametrize(
    ("name", "values", "mark"),
    [
        ("part", PARTS, SplitMark("part", test="test", validation="valid")),
        ("split", ["Train"] * 20 + ["TEST"] * 10, SplitMark("split", test="TEST")),
        ("fold", [i % 5 for i in range(30)], SplitMark("fold", folds=5)),
        ("train", ["T", "T", "F"] * 10, SplitMark("train", test="F")),
        ("is_test", [0, 0, 1] * 10, SplitMark("is_test", test=1)),
        ("train", [0, 0, 1] * 10, None),  # a training that a third had
        ("set", ["a", "b"] * 15, SplitMark("set", sure=False)),
        ("phase", CLASSES, None),
        ("split", NUMBERS, None),
        ("split", [-1, *[i % 3 for i in range(29)]], SplitMark("split", folds=4, sure=False)),
        ("partition", [1, 2, 3] * 10, SplitMark("partition", sure=False)),
        ("partition", [1, -1, 3] * 10, None),  # numbers that count nothing
        ("fold", [10, 20, 30] * 10, None),
        ("set", [5] * 30, None),
        ("set", ["a"] * 30, None),
        ("partition", NAMES, None),  # all different
    ],
)
def test_marks_of_rows(name: str, values: Sequence[object], mark: SplitMark | None, tmp_path: Path) -> None:
    file = table(tmp_path, {name: values})
    assert split_mark(name, file.columns[name], file.n_rows) == mark


def test_times_are_no_targets(tmp_path: Path) -> None:
    weekdays = ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat"] * 5
    file = table(
        tmp_path, {"d78": DUMMY, "when": weekdays, "year": [1990 + i % 3 for i in range(30)], "a": DUMMY}
    )
    assert roles_of(file).times == {"d78", "when", "year"}
