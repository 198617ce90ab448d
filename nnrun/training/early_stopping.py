"""When to stop: Keras 3's `EarlyStopping`, for one replica."""

from __future__ import annotations

import math
from dataclasses import dataclass

from nnrun.spec import schema


@dataclass
class EarlyStopping:
    """Watches one column of one replica.

    Attributes:
        spec: what the spec asks for.
        maximize: whether larger is better.
        best: the best value so far, NaN before the first; what is not finite never counts as best.
        best_epoch: its epoch, or None.
    """

    spec: schema.EarlyStopping
    maximize: bool
    best: float = math.nan
    best_epoch: int | None = None
    _waited: int = 0

    def improved(self, epoch: int, value: float) -> bool:
        """Take note of an epoch's value, and say whether it is the best so far by more than `min_delta`."""
        gain = value - self.best if self.maximize else self.best - value
        if math.isfinite(value) and (math.isnan(self.best) or gain > self.spec.min_delta):
            self.best, self.best_epoch, self._waited = value, epoch, 0
            return True
        self._waited += 1
        return False

    def should_stop(self, epoch: int) -> bool:
        """Whether `patience` epochs have passed without improvement; never after the first epoch alone."""
        return self._waited > 0 and self._waited >= self.spec.patience and epoch > 1
