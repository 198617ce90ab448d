"""Sequences of classes from 1, of differing length: rows of equal length, filled up with 0.

What connectionist temporal classification (CTC, Graves et al. 2006) reads: 0 is the blank, which steps say
between classes, and never a class of a target.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]


def padded(lists: Sequence[Sequence[int]]) -> npt.NDArray[np.int64]:
    """(N, L) from N lists, L the length of the longest, at least 1."""
    lengths = np.array([len(classes) for classes in lists], np.int64)
    rows = np.zeros((len(lists), max(1, int(lengths.max(initial=0)))), np.int64)
    rows[np.arange(rows.shape[1]) < lengths[:, None]] = [c for classes in lists for c in classes]
    return rows


def lists_of(rows_NL: Array) -> list[list[int]]:
    """N lists, without the zeros that fill rows up."""
    return [[c for c in row if c] for row in rows_NL.tolist()]


def greedily_decoded(outputs_NTK: Array) -> npt.NDArray[np.int64]:
    """(N, T): the most probable class of each step, repetitions as one, without blanks; filled up with 0."""
    best_NT = outputs_NTK.argmax(-1)
    kept = best_NT != 0
    kept[:, 1:] &= best_NT[:, 1:] != best_NT[:, :-1]
    places = np.argsort(~kept, axis=1, kind="stable")  # what is kept comes first, in its order
    decoded: npt.NDArray[np.int64] = np.take_along_axis(np.where(kept, best_NT, 0), places, 1)
    return decoded


def steps_needed(rows_NL: Array) -> npt.NDArray[np.int64]:
    """(N,): of how many steps CTC can read each row: one for a class, and one between two that are equal."""
    classes = rows_NL != 0
    repeated = classes[:, 1:] & (rows_NL[:, 1:] == rows_NL[:, :-1])
    needed: npt.NDArray[np.int64] = classes.sum(1) + repeated.sum(1)
    return needed


def edit_distances(some_NA: Array, others_NB: Array) -> npt.NDArray[np.int64]:
    """(N,): how many classes to insert, remove or replace to make one row of the other (Levenshtein).

    All rows go through the table of distances together.
    """
    rows, width = others_NB.shape
    ends, lengths = (others_NB != 0).sum(1), (some_NA != 0).sum(1)
    places = np.arange(width + 1)
    distance = np.tile(places, (rows, 1))  # to each beginning of the other row, from nothing
    found: npt.NDArray[np.int64] = distance[np.arange(rows), ends]
    for step in range(1, int(lengths.max(initial=0)) + 1):
        replaced = distance[:, :-1] + (some_NA[:, step - 1 : step] != others_NB)
        best = np.concatenate([np.full((rows, 1), step), np.minimum(distance[:, 1:] + 1, replaced)], 1)
        distance = np.minimum.accumulate(best - places, axis=1) + places  # insertions
        at_end = lengths == step
        found[at_end] = distance[at_end, ends[at_end]]
    return found
