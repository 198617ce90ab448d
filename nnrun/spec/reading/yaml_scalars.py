"""What an unquoted word of YAML means: the core schema of YAML 1.2, and nothing else.

YAML 1.1, which PyYAML reads, turns `no` into false, `12:30` into 750 and `1e-3` into text. Here each of them
is what it looks like. A number that the two versions read differently (`012` is 10 or 12) stays text, so that
whoever wanted a number is told.
"""

from __future__ import annotations

import math
import re

from nnrun.spec.reading.nodes import Plain

_NULL = {"", "~", "null", "Null", "NULL"}
_BOOL = {"true": True, "True": True, "TRUE": True, "false": False, "False": False, "FALSE": False}
_INT = re.compile(r"[-+]?(0|[1-9][0-9]*)")
_OCTAL = re.compile(r"0o[0-7]+")
_HEX = re.compile(r"0x[0-9a-fA-F]+")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
_INF = re.compile(r"[-+]?\.(inf|Inf|INF)")
_NAN = {".nan", ".NaN", ".NAN"}
_LEADING_ZERO = re.compile(r"[-+]?0[0-9]+")

_LONGEST_NUMBER = 400
"""Digits; a float has at most 17 that count, and an integer of a spec is below 2**63."""


def resolve(text: str) -> Plain:
    """The value of an unquoted scalar.

    Raises:
        OverflowError: a number that no float can hold, so that it would change in silence.
    """
    if text in _NULL:
        return None
    if text in _BOOL:
        return _BOOL[text]
    if text[0] not in "+-.0123456789" or _LEADING_ZERO.fullmatch(text):
        return text
    if _INT.fullmatch(text) or _OCTAL.fullmatch(text) or _HEX.fullmatch(text):
        if len(text) > _LONGEST_NUMBER:
            raise OverflowError("too long for a number")
        return int(text, 0)
    if _FLOAT.fullmatch(text):
        return _float(text)
    if _INF.fullmatch(text):
        return -math.inf if text.startswith("-") else math.inf
    return math.nan if text in _NAN else text


def _float(text: str) -> float:
    if len(text) > _LONGEST_NUMBER:
        raise OverflowError("too long for a number")
    value = float(text)
    if math.isinf(value):
        raise OverflowError("too large for a number (at most about 1.8e308)")
    if value == 0 and re.search(r"[1-9]", re.split("[eE]", text)[0]):
        raise OverflowError("too small for a number (at least about 4.9e-324)")
    return value


def number_hint(text: str) -> str | None:
    """What to write instead of a text that looks like a number and is none, or None."""
    if _LEADING_ZERO.fullmatch(text):
        sign, digits = ("-", text[1:]) if text[0] == "-" else ("", text.lstrip("+"))
        decimal = f"{sign}{digits.lstrip('0') or '0'}"
        if re.fullmatch("[0-7]+", digits) and int(digits, 8) != int(digits):
            octal = f"{sign}0o{digits.lstrip('0') or '0'}"
            return (
                f"{text} means {int(digits, 8)} to YAML 1.1 and {int(digits)} to YAML 1.2; write {decimal}"
                + (f" or {octal}" if not sign else "")
            )
        return f"a number does not begin with 0; write {decimal}"
    if re.fullmatch(r"[-+]?[0-9][0-9_ ]*[0-9](\.[0-9_]*)?", text):
        return f"write {re.sub('[_ ]', '', text)}"
    if re.fullmatch(r"[-+]?[0-9]+,[0-9]+", text):
        return f"a decimal point is written '.': {text.replace(',', '.')}"
    if re.fullmatch(r"[0-9.]+ *%", text):
        return "write a fraction such as 0.2, not a percentage"
    return None


def bool_hint(text: str) -> str | None:
    """What to write instead of a word that YAML 1.1 takes for a truth value, or None."""
    folded = text.lower()
    if folded in ("yes", "on", "y", "true", "1", "t"):
        return "write true"
    if folded in ("no", "off", "n", "false", "0", "f"):
        return "write false"
    return None
