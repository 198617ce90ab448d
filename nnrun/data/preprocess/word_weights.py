"""What a word of a row counts: 1, its count, tf-idf, or how much more often one class has it.

Letters in names: N rows, K words or n-grams.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from nnrun.data.dataset import Array
from nnrun.data.preprocess.fitted_step import TrainingTargets
from nnrun.data.rows import SparseRows
from nnrun.errors import DataError
from nnrun.spec import schema

_SMOOTHING = 1.0  # rows of each class that are taken to hold each word, beside those that do


class Weighted(Protocol):
    """What a fitted step knows of its K words."""

    @property
    def weighting(self) -> schema.Weighting:
        """What a word counts in a row."""

    @property
    def sublinear(self) -> bool:
        """Whether a count c is 1 + ln c in tf-idf."""

    @property
    def idf(self) -> Sequence[float]:
        """(K,) ln((1 + n) / (1 + df)) + 1 for a word that df of the n training rows hold, as scikit-learn's
        `TfidfTransformer` has it; empty for another weighting than tf_idf.
        """

    @property
    def ratios(self) -> Sequence[float]:
        """(K,) ln(p / q): p is the share of the word among all words of the rows of class 1, q that among
        those of class 0; empty for another weighting than nb_ratio.

        A row counts each of its words once, and each class has one row more for each word (Wang and Manning
        2012, "Baselines and Bigrams: Simple, Good Sentiment and Topic Classification").
        """


def refuse_wrong_lengths(state: Weighted, words: int) -> None:
    """Raise ValueError where there is not a number for each word that needs one."""
    if len(state.idf) != (words if state.weighting == "tf_idf" else 0):
        raise ValueError("one idf is needed for each word")
    if len(state.ratios) != (words if state.weighting == "nb_ratio" else 0):
        raise ValueError("one ratio is needed for each word")


def learned_weights(
    step: schema.Text | schema.MultiHot, counts_NK: Any, targets: TrainingTargets | None
) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """The idf and the ratio of each word; empty where the weighting has none.

    Args:
        step: says the weighting.
        counts_NK: CSR, how often each training row holds each word.
        targets: of the same rows.

    Raises:
        DataError: nb_ratio needs two classes, and the targets are something else.
    """
    rows, words = counts_NK.shape
    idf, ratios = np.empty(0), np.empty(0)
    if step.weighting == "tf_idf":
        in_rows = np.bincount(counts_NK.indices, minlength=words)
        idf = np.log((1 + rows) / (1 + in_rows)) + 1
    elif step.weighting == "nb_ratio":
        labels = _two_classes(step.kind, targets)
        held = [_SMOOTHING + _rows_with_each(counts_NK, labels == label) for label in (1, 0)]
        of_one, of_zero = (each / each.sum() for each in held)
        ratios = np.log(of_one / of_zero)
    return tuple(idf.tolist()), tuple(ratios.tolist())


def _rows_with_each(counts_NK: Any, chosen: npt.NDArray[np.bool_]) -> npt.NDArray[np.float64]:
    """(K,) how many of the chosen rows hold each word."""
    of_entry = np.repeat(chosen, np.diff(counts_NK.indptr))
    return np.bincount(counts_NK.indices[of_entry], minlength=counts_NK.shape[1]).astype(np.float64)


def _two_classes(kind: str, targets: TrainingTargets | None) -> Array:
    """(N,) 0 or 1; -1 for a row without a target."""
    if targets is None:
        raise DataError(
            f"{kind}: nb_ratio compares the words of two classes, and of several outputs it cannot know "
            "whose classes. Use weighting: tf_idf or binary."
        )
    if targets.classes != 2 or targets.values.ndim != 1:
        held = "numbers" if targets.classes is None else f"{targets.classes} classes"
        if targets.values.ndim != 1:
            held = "several for each row"
        raise DataError(
            f"{kind}: nb_ratio compares the words of two classes, and the targets are {held}. Use weighting: "
            "tf_idf."
        )
    present = targets.present
    return targets.values if present is None else np.where(present, targets.values, -1)


def weighted_rows(state: Weighted, counts_NK: Any) -> SparseRows:
    """CSR counts, the columns of each row ascending, with the values that the weighting gives them.

    Rows of tf_idf have length 1; others are as they are.
    """
    words = counts_NK.shape[1]
    indptr, indices = counts_NK.indptr.astype(np.int64), counts_NK.indices.astype(np.int32, copy=False)
    if state.weighting == "binary":
        return SparseRows(indptr, indices, None, words)
    if state.weighting == "count":
        return SparseRows(indptr, indices, counts_NK.data.astype(np.float32), words)
    if state.weighting == "nb_ratio":
        return SparseRows(indptr, indices, np.array(state.ratios, np.float32)[indices], words)
    counted = 1 + np.log(counts_NK.data) if state.sublinear else counts_NK.data
    values = counted * np.array(state.idf)[indices]
    row_of_entry = np.repeat(np.arange(len(indptr) - 1), np.diff(indptr))
    lengths = np.sqrt(np.bincount(row_of_entry, values**2, len(indptr) - 1))
    return SparseRows(indptr, indices, (values / lengths[row_of_entry]).astype(np.float32), words)
