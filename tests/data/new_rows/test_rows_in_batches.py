"""Rows of CSV are the same in batches of any size, whatever stands beside them."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from nnrun.data.files import csv_reader
from nnrun.data.files.csv_reader import CsvReader
from nnrun.data.files.open_file import Opened
from nnrun.data.new_rows import input_batches as module
from nnrun.data.new_rows.input_batches import InputBatch, RowDecoder, input_batches
from nnrun.data.new_rows.named_columns import NamedColumn, NamedColumnDecoder
from nnrun.data.new_rows.positional_columns import PositionalDecoder
from nnrun.data.new_rows.row_source import RowSource
from nnrun.data.table import CategoryColumn, NumberColumn, Table

FIELDS = [
    *("1", "-2.5", "1e400", "007", " 8 ", "1_000", "-99", "-99.0", "0x10", "inf", "nan", "NA", "", " "),
    *(
        "a",
        " a ",
        "ä",
        "True",
        "false",
        "#",
        "3.0",
        "\x00",
        "9007199254740993",
        "99999999999999999999",
        "1e-320",
    ),
]
QUOTED = [*FIELDS, '"1"', '"x,y"', '"b\n\nc"', '""', '"tr""ue"', 'b"d', '"a"b']
COLUMNS = (
    NamedColumn("n", "number", False),
    NamedColumn("c", "category", False),
    NamedColumn("t", "text", False),
    NamedColumn("b", "category", True),
)
OWN = frozenset(["", "-99"])
USUAL = frozenset(["", "NA", "nan", "NaN"])


def rows_of(batch: InputBatch) -> list[list[Any]]:
    """The values of each good row; NaN as None."""
    if isinstance(batch.inputs, np.ndarray):
        # An array has one type: a batch of whole numbers only is exact, others are floats.
        return [list(row) for row in batch.inputs.astype(float).tolist()]
    assert isinstance(batch.inputs, Table)
    columns = []
    for column in batch.inputs.columns:
        if isinstance(column, CategoryColumn):
            columns.append([None if code < 0 else column.levels[code] for code in column.codes])
        else:
            values = column.identities() if isinstance(column, NumberColumn) else column.values
            columns.append([None if v is None or v != v else v for v in values.tolist()])
    return [list(row) for row in zip(*columns, strict=True)]


def read(content: bytes, decoder: RowDecoder, at_once: int) -> tuple[list[Any], list[str]]:
    """The good rows, read so many at once, and what is wrong with the others."""
    source = RowSource("rows", "csv", stream=io.BytesIO(content), delimiter=",")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "MOST_ROWS", at_once)
        patch.setattr(csv_reader, "_REPORTING_BLOCK_BYTES", 16 * at_once)
        patch.setattr(csv_reader, "_HEAD_BYTES", 16 * at_once)
        batches = list(module._batches_of(source, decoder))
    good = [
        (row, line, values)
        for batch in batches
        for row, line, values in zip(batch.rows, batch.lines, rows_of(batch), strict=True)
    ]
    return good, [str(bad) for batch in batches for bad in batch.bad]


def rows(fields: list[str]) -> st.SearchStrategy[list[list[str]]]:
    field = st.sampled_from(fields)
    return st.lists(st.lists(field, min_size=4, max_size=4) | st.lists(field, max_size=5), max_size=8)


@given(rows(FIELDS) | rows(QUOTED), st.sampled_from([OWN, USUAL]), st.booleans(), st.sampled_from([1, 3]))
@example([["1", "1", "1", "-99.0"], ["1", "-99.0", "-99.0", "1"]], OWN, False, 1)
def test_named_columns(rows: list[list[str]], missing: frozenset[str], carriage: bool, few: int) -> None:
    end = "\r\n" if carriage else "\n"
    content = ("x,n,b,c,t" + end + "".join(",".join(["0", *row]) + end for row in rows)).encode()
    decoder = NamedColumnDecoder(COLUMNS, missing)
    assert read(content, decoder, few) == read(content, decoder, 1000)


NUMBERS = ["1", "2.5", "-3e-7", "0.1", "12345678901234567", "5e-324", "1.7976931348623157e308"]


@given(
    st.lists(st.lists(st.sampled_from([*NUMBERS] * 3 + FIELDS), min_size=2, max_size=2), max_size=8),
    st.booleans(),
)
def test_a_table_of_numbers(rows: list[list[str]], named: bool) -> None:
    content = (("b,a\n" if named else "1,2\n") + "".join(",".join(row) + "\n" for row in rows)).encode()
    decoder = PositionalDecoder((2,), ("a", "b") if named else None)
    assert read(content, decoder, 1) == read(content, decoder, 1000)


def test_plain_lines_are_not_read_one_by_one(monkeypatch: pytest.MonkeyPatch) -> None:
    content = b"n,c,t,b\n" + b"1.5,a,some text,true\nNA,,,\n" * 10
    monkeypatch.setattr(CsvReader, "_one_by_one", None)
    good, bad = read(content, NamedColumnDecoder(COLUMNS, USUAL), 100)
    assert len(good) == 20
    assert not bad
    assert [values for _, _, values in good[:2]] == [[1.5, "a", "some text", "True"], [None] * 4]


def texts(content: bytes, at_once: int = 100, **parameters: Any) -> tuple[list[Any], list[str], int]:
    """Line and fields of each row as texts; what is wrong with others; the lines that were left out."""
    found, wrong, left_out, n_rows = [], [], 0, 0
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(csv_reader, "_REPORTING_BLOCK_BYTES", 8 * at_once)
        patch.setattr(csv_reader, "_HEAD_BYTES", 8 * at_once)
        file = Opened("x.csv", io.BytesIO(content))
        reader = CsvReader(None, missing=(), stream=file, reports=at_once, **parameters)
        for batch in reader.batches(reader.names, set(reader.names)):
            left_out += batch.separators
            wrong += [f"{n_rows + row} {why}" for row, why in batch.problems.items()]
            n_rows += batch.n_rows
            for row in range(batch.n_rows if batch.lines is not None else 0):
                assert batch.lines is not None
                columns = [batch.columns[name] for name in reader.names]
                fields = [c.levels[c.codes[row]] if c.codes[row] >= 0 else "" for c in columns]  # type: ignore[union-attr]
                if row not in batch.problems:
                    found.append((int(batch.lines[row]), fields))
    return found, wrong, left_out


def test_fields_with_the_line_where_each_row_begins() -> None:
    assert texts(b'\xef\xbb\xbfx,y\na,"b\nc"\r\n\r\n1,2\n')[0] == [(2, ["a", "b\nc"]), (5, ["1", "2"])]
    assert texts(b"x\ty\na\tb,c\n", delimiter="\t")[0] == [(2, ["a", "b,c"])]


@pytest.mark.parametrize(
    ("content", "usual", "fields"),
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
    content: bytes, usual: str | None, fields: list[str]
) -> None:
    assert texts(content, usual_delimiter=usual)[0][0][1] == fields


@pytest.mark.parametrize("at_once", [1, 2, 3, 100])
@pytest.mark.parametrize("quote", ["", '"'])
def test_lines_of_separators_are_rows_only_between_rows(at_once: int, quote: str) -> None:
    empty = f"{quote}{quote},"
    content = f",\n\na,b\n1,2\n{empty}\n\n , \n3,4\n,\n{empty}\n,\n".encode()
    found, wrong, left_out = texts(content, at_once)
    assert found == [(4, ["1", "2"]), (5, ["", ""]), (7, ["", ""]), (8, ["3", "4"])]
    assert (wrong, left_out) == ([], 4)


def test_a_broken_row_stands_in_its_place() -> None:
    found, wrong, _ = texts(b'x,y\n1,2\n"a"b,2\n3,4\n')
    assert found == [(2, ["1", "2"]), (4, ["3", "4"])]
    assert [text[:30] for text in wrong] == ["1 is not a valid CSV row: ',' "]
    assert texts(b'x,y\n"a,2\n3,4\n')[1] == [
        "0 is not a valid CSV row: unexpected end of data (is a quote closed?)"
    ]


def test_bytes_that_are_no_text_matter_where_the_column_is_taken() -> None:
    columns = (NamedColumn("c", "category", False),)
    content = b"name,c\nJos\xe9,a\nx,\xe9\ny,b\n"
    good, bad = read(content, NamedColumnDecoder(columns, USUAL), 100)
    assert [values for _, _, values in good] == [["a"], ["b"]]
    assert bad == ["row 1 (line 3) is not UTF-8 in column 'c'"]


def test_rows_come_as_they_are_asked_for() -> None:
    asked: list[Any] = []

    class Slow(io.BytesIO):
        def read1(self, size: int | None = -1) -> bytes:
            asked.append(1)
            return b"1,2\n"

    source = RowSource("stdin", "csv", stream=Slow())
    next(input_batches(source, PositionalDecoder((2,), None)))
    assert len(asked) <= 2


def test_a_quote_that_is_never_closed_does_not_fill_the_memory(tmp_path: Path) -> None:
    text = b'x,y\n1,2\n"3,4\n' + b"5,6\n" * 600_000
    found = CsvReader(None, missing=(), stream=Opened("x", io.BytesIO(text)), reports=1000)
    problems = [problem for batch in found.batches(["x"], {"x"}) for problem in batch.problems.values()]
    assert problems[0] == "is not a valid CSV row: unexpected end of data (is a quote closed?)"
