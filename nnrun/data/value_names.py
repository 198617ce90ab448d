"""A value and its name: the one spelling by which a value is known, whatever file or program it came from.

Categories, classes, groups and the values that a spec names are compared by these names. A whole number is
its digits, however many; a text is in Unicode's composed form (NFC), without blanks around it, so that the
same word typed on two systems is one word. Nothing goes through a float on the way.
"""

from __future__ import annotations

import math
import re
import unicodedata
from collections.abc import Iterable
from decimal import Decimal
from typing import Any, Final

import numpy as np

_MOST_DIGITS: Final = 1e15  # of a float, on a screen
_MOST_DIGITS_READ: Final = 4000  # Python refuses to read more
EXACT: Final = 2**53
"""float64 holds every whole number up to here; beyond it some share a float."""
TRUTH: Final = ("False", "True")
_TRUTH_OF: Final = {name.lower(): name for name in TRUTH}
_PLAIN_NUMBER: Final = re.compile(r"[+-]?\d+(\.\d*)?([eE][+-]\d+)?", re.ASCII)
_BEGINS_A_NUMBER: Final = "+-0123456789"
_WHOLE: Final = re.compile(r"[+-]?\d+", re.ASCII)
_LEADING_ZERO: Final = re.compile(r"0\d+", re.ASCII)
_LETTER_E: Final = re.compile(r"\d+E\d+", re.ASCII)


def text_name(text: str) -> str:
    """A text without blanks around it, in NFC."""
    text = text.strip()
    return text if text.isascii() else unicodedata.normalize("NFC", text)


def number_name(value: float | Decimal) -> str:
    """A finite number: its digits where it is whole (`3` for 3.0), else the fewest that read back as it."""
    if isinstance(value, (int, np.integer)):
        return str(int(value))
    if isinstance(value, Decimal):
        return str(int(value)) if value == value.to_integral_value() else format(value.normalize(), "f")
    value = float(value)
    return str(int(value)) if value.is_integer() else repr(value)


def shown_number(value: float, form: str = "g") -> str:
    """A number for a person to read: all digits of a whole one, few of others."""
    whole = isinstance(value, int) or (value.is_integer() and abs(value) < _MOST_DIGITS)
    return number_name(value) if whole else format(value, form)


def value_name(value: Any) -> str | None:
    """The name of a value of any type; None where it is missing (None, NaN).

    Raises:
        TypeError: it is neither a text, a finite number nor a truth value.
    """
    if value is None or value is False or value is True:
        return None if value is None else TRUTH[value]
    if isinstance(value, str):
        return text_name(value)
    if isinstance(value, np.bool_):
        return TRUTH[bool(value)]
    if isinstance(value, (int, float, Decimal, np.integer, np.floating)):
        if value != value:
            return None
        if math.isfinite(value):
            return number_name(value)  # type: ignore[arg-type]
    raise TypeError(value)


def written_name(value: Any) -> str | None:
    """The name of a value; of one that has none, such as an infinity, how Python writes it."""
    try:
        return value_name(value)
    except TypeError:
        return str(value)


def truth_name(text: str) -> str:
    """`True` and `False` for those words in any case of letters; other texts as they are."""
    return _TRUTH_OF.get(text.lower(), text)


def is_truth(texts: Iterable[str]) -> bool:
    """Whether all texts are `true` or `false`, in any case of letters."""
    return all(text.lower() in _TRUTH_OF for text in texts)


def number_of(text: str) -> float:
    """The finite number that a text is, rounded to a float; NaN where it is none. 1_000 is none."""
    try:
        value = float(text)
    except (ValueError, OverflowError):
        return math.nan
    return value if math.isfinite(value) and "_" not in text else math.nan


def whole_number(text: str) -> int | None:
    """The whole number that these digits are; None where they are something else."""
    return int(text) if len(text) < _MOST_DIGITS_READ and _WHOLE.fullmatch(text) else None


def in_digits(text: str, value: float) -> str:
    """A number as text: as it is where it is digits, else the name of its value."""
    return text if whole_number(text) is not None else number_name(value)


def wide_whole_number(text: str) -> int | None:
    """The whole number that these digits are, where a float may not hold it; else None."""
    number = whole_number(text) if len(text) >= 16 else None
    return number if number is not None and abs(number) > EXACT else None


def in_order(names: Iterable[str]) -> list[str]:
    """Names in their natural order: numbers by value, before all texts; texts by their characters."""
    return sorted(names, key=_place)


def _place(name: str) -> tuple[int, float | int, str]:
    if name[:1] not in _BEGINS_A_NUMBER:
        return 1, 0, name
    if (whole := whole_number(name)) is not None:
        return 0, whole, name
    if _PLAIN_NUMBER.fullmatch(name) and math.isfinite(value := float(name)):
        return 0, value, name
    return 1, 0, name


def code_among(texts: Iterable[str]) -> str | None:
    """A text that shows that numbers are codes, not amounts: 02116, or 5E3 where others are alike. Else None.

    A leading zero says so where every text is digits, without a sign or a point. A capital E between digits
    says so where all texts have one, or all are of one length, as 123 and 5E3; programs write 5e+03 or
    5.0E3 for a number.

    Args:
        texts: the different texts of a column, all of them numbers.
    """
    texts = list(texts)
    zero = next((text for text in texts if _LEADING_ZERO.fullmatch(text)), None)
    letter = next((text for text in texts if _LETTER_E.fullmatch(text)), None)
    if zero is None and letter is None:
        return None
    letters = [bool(_LETTER_E.fullmatch(text)) for text in texts]
    if not all(has or text.isdecimal() for text, has in zip(texts, letters, strict=True)):
        return None
    if zero is not None:
        return zero
    return letter if all(letters) or len(set(map(len, texts))) == 1 else None


def may_be_code(text: str) -> bool:
    """Whether a field must be kept as it is written until its whole column is known."""
    return bool(_LEADING_ZERO.fullmatch(text) or _LETTER_E.fullmatch(text))
