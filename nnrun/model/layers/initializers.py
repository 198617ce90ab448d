"""First values of weights: functions of a random generator and a shape, float32."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

Values = np.ndarray[Any, Any]
Initializer = Callable[[np.random.Generator, tuple[int, ...]], Values]


def zeros(rng: np.random.Generator, shape: tuple[int, ...]) -> Values:
    """All 0."""
    return np.zeros(shape, np.float32)


def ones(rng: np.random.Generator, shape: tuple[int, ...]) -> Values:
    """All 1."""
    return np.ones(shape, np.float32)


def uniform(limit: float) -> Initializer:
    """Uniform numbers from -limit to limit."""
    return lambda rng, shape: rng.uniform(-limit, limit, shape).astype(np.float32)


def glorot_uniform(fan_in: int, fan_out: int) -> Initializer:
    """Uniform numbers up to sqrt(6 / (fan_in + fan_out)) (Glorot & Bengio 2010)."""
    return uniform(math.sqrt(6.0 / (fan_in + fan_out)))


def orthogonal(rng: np.random.Generator, shape: tuple[int, ...]) -> Values:
    """A random matrix with orthonormal rows or columns, whichever are fewer (Saxe et al. 2013)."""
    rows, columns = shape
    q, r = np.linalg.qr(rng.normal(size=(max(rows, columns), min(rows, columns))))
    q *= np.sign(np.diag(r))  # makes the distribution uniform
    return (q if rows >= columns else q.T).astype(np.float32)
