"""Numbers as people write them."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nnrun.data.inference.number_spelling import PLAIN, Spelling, in_another_spelling

SPELLINGS = [
    PLAIN,
    Spelling(","),
    Spelling(thousands=","),
    Spelling(",", "."),
    Spelling(",", " "),
    Spelling(thousands="'"),
]


def written(number: float, spelling: Spelling) -> str:
    text = f"{number:,.3f}".replace(",", "T").replace(".", "D")
    return text.replace("T", spelling.thousands or "").replace("D", spelling.decimal)


@given(st.floats(-1e12, 1e12), st.sampled_from(SPELLINGS))
def test_a_written_number_reads_back(number: float, spelling: Spelling) -> None:
    text = written(number, spelling)
    wanted = float(f"{number:.3f}")
    assert spelling.number(text) == wanted
    assert spelling.number(f" {text.replace('-', chr(0x2212))} ") == wanted
    assert spelling.number(f"{text}%") == spelling.number(f"{text} €") == wanted


@pytest.mark.parametrize(
    ("text", "spelling"),
    [
        ("1,5", PLAIN),
        ("1_000", PLAIN),
        ("inf", PLAIN),
        ("nan", PLAIN),
        ("", PLAIN),
        ("%", PLAIN),
        ("$", PLAIN),
        ("5 m", PLAIN),
        ("1,2", Spelling(thousands=",")),
        ("0,210", Spelling(thousands=",")),
        ("1,23,4", Spelling(thousands=",")),
        ("6.7", Spelling(",")),
        ("1.5", Spelling(",", ".")),
        ("1,2,3", Spelling(",")),
        ("$5 %", PLAIN),
        ("(5", PLAIN),
    ],
)
def test_what_is_no_number(text: str, spelling: Spelling) -> None:
    assert math.isnan(spelling.number(text))


@pytest.mark.parametrize(
    ("text", "number"),
    [("12,34,567", 1234567.0), ("($1,234.50)", -1234.5), ("1e3", 1000.0), ("-.5", -0.5), ("$ -3", -3.0)],
)
def test_other_usual_forms(text: str, number: float) -> None:
    assert Spelling(thousands=",").number(text) == number


@pytest.mark.parametrize(
    ("text", "spelling", "read"),
    [
        ("16.01", Spelling(","), "a decimal comma and no thousands separator: write 16,01"),
        ("16,01", PLAIN, "a decimal point and no thousands separator: write 16.01"),
        ("-0,5 %", PLAIN, "a decimal point and no thousands separator: write -0.5"),
        (
            "1,234",
            PLAIN,
            "a decimal point and no thousands separator: write 1.234 or 1234, whichever is meant",
        ),
        (
            "-1.234",
            Spelling(","),
            "a decimal comma and no thousands separator: write -1234 or -1,234, whichever is meant",
        ),
        ("16.01", Spelling(",", "."), "a decimal comma and a point as thousands separator: write 16,01"),
        ("1'234.5", PLAIN, "a decimal point and no thousands separator: write 1234.5"),
        ("1,234,567,890,123,456,789", PLAIN, "a decimal point and no thousands separator"),
    ],
)
def test_a_number_in_another_spelling(text: str, spelling: Spelling, read: str) -> None:
    assert math.isnan(spelling.number(text))
    expected = f"a number in another spelling (this column has {read})"
    assert in_another_spelling(text, spelling) == expected


@pytest.mark.parametrize("text", ["x", "", "inf", "nan", "1_000", "1,2,3"])
@pytest.mark.parametrize("spelling", SPELLINGS)
def test_a_text_that_is_a_number_in_no_spelling(text: str, spelling: Spelling) -> None:
    assert in_another_spelling(text, spelling) is None
