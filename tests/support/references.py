"""A folder of a spec, its data, and the history and weights that Keras computed of it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
from safetensors.numpy import load_file

from tests.support.commands import nnrun_command


def train_reference(folder: Path, cwd: Path) -> Path:
    """Train the folder's spec with the real command; the run's folder."""
    result = nnrun_command("train", str(folder / "spec.yaml"), "-q", cwd=cwd)
    assert result.returncode == 0, result.stderr
    (run,) = (cwd / "runs").iterdir()
    return run


def assert_same_history(history: Path, keras: pd.DataFrame) -> None:
    """Every value of every epoch within 1e-3 relative or 1e-4 absolute of Keras's."""
    ours = pd.read_csv(history)
    assert ours["epoch"].tolist() == keras["epoch"].tolist()
    for column in keras.columns.drop("epoch"):
        np.testing.assert_allclose(ours[column], keras[column], rtol=1e-3, atol=1e-4, err_msg=column)


def assert_same_weights(weights: Path, keras: Path) -> None:
    """The same arrays, each value within 1e-3 relative or 1e-4 absolute."""
    ours, final = load_file(weights), load_file(keras)
    assert ours.keys() == final.keys()
    for name, value in final.items():
        np.testing.assert_allclose(ours[name], value, rtol=1e-3, atol=1e-4, err_msg=name)
