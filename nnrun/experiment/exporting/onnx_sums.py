"""Operators of PyTorch that make a number of many, in ONNX: a part of `onnx_operators.RULES`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from nnrun.experiment.exporting.onnx_trace import NotLoweredError, OnnxTrace, Value, Write

_aten = torch.ops.aten


def axes_of(x: Tensor, dim: Any) -> list[int]:
    """The axes that an operator goes over, from 0: one, several, or without a `dim` all."""
    dims = [dim] if isinstance(dim, int) else list(dim or range(x.dim()))
    return [each % x.dim() for each in dims]


def _reduced(op: str) -> Write:
    """Over some axes, or all."""

    def rule(
        trace: OnnxTrace, out: Tensor, x: Value, dim: Any = None, keepdim: bool = False, *, dtype: Any = None
    ) -> str:
        axes = trace.graph.ints(axes_of(x, dim))
        return trace.graph.add(op, [trace.of(x, out.dtype), axes], keepdims=int(keepdim))

    return rule


def _whether(op: str) -> Write:
    """Whether something holds along an axis: of 0 and 1 the largest or the smallest."""

    def rule(trace: OnnxTrace, out: Tensor, x: Value, dim: Any = None, keepdim: bool = False) -> str:
        truth = x.to(torch.bool).to(torch.int32)
        own = torch.empty(out.shape, dtype=torch.int32, device="meta")
        return trace.cast(_reduced(op)(trace, own, truth, dim, keepdim), torch.bool)

    return rule


def _place_of(op: str) -> Write:
    def rule(trace: OnnxTrace, out: Tensor, x: Value, dim: int | None = None, keepdim: bool = False) -> str:
        if dim is None:
            raise NotLoweredError("a place in all rows")
        return trace.graph.add(op, [trace.of(x)], axis=dim % x.dim(), keepdims=int(keepdim))

    return rule


def _largest(
    trace: OnnxTrace, outs: Sequence[Tensor], x: Value, dim: int, keepdim: bool = False
) -> list[str]:
    return [
        _reduced("ReduceMax")(trace, outs[0], x, dim, keepdim),
        _place_of("ArgMax")(trace, outs[1], x, dim, keepdim),
    ]


def _summed_so_far(trace: OnnxTrace, out: Tensor, x: Value, dim: int, *, dtype: Any = None) -> str:
    return trace.graph.add("CumSum", [trace.of(x, out.dtype), trace.graph.scalar(dim % x.dim())])


def _softmax(op: str) -> Write:
    def rule(trace: OnnxTrace, out: Tensor, x: Value, dim: int, dtype: Any = None, **_: Any) -> str:
        return trace.graph.add(op, [trace.of(x, out.dtype)], axis=dim % x.dim())

    return rule


def _variance_and_mean(
    trace: OnnxTrace, outs: Sequence[Tensor], x: Value, dim: Any = None, unbiased: bool = True,
    keepdim: bool = False, *, correction: Any = 1,
) -> list[str]:  # fmt: skip
    if unbiased and correction != 0:
        raise NotLoweredError("a variance that is corrected")
    kept = x.mean(dim, keepdim=True)
    variance = (x - kept).square().mean(dim, keepdim=keepdim)
    return [trace.of(variance), trace.of(kept if keepdim else x.mean(dim))]


def _batch_norm(
    trace: OnnxTrace, out: Tensor, x: Value, scale: Any, shift: Any, mean: Any, variance: Any, training: bool,
    momentum: float, epsilon: float, *_: Any,
) -> str:  # fmt: skip
    if training or mean is None:
        raise NotLoweredError("statistics of the rows")
    scale = torch.ones_like(mean) if scale is None else scale
    shift = torch.zeros_like(mean) if shift is None else shift
    taken = [trace.of(each) for each in (x, scale, shift, mean, variance)]
    return trace.graph.add("BatchNormalization", taken, epsilon=epsilon)


def _layer_norm(
    trace: OnnxTrace, out: Tensor, x: Value, shape: Sequence[int], scale: Any = None, shift: Any = None,
    epsilon: float = 1e-5, *_: Any,
) -> str:  # fmt: skip
    scale = torch.ones(list(shape)) if scale is None else scale
    taken = [trace.of(each) for each in (x, scale, shift) if each is not None]
    return trace.graph.add("LayerNormalization", taken, axis=-len(shape), epsilon=epsilon)


def _product(trace: OnnxTrace, out: Tensor, x: Any, y: Any) -> str:
    return trace.graph.add("MatMul", [trace.of(x), trace.of(y)])


def _product_and(
    trace: OnnxTrace, out: Tensor, added: Any, x: Any, y: Any, *, beta: Any = 1, alpha: Any = 1
) -> str:
    if (beta, alpha) != (1, 1):
        raise NotLoweredError("a scaled product")
    return trace.graph.add("Add", [_product(trace, out, x, y), trace.of(added)])


def _convolution(
    trace: OnnxTrace, out: Tensor, x: Any, kernel: Any, bias: Any = None, stride: Any = 1, padding: Any = 0,
    dilation: Any = 1, groups: int = 1,
) -> str:  # fmt: skip
    if isinstance(padding, str):
        raise NotLoweredError("padding by name")
    return _any_convolution(trace, out, x, kernel, bias, stride, padding, dilation, False, 0, groups)


def _any_convolution(
    trace: OnnxTrace, out: Tensor, x: Any, kernel: Any, bias: Any, stride: Any, padding: Any, dilation: Any,
    transposed: bool, output_padding: Any, groups: int, *_: Any,
) -> str:  # fmt: skip
    axes = kernel.dim() - 2
    around = _each(padding, axes)
    more: dict[str, Any] = {"output_padding": _each(output_padding, axes)} if transposed else {}
    return trace.graph.add(
        "ConvTranspose" if transposed else "Conv",
        [trace.of(each) for each in (x, kernel, bias) if each is not None],
        strides=_each(stride, axes),
        pads=[*around, *around],
        dilations=_each(dilation, axes),
        group=groups,
        **more,
    )


def _max_pool(
    trace: OnnxTrace, out: Tensor, x: Any, kernel: Any, stride: Any = None, padding: Any = 0,
    dilation: Any = 1, ceil_mode: bool = False,
) -> str:  # fmt: skip
    options = {**_windows(kernel, stride, padding), "dilations": _each(dilation, 2)}
    return trace.graph.add("MaxPool", [trace.of(x)], **options, ceil_mode=int(ceil_mode))


def _average_pool(
    trace: OnnxTrace, out: Tensor, x: Any, kernel: Any, stride: Any = None, padding: Any = 0,
    ceil_mode: bool = False, count_include_pad: bool = True, divisor_override: Any = None,
) -> str:  # fmt: skip
    if divisor_override is not None or ceil_mode:
        raise NotLoweredError("an average that is divided otherwise")
    options = _windows(kernel, stride, padding)
    return trace.graph.add("AveragePool", [trace.of(x)], **options, count_include_pad=int(count_include_pad))


def _windows(kernel: Any, stride: Any, padding: Any) -> dict[str, Any]:
    """Which windows of images are pooled: without a stride one beside the other."""
    size, around = _each(kernel, 2), _each(padding, 2)
    return {
        "kernel_shape": size,
        "strides": _each(stride, 2) if stride else size,
        "pads": [*around, *around],
    }


def _each(value: Any, axes: int) -> list[int]:
    """One number for each axis."""
    given = [value] if isinstance(value, int) else list(value)
    return given * axes if len(given) == 1 else given


REDUCTIONS: Mapping[Any, Write] = {
    _aten.sum: _reduced("ReduceSum"),
    _aten.mean: _reduced("ReduceMean"),
    _aten.amax: _reduced("ReduceMax"),
    _aten.amin: _reduced("ReduceMin"),
    _aten.logsumexp: _reduced("ReduceLogSumExp"),
    _aten.any: _whether("ReduceMax"),
    _aten.all: _whether("ReduceMin"),
    _aten.argmax: _place_of("ArgMax"),
    _aten.argmin: _place_of("ArgMin"),
}

SUMS: Mapping[Any, Write] = {
    _aten.max: _largest,
    _aten.cumsum: _summed_so_far,
    _aten.softmax: _softmax("Softmax"),
    _aten._softmax: _softmax("Softmax"),
    _aten.log_softmax: _softmax("LogSoftmax"),
    _aten._log_softmax: _softmax("LogSoftmax"),
    _aten.var_mean: _variance_and_mean,
    _aten.matmul: _product,
    _aten.bmm: _product,
    _aten.mm: _product,
    _aten.baddbmm: _product_and,
    _aten.addmm: _product_and,
    _aten.batch_norm: _batch_norm,
    _aten.layer_norm: _layer_norm,
    _aten.conv1d: _convolution,
    _aten.conv2d: _convolution,
    _aten.convolution: _any_convolution,
    _aten.max_pool2d: _max_pool,
    _aten.avg_pool2d: _average_pool,
}
