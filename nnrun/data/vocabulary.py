"""Texts to tokens as a network met them: Keras's splitting into words, and the data set's own numbering.

The splitting is that of `keras.preprocessing.text.text_to_word_sequence` with its default filters; the
numbering that of the loaders of IMDB and Reuters (rank + 3, 1 starts a row, 2 is out of the vocabulary).
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeGuard

import numpy as np
import numpy.typing as npt

from nnrun.errors import DataError

# Keras's, with the line end; the apostrophe stays.
_FILTERS = '!"#$%&()*+,-./:;<=>?@[\\]^_`{|}~\t\n'
_TO_BLANKS = str.maketrans(dict.fromkeys(_FILTERS, " "))
_JSON_VERSION = 1


def words_of(text: str) -> list[str]:
    """A text in lower case, without punctuation, split on blanks."""
    return text.lower().translate(_TO_BLANKS).split()


@dataclass(frozen=True, eq=False)
class Vocabulary:
    """The tokens of words.

    Attributes:
        words: word → token, for the words that the network can see.
        start: the token that each row begins with.
        unknown: the token of every other word; None where such words are left out.
    """

    words: Mapping[str, int]
    start: int
    unknown: int | None

    def encode(self, text: str) -> list[int]:
        """The tokens of a text, the start token first."""
        found = (self.words.get(word, self.unknown) for word in words_of(text))
        return [self.start, *(token for token in found if token is not None)]

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return {
            "version": _JSON_VERSION,
            "start": self.start,
            "unknown": self.unknown,
            "words": dict(self.words),
        }

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> Vocabulary:
        """What `to_json` wrote.

        Raises:
            DataError: the document is something else.
        """
        start, unknown, words = (document.get(key) for key in ("start", "unknown", "words"))
        if (
            document.get("version") != _JSON_VERSION
            or not _is_token(start)
            or not (unknown is None or _is_token(unknown))
            or not isinstance(words, dict)
            or not all(_is_token(token) for token in words.values())
        ):
            raise DataError(f"The vocabulary's JSON is damaged, or not of version {_JSON_VERSION}.")
        return cls(words, start, unknown)


def make_vocabulary(
    index: Mapping[str, int], *, num_words: int | None, skip_top: int, width: int
) -> Vocabulary:
    """The vocabulary of a data set that was loaded with these limits.

    Without `num_words` no word was out of the vocabulary, so the network never learned what token 2 means.
    Words that it cannot see are then left out, as multi_hot does with the test rows.

    Args:
        index: word → rank from 1, as Keras publishes it.
        num_words, skip_top: the data set's limits.
        width: tokens from here on are not seen.
    """
    highest = width if num_words is None else min(num_words, width)
    by_rank = sorted((rank + OFFSET, word) for word, rank in index.items() if rank + OFFSET < highest)
    words: dict[str, int] = {}
    for token, word in by_rank:  # of two spellings of one word the more frequent
        words.setdefault(_as_written(word), token if token >= skip_top else UNKNOWN)
    start = int(within_limits(np.array([START], np.int32), num_words, skip_top)[0])
    return Vocabulary(words, start, None if num_words is None else UNKNOWN)


def within_limits(
    tokens: npt.NDArray[np.int32], num_words: int | None, skip_top: int
) -> npt.NDArray[np.int32]:
    """Tokens outside [skip_top, num_words) become the unknown token, as Keras's loaders have it."""
    outside = tokens < skip_top
    if num_words is not None:
        outside |= tokens >= num_words
    return np.where(outside, np.int32(UNKNOWN), tokens)


def _as_written(word: str) -> str:
    """`cliché` for the `clichÃ©` of IMDB's index, whose UTF-8 was once read as Latin-1."""
    try:
        return word.encode("latin-1").decode("utf-8")
    except UnicodeError:
        return word


def _is_token(value: Any) -> TypeGuard[int]:
    return type(value) is int and value >= 0


PAD, START, UNKNOWN, OFFSET = 0, 1, 2, 3
_SPECIAL = {PAD: "<pad>", START: "<start>", UNKNOWN: "<unk>"}
_MAX_BYTES = 64 * 2**20

SENTIMENTS = ("negative", "positive")
# fmt: off
TOPICS = (
    "cocoa", "grain", "veg-oil", "earn", "acq", "wheat", "copper", "housing",
    "money-supply", "coffee", "sugar", "trade", "reserves", "ship", "cotton", "carcass",
    "crude", "nat-gas", "cpi", "money-fx", "interest", "gnp", "meal-feed", "alum",
    "oilseed", "gold", "tin", "strategic-metal", "livestock", "retail", "ipi", "iron-steel",
    "rubber", "heat", "jobs", "lei", "bop", "zinc", "orange", "pet-chem",
    "dlr", "gas", "silver", "wpi", "hog", "lead",
)
# fmt: on


def read_word_index(path: Path) -> dict[str, int]:
    """A word index as Keras publishes it: word → rank from 1.

    Raises:
        DataError: the file is not one.
    """
    try:
        if path.stat().st_size > _MAX_BYTES:
            raise DataError(f"{path} is larger than {_MAX_BYTES:,} bytes, too large for a word index.")
        index = json.loads(path.read_bytes())
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror or error}.") from None
    except (ValueError, RecursionError):
        raise DataError(f"{path} is not JSON. A word index maps words to ranks.") from None
    if not isinstance(index, dict) or not all(type(rank) is int and rank > 0 for rank in index.values()):
        raise DataError(f"{path} is not a word index, which maps words to ranks from 1.")
    return index


def token_words(index: Mapping[str, int]) -> dict[int, str]:
    """Token → word, as the loaders number them: the word of rank 1 is token 4."""
    return {**_SPECIAL, **{rank + OFFSET: word for word, rank in index.items()}}


def decode(tokens: Iterable[int], words: Mapping[int, str] | None) -> list[str]:
    """A row of tokens as words. Without words, the tokens as they are."""
    if words is None:
        return [_SPECIAL.get(int(t), str(int(t))) for t in tokens]
    return [words.get(int(t), f"<{int(t)}>") for t in tokens]
