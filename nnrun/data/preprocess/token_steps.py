"""Steps of rows of word indices: `multi_hot` and `pad` make rows of numbers of them."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Annotated, Literal

import numpy as np
import numpy.typing as npt
from pydantic import Field
from typing_extensions import Self

from nnrun.data.dataset import TokenRows
from nnrun.data.preprocess.fitted_step import (
    MOST_INDICES,
    Deviation,
    Finite,
    FitContext,
    FittedStep,
    Problems,
    Size,
)
from nnrun.data.preprocess.ngrams import FrequentNgrams, NgramTree, frequent_ngrams, word_counts
from nnrun.data.preprocess.word_weights import (
    learned_weights,
    refuse_wrong_lengths,
    weighted_rows,
)
from nnrun.data.rows import DenseRows, SparseRows, kept_bounds
from nnrun.errors import DataError
from nnrun.spec import schema

_BLOCK_TOKENS = (
    1_000_000  # rows are encoded in blocks of about so many: temporary memory must not grow with N
)
End = Literal["pre", "post"]
Token = Annotated[int, Field(ge=0)]


@dataclass(frozen=True)
class FittedMultiHot(FittedStep, spec=schema.MultiHot, form="tokens", program="outside", rows="sparse"):
    """Token rows to sparse rows: of 0 and 1, or of what a word counts by the weighting.

    Attributes:
        dimension: tokens from here on are dropped. Where `ngrams` is empty, each token below is a column.
        ngrams: of each length n from 1 the runs of n tokens that are columns: one after the other,
            ascending.
        weighting, sublinear, idf, ratios: as of `word_weights.Weighted`.
    """

    dimension: Size
    ngrams: tuple[tuple[Token, ...], ...] = ()
    weighting: schema.Weighting = "binary"
    sublinear: bool = False
    idf: tuple[Deviation, ...] = ()
    ratios: tuple[Finite, ...] = ()

    def __post_init__(self) -> None:
        if any(len(flat) % n for n, flat in enumerate(self.ngrams, start=1)):
            raise ValueError("an n-gram lacks a token")
        if any(max(flat, default=0) >= self.dimension for flat in self.ngrams):
            raise ValueError("an n-gram has a token that is dropped")
        refuse_wrong_lengths(self, self.width)

    @classmethod
    def fit(cls, step: schema.MultiHot, column: TokenRows, context: FitContext) -> Self:
        """The dimension, the n-grams that are frequent enough, and what they count."""
        highest = int(column.tokens.max(initial=0))
        dimension = step.dimension or context.num_words or highest + 1
        if highest >= dimension:
            raise DataError(
                f"multi_hot: the training rows hold the token {highest:,}, but the dimension is "
                f"{dimension:,}; every token must be below it. Set the dimension to {highest + 1:,} at least"
                + (f", or num_words of the data set to {dimension:,} at most." if context.num_words else ".")
            )
        _refuse_negative(column)
        ngrams: tuple[tuple[int, ...], ...] = ()
        if step.chooses:
            frequent = _chosen(step, column, dimension)
            counts, ngrams = frequent.counts, tuple(tuple(own.ravel().tolist()) for own in frequent.of_length)
        elif step.weighting in ("binary", "count"):
            return cls(dimension, (), step.weighting)
        else:
            counts = word_counts(column, dimension)
        learned = learned_weights(step, counts, context.targets)
        return cls(dimension, ngrams, step.weighting, step.sublinear, *learned)

    @cached_property
    def _tree(self) -> NgramTree:
        of_length = [np.array(flat, np.int64).reshape(-1, n) for n, flat in enumerate(self.ngrams, start=1)]
        return NgramTree.of(of_length, self.dimension)

    def transform(self, values: TokenRows, problems: Problems) -> SparseRows:
        """(N, width)."""
        if self.ngrams:
            _refuse_negative(values)
            return weighted_rows(self, self._tree.counts(values))
        if self.weighting == "binary":
            return multi_hot(values, self.dimension)
        return weighted_rows(self, word_counts(_below(values, self.dimension), self.dimension))

    @property
    def width(self) -> int:
        """F, the n-grams, or the dimension."""
        if not self.ngrams:
            return self.dimension
        return sum(len(flat) // n for n, flat in enumerate(self.ngrams, start=1))

    @property
    def tokens_below(self) -> int:
        """All tokens that a network sees are below this number."""
        return self.dimension


def _chosen(step: schema.MultiHot, rows: TokenRows, dimension: int) -> FrequentNgrams:
    """The n-grams that are columns. Of two that are as frequent the shorter, then that of lower tokens."""
    frequent = frequent_ngrams(rows, step.ngrams, step.min_count, dimension)
    count = len(frequent.occurrences)
    if not count:
        raise DataError(f"multi_hot: no word is in {step.min_count} or more of the training rows.")
    if step.num_words is None or count <= step.num_words:
        return frequent
    most_frequent = np.argsort(-frequent.occurrences, kind="stable")[: step.num_words]
    return frequent.take(np.sort(most_frequent))


def multi_hot(rows: TokenRows, dimension: int) -> SparseRows:
    """The set of tokens below `dimension` in each row."""
    blocks = [_multi_hot(block, dimension) for block in rows.blocks(_BLOCK_TOKENS)]
    indptr = np.zeros(len(rows) + 1, np.int64)
    np.cumsum(np.concatenate([np.diff(block.indptr) for block in blocks]), out=indptr[1:])
    return SparseRows(indptr, np.concatenate([block.indices for block in blocks]), None, dimension)


def _multi_hot(rows: TokenRows, dimension: int) -> SparseRows:
    """`multi_hot` of one block.

    Two counting sorts (to columns and back) put the tokens of each row in order, in linear time.
    """
    from scipy.sparse import csr_array

    rows = _below(rows, dimension)
    indptr, tokens = rows.indptr, rows.tokens
    ones = np.ones(len(tokens), np.int8)
    ordered = csr_array((ones, tokens, indptr), shape=(len(rows), dimension)).tocsc().tocsr()
    indices: npt.NDArray[np.int32] = ordered.indices.astype(np.int32, copy=False)
    first = np.ones(len(indices), bool)
    np.not_equal(indices[1:], indices[:-1], out=first[1:])
    starts = indptr[:-1]
    first[starts[starts < indptr[1:]]] = True
    return SparseRows(kept_bounds(indptr, first), indices[first], None, dimension)


@dataclass(frozen=True)
class FittedPad(FittedStep, spec=schema.Pad, form="tokens", program="outside"):
    """Token rows to rows of `length` tokens, as Keras's `pad_sequences` makes them.

    Attributes:
        length: F.
        side, truncate: the end that is filled, and the end that is cut off.
        value: what fills.
        tokens: all tokens are below this number; those that are not are left out.
    """

    length: Size
    side: End
    truncate: End
    value: Annotated[int, Field(ge=0)]
    tokens: Annotated[int, Field(le=MOST_INDICES)]

    def __post_init__(self) -> None:
        if self.value >= self.tokens:
            raise ValueError("the value is no token")

    @classmethod
    def fit(cls, step: schema.Pad, column: TokenRows, context: FitContext) -> Self:
        """The length, and the number of tokens."""
        highest = int(column.tokens.max(initial=0))
        tokens = max(context.num_words or highest + 1, step.value + 1)
        if highest >= tokens:
            raise DataError(
                f"pad: the training rows hold the token {highest:,}, but the data set's num_words is "
                f"{tokens:,}."
            )
        if tokens > MOST_INDICES:
            raise DataError(
                f"pad: tokens up to {tokens - 1:,} are too many; {MOST_INDICES:,} can be told apart. Set "
                "num_words."
            )
        length = step.length or max(1, int(column.lengths.max(initial=0)))
        return cls(length, step.side, step.truncate, step.value, tokens)

    @property
    def width(self) -> int:
        """F."""
        return self.length

    @property
    def tokens_below(self) -> int:
        """All tokens that a network sees are below this number."""
        return self.tokens

    def transform(self, values: TokenRows, problems: Problems) -> DenseRows:
        """(N, length) float32."""
        x_NF = np.full((len(values), self.length), self.value, np.float32)
        first = 0
        for block in values.blocks(_BLOCK_TOKENS):
            self._fill(x_NF[first : first + len(block)], block)
            first += len(block)
        return DenseRows(x_NF)

    def _fill(self, x_NF: np.ndarray, rows: TokenRows) -> None:
        rows = _below(rows, self.tokens)
        kept = np.minimum(rows.lengths, self.length)
        row = np.repeat(np.arange(len(rows)), kept)
        place = np.arange(len(row)) - np.repeat(np.cumsum(kept) - kept, kept)
        source = rows.indptr[:-1] + (rows.lengths - kept if self.truncate == "pre" else 0)
        target = self.length - kept if self.side == "pre" else np.zeros_like(kept)
        x_NF[row, place + target[row]] = rows.tokens[place + source[row]]


def _below(rows: TokenRows, tokens: int) -> TokenRows:
    """The same rows without the tokens from `tokens` on."""
    _refuse_negative(rows)
    if not rows.tokens.size or int(rows.tokens.max()) < tokens:
        return rows
    known = rows.tokens < tokens
    return TokenRows(kept_bounds(rows.indptr, known), rows.tokens[known])


def _refuse_negative(rows: TokenRows) -> None:
    if (least := int(rows.tokens.min(initial=0))) < 0:
        raise DataError(f"A token row holds the token {least}; tokens are not negative.")
