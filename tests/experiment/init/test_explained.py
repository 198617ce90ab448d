"""How much of a number the others explain."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from nnrun.experiment.init.explained import explained
from tests.support.tables_of_columns import likeliest, table


def test_what_depends_on_the_others_is_the_likelier_target(tmp_path: Path) -> None:
    rng = np.random.RandomState(0)
    b, c, d = rng.normal(size=(3, 100))
    columns = {"a": b + c + d + rng.normal(0, 0.3, 100), "b": b, "c": c, "d": d + rng.normal(0, 2, 100)}
    file = table(tmp_path, columns)
    first, last = (explained(file, name, list(columns)) for name in ("a", "d"))
    assert first is not None
    assert last is not None
    design = np.column_stack([np.ones(100), columns["b"], columns["c"], columns["d"]])
    left = columns["a"] - design @ np.linalg.lstsq(design, columns["a"], rcond=None)[0]
    assert first == pytest.approx(1 - left.var() / columns["a"].var() * 99 / 96)
    assert first > last + 0.15
    assert likeliest(file) == (
        "a",
        "the first column, which the others predict better than they predict the last",
    )


def test_too_few_rows_and_texts_say_nothing(tmp_path: Path) -> None:
    file = table(tmp_path, {"a": [1.5, 2, 7, 3], "b": [2.5, 1, 4, 4], "c": [1, 2, 4, 9], "d": list("xyxy")})
    assert explained(file, "a", ["a", "b", "c"]) is None
    assert explained(file, "d", ["a", "b"]) is None
