"""Rows of words to predict: texts and lists of tokens."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from nnrun.data import TokenRows
from nnrun.data.new_rows.input_batches import InputBatch, input_batches
from nnrun.data.new_rows.row_source import Kind, RowSource, source_of
from nnrun.data.new_rows.token_rows import TokenDecoder
from nnrun.data.vocabulary import Vocabulary
from nnrun.errors import DataError, UsageError

VOCABULARY = Vocabulary({"the": 4, "film": 5}, 1, 2)


def decoder(**parameters: Any) -> TokenDecoder:
    return TokenDecoder(lambda: VOCABULARY, num_words=10, **parameters)


def only(content: str | bytes, kind: Kind, **parameters: Any) -> InputBatch:
    data = content.encode() if isinstance(content, str) else content
    (block,) = input_batches(RowSource("rows", kind, stream=io.BytesIO(data)), decoder(**parameters))
    return block


def tokens(block: InputBatch) -> list[list[int]]:
    assert isinstance(block.inputs, TokenRows)
    return [block.inputs.row(i).tolist() for i in range(len(block.inputs))]


@pytest.mark.parametrize(
    ("content", "kind"),
    [
        ("The film!\n", "txt"),
        ("text\nThe film!\n", "csv"),
        ("id,text\n7,The film!\n", "csv"),
        ("review\nThe film!\n", "csv"),
        ("The film!\n", "csv"),
        ('"The\nfilm!"\n', "csv"),
        ("id\ttext\n7\tThe film!\n", "tsv"),
        ('{"text": "The film!", "id": 7}\n', "jsonl"),
        ('"The film!"\n', "jsonl"),
        ("[1, 4, 5]\n", "jsonl"),
    ],
)
def test_texts_become_tokens(content: str, kind: Kind) -> None:
    assert tokens(only(content, kind)) == [[1, 4, 5]]


def test_what_is_taken_for_what_is_said() -> None:
    said: list[str] = []
    only("review\nThe film\n", "csv", on_message=said.append)
    only("id,text,when\n1,The film,now\n", "csv", on_message=said.append)
    assert said == [
        "rows: the first line, 'review', is read as the column's name",
        "rows: not used: id, when",
    ]


@pytest.mark.parametrize(
    ("content", "kind", "said"),
    [
        ("\n", "txt", "row 0 (line 1) has no words"),
        ("?!\n", "txt", "has no words"),
        (b"\xff\n", "txt", "is not UTF-8"),
        ("id,text\n7\n", "csv", "row 0 (line 2) has 1 field; its first line has 2"),
        ('text\n""\n', "csv", "has no words"),
        ('{"review": "The film"}\n', "jsonl", "has no 'text'"),
        ('{"text": 7}\n', "jsonl", "has 7 for 'text', which is not a text"),
        ("7\n", "jsonl", "is 7, which is neither a text nor a list of tokens"),
        ("[1, 4.0]\n", "jsonl", "holds 4.0; tokens are whole numbers from 0 to"),
        ("[1, -4]\n", "jsonl", "holds -4"),
        ("[true]\n", "jsonl", "holds True"),
        ("[99999999999]\n", "jsonl", "holds 99999999999"),
        ('["a"]\n', "jsonl", "holds 'a'"),
    ],
)
def test_bad_rows(content: str | bytes, kind: Kind, said: str) -> None:
    (bad,) = only(content, kind).bad
    assert said in str(bad)


def test_tokens_outside_of_the_data_set_s_limits_are_unknown_as_its_loader_has_it() -> None:
    assert tokens(only("[1, 4, 9, 10, 500]\n", "jsonl")) == [[1, 4, 9, 2, 2]]
    assert tokens(only("[1, 4, 9]\n[]\n", "jsonl", skip_top=5)) == [[2, 2, 9], []]


def test_a_table_without_a_column_of_texts() -> None:
    with pytest.raises(DataError, match="has 2 columns, and none is named 'text': id, review"):
        only("id,review\n7,The film\n", "csv")


def test_lists_of_tokens_need_no_vocabulary() -> None:
    def none() -> Vocabulary:
        raise DataError("there is none")

    without = TokenDecoder(none)
    (block,) = input_batches(RowSource("rows", "jsonl", stream=io.BytesIO(b"[1, 4]\n")), without)
    assert tokens(block) == [[1, 4]]
    with pytest.raises(DataError, match="there is none"):
        list(input_batches(RowSource("rows", "txt", stream=io.BytesIO(b"The film\n")), without))


def test_an_archive_of_token_lists_is_read_without_pickle(tmp_path: Path) -> None:
    rows = np.empty(2, object)
    rows[:] = [[1, 4, 99], [1]]
    np.savez(tmp_path / "a.npz", x_test=rows)
    (block,) = input_batches(source_of(tmp_path / "a.npz"), decoder())
    assert tokens(block) == [[1, 4, 2], [1]]


def test_an_archive_of_lists_of_one_length(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", x=np.array([[1, 4, 99], [1, 0, 0]]))
    (block,) = input_batches(source_of(tmp_path / "a.npz"), decoder())
    assert tokens(block) == [[1, 4, 2], [1, 0, 0]]


def test_an_archive_that_would_run_something_is_refused(tmp_path: Path) -> None:
    class Evil:
        def __reduce__(self) -> Any:
            return (Path.touch, (tmp_path / "touched",))

    rows = np.empty(1, object)
    rows[:] = [Evil()]
    np.savez(tmp_path / "a.npz", x=rows)
    with pytest.raises(DataError, match="nothing in the file is ever run"):
        list(input_batches(source_of(tmp_path / "a.npz"), decoder()))
    assert not (tmp_path / "touched").exists()


def test_an_archive_of_texts(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", x=np.array(["The film", "?"]))
    (block,) = input_batches(source_of(tmp_path / "a.npz"), decoder())
    assert (tokens(block), block.rows) == ([[1, 4, 5]], [0])
    assert [str(bad) for bad in block.bad] == ["row 1 has no words"]


def test_other_archives_are_refused(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", x=np.zeros((2, 3)))
    with pytest.raises(DataError, match="this network takes token lists or texts"):
        list(input_batches(source_of(tmp_path / "a.npz"), decoder()))


def test_the_published_archive_holds_ranks_and_no_tokens(keras_folder: Path) -> None:
    with pytest.raises(DataError, match=r"ranks of words.*`nnrun evaluate`"):
        list(input_batches(source_of(keras_folder / "reuters.npz"), decoder()))


def test_values_in_memory() -> None:
    for inputs in (
        ["The film"],
        pd.Series(["The film"]),
        pd.DataFrame({"id": [7], "text": ["The film"]}),
        np.array(["The film"]),
        [[1, 4, 5]],
        np.array([[1, 4, 5]]),
        TokenRows.from_lists([[1, 4, 5]]),
    ):
        (block,) = decoder().of_python(inputs)
        assert tokens(block) == [[1, 4, 5]]
    with pytest.raises(UsageError, match="give a list of texts"):
        decoder().of_python("The film")
    with pytest.raises(DataError, match="no column 'text'"):
        decoder().of_python(pd.DataFrame({"id": [7]}))
