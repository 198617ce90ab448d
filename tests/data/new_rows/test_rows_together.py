"""Lines of CSV that are read together give what they give one by one."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from nnrun.data.new_rows import row_source
from nnrun.data.new_rows.named_rows import NamedCodec, NamedColumn
from nnrun.data.new_rows.row_blocks import Block, Codec, collect
from nnrun.data.new_rows.row_source import RowSource, one_by_one, raw_rows, rows_together
from nnrun.data.new_rows.table_rows import TableCodec
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
COLUMNS = (
    NamedColumn("n", "number", False),
    NamedColumn("c", "category", False),
    NamedColumn("t", "text", False),
    NamedColumn("b", "category", True),
)
OWN = frozenset(["", "-99"])
USUAL = frozenset(["", "NA", "nan", "NaN"])


def rows_of(block: Block) -> list[list[Any]]:
    """The values of each good row; NaN as None."""
    if isinstance(block.inputs, np.ndarray):
        # An array has one type: a block of whole numbers only is exact, others are floats.
        return [list(row) for row in block.inputs.astype(float).tolist()]
    assert isinstance(block.inputs, Table)
    columns = []
    for column in block.inputs.columns:
        if isinstance(column, CategoryColumn):
            columns.append([None if code < 0 else column.levels[code] for code in column.codes])
        else:
            values = column.identities() if isinstance(column, NumberColumn) else column.values
            columns.append([None if v is None or v != v else v for v in values.tolist()])
    return [list(row) for row in zip(*columns, strict=True)]


def read(content: bytes, codec: Codec[Any], *, together: bool) -> tuple[list[Any], list[str]]:
    source = RowSource("rows", "csv", stream=io.BytesIO(content), delimiter=",")
    raw = rows_together(source, 3) if together else raw_rows(source)
    blocks = list(collect(codec.parse(source, raw), codec))
    good = [
        (row, line, values)
        for block in blocks
        for row, line, values in zip(block.rows, block.lines, rows_of(block), strict=True)
    ]
    return good, [str(bad) for block in blocks for bad in block.bad]


ROWS = st.lists(
    st.lists(st.sampled_from(FIELDS), min_size=4, max_size=4)
    | st.lists(st.sampled_from(FIELDS), min_size=0, max_size=5),
    max_size=8,
)


@given(ROWS, st.sampled_from([OWN, USUAL]), st.booleans())
@example([["1", "1", "1", "-99.0"], ["1", "-99.0", "-99.0", "1"]], OWN, False)
def test_named_columns(rows: list[list[str]], missing: frozenset[str], carriage: bool) -> None:
    end = "\r\n" if carriage else "\n"
    content = ("x,n,b,c,t" + end + "".join(",".join(["0", *row]) + end for row in rows)).encode()
    codec = NamedCodec(COLUMNS, missing)
    assert read(content, codec, together=True) == read(content, codec, together=False)


NUMBERS = ["1", "2.5", "-3e-7", "0.1", "12345678901234567", "5e-324", "1.7976931348623157e308"]


@given(
    st.lists(st.lists(st.sampled_from([*NUMBERS] * 3 + FIELDS), min_size=2, max_size=2), max_size=8),
    st.booleans(),
)
def test_a_table_of_numbers(rows: list[list[str]], named: bool) -> None:
    content = (("b,a\n" if named else "1,2\n") + "".join(",".join(row) + "\n" for row in rows)).encode()
    codec = TableCodec(2, ("a", "b") if named else None)
    assert read(content, codec, together=True) == read(content, codec, together=False)


def test_plain_lines_are_read_together(monkeypatch: pytest.MonkeyPatch) -> None:
    content = b"n,c,t,b\n" + b"1.5,a,some text,true\nNA,,,\n" * 10

    def no_row_alone(lines: Any) -> Any:
        raise AssertionError("a plain line was read alone")

    monkeypatch.setattr(row_source.Lines, "rows", no_row_alone)
    good, bad = read(content, NamedCodec(COLUMNS, USUAL), together=True)
    assert len(good) == 20
    assert not bad
    assert [values for _, _, values in good[:2]] == [[1.5, "a", "some text", "True"], [None] * 4]


def test_one_by_one_leaves_single_rows() -> None:
    source = RowSource("rows", "csv", stream=io.BytesIO(b'a,b\n1,2\n"3",4\n'))
    assert [row.value for row in one_by_one(rows_together(source, 10))] == [
        ["a", "b"],
        ["1", "2"],
        ["3", "4"],
    ]
