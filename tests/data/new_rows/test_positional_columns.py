"""Rows of numbers to predict."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nnrun.data.new_rows.input_batches import MOST_ROWS, InputBatch, input_batches
from nnrun.data.new_rows.positional_columns import PositionalDecoder
from nnrun.data.new_rows.row_source import Kind, RowSource, source_of
from nnrun.errors import DataError

NAMES = ("a", "b", "c")


def blocks(content: str, kind: Kind = "csv", names: tuple[str, ...] | None = NAMES) -> Iterator[InputBatch]:
    source = RowSource("stdin", kind, stream=io.BytesIO(content.encode()))
    return input_batches(source, PositionalDecoder((3,), names))


def only(content: str, kind: Kind = "csv", names: tuple[str, ...] | None = NAMES) -> InputBatch:
    (block,) = blocks(content, kind, names)
    return block


def numbers(block: InputBatch) -> Any:
    assert isinstance(block.inputs, np.ndarray)
    return block.inputs.tolist()


def reason(content: str, kind: Kind = "csv", names: tuple[str, ...] | None = NAMES) -> str:
    (bad,) = only(content, kind, names).bad
    return str(bad)


@pytest.mark.parametrize(
    ("content", "kind"),
    [
        ("1,2,3\n", "csv"),
        ("a,b,c\n1,2,3\n", "csv"),
        ("c,x,a, b \n3,oops,1,2\n", "csv"),
        ("a\tb\tc\n1\t2\t3", "tsv"),
        ("[1, 2, 3]\n", "jsonl"),
        ('{"c": 3, "id": "x", "a": 1.0, "b": 2}\n', "jsonl"),
    ],
)
def test_columns_by_name_or_by_position(content: str, kind: Kind) -> None:
    block = only(content, kind)
    assert numbers(block) == [[1, 2, 3]]
    assert (block.rows, block.bad) == ([0], [])


def test_what_is_not_used_is_said_once() -> None:
    said: list[str] = []
    for kind, content in (
        ("csv", "a,b,c,id,when\n1,2,3,4,5\n1,2,3,4,5\n"),
        ("jsonl", '{"a": 1, "b": 2, "c": 3, "id": 4}\n' * 2),
    ):
        source = RowSource("rows", kind, stream=io.BytesIO(content.encode()))  # type: ignore[arg-type]
        list(input_batches(source, PositionalDecoder((3,), NAMES, said.append)))
    assert said == ["rows: not used: id, when", "rows: not used: id"]


@pytest.mark.parametrize(
    ("content", "names", "said"),
    [
        ("a,c\n1,2\n", NAMES, "lacks 1 column that the network takes: b. It has: a, c."),
        (
            "x,y,z\n1,2,3\n",
            NAMES,
            "names none of the 3 columns that the network takes: a, b, c. It has: x, y, z.",
        ),
        ("a,b,c,a\n1,2,3,4\n", NAMES, "names a more than once"),
        ("x,y\n1,2\n", None, "has 2 columns, but the network takes 3"),
        ('"a"b,2\n1,2,3\n', NAMES, "line 1: the first row is not a valid CSV row"),
        ("", NAMES, "holds no rows"),
        ("a,b,c\n", NAMES, "holds no rows"),
    ],
)
def test_a_file_that_lacks_what_is_needed(content: str, names: tuple[str, ...] | None, said: str) -> None:
    with pytest.raises(DataError) as caught:
        list(blocks(content, names=names))
    assert said in str(caught.value)


def test_a_run_without_names_takes_a_line_of_names_for_such() -> None:
    said: list[str] = []
    source = RowSource("rows", "csv", stream=io.BytesIO(b"x,y,z\n1,2,3\n"))
    (block,) = input_batches(source, PositionalDecoder((3,), None, said.append))
    assert numbers(block) == [[1, 2, 3]]
    assert said == ["rows: the first line is read as names; columns are matched by position"]


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ("1,2", "row 0 (line 2) has 2 fields; its first line has 3"),
        ("1,2,3,4", "has 4 fields"),
        ("1,,3", "has no value in column b"),
        ("1,two,3", "has 'two' in column b, which is not a number"),
        ("1,2,1_000", "has '1_000' in column c, which is not a number"),
        ("nan,2,3", "has 'nan' in column a; every value must be a finite number"),
        ("1,2, -inf", "has '-inf' in column c; every value must be a finite number"),
        ("1,2,1e999", "has '1e999' in column c; every value must be a finite number"),
        ("1,2,\x1b[31m", "has '\\x1b[31m' in column c, which is not a number"),
    ],
)
def test_bad_rows_of_csv(row: str, said: str) -> None:
    assert said in reason(f"a,b,c\n{row}\n")


def test_without_a_line_of_names_positions_are_told() -> None:
    assert (
        reason("1,x,3\n", names=None) == "row 0 (line 1) has 'x' in column 1 (from 0), which is not a number"
    )
    assert reason("1,2\n") == "row 0 (line 1) has 2 fields; the network takes 3"


@pytest.mark.parametrize(("names", "column"), [(None, "2 (from 0)"), (NAMES, "c")])
def test_bytes_that_are_no_text_are_told_by_what_the_columns_are_called(
    names: tuple[str, ...] | None, column: str, tmp_path: Path
) -> None:
    (tmp_path / "rows.csv").write_bytes(b"1,2,3\n4,5,\xe9\n")
    (batch,) = input_batches(source_of(tmp_path / "rows.csv"), PositionalDecoder((3,), names))
    assert list(map(str, batch.bad)) == [f"row 1 (line 2) is not UTF-8 in column {column}"]


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ("[1, 2]", "has 2 numbers; the network takes 3"),
        ('{"a": 1, "c": 3}', "lacks b"),
        ("3", "is 3, which is neither an object nor a list of numbers"),
        ("[1, null, 3]", "has null in column b"),
        ("[1, true, 3]", "has True, which is not a number, in column b"),
        ('[1, "2", 3]', "has '2', which is not a number, in column b"),
        ("[1, NaN, 3]", "has nan, which is not a finite number, in column b"),
        ("[1, 1e999, 3]", "has inf, which is not a finite number, in column b"),
        (f"[1, 1{'0' * 400}, 3]", "which is not a finite number, in column b"),
    ],
)
def test_bad_rows_of_json(row: str, said: str) -> None:
    assert said in reason(row, "jsonl")


def test_objects_need_names() -> None:
    assert "the run knows no feature names" in reason('{"a": 1}', "jsonl", None)


def test_large_finite_numbers_are_no_bad_rows() -> None:
    """Their sum overflows, and they do not."""
    assert numbers(only("a,b,c\n1e308,1e308,1e308\n")) == [[1e308] * 3]


def test_bad_rows_keep_their_numbers_between_good_ones() -> None:
    block = only("a,b,c\n1,2,3\nx,2,3\n\n4,5,6\n")
    assert (block.rows, block.lines) == ([0, 2], [2, 5])
    assert [(bad.row, bad.line) for bad in block.bad] == [(1, 3)]


def test_blocks_are_of_a_few_thousand_rows_and_lose_none() -> None:
    rows = MOST_ROWS * 2 + 7
    found = list(blocks("".join(f"{i},0,1\n" if i != 5000 else "x,0,1\n" for i in range(rows))))
    assert [len(block.rows) + len(block.bad) for block in found] == [MOST_ROWS, MOST_ROWS, 7]
    assert [row for block in found for row in block.rows] == [i for i in range(rows) if i != 5000]
    assert [bad.row for block in found for bad in block.bad] == [5000]


def test_wide_rows_come_in_smaller_blocks() -> None:
    decoder = PositionalDecoder((100_000,), None)
    (first, *_) = decoder.of_array(np.zeros((60, 100_000), np.float32), "x")
    assert len(first.rows) == 41


@given(
    st.lists(st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=3, max_size=3), min_size=1)
)
def test_numbers_are_read_bit_for_bit(rows: list[list[float]]) -> None:
    content = "".join(",".join(map(repr, row)) + "\n" for row in rows)
    assert numbers(only(content)) == rows


# --- arrays ---


@pytest.mark.parametrize("name", ["x_test", "x", "x_train"])
def test_an_archive(name: str, tmp_path: Path) -> None:
    arrays: dict[str, Any] = {name: np.arange(6).reshape(2, 3), "y": np.zeros(2)}
    np.savez(tmp_path / "a.npz", **arrays)
    said: list[str] = []
    (block,) = input_batches(source_of(tmp_path / "a.npz"), PositionalDecoder((3,), None, said.append))
    assert numbers(block) == [[0, 1, 2], [3, 4, 5]]
    assert said == [f"{tmp_path / 'a.npz'}: the rows of the array {name}"]


@pytest.mark.parametrize(
    ("array", "said"),
    [
        (np.zeros((2, 4)), "has shape (2, 4); the network takes rows of 3 numbers"),
        (np.zeros(3), "has shape (3,)"),
        (np.array(3.0), "has shape ()"),
        (np.array([["a", "b", "c"]]), "inputs are real numbers"),
        (np.zeros((2, 3), complex), "inputs are real numbers"),
        (np.zeros((0, 3)), "holds no rows"),
    ],
    ids=lambda value: str(value)[:20],
)
def test_other_arrays_are_refused(array: Any, said: str, tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", x=array)
    with pytest.raises(DataError) as caught:
        list(input_batches(source_of(tmp_path / "a.npz"), PositionalDecoder((3,), None)))
    assert said in str(caught.value)


def test_an_archive_without_rows(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", z=np.zeros(3))
    with pytest.raises(DataError, match="has no array x_test"):
        list(input_batches(source_of(tmp_path / "a.npz"), PositionalDecoder((3,), None)))


def test_nothing_of_an_archive_is_run(tmp_path: Path) -> None:
    rows = np.empty(2, object)
    rows[:] = [[1], [2]]
    np.savez(tmp_path / "a.npz", x=rows)
    with pytest.raises(DataError, match="holds token lists, but this network takes tables"):
        list(input_batches(source_of(tmp_path / "a.npz"), PositionalDecoder((3,), None)))


def test_rows_of_an_array_that_are_not_finite() -> None:
    array = np.array([[1, 2, 3], [4, np.nan, 6], [7, 8, 9]])
    (block,) = PositionalDecoder((3,), NAMES).of_array(array, "x")
    assert (block.rows, numbers(block)) == ([0, 2], [[1, 2, 3], [7, 8, 9]])
    assert [str(bad) for bad in block.bad] == [
        "row 1 has nan in column b; every value must be a finite number"
    ]


def test_values_in_memory() -> None:
    decoder = PositionalDecoder((3,), NAMES)
    frame = pd.DataFrame({"c": [3], "id": [9], "a": [1], "b": [2]})
    for inputs in (
        frame,
        np.array([[1, 2, 3]]),
        [[1, 2, 3]],
        [np.array([1, 2, 3])],
        [{"a": 1, "b": 2, "c": 3}],
    ):
        (block,) = decoder.of_python(inputs)
        assert numbers(block) == [[1, 2, 3]]
    (by_position,) = PositionalDecoder((3,), None).of_python(pd.DataFrame([[1, 2, 3]]))
    assert numbers(by_position) == [[1, 2, 3]]
    with pytest.raises(DataError, match="The table of inputs lacks 1 column"):
        list(decoder.of_python(frame.drop(columns="a")))
    with pytest.raises(DataError, match="what is not a number"):
        list(decoder.of_python(frame.assign(a="x")))


def test_texts_are_no_table() -> None:
    with pytest.raises(DataError, match="holds texts, but this network takes tables of 3 columns"):
        list(blocks("a film\n", "txt"))
