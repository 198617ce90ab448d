"""Steps of a column of texts: `text` makes a feature of each word, `tokens` rows of word indices."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
from typing_extensions import Self

from nnrun.data.dataset import Array, TokenRows
from nnrun.data.preprocess.fitted_step import (
    Deviation,
    Finite,
    FitContext,
    FittedStep,
    Levels,
    Mask,
    Problems,
    Size,
)
from nnrun.data.preprocess.ngrams import NgramTree, frequent_ngrams
from nnrun.data.preprocess.split_words import CutTexts, cut_once
from nnrun.data.preprocess.word_weights import (
    learned_weights,
    refuse_wrong_lengths,
    weighted_rows,
)
from nnrun.data.rows import SparseRows, kept_bounds
from nnrun.data.table import TextColumn
from nnrun.errors import DataError
from nnrun.spec import schema
from nnrun.spec.wording import quoted

UNKNOWN = 1
"""The index of a word that has none of its own; 0 is left for padding."""
FIRST_WORD = 2


@dataclass(frozen=True)
class FittedText(FittedStep, spec=schema.Text, form="text", program="outside", known="words", rows="sparse"):
    """Texts to sparse rows with a column for each of some words.

    Attributes:
        words: in alphabetical order. With `ngrams` above 1 some are runs of words, with blanks between.
        lower: whether texts are made lower-case first.
        ngrams: the longest run.
        weighting, idf, sublinear, ratios: as of `word_weights.Weighted`.
    """

    words: Levels
    lower: bool
    ngrams: Size
    weighting: schema.Weighting
    idf: tuple[Deviation, ...]
    sublinear: bool = False
    ratios: tuple[Finite, ...] = ()

    def __post_init__(self) -> None:
        refuse_wrong_lengths(self, self.width)

    @classmethod
    def fit(cls, step: schema.Text, column: TextColumn, context: FitContext) -> Self:
        """The most frequent words of the training rows."""
        texts, counts = cut_once(column.values, step.lower)
        counts = counts if context.rows is None else counts[context.rows]
        if step.ngrams == 1:
            chosen = sorted(
                _frequent(step, column.name, texts, counts, step.num_words), key=texts.words.__getitem__
            )
            words, counts = tuple(texts.words[i] for i in chosen), counts[:, chosen]
        else:
            words, counts = _frequent_runs(step, column.name, texts, context.rows)
        idf, ratios = learned_weights(step, counts, context.targets)
        return cls(words, step.lower, step.ngrams, step.weighting, idf, step.sublinear, ratios)

    @property
    def width(self) -> int:
        """The words."""
        return len(self.words)

    def feature_names(self, column: str) -> list[str]:
        """`column:word`."""
        return [f"{column}:{word}" for word in self.words]

    @cached_property
    def _place(self) -> dict[str, int]:
        return {word: place for place, word in enumerate(self.words)}

    @cached_property
    def _runs(self) -> tuple[dict[str, int], NgramTree, Array]:
        """The number of each single word; the n-grams, the shorter first; the column of each of these."""
        return _tree_of(self.words, self.ngrams)

    def transform(self, values: TextColumn, problems: Problems) -> SparseRows:
        """(N, words); a missing text is an empty one."""
        texts, counts = cut_once(values.values, self.lower)
        if self.ngrams == 1:
            places = np.array([self._place.get(word, -1) for word in texts.words], np.int64)
            known = np.flatnonzero(places >= 0)
            return weighted_rows(self, _columns(counts, known, places[known], self.width))
        number_of, tree, places = self._runs
        numbers = np.array([number_of.get(word, tree.words) for word in texts.words], np.int32)
        counts = tree.counts(TokenRows(texts.indptr, numbers[texts.numbers]))
        return weighted_rows(self, _columns(counts, np.arange(len(places)), places, self.width))

    def unseen(self, column: TextColumn) -> Mask:
        """Texts without a known word."""
        return _without_words(column, self.transform(column, {}).indptr)


@dataclass(frozen=True)
class FittedTokens(FittedStep, spec=schema.Tokens, form="text", program="outside", known="words"):
    """Texts to rows of word indices: `words[i]` is i + 2, every other word 1. 0 is left for padding."""

    words: Levels
    lower: bool

    @classmethod
    def fit(cls, step: schema.Tokens, column: TextColumn, context: FitContext) -> Self:
        """The most frequent words of the training rows, the most frequent first."""
        texts, counts = cut_once(column.values, step.lower)
        counts = counts if context.rows is None else counts[context.rows]
        chosen = _frequent(step, column.name, texts, counts, step.num_words - FIRST_WORD)
        return cls(tuple(texts.words[i] for i in chosen), step.lower)

    @property
    def tokens_below(self) -> int:
        """All indices that it gives are below this number."""
        return len(self.words) + FIRST_WORD

    @cached_property
    def word_indices(self) -> Mapping[str, int]:
        """The index of each word."""
        return {word: place for place, word in enumerate(self.words, start=FIRST_WORD)}

    def transform(self, values: TextColumn, problems: Problems) -> TokenRows:
        """A row of indices for each text, in the order of its words; none for a missing text."""
        texts, _ = cut_once(values.values, self.lower)
        places = np.array([self.word_indices.get(word, UNKNOWN) for word in texts.words], np.int32)
        return TokenRows(texts.indptr, places[texts.numbers])

    def unseen(self, column: TextColumn) -> Mask:
        """Texts without a known word."""
        rows = self.transform(column, {})
        return _without_words(column, kept_bounds(rows.indptr, rows.tokens != UNKNOWN))


def _without_words(column: TextColumn, indptr: npt.NDArray[np.int64]) -> Mask:
    """Which rows have a text, but no word between their bounds in `indptr`."""
    has_text: Mask = np.array([bool(value) for value in column.values], bool)
    empty: Mask = np.diff(indptr) == 0
    return has_text & empty


def _tree_of(grams: Sequence[str], longest: int) -> tuple[dict[str, int], NgramTree, Array]:
    """What `FittedText._runs` is, of words and runs of words with blanks between."""
    parts = [gram.split(" ") for gram in grams]
    number_of = {word: number for number, word in enumerate(sorted({word for own in parts for word in own}))}
    lengths = np.array([len(own) for own in parts])
    of_length, places = [], []
    for n in range(1, longest + 1):
        place = np.flatnonzero(lengths == n)
        flat = [number_of[word] for i in place.tolist() for word in parts[i]]
        of_length.append(np.array(flat, np.int64).reshape(-1, n))
        places.append(place)
    return number_of, NgramTree.of(of_length, len(number_of)), np.concatenate(places)


def _frequent_runs(
    step: schema.Text, column: str, texts: CutTexts, rows: Array | None
) -> tuple[tuple[str, ...], Any]:
    """The most frequent words and runs of words of the training rows, by the alphabet, and their counts.

    Args:
        step: of the spec.
        column: its name.
        texts: of all rows.
        rows: positions of the training rows; None for all.
    """
    own = TokenRows(texts.indptr, texts.numbers)
    own = own if rows is None else own.take(rows)
    found = frequent_ngrams(own, step.ngrams, step.min_count, len(texts.words))
    occurrences = found.occurrences
    if not len(occurrences):
        raise _no_word(step, column)
    possible = np.flatnonzero(_may_be_among(occurrences, step.num_words))
    runs = found.take(possible)
    word = texts.words.__getitem__
    names = [" ".join(map(word, run)) for own in runs.of_length for run in own.tolist()]
    often = occurrences[possible].tolist()
    chosen = sorted(range(len(names)), key=lambda i: (-often[i], names[i]))[: step.num_words]
    places = sorted(chosen, key=names.__getitem__)
    return tuple(names[i] for i in places), runs.counts[:, places]


def _frequent(
    step: schema.Text | schema.Tokens, column: str, texts: CutTexts, counts: Any, most: int
) -> list[int]:
    """The numbers of at most so many words that are frequent enough in the training rows' `counts`."""
    in_rows = np.bincount(counts.indices, minlength=len(texts.words))
    occurrences = np.bincount(counts.indices, counts.data, len(texts.words)).astype(np.int64)
    chosen = _most_frequent(texts, occurrences, in_rows >= step.min_count, most)
    if not chosen:
        raise _no_word(step, column)
    return chosen


def _no_word(step: schema.Text | schema.Tokens, column: str) -> DataError:
    return DataError(
        f"{step.kind}: no word is in {step.min_count} or more of the training rows of column "
        f"{quoted(column)}."
    )


def _most_frequent(
    texts: CutTexts, occurrences: npt.NDArray[np.int64], allowed: npt.NDArray[np.bool_], most: int
) -> list[int]:
    """The numbers of the most frequent words, the most frequent first; of equals the alphabet decides."""
    numbers = np.flatnonzero(allowed & (occurrences > 0))
    numbers = numbers[_may_be_among(occurrences[numbers], most)]
    return sorted(numbers.tolist(), key=lambda i: (-int(occurrences[i]), texts.words[i]))[:most]


def _may_be_among(occurrences: npt.NDArray[np.int64], most: int) -> npt.NDArray[np.bool_]:
    """Which may be among the most frequent, so many of them: the others need no sorting."""
    if len(occurrences) <= most:
        return np.ones(len(occurrences), bool)
    least = np.partition(occurrences, len(occurrences) - most)[len(occurrences) - most]
    found: npt.NDArray[np.bool_] = occurrences >= least
    return found


def _columns(counts: Any, known: Array, places: Array, width: int) -> Any:
    """Some columns of a CSR matrix at new places, the indices of each row in order."""
    from scipy.sparse import csr_array

    new = np.full(counts.shape[1], -1, np.int32)
    new[known] = places
    moved = new[counts.indices]
    held = moved >= 0
    chosen = csr_array(
        (counts.data[held], moved[held], kept_bounds(counts.indptr, held)), shape=(counts.shape[0], width)
    )
    chosen.sort_indices()
    return chosen
