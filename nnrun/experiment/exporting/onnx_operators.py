"""What each operator of PyTorch is in ONNX: the registry of `onnx_trace`, and what results look like.

An operator that is not here is decomposed by PyTorch into others, if it can be.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_map

from nnrun.experiment.exporting.onnx_elementwise import ELEMENTWISE
from nnrun.experiment.exporting.onnx_parts import JOINS, PARTS
from nnrun.experiment.exporting.onnx_sums import REDUCTIONS, SUMS, axes_of
from nnrun.experiment.exporting.onnx_trace import Rule

_aten = torch.ops.aten


def _elementwise(func: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Tensor:
    """Broadcast; the type as for one number."""
    shapes = [x.shape for x in (*args, *kwargs.values()) if isinstance(x, Tensor)]
    dims = max(map(len, shapes))
    full = [(1,) * (dims - len(shape)) + tuple(shape) for shape in shapes]
    return _made([max(s) if 0 not in s else 0 for s in zip(*full, strict=True)], _of_one(func, args, kwargs))


def _joined(func: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Tensor:
    """As long as all together along an axis."""
    small, xs = _of_one(func, args, kwargs), args[0]
    dim = kwargs.get("dim", args[1] if len(args) > 1 else 0) % small.dim()
    if func.overloadpacket is _aten.hstack:
        dim = min(1, small.dim() - 1)
    sizes = list(xs[0].shape)
    if func.overloadpacket is _aten.stack:
        return _made([*sizes[:dim], len(xs), *sizes[dim:]], small)
    sizes[dim] = sum(x.shape[dim] for x in xs)
    return _made(sizes, small)


def _over_axes(func: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Tensor:
    """Without some axes, or with 1 for each."""
    small, x = _of_one(func, args, kwargs), args[0]
    gone = axes_of(x, kwargs.get("dim", args[1] if len(args) > 1 else None))
    kept = [1 if axis in gone else size for axis, size in enumerate(x.shape)]
    return _made(kept if small.dim() == x.dim() else [k for i, k in enumerate(kept) if i not in gone], small)


def _of_one(func: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Tensor:
    """What an operator gives of tensors with one number each."""

    def one(x: Any) -> Any:
        return torch.ones((1,) * x.dim(), dtype=x.dtype) if isinstance(x, Tensor) else x

    found: Tensor = func(*tree_map(one, args), **tree_map(one, kwargs))
    return found


def _made(sizes: Sequence[int], like: Tensor) -> Tensor:
    return torch.empty(tuple(sizes), dtype=like.dtype, device="meta")


RULES: Mapping[Any, Rule] = {
    operator: Rule(write, result)
    for family, result in (
        (ELEMENTWISE, _elementwise),
        (JOINS, _joined),
        (REDUCTIONS, _over_axes),
        (PARTS, None),
        (SUMS, None),
    )
    for operator, write in family.items()
}
