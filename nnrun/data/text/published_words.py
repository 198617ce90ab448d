"""Words and topics behind the numbers of IMDB and Reuters."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path

from nnrun.errors import DataError

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
