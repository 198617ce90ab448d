"""Operators of PyTorch that change types, shapes and places, in ONNX: a part of `onnx_operators.RULES`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from nnrun.experiment.exporting.onnx_trace import NotLoweredError, OnnxTrace, Value, Write

_aten = torch.ops.aten
_INT_MAX = 2**63 - 1


def _as_it_is(trace: OnnxTrace, out: Tensor, x: Any, *_: Any, **__: Any) -> str:
    """In the type of the result."""
    return trace.of(x, out.dtype)


def _reshaped(trace: OnnxTrace, out: Tensor, x: Value, *_: Any, **__: Any) -> str:
    """To the shape of the result, of which one size may follow from the others."""
    if x.dtype != out.dtype:
        raise NotLoweredError("bytes as another type")
    if tuple(x.shape) == tuple(out.shape):
        return trace.of(x)
    sizes = [-1 if trace.is_open(size) else size for size in out.shape]
    named = trace.shape(out.shape) if sizes.count(-1) > 1 else trace.graph.ints(sizes)
    return trace.graph.add("Reshape", [trace.of(x), named])


def _unsqueezed(trace: OnnxTrace, out: Tensor, x: Value, dim: int) -> str:
    return trace.graph.add("Unsqueeze", [trace.of(x), trace.graph.ints([dim])])


def _permuted(trace: OnnxTrace, out: Tensor, x: Value, dims: Sequence[int]) -> str:
    return trace.graph.add("Transpose", [trace.of(x)], perm=[dim % x.dim() for dim in dims])


def _transposed(trace: OnnxTrace, out: Tensor, x: Value, first: int, second: int) -> str:
    dims = list(range(x.dim()))
    dims[first], dims[second] = dims[second], dims[first]
    return _permuted(trace, out, x, dims)


def _turned(trace: OnnxTrace, out: Tensor, x: Value) -> str:
    return _transposed(trace, out, x, -1, -2) if x.dim() > 1 else trace.of(x)


def _expanded(trace: OnnxTrace, out: Tensor, x: Value, *_: Any, **__: Any) -> str:
    """To the shape of the result; an axis that has its size already is left."""
    lacking = out.dim() - x.dim()
    sizes = [
        1 if axis >= lacking and x.shape[axis - lacking] == size else size
        for axis, size in enumerate(out.shape)
    ]
    return trace.graph.add("Expand", [trace.of(x), trace.shape(sizes)])


def _full_of(value: Any) -> Write:
    """The same number everywhere, in the shape of the result."""

    def rule(trace: OnnxTrace, out: Tensor, *_: Any, **__: Any) -> str:
        return trace.graph.add("Expand", [trace.of(value, out.dtype), trace.shape(out.shape)])

    return rule


def _full_like(trace: OnnxTrace, out: Tensor, x: Value, value: Any, **__: Any) -> Any:
    return _full_of(value)(trace, out)


def _new_full(trace: OnnxTrace, out: Tensor, x: Value, size: Any, value: Any, **__: Any) -> Any:
    return _full_of(value)(trace, out)


def _cat(trace: OnnxTrace, out: Tensor, xs: Sequence[Any], dim: int = 0) -> str:
    return trace.graph.add("Concat", [trace.of(x, out.dtype) for x in xs], axis=dim % out.dim())


def _hstack(trace: OnnxTrace, out: Tensor, xs: Sequence[Any]) -> str:
    return _cat(trace, out, xs, 0 if out.dim() == 1 else 1)


def _stack(trace: OnnxTrace, out: Tensor, xs: Sequence[Any], dim: int = 0) -> str:
    axes = trace.graph.ints([dim % out.dim()])
    parts = [trace.graph.add("Unsqueeze", [trace.of(x, out.dtype), axes]) for x in xs]
    return trace.graph.add("Concat", parts, axis=dim % out.dim())


def _pad(
    trace: OnnxTrace, out: Tensor, x: Value, pad: Sequence[int], mode: str = "constant", value: Any = None
) -> str:
    if mode != "constant":
        raise NotLoweredError("padding with the values beside it")
    pairs = [tuple(pad[i : i + 2]) for i in range(0, len(pad), 2)][::-1]
    pairs = [(0, 0)] * (x.dim() - len(pairs)) + pairs
    around = trace.graph.ints([before for before, _ in pairs] + [after for _, after in pairs])
    return trace.graph.add("Pad", [trace.of(x), around, trace.of(value or 0, out.dtype)])


def _pad_constant(trace: OnnxTrace, out: Tensor, x: Value, pad: Sequence[int], value: Any = 0) -> str:
    return _pad(trace, out, x, pad, "constant", value)


def _select(trace: OnnxTrace, out: Tensor, x: Value, dim: int, index: int) -> str:
    if trace.is_open(x.shape[dim]) and index not in (0, -1):
        raise NotLoweredError("one place of as many as there are")
    if trace.is_open(abs(index)):
        raise NotLoweredError("a place that follows from the number of rows")
    return trace.graph.add("Gather", [trace.of(x), trace.graph.scalar(index)], axis=dim % x.dim())


def _slice(
    trace: OnnxTrace,
    out: Tensor,
    x: Value,
    dim: int = 0,
    start: int | None = None,
    end: int | None = None,
    step: int = 1,
) -> str:
    size = x.shape[dim]
    start = start or 0
    end = _INT_MAX if end is None or end >= size else end
    if out.shape[dim] == size:
        return trace.of(x)
    if trace.is_open(size):  # places near the end are counted from there
        start, end = (each - size if size / 2 < each < _INT_MAX else each for each in (start, end))
    if any(trace.is_open(abs(each)) for each in (start, end) if each != _INT_MAX):
        raise NotLoweredError("a place that follows from the number of rows")
    ends = [trace.graph.ints([each]) for each in (start, end, dim % x.dim(), step)]
    return trace.graph.add("Slice", [trace.of(x), *ends])


def _flipped(trace: OnnxTrace, out: Tensor, x: Value, dims: Sequence[int]) -> str:
    many = len(dims)
    ends = [[-1] * many, [-_INT_MAX] * many, [dim % x.dim() for dim in dims], [-1] * many]
    return trace.graph.add("Slice", [trace.of(x), *map(trace.graph.ints, ends)])


def _tiled(trace: OnnxTrace, out: Tensor, x: Value, times: Sequence[int]) -> str:
    wide = x.reshape((1,) * (len(times) - x.dim()) + tuple(x.shape)) if len(times) > x.dim() else x
    return trace.graph.add("Tile", [trace.of(wide), trace.shape(times)])


def _unbound(trace: OnnxTrace, outs: Sequence[Tensor], x: Value, dim: int = 0) -> list[str]:
    if trace.is_open(x.shape[dim]):
        raise NotLoweredError("as many values as there are rows")
    return [_select(trace, out, x, dim, i) for i, out in enumerate(outs)]


def _parts(trace: OnnxTrace, outs: Sequence[Tensor], x: Value, _: Any, dim: int = 0) -> list[str]:
    """Slices one behind the other, of the sizes of the results."""
    found, start = [], 0
    for out in outs:
        found.append(_slice(trace, out, x, dim, start, start + out.shape[dim]))
        start += out.shape[dim]
    return found


def _indexed(trace: OnnxTrace, out: Tensor, x: Any, indices: Sequence[Any]) -> str:
    """By one tensor of places along one axis."""
    given = [(axis, index) for axis, index in enumerate(indices) if index is not None]
    if len(given) != 1 or given[0][1].dtype not in (torch.int64, torch.int32):
        raise NotLoweredError("an index of several tensors")
    ((axis, index),) = given
    return trace.graph.add("Gather", [trace.of(x), trace.of(index)], axis=axis)


def _index_select(trace: OnnxTrace, out: Tensor, x: Any, dim: int, index: Any) -> str:
    return trace.graph.add("Gather", [trace.of(x), trace.of(index)], axis=dim % x.dim())


def _gathered(trace: OnnxTrace, out: Tensor, x: Any, dim: int, index: Any, **_: Any) -> str:
    """Of arrays of one size but along the axis, or `x` is cut to that of the index."""
    for axis, (own, wanted) in enumerate(zip(x.shape, index.shape, strict=True)):
        if axis != dim % x.dim() and own != wanted:
            raise NotLoweredError("places of arrays of other sizes")
    return trace.graph.add("GatherElements", [trace.of(x), trace.of(index)], axis=dim % x.dim())


def _embedded(trace: OnnxTrace, out: Tensor, table: Any, index: Any, *_: Any, **__: Any) -> str:
    return trace.graph.add("Gather", [trace.of(table), trace.of(index)], axis=0)


def _sorted(
    trace: OnnxTrace, outs: Sequence[Tensor], x: Value, dim: int = -1, descending: bool = False
) -> list[str]:
    if trace.is_open(x.shape[dim]):
        raise NotLoweredError("rows in another order")
    many = trace.graph.ints([x.shape[dim]])
    own: dict[str, Any] = {"axis": dim % x.dim(), "largest": int(descending), "sorted": 1}
    return trace.graph.add_many("TopK", [trace.of(x), many], (True, True), **own)


def _named(names: str) -> list[Any]:
    """Operators of PyTorch."""
    return [getattr(_aten, name) for name in names.split()]


_AS_IT_IS = _named("to _to_copy type_as clone detach alias contiguous lift_fresh dropout")
_RESHAPED = _named("view reshape _unsafe_view flatten unflatten squeeze view_as reshape_as")

JOINS: Mapping[Any, Write] = {
    _aten.cat: _cat,
    _aten.concat: _cat,
    _aten.concatenate: _cat,
    _aten.hstack: _hstack,
    _aten.stack: _stack,
}

PARTS: Mapping[Any, Write] = {
    **dict.fromkeys(_AS_IT_IS, _as_it_is),
    **dict.fromkeys(_RESHAPED, _reshaped),
    _aten.unsqueeze: _unsqueezed,
    _aten.permute: _permuted,
    _aten.transpose: _transposed,
    _aten.numpy_T: _turned,
    _aten.t: _turned,
    _aten.mT: _turned,
    _aten.expand: _expanded,
    _aten.expand_as: _expanded,
    _aten.broadcast_to: _expanded,
    _aten.zeros_like: _full_of(0),
    _aten.ones_like: _full_of(1),
    _aten.new_zeros: _full_of(0),
    _aten.new_ones: _full_of(1),
    _aten.full_like: _full_like,
    _aten.new_full: _new_full,
    _aten.pad: _pad,
    _aten.constant_pad_nd: _pad_constant,
    _aten.select: _select,
    _aten.slice: _slice,
    _aten.flip: _flipped,
    _aten.repeat: _tiled,
    _aten.unbind: _unbound,
    _aten.chunk: _parts,
    _aten.split: _parts,
    _aten.split_with_sizes: _parts,
    _aten.index: _indexed,
    _aten.index_select: _index_select,
    _aten.gather: _gathered,
    _aten.embedding: _embedded,
    _aten.sort: _sorted,
}
