"""A column of some rows exchanged after the preprocessing is the column exchanged before it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from nnrun.data import SparseRows
from nnrun.data.dataset import TokenRows
from nnrun.data.table import Table
from nnrun.errors import UsageError
from nnrun.experiment.evaluating.exchanged_columns import PreparedRows, input_columns
from nnrun.lazy_torch import torch
from nnrun.model.inputs import DenseInputs, Inputs
from nnrun.spec import schema
from nnrun.spec.allowed_modules import allowing
from nnrun.spec.graph import graph_of
from nnrun.spec.ports import INPUT
from tests.support.column_tables import categories, dataset, fit, numbers, table, texts
from tests.support.preprocessed import fit_preprocessing
from tests.support.small_experiments import spec_text

CHAIN = graph_of(spec_text().spec)
CPU = torch.device("cpu")
WORDS = ["good film", "bad plot", "never good", None, "film film bad", "always", "plot", "good plot bad"]


def mixed() -> Table:
    return table(
        categories("kind", ["a", "b", "a", None, "c", "c", "b", "a"]),
        numbers("x", [1, 2, None, 4, 5.5, -3, 2, 0]),
        texts("words", WORDS),
        numbers("y", [10, 20, 30, 40, 50, 60, 70, 80]),
    )


STEPS: dict[str, list[Any]] = {
    "dense": ["impute", "standardize", "one_hot", {"hashing": {"buckets": 4, "columns": ["words"]}}],
    "sparse": ["impute", "standardize", "one_hot", "text"],
    "beside": [
        {"impute": {"indicator": True}},
        {"piecewise_linear": {"bins": 3, "keep": True}},
        "one_hot",
        "text",
    ],
    "means": ["impute", "standardize", {"target_mean": {"columns": ["kind"]}}, "text"],
    "rare": [
        "impute",
        "quantile",
        {"one_hot": {"min_count": 2, "rare": True}},
        {"text": {"weighting": "tf_idf"}},
    ],
}


def dense(inputs: Inputs) -> np.ndarray:
    if isinstance(inputs, DenseInputs):
        return inputs.x_SNF[0].numpy()
    return np.asarray(inputs.matrix.toarray(), np.float32)  # type: ignore[attr-defined]


@pytest.mark.parametrize("name", STEPS)
def test_each_column_by_itself(name: str) -> None:
    own = dataset(mixed(), np.arange(8.0))
    fitted = {INPUT: fit(mixed(), STEPS[name], y=[i + 0.5 for i in range(8)]).input}
    rows = PreparedRows.of(fitted, own.train)
    assert isinstance(rows.transformed[INPUT], SparseRows) == fitted[INPUT].sparse
    others = PreparedRows.of(fitted, own.train.take([3, 0, 6]))
    at = np.array([2, 0, 0, 1, 1, 2, 0, 2])
    columns = input_columns("run", CHAIN, own, fitted)
    assert [column.name for column in columns] == ["kind", "x", "words", "y"]
    for column in columns:
        changed = [c.take(np.array([3, 0, 6])[at]) if c.name == column.name else c for c in mixed().columns]
        expected = fitted[INPUT].transform(Table(tuple(changed), 8)).to_dense()
        found = dense(rows.with_column(column, others, at, CPU)[INPUT])
        np.testing.assert_array_equal(found, expected)
        assert (found != rows.transformed[INPUT].to_dense()).any()


def test_a_text_that_becomes_words_is_exchanged_whole() -> None:
    own = dataset(table(texts("words", WORDS)), np.arange(8.0))
    inputs = own.train.inputs
    assert isinstance(inputs, Table)
    fitted = {INPUT: fit(inputs, [{"tokens": {"num_words": 9}}, {"pad": 4}]).input}
    rows = PreparedRows.of(fitted, own.train)
    at = np.array([5, 4, 3, 2, 1, 0, 7, 6])
    (column,) = input_columns("run", CHAIN, own, fitted)
    found = dense(rows.with_column(column, rows, at, CPU)[INPUT])
    np.testing.assert_array_equal(found, fitted[INPUT].transform(inputs.take(at)).to_dense())


class Sums:
    """A step of a person's own: a feature is a sum of columns, so that none is of one column alone."""

    def fit(self, x: np.ndarray) -> list[float]:
        return [float(value) for value in x.mean(0)]

    def transform(self, x: np.ndarray, state: list[float]) -> np.ndarray:
        return np.cumsum(x - np.array(state), axis=1)


def test_code_of_ones_own_sees_the_exchanged_rows() -> None:
    own = dataset(mixed().select(["kind", "y"]), np.arange(8.0))
    inputs = own.train.inputs
    assert isinstance(inputs, Table)
    step = {"custom": {"object": f"{__name__}:Sums"}}
    with allowing([__name__]):
        fitted = {INPUT: fit(inputs, ["standardize", "one_hot", step]).input}
        rows, at = PreparedRows.of(fitted, own.train), np.array([5, 4, 3, 2, 1, 0, 7, 6])
        columns = input_columns("run", CHAIN, own, fitted)
        found = dense(rows.with_column(columns[1], rows, at, CPU)[INPUT])
        changed = Table((inputs.columns[0], inputs.columns[1].take(at)), 8)
        np.testing.assert_array_equal(found, fitted[INPUT].transform(changed).to_dense())
        x = np.random.default_rng(0).normal(size=(8, 3))
        own = dataset(x, np.arange(8.0))
        steps = schema.Preprocessing.model_validate({"inputs": [step], "targets": "none"})
        fitted = {INPUT: fit_preprocessing(steps, own, n_outputs=1).input}
        rows = PreparedRows.of(fitted, own.train)
        columns = input_columns("run", CHAIN, own, fitted)
        found = dense(rows.with_column(columns[0], rows, at, CPU)[INPUT])
        exchanged = np.column_stack([x[at, 0], x[:, 1:]])
        np.testing.assert_array_equal(found, fitted[INPUT].transform(exchanged).to_dense())


def test_features_of_an_array_are_columns() -> None:
    x = np.random.default_rng(0).normal(size=(6, 3))
    own = dataset(x, np.arange(6.0))
    steps = schema.Preprocessing.model_validate({"inputs": ["standardize"], "targets": "none"})
    fitted = {INPUT: fit_preprocessing(steps, own, n_outputs=1).input}
    rows, at = PreparedRows.of(fitted, own.train), np.array([1, 2, 3, 4, 5, 0])
    columns = input_columns("run", CHAIN, own, fitted)
    assert [column.name for column in columns] == ["0", "1", "2"]
    changed = x.copy()
    changed[:, 1] = x[at, 1]
    found = dense(rows.with_column(columns[1], rows, at, CPU)[INPUT])
    np.testing.assert_array_equal(found, fitted[INPUT].transform(changed).to_dense())
    np.testing.assert_array_equal(columns[1].raw(own.train), x[:, 1])


def test_features_of_steps_are_columns_of_what_goes_along_them() -> None:
    x = np.random.default_rng(0).normal(size=(6, 4, 2))
    own = dataset(x, np.arange(6.0))
    steps = schema.Preprocessing.model_validate({"inputs": ["standardize"], "targets": "none"})
    fitted = {INPUT: fit_preprocessing(steps, own, n_outputs=1).input}
    lstm = graph_of(spec_text(layers=[{"dropout": 0.1}, {"lstm": 3}, {"dense": 1}]).spec)
    rows, at = PreparedRows.of(fitted, own.train), np.array([1, 2, 3, 4, 5, 0])
    columns = input_columns("run", lstm, own, fitted)
    assert [(column.name, column.of_steps) for column in columns] == [("0", True), ("1", True)]
    changed = x.copy()
    changed[:, :, 1] = x[at, :, 1]
    found = dense(rows.with_column(columns[1], rows, at, CPU)[INPUT])
    np.testing.assert_array_equal(found, fitted[INPUT].transform(changed).to_dense())
    assert columns[1].raw(own.train) is None
    flat = graph_of(spec_text(layers=["flatten", {"dense": 1}]).spec)
    with pytest.raises(UsageError, match="which have no columns to shuffle"):
        input_columns("run", flat, own, fitted)


def test_images_and_words_have_no_columns() -> None:
    steps = schema.Preprocessing.model_validate({"inputs": "multi_hot", "targets": "none"})
    tokens = dataset(TokenRows.from_lists([[1, 2], [3], [1]]))
    fitted = {INPUT: fit_preprocessing(steps, tokens, n_outputs=1).input}
    with pytest.raises(UsageError, match=r"^The inputs of run are lists of words, which have no columns"):
        input_columns("run", CHAIN, tokens, fitted)
    images = dataset(np.zeros((3, 8, 8), np.uint8))
    no_steps = schema.Preprocessing.model_validate({"inputs": [], "targets": "none"})
    fitted = {INPUT: fit_preprocessing(no_steps, images, n_outputs=1).input}
    with pytest.raises(UsageError, match=r"are arrays of shape \(8, 8\), such as images, which have"):
        input_columns("run", CHAIN, images, fitted)
