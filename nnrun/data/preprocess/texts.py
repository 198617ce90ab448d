"""Steps of a column of texts: words to columns, or to word indices."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from nnrun.data.dataset import Array, TokenRows
from nnrun.data.preprocess import json_checks
from nnrun.data.preprocess.split_words import CutTexts, cut_once
from nnrun.data.rows import SparseRows
from nnrun.data.table import CategoryColumn, Column, TextColumn
from nnrun.errors import DataError
from nnrun.spec import schema
from nnrun.spec.wording import quoted

UNKNOWN = 1
"""The index of a word that has none of its own; 0 is left for padding."""
FIRST_WORD = 2


def as_texts(column: Column) -> TextColumn:
    """A column of categories as the texts that they are."""
    if isinstance(column, CategoryColumn):
        levels = np.array([*column.levels, None], object)
        return TextColumn(column.name, levels[column.codes])
    assert isinstance(column, TextColumn), "the plan lets only texts and categories here"
    return column


@dataclass(frozen=True)
class WordsColumn:
    """Texts to sparse rows, a column for each of some words.

    Attributes:
        words: in alphabetical order. With `ngrams` above 1 some are runs of words, with blanks between.
        lower: whether texts are made lower-case first.
        ngrams: the longest run.
        weighting: `binary` (1 where a word occurs), `count`, or `tf_idf`.
        idf: of each word, ln((1 + n) / (1 + df)) + 1 over the n training rows of which df hold it, as
            scikit-learn's `TfidfTransformer` has it; a row then has length 1. Empty for other weightings.
    """

    kind: ClassVar[str] = "text"
    words: tuple[str, ...]
    lower: bool
    ngrams: int
    weighting: str
    idf: tuple[float, ...] = ()

    @property
    def width(self) -> int:
        """Columns that it gives."""
        return len(self.words)

    @property
    def sparse(self) -> bool:
        """True."""
        return True

    def names(self, column: str) -> list[str]:
        """The features' names."""
        return [f"{column}:{word}" for word in self.words]

    @cached_property
    def _place(self) -> dict[str, int]:
        return {word: place for place, word in enumerate(self.words)}

    def apply(self, column: TextColumn, problems: Any = None) -> SparseRows:
        """(N, words); a missing text is an empty one."""
        texts, counts = cut_once(column.values, self.lower, self.ngrams)
        places = np.array([self._place.get(word, -1) for word in texts.words], np.int64)
        known = np.flatnonzero(places >= 0)
        return self._weighted(_columns(counts, known, places[known], self.width))

    def _weighted(self, counts: Any) -> SparseRows:
        """Rows of counts as rows of what stands for them."""
        indptr, indices = counts.indptr.astype(np.int64), counts.indices.astype(np.int32, copy=False)
        if self.weighting == "binary":
            return SparseRows(indptr, indices, None, self.width)
        if self.weighting == "count":
            return SparseRows(indptr, indices, counts.data.astype(np.float32), self.width)
        values = counts.data * np.array(self.idf)[indices]
        row_of_entry = np.repeat(np.arange(len(indptr) - 1), np.diff(indptr))
        lengths = np.sqrt(np.bincount(row_of_entry, values**2, len(indptr) - 1))
        return SparseRows(indptr, indices, (values / lengths[row_of_entry]).astype(np.float32), self.width)

    def to_json(self) -> dict[str, Any]:
        """The state as plain values."""
        return {
            "words": list(self.words),
            "lower": self.lower,
            "ngrams": self.ngrams,
            "weighting": self.weighting,
            "idf": list(self.idf),
        }

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> WordsColumn:
        """What `to_json` gave, checked."""
        words = json_checks.different_texts(values["words"])
        weighting = json_checks.one_of(values["weighting"], "binary", "count", "tf_idf")
        size = len(words) if weighting == "tf_idf" else 0
        return cls(
            words,
            json_checks.flag(values["lower"]),
            json_checks.count(values["ngrams"]),
            weighting,
            json_checks.floats(values["idf"], size, positive=True),
        )


@dataclass(frozen=True)
class TokensColumn:
    """Texts to rows of word indices: `words[i]` is i + 2, every other word 1. 0 is left for padding."""

    kind: ClassVar[str] = "tokens"
    words: tuple[str, ...]
    lower: bool

    @property
    def num_words(self) -> int:
        """All indices are below."""
        return len(self.words) + FIRST_WORD

    @cached_property
    def _place(self) -> dict[str, int]:
        return {word: place for place, word in enumerate(self.words, start=FIRST_WORD)}

    def apply(self, column: TextColumn, problems: Any = None) -> TokenRows:
        """A row of indices for each text, in the order of its words; none for a missing text."""
        texts, _ = cut_once(column.values, self.lower)
        places = np.array([self._place.get(word, UNKNOWN) for word in texts.words], np.int32)
        return TokenRows(texts.indptr, places[texts.numbers])

    def to_json(self) -> dict[str, Any]:
        """The state as plain values."""
        return {"words": list(self.words), "lower": self.lower}

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> TokensColumn:
        """What `to_json` gave, checked."""
        return cls(json_checks.different_texts(values["words"]), json_checks.flag(values["lower"]))


TextState = WordsColumn | TokensColumn
TEXT_STATES: Mapping[str, type[TextState]] = {state.kind: state for state in (WordsColumn, TokensColumn)}


def fit_text(step: schema.Component, column: TextColumn, rows: Array | None) -> TextState:
    """Learn a step's words from the training rows of a column.

    Args:
        step: `text` or `tokens`.
        column: all rows: they are cut into words once for all folds.
        rows: positions of the training rows, of which alone something is learned; None for all.

    Raises:
        DataError: the training rows hold no word that is frequent enough.
    """
    assert isinstance(step, (schema.Text, schema.Tokens)), "no other step takes texts"
    ngrams = step.ngrams if isinstance(step, schema.Text) else 1
    texts, counts = cut_once(column.values, step.lower, ngrams)
    counts = counts if rows is None else counts[rows]
    in_rows = np.bincount(counts.indices, minlength=len(texts.words))
    occurrences = np.bincount(counts.indices, counts.data, len(texts.words)).astype(np.int64)
    most = step.num_words - (FIRST_WORD if isinstance(step, schema.Tokens) else 0)
    chosen = _most_frequent(texts, occurrences, in_rows >= step.min_count, most)
    if not len(chosen):
        raise DataError(
            f"{step.kind}: no word is in {step.min_count} or more of the training rows of column "
            f"{quoted(column.name)}."
        )
    if isinstance(step, schema.Tokens):
        return TokensColumn(tuple(texts.words[i] for i in chosen), step.lower)
    chosen = sorted(chosen, key=texts.words.__getitem__)
    idf: tuple[float, ...] = ()
    if step.weighting == "tf_idf":
        idf = tuple((np.log((1 + counts.shape[0]) / (1 + in_rows[chosen])) + 1).tolist())
    words = tuple(texts.words[i] for i in chosen)
    return WordsColumn(words, step.lower, step.ngrams, step.weighting, idf)


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
    before = np.zeros(len(moved) + 1, np.int64)
    np.cumsum(held, out=before[1:])
    chosen = csr_array(
        (counts.data[held], moved[held], before[counts.indptr]), shape=(counts.shape[0], width)
    )
    chosen.sort_indices()
    return chosen
