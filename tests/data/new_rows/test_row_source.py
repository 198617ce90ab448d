"""Rows as they are written: CSV, JSON lines, lines of text."""

from __future__ import annotations

import gzip
import io
from pathlib import Path

import pytest

from nnrun.data.files import open_file
from nnrun.data.new_rows.row_source import Kind, RawRow, RowSource, Unreadable, source_of, value_rows
from nnrun.errors import DataError, UsageError


def rows_of(content: bytes, kind: Kind) -> list[RawRow]:
    return all_rows(RowSource("stdin", kind, stream=io.BytesIO(content)))


def all_rows(source: RowSource) -> list[RawRow]:
    return [row for some in value_rows(source) for row in some]


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


def test_values_of_json_lines() -> None:
    found = rows_of(b'{"a": 1}\n\n[1, 2]\n{"a": \n"\xff"\n' + b"[" * 50_000 + b"\n", "jsonl")
    assert [row.line for row in found] == [1, 3, 4, 5, 6]
    assert [row.value for row in found[:2]] == [{"a": 1}, [1, 2]]
    assert all(isinstance(row.value, Unreadable) for row in found[2:])


def test_lines_of_text_also_empty_ones_and_the_last_without_its_end() -> None:
    assert rows_of("Grüße\r\n\nend".encode(), "txt") == [RawRow(1, "Grüße"), RawRow(2, ""), RawRow(3, "end")]


def test_a_packed_file(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl.gz").write_bytes(gzip.compress(b"[1, 2]\n"))
    assert all_rows(source_of(tmp_path / "a.jsonl.gz")) == [RawRow(1, [1, 2])]


@pytest.mark.parametrize(
    "content",
    [b"no gzip", gzip.compress(b"1,2\n" * 100, mtime=0)[:-12], b"\x1f\x8b\x08" + b"x" * 40],
    ids=["no gzip", "cut off", "nonsense"],
)
def test_a_damaged_packed_file(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "a.jsonl.gz").write_bytes(content)
    with pytest.raises(DataError, match=r"is not compressed with gzip|is truncated|is damaged and cannot"):
        all_rows(source_of(tmp_path / "a.jsonl.gz"))


def test_a_folder_is_one_of_texts(tmp_path: Path) -> None:
    (tmp_path / "a.csv").mkdir()
    with pytest.raises(DataError, match=r"a\.csv is a folder and holds no file that ends in \.txt"):
        all_rows(source_of(tmp_path / "a.csv"))


def test_a_line_without_end_is_not_read_to_its_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(open_file, "MAX_LINE", 100)
    read: list[int] = []

    class Endless(io.BytesIO):
        def read1(self, size: int | None = -1) -> bytes:
            assert size is not None
            read.append(size)
            return b"a" * size

    with pytest.raises(DataError, match="longer than 100 bytes"):
        all_rows(RowSource("stdin", "txt", stream=Endless()))
    assert len(read) == 1


def test_texts_of_a_folder_come_in_the_order_of_their_paths(tmp_path: Path) -> None:
    for name, text in {
        "b.txt": b"second\n",
        "a/9.txt": b"\xef\xbb\xbffirst",
        "c.csv": b"x",
        "d.txt": b"\xff",
    }.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(text)
    rows = all_rows(source_of(tmp_path))
    assert [row.value for row in rows] == ["first", "second\n", Unreadable("(d.txt) is not UTF-8")]
