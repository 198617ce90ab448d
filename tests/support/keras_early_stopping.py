"""When Keras stops early: a transcription of keras/src/callbacks/early_stopping.py."""

from __future__ import annotations

import math
from collections.abc import Sequence


def keras_would(
    values: Sequence[float], *, patience: int, min_delta: float, maximize: bool
) -> tuple[int | None, int | None]:
    """The epoch that ends training and the best epoch, both from 1; None where there is none."""
    best, wait, best_epoch = (-math.inf if maximize else math.inf), 0, None
    for epoch, current in enumerate(values):
        wait += 1
        if current - min_delta > best if maximize else current + min_delta < best:
            best, wait, best_epoch = current, 0, epoch + 1
            continue
        if wait >= patience and epoch > 0:
            return epoch + 1, best_epoch
    return None, best_epoch
