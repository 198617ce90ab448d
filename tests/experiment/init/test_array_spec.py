"""First specs for npz archives."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from nnrun.experiment.init.array_spec import initial_spec_of_npz
from nnrun.experiment.setup.check_data import problems_of_data
from nnrun.spec.reading.load import load_spec

RNG = np.random.RandomState(0)
CLASSES = np.arange(60) % 3


@pytest.mark.parametrize(
    ("x", "y", "parts"),
    [
        (RNG.rand(60, 4), CLASSES, ["dense: {units: 3, activation: softmax}", "inputs: standardize"]),
        (RNG.rand(60, 4), CLASSES % 2, ["dense: {units: 1, activation: sigmoid}"]),
        (RNG.rand(60, 4), np.array(["a", "b", "c"])[CLASSES], ["dense: {units: 3, activation: softmax}"]),
        (RNG.rand(60, 4), RNG.rand(60), ["dense: 1 ", "targets: standardize"]),
        (RNG.rand(60, 4), RNG.rand(60, 2), ["dense: 2 "]),
        (
            RNG.randint(0, 255, (60, 8, 9), np.uint8),
            CLASSES,
            ["reshape: [8, 9, 1]", "conv2d", "inputs: rescale"],
        ),
        (RNG.rand(60, 8, 9, 3), RNG.rand(60), ["layers:\n  - conv2d", "dense: 1 "]),
        (RNG.rand(60, 5, 3), CLASSES, ["  - flatten  # rows of (5, 3)", "dense: {units: 16"]),
    ],
)
def test_arrays(x: np.ndarray, y: np.ndarray, parts: list[str], tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", x_train=x, y_train=y)
    text = initial_spec_of_npz(tmp_path / "a.npz", tmp_path / "s.yaml").text
    for part in parts:
        assert part in text
    (tmp_path / "s.yaml").write_text(text)
    loaded = load_spec(tmp_path / "s.yaml")
    assert loaded.warnings == ()
    assert problems_of_data(loaded) == ()
