"""Which epoch of a curve is its best: the one rule, for training as it goes and for a history afterwards."""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass
class BestEpoch:
    """The best value of a column so far.

    Attributes:
        maximize: whether larger is better.
        min_delta: a gain must be larger than this to count.
        value: the best value so far, NaN before the first. NaN and infinities never count as best.
        epoch: its epoch, the first of equals; None before the first.
    """

    maximize: bool
    min_delta: float = 0.0
    value: float = math.nan
    epoch: int | None = None

    def improved(self, epoch: int, value: float) -> bool:
        """Take note of an epoch's value, and say whether it is the best so far by more than `min_delta`."""
        gain = value - self.value if self.maximize else self.value - value
        if math.isfinite(value) and (self.epoch is None or gain > self.min_delta):
            self.value, self.epoch = value, epoch
            return True
        return False
