"""Rows in memory as files: every value comes back as it was."""

from __future__ import annotations

import datetime
import io
import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nnrun.data.archives.npz_archive import Archive
from nnrun.data.dataset import TokenRows
from nnrun.data.files.jsonl_reader import JsonlReader
from nnrun.data.frames import as_frame, cells, declared_types, jsonl_of, npz_of
from nnrun.errors import UsageError

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
numbers = st.floats(allow_nan=True, allow_infinity=False) | st.none()


@given(st.lists(st.tuples(numbers, texts | st.none(), st.integers(-(2**62), 2**62)), min_size=1, max_size=20))
def test_values_come_back(rows: list[tuple[Any, ...]]) -> None:
    frame = pd.DataFrame(rows, columns=["number", "text", "whole"])
    read = [json.loads(line) for line in jsonl_of(frame).decode().split("\n") if line]
    for (number, text, whole), found in zip(rows, read, strict=True):
        assert found["number"] == (None if number is None or np.isnan(number) else number)
        assert found["text"] == text
        assert found["whole"] == whole


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (pd.to_datetime(["2026-11-30", None]), ["2026-11-30", None]),
        (pd.to_datetime(["2026-11-30 12:30", None]), ["2026-11-30 12:30:00", None]),
        (pd.array([1, None], "Int64"), [1, None]),
        (pd.array([True, None], "boolean"), [True, None]),
        (np.array([1.5, 2.0], np.float32), [1.5, 2.0]),
        (pd.Categorical(["b", None], ["a", "b"]), ["b", None]),
        (pd.Series([datetime.date(2026, 1, 2), Decimal("2.50"), np.int8(3), pd.NA], dtype=object),
         ["2026-01-02", 2.5, 3, None]),
        (pd.cut([1, 9], [0, 5, 10]), ["(0, 5]", "(5, 10]"]),
        (pd.period_range("2026-01", periods=2, freq="M"), ["2026-01", "2026-02"]),
    ],
)  # fmt: skip
def test_values_of_each_kind(values: Any, expected: list[Any]) -> None:
    found = cells(pd.Series(values))
    assert found == expected
    assert [type(value) for value in found] == [type(value) for value in expected]


def test_a_reader_of_files_takes_them(tmp_path: Path) -> None:
    frame = pd.DataFrame({"n": [1.5, np.nan], "code": ["007", "NA"], 3: [1, 2]}, index=[7, 7])
    path = tmp_path / "rows.jsonl"
    path.write_bytes(jsonl_of(frame))
    assert JsonlReader(path).names == ("n", "code", "3")
    assert path.read_text() == '{"n": 1.5, "code": "007", "3": 1}\n{"n": null, "code": "NA", "3": 2}\n'


def test_half_of_a_surrogate_pair_can_be_written() -> None:
    assert jsonl_of(pd.DataFrame({"t": pd.Series(["\ud83d"], dtype=object)})) == b'{"t": "\\ud83d"}\n'


@pytest.mark.parametrize(
    ("frame", "sentence"),
    [
        (pd.DataFrame({"a": []}), "data has 0 rows and 1 columns; there must be one of each."),
        (pd.DataFrame(index=[1]), "data has 1 rows and 0 columns; there must be one of each."),
        (pd.DataFrame([[1, 2]], columns=["a", "a"]), "data has more than one column 'a'."),
        (pd.DataFrame([[1, 2]], columns=[1, "1"]), "data has more than one column '1'."),
    ],
)
def test_frames_that_are_no_tables(frame: pd.DataFrame, sentence: str) -> None:
    with pytest.raises(UsageError) as caught:
        jsonl_of(frame)
    assert str(caught.value) == sentence


def test_several_levels_of_a_header() -> None:
    frame = pd.DataFrame([[1]], columns=pd.MultiIndex.from_tuples([("a", "b")]))
    with pytest.raises(UsageError, match=r"data has the column \('a', 'b'\), with several names; give each"):
        jsonl_of(frame)


def test_categories_that_are_numbers_are_declared() -> None:
    frame = pd.DataFrame({"n": [1], "c": pd.Categorical([1]), "t": pd.Categorical(["x"])})
    assert declared_types(frame) == {"c": "category"}


def test_frames_of_other_libraries() -> None:
    class Other:
        columns = ("a",)

        def to_pandas(self) -> pd.DataFrame:
            return pd.DataFrame({"a": [1]})

    made = as_frame(Other())
    assert made is not None
    assert list(made) == ["a"]
    assert as_frame([[1]]) is None


def test_arrays_come_back_and_their_bytes_are_the_same(tmp_path: Path) -> None:
    arrays = {
        "x_train": np.arange(6.0).reshape(3, 2),
        "y_train": pd.Series(["a", "b", "a"]),
        "t_train": [[1, 2], [], [3]],
        "o_train": np.array([1, 2.5, 3], object),
    }
    content = npz_of(arrays)
    assert content == npz_of(arrays)
    path = tmp_path / "a.npz"
    path.write_bytes(content)
    with Archive(path) as archive:
        np.testing.assert_array_equal(archive.read("x_train"), arrays["x_train"])
        assert archive.read("y_train").tolist() == ["a", "b", "a"]  # type: ignore[union-attr]
        tokens = archive.read("t_train")
        assert isinstance(tokens, TokenRows)
        assert [tokens.row(i).tolist() for i in range(3)] == [[1, 2], [], [3]]
        np.testing.assert_array_equal(archive.read("o_train"), [1, 2.5, 3])
    assert list(np.load(io.BytesIO(content), allow_pickle=True)) == list(arrays)


def test_arrays_of_several_types_are_refused() -> None:
    with pytest.raises(UsageError, match=r"data: the array 'x' holds values of several types"):
        npz_of({"x": np.array([1, "a", None], object)})
