"""Texts cut into words, once: what was cut is kept as long as the texts themselves are."""

from __future__ import annotations

import re
import weakref
from array import array
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

WORD = re.compile(r"[^\W_]+")
"""A word is a run of letters and digits of any script, a single one as well."""

_KEPT = 8  # sets of texts: train and test, with two ways to cut, and room


@dataclass(frozen=True, eq=False)
class CutTexts:
    """Texts as rows of word numbers, in the order of the words.

    Attributes:
        words: the word behind each number. Numbers say nothing but which word it is.
        indptr: (N + 1,) int64, where each text begins.
        numbers: (T,) int32.
    """

    words: Sequence[str]
    indptr: npt.NDArray[np.int64]
    numbers: npt.NDArray[np.int32]

    def counts(self) -> Any:
        """(N, words) CSR of int32: how often each text holds each word."""
        from scipy.sparse import csr_array

        # Copies, since the sum is made in place.
        counted = csr_array(
            (np.ones(len(self.numbers), np.int32), self.numbers.copy(), self.indptr.copy()),
            shape=(len(self.indptr) - 1, len(self.words)),
        )
        counted.sum_duplicates()
        return counted


def cut(texts: Sequence[str | None], lower: bool = True) -> CutTexts:
    """Cut texts into words; a missing text has none."""
    number_of: defaultdict[str, int] = defaultdict()
    number_of.default_factory = number_of.__len__
    numbers, ends = array("i"), [0]
    find, number = WORD.findall, number_of.__getitem__
    for text in texts:
        if text:
            numbers.extend(map(number, find(text.lower() if lower else text)))
        ends.append(len(numbers))
    flat = np.frombuffer(numbers, np.int32).copy() if numbers else np.empty(0, np.int32)
    return CutTexts(list(number_of), np.array(ends, np.int64), flat)


class _Kept:
    """What was cut of arrays that are still alive, by the array itself: folds of a run share it."""

    def __init__(self) -> None:
        self._of: dict[tuple[int, bool], tuple[weakref.ref[Any], CutTexts, Any]] = {}

    def get(self, texts: npt.NDArray[np.object_], lower: bool) -> tuple[CutTexts, Any]:
        """The texts cut, and the counts of their words."""
        key = (id(texts), lower)
        found = self._of.get(key)
        if found is not None and found[0]() is texts:
            return found[1], found[2]
        made = cut(texts.tolist(), lower)
        counts = made.counts()
        while len(self._of) >= _KEPT:
            self._of.pop(next(iter(self._of)), None)
        gone = weakref.ref(texts, lambda _, key=key: self._of.pop(key, None))  # type: ignore[misc]
        self._of[key] = (gone, made, counts)
        return made, counts


_kept = _Kept()


def cut_once(texts: npt.NDArray[np.object_], lower: bool = True) -> tuple[CutTexts, Any]:
    """`cut` and its counts, remembered while this very array is alive."""
    return _kept.get(texts, lower)
