"""Which learning rate to take, from the validation losses that some rates reached in a short training.

Tools that raise the rate from step to step within one training (Smith 2017; fast.ai's `lr_find`, Lightning's
and Keras's finders) only see its training loss, and take the place where that falls steepest, or a tenth of
the rate where it is lowest. Here each rate has a training of its own, so that its loss says how good it is.

Measured on 14 pairs of a spec and an optimizer (adam, rmsprop and sgd on tables and digits, two of them on
IMDB), after 100 to 300 steps: a whole training at the rate that was chosen had a validation loss above that
of the best of 32 rates by, on average, 8 % for the middle of the plateau, 9 % for the lowest loss, 13 % for
the lowest end of the plateau, 22 % for a tenth of the rate with the lowest loss, 24 % for the highest end of
the plateau, and 55 % for the steepest fall.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

MARGIN = 0.05
"""Of the fall of the loss, from the lowest rates to the best: so much worse than the best is as good."""

_NEIGHBOURS = 1  # on each side, over which a loss is smoothed
_ALIKE = 2.0  # rates further apart than this factor are too different to smooth over
_LOWEST = 3  # rates that hardly train, if they lie below the best: their loss is that before training


@dataclass(frozen=True)
class RateChoice:
    """The rate to take, by its place among the rates that were tried, ascending.

    Attributes:
        place: of the rate to take: the middle, on a logarithmic scale, of the plateau.
        low, high: the ends of the plateau: rates as good as the best, but for `MARGIN`, without a worse one
            between.
        start: the loss of the lowest rates.
        learns: whether any rate's loss is below that.
        smoothed: whether losses were smoothed over neighbours before they were compared.
    """

    place: int
    low: int
    high: int
    start: float
    learns: bool
    smoothed: bool


def choose_rate(rates: Sequence[float], losses: Sequence[float | None]) -> RateChoice | None:
    """The rate to take, from the lowest validation loss that each reached; None where no loss is finite.

    Args:
        rates: ascending, equally far apart on a logarithmic scale.
        losses: one for each rate; None or a number that is not finite for one that diverged.
    """
    values = np.array([np.inf if loss is None or not np.isfinite(loss) else loss for loss in losses])
    finite = values[np.isfinite(values)]
    if not len(finite):
        return None
    medians = _medians(values)
    smoothed = bool(rates[1] <= _ALIKE * rates[0] and np.isfinite(medians).any())
    compared = medians if smoothed else values
    best = int(np.argmin(compared))
    below = values[:best][np.isfinite(values[:best])]
    start = float((below if len(below) else finite)[:_LOWEST].max())
    limit = compared[best] + MARGIN * max(start - compared[best], 0.0)
    low = high = best
    while low > 0 and compared[low - 1] <= limit:
        low -= 1
    while high + 1 < len(compared) and compared[high + 1] <= limit:
        high += 1
    place = (low + high + 1) // 2
    if not np.isfinite(values[place]):  # it diverged between two that did not
        place = min(np.flatnonzero(np.isfinite(values)).tolist(), key=lambda other: abs(other - place))
    learns = bool(compared[best] < start)
    return RateChoice(place, min(low, place), max(high, place), start, learns, smoothed)


def _medians(values: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Each value's median with its neighbours on both sides; the first and the last stay as they are."""
    smooth = values.copy()
    for place in range(_NEIGHBOURS, len(values) - _NEIGHBOURS):
        smooth[place] = np.median(values[place - _NEIGHBOURS : place + _NEIGHBOURS + 1])
    return smooth
