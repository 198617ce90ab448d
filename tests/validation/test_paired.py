"""Paired tests: those of SciPy, Nadeau and Bengio's correction, and what they come to in words."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st
from scipy import stats

from nnrun.validation.paired import (
    PairedTest,
    chance,
    holm,
    p_text,
    paired_test,
    two_digits,
    verdict,
    with_error,
)

# With ties, SciPy tries all 2ⁿ signs of n differences in Python, which takes 0.2 s for twelve.
SCORES = st.lists(st.tuples(st.floats(-10, 10), st.floats(-10, 10)), min_size=2, max_size=8)


def columns(pairs: list[tuple[float, float]]) -> tuple[list[float], list[float]]:
    return [a for a, _ in pairs], [b for _, b in pairs]


@given(SCORES)
def test_without_overlap_it_is_scipy_s_paired_t_test(pairs: list[tuple[float, float]]) -> None:
    first, second = columns(pairs)
    differences = np.subtract(second, first)
    assume(differences.std() > 1e-3)
    found = paired_test(first, second)
    expected = stats.ttest_rel(second, first)
    assert found.t_p == pytest.approx(expected.pvalue, rel=1e-4, abs=1e-12)
    assert found.mean == pytest.approx(differences.mean(), abs=1e-7)
    assert found.standard_error == pytest.approx(stats.sem(differences), rel=1e-4)
    assert not found.corrected


@given(st.lists(st.integers(-9, 9), min_size=2, max_size=9))
@example([3, -3, 3, 0, 5, 5, -5, 8, 8, 8, -1, 2])
def test_wilcoxon_is_scipy_s(steps: list[int]) -> None:
    """Over differences of a few sizes, so that zeros and ties are among them."""
    first = np.linspace(0.5, 0.9, len(steps))
    found = paired_test(first.tolist(), (first + np.divide(steps, 48)).tolist())
    present = [step for step in steps if step]
    if len(present) < 6:
        assert found.wilcoxon_p is None
    else:
        assert found.wilcoxon_p == pytest.approx(stats.wilcoxon(present).pvalue)


def test_the_corrected_test_by_hand() -> None:
    """Differences 1, 2, 3 in three folds: s² = 1, se² = 1/3 + 1/2; of 2 degrees, p = 1 - t / √(t² + 2)."""
    found = paired_test([0, 0, 0], [1, 2, 3], overlap=1 / 2)
    error = math.sqrt(1 / 3 + 1 / 2)
    t = 2 / error
    assert found == PairedTest(3, 2.0, found.standard_error, found.t_p, None, True, 1 / 2)
    assert found.standard_error == pytest.approx(error)
    assert found.t_p == pytest.approx(1 - t / math.sqrt(t**2 + 2))


@given(SCORES, st.floats(0.01, 2))
def test_overlap_makes_nothing_more_certain(pairs: list[tuple[float, float]], overlap: float) -> None:
    usual, corrected = paired_test(*columns(pairs)), paired_test(*columns(pairs), overlap=overlap)
    assert corrected.mean == usual.mean
    assert corrected.wilcoxon_p == usual.wilcoxon_p
    assert corrected.standard_error >= usual.standard_error
    assert (corrected.t_p or 0) >= (usual.t_p or 0)


@given(SCORES)
def test_the_other_way_round_it_says_the_same(pairs: list[tuple[float, float]]) -> None:
    first, second = columns(pairs)
    there, back = paired_test(first, second), paired_test(second, first)
    assert back.mean == -there.mean
    assert (back.t_p, back.wilcoxon_p) == pytest.approx((there.t_p, there.wilcoxon_p))


def test_chance_alone_is_found_unlikely_as_seldom_as_p_says() -> None:
    rng = np.random.RandomState(0)
    tests = [paired_test(rng.normal(size=10).tolist(), rng.normal(size=10).tolist()) for _ in range(1500)]
    assert 0.035 < np.mean([test.t_p < 0.05 for test in tests if test.t_p is not None]) < 0.065
    assert 0.03 < np.mean([test.wilcoxon_p < 0.05 for test in tests if test.wilcoxon_p is not None]) < 0.06


def test_the_correction_keeps_its_word_where_training_rows_are_shared() -> None:
    """Ten splits that share most of their chance: the usual test is far too sure, the corrected is not.

    With correlation r between differences, Nadeau and Bengio's overlap is r / (1 - r).
    """
    rng = np.random.RandomState(0)
    correlation = 0.2
    usual, corrected = [], []
    for _ in range(1500):
        shared, own = rng.normal(), rng.normal(size=10)
        differences = math.sqrt(correlation) * shared + math.sqrt(1 - correlation) * own
        zeros = [0.0] * 10
        usual.append(paired_test(zeros, differences.tolist()).t_p)
        overlap = correlation / (1 - correlation)
        corrected.append(paired_test(zeros, differences.tolist(), overlap=overlap).t_p)
    assert np.mean([p < 0.05 for p in usual if p is not None]) > 0.2
    assert 0.035 < np.mean([p < 0.05 for p in corrected if p is not None]) < 0.065


def test_differences_that_are_all_zero() -> None:
    assert paired_test([0.1, 0.2], [0.1, 0.2]) == PairedTest(2, 0.0, 0.0, None, None, False)
    assert paired_test([0.0] * 3, [0.0] * 3).mean == 0


def test_differences_that_are_all_the_same_but_for_rounding() -> None:
    first = [0.1 * i for i in range(8)]
    found = paired_test(first, [value + 0.1 for value in first])
    assert found.t_p is None
    assert found.standard_error == 0
    assert found.mean == pytest.approx(0.1)
    assert found.p is None


def test_rounding_breaks_no_tie() -> None:
    """Twelve rows in each validation set: 1/12 more is as much as 1/12 less, whatever floats say."""
    first = [9 / 12, 8 / 12, 7 / 12, 6 / 12, 5 / 12, 4 / 12, 3 / 12]
    second = [10 / 12, 9 / 12, 8 / 12, 7 / 12, 4 / 12, 5 / 12, 3 / 12 + 1e-17]
    assert paired_test(first, second).wilcoxon_p == pytest.approx(stats.wilcoxon([1, 1, 1, 1, -1, 1]).pvalue)


@pytest.mark.parametrize("scores", [([1.0], [2.0]), ([1.0, 2.0], [1.0]), ([1.0, math.nan], [1.0, 2.0])])
def test_what_cannot_be_tested_is_a_bug(scores: tuple[list[float], list[float]]) -> None:
    with pytest.raises(ValueError):
        paired_test(*scores)


@pytest.mark.parametrize(
    ("t_p", "wilcoxon_p", "p"),
    [(0.003, 0.01, 0.003), (0.003, None, 0.003), (0.003, 0.2, 0.2), (0.4, 0.2, 0.4), (None, 0.02, None)],
)
def test_the_p_to_go_by(t_p: float | None, wilcoxon_p: float | None, p: float | None) -> None:
    assert PairedTest(10, 1.0, 0.1, t_p, wilcoxon_p, False).p == p


# --- words -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("test", "mode", "sentence"),
    [
        (
            PairedTest(10, 0.012, 0.004, 0.003, 0.0098, False),
            "max",
            "B is better than A by 0.0120 ± 0.0040 val_x over 10 seeds; unlikely to be chance "
            "(paired t p = 0.003, Wilcoxon p = 0.0098).",
        ),
        (
            PairedTest(10, 0.012, 0.004, 0.03, 0.03, True),
            "min",
            "A is better than B by 0.0120 ± 0.0040 val_x over 10 seeds; may be more than chance "
            "(corrected paired t p = 0.03, Wilcoxon p = 0.03).",
        ),
        (
            PairedTest(4, -0.012, 0.03, 0.7, None, False),
            "max",
            "A is better than B by 0.012 ± 0.030 val_x over 4 seeds; could well be chance "
            "(paired t p = 0.7).",
        ),
        (
            PairedTest(10, -12.0, 1.5, 0.00001, 0.2, False),
            "min",
            "B is better than A by 12.0 ± 1.5 val_x over 10 seeds; could well be chance "
            "(paired t p < 0.001, Wilcoxon p = 0.2).",
        ),
        (
            PairedTest(3, -0.25, 0.0, None, None, False),
            "min",
            "B is better than A by 0.2500 val_x on each of 3 seeds: by the same amount, so the spread by "
            "chance cannot be estimated.",
        ),
        (
            PairedTest(3, 0.0, 0.0, None, None, False),
            "min",
            "A and B have the same val_x on each of 3 seeds.",
        ),
        (PairedTest(3, 0.0, 0.1, 1.0, None, False), "min", "A and B have the same mean val_x over 3 seeds."),
    ],
)
def test_a_test_in_words(test: PairedTest, mode: str, sentence: str) -> None:
    assert verdict(test, "val_x", mode, first="A", second="B", kind="seed") == sentence  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("p", "words"),
    [
        (0.0, "unlikely to be chance"),
        (0.0099, "unlikely to be chance"),
        (0.01, "may be more than chance"),
        (0.0499, "may be more than chance"),
        (0.05, "could well be chance"),
        (1.0, "could well be chance"),
    ],
)
def test_words_for_p(p: float, words: str) -> None:
    assert chance(p) == words


def test_p_is_shown_short() -> None:
    assert [p_text(p) for p in (0.0002, 0.001, 0.01234, 0.5, 1.0)] == [
        "p < 0.001",
        "p = 0.001",
        "p = 0.012",
        "p = 0.5",
        "p = 1",
    ]
    assert p_text(None) == ""


@pytest.mark.parametrize(
    ("value", "error", "text"),
    [
        (0.01234, 0.00412, "+0.0123 ± 0.0041"),
        (12160.3, 1049.0, "+12160 ± 1049"),
        (-5.49, 4.2, "-5.5 ± 4.2"),
        (1.5, 9.99e-5, "+1.500000 ± 0.000100"),
        (0.01234, None, "+0.0123"),
        (0.00001234, None, "+0.000012"),
        (0.0, None, "+0.0000"),
        (1.0, 1e-30, "+1.000000000000 ± 0.000000000000"),
    ],
)
def test_as_many_digits_as_the_error_allows(value: float, error: float | None, text: str) -> None:
    assert with_error(value, error, sign=True) == text
    assert with_error(abs(value), error) == text[1:]


def test_holm_s_correction() -> None:
    """The example of R's p.adjust(method = "holm")."""
    assert holm([0.01, 0.02, 0.03, 0.04]) == pytest.approx([0.04, 0.06, 0.06, 0.06])
    assert holm([0.04, 0.01, 0.9, 0.6]) == pytest.approx([0.12, 0.04, 1.0, 1.0])
    assert holm([0.03]) == [0.03]
    assert holm([]) == []


@given(st.lists(st.floats(0, 1), max_size=8))
def test_holm_lies_between_no_correction_and_bonferroni_s_and_keeps_the_order(p_values: list[float]) -> None:
    corrected = holm(p_values)
    for p, q in zip(p_values, corrected, strict=True):
        assert p <= q <= min(1.0, len(p_values) * p) or q == pytest.approx(p)
    by_p = sorted(zip(p_values, corrected, strict=True))
    assert [q for _, q in by_p] == sorted(corrected)


@pytest.mark.parametrize(("value", "text"), [(0.01234, "0.012"), (3.42, "3.4"), (57.2, "57"), (0.0, "0")])
def test_two_digits(value: float, text: str) -> None:
    assert two_digits(value) == text


def test_a_verdict_among_several_goes_by_the_corrected_p() -> None:
    test = paired_test([0.70, 0.72, 0.71, 0.74], [0.75, 0.78, 0.75, 0.77])
    words = {"first": "A", "second": "B", "kind": "seed"}
    assert verdict(test, "val_accuracy", "max", **words, holm_p=0.06) == (
        "B is better than A by 0.0450 ± 0.0065 val_accuracy over 4 seeds; could well be chance "
        "(paired t p = 0.0061, with Holm's correction p = 0.06)."
    )
