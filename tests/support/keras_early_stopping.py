"""When Keras stops early: a transcription of keras/src/callbacks/early_stopping.py."""

from __future__ import annotations

import math
from collections.abc import Sequence


def keras_would(
    values: Sequence[float],
    *,
    patience: int,
    min_delta: float,
    maximize: bool,
    baseline: float | None = None,
    start_from_epoch: int = 0,
) -> tuple[int | None, int | None]:
    """The epoch that ends training and the best epoch, both from 1; None where there is none."""
    best, wait, best_epoch = (-math.inf if maximize else math.inf), 0, None

    def is_improvement(value: float, reference: float) -> bool:
        return value - min_delta > reference if maximize else value + min_delta < reference

    for epoch, current in enumerate(values):
        if epoch < start_from_epoch:
            continue
        wait += 1
        if is_improvement(current, best):
            best, best_epoch = current, epoch + 1
            if baseline is None or is_improvement(current, baseline):
                wait = 0
            continue
        if wait >= patience and epoch > 0:
            return epoch + 1, best_epoch
    return None, best_epoch
