"""The tables that ship with scikit-learn, compared with what scikit-learn reads."""

from __future__ import annotations

import re
from pathlib import Path
from types import SimpleNamespace
from typing import get_args

import numpy as np
import pytest
from sklearn import datasets

from nnrun.data.sources import sklearn_tables
from nnrun.errors import DataError
from nnrun.spec import schema

NAMES = get_args(schema.Sklearn.model_fields["name"].annotation)


@pytest.mark.parametrize("name", NAMES)
def test_a_table_is_that_of_scikit_learn(name: str) -> None:
    bunch = getattr(datasets, f"load_{name}")()
    table = sklearn_tables.read_sklearn_table(name)
    assert table.inputs.dtype == np.float64
    assert table.inputs.flags.c_contiguous
    assert table.inputs.tobytes() == np.ascontiguousarray(bunch.data, np.float64).tobytes()
    assert table.targets.tolist() == bunch.target.tolist()
    assert list(table.feature_names) == list(bunch.feature_names)
    classes = bunch.get("target_names")
    assert table.class_names == (None if classes is None else tuple(map(str, classes)))


@pytest.mark.parametrize("installed", [True, False])
def test_a_missing_file_is_told(installed: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    spec = SimpleNamespace(submodule_search_locations=[str(tmp_path)]) if installed else None
    monkeypatch.setattr(sklearn_tables, "find_spec", lambda name: spec)
    message = (
        "scikit-learn has no file datasets/data/iris.csv on this machine. Install it again: "
        "pip install --force-reinstall scikit-learn"
    )
    with pytest.raises(DataError, match=f"^{re.escape(message)}$"):
        sklearn_tables.read_sklearn_table("iris")
