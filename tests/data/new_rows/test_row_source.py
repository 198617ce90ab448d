"""Rows as they are written: CSV, JSON lines, lines of text."""

from __future__ import annotations

import gzip
import io
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nnrun.data.new_rows import row_source
from nnrun.data.new_rows.row_source import (
    Kind,
    RawRow,
    RowSource,
    Unreadable,
    one_by_one,
    raw_rows,
    rows_together,
    source_of,
)
from nnrun.errors import DataError, UsageError


def rows_of(content: bytes, kind: Kind) -> list[RawRow]:
    return list(raw_rows(RowSource("stdin", kind, stream=io.BytesIO(content))))


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("a.csv", "csv"),
        ("a.CSV", "csv"),
        ("a.tsv.gz", "tsv"),
        ("a.jsonl", "jsonl"),
        ("a.ndjson", "jsonl"),
        ("a.txt.gz", "txt"),
        ("a.npz", "npz"),
    ],
)
def test_the_ending_says_how_rows_are_written(name: str, kind: str, tmp_path: Path) -> None:
    (tmp_path / name).touch()
    assert source_of(tmp_path / name).kind == kind


@pytest.mark.parametrize("name", ["a", "a.xlsx", "a.gz", "a.npz.gz", ".csv"])
def test_other_endings_are_refused(name: str, tmp_path: Path) -> None:
    (tmp_path / name).touch()
    with pytest.raises(UsageError, match=r"must end in \.csv"):
        source_of(tmp_path / name)


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="There is no file"):
        source_of(tmp_path / "a.csv")


def test_fields_of_csv_with_the_line_where_each_row_begins() -> None:
    content = b'\xef\xbb\xbfa,"b\nc"\r\n\r\n1,2\n'
    assert rows_of(content, "csv") == [RawRow(1, ["a", "b\nc"]), RawRow(4, ["1", "2"])]
    assert rows_of(b"a\tb,c\n", "tsv") == [RawRow(1, ["a", "b,c"])]


@pytest.mark.parametrize(
    ("content", "delimiter", "fields"),
    [
        (b"\na;b\n1,5;2\n", None, ["1,5", "2"]),
        (b"a|b\n1|2\n", None, ["1", "2"]),
        (b"a\tb\n1\t2\n", None, ["1", "2"]),
        (b"a,b;c\n1,2\n", None, ["1", "2"]),
        (b"a\n1\n", None, ["1"]),
        (b"a^b\n1^2\n", "^", ["1", "2"]),
        (b"a,b;c\n1,2;3\n", ";", ["1,2", "3"]),
        (b"a,b\n1,2\n", ";", ["1", "2"]),  # trained on semicolons, and asked with commas
    ],
)
def test_the_first_line_tells_what_separates_fields(
    content: bytes, delimiter: str | None, fields: list[str]
) -> None:
    rows = list(raw_rows(RowSource("stdin", "csv", stream=io.BytesIO(content), delimiter=delimiter)))
    assert rows[1].value == fields


@pytest.mark.parametrize("at_once", [1, 2, 3, 100])
@pytest.mark.parametrize("quote", ["", '"'])
def test_lines_of_separators_are_rows_only_between_rows(at_once: int, quote: str) -> None:
    told: list[str] = []
    empty = f"{quote}{quote},"
    content = f",\n\na,b\n1,2\n{empty}\n\n , \n3,4\n,\n{empty}\n,\n".encode()
    for together in (False, True):
        source = RowSource("x.csv", "csv", stream=io.BytesIO(content), on_message=told.append)
        rows = rows_together(source, at_once) if together else raw_rows(source)
        values = [(row.line, [field.strip() for field in row.value]) for row in one_by_one(rows)]
        wanted = [(3, ["a", "b"]), (4, ["1", "2"]), (5, ["", ""]), (7, ["", ""]), (8, ["3", "4"])]
        assert values == wanted
    assert told == ["x.csv: left out 4 lines with only separators"] * 2


def test_a_broken_row_of_csv_stands_in_its_place() -> None:
    found = rows_of(b'1,2\n"a"b,2\n3,4\n', "csv")
    assert [row.line for row in found] == [1, 2, 3]
    assert isinstance(found[1].value, Unreadable)
    assert found[2].value == ["3", "4"]
    (open_quote,) = rows_of(b'"a,2\n3,4\n', "csv")
    assert isinstance(open_quote.value, Unreadable)


def test_values_of_json_lines() -> None:
    found = rows_of(b'{"a": 1}\n\n[1, 2]\n{"a": \n"\xff"\n' + b"[" * 50_000 + b"\n", "jsonl")
    assert [row.line for row in found] == [1, 3, 4, 5, 6]
    assert [row.value for row in found[:2]] == [{"a": 1}, [1, 2]]
    assert all(isinstance(row.value, Unreadable) for row in found[2:])


def test_lines_of_text_also_empty_ones_and_the_last_without_its_end() -> None:
    assert rows_of("Grüße\r\n\nend".encode(), "txt") == [RawRow(1, "Grüße"), RawRow(2, ""), RawRow(3, "end")]


def test_a_packed_file(tmp_path: Path) -> None:
    (tmp_path / "a.csv.gz").write_bytes(gzip.compress(b"1,2\n"))
    assert list(raw_rows(source_of(tmp_path / "a.csv.gz"))) == [RawRow(1, ["1", "2"])]


@pytest.mark.parametrize(
    "content",
    [b"no gzip", gzip.compress(b"1,2\n" * 100, mtime=0)[:-12], b"\x1f\x8b\x08" + b"x" * 40],
    ids=["no gzip", "cut off", "nonsense"],
)
def test_a_damaged_packed_file(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "a.csv.gz").write_bytes(content)
    with pytest.raises(DataError, match="cannot be read beyond line"):
        list(raw_rows(source_of(tmp_path / "a.csv.gz")))


def test_a_folder_is_one_of_texts(tmp_path: Path) -> None:
    (tmp_path / "a.csv").mkdir()
    with pytest.raises(DataError, match=r"a\.csv is a folder and holds no file that ends in \.txt"):
        list(raw_rows(source_of(tmp_path / "a.csv")))


def test_a_line_without_end_is_not_read_to_its_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(row_source, "MAX_LINE", 100)
    read: list[int] = []

    class Endless(io.BytesIO):
        def readline(self, size: int | None = -1) -> bytes:
            assert size is not None
            read.append(size)
            return b"a" * size

    with pytest.raises(DataError, match="longer than 100 bytes"):
        list(raw_rows(RowSource("stdin", "txt", stream=Endless())))
    assert read == [101]


def test_rows_come_as_they_are_asked_for() -> None:
    asked: list[Any] = []

    class Slow(io.BytesIO):
        def readline(self, size: int | None = -1) -> bytes:
            asked.append(1)
            return b"1,2\n"

    rows = raw_rows(RowSource("stdin", "csv", stream=Slow()))
    next(rows)
    assert len(asked) == 1


def test_texts_of_a_folder_come_in_the_order_of_their_paths(tmp_path: Path) -> None:
    for name, text in {
        "b.txt": b"second\n",
        "a/9.txt": b"\xef\xbb\xbffirst",
        "c.csv": b"x",
        "d.txt": b"\xff",
    }.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(text)
    rows = list(raw_rows(source_of(tmp_path)))
    assert [row.value for row in rows] == ["first", "second\n", Unreadable("(d.txt) is not UTF-8")]


@given(
    st.lists(st.sampled_from(["1,2", '"1",2', '"1\n\n3",2', "", "x", '"', "1,2,3", "a\rb,1"]), max_size=12),
    st.integers(1, 4),
)
def test_lines_together_are_the_rows_one_by_one(lines: list[str], at_once: int) -> None:
    """Up to a quote that is never closed or an odd carriage return, from where csv says its own of each."""
    content = ("a,b\n" + "".join(f"{line}\n" for line in lines)).encode()

    def source() -> RowSource:
        return RowSource("stdin", "csv", stream=io.BytesIO(content))

    alone, together = list(raw_rows(source())), list(one_by_one(rows_together(source(), at_once)))
    wrong = next((i for i, row in enumerate(alone) if isinstance(row.value, Unreadable)), len(alone))
    assert together[: wrong + 1] == alone[: wrong + 1]
