"""Rows of which each input takes an array or a list of its own."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from nnrun.data.dataset import RowsByInput, TokenRows
from nnrun.data.new_rows.input_batches import InputBatch, input_batches
from nnrun.data.new_rows.positional_columns import PositionalDecoder
from nnrun.data.new_rows.row_source import RowSource, source_of
from nnrun.data.new_rows.several_inputs import SeveralInputsDecoder
from nnrun.data.new_rows.token_rows import TokenDecoder
from nnrun.data.vocabulary import Vocabulary
from nnrun.errors import DataError


def no_words() -> Vocabulary:
    raise DataError("no words are known")


def decoder(told: list[str] | None = None) -> SeveralInputsDecoder:
    size = PositionalDecoder((2,), None, array="sizes")
    words = TokenDecoder(no_words, False, array="words")
    return SeveralInputsDecoder({"size": size, "words": words}, [].append if told is None else told.append)


def values(batch: InputBatch) -> dict[str, list[Any]]:
    assert isinstance(batch.inputs, RowsByInput)
    size, words = batch.inputs.of_inputs["size"], batch.inputs.of_inputs["words"]
    assert isinstance(size, np.ndarray)
    assert isinstance(words, TokenRows)
    return {"size": size.tolist(), "words": [words.row(i).tolist() for i in range(len(words))]}


def token_lists(*rows: list[int]) -> np.ndarray:
    lists = np.empty(len(rows), object)
    lists[:] = rows
    return lists


@pytest.mark.parametrize("part", ["", "_test", "_train"])
def test_arrays_of_an_archive_are_found_by_the_names_of_the_spec(part: str, tmp_path: Path) -> None:
    arrays = {f"sizes{part}": np.array([[1.0, 2.0], [3.0, 4.0]]), f"words{part}": token_lists([1], [2, 3])}
    np.savez(tmp_path / "a.npz", **arrays)  # type: ignore[arg-type]
    told: list[str] = []
    (batch,) = input_batches(source_of(tmp_path / "a.npz"), decoder(told))
    assert values(batch) == {"size": [[1, 2], [3, 4]], "words": [[1], [2, 3]]}
    assert told == [f"{tmp_path / 'a.npz'}: the rows of the arrays sizes{part} and words{part}"]


def test_a_row_that_is_bad_for_one_input_is_bad() -> None:
    given = {"size": np.array([[1, 2], [np.nan, 2], [5, 6]]), "words": [[1], [2], [-3]]}
    (batch,) = decoder().of_python(given)
    assert (batch.rows, values(batch)) == ([0], {"size": [[1, 2]], "words": [[1]]})
    assert [str(bad) for bad in batch.bad] == [
        "row 1 of the input 'size' has nan in column 0 (from 0); every value must be a finite number",
        "row 2 of the input 'words' holds -3; tokens are whole numbers from 0 to 16,777,216",
    ]


def test_objects_by_the_inputs_names() -> None:
    text = '{"size": [1, 2], "words": [4]}\n{"size": [1, 2]}\n[1]\n'
    told: list[str] = []
    (batch,) = input_batches(RowSource("rows", "jsonl", stream=io.BytesIO(text.encode())), decoder(told))
    assert (batch.rows, values(batch)) == ([0], {"size": [[1, 2]], "words": [[4]]})
    assert [str(bad) for bad in batch.bad] == [
        "row 1 (line 2) lacks the input 'words'",
        "row 2 (line 3) is [1], which is not an object with the inputs' names: size, words",
    ]


def test_rows_are_numbered_over_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("nnrun.data.new_rows.input_batches.MOST_ROWS", 2)
    sizes = np.arange(10.0).reshape(5, 2)
    batches = list(decoder().of_python({"size": sizes, "words": [[i] for i in range(5)]}))
    assert [batch.rows for batch in batches] == [[0, 1], [2, 3], [4]]
    assert [row for batch in batches for row in values(batch)["words"]] == [[0], [1], [2], [3], [4]]
    assert np.array([row for batch in batches for row in values(batch)["size"]]).tolist() == sizes.tolist()


@pytest.mark.parametrize("kind", ["csv", "txt"])
def test_tables_and_texts_are_refused(kind: Any) -> None:
    with pytest.raises(DataError, match=r"2 arrays, of the inputs 'size' and 'words'\. Give a NumPy archive"):
        list(input_batches(RowSource("rows", kind, stream=io.BytesIO(b"1,2\n")), decoder()))
