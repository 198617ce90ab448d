"""Columns of texts that are mostly numbers after all: in which spelling, and what stands between them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from nnrun.data.inference.number_spelling import (
    PLAIN,
    Spelling,
    guesses,
    is_marked,
    mark_of,
    may_be_number,
)

_MOST_NUMBERS: Final = 0.8
_FEWEST_VALUES: Final = 5
_SAMPLE: Final = 500
_FEWEST_OF_SAMPLE: Final = 0.5
_MOST_MARKS: Final = 3
_BLOCK: Final = 10_000
_WORDS_FOR_MISSING: Final = frozenset(
    [
        *("na", "n.a.", "n.a", "n/a", "nan", "nil", "none", "null", "missing", "unknown", "unk"),
        *("not available", "inf", "-inf", "+inf", "infinity", "-infinity"),
        *("#div/0!", "#value!", "#ref!", "#n/a", "#num!"),
    ]
)
_DIGIT: Final = re.compile(r"\d")


@dataclass(frozen=True)
class NumberGuess:
    """What a column of texts is, read as numbers.

    Attributes:
        spelling: how most of them are written.
        numbers: how many values are numbers.
        of: how many values there are.
        example: a number in this spelling.
        others: the different texts that are no numbers, the most frequent first.
    """

    spelling: Spelling
    numbers: int
    of: int
    example: str
    others: tuple[str, ...]

    @property
    def missing(self) -> tuple[str, ...]:
        """The others, where they are a few marks that mean a missing value; else nothing."""
        few = len(self.others) <= _MOST_MARKS
        return self.others if few and all(map(means_missing, self.others)) else ()


def means_missing(text: str) -> bool:
    """Whether a text among numbers is a mark without letters or digits, or a usual word for a gap."""
    marks_only = len(text) <= 3 and not any(letter.isalnum() for letter in text)
    return marks_only or text.casefold() in _WORDS_FOR_MISSING


def guess_numbers(levels: Sequence[str], counts: npt.NDArray[np.integer[Any]]) -> NumberGuess | None:
    """The spelling in which most values are numbers, of several the likeliest; None where fewer than 80 % are
    in any.

    Args:
        levels: the different texts.
        counts: how often each occurs.
    """
    total = int(counts.sum())
    if total < _FEWEST_VALUES or not _worth_a_look(levels):
        return None
    if counts[list(map(may_be_number, levels))].sum() < _MOST_NUMBERS * total:
        return None
    numbers, spelling, is_number = 0, PLAIN, np.zeros(len(levels), bool)
    for tried in guesses():
        found = _which_are_numbers(tried, levels, counts, total)
        if int(counts[found].sum()) > numbers:
            numbers, spelling, is_number = int(counts[found].sum()), tried, found
        if numbers == total:
            break
    if numbers < _MOST_NUMBERS * total or not one_unit(
        [levels[i] for i in np.flatnonzero(is_number).tolist()]
    ):
        return None
    order = np.argsort(-counts, kind="stable").tolist()
    others = tuple(levels[i] for i in order if not is_number[i] and counts[i])
    unlike = (
        levels[i]
        for i in order
        if is_number[i] and counts[i] and (is_marked(levels[i]) or np.isnan(PLAIN.number(levels[i])))
    )
    example = next(unlike, next((levels[i] for i in order if is_number[i]), ""))
    return NumberGuess(spelling, numbers, total, example, others)


def _which_are_numbers(
    spelling: Spelling, levels: Sequence[str], counts: npt.NDArray[np.integer[Any]], total: int
) -> npt.NDArray[np.bool_]:
    """Which texts are numbers; once too many are none for this spelling to be meant, the rest is False."""
    is_number = np.zeros(len(levels), bool)
    others = 0
    for start in range(0, len(levels), _BLOCK):
        part = slice(start, start + _BLOCK)
        is_number[part] = ~np.isnan(spelling.numbers(levels[part]))
        others += int(counts[part][~is_number[part]].sum())
        if others > (1 - _MOST_NUMBERS) * total:
            break
    return is_number


def one_unit(numbers: Sequence[str]) -> bool:
    """Whether numbers are in one unit: all of them percentages or none; of one currency."""
    marks = {mark_of(text) for text in numbers if any(digit in text for digit in "123456789")}  # 0 is 0 %
    return len(marks - {""}) <= 1 and not ("%" in marks and "" in marks)


def _worth_a_look(levels: Sequence[str]) -> bool:
    """Whether at least half of the texts begin and end as numbers do: quick, and mostly decides."""
    step = max(1, len(levels) // _SAMPLE)
    sample = levels[::step]
    like = sum(len(text) <= 32 and _DIGIT.search(text) is not None for text in sample)
    return like >= _FEWEST_OF_SAMPLE * len(sample) or (len(levels) <= 12 and like > 0)
