"""Confident learning (Northcutt, Jiang and Chuang 2021): which labels are likely wrong.

A row counts confidently for a class whose out-of-fold probability is at least its mean over the rows that are
labelled so; of several such classes for the most probable. A row that counts for another class than its label
is likely labelled wrong. These rows are the entries of the confident joint off its diagonal, and those of
cleanlab's `find_label_issues` with `filter_by="confident_learning"`.

Letters in names: N rows, K classes.
"""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt

_TOLERANCE: Final = 1e-6


def likely_wrong(
    labels: npt.NDArray[np.int64], probabilities_NK: npt.NDArray[np.float64]
) -> npt.NDArray[np.int64]:
    """The rows that are likely labelled wrong, the least probable label first.

    Args:
        labels: (N,) the class of each row, from 0.
        probabilities_NK: of each class, by a model that did not train on the row.
    """
    rows, n_classes = np.arange(len(labels)), probabilities_NK.shape[1]
    counts = np.bincount(labels, minlength=n_classes)
    sums = np.zeros(n_classes)
    own = probabilities_NK[rows, labels]
    np.add.at(sums, labels, own)
    means = np.divide(sums, counts, out=np.full(n_classes, 2.0), where=counts > 0)  # no row reaches 2
    confident_NK = probabilities_NK >= np.maximum(means, 2 * _TOLERANCE) - _TOLERANCE
    number = confident_NK.sum(axis=1)
    guess = np.where(number > 1, probabilities_NK.argmax(axis=1), confident_NK.argmax(axis=1))
    favoured = probabilities_NK.copy()
    favoured[rows, labels] += _TOLERANCE  # a label as probable as any other is none to doubt
    wrong = np.flatnonzero((number > 0) & (guess != labels) & (favoured.argmax(axis=1) != labels))
    return wrong[np.argsort(own[wrong], kind="stable")]
