"""What can be predicted, and as what."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from nnrun.errors import DataError
from nnrun.experiment.init.target import (
    default_task,
    labels_of,
    possible_tasks,
    require_classes,
    require_target,
    why_no_target,
)
from tests.support.tables_of_columns import CLASSES, DUMMY, NUMBERS, likeliest, table

MORE = [i * 2.5 % 11 for i in range(30)]


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
    assert likeliest(file)[0] == "b"


@pytest.mark.parametrize(
    ("alone", "advice"),
    [
        (1, "Take out that row (line 2), or give rare classes one name in the file, such as other."),
        (2, "Take out the 2 rows of such classes (line 2 and line 3), or give"),
        (7, "Take out the 7 rows of such classes (line 2, line 3, line 4, line 5, line 6, ...), or give"),
    ],
)
def test_what_to_do_about_classes_of_one_row_is_said(tmp_path: Path, alone: int, advice: str) -> None:
    topics = [f"rare {i}" for i in range(alone)] + ["grain", "tin"] * 20
    file = table(tmp_path, {"topic": topics, "a": list(range(len(topics)))})
    for refuse in (require_target, require_classes):
        with pytest.raises(DataError) as caught:
            refuse(file, "topic")
        assert advice in str(caught.value)


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
