"""What ONNX computes of columns of strings, before a network takes numbers: codes of values, counts of words.

ONNX holds no rule of Unicode. What Python does with a text (blanks around it, words, lower case) is written
out here from Python's own tables, with the operators of `ai.onnx.ml` and the `Tokenizer` of onnxruntime
(domain `com.microsoft`), which skl2onnx uses too. What cannot be written out is told: a string that is not
in Unicode's composed form (NFC), and, where words are made lower-case, a capital sigma, whose small letter
depends on its neighbours.

N rows, T words of the longest row, U different words.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import product
from typing import Any

import numpy as np

from nnrun.data.value_names import TRUTH
from nnrun.experiment.exporting import string_patterns
from nnrun.experiment.exporting.onnx_graph import OnnxGraph

UNKNOWN, MISSING, RARE = -1, -2, -3
"""Codes of values that have no place."""
NO_WORD = -1
"""What stands behind the words of a row that has fewer than others."""
DATE = (
    "[0-9]{4}[-/.][0-9]{1,2}[-/.][0-9]{1,2}"
    "(?:[T ,]+[0-9]{1,2}:[0-9]{2}(?::[0-9]{2}(?:[.,][0-9]+)?)?[ ]*(?:Z|UTC)?)?"
)
"""How `DateFields` reads a date: a part of what `data.inference.dates` reads, with the same meaning."""
_DOTTED_I, _SIGMA = "\u0130", "\u03a3"


@dataclass(frozen=True)
class Codes:
    """(N, 1) int64: the place of each value among `levels`, or one of the negative codes.

    Attributes:
        levels: the values that have a place, in NFC and without blanks around them.
        rare: values that training rows hold and that have none.
        fill: the value that stands for a missing one; None where it has the code `MISSING`.
        truth: whether the values are True and False, in any case of letters.
    """

    levels: tuple[str, ...]
    rare: tuple[str, ...] = ()
    fill: str | None = None
    truth: bool = False


@dataclass(frozen=True)
class Words:
    """(N, T) int64: the index of each word of a text, `NO_WORD` behind the last.

    Attributes:
        words: the words with an index, which count from `first`.
        lower: whether texts are made lower-case.
        first: the index of the first word.
        unknown: the index of all other words.
        fill: the text that stands for a missing one; None for an empty one.
    """

    words: tuple[str, ...]
    lower: bool
    first: int = 0
    unknown: int = NO_WORD
    fill: str | None = None


@dataclass(frozen=True)
class Counts:
    """(N, K) float32: how often each of K runs of words is in a text.

    Attributes:
        words: of the texts.
        runs: of each length n from 1 the runs, one behind the other, as indices of words.
        places: the column of each run, those of one word first.
    """

    words: Words
    runs: tuple[tuple[int, ...], ...]
    places: tuple[int, ...]


@dataclass(frozen=True)
class DateFields:
    """(N, 6) int64: year, month, day, hour, minute, second; the year `MISSING` or, of other texts, `UNKNOWN`.

    A date is written as 2026-11-24, with / or . as well, a time of the clock behind it or none. Python reads
    other ways too.

    Attributes:
        fill: the text that stands for a missing one; None where it stays missing.
    """

    fill: str | None = None


Front = Codes | Words | Counts | DateFields


@dataclass
class StringGraph:
    """Writes what strings become into a graph.

    Attributes:
        graph: takes the nodes.
        missing: strings that mean a missing value.
    """

    graph: OnnxGraph
    missing: frozenset[str]
    _lowered: dict[tuple[str, int], str] = field(default_factory=dict)

    def compute(self, column: str, front: Front) -> str:
        """The value that has what is asked of a column."""
        if isinstance(front, Codes):
            return self._codes(column, front)
        if isinstance(front, DateFields):
            return self._date_fields(column, front)
        return self._indices(column, front) if isinstance(front, Words) else self._counts(column, front)

    def odd(self, column: str, front: Codes | Words | Counts) -> str:
        """(N, 1) bool: the rows of which this program cannot tell what Python makes of them."""
        pattern = string_patterns.not_composed()
        lower = not isinstance(front, Codes) and words_of(front).lower
        if lower:
            pattern = f"{_SIGMA}|{pattern}"
        found = self._tokens(column, pattern)
        some = self._add("Not", [self._add("Equal", [found, self._strings([""])])])
        counted = self._add("Cast", [some], to=_int64())
        total = self._add("ReduceSum", [counted, self._ints([1])], keepdims=1)
        flagged = self._add("Greater", [total, self._ints([0])])
        if isinstance(front, Codes):  # the decomposed spelling (NFD) of a value is among the keys
            unknown = self._add("Equal", [self._codes(column, front), self._ints([UNKNOWN])])
            flagged = self._add("And", [flagged, unknown])
        return flagged

    # --- values --------------------------------------------------------------------------------------------

    def _without_blanks(self, column: str) -> str:
        """(N, 1) the strings, without blanks around them."""
        tokens = self._tokens(column, string_patterns.without_blanks())
        return self._add("Slice", [tokens, *map(self._ints, ([0], [1], [1]))])

    def _codes(self, column: str, front: Codes) -> str:
        places: dict[str, int] = {}
        for names, codes in (
            (front.levels, range(len(front.levels))),
            (front.rare, [RARE] * len(front.rare)),
        ):
            for name, code in zip(names, codes, strict=True):
                for spelling in _spellings(name, truth=front.truth):
                    places.setdefault(spelling, code)
        missing = MISSING
        if front.fill is not None:
            missing = places.get(front.fill, UNKNOWN)
        places |= dict.fromkeys(self.missing, missing)
        return self._encoded(self._without_blanks(column), places, UNKNOWN)

    def _encoded(self, strings: str, places: Mapping[str, int], default: int) -> str:
        return self._add(
            "LabelEncoder",
            [strings],
            domain="ai.onnx.ml",
            keys_strings=list(places),
            values_int64s=list(places.values()),
            default_int64=default,
        )

    def _date_fields(self, column: str, front: DateFields) -> str:
        bare = self._without_blanks(column)
        is_missing = self._is_missing(bare)
        if front.fill is not None:
            bare = self._add("Where", [is_missing, self._strings([front.fill]), bare])
        fits = self._add("RegexFullMatch", [bare], pattern=DATE)
        numbers = self._tokens(self._add("Where", [fits, bare, self._strings([""])]), "[0-9]+")
        none = self._add("Where", [fits, self._strings([""]), self._strings([""])])
        six = self._add("Concat", [numbers, *[none] * 6], axis=1)
        six = self._add("Slice", [six, *map(self._ints, ([0], [6], [1]))])
        empty = self._add("Equal", [six, self._strings([""])])
        fields = self._add("Cast", [self._add("Where", [empty, self._strings(["0"]), six])], to=_int64())
        fields = self._add("Where", [fits, fields, self._ints([UNKNOWN])])
        if front.fill is not None:
            return fields
        return self._add("Where", [is_missing, self._ints([MISSING]), fields])

    def _is_missing(self, bare: str) -> str:
        """(N, 1) bool."""
        missing = self._encoded(bare, dict.fromkeys(self.missing, 1), 0)
        return self._add("Equal", [missing, self._ints([1])])

    # --- words ---------------------------------------------------------------------------------------------

    def _indices(self, column: str, front: Words) -> str:
        places = {word: front.first + i for i, word in enumerate(front.words)}
        return self._encoded(self._words(column, front), {**places, "": NO_WORD}, front.unknown)

    def _words(self, column: str, front: Words) -> str:
        """(N, T) the words of each text, "" behind the last; T is 1 or more."""
        bare = self._without_blanks(column)
        text = self._add("Where", [self._is_missing(bare), self._strings([front.fill or ""]), bare])
        words = self._tokens(text, string_patterns.words(but=_DOTTED_I if front.lower else ""))
        if not front.lower:
            return words
        # The loop within is like no other node to the graph: it is remembered here.
        key = words, max((len(word) for word in front.words), default=0)
        if key not in self._lowered:
            self._lowered[key] = self._lower(*key)
        return self._lowered[key]

    def _lower(self, words: str, longest: int) -> str:
        """(N, T) words in lower case, as of `str.lower`; of one longer than all that are known the beginning.

        Letter by letter, once for each different word: `StringNormalizer` needs a locale of the machine, and
        knows other letters than Python does.
        """
        shape = self._add("Shape", [words])
        flat = self._add("Reshape", [words, self._ints([-1])])
        different, inverse = self.graph.add_many("Unique", [flat], (True, False, True))
        spelled = self._add("Unsqueeze", [different, self._ints([1])])
        letters = self._tokens(spelled, None)
        # Without a letter more, a longer word could become one that is known.
        letters = self._add("Slice", [letters, *map(self._ints, ([0], [longest + 1], [1]))])
        small = {
            character: character.lower()
            for character in map(chr, string_patterns.points_where(lambda c: c.lower() != c))
        }
        small[_DOTTED_I] = "i"  # and a dot, which is no letter: the word ends here
        lowered = self._add(
            "LabelEncoder",
            [letters],
            domain="ai.onnx.ml",
            keys_strings=list(small),
            values_strings=list(small.values()),
            default_string="",
        )
        as_it_is = self._add("Equal", [lowered, self._strings([""])])
        joined = self._joined(self._add("Where", [as_it_is, letters, lowered]))
        return self._add("Reshape", [self._add("Gather", [joined, inverse]), shape])

    def _joined(self, letters: str) -> str:
        """(U,) the strings of which (U, L) are the letters, "" behind the last."""
        from onnx import TensorProto, helper

        count = self._add("Gather", [self._add("Shape", [letters]), self._scalar(1)], axis=0)
        first = self._add("Gather", [letters, self._scalar(0)], axis=1)
        start = self._add("Where", [self._add("Equal", [first, first]), self._strings([""]), first])
        name = self.graph.name("join")
        body = helper.make_graph(
            [
                helper.make_node("Gather", [letters, f"{name}/i"], [f"{name}/letter"], axis=1),
                helper.make_node("StringConcat", [f"{name}/so_far", f"{name}/letter"], [f"{name}/longer"]),
                helper.make_node("Identity", [f"{name}/go"], [f"{name}/goes"]),
            ],
            name,
            [
                helper.make_tensor_value_info(f"{name}/i", TensorProto.INT64, []),
                helper.make_tensor_value_info(f"{name}/go", TensorProto.BOOL, []),
                helper.make_tensor_value_info(f"{name}/so_far", TensorProto.STRING, [None]),
            ],
            [
                helper.make_tensor_value_info(f"{name}/goes", TensorProto.BOOL, []),
                helper.make_tensor_value_info(f"{name}/longer", TensorProto.STRING, [None]),
            ],
        )
        return self._add("Loop", [count, "", start], body=body)

    def _counts(self, column: str, front: Counts) -> str:
        starts = np.cumsum([0, *map(len, front.runs)])[:-1]
        # Of no rows the operator refuses to count: a row is added, and taken away after.
        one_more = self._add("Pad", [self._indices(column, front.words), self._ints([0, 0, 1, 0])])
        counts = self._add(
            "TfIdfVectorizer",
            [one_more],
            mode="TF",
            min_gram_length=1,
            max_gram_length=len(front.runs),
            max_skip_count=0,
            ngram_counts=starts.tolist(),
            ngram_indexes=list(front.places),
            pool_int64s=[index for own in front.runs for index in own],
        )
        return self._add("Slice", [counts, *map(self._ints, ([0], [-1], [0]))])

    def _tokens(self, strings: str, pattern: str | None) -> str:
        """(N, T) what of each of (N, 1) strings matches a pattern, or each character; T is 1 or more."""
        how: dict[str, Any] = {"separators": [""]} if pattern is None else {"tokenexp": pattern}
        found = self._add(
            "Tokenizer", [strings], domain="com.microsoft", mark=0, pad_value="", mincharnum=1, **how
        )
        # With an empty one behind them: operators refuse an axis of length 0.
        none = self._add("Where", [self._add("Equal", [strings, strings]), self._strings([""]), strings])
        # The tokenizer gives (N, 1, T), but of no rows (0, 0).
        ends = [
            self._add("Shape", [strings], start=0, end=1),
            self._add("Shape", [found], start=-1),
        ]
        rows = self._add("Reshape", [found, self._add("Concat", ends, axis=0)], allowzero=1)
        return self._add("Concat", [rows, none], axis=1)

    # --- nodes ---------------------------------------------------------------------------------------------

    def _add(self, op: str, inputs: Sequence[str], **attributes: Any) -> str:
        return self.graph.add(op, inputs, **attributes)

    def _ints(self, values: Sequence[int]) -> str:
        return self.graph.ints(values)

    def _scalar(self, value: int) -> str:
        return self.graph.scalar(value)

    def _strings(self, values: Sequence[str]) -> str:
        return self.graph.strings(values)


def _int64() -> int:
    from onnx import TensorProto

    return int(TensorProto.INT64)


def words_of(front: Words | Counts) -> Words:
    """How texts are cut into words."""
    return front.words if isinstance(front, Counts) else front


def may_be_odd(text: str, lower: bool) -> bool:
    """Whether `StringGraph.odd` may say so of a text; of each of which it does, this is true."""
    composed = text.isascii() or unicodedata.is_normalized("NFC", text)
    return not composed or (lower and _SIGMA in text) or any(map(unicodedata.combining, text))


def _spellings(name: str, *, truth: bool) -> list[str]:
    """The strings that are read as a value: in NFC and in NFD; of True and False in any case of letters."""
    if truth and name in TRUTH:
        return ["".join(letters) for letters in product(*((c.lower(), c.upper()) for c in name))]
    return list(dict.fromkeys((name, unicodedata.normalize("NFD", name))))
