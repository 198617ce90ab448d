"""Operators of PyTorch that treat each number alone, in ONNX: a part of `onnx_operators.RULES`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from nnrun.experiment.exporting.onnx_trace import NotLoweredError, OnnxTrace, Value, Write

_aten = torch.ops.aten


def _unary(op: str, **attributes: Any) -> Write:
    """Of one value, in the type of the result."""

    def rule(trace: OnnxTrace, out: Tensor, x: Value) -> str:
        return trace.graph.add(op, [trace.of(x, out.dtype)], **attributes)

    return rule


def _asks(op: str) -> Write:
    """Of one value something that is true or false; nothing is true of integers."""

    def rule(trace: OnnxTrace, out: Tensor, x: Value) -> str:
        return trace.graph.add(op, [trace.of(x if x.is_floating_point() else x.double())])

    return rule


def _binary(op: str, of_truth: str | None = None) -> Write:
    """Of two values, in the type of the result; `of_truth` where that is bool."""

    def rule(trace: OnnxTrace, out: Tensor, x: Any, y: Any, *, alpha: Any = 1) -> str:
        if alpha != 1:
            y = y * alpha
        used = op if of_truth is None or out.dtype != torch.bool else of_truth
        return trace.graph.add(used, [trace.of(x, out.dtype), trace.of(y, out.dtype)])

    return rule


def _compared(op: str, *, opposite: bool = False) -> Write:
    """Two values compared, in the type that holds both."""

    def rule(trace: OnnxTrace, out: Tensor, x: Any, y: Any) -> str:
        dtype = torch.result_type(x, y)
        if dtype == torch.bool and op != "Equal":
            dtype = torch.int64
        found = trace.graph.add(op, [trace.of(x, dtype), trace.of(y, dtype)])
        return trace.graph.add("Not", [found]) if opposite else found

    return rule


def _logical(op: str) -> Write:
    def rule(trace: OnnxTrace, out: Tensor, *xs: Any) -> str:
        return trace.graph.add(op, [trace.of(x, torch.bool) for x in xs])

    return rule


def _bitwise(op: str) -> Write:
    def rule(trace: OnnxTrace, out: Tensor, *xs: Any) -> str:
        if out.dtype != torch.bool:
            raise NotLoweredError("bits of integers")
        return trace.graph.add(op, [trace.of(x, torch.bool) for x in xs])

    return rule


def _divided(trace: OnnxTrace, out: Tensor, x: Any, y: Any, *, rounding_mode: str | None = None) -> str:
    if rounding_mode is not None:
        raise NotLoweredError("division that rounds")
    return trace.graph.add("Div", [trace.of(x, out.dtype), trace.of(y, out.dtype)])


def _rsub(trace: OnnxTrace, out: Tensor, x: Any, y: Any, alpha: Any = 1) -> Any:
    return _binary("Sub")(trace, out, y, x * alpha if alpha != 1 else x)


def _power(trace: OnnxTrace, out: Tensor, x: Any, y: Any) -> str:
    if not isinstance(y, Tensor) and y == 2:
        return _square(trace, out, x)
    return trace.graph.add("Pow", [trace.of(x, out.dtype), trace.of(y, out.dtype)])


def _square(trace: OnnxTrace, out: Tensor, x: Any) -> str:
    own = trace.of(x, out.dtype)
    return trace.graph.add("Mul", [own, own])


def _where(trace: OnnxTrace, out: Tensor, condition: Any, x: Any, y: Any) -> str:
    return trace.graph.add("Where", [trace.of(condition), trace.of(x, out.dtype), trace.of(y, out.dtype)])


def _filled(trace: OnnxTrace, out: Tensor, x: Any, mask: Any, value: Any) -> str:
    return _where(trace, out, mask, value, x)


def _clamp(trace: OnnxTrace, out: Tensor, x: Any, low: Any = None, high: Any = None) -> str:
    if isinstance(low, Tensor) or isinstance(high, Tensor):
        own = trace.of(x, out.dtype)
        for op, bound in (("Max", low), ("Min", high)):
            own = own if bound is None else trace.graph.add(op, [own, trace.of(bound, out.dtype)])
        return own
    bounds = ["" if bound is None else trace.of(bound, out.dtype) for bound in (low, high)]
    return trace.graph.add("Clip", [trace.of(x, out.dtype), *bounds])


def _clamp_max(trace: OnnxTrace, out: Tensor, x: Any, high: Any) -> str:
    return _clamp(trace, out, x, None, high)


def _isfinite(trace: OnnxTrace, out: Tensor, x: Value) -> str:
    own = trace.of(x if x.is_floating_point() else x.double())
    odd = trace.graph.add("Or", [trace.graph.add("IsNaN", [own]), trace.graph.add("IsInf", [own])])
    return trace.graph.add("Not", [odd])


def _log1p(trace: OnnxTrace, out: Tensor, x: Any) -> str:
    return trace.graph.add("Log", [_binary("Add")(trace, out, x, 1)])


def _expm1(trace: OnnxTrace, out: Tensor, x: Any) -> str:
    e = trace.graph.add("Exp", [trace.of(x, out.dtype)])
    return trace.graph.add("Sub", [e, trace.of(1, out.dtype)])


def _rsqrt(trace: OnnxTrace, out: Tensor, x: Any) -> str:
    return trace.graph.add("Reciprocal", [trace.graph.add("Sqrt", [trace.of(x, out.dtype)])])


def _gelu(trace: OnnxTrace, out: Tensor, x: Any, *, approximate: str = "none") -> str:
    return trace.graph.add("Gelu", [trace.of(x)], approximate=approximate)


def _silu(trace: OnnxTrace, out: Tensor, x: Any) -> str:
    own = trace.of(x)
    return trace.graph.add("Mul", [own, trace.graph.add("Sigmoid", [own])])


def _elu(trace: OnnxTrace, out: Tensor, x: Any, alpha: float = 1, scale: float = 1, inner: float = 1) -> str:
    if scale != 1 or inner != 1:
        raise NotLoweredError("a scaled elu")
    return trace.graph.add("Elu", [trace.of(x)], alpha=float(alpha))


def _leaky_relu(trace: OnnxTrace, out: Tensor, x: Any, slope: float = 0.01) -> str:
    return trace.graph.add("LeakyRelu", [trace.of(x)], alpha=float(slope))


def _softplus(trace: OnnxTrace, out: Tensor, x: Any, beta: float = 1, threshold: float = 20) -> str:
    if beta != 1:
        raise NotLoweredError("a scaled softplus")
    return trace.graph.add("Softplus", [trace.of(x)])


def _log_sigmoid(trace: OnnxTrace, out: Tensor, x: Any) -> str:
    """-softplus(-x)."""
    negative = trace.graph.add("Neg", [trace.of(x)])
    return trace.graph.add("Neg", [trace.graph.add("Softplus", [negative])])


def _hardtanh(trace: OnnxTrace, out: Tensor, x: Any, low: float = -1, high: float = 1) -> str:
    return _clamp(trace, out, x, low, high)


def _relu6(trace: OnnxTrace, out: Tensor, x: Any) -> str:
    return _clamp(trace, out, x, 0, 6)


_UNARY = {
    _aten.abs: "Abs",
    _aten.neg: "Neg",
    _aten.exp: "Exp",
    _aten.log: "Log",
    _aten.sqrt: "Sqrt",
    _aten.tanh: "Tanh",
    _aten.sigmoid: "Sigmoid",
    _aten.relu: "Relu",
    _aten.floor: "Floor",
    _aten.ceil: "Ceil",
    _aten.round: "Round",
    _aten.sin: "Sin",
    _aten.cos: "Cos",
    _aten.sign: "Sign",
    _aten.erf: "Erf",
    _aten.reciprocal: "Reciprocal",
    _aten.selu: "Selu",
    _aten.celu: "Celu",
    _aten.mish: "Mish",
}
_COMPARED = {
    _aten.eq: "Equal",
    _aten.lt: "Less",
    _aten.le: "LessOrEqual",
    _aten.gt: "Greater",
    _aten.ge: "GreaterOrEqual",
}

ELEMENTWISE: Mapping[Any, Write] = {
    **{operator: _unary(name) for operator, name in _UNARY.items()},
    **{operator: _compared(name) for operator, name in _COMPARED.items()},
    _aten.ne: _compared("Equal", opposite=True),
    _aten.isnan: _asks("IsNaN"),
    _aten.isinf: _asks("IsInf"),
    _aten.isfinite: _isfinite,
    _aten.add: _binary("Add", "Or"),
    _aten.sub: _binary("Sub"),
    _aten.mul: _binary("Mul", "And"),
    _aten.maximum: _binary("Max"),
    _aten.minimum: _binary("Min"),
    _aten.div: _divided,
    _aten.rsub: _rsub,
    _aten.pow: _power,
    _aten.square: _square,
    _aten.where: _where,
    _aten.masked_fill: _filled,
    _aten.clamp: _clamp,
    _aten.clip: _clamp,
    _aten.clamp_min: _clamp,
    _aten.clamp_max: _clamp_max,
    _aten.logical_not: _logical("Not"),
    _aten.logical_and: _logical("And"),
    _aten.logical_or: _logical("Or"),
    _aten.bitwise_not: _bitwise("Not"),
    _aten.bitwise_and: _bitwise("And"),
    _aten.__and__: _bitwise("And"),
    _aten.bitwise_or: _bitwise("Or"),
    _aten.__or__: _bitwise("Or"),
    _aten.log1p: _log1p,
    _aten.expm1: _expm1,
    _aten.rsqrt: _rsqrt,
    _aten.gelu: _gelu,
    _aten.silu: _silu,
    _aten.elu: _elu,
    _aten.leaky_relu: _leaky_relu,
    _aten.softplus: _softplus,
    _aten.log_sigmoid: _log_sigmoid,
    _aten.hardtanh: _hardtanh,
    _aten.relu6: _relu6,
}
