"""Token rows to rows of one length, as Keras's `pad_sequences` makes them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from nnrun.data.dataset import TokenRows
from nnrun.data.rows import DenseRows
from nnrun.errors import DataError
from nnrun.spec import schema

_BLOCK_TOKENS = 1_000_000  # what padding takes on the way must not follow the data
_MOST_TOKENS = 1 << 24  # float32, in which rows reach a network, holds every whole number up to here


@dataclass(frozen=True)
class FittedPad:
    """Token rows to rows of `length` tokens.

    Attributes:
        length: F.
        side, truncate: the end that is filled, and the end that is cut off: `pre` or `post`.
        value: what fills.
        tokens: all tokens are below this number; those that are not are left out.
    """

    length: int
    side: Literal["pre", "post"]
    truncate: Literal["pre", "post"]
    value: int
    tokens: int

    @property
    def width(self) -> int:
        """F."""
        return self.length

    def transform(self, rows: TokenRows) -> DenseRows:
        """(N, length) float32."""
        x_NF = np.full((len(rows), self.length), self.value, np.float32)
        first = 0
        for block in rows.blocks(_BLOCK_TOKENS):
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


def fit_pad(step: schema.Pad, num_words: int | None, rows: TokenRows) -> FittedPad:
    """The length and the number of tokens, from the training rows and the data set's num_words."""
    highest = int(rows.tokens.max(initial=0))
    tokens = max(num_words or highest + 1, step.value + 1)
    if highest >= tokens:
        raise DataError(
            f"pad: the training rows hold the token {highest:,}, but the data set's num_words is {tokens:,}."
        )
    if tokens > _MOST_TOKENS:
        raise DataError(
            f"pad: tokens up to {tokens - 1:,} are too many; {_MOST_TOKENS:,} can be told apart. Set "
            "num_words."
        )
    length = step.length or max(1, int(rows.lengths.max(initial=0)))
    return FittedPad(length, step.side, step.truncate, step.value, tokens)


def pad_from_json(values: Mapping[str, Any]) -> FittedPad:
    """The state whose fields were written; ValueError or KeyError for anything else."""
    fitted = FittedPad(**values)
    numbers = (fitted.length, fitted.value, fitted.tokens)
    ends = (fitted.side, fitted.truncate)
    if not all(type(n) is int for n in numbers) or not all(end in ("pre", "post") for end in ends):
        raise ValueError(values)
    if fitted.length < 1 or not 0 <= fitted.value < fitted.tokens <= _MOST_TOKENS:
        raise ValueError(values)
    return fitted


def _below(rows: TokenRows, tokens: int) -> TokenRows:
    """The same rows without the tokens from `tokens` on."""
    if rows.tokens.size and int(rows.tokens.min()) < 0:
        raise DataError(f"A token row holds the token {int(rows.tokens.min())}; tokens are not negative.")
    if not rows.tokens.size or int(rows.tokens.max()) < tokens:
        return rows
    known = rows.tokens < tokens
    before = np.zeros(len(known) + 1, np.int64)
    np.cumsum(known, out=before[1:])
    return TokenRows(before[rows.indptr], rows.tokens[known])
