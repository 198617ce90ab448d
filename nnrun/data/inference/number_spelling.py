"""Numbers as people write them: 1.234,5 or 12 % or $5.00 or −3 (with a Unicode minus).

A percent sign and a currency sign are left out: `12%` is 12, in percent. Grouping must be regular: 1,234,567
or, as in India, 12,34,567. What Python takes for a number beyond that (1_000) is a text.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from nnrun.data.value_names import number_of
from nnrun.spec import schema

_MINUS: Final = "\u2212"
_NAMES_OF_MARKS: Final = {",": "a comma", ".": "a point", " ": "a space", "'": "an apostrophe"}
_EXACT_BELOW: Final = 1e15  # a float writes all digits of a number below
_LETTER: Final = re.compile(r"[^\W\d_eE]")
_BLANKS: Final = " \u00a0\u202f\u2009"
_CURRENCY: Final = "$€£¥₹₽₩₺₫₴₪฿¢"
_MARKED: Final = re.compile(
    rf"(?P<open>\()?(?P<sign>[+-])?[{_BLANKS}]?(?P<before>[{_CURRENCY}])?[{_BLANKS}]?(?P<inner>[+-])?"
    rf"(?P<number>\d[^%{_CURRENCY}()]*?|[.,]\d[^%{_CURRENCY}()]*?)[{_BLANKS}]?"
    rf"(?P<after>[%{_CURRENCY}])?(?P<close>\))?"
)


@dataclass(frozen=True)
class Spelling:
    """How numbers are written: the mark before the decimals, and the one between groups of thousands."""

    decimal: schema.DecimalMark = "."
    thousands: schema.ThousandsMark | None = None

    @property
    def plain(self) -> bool:
        """As Python, pandas and JSON write numbers."""
        return self.decimal == "." and self.thousands is None

    def keys(self) -> dict[str, str]:
        """What differs from the default, as a spec says it."""
        decimal = {} if self.decimal == "." else {"decimal": self.decimal}
        return {**decimal, **({} if self.thousands is None else {"thousands": self.thousands})}

    def numbers(self, texts: Sequence[str]) -> npt.NDArray[np.float64]:
        """(N,) the finite numbers that texts are; NaN where one is none."""
        return np.array(
            [self.number(text) if may_be_number(text) else math.nan for text in texts], np.float64
        )

    def number(self, text: str) -> float:
        """The finite number that a text is; NaN where it is none."""
        text = text.strip().replace(_MINUS, "-")
        if self.plain:
            value = number_of(text)
            if not math.isnan(value):
                return value
        unsigned = text[1:] if text[:1] in ("-", "+") else text
        if not unsigned.isdigit() and not self._regular(unsigned):
            return self._marked(text)
        return number_of(self._as_python(text))

    def _regular(self, unsigned: str) -> bool:
        return _pattern(self).fullmatch(unsigned) is not None

    def _as_python(self, text: str) -> str:
        if self.thousands is not None:
            for mark in _BLANKS if self.thousands == " " else self.thousands:
                text = text.replace(mark, "")
        return text.replace(",", ".") if self.decimal == "," else text

    def _marked(self, text: str) -> float:
        """A number with a percent or currency sign; in brackets, as in accounts, where it is negative."""
        found = _MARKED.fullmatch(text)
        if found is None or (found["before"] and found["after"]) or (found["sign"] and found["inner"]):
            return math.nan
        mark = found["before"] or found["after"]
        if not mark or bool(found["open"]) != bool(found["close"]):
            return math.nan
        digits = found["number"]
        if not self._regular(digits):
            return math.nan
        value = number_of(self._as_python(digits))
        negative = (found["sign"] == "-" or found["inner"] == "-") != bool(found["open"])
        return -value if negative else value


PLAIN: Final = Spelling()


@dataclass(frozen=True)
class Spellings:
    """How the numbers of a file's columns are written.

    Attributes:
        usual: of all columns without one of their own.
        own: column → its spelling.
    """

    usual: Spelling = PLAIN
    own: Mapping[str, Spelling] = field(default_factory=dict)

    @classmethod
    def of(cls, declared: schema.Component) -> Spellings:
        """As a spec's data set says."""
        if not isinstance(declared, schema.Csv):
            return cls()
        own = {name: Spelling(f.decimal, f.thousands) for name, f in declared.number_formats.items()}
        return cls(Spelling(declared.decimal, declared.thousands), own)

    def __getitem__(self, column: str) -> Spelling:
        return self.own.get(column, self.usual)

    def unusual(self, columns: Sequence[str]) -> frozenset[str]:
        """The columns that pandas cannot be asked to read as numbers."""
        return frozenset(name for name in columns if not self[name].plain)

    def keys(self) -> dict[str, Any]:
        """What differs from the default, as a spec says it."""
        own = {name: spelling.keys() for name, spelling in self.own.items()}
        return {**self.usual.keys(), **({"number_formats": own} if own else {})}


def is_number(field: str) -> bool:
    """Whether a field is a number as Python writes it; inf and nan are."""
    try:
        float(field)
    except ValueError:
        return False
    return "_" not in field


def may_be_number(text: str) -> bool:
    """False where a text holds a letter that no number in any spelling does: quick, and mostly decides."""
    return _LETTER.search(text) is None


def mark_of(text: str) -> str:
    """The percent or currency sign of a number; empty where it has none."""
    return next((mark for mark in text if mark == "%" or mark in _CURRENCY), "")


def is_marked(text: str) -> bool:
    """Whether a number is written with a sign that Python does not know."""
    return _MINUS in text or bool(mark_of(text))


def guesses() -> Iterator[Spelling]:
    """Spellings that a column may have, the likelier first."""
    yield PLAIN
    yield Spelling(thousands=",")
    yield Spelling(decimal=",")
    yield Spelling(decimal=",", thousands=".")
    yield Spelling(thousands=" ")
    yield Spelling(decimal=",", thousands=" ")
    yield Spelling(thousands="'")


def in_another_spelling(text: str, spelling: Spelling) -> str | None:
    """What a text is that is not a number in `spelling` but in another; None where it is one in no spelling.

    Such as: a number in another spelling (this column has a decimal comma and no thousands separator: write
    16,01).
    """
    values = {guess.number(text) for guess in guesses() if guess != spelling}
    values = {value for value in values if not math.isnan(value)}
    if not values or not math.isnan(spelling.number(text)):
        return None
    decimal = "comma" if spelling.decimal == "," else "point"
    thousands = "no" if spelling.thousands is None else _NAMES_OF_MARKS[spelling.thousands] + " as"
    read = f"this column has a decimal {decimal} and {thousands} thousands separator"
    if max(map(abs, values)) < _EXACT_BELOW:
        ways = [f"{value:.15g}".replace(".", spelling.decimal) for value in sorted(values)]
        meant = ", whichever is meant" if len(ways) > 1 else ""  # 1,234 is 1.234 or 1234
        read += f": write {' or '.join(ways)}{meant}"
    return f"a number in another spelling ({read})"


@cache
def _pattern(spelling: Spelling) -> re.Pattern[str]:
    decimal = re.escape(spelling.decimal)
    digits = r"\d+"
    if spelling.thousands is not None:
        mark = rf"[{_BLANKS}]" if spelling.thousands == " " else re.escape(spelling.thousands)
        indian = rf"|[1-9]\d?(?:{mark}\d{{2}})+{mark}\d{{3}}" if spelling.thousands == "," else ""
        digits = rf"(?:\d+|[1-9]\d{{0,2}}(?:{mark}\d{{3}})+{indian})"
    return re.compile(rf"(?:{digits}(?:{decimal}\d*)?|{decimal}\d+)(?:[eE][+-]?\d+)?", re.ASCII)
