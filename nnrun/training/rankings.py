"""How well scores rank: areas under curves, from the scores of all rows."""

from __future__ import annotations

import numpy as np


def area_under_roc(scores: np.ndarray, positive: np.ndarray) -> float:
    """The share of (positive, negative) pairs in the right order, ties half (Mann-Whitney U).

    NaN where there is only one class.

    Args:
        scores: (N,) predicted scores.
        positive: (N,) booleans.
    """
    positives = int(positive.sum())
    negatives = len(positive) - positives
    if positives == 0 or negatives == 0:
        return float("nan")
    _, group, size = np.unique(scores, return_inverse=True, return_counts=True)
    middle_rank = np.cumsum(size) - (size - 1) / 2
    rank_sum = float(middle_rank[group][positive].sum())
    return (rank_sum - positives * (positives + 1) / 2) / (positives * negatives)


def average_precision(scores: np.ndarray, positive: np.ndarray) -> float:
    """Precision at each score from which a positive is found, weighted by the recall that it adds.

    Rows of one score are found together, as in scikit-learn. NaN where there are no positives.

    Args:
        scores: (N,) predicted scores.
        positive: (N,) booleans.
    """
    positives = int(positive.sum())
    if positives == 0:
        return float("nan")
    _, group, size = np.unique(scores, return_inverse=True, return_counts=True)
    right = np.bincount(group, positive, minlength=len(size))[::-1]  # from the highest score on
    precision = np.cumsum(right) / np.cumsum(size[::-1])
    return float((precision * right).sum() / positives)


def log_odds(logits_NK: np.ndarray) -> np.ndarray:
    """(N, K): of each class of a softmax, the logarithm of p / (1 - p), without rounding p first.

    Classes of equal logits tie exactly, and so do rows that hold the same logits in another order.
    """
    z = np.sort(logits_NK.astype(np.float64), axis=1)  # sums that do not depend on the order
    highest, below = z[:, -1:], z[:, :-1]
    # The others of the most probable class, then those of any less probable one: these have at least 1
    # together, so that nothing cancels.
    second = below[:, -1:]
    of_highest = highest - second - np.log(np.exp(below - second).sum(1, keepdims=True))
    away = logits_NK - highest
    total = np.exp(z - highest).sum(1, keepdims=True)
    less_probable = away < 0
    shares = np.where(less_probable, np.exp(away), 0)
    return np.asarray(np.where(less_probable, away - np.log(total - shares), of_highest))
