"""Tables and paragraphs that fit a terminal."""

from __future__ import annotations

import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nnrun.cli.output import aligned, hanging, in_blocks, message, paragraph, shortened
from nnrun.errors import Problem
from nnrun.spec.wording import ordinal

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


class Terminal(io.StringIO):
    """A stderr that is a terminal, or not."""

    def __init__(self, *, is_one: bool) -> None:
        super().__init__()
        self.is_one = is_one

    def isatty(self) -> bool:
        return self.is_one


LONG = (
    "error: the training loss stopped being a finite number in epoch 1, batch 2. Try a smaller learning rate."
)


@pytest.mark.parametrize(
    ("terminal", "columns", "width"),
    [
        (True, None, 80),  # a terminal that does not tell its width
        (True, "60", 60),
        (False, "60", 60),
        (False, None, None),
        (False, "many", None),
        (True, "0", 80),
    ],
)
def test_messages_are_as_wide_as_the_terminal(
    terminal: bool, columns: str | None, width: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    if columns is not None:
        monkeypatch.setenv("COLUMNS", columns)
    stderr = Terminal(is_one=terminal)
    monkeypatch.setattr("sys.stderr", stderr)
    message(LONG)
    lines = stderr.getvalue().splitlines()
    assert " ".join(lines) == LONG
    assert max(map(len, lines)) <= (width or len(LONG))
    assert (len(lines) == 1) == (width is None)


def test_source_lines_commands_and_columns_are_not_wrapped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    stderr = Terminal(is_one=False)
    monkeypatch.setattr("sys.stderr", stderr)
    problem = Problem(
        f"epochs must be a whole number, 1 or more; found {'x' * 5}",
        file="small.yaml",
        line=123456,
        column=80,
        snippet="epochs: " + "x y " * 20,
    )
    kept = [
        *problem.render().split("\n")[1:],
        "  nnrun train --resume runs/a-rather-long-name-20261129T062137Z-381f",
        "epoch 1/3  loss 565.2505 ± 16.8075  mae 21.8706 ± 0.3034",
    ]
    message("\n".join([problem.render(), *kept[-2:]]))
    lines = stderr.getvalue().splitlines()
    assert lines == [
        "small.yaml:123456:80: error: epochs must",
        "be a whole number, 1 or more; found",
        "xxxxx",
        *kept,
    ]


def test_labelled_lines_are_broken_below_their_texts() -> None:
    text = "weights  epoch 7\ntakes    a table of four numbers a row\n         in any order"
    assert hanging(text, 9, 30) == (
        "weights  epoch 7\ntakes    a table of four\n         numbers a row\n         in any order"
    )
    assert hanging(text, 9, None) == text
