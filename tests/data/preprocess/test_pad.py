"""Token rows padded as Keras's `pad_sequences` pads them."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nnrun.data import Dataset, DenseRows, FittedPreprocessing, Samples, TokenRows
from nnrun.data.preprocess.fitted_step import FitContext
from nnrun.data.preprocess.token_steps import FittedPad
from nnrun.errors import DataError
from nnrun.spec import schema
from tests.support.preprocessed import fit_preprocessing

ENDS = st.sampled_from(["pre", "post"])


def dataset(lists: list[list[int]], num_words: int | None = None) -> Dataset:
    samples = Samples(TokenRows.from_lists(lists), np.zeros(len(lists)))
    return Dataset(name="words", train=samples, test=None, sources=(), num_words=num_words)


def fitted(lists: list[list[int]], num_words: int | None = None, **step: Any) -> FittedPreprocessing:
    spec = schema.Preprocessing(inputs=[schema.Pad(**step)])
    return fit_preprocessing(spec, dataset(lists, num_words), n_outputs=1)


def padded_one_by_one(row: list[int], pad: FittedPad) -> list[int]:
    """What the documentation of `pad_sequences` says, for one list."""
    row = [token for token in row if token < pad.tokens]
    row = row[-pad.length :] if pad.truncate == "pre" else row[: pad.length]
    filling = [pad.value] * (pad.length - len(row))
    return filling + row if pad.side == "pre" else row + filling


@given(
    lists=st.lists(st.lists(st.integers(0, 9), max_size=7), max_size=6),
    length=st.integers(1, 6),
    side=ENDS,
    truncate=ENDS,
    value=st.integers(0, 5),
)
def test_each_row_is_padded_or_cut(
    lists: list[list[int]], length: int, side: Any, truncate: Any, value: int
) -> None:
    pad = FittedPad(length, side, truncate, value, tokens=8)
    found = pad.transform(TokenRows.from_lists(lists), {}).x_NF
    assert found.dtype == np.float32
    assert found.shape == (len(lists), length)
    assert found.tolist() == [padded_one_by_one(row, pad) for row in lists]


def test_rows_come_in_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = TokenRows.from_lists([[1, 2, 3], [4], [], [5, 6]])
    pad = FittedPad(2, "pre", "pre", 0, 10)
    whole = pad.transform(rows, {}).x_NF
    monkeypatch.setattr("nnrun.data.preprocess.token_steps._BLOCK_TOKENS", 2)
    np.testing.assert_array_equal(pad.transform(rows, {}).x_NF, whole)
    assert whole.tolist() == [[2, 3], [0, 4], [0, 0], [5, 6]]


def test_defaults_come_from_the_training_rows() -> None:
    """The longest row, and one more than the highest token; later tokens are left out, as multi_hot does."""
    found = fitted([[1, 2, 3], [7]])
    assert found.input.token_step == FittedPad(3, "pre", "pre", 0, 8)
    assert (found.input.width, found.input.tokens, found.input.n_features) == (3, 8, None)
    rows = found.input.transform(TokenRows.from_lists([[5, 8, 9, 6]]))
    assert isinstance(rows, DenseRows)
    assert rows.x_NF.tolist() == [[0, 5, 6]]


def test_num_words_and_the_filling_value_count_too() -> None:
    assert fitted([[1]], num_words=50).input.tokens == 50
    assert fitted([[1]], value=9).input.tokens == 10
    assert fitted([[], []]).input.width == 1


def test_rows_that_are_not_trained_on_change_nothing() -> None:
    spec = schema.Preprocessing(inputs=[schema.Pad()])
    data = dataset([[1, 2], [3], [99, 98, 97, 96]])
    assert fit_preprocessing(spec, data, [0, 1], n_outputs=1) == fitted([[1, 2], [3]])


def test_json_keeps_everything() -> None:
    before = fitted([[1, 2, 3]], length=4, side="post", truncate="post", value=2)
    again = FittedPreprocessing.from_json(json.loads(json.dumps(before.to_json())))
    assert again == before


@pytest.mark.parametrize(
    "change",
    [
        {"length": 0},
        {"length": 2.0},
        {"side": "left"},
        {"truncate": None},
        {"value": 8},
        {"tokens": 1 << 30},
        {"more": 1},
    ],
    ids=str,
)
def test_a_damaged_document_is_refused(change: dict[str, Any]) -> None:
    document = fitted([[1, 7]]).to_json()
    document["inputs"][0]["pad"] |= change
    with pytest.raises(DataError, match="JSON is damaged"):
        FittedPreprocessing.from_json(document)


def test_what_cannot_be_padded() -> None:
    table = Dataset(name="t", train=Samples(np.zeros((2, 2)), np.zeros(2)), test=None, sources=())
    with pytest.raises(DataError, match="pad needs lists of tokens, but the inputs of t are a table"):
        fit_preprocessing(schema.Preprocessing(inputs=[schema.Pad()]), table, n_outputs=1)
    both = schema.Preprocessing(inputs=[schema.Pad(), schema.Standardize()])
    with pytest.raises(DataError, match="standardize does not apply to pad rows, which are word indices"):
        fit_preprocessing(both, dataset([[1]]), n_outputs=1)
    with pytest.raises(DataError, match="holds the token -1"):
        FittedPad(2, "pre", "pre", 0, 5).transform(TokenRows.from_lists([[-1]]), {})
    with pytest.raises(
        DataError, match=r"tokens up to 16,777,216 are too many; 16,777,216 can be told apart"
    ):
        FittedPad.fit(schema.Pad(), TokenRows.from_lists([[1 << 24]]), FitContext())
