"""N-grams: runs of 1 to n neighbouring words, found in rows of word numbers without a loop over rows.

An n-gram is known by its *prefix*, the run without its last word: n-grams make a tree, and each of its levels
is a sparse matrix of prefix by last word. Rows are followed down the tree level by level, all places of all
rows at once.

Letters in names: N rows, T words of all rows, K n-grams.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from nnrun.data.dataset import TokenRows

_BLOCK_TOKENS = (
    1_000_000  # rows are followed in blocks of about so many: temporary memory must not grow with N
)
Ints = npt.NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class _Runs:
    """The places of some rows at which a known run of words begins.

    Attributes:
        rows: the rows.
        ends: (T,) where the row of each place ends.
        places: (P,) ascending.
        numbers: (P,) that of the run that begins there, among those of its length.
    """

    rows: TokenRows
    ends: Ints
    places: Ints
    numbers: Ints

    @classmethod
    def empty(cls, rows: TokenRows) -> _Runs:
        """A run of no words at every place."""
        places = np.arange(len(rows.tokens))
        return cls(rows, np.repeat(rows.indptr[1:], rows.lengths), places, np.zeros(len(places), np.int64))

    def longer(self, n: int, words: int) -> tuple[Ints, Ints, Ints]:
        """Of the places where n words begin that are below `words`: place, number of the run, n-th word."""
        last = self.places + (n - 1)
        inside = last < self.ends[self.places]
        places, numbers, last = self.places[inside], self.numbers[inside], last[inside]
        word = self.rows.tokens[last].astype(np.int64)
        known = word < words
        return places[known], numbers[known], word[known]

    def at(self, places: Ints, numbers: Ints) -> _Runs:
        """Other runs in the same rows; those with a number below 0 are left out."""
        known = numbers >= 0
        return _Runs(self.rows, self.ends, places[known], numbers[known])

    def counts(self, columns: Ints, width: int) -> Any:
        """(N, width) CSR of int32: how often each row holds each column; `columns` (P,), -1 for none."""
        from scipy.sparse import csr_array

        held = columns >= 0
        indptr = np.searchsorted(self.places[held], self.rows.indptr).astype(np.int32)
        ones, of_places = np.ones(int(indptr[-1]), np.int32), columns[held].astype(np.int32)
        counted = csr_array((ones, of_places, indptr), shape=(len(self.rows), width))
        counted.sum_duplicates()
        return counted


@dataclass(frozen=True, eq=False)
class _Level:
    """The n-grams of one length, and the prefixes of this length of longer ones.

    Attributes:
        numbers: (prefixes, words) CSR: 1 + the number of the n-gram with this prefix and this last word. By
            that number, which is its place in ascending order, the next level knows it as a prefix.
        columns: (numbers,) the place of each among the features of this length; -1 for a mere prefix.
    """

    numbers: Any
    columns: Ints

    @classmethod
    def of(cls, prefixes: Sequence[Ints], last: Sequence[Ints], shape: tuple[int, int]) -> _Level:
        """The level of n-grams, prefixes and last words given in parts, of which the first are features."""
        from scipy.sparse import csr_array

        places = (np.concatenate(prefixes), np.concatenate(last))
        numbers = csr_array((np.ones(len(places[0]), np.int32), places), shape=shape)
        numbers.sum_duplicates()
        numbers.data[:] = np.arange(1, numbers.nnz + 1)
        level = cls(numbers, np.full(numbers.nnz, -1, np.int64))
        level.columns[level.find(prefixes[0], last[0])] = np.arange(len(prefixes[0]))
        return level

    @property
    def width(self) -> int:
        """Features of this length."""
        return int(self.columns.max(initial=-1)) + 1

    def find(self, prefixes: Ints, last: Ints) -> Ints:
        """The number of each n-gram; -1 for one that is not here."""
        if not len(self.columns) or not len(last):
            return np.full(len(last), -1, np.int64)
        return np.asarray(self.numbers[prefixes, last], np.int64).ravel() - 1


@dataclass(frozen=True, eq=False)
class NgramTree:
    """The n-grams that are features, those of one word first, those of each length in ascending order.

    Attributes:
        words: word numbers are below it. Any other is unknown, and so is every n-gram that it is part of.
        levels: of one word, of two, ...
    """

    words: int
    levels: tuple[_Level, ...]

    @classmethod
    def of(cls, of_length: Sequence[Ints], words: int) -> NgramTree:
        """The tree of these n-grams: of each length n from 1 an array (K, n), ascending, all different."""
        numbers: list[Ints] = [np.zeros(len(each), np.int64) for each in of_length]
        levels: list[_Level] = []
        for n in range(len(of_length)):
            prefixes = max(len(levels[-1].columns), 1) if levels else 1
            last = [each[:, n] for each in of_length[n:]]
            levels.append(_Level.of(numbers[n:], last, (prefixes, words)))
            numbers[n:] = map(levels[-1].find, numbers[n:], last)
        return cls(words, tuple(levels))

    def counts(self, rows: TokenRows) -> Any:
        """(N, K) CSR of int32: how often each row holds each n-gram; the columns of a row ascend."""
        from scipy.sparse import hstack, vstack

        blocks = []
        for block in rows.blocks(_BLOCK_TOKENS):
            runs, parts = _Runs.empty(block), []
            for n, level in enumerate(self.levels, start=1):
                places, prefixes, last = runs.longer(n, self.words)
                runs = runs.at(places, level.find(prefixes, last))
                parts.append(runs.counts(level.columns[runs.numbers], level.width))
            blocks.append(hstack(parts, format="csr"))
        return blocks[0] if len(blocks) == 1 else vstack(blocks, format="csr")


@dataclass(frozen=True, eq=False)
class FrequentNgrams:
    """The n-grams that enough of some rows hold.

    Attributes:
        of_length: for each length n from 1 an array (K, n) of word numbers, in ascending order.
        counts: (N, K) CSR of int32: how often each row holds each of them, those of one word first.
    """

    of_length: tuple[Ints, ...]
    counts: Any

    @cached_property
    def occurrences(self) -> Ints:
        """(K,) how often each occurs in all rows together."""
        counts = self.counts
        return np.bincount(counts.indices, counts.data, counts.shape[1]).astype(np.int64)

    def take(self, chosen: Ints) -> FrequentNgrams:
        """Those in these columns, ascending."""
        starts = np.cumsum([0, *map(len, self.of_length)])
        parts = np.split(chosen, np.searchsorted(chosen, starts[1:-1]))
        of_length = zip(self.of_length, parts, starts[:-1], strict=True)
        return FrequentNgrams(
            tuple(own[part - start] for own, part, start in of_length), self.counts[:, chosen]
        )


def frequent_ngrams(rows: TokenRows, longest: int, min_count: int, words: int) -> FrequentNgrams:
    """The n-grams of up to `longest` words that `min_count` rows or more hold.

    Args:
        rows: of word numbers.
        longest: words of the longest n-grams.
        min_count: rows that must hold an n-gram, 1 or more. A longer run of words is in no more rows than its
            prefix, so those with a rare prefix are never looked at.
        words: word numbers are below it; any other is unknown.
    """
    from scipy.sparse import hstack

    runs, of_length, parts = _Runs.empty(rows), [np.zeros((1, 0), np.int64)], []
    for n in range(1, longest + 1):
        places, prefixes, last = runs.longer(n, words)
        keys, numbers = np.unique(prefixes * words + last, return_inverse=True)
        every = _Runs(rows, runs.ends, places, numbers)
        counts = every.counts(numbers, len(keys))
        kept = np.flatnonzero(np.bincount(counts.indices, minlength=len(keys)) >= min_count)
        new = np.full(len(keys), -1, np.int64)
        new[kept] = np.arange(len(kept))
        runs = every.at(places, new[numbers])
        of_length.append(np.column_stack([of_length[-1][keys[kept] // words], keys[kept] % words]))
        parts.append(counts[:, kept])
    return FrequentNgrams(tuple(of_length[1:]), hstack(parts, format="csr"))


def word_counts(rows: TokenRows, words: int) -> Any:
    """(N, words) CSR of int32: how often each row holds each word; all word numbers are below `words`."""
    return _Runs.empty(rows).counts(rows.tokens.astype(np.int64), words)
