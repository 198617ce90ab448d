"""Lengths of time as a spec and an option write them: `90s`, `10m`, `2h`; a bare number is seconds."""

from __future__ import annotations

import math
import re

_UNITS = {"s": 1.0, "m": 60.0, "h": 3600.0}
_WRITTEN = re.compile(r"\s*([0-9]*\.?[0-9]+|[0-9]+\.)\s*([smh]?)\s*")

WORDS = "a time above 0, such as 90s, 10m or 2h (a bare number is seconds)"


def canonical_duration(value: object) -> str:
    """The time in the largest unit in which it is a whole number: `10m` for `600`, `600s` and `10 m`.

    Raises:
        ValueError: it is no such time.
    """
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        raise ValueError(WORDS)
    text = value if isinstance(value, str) else format(float(value), "f") if math.isfinite(value) else ""
    match = _WRITTEN.fullmatch(text)
    if match is None or not 0 < float(match[1]) < 1e9:
        raise ValueError(WORDS)
    seconds = float(match[1]) * _UNITS[match[2] or "s"]
    unit = next((unit for unit in "hm" if seconds % _UNITS[unit] == 0), "s")
    return f"{seconds / _UNITS[unit]:.12g}{unit}"


def seconds_of(duration: str) -> float:
    """The seconds of a time in canonical form."""
    return float(duration[:-1]) * _UNITS[duration[-1]]
