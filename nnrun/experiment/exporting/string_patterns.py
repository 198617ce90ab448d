"""What Python says of characters, as regular expressions of RE2, which programs in ONNX use.

Each is a list of code points from the Unicode tables of this Python, by which nnrun reads texts, so that no
other version of these tables decides what a word is.
"""

from __future__ import annotations

import sys
import unicodedata
from collections.abc import Callable, Iterable
from functools import cache

_SURROGATES = range(0xD800, 0xE000)
_ABOVE, _BELOW = 230, 220  # the combining classes of most marks


def class_of(points: Iterable[int]) -> str:
    """A character class of these code points."""
    spans: list[list[int]] = []
    for point in sorted(points):
        if spans and spans[-1][1] == point - 1:
            spans[-1][1] = point
        else:
            spans.append([point, point])
    return "[" + "".join(rf"\x{{{low:x}}}-\x{{{high:x}}}" for low, high in spans) + "]"


def points_where(holds: Callable[[str], object]) -> list[int]:
    """The code points of which a function says so, that does of none that has no character."""
    return [ord(character) for character in _characters() if holds(character)]


@cache
def _characters() -> str:
    """All that have a meaning: six of seven code points have none, or a private one."""
    every = (*range(_SURROGATES.start), *range(_SURROGATES.stop, sys.maxunicode + 1))
    return "".join(c for c in map(chr, every) if unicodedata.category(c) not in ("Cn", "Co"))


@cache
def without_blanks() -> str:
    """All of a text but the blanks around it, as `str.strip` has it; nothing of a text of blanks."""
    blank = points_where(str.isspace)
    other = f"[^{class_of(blank)[1:]}"
    return f"{other}(?s:.*{other})?"


@cache
def words(*, but: str = "") -> str:
    """A run of letters and digits, as of `split_words.WORD`; one of `but` ends it.

    RE2 takes the longest of what matches.
    """
    letters = points_where(str.isalnum)
    if not but:
        return f"{class_of(letters)}+"
    ends = set(map(ord, but))
    others = class_of(point for point in letters if point not in ends)
    return f"{others}*{class_of(ends)}|{others}+"


@cache
def not_composed() -> str:
    """What a text in Unicode's composed form (NFC) does not hold.

    A character that is always replaced; one and a mark that are one character together; marks that do not
    stand in their order. It also finds some rare texts in NFC, in which other marks keep the two apart.
    """
    replaced = points_where(lambda c: not unicodedata.is_normalized("NFC", c))
    bases_of: dict[int, set[int]] = {}
    for point in points_where(unicodedata.decomposition):
        parts = [int(part, 16) for part in unicodedata.decomposition(chr(point)).split() if part[0] != "<"]
        if len(parts) == 2 and unicodedata.normalize("NFC", "".join(map(chr, parts))) == chr(point):
            bases_of.setdefault(parts[1], set()).add(parts[0])
    marks_of: dict[frozenset[int], set[int]] = {}
    for mark, bases in bases_of.items():
        marks_of.setdefault(frozenset(bases), set()).add(mark)
    every_base = set[int]().union(*bases_of.values())
    by_class: dict[int, set[int]] = {}
    for point in points_where(unicodedata.combining):
        by_class.setdefault(unicodedata.combining(chr(point)), set()).add(point)
    every_mark = set[int]().union(*by_class.values())

    def pair(first: Iterable[int], second: Iterable[int], between: str = "") -> str:
        return f"{class_of(first)}{between}{class_of(second)}"

    def between(low: int, high: int) -> set[int]:
        return {point for own, points in by_class.items() if low < own < high for point in points}

    found = [class_of(replaced)]
    found += [pair(range(0x1100, 0x1113), range(0x1161, 0x1176))]  # Hangul, which is composed by a rule
    found += [pair(range(0xAC00, 0xD7A4, 28), range(0x11A8, 0x11C3))]
    found += [pair(bases, marks) for bases, marks in marks_of.items()]
    found += [pair(every_base, every_mark & bases_of.keys(), f"{class_of(every_mark)}+")]
    # Order: classes never descend. Pairs over the two large classes once, the others one by one.
    found += [pair(between(_ABOVE - 1, 256), between(0, _ABOVE))]
    found += [pair(between(_BELOW - 1, _ABOVE), between(0, _BELOW))]
    for own in sorted(by_class):
        highest = next(edge for edge in (_BELOW, _ABOVE, 256) if own < edge)
        if higher := between(own, highest):
            found.append(pair(higher, by_class[own]))
    ending: dict[int, set[int]] = {}  # characters that are a base and marks, by the class of the last one
    for point in points_where(unicodedata.decomposition):
        if last := unicodedata.combining(unicodedata.normalize("NFD", chr(point))[-1]):
            ending.setdefault(last, set()).add(point)
    found += [pair(points, lower) for own, points in ending.items() if (lower := between(0, own))]
    return "|".join(found)
