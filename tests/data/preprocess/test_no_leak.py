"""No step learns anything from validation rows: whatever becomes of them, the fitted state is the same.

Over every step of the registry: a new one is found here, and needs an example.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nnrun.data import Dataset, Samples
from nnrun.data.dataset import TokenRows
from nnrun.data.table import CategoryColumn, NumberColumn, Table, TextColumn
from nnrun.spec import schema
from tests.support.example_tables import line_for
from tests.support.preprocessed import fit_preprocessing

TRAIN = np.arange(12)
ROWS = 20
LEVELS = ("a", "b", "c", "new", "other")
WORDS = ("good", "bad", "film", "plot", "never", "always")

numbers = st.lists(st.floats(0, 1e6) | st.just(float("nan")), min_size=8, max_size=8)
codes = st.lists(st.integers(-1, len(LEVELS) - 1), min_size=8, max_size=8)
texts = st.lists(
    st.none() | st.lists(st.sampled_from(WORDS), max_size=6).map(" ".join), min_size=8, max_size=8
)
tokens = st.lists(st.lists(st.integers(0, 19), min_size=1, max_size=9), min_size=8, max_size=8)

# A step alone, or with what must come before or after it.
STEPS: dict[str, list[Any]] = {
    "multi_hot": ["multi_hot"],
    "pad": [{"pad": 5}],
    "standardize": ["impute", "standardize", "one_hot", "text"],
    "min_max": ["impute", "min_max", "one_hot", "text"],
    "rescale": ["impute", {"rescale": {"scale": 0.5, "offset": 1}}, "one_hot", "text"],
    "log1p": ["impute", "log1p", "one_hot", "text"],
    "robust": ["impute", "robust", "one_hot", "text"],
    "quantile": ["impute", "quantile", "one_hot", "text"],
    "piecewise_linear": ["impute", {"piecewise_linear": {"bins": 4, "keep": True}}, "one_hot", "text"],
    "impute": [{"impute": {"strategy": "median", "indicator": True}}, "one_hot", "text"],
    "one_hot": ["impute", {"one_hot": {"min_count": 2}}, "text"],
    "ordinal": ["impute", {"ordinal": {"unknown": "ignore"}}, "text"],
    "lookup": ["impute", {"lookup": {"min_count": 2}}, "text"],
    "target_mean": ["impute", "target_mean", "text"],
    "hashing": ["impute", {"hashing": {"buckets": 4}}, "text"],
    "text": ["impute", "one_hot", {"text": {"min_count": 2, "weighting": "tf_idf"}}],
    "tokens": [{"tokens": {"num_words": 10}}, "multi_hot"],
    "none": ["none"],
    "augment": [{"augment": {"flip": "both"}}],
    "datetime": ["impute", "one_hot", "text", "datetime"],
}


def inputs_of(kind: str, x: Any, c: Any, t: Any, w: Any) -> Table | TokenRows | np.ndarray:
    rng = np.random.default_rng(0)
    if kind in ("multi_hot", "pad"):
        return TokenRows.from_lists([*rng.integers(1, 15, (len(TRAIN), 6)).tolist(), *w])
    amounts = np.concatenate([rng.uniform(0, 9, len(TRAIN)), x])
    if kind in ("none", "augment"):
        return np.nan_to_num(amounts)[:, None]
    values = np.empty(ROWS, object)
    values[:] = [" ".join(rng.choice(WORDS[:4], 5)) for _ in TRAIN] + t
    text = TextColumn("text", values)
    if kind == "tokens":
        return Table((text,), ROWS)
    levels = np.concatenate([rng.integers(0, 3, len(TRAIN)), c]).astype(np.int32)
    columns = [NumberColumn("x", amounts), CategoryColumn("c", levels, LEVELS), text]
    if kind == "datetime":
        dates = tuple(f"2024-0{month + 1}-11 0{month}:30" for month in range(len(LEVELS)))
        columns.append(CategoryColumn("d", levels, dates, dates=True))
    return Table(tuple(columns), ROWS)


def fitted(step: list[Any], targets_step: str, inputs: Any, targets: np.ndarray) -> dict[str, Any]:
    preprocessing = schema.Preprocessing.model_validate({"inputs": step, "targets": targets_step})
    task: Any = "multiclass" if targets.dtype.kind == "i" else "regression"
    dataset = Dataset("rows", Samples(inputs, targets), None, (), task, classes=3 if task else None)
    return fit_preprocessing(
        preprocessing, dataset, TRAIN, n_outputs=3 if task == "multiclass" else 1
    ).to_json()


@cache
def fitted_calmly(kind: str) -> dict[str, Any]:
    """What the step learns beside rows that are all the same."""
    calm = inputs_of(kind, [1.0] * 8, [0] * 8, ["good film"] * 8, [[1, 2, 3]] * 8)
    steps = line_for(STEPS, kind, "STEPS of tests/data/preprocess/test_no_leak.py")
    return fitted(steps, "one_hot", calm, np.arange(ROWS) % 3)


@pytest.mark.parametrize("kind", schema.components(schema.InputStep))
@given(x=numbers, c=codes, t=texts, w=tokens)
def test_input_steps(kind: str, x: Any, c: Any, t: Any, w: Any) -> None:
    changed = inputs_of(kind, x, c, t, w)
    steps = line_for(STEPS, kind, "STEPS of tests/data/preprocess/test_no_leak.py")
    assert fitted(steps, "one_hot", changed, np.arange(ROWS) % 3) == fitted_calmly(kind)


@pytest.mark.parametrize("kind", schema.components(schema.InputStep))
def test_no_rows_are_transformed_as_some_are(kind: str) -> None:
    """Where all rows that were read are bad, none is left."""
    inputs = inputs_of(kind, [1.0] * 8, [0] * 8, ["good film"] * 8, [[1, 2, 3]] * 8)
    steps = line_for(STEPS, kind, "STEPS of tests/data/preprocess/test_no_leak.py")
    preprocessing = schema.Preprocessing.model_validate({"inputs": steps, "targets": "one_hot"})
    dataset = Dataset("rows", Samples(inputs, np.arange(ROWS) % 3), None, (), "multiclass", classes=3)
    own = fit_preprocessing(preprocessing, dataset, TRAIN, n_outputs=3).input
    none = inputs[:0] if isinstance(inputs, np.ndarray) else inputs.take(np.zeros(0, np.int64))
    assert len(own.transform(none)) == 0


@pytest.mark.parametrize("kind", schema.components(schema.TargetStep))
@given(values=st.lists(st.floats(-1e6, 1e6), min_size=8, max_size=8), labels=st.permutations([0, 1, 2] * 3))
def test_target_steps(kind: str, values: list[float], labels: list[int]) -> None:
    inputs = np.ones((ROWS, 2))
    classes = kind in ("one_hot", "class_index")
    known: Any = np.arange(len(TRAIN)) % 3 if classes else np.linspace(0, 5, len(TRAIN))
    endings: Any = ([0] * 8, labels[:8]) if classes else ([0.0] * 8, values)
    if kind == "characters":  # rows of code points; two of them and the blank are the output's units
        known = 97 + np.arange(len(TRAIN))[:, None] % 2
        endings = [97 + np.array(ending)[:, None] for ending in ([0] * 8, labels[:8])]
    found = [fitted(["none"], kind, inputs, np.concatenate([known, ending])) for ending in endings]
    assert found[0] == found[1]


def test_the_training_rows_do_count() -> None:
    """What the law above cannot tell: a step that learns nothing at all would keep it."""
    states = []
    for first in (1.0, 100.0):
        inputs = inputs_of("standardize", [1.0] * 8, [0] * 8, ["good"] * 8, [])
        assert isinstance(inputs, Table)
        (column, *others) = inputs.columns
        assert isinstance(column, NumberColumn)
        column.values[0] = first
        table = Table((column, *others), ROWS)
        states.append(fitted(STEPS["standardize"], "one_hot", table, np.arange(ROWS) % 3))
    assert states[0] != states[1]
