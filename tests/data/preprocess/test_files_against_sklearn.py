"""A file of random rows with gaps, through spec, reader and a fit on some rows, against scikit-learn."""

from __future__ import annotations

import tempfile
import zlib
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from sklearn.impute import SimpleImputer
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import (
    FunctionTransformer,
    MinMaxScaler,
    OneHotEncoder,
    OrdinalEncoder,
    StandardScaler,
)

from nnrun.data import load_dataset
from nnrun.data.table import Table
from nnrun.errors import DataError
from nnrun.spec.reading.load import load_spec
from tests.support.preprocessed import fit_preprocessing

SPEC = """
dataset: {csv: {path: rows.csv, target: y, types: {o: category, h: category, k: category}}}
preprocessing:
  inputs:
  - log1p: {columns: l}
  - impute: {columns: [a, l, b, m], strategy: STRATEGY, indicator: true}
  - standardize: {columns: [a, l]}
  - min_max: {columns: b}
  - ordinal: {columns: o, unknown: ignore}
  - impute: {columns: o, strategy: constant, value: -2}
  - one_hot: {columns: k, min_count: COUNT}
  - hashing: {columns: h, buckets: 5}
layers: [{dense: 1}]
loss: mse
validation: none
"""
GAP = st.none()
NUMBER = st.one_of(GAP, st.integers(-3, 3).map(float), st.floats(-1e3, 1e3, width=32))
LEVEL = st.one_of(GAP, st.sampled_from(["a", "b", "ä", "007", "x y"]))
ROW = st.tuples(NUMBER, NUMBER, st.one_of(GAP, st.floats(0, 100, width=32)), NUMBER, LEVEL, LEVEL, LEVEL)


@settings(deadline=None, max_examples=40)
@given(
    st.lists(ROW, min_size=6, max_size=25),
    st.sampled_from(["mean", "median", "most_frequent", "constant"]),
    st.integers(1, 3),
    st.randoms(use_true_random=False),
)
@example(  # trained on the rows 2 and 3 alone, in which the first column varies by less than float32 can hold
    [(value, 1.0, 1.0, 1.0, "a", "a", "a") for value in (0.0, 0.0, 0.0, 2.0**-126, 0.0, 0.0, 0.0)],
    "mean",
    1,
    Random(49),
)
def test_every_step(rows: list[Any], strategy: str, count: int, random: Any) -> None:
    frame = pd.DataFrame(rows, columns=list("ablmokh")).assign(y=np.arange(len(rows)) / 7)
    # No column may be constant: both ends stand in the file, and not always among the training rows.
    frame.loc[0, list("ablm")] = 1.0
    frame.loc[1, list("ablm")] = 2.5
    frame.loc[0, list("okh")] = "a"
    frame.loc[1, list("okh")] = "b"
    trained = sorted(random.sample(range(len(rows)), random.randint(2, len(rows))))
    of = {name: frame[name].to_numpy(np.float64)[:, None] for name in "ablm"}
    if any(np.isnan(of[name][trained]).all() for name in "ablm"):
        return  # what no training row holds has no mean: nnrun takes 0, scikit-learn leaves the column out
    imputed = {name: _imputed(name, strategy) for name in "ablm"}
    if any(_beyond_float32(name, imputed[name], of[name], trained) for name in "abl"):
        with pytest.raises(DataError, match="which is not a finite 32-bit number"):
            _ours(frame, trained, strategy, count)
        return
    found = _ours(frame, trained, strategy, count)
    start = 0
    for name in "ablm":
        scaler: list[Any] = {"a": [StandardScaler()], "l": [StandardScaler()], "b": [MinMaxScaler()]}.get(
            name, []
        )
        theirs = make_pipeline(imputed[name], *scaler).fit(of[name][trained]).transform(of[name])
        hardly_varies = _constant(imputed[name], of[name], trained)
        if not hardly_varies:
            np.testing.assert_allclose(found[:, start], theirs[:, 0], rtol=1e-4, atol=1e-4)
        start += 1
        if np.isnan(of[name][trained]).any():
            np.testing.assert_array_equal(found[:, start], np.isnan(of[name][:, 0]))
            start += 1
    held = {
        name: frame[name].astype(object).where(frame[name].notna(), np.nan).to_numpy()[:, None]
        for name in "okh"
    }
    encoder = OrdinalEncoder(
        handle_unknown="use_encoded_value", unknown_value=-1, encoded_missing_value=-2
    ).fit(held["o"][trained])
    ordinal = np.where(pd.isna(held["o"]), -2, encoder.transform(held["o"]))
    np.testing.assert_array_equal(found[:, start], ordinal[:, 0])
    named = frame[["k"]].fillna("~").to_numpy(object)  # behind all letters, as nnrun has a gap last
    one_hot = OneHotEncoder(min_frequency=count, handle_unknown="ignore", sparse_output=False).fit(
        named[trained]
    )
    counted = pd.Series(named[trained, 0]).value_counts()
    frequent = sorted(
        (level for level in counted.index if counted[level] >= count), key=lambda v: (v == "~", v)
    )
    np.testing.assert_array_equal(
        found[:, start + 1 : start + 1 + len(frequent)],
        np.stack([named[:, 0] == level for level in frequent], 1) if frequent else np.empty((len(named), 0)),
    )
    theirs = one_hot.transform(named)
    kept = [i for i, name in enumerate(one_hot.get_feature_names_out()) if "infrequent" not in name]
    assert sorted(theirs[:, kept].sum(0)) == sorted(found[:, start + 1 : start + 1 + len(frequent)].sum(0))
    hashed = found[:, start + 1 + len(frequent) :]
    for row, value in zip(hashed, frame["h"], strict=True):
        expected = np.zeros(5)
        if isinstance(value, str):
            expected[zlib.crc32(value.encode()) % 5] = 1
        np.testing.assert_array_equal(row, expected)


def _ours(frame: pd.DataFrame, trained: list[int], strategy: str, count: int) -> Any:
    written = f"{strategy}, value: 7.5" if strategy == "constant" else strategy
    with tempfile.TemporaryDirectory() as folder:
        frame.to_csv(Path(folder) / "rows.csv", index=False)
        path = Path(folder) / "spec.yaml"
        path.write_text(SPEC.replace("STRATEGY", written).replace("COUNT", str(count)))
        spec = load_spec(path).spec
        dataset = load_dataset(spec.dataset)
        fitted = fit_preprocessing(spec.preprocessing, dataset, np.array(trained), n_outputs=1)
        assert isinstance(dataset.train.inputs, Table)
        return fitted.input.transform(dataset.train.inputs).x_NF  # type: ignore[union-attr]


def _imputed(column: str, strategy: str) -> Any:
    """The steps of a column of numbers before it is scaled."""
    impute = SimpleImputer(strategy=strategy, fill_value=7.5 if strategy == "constant" else None)
    return make_pipeline(*[FunctionTransformer(np.log1p)] * (column == "l"), impute)


def _beyond_float32(column: str, before: Any, values: Any, trained: list[int]) -> bool:
    """Whether the training rows vary so little that another row is scaled to more than float32 can hold."""
    known = before.fit(values[trained]).transform(values[trained])
    centre, spread = (known.min(), np.ptp(known)) if column == "b" else (known.mean(), known.std())
    away = np.abs(before.transform(values) - centre).max()
    return bool(spread > 0 and away > spread * float(np.finfo(np.float32).max))


def _constant(before: Any, values: Any, trained: list[int]) -> bool:
    """Whether the training rows vary so little that dividing by their deviation is a matter of rounding."""
    filled = before.fit(values[trained]).transform(values[trained])
    return bool(0 < np.ptp(filled) < 1e-3)
