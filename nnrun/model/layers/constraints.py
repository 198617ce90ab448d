"""Limits of weights, which hold after each update, by Keras's formulas."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from nnrun.lazy_torch import torch
from nnrun.spec import schema

if TYPE_CHECKING:
    from torch import Tensor

_EPSILON = 1e-7  # Keras's, beside a length that is divided by


def constrained(spec: schema.Component, value: Tensor, axes: Sequence[int]) -> Tensor:
    """Stacked values (R, ...) within their limits.

    Args:
        spec: the constraint.
        value: stacked over replicas.
        axes: for each axis of `value`, the replicas' first, which one it is in Keras; -1 for none.
    """
    return CONSTRAINTS[type(spec)](spec, value, axes)


def _length(spec: Any, value: Tensor, axes: Sequence[int]) -> Tensor:
    """The L2 norm along the constraint's axes, which stay with size 1."""
    dims = [dim for dim, axis in enumerate(axes) if axis in spec.axis]
    return value.square().sum(dims, keepdim=True).sqrt()


def _max_norm(spec: schema.MaxNorm, value: Tensor, axes: Sequence[int]) -> Tensor:
    length = _length(spec, value, axes)
    return value * (length.clamp(0, spec.max_value) / (_EPSILON + length))


def _non_neg(spec: schema.NonNeg, value: Tensor, axes: Sequence[int]) -> Tensor:
    return torch.relu(value)


def _unit_norm(spec: schema.UnitNorm, value: Tensor, axes: Sequence[int]) -> Tensor:
    return value / (_EPSILON + _length(spec, value, axes))


def _min_max_norm(spec: schema.MinMaxNorm, value: Tensor, axes: Sequence[int]) -> Tensor:
    length = _length(spec, value, axes)
    wanted = spec.rate * length.clamp(spec.min_value, spec.max_value) + (1 - spec.rate) * length
    return value * (wanted / (_EPSILON + length))


CONSTRAINTS: Mapping[type[schema.Component], Callable[[Any, Tensor, Sequence[int]], Tensor]] = {
    schema.MaxNorm: _max_norm,
    schema.NonNeg: _non_neg,
    schema.UnitNorm: _unit_norm,
    schema.MinMaxNorm: _min_max_norm,
}
