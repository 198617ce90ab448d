"""What layers with a kernel share: first weights, and the penalty of a regularizer."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import numpy as np
from torch import Tensor

from nnrun.model.activations import ACTIVATIONS
from nnrun.model.layers.base import Layer, Parameters
from nnrun.spec import schema

K = TypeVar("K", bound=schema.KernelLayer)


def glorot_uniform(
    rng: np.random.Generator, shape: tuple[int, ...], fan_in: int, fan_out: int
) -> np.ndarray[Any, Any]:
    """Uniform numbers up to sqrt(6 / (fan_in + fan_out)) (Glorot & Bengio 2010), float32."""
    limit = math.sqrt(6.0 / (fan_in + fan_out))
    return rng.uniform(-limit, limit, shape).astype(np.float32)


def orthogonal(rng: np.random.Generator, rows: int, columns: int) -> np.ndarray[Any, Any]:
    """A random matrix with orthonormal rows or columns, whichever are fewer (Saxe et al. 2013), float32."""
    q, r = np.linalg.qr(rng.normal(size=(max(rows, columns), min(rows, columns))))
    q *= np.sign(np.diag(r))  # makes the distribution uniform
    return (q if rows >= columns else q.T).astype(np.float32)


@dataclass(frozen=True)
class KernelLayer(Layer[K], Generic[K]):
    """A layer with one kernel, `<i>.weight`, that may be regularized, a bias and an activation."""

    @property
    def strengths(self) -> tuple[float, float]:
        """Of l1 and l2."""
        regularizer = self.spec.kernel_regularizer
        match regularizer:
            case schema.L1(l1=l1):
                return l1, 0.0
            case schema.L2(l2=l2):
                return 0.0, l2
            case schema.L1L2(l1=l1, l2=l2):
                return l1, l2
        return 0.0, 0.0

    @property
    def strength_names(self) -> tuple[str, str]:
        """What the strengths of l1 and l2 are called where each replica has its own."""
        return self.name("l1"), self.name("l2")

    def penalty(self, parameters: Parameters) -> Tensor | None:
        """(R,): the regularization term of each replica, or None where there is none.

        Replicas may have strengths of their own: (R,) under `strength_names` among the parameters.
        """
        l1, l2 = (
            parameters.get(name, own) for name, own in zip(self.strength_names, self.strengths, strict=True)
        )
        if isinstance(l1, float) and isinstance(l2, float) and l1 == l2 == 0:
            return None
        kernel = parameters[self.name("weight")]
        axes = tuple(range(1, kernel.dim()))
        return l1 * kernel.abs().sum(axes) + l2 * kernel.square().sum(axes)

    def activate(self, z: Tensor) -> Tensor:
        """The activation function alone."""
        return ACTIVATIONS[self.spec.activation](z)
