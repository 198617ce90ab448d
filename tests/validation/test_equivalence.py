"""The probabilities that one of two runs is better: baycomp's, whichever direction is the better."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nnrun.validation.equivalence import Equivalence, equivalence
from nnrun.validation.paired import paired_test

FIRST = [0.702, 0.731, 0.694, 0.718, 0.725, 0.709, 0.741, 0.688, 0.715, 0.722]
SECOND = [0.711, 0.729, 0.706, 0.731, 0.719, 0.722, 0.748, 0.694, 0.731, 0.728]
THREE, OTHERS = [3.1, 2.7, 4.0], [2.9, 2.8, 3.1]

BAYCOMP = [
    # two_on_single(first, second, rope, runs) of baycomp 1.0.3 with NumPy 2.4.6: (left, rope, right)
    (FIRST, SECOND, 0.001, 1, (0.013510851678333088, 0.024179393407891436, 0.9623097549137755)),
    (FIRST, SECOND, 0.005, 1, (0.0018275975955611107, 0.23334780246864095, 0.764824599935798)),
    (FIRST, SECOND, 0.01, 1, (0.00019930100418580818, 0.7821237786270994, 0.21767692036871478)),
    (FIRST, SECOND, 0.05, 1, (1.1343948065794185e-08, 0.9999998367323214, 1.5192373048478203e-07)),
    (FIRST, SECOND, 0.005, 2, (0.0071941741165995705, 0.2791791499358641, 0.7136266759475363)),
    (FIRST, SECOND, 0.0, 1, (0.02261059717357783, 0.0, 0.9773894028264222)),
    (THREE, OTHERS, 0.25, 1, (0.5624025720374148, 0.2680214519841808, 0.16957597597840435)),
]


@pytest.mark.parametrize(("first", "second", "within", "repeats", "expected"), BAYCOMP)
def test_it_is_baycomp_s(
    first: list[float],
    second: list[float],
    within: float,
    repeats: int,
    expected: tuple[float, float, float],
) -> None:
    test = paired_test(first, second, overlap=1 / (len(first) / repeats - 1))
    higher = equivalence(test, within, "max")
    assert (higher.first_better, higher.equal, higher.second_better) == pytest.approx(
        expected, rel=1e-6, abs=1e-9
    )
    lower = equivalence(test, within, "min")
    assert (lower.second_better, lower.equal, lower.first_better) == pytest.approx(
        expected, rel=1e-6, abs=1e-9
    )


def test_without_overlap_of_two_it_is_a_cauchy_distribution() -> None:
    """Differences 1 and 3: the mean 2, its standard error 1, one degree of freedom."""
    found = equivalence(paired_test([0, 0], [1, 3]), 1.0, "max")
    below, above = 0.5 - math.atan(3) / math.pi, 0.5 + math.atan(1) / math.pi
    assert found.first_better == pytest.approx(below)
    assert found.second_better == pytest.approx(above)
    assert found.equal == pytest.approx(1 - below - above)


@pytest.mark.parametrize(
    ("difference", "within", "expected"),
    [
        (0.25, 0.1, (0.0, 0.0, 1.0)),
        (-0.25, 0.1, (1.0, 0.0, 0.0)),
        (0.25, 0.25, (0.0, 1.0, 0.0)),
        (0.25, 0.5, (0.0, 1.0, 0.0)),
        (0.25, 0.0, (0.0, 0.0, 1.0)),
        (0.0, 0.1, (0.0, 1.0, 0.0)),
        (0.0, 0.0, (0.5, 0.0, 0.5)),
    ],
)
def test_differences_that_are_all_the_same_leave_no_doubt(
    difference: float, within: float, expected: tuple[float, float, float]
) -> None:
    found = equivalence(
        paired_test([0.0, 0.5, 1.0], [x + difference for x in (0.0, 0.5, 1.0)]), within, "max"
    )
    assert (found.first_better, found.equal, found.second_better) == expected


@given(
    st.lists(st.tuples(st.floats(-10, 10), st.floats(-10, 10)), min_size=2, max_size=8),
    st.floats(0, 5),
    st.sampled_from(["min", "max"]),
)
def test_the_three_add_up_and_the_other_way_round_they_change_places(
    pairs: list[tuple[float, float]], within: float, mode: str
) -> None:
    first, second = [a for a, _ in pairs], [b for _, b in pairs]
    there = equivalence(paired_test(first, second), within, mode)  # type: ignore[arg-type]
    back = equivalence(paired_test(second, first), within, mode)  # type: ignore[arg-type]
    assert there.first_better + there.equal + there.second_better == pytest.approx(1)
    assert (there.first_better, there.equal) == pytest.approx((back.second_better, back.equal), abs=1e-9)


def test_the_text() -> None:
    assert Equivalence(0.005, 0.001, 0.066, 0.933).text("A", "B") == (
        "P(B better) 0.933, P(equal within 0.005) 0.066, P(A better) 0.001."
    )
