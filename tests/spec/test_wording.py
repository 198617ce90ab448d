"""Words for messages."""

from __future__ import annotations

import pytest

from nnrun.spec.wording import counted, score_text, with_std


@pytest.mark.parametrize(
    ("number", "noun", "said"),
    [(1, "layer", "1 layer"), (3, "layer", "3 layers"), (2, "array", "2 arrays"), (0, "entry", "0 entries")],
)
def test_counted_things(number: int, noun: str, said: str) -> None:
    assert counted(number, noun) == said


def test_a_score_that_rounds_to_nothing_has_no_sign() -> None:
    assert [with_std(value) for value in (-0.00001, -0.0, 0.0, -0.00006)] == ["0.0000"] * 3 + ["-0.0001"]
    assert with_std(-0.00001, 0.00002) == "0.0000 ± 0.0000"


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (9_999_999.0, "9999999.0000"),
        (1e7, "1.0000e+07"),
        (-1.23456e30, "-1.2346e+30"),
        (float("inf"), "inf"),
        (float("nan"), "nan"),
        (2, "2.0000"),
    ],
)
def test_large_scores_are_written_with_an_exponent(value: float, text: str) -> None:
    assert score_text(value) == with_std(value) == text
    assert with_std(0.5, value) == f"0.5000 ± {text}"
