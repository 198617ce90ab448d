"""Which column is predicted, and as what."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from nnrun.errors import DataError
from nnrun.experiment.init.target import (
    candidates,
    default_target,
    default_task,
    labels_of,
    possible_tasks,
    why_no_target,
)
from tests.support.tables_of_columns import CLASSES, DUMMY, GAPS, NAMES, NUMBERS, OTHERS, table

MORE = [i * 2.5 % 11 for i in range(30)]


@pytest.mark.parametrize(
    ("columns", "target", "why"),
    [
        ({"class": CLASSES, "survived": OTHERS, "a": CLASSES}, "survived", "a common name for a target"),
        ({"a": CLASSES, "Label": NUMBERS, "b": CLASSES}, "Label", "a common name for a target"),
        ({"t": NUMBERS, "a": CLASSES}, "t", "it has the same name as the file"),
        ({"a": NUMBERS, "price": MORE, "b": CLASSES}, "price", "often the name of a target"),
        (
            {"a": NUMBERS, "Retail Price": MORE, "b": CLASSES},
            "Retail Price",
            "'price' is often part of a target's name",
        ),
        ({"a": CLASSES, "b": OTHERS, "c": NUMBERS}, "c", "the last column"),
        (
            {"a": NUMBERS, "b": MORE, "c": DUMMY, "d": DUMMY[::-1]},
            "a",
            "the first column",
        ),  # no 0/1 of several
        ({"a": NUMBERS, "b": MORE, "c": DUMMY}, "c", "the last column"),  # the only one of 0 and 1
        (
            {"x": NUMBERS, "price": MORE, "y": NUMBERS, "z": MORE},
            "price",
            "often the name of a target",
        ),
        ({"price": NUMBERS, "a": MORE, "lprice": MORE}, "price", "often the name of a target"),
        ({"a": CLASSES, "label": NAMES}, "a", "the first column"),  # texts that all differ
        ({"a": CLASSES, "label": GAPS}, "label", "a common name for a target"),  # missing values
        ({"a": CLASSES, "label": ["x"] * 30}, "a", "the first column"),  # one value
        ({"a": CLASSES, "id": [i * 7 % 31 for i in range(30)]}, "a", "the last column"),  # an id
        ({"a": CLASSES, "label": ["q", *CLASSES[1:]]}, "a", "the first column"),  # a class of one row
        ({"a": CLASSES, "split": ["train", "train", "test"] * 10}, "a", "the last column"),
        ({"a": CLASSES, "weekday": ["Mon", "Tue", "Wed", "Thu", "Fri"] * 6}, "a", "the last column"),
        ({"a": NUMBERS, "b": MORE, "y81": DUMMY}, "b", "the last column"),
    ],
)
def test_the_target(columns: dict[str, Sequence[object]], target: str, why: str, tmp_path: Path) -> None:
    assert default_target(table(tmp_path, columns), "t") == (target, why)


def test_the_runners_up(tmp_path: Path) -> None:
    file = table(tmp_path, {"a": NUMBERS, "salary": MORE, "sex": DUMMY, "b": CLASSES})
    assert [candidate.name for candidate in candidates(file, "t")] == ["salary", "a", "b", "sex"]


def test_no_target(tmp_path: Path) -> None:
    file = table(tmp_path, {"a": NAMES, "b": [""] * 30})
    with pytest.raises(DataError, match=r"^.*t\.csv: no column can be the target: 'a' has 30 different"):
        default_target(file, "t")
    assert why_no_target(file.columns["b"], 30) == "has no value in any row"


@pytest.mark.parametrize(
    ("name", "values", "task"),
    [
        ("v", CLASSES, "classification"),
        ("v", DUMMY, "classification"),
        ("v", [3, -1] * 15, "classification"),
        ("v", [1, 2, 3] * 10, "classification"),
        ("v", [1, 2, 3, 4] * 7 + [1, 2], "regression"),  # 7 rows for a value
        ("v", [0.5, 1.5] * 15, "regression"),
        ("v", [1] + [0] * 29, "regression"),
        ("v", NUMBERS, "regression"),
        ("class", [i % 11 for i in range(33)], "classification"),
        ("species", [i % 14 + 1 for i in range(42)], "classification"),
        ("class", [i % 11 + 2 for i in range(33)], "regression"),  # does not begin at 0 or 1
        ("score", [i % 11 for i in range(33)], "regression"),
    ],
)
def test_the_task(name: str, values: Sequence[object], task: str, tmp_path: Path) -> None:
    file = table(tmp_path, {name: values})
    assert default_task(file.columns[name], file.n_rows, name) == task


def test_a_single_positive_is_no_target(tmp_path: Path) -> None:
    file = table(tmp_path, {"label": [0] * 29 + [1], "a": NUMBERS, "b": MORE})
    assert possible_tasks(file.columns["label"]) == ("classification",)
    assert why_no_target(file.columns["label"], 30) == (
        "has the class '1' in a single row, which cannot be used for both training and validation"
    )
    assert default_target(file, "t")[0] == "b"


@pytest.mark.parametrize(
    ("columns", "labels"),
    [
        ({"a": NUMBERS, "target_1": DUMMY, "target_2": DUMMY}, ("target_1", "target_2")),
        ({"a": NUMBERS, "target_1": DUMMY, "b": DUMMY}, ()),
        (
            {"text": [f"so many words in row {i}" for i in range(30)], "rude": DUMMY, "kind": DUMMY},
            ("rude", "kind"),
        ),
        ({"a": NUMBERS, "rude": DUMMY, "kind": DUMMY}, ()),
    ],
)
def test_several_labels(
    columns: dict[str, Sequence[object]], labels: tuple[str, ...], tmp_path: Path
) -> None:
    assert labels_of(table(tmp_path, columns)) == labels
