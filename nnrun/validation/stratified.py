"""Rows drawn class by class, so that each part has the classes in the shares of the whole.

The rows are those of scikit-learn's `StratifiedKFold` and `StratifiedShuffleSplit` with the same generator,
bit for bit; to import scikit-learn takes a second.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

Labels = npt.NDArray[Any]
Rows = npt.NDArray[np.int64]
Counts = npt.NDArray[np.int64]


def stratified_parts(k: int, labels: Labels, random: np.random.RandomState | None) -> list[Rows]:
    """k parts of all rows, each row in one of them (`StratifiedKFold`).

    Args:
        k: how many; no class may have fewer rows.
        labels: (N,) the class of each row.
        random: decides which rows of a class go where; None takes them in their order.

    Returns:
        The rows of each part, ascending.
    """
    _, first, inverse = np.unique(labels, return_index=True, return_inverse=True)
    place_of_class = np.argsort(np.argsort(first))  # by where a class stands first: its name has no influence
    classes = place_of_class[inverse]
    # Dealt out like cards, class after class: part i has the i-th, (i + k)-th, ... row of the sorted labels.
    dealt = np.sort(classes)
    rows_of_class_KC = np.array([np.bincount(dealt[i::k], minlength=len(first)) for i in range(k)])
    part_of_row = np.empty(len(labels), np.int64)
    for number in range(len(first)):
        parts = np.arange(k).repeat(rows_of_class_KC[:, number])
        if random is not None:
            random.shuffle(parts)
        part_of_row[classes == number] = parts
    return [np.flatnonzero(part_of_row == part) for part in range(k)]


def stratified_sample(labels: Labels, size: int, random: np.random.RandomState) -> Rows:
    """The rows that a stratified split holds back: the test rows of `StratifiedShuffleSplit(1)`.

    Args:
        labels: (N,) the class of each row; each class has at least two rows.
        size: how many rows, at least one for each class; as many must be left.
        random: is drawn from.

    Returns:
        (size,) rows, ascending.
    """
    _, inverse, counts = np.unique(labels, return_inverse=True, return_counts=True)
    kept = _shares(counts, len(labels) - size, random)
    drawn = _shares(counts - kept, size, random)
    rows_of_class = np.split(np.argsort(inverse, kind="stable"), np.cumsum(counts)[:-1])
    sample = []
    for rows, n_kept, n_drawn in zip(rows_of_class, kept, drawn, strict=True):
        shuffled = rows[random.permutation(len(rows))]
        sample.append(shuffled[n_kept : n_kept + n_drawn])
    return np.sort(np.concatenate(sample))


def _shares(counts: Counts, size: int, random: np.random.RandomState) -> Counts:
    """How many rows of each class a sample of `size` has: about the mode of the hypergeometric distribution.

    Each class has its share rounded down. What then lacks goes to the largest remainders; among equal ones
    chance decides.
    """
    exact = counts / counts.sum() * size
    shares = np.floor(exact)
    remainders = exact - shares
    lacking = int(size - shares.sum())
    for remainder in np.unique(remainders)[::-1]:
        if lacking <= 0:
            break
        equal = np.flatnonzero(remainders == remainder)
        raised = random.choice(equal, size=min(len(equal), lacking), replace=False)
        shares[raised] += 1
        lacking -= len(raised)
    whole: Counts = shares.astype(np.int64)
    return whole
