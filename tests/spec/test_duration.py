"""Lengths of time as specs and options write them."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nnrun.errors import SpecError
from nnrun.spec.duration import canonical_duration, seconds_of
from nnrun.spec.writing.dump import dump_spec
from tests.support.small_experiments import spec_text


@pytest.mark.parametrize(
    ("written", "canonical", "seconds"),
    [
        ("10m", "10m", 600),
        ("600", "10m", 600),
        (600, "10m", 600),
        ("90 s", "90s", 90),
        ("1.5h", "90m", 5400),
        (0.5, "0.5s", 0.5),
        ("2h", "2h", 7200),
        (7200.0, "2h", 7200),
    ],
)
def test_one_time_has_one_spelling(written: object, canonical: str, seconds: float) -> None:
    assert canonical_duration(written) == canonical
    assert seconds_of(canonical) == seconds


@pytest.mark.parametrize(
    "wrong", ["", "m", "10 minutes", "-5m", "0", 0, -1.0, True, None, math.inf, math.nan, "1e3"]
)
def test_what_is_no_time(wrong: object) -> None:
    with pytest.raises(ValueError, match="a time above 0"):
        canonical_duration(wrong)


@given(st.floats(1e-3, 1e6))
def test_the_spelling_keeps_the_time(seconds: float) -> None:
    canonical = canonical_duration(seconds)
    assert seconds_of(canonical) == pytest.approx(seconds, abs=1e-6)
    assert canonical_duration(canonical) == canonical


def test_a_spec_without_a_limit_is_written_as_before() -> None:
    assert "time_limit" not in dump_spec(spec_text().spec)
    assert 'time_limit: "90s"\n' in dump_spec(spec_text(time_limit=90).spec)
    assert spec_text(time_limit="none").spec.time_limit is None


def test_a_wrong_limit_is_told_with_what_is_right() -> None:
    with pytest.raises(SpecError) as refused:
        spec_text(time_limit="10 minutes", sweep={"over": {"epochs": [1, 2]}, "time_limit": 0})
    right = "must be a time above 0, such as 90s, 10m or 2h (a bare number is seconds)"
    assert [problem.message for problem in refused.value.problems] == [
        f"time_limit {right}; found the text '10 minutes'",
        f"sweep.time_limit {right}; found the number 0",
    ]
