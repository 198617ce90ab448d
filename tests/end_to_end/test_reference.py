"""Histories that Keras computed, reproduced by the real command."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from safetensors.numpy import load_file

from tests.support.commands import nnrun_command

CASES = ("boston-rmsprop", "imdb-rmsprop", "reuters-rmsprop")


@pytest.mark.parametrize("case", CASES)
def test_a_reference_history_is_reproduced(case: str, reference_dir: Path, tmp_path: Path) -> None:
    folder = reference_dir / case
    result = nnrun_command("train", str(folder / "spec.yaml"), "-q", cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    (run,) = (tmp_path / "runs").iterdir()
    ours, keras = pd.read_csv(run / "history.csv"), pd.read_csv(folder / "history.csv")
    assert ours["epoch"].tolist() == keras["epoch"].tolist()
    for column in keras.columns.drop("epoch"):
        np.testing.assert_allclose(ours[column], keras[column], rtol=1e-3, atol=1e-4, err_msg=column)
    weights, final = load_file(run / "weights.safetensors"), load_file(folder / "final.safetensors")
    assert weights.keys() == final.keys()
    for name, value in final.items():
        np.testing.assert_allclose(weights[name], value, rtol=1e-3, atol=1e-4, err_msg=name)
