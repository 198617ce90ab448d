"""Rows of word indices to rows of numbers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from nnrun.data.dataset import TokenRows
from nnrun.data.preprocess import json_checks
from nnrun.data.rows import SparseRows
from nnrun.data.text.pad import FittedPad, fit_pad, pad_from_json
from nnrun.errors import DataError
from nnrun.spec import schema


@dataclass(frozen=True)
class FittedMultiHot:
    """Token rows to rows of 0 and 1. Tokens from `dimension` on are dropped."""

    dimension: int

    def transform(self, rows: TokenRows) -> SparseRows:
        """Each token once, in ascending order."""
        if rows.tokens.size and int(rows.tokens.min()) < 0:
            raise DataError(f"A token row holds the token {int(rows.tokens.min())}; tokens are not negative.")
        return multi_hot(rows, self.dimension)

    @property
    def width(self) -> int:
        """F."""
        return self.dimension

    @property
    def tokens(self) -> int:
        """All tokens that a network sees are below this number."""
        return self.dimension


TokenState: TypeAlias = FittedMultiHot | FittedPad


# Rows are encoded in blocks of about so many tokens: what that takes on the way must not follow the data.
_BLOCK_TOKENS = 1_000_000


def multi_hot(rows: TokenRows, dimension: int) -> SparseRows:
    """The set of tokens below `dimension` in each row."""
    blocks = [_multi_hot(block, dimension) for block in rows.blocks(_BLOCK_TOKENS)]
    indptr = np.zeros(len(rows) + 1, np.int64)
    np.cumsum(np.concatenate([np.diff(block.indptr) for block in blocks]), out=indptr[1:])
    return SparseRows(indptr, np.concatenate([block.indices for block in blocks]), None, dimension)


def _multi_hot(rows: TokenRows, dimension: int) -> SparseRows:
    """The same in one go.

    Two counting sorts (to columns and back) put the tokens of each row in order, in linear time.
    """
    from scipy.sparse import csr_array

    indptr, tokens = rows.indptr, rows.tokens
    if tokens.size and int(tokens.max()) >= dimension:
        known = tokens < dimension
        before = np.zeros(len(tokens) + 1, np.int64)
        np.cumsum(known, out=before[1:])
        indptr, tokens = before[indptr], tokens[known]
    ones = np.ones(len(tokens), np.int8)
    ordered = csr_array((ones, tokens, indptr), shape=(len(rows), dimension)).tocsc().tocsr()
    indices: npt.NDArray[np.int32] = ordered.indices.astype(np.int32, copy=False)
    first = np.ones(len(indices), bool)
    np.not_equal(indices[1:], indices[:-1], out=first[1:])
    starts = indptr[:-1]
    first[starts[starts < indptr[1:]]] = True
    before = np.zeros(len(indices) + 1, np.int64)
    np.cumsum(first, out=before[1:])
    return SparseRows(before[indptr], indices[first], None, dimension)


def fit_tokens(
    steps: Sequence[schema.Component], name: str, num_words: int | None, rows: TokenRows
) -> tuple[TokenState, ...]:
    """Learn what makes rows of numbers of token rows.

    Args:
        steps: the spec's, those for texts left out.
        name: what messages call the data set.
        num_words: all tokens are below, or None.
        rows: the training rows.
    """
    steps = [step for step in steps if not isinstance(step, schema.NoInputStep)]
    first = steps[0] if steps else None
    if not isinstance(first, (schema.MultiHot, schema.Pad)):
        raise DataError(
            f"The inputs of {name} are lists of tokens, of differing lengths. Turn them into rows of numbers "
            "first, with preprocessing.inputs: multi_hot."
        )
    if len(steps) > 1:
        held = "0 and 1 already" if isinstance(first, schema.MultiHot) else "word indices"
        raise DataError(f"{steps[1].kind} does not apply to {first.kind} rows, which are {held}.")
    if isinstance(first, schema.Pad):
        return (fit_pad(first, num_words, rows),)
    return (_fit_multi_hot(first, num_words, rows),)


def _fit_multi_hot(step: schema.MultiHot, num_words: int | None, rows: TokenRows) -> FittedMultiHot:
    highest = int(rows.tokens.max()) if rows.tokens.size else 0
    dimension = step.dimension or num_words or highest + 1
    if highest >= dimension:
        raise DataError(
            f"multi_hot: the training rows hold the token {highest:,}, but the dimension is {dimension:,}; "
            f"every token must be below it. Set the dimension to {highest + 1:,} at least"
            + (f", or num_words of the data set to {dimension:,} at most." if num_words else ".")
        )
    return FittedMultiHot(dimension)


def token_step_to_json(step: TokenState) -> dict[str, Any]:
    """A fitted step as plain values."""
    if isinstance(step, FittedPad):
        return {"pad": asdict(step)}
    return {"multi_hot": {"dimension": step.dimension}}


def token_step_from_json(document: Mapping[str, Any]) -> TokenState:
    """What the above wrote; ValueError for anything else."""
    ((name, values),) = document.items()
    json_checks.one_of(name, "multi_hot", "pad")
    if name == "pad":
        return pad_from_json(values)
    return FittedMultiHot(json_checks.count(values["dimension"]))
