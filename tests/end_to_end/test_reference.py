"""Histories that Keras computed, reproduced by the real command."""

from pathlib import Path

import pandas as pd
import pytest

from tests.support.references import assert_same_history, assert_same_weights, train_reference

CASES = ("boston-rmsprop", "imdb-rmsprop", "reuters-rmsprop")


@pytest.mark.parametrize("case", CASES)
def test_a_reference_history_is_reproduced(case: str, reference_dir: Path, tmp_path: Path) -> None:
    folder = reference_dir / case
    run = train_reference(folder, tmp_path)
    assert_same_history(run / "history.csv", pd.read_csv(folder / "history.csv"))
    assert_same_weights(run / "weights.safetensors", folder / "final.safetensors")
