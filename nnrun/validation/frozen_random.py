"""Random numbers whose stream will never change, for rows that are drawn to stay drawn."""

from __future__ import annotations

import numpy as np


def frozen_random(seed: int) -> np.random.RandomState:
    """NumPy's legacy generator, on purpose: its stream is frozen, so a split outlives NumPy's versions.

    `seed` is below 2**64, such as one of `nnrun.spec.random_streams.derive_seed`.
    """
    return np.random.RandomState([seed >> 32, seed & 0xFFFFFFFF])
