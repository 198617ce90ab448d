"""How probable it is that one of two runs is better, and that they are practically equal. No torch."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from nnrun.validation.paired import PairedTest

if TYPE_CHECKING:
    from nnrun.validation.summary import Mode


@dataclass(frozen=True)
class Equivalence:
    """What the Bayesian correlated t-test says of two runs; the three probabilities add up to 1.

    Attributes:
        within: differences of at most so much, in units of the score, are practically none.
        first_better: the probability that the first run is better by more than that.
        equal: that the difference is at most that.
        second_better: that the second run is better by more than that.
    """

    within: float
    first_better: float
    equal: float
    second_better: float

    def text(self, first: str, second: str) -> str:
        """`P(B better) 0.933, P(equal within 0.005) 0.066, P(A better) 0.001.`"""
        return (
            f"P({second} better) {self.second_better:.3f}, P(equal within {self.within:g}) "
            f"{self.equal:.3f}, P({first} better) {self.first_better:.3f}."
        )


def equivalence(test: PairedTest, within: float, mode: Mode) -> Equivalence:
    """The posterior of the mean difference, in three parts.

    Corani & Benavoli (2015, Machine Learning 100); Benavoli, Corani, Demšar & Zaffalon (2017, JMLR 18): with
    a prior that prefers no difference, the mean difference is distributed as Student's t on n - 1 degrees of
    freedom, about the observed mean, with variance s² (1/n + rho / (1 - rho)). rho is the correlation of the
    differences, taken as the share of rows that each validates: 1/k of folds, repeated or not. So its scale
    is the standard error of Nadeau and Bengio's t-test, whose `overlap` is rho / (1 - rho). Where all
    differences come from the same training and validation rows, as those of seeds do, rho is 0; the
    probabilities are then about training again on these rows.

    Args:
        test: of the second run against the first. Where all differences are the same, and so the spread is 0,
            the answer is certain, as baycomp's.
        within: at least 0. With 0 a difference of exactly none goes half to each.
        mode: whether low scores (`min`) or high ones (`max`) are the better.
    """
    lower, higher = _tail(test, -within, lower=True), _tail(test, within, lower=False)
    if test.mean == 0 and not test.standard_error and not within:
        lower = higher = 0.5
    first, second = (lower, higher) if mode == "max" else (higher, lower)
    return Equivalence(within, first, max(0.0, 1 - lower - higher), second)


def _tail(test: PairedTest, limit: float, *, lower: bool) -> float:
    """The probability that the mean difference is below a limit (`lower`), or above it."""
    distance = test.mean - limit if lower else limit - test.mean
    if not test.standard_error:
        return float(distance < 0)
    from scipy.special import stdtr

    if math.isinf(distance):
        return float(distance < 0)
    return float(stdtr(test.n - 1, -distance / test.standard_error))
