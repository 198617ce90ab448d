"""Whether a value of a spec is the value of a field: `value: 2009`, `value: true`, `value: test`."""

from __future__ import annotations

import re
import unicodedata
from typing import Final

_WHOLE: Final = re.compile(r"[+-]?\d{1,4000}", re.ASCII)
_CODE: Final = re.compile(r"0\d+", re.ASCII)


def is_value(wanted: bool | int | float | str, found: float | str) -> bool:
    """Numbers are compared as numbers, `true` and `false` in any case of letters, all else as text. A text of
    digits with a leading zero is a code, and no number.

    Args:
        wanted: as YAML read it.
        found: the field, a number or a text.
    """
    if isinstance(wanted, bool):
        if isinstance(found, str):
            return found.strip().casefold() == str(wanted).casefold()
        return found == float(wanted)
    if isinstance(wanted, str) and isinstance(found, str):
        return unicodedata.normalize("NFC", wanted) == unicodedata.normalize("NFC", found)
    numbers = [_number(wanted), _number(found)]
    return None not in numbers and numbers[0] == numbers[1]


def _number(value: float | str) -> float | int | None:
    """Whole numbers by their digits, so that long ones stay what they are; None for what is no number."""
    if isinstance(value, str):
        if _CODE.fullmatch(value):
            return None
        try:
            return int(value) if _WHOLE.fullmatch(value) else float(value)
        except ValueError:
            return None
    return None if value != value else value
