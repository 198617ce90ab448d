"""Specs with linear_member, over a table that a straight line fits."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

ROWS, TEST_ROWS = 90, 30

NUMBERS = ["a", "b"]

HIDDEN: list[Any] = [{"dense": {"units": 8, "activation": "relu"}}]

LAST: dict[str, dict[str, Any]] = {
    "number": {"dense": {"units": 1, "use_bias": False}},
    "binary": {"dense": {"units": 1, "activation": "sigmoid"}},
    "classes": {"dense": {"units": 3, "activation": "softmax"}},
}

LOSSES = {"number": "mse", "binary": "binary_crossentropy", "classes": "categorical_crossentropy"}


def table(target: str, rows: int, seed: int) -> pd.DataFrame:
    """Two numbers, and what follows from them in a straight line: a number, or one of several classes."""
    rng = np.random.RandomState(seed)
    frame = pd.DataFrame(rng.normal(5, 2, (rows, 2)), columns=NUMBERS)
    y = 3 * frame["a"] - 2 * frame["b"] + rng.normal(0, 1, rows)
    if target == "binary":
        return frame.assign(y=np.where(y > 5, "yes", "no"))
    if target == "classes":
        return frame.assign(y=np.where(y > 8, "much", np.where(y > 2, "some", "few")))
    return frame.assign(y=y)


def spec_over(folder: Path, target: str, **changes: Any) -> Path:
    """A spec over rows.csv, tested on later.csv."""
    table(target, ROWS, 0).to_csv(folder / "rows.csv", index=False)
    table(target, TEST_ROWS, 1).to_csv(folder / "later.csv", index=False)
    spec: dict[str, Any] = {
        "dataset": {"csv": {"path": "rows.csv", "target": "y", "test": {"path": "later.csv"}}},
        "preprocessing": {
            "inputs": [{"piecewise_linear": {"bins": 4, "keep": True}}, {"quantile": "normal"}]
        },
        "layers": [*HIDDEN, LAST[target]],
        "loss": LOSSES[target],
        "epochs": 4,
        "batch_size": 16,
        "validation": {"kfold": {"k": 3, "shuffle": True}},
        "linear_member": True,
    }
    if target == "number":
        spec["preprocessing"]["targets"] = "standardize"
    path = folder / "small.yaml"
    path.write_text("".join(f"{key}: {json.dumps(value)}\n" for key, value in (spec | changes).items()))
    return path
