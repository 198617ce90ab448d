"""Which column is predicted."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from nnrun.errors import DataError
from nnrun.experiment.init.likely_target import candidates
from nnrun.experiment.init.target import why_no_target
from tests.support.tables_of_columns import CLASSES, DUMMY, GAPS, NAMES, NUMBERS, OTHERS, likeliest, table

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
    assert likeliest(table(tmp_path, columns)) == (target, why)


def test_the_runners_up(tmp_path: Path) -> None:
    file = table(tmp_path, {"a": NUMBERS, "salary": MORE, "sex": DUMMY, "b": CLASSES})
    assert [candidate.name for candidate in candidates(file, "t")] == ["salary", "a", "b", "sex"]


MANY = {f"x{i}": [(i + 2) * j * 1.7 % 13 for j in range(30)] for i in range(5)}
TIMES = [(i * 7 + 3) % 31 for i in range(30)]
GROUPS = ["a"] * 10 + ["b"] * 10 + ["c"] * 10
SOME = ["a"] * 7 + ["b"] * 13 + ["c"] * 10
SORTED = [i // 2 + 0.5 for i in range(30)]
DOSES = [0.5, 1, 2, 0.5, 1, 2.0] * 5


@pytest.mark.parametrize(
    ("columns", "stem", "target"),
    [
        # words of the field, the surest first
        ({"a": NUMBERS, "salary": MORE, "rate": TIMES, "b": MORE}, "t", "salary"),
        ({"a": NUMBERS, "rate": MORE, "weight": TIMES, "b": MORE}, "t", "rate"),
        ({"a": NUMBERS, "avgsalary": MORE, "b": NUMBERS}, "t", "avgsalary"),
        # the file's name
        ({"a": NUMBERS, "tip": MORE, "b": MORE}, "tips", "tip"),
        ({"a": NUMBERS, "happy": MORE, "b": MORE}, "happiness", "happy"),
        # what an experiment set: groups of one size, doses, what the file is sorted by
        ({"y1": NUMBERS, "kind": GROUPS}, "t", "y1"),
        ({"y1": NUMBERS, "b": MORE, "kind": SOME}, "t", "kind"),
        ({"y1": NUMBERS, "kind": SOME}, "t", "y1"),  # a measurement of groups
        ({"y1": NUMBERS, "amount_set": DOSES}, "t", "y1"),
        ({"y1": NUMBERS, "b": SORTED}, "t", "y1"),
        # computed, earlier, known beforehand
        ({"price": NUMBERS, "lprice": MORE}, "t", "price"),
        ({"age": TIMES, "re74": NUMBERS, "re75": MORE[::-1], "re78": MORE, "educ": TIMES}, "t", "re78"),
        ({"colGPA": NUMBERS, "hsGPA": MORE}, "t", "colGPA"),
        ({"a": NUMBERS, "age": MORE}, "t", "a"),
        # a price beside what was sold at it
        ({"sales": NUMBERS, "price": MORE, "a": NUMBERS}, "t", "sales"),
        ({"gas": NUMBERS, "price": MORE, "income": TIMES, "a": NUMBERS}, "t", "gas"),
        # a word of targets before a unit, or of a time to come
        ({"a": NUMBERS, "strength(MPa, megapascals)": MORE, "b": NUMBERS}, "t", "strength(MPa, megapascals)"),
        ({"a": NUMBERS, "default.payment.next.month": DUMMY, "b": MORE}, "t", "default.payment.next.month"),
        # a formula's letters, and what is not one of many numbered columns
        ({"Y house price": MORE, "X1 date": NUMBERS, "X2 age": TIMES}, "t", "Y house price"),
        ({"y1": MORE, "x1": NUMBERS, "x2": TIMES, "b": NUMBERS}, "t", "y1"),
        ({"fat": MORE, **MANY}, "t", "fat"),
        ({**MANY, "fat": MORE}, "t", "fat"),
        # a measurement rather than few values
        ({"a": NUMBERS, "ward": [2, 3, 5, 7, 2, 7] * 5}, "t", "a"),
        # the time until an event, beside the mark of the event
        ({"a": NUMBERS, "time": TIMES, "status": DUMMY, "b": MORE, "c": MORE}, "t", "time"),
        ({"a": NUMBERS, "time": TIMES, "b": MORE, "c": MORE}, "t", "c"),
        # the only classes among measurements, at an end
        ({"kind": SOME, **MANY, "z9": MORE}, "t", "kind"),
        ({"a": NUMBERS, "kind": SOME, **MANY, "z9": MORE}, "t", "a"),
        # the last column, called as classes are, beside other classes
        ({"a": NUMBERS, "b": MORE, "shop": CLASSES, "kind": SOME}, "t", "kind"),
        ({"a": NUMBERS, "b": MORE, "flag": DUMMY, "wine type": SOME}, "t", "wine type"),
        ({"a": NUMBERS, "b": MORE, "shop": CLASSES, "kind": GROUPS}, "t", "a"),
        ({"a": NUMBERS, "kind": SOME, "shop": CLASSES, "b": MORE}, "t", "b"),
        # a 0/1 column among others, unless its name is that of an outcome
        ({"a": NUMBERS, "b": MORE, "smokes": DUMMY, "course_success": DUMMY[::-1]}, "t", "course_success"),
        # species is often the target, but less surely than a measurement's name
        ({"species": SOME, "a": NUMBERS, "b": MORE}, "t", "species"),
        ({"species": SOME, "a": NUMBERS, "yield": MORE}, "t", "yield"),
    ],
)
def test_each_rule(columns: dict[str, Sequence[object]], stem: str, target: str, tmp_path: Path) -> None:
    assert candidates(table(tmp_path, columns), stem)[0].name == target


def test_y_beside_x_and_z_is_a_place(tmp_path: Path) -> None:
    place = {"x": NUMBERS, "y": MORE, "z": NUMBERS[::-1], "height": MORE}
    assert likeliest(table(tmp_path, place))[0] == "height"
    assert likeliest(table(tmp_path, {"x": NUMBERS, "y": MORE, "b": NUMBERS}))[0] == "y"


def test_equal_points_go_to_the_later_column(tmp_path: Path) -> None:
    file = table(tmp_path, {"a": NUMBERS, "b": MORE, "c": NUMBERS, "d": MORE})
    assert [candidate.name for candidate in candidates(file, "t")] == ["d", "a", "c", "b"]


def test_no_target(tmp_path: Path) -> None:
    file = table(tmp_path, {"a": NAMES, "b": [""] * 30})
    with pytest.raises(DataError, match=r"^.*t\.csv: no column can be the target: 'a' has 30 different"):
        likeliest(file)
    assert why_no_target(file.columns["b"], 30) == "has no value in any row"
