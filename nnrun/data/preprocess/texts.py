"""Steps of a column of texts: `text` makes a feature of each word, `tokens` rows of word indices."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Annotated, Any, Literal, Self

import numpy as np
import numpy.typing as npt
from pydantic import Field

from nnrun.data.dataset import Array, TokenRows
from nnrun.data.preprocess.fitted_step import FitContext, FittedStep, Levels, Mask, Problems, Size
from nnrun.data.preprocess.split_words import CutTexts, cut_once
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
        weighting: `binary` (1 where a word occurs), `count`, or `tf_idf`.
        idf: of each word, ln((1 + n) / (1 + df)) + 1 over the n training rows of which df hold it, as
            scikit-learn's `TfidfTransformer` has it; a row then has length 1. Empty for other weightings.
    """

    words: Levels
    lower: bool
    ngrams: Size
    weighting: Literal["binary", "count", "tf_idf"]
    idf: tuple[Annotated[float, Field(gt=0, allow_inf_nan=False)], ...]

    def __post_init__(self) -> None:
        if len(self.idf) != (len(self.words) if self.weighting == "tf_idf" else 0):
            raise ValueError("one idf is needed for each word")

    @classmethod
    def fit(cls, step: schema.Text, column: TextColumn, context: FitContext) -> Self:
        """The most frequent words of the training rows."""
        texts, counts = cut_once(column.values, step.lower, step.ngrams)
        counts = counts if context.rows is None else counts[context.rows]
        in_rows = np.bincount(counts.indices, minlength=len(texts.words))
        chosen = sorted(
            _frequent(step, column.name, texts, counts, step.num_words), key=texts.words.__getitem__
        )
        idf: tuple[float, ...] = ()
        if step.weighting == "tf_idf":
            idf = tuple((np.log((1 + counts.shape[0]) / (1 + in_rows[chosen])) + 1).tolist())
        return cls(tuple(texts.words[i] for i in chosen), step.lower, step.ngrams, step.weighting, idf)

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

    def transform(self, values: TextColumn, problems: Problems) -> SparseRows:
        """(N, words); a missing text is an empty one."""
        texts, counts = cut_once(values.values, self.lower, self.ngrams)
        places = np.array([self._place.get(word, -1) for word in texts.words], np.int64)
        known = np.flatnonzero(places >= 0)
        return self._weighted(_columns(counts, known, places[known], self.width))

    def _weighted(self, counts: Any) -> SparseRows:
        """Rows of counts with the values that the weighting gives them."""
        indptr, indices = counts.indptr.astype(np.int64), counts.indices.astype(np.int32, copy=False)
        if self.weighting == "binary":
            return SparseRows(indptr, indices, None, self.width)
        if self.weighting == "count":
            return SparseRows(indptr, indices, counts.data.astype(np.float32), self.width)
        values = counts.data * np.array(self.idf)[indices]
        row_of_entry = np.repeat(np.arange(len(indptr) - 1), np.diff(indptr))
        lengths = np.sqrt(np.bincount(row_of_entry, values**2, len(indptr) - 1))
        return SparseRows(indptr, indices, (values / lengths[row_of_entry]).astype(np.float32), self.width)

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
    def _place(self) -> dict[str, int]:
        return {word: place for place, word in enumerate(self.words, start=FIRST_WORD)}

    def transform(self, values: TextColumn, problems: Problems) -> TokenRows:
        """A row of indices for each text, in the order of its words; none for a missing text."""
        texts, _ = cut_once(values.values, self.lower)
        places = np.array([self._place.get(word, UNKNOWN) for word in texts.words], np.int32)
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


def _frequent(
    step: schema.Text | schema.Tokens, column: str, texts: CutTexts, counts: Any, most: int
) -> list[int]:
    """The numbers of at most so many words that are frequent enough in the training rows' `counts`."""
    in_rows = np.bincount(counts.indices, minlength=len(texts.words))
    occurrences = np.bincount(counts.indices, counts.data, len(texts.words)).astype(np.int64)
    chosen = _most_frequent(texts, occurrences, in_rows >= step.min_count, most)
    if not chosen:
        raise DataError(
            f"{step.kind}: no word is in {step.min_count} or more of the training rows of column "
            f"{quoted(column)}."
        )
    return chosen


def _most_frequent(
    texts: CutTexts, occurrences: npt.NDArray[np.int64], allowed: npt.NDArray[np.bool_], most: int
) -> list[int]:
    """The numbers of the most frequent words, the most frequent first; of equals the alphabet decides."""
    numbers = np.flatnonzero(allowed & (occurrences > 0))
    if len(numbers) > most:  # words that cannot be among them need no sorting
        least = np.partition(occurrences[numbers], len(numbers) - most)[len(numbers) - most]
        numbers = numbers[occurrences[numbers] >= least]
    return sorted(numbers.tolist(), key=lambda i: (-int(occurrences[i]), texts.words[i]))[:most]


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
