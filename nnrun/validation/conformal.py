"""Conformal prediction: intervals and sets of classes that contain the truth at a chosen level.

Every calibration row was predicted by the mean of the networks that did not train on it; rows with the same
such networks form a group. One group is split conformal (a holdout), the k groups of k-fold are CV+.

Shapes: n calibration rows, N rows to predict, G groups, K numbers or classes.
Sources: Barber, Candès, Ramdas, Tibshirani 2021, "Predictive inference with the jackknife+" (CV+); Romano,
Sesia, Candès 2020, "Classification with valid and adaptive coverage" (adaptive prediction sets).
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

Numbers = npt.NDArray[np.float64]
Places = npt.NDArray[np.int64]

_ROUNDING = 1e-9  # 0.9 * 10 is 9.000000000000002 for some levels, and means 9
_NUMBERS_AT_ONCE = 4_000_000


def rank_of(level: float, rows: int) -> int:
    """The place among the ascending scores of so many calibration rows, from 1, that covers this level.

    Larger than `rows` where they are too few.
    """
    return math.ceil(level * (rows + 1) - _ROUNDING)


def rows_needed(level: float) -> int:
    """The fewest calibration rows from which something of this level follows."""
    return math.ceil(level / (1 - level) - _ROUNDING)


def cv_plus_guarantee(level: float, rows: int, folds: int) -> float:
    """The share of new rows that CV+ covers at least, if they are exchangeable with the calibration rows.

    Theorem 4 of Barber et al. 2021 (for classes theorem 2 of Romano et al. 2020), for folds of equal size.
    """
    lost = min(2 * (1 - 1 / folds) / (rows / folds + 1), (1 - folds / rows) / (folds + 1))
    return max(0.0, 2 * level - 1 - lost)


def intervals(
    predicted_GNK: Numbers, residuals_nK: Numbers, group_n: Places, level: float
) -> tuple[Numbers, Numbers]:
    """The lower and the upper end of the interval of each number, (N, K) each.

    Of CV+ the upper end is the ⌈level (n + 1)⌉-th smallest of "what the networks of row i predict here, plus
    the residual of row i" over all calibration rows i; the lower end is the mirror image.

    Args:
        predicted_GNK: what the networks of each group predict for the rows.
        residuals_nK: |target - prediction| of each calibration row.
        group_n: the group of each calibration row.
        level: the share of rows to cover; `rank_of` it is at most n.
    """
    rank, n = rank_of(level, len(residuals_nK)), len(residuals_nK)
    _, rows, numbers = predicted_GNK.shape
    lower, upper = np.empty((rows, numbers)), np.empty((rows, numbers))
    at_once = max(1, _NUMBERS_AT_ONCE // n)
    for k in range(numbers):
        residuals = residuals_nK[:, k]
        for first in range(0, rows, at_once):
            part = slice(first, first + at_once)
            predicted_Nn = predicted_GNK[:, part, k].T[:, group_n]
            upper[part, k] = np.partition(predicted_Nn + residuals, rank - 1, axis=1)[:, rank - 1]
            lower[part, k] = np.partition(predicted_Nn - residuals, n - rank, axis=1)[:, n - rank]
    return lower, upper


def adaptive_scores(probabilities_NK: Numbers) -> Numbers:
    """(N, K): of each class the probability of all classes that are more probable; of the first one 0.

    That is the smallest share of probability at which the most probable classes must reach to this one: the
    score of adaptive prediction sets without random numbers.
    """
    order = np.argsort(-probabilities_NK, axis=1, kind="stable")
    descending = np.take_along_axis(probabilities_NK, order, axis=1)
    before = np.cumsum(descending, axis=1) - descending
    scores = np.empty_like(before)
    np.put_along_axis(scores, order, before, axis=1)
    return scores


def class_sets(
    probabilities_GNK: Numbers, scores_n: Numbers, group_n: Places, level: float
) -> npt.NDArray[np.bool_]:
    """(N, K) which classes the set of each row contains.

    A class is in it unless, of the n calibration rows, ⌈level (n + 1)⌉ or more have a smaller score than the
    class has here by the networks of that row (CV+ of Romano et al. 2020; with one group these are the
    classes whose score is not above the quantile of the scores).

    Args:
        probabilities_GNK: what the networks of each group say of the rows.
        scores_n: the score of each calibration row's true class.
        group_n: the group of each calibration row.
        level: the share of rows to cover; `rank_of` it is at most n.
    """
    smaller = np.zeros(probabilities_GNK.shape[1:], np.int64)
    for group, probabilities_NK in enumerate(probabilities_GNK):
        own = np.sort(scores_n[group_n == group])
        smaller += np.searchsorted(own, adaptive_scores(probabilities_NK), side="left")
    return np.asarray(smaller < rank_of(level, len(scores_n)))


def share_interval(successes: int, trials: int, level: float = 0.95) -> tuple[float, float]:
    """The interval of a share by Clopper and Pearson (1934): exact, so never too narrow."""
    from scipy.stats import beta

    tail = (1 - level) / 2
    low = 0.0 if successes == 0 else float(beta.ppf(tail, successes, trials - successes + 1))
    high = 1.0 if successes == trials else float(beta.ppf(1 - tail, successes + 1, trials - successes))
    return low, high
