"""How small a difference so many folds or seeds would show, and how many it takes to show one. No torch."""

from __future__ import annotations

import math
from dataclasses import dataclass

from nnrun.validation.paired import PairedTest

LEVEL = 0.05
"""A difference is shown where a two-sided p is below this."""

POWER = 0.8
"""How often a difference of this size is to be shown."""

FEWEST = 3
"""With two pairs, the spread may be 0.4 to 32 times what was seen: nothing follows from it."""

MOST_PAIRS = 10_000


@dataclass(frozen=True)
class Power:
    """What the spread of the observed differences says about experiments like this one.

    Attributes:
        spread: standard deviation of the differences over folds or seeds.
        spread_range: the spread's 95 % interval, as multiples of it.
        detectable: the least true difference that the present number of pairs shows, four times in five.
        pairs_for_observed: how many pairs show the observed difference, were it the true one; None where
            there is none, or where it takes more than `MOST_PAIRS`.
        pairs_for_equal: how many show a difference of `--equal`; None where that was not asked for, too.
    """

    spread: float
    spread_range: tuple[float, float]
    detectable: float
    pairs_for_observed: int | None
    pairs_for_equal: int | None


def power_of(test: PairedTest, equal: float | None = None, *, step: int = 1) -> Power | None:
    """The power of a paired t-test, corrected as `test` is, at the level of 5 %.

    The test statistic has a noncentral t distribution, about the true difference in standard errors. The
    spread is taken as known, which it is not: `spread_range` tells how well (by the chi-squared distribution
    of a variance, for independent differences).

    Args:
        test: the paired test.
        equal: a difference to ask for beside the observed one.
        step: pairs come in multiples of this: the folds of one repeat.

    Returns:
        None where nothing follows: fewer than three pairs, or no spread.
    """
    if test.n < FEWEST or not test.standard_error:
        return None
    from scipy.special import chdtri

    spread = test.standard_error / math.sqrt(1 / test.n + test.overlap)
    degrees = test.n - 1
    low, high = (math.sqrt(degrees / float(chdtri(degrees, p))) for p in (0.025, 0.975))
    return Power(
        spread,
        (low, high),
        detectable_difference(spread, test.n, test.overlap),
        pairs_needed(abs(test.mean), spread, test.overlap, step=step),
        None if equal is None else pairs_needed(equal, spread, test.overlap, step=step),
    )


def detectable_difference(spread: float, pairs: int, overlap: float = 0.0) -> float:
    """The true mean difference that so many pairs show with probability `POWER`.

    Args:
        spread: standard deviation of the differences.
        pairs: from 3.
        overlap: as of `paired_test`.
    """
    from scipy.special import nctdtrinc, stdtrit

    # That the test finds it significant in the wrong direction is left out: its probability is below 0.0001.
    shift = nctdtrinc(pairs - 1, 1 - POWER, stdtrit(pairs - 1, 1 - LEVEL / 2))
    return float(shift) * spread * math.sqrt(1 / pairs + overlap)


def pairs_needed(difference: float, spread: float, overlap: float = 0.0, *, step: int = 1) -> int | None:
    """The least number of pairs that show a true difference with probability `POWER`.

    Where training rows are shared, more repeats of the same folds make the mean difference no more certain
    than `spread * sqrt(overlap)`, so that a small one is never shown.

    Args:
        difference: at least 0.
        spread, overlap: as of `detectable_difference`.
        step: the number is a multiple of this.

    Returns:
        None where it takes more than `MOST_PAIRS`.
    """
    low, high = 0, MOST_PAIRS // step  # in steps: too few, and enough
    if detectable_difference(spread, high * step, overlap) > difference:
        return None
    while high - low > 1:
        middle = (low + high) // 2
        enough = middle * step >= FEWEST
        if enough and detectable_difference(spread, middle * step, overlap) <= difference:
            high = middle
        else:
            low = middle
    return high * step
