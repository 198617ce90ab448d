"""Words and tables that several commands print."""

import pytest

from nnrun.cli.output import ordinal


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
