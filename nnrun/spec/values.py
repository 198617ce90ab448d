"""Whether a value of a spec is the value of a field: `value: 2009`, `value: true`, `value: test`."""

from __future__ import annotations

import math


def is_value(wanted: bool | int | float | str, found: float | str) -> bool:
    """Numbers are compared as numbers, `true` and `false` in any case of letters, all else as text.

    Args:
        wanted: as YAML read it.
        found: the field, a number or a text.
    """
    if isinstance(wanted, bool):
        if isinstance(found, str):
            return found.strip().casefold() == str(wanted).casefold()
        return found == float(wanted)
    if isinstance(wanted, str) and isinstance(found, str):
        return wanted == found
    numbers = [_number(wanted), _number(found)]
    return not any(math.isnan(number) for number in numbers) and numbers[0] == numbers[1]


def _number(value: float | str) -> float:
    try:
        return float(value)
    except ValueError:
        return math.nan
