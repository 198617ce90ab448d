"""Merges: one row of several."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from typing import TYPE_CHECKING, Any

from nnrun.lazy_torch import torch
from nnrun.model.layers.initializers import Shape
from nnrun.spec import schema

if TYPE_CHECKING:
    from torch import Tensor

_SMALLEST_SQUARE = 1e-12  # Keras's, of a vector that is divided by its length


@dataclass(frozen=True)
class MergeLayer:
    """A function of several tensors (R, B, *shape). It learns nothing.

    Attributes:
        spec: what the experiment says of it.
        path: its place in the network.
        output_shape: of one row.
    """

    spec: schema.Merging
    path: str
    output_shape: Shape

    def forward(self, taken: Sequence[Tensor]) -> Tensor:
        """(R, B, *output_shape)."""
        return MERGES[type(self.spec)](self.spec, taken)

    def mask_of(self, taken: Sequence[Tensor], masks: Sequence[Tensor | None]) -> Tensor | None:
        """The mask of what it gives: a step counts where it does in one of those that it takes."""
        if not self.spec.passes_mask([mask is not None for mask in masks]):
            return None
        merge = self.spec.merge if isinstance(self.spec, schema.Parallel) else self.spec
        if isinstance(merge, schema.Concatenate):
            whole = [_whole_mask(x, mask) for x, mask in zip(taken, masks, strict=True)]
            return torch.cat(whole, _dim(merge.axis)).any(-1)
        return reduce(torch.logical_or, [mask for mask in masks if mask is not None])

    @property
    def description(self) -> str:
        """Its name."""
        return self.spec.kind


def _whole_mask(x: Tensor, mask: Tensor | None) -> Tensor:
    """A mask of each number of `x`; without a mask all of them count."""
    if mask is None:
        return torch.ones_like(x, dtype=torch.bool)
    return mask.unsqueeze(-1).expand(x.shape)


def _concatenate(spec: Any, taken: Sequence[Tensor]) -> Tensor:
    return torch.cat(list(taken), _dim(spec.axis))


def _dim(axis: int) -> int:
    """The dimension of a stacked batch that is an axis of a row."""
    return axis if axis < 0 else axis + 2


def _each(function: str) -> Callable[[Any, Sequence[Tensor]], Tensor]:
    """A function of PyTorch, by its name: the table is made before PyTorch is imported."""
    return lambda spec, taken: reduce(getattr(torch, function), taken)


def _average(spec: Any, taken: Sequence[Tensor]) -> Tensor:
    return reduce(torch.add, taken) / len(taken)


def _dot(spec: Any, taken: Sequence[Tensor]) -> Tensor:
    first, second = (tensor.movedim(_dim(spec.axis), -1) for tensor in taken)
    if spec.normalize:
        first, second = (
            x * torch.rsqrt(x.square().sum(-1, keepdim=True).clamp(min=_SMALLEST_SQUARE))
            for x in (first, second)
        )
    if first.dim() == 3:
        return (first * second).sum(-1, keepdim=True)
    return first @ second.transpose(-1, -2)


def _merge_of(spec: Any, taken: Sequence[Tensor]) -> Tensor:
    return MERGES[type(spec.merge)](spec.merge, taken)


MERGES: Mapping[type[schema.Component], Callable[[Any, Sequence[Tensor]], Tensor]] = {
    schema.Concatenate: _concatenate,
    schema.Add: _each("add"),
    schema.Subtract: _each("sub"),
    schema.Multiply: _each("mul"),
    schema.Average: _average,
    schema.Maximum: _each("maximum"),
    schema.Minimum: _each("minimum"),
    schema.Dot: _dot,
    schema.Residual: _each("add"),
    schema.Parallel: _merge_of,
}
