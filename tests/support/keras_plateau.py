"""What Keras makes of a rate: a transcription of keras/src/callbacks/reduce_lr_on_plateau.py."""

from __future__ import annotations

from collections.abc import Sequence


def keras_rates(
    values: Sequence[float],
    rate: float,
    *,
    factor: float,
    patience: int,
    min_delta: float,
    cooldown: int,
    min_lr: float,
    maximize: bool,
) -> list[float]:
    """The rate of each epoch, and at the end that of the epoch which would follow."""
    best: float | None = None
    cooldown_counter = wait = 0
    rates = [rate]
    for current in values:
        if cooldown_counter > 0:
            cooldown_counter -= 1
            wait = 0
        if best is None or (current - min_delta > best if maximize else current + min_delta < best):
            best, wait = current, 0
        elif not cooldown_counter > 0:
            wait += 1
            if wait >= patience and rate > min_lr:
                rate = max(rate * factor, min_lr)
                cooldown_counter, wait = cooldown, 0
        rates.append(rate)
    return rates
