"""When to stop: Keras 3's `EarlyStopping`, for one replica."""

from __future__ import annotations

from dataclasses import dataclass, field

from nnrun.spec import schema
from nnrun.spec.score_columns import BestEpoch, BestRule


@dataclass
class EarlyStopping:
    """Watches one column of one replica.

    Attributes:
        spec: what the spec asks for.
        maximize: whether larger is better.
    """

    spec: schema.EarlyStopping
    maximize: bool
    _best: BestEpoch = field(init=False)
    _waited: int = 0
    _may_stop: bool = False

    def __post_init__(self) -> None:
        self._best = BestEpoch(self.maximize, BestRule(self.spec.min_delta))

    @property
    def best(self) -> float:
        """The best value so far, NaN before the first."""
        return self._best.value

    @property
    def best_epoch(self) -> int | None:
        """The epoch of the best value, or None."""
        return self._best.epoch

    def improved(self, epoch: int, value: float) -> bool:
        """Take note of an epoch's value, and say whether it is the best so far by more than `min_delta`."""
        if epoch <= self.spec.start_from_epoch:
            return False
        improved = self._best.improved(epoch, value)
        self._waited = 0 if improved and self._beats_baseline(value) else self._waited + 1
        self._may_stop = not improved
        return improved

    def _beats_baseline(self, value: float) -> bool:
        if self.spec.baseline is None:
            return True
        gain = value - self.spec.baseline if self.maximize else self.spec.baseline - value
        return gain > self.spec.min_delta

    def should_stop(self, epoch: int) -> bool:
        """Whether `patience` epochs have passed without improvement; never after the first epoch alone."""
        return self._may_stop and self._waited >= self.spec.patience and epoch > 1
