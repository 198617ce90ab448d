"""Tables and paragraphs that fit a terminal."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nnrun.cli.output import aligned, in_blocks, ordinal, paragraph, shortened

TABLE = [["", "A", "B", "C"], ["epochs", "10", "200", "3"], ["loss", "0.5", "0.25", "0.125"]]


def test_a_table_that_fits_is_one_block() -> None:
    assert in_blocks(TABLE, None) == in_blocks(TABLE, 30) == aligned(TABLE)


def test_a_table_that_does_not_is_cut_between_columns() -> None:
    assert in_blocks(TABLE, 20) == (
        "            A     B\n  epochs   10   200\n  loss    0.5  0.25\n\n"
        "              C\n  epochs      3\n  loss    0.125"
    )


@given(
    st.lists(st.tuples(*[st.text("xyz", min_size=1, max_size=9)] * 3), min_size=1, max_size=4),
    st.integers(24, 60),
)
def test_every_cell_is_there_and_no_line_is_too_long(table: list[tuple[str, str, str]], width: int) -> None:
    text = in_blocks(table, width)
    assert max(map(len, text.splitlines()), default=0) <= width
    assert sorted(cell for row in table for cell in row[1:] if cell) == sorted(
        cell
        for block in text.split("\n\n")
        for line, row in zip(block.split("\n"), table, strict=False)
        for cell in line[2 + max(len(r[0]) for r in table) :].split()
    )


def test_a_paragraph_breaks_between_words() -> None:
    assert paragraph("to be or not-to-be there", 12) == "to be or\nnot-to-be\nthere"
    assert paragraph("to be or not", None) == "to be or not"


@pytest.mark.parametrize(("text", "short"), [("abcd", "abcd"), ("abcde", "abc…")])
def test_a_long_text_is_shortened(text: str, short: str) -> None:
    assert shortened(text, 4) == short


@pytest.mark.parametrize(
    ("number", "word"),
    [
        (1, "1st"),
        (2, "2nd"),
        (3, "3rd"),
        (4, "4th"),
        (10, "10th"),
        (11, "11th"),
        (12, "12th"),
        (13, "13th"),
        (21, "21st"),
        (22, "22nd"),
        (33, "33rd"),
        (100, "100th"),
        (101, "101st"),
        (111, "111th"),
        (1012, "1,012th"),
    ],
)
def test_a_number_in_an_order(number: int, word: str) -> None:
    assert ordinal(number) == word
