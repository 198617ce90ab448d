"""Student's t distribution, without SciPy, whose import takes 0.2 s."""

from __future__ import annotations

import math


def t_quantile(degrees: int, level: float) -> float:
    """t such that a variable of this distribution lies in [-t, t] with probability `level`.

    Args:
        degrees: of freedom, from 1.
        level: above 0, below 1.
    """
    low, high = 0.0, math.pi / 2  # of the angle whose tangent is t / sqrt(degrees)
    while low < (angle := (low + high) / 2) < high:
        if _probability(degrees, angle) < level:
            low = angle
        else:
            high = angle
    return math.sqrt(degrees) * math.tan(angle)


def _probability(degrees: int, angle: float) -> float:
    """The probability of [-t, t], t = sqrt(degrees) tan(angle): Abramowitz & Stegun, 26.7.3 and 26.7.4."""
    odd = degrees % 2
    cosine = math.cos(angle)
    term = cosine if odd else 1.0
    terms = [] if degrees == 1 else [term]
    for factor in range(2 + odd, degrees - 1, 2):
        term *= (factor - 1) / factor * cosine * cosine
        terms.append(term)
    whole = math.sin(angle) * math.fsum(terms)
    return (angle + whole) * 2 / math.pi if odd else whole
