"""A PyTorch module run once on values without numbers, each operator of which writes what ONNX computes.

`torch.onnx.export` knows every operator, and takes ten times as long.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import count
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils._pytree import tree_leaves, tree_map

from nnrun.experiment.exporting.onnx_graph import OnnxGraph

_OPEN = 1 << 22
"""Open sizes are traced as primes above this."""
_LARGEST_FIXED = 1 << 20
"""What is larger is an open size, or follows from one: half of the rows."""


class NotLoweredError(Exception):
    """What a module does has no line among the operators."""


class Value(Tensor):
    """A tensor of an ONNX graph: a shape and a type, and the name of a value.

    Attributes:
        onnx_name: the value's name.
        written_by: the trace to which it belongs.
    """

    onnx_name: str
    written_by: OnnxTrace

    __torch_function__ = torch._C._disabled_torch_function_impl  # type: ignore[assignment]  # below all of them is `__torch_dispatch__`

    @staticmethod
    def __new__(cls, trace: OnnxTrace, name: str, shape: Sequence[int], dtype: torch.dtype) -> Value:
        """Of this shape, of which open sizes are those of the trace."""
        made = Tensor._make_wrapper_subclass(cls, shape, dtype=dtype)
        made.onnx_name, made.written_by = name, trace
        return made

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:  # type: ignore[override]
        """Write nodes instead of computing."""
        (trace, *_) = (x.written_by for x in tree_leaves((args, kwargs)) if isinstance(x, Value))
        return trace.compute(func, args, kwargs or {})

    def __repr__(self, **_: Any) -> str:  # type: ignore[override]
        """Without numbers, for it has none."""
        return f"Value({self.onnx_name}, {tuple(self.shape)}, {self.dtype})"


Result = Callable[[Any, Sequence[Any], Mapping[str, Any]], Any]
"""Takes an operator and its arguments; gives its result without numbers, a tensor on the device `meta`."""


Write = Callable[..., Any]
"""Takes the trace, the result without numbers, and what the operator takes; writes its nodes, and gives the
name of the value, of several results their names."""


@dataclass(frozen=True)
class Rule:
    """What writes an operator.

    Attributes:
        write: writes its nodes.
        result: what it gives, without numbers. None where PyTorch is asked, which for elementwise operators,
            reductions and joins would import its compiler first.
    """

    write: Write
    result: Result | None = None


@dataclass
class OnnxTrace:
    """A module that is written to a graph.

    Attributes:
        graph: the nodes.
        rules: for each operator of PyTorch what writes it.
        constants: names of tensors that the module holds, by `id`.
        sizes: by the prime that stands for an open size its name, and a value and its axis of that size.
    """

    graph: OnnxGraph
    rules: Mapping[Any, Rule]
    constants: Mapping[int, str] = field(default_factory=dict)
    sizes: dict[int, tuple[str, str, int]] = field(default_factory=dict)

    def open_size(self, name: str, value: str, axis: int) -> int:
        """The prime that stands for the size of a value along an axis."""
        for prime, (known, _, _) in self.sizes.items():
            if known == name:
                return prime
        prime = next(p for p in _primes() if p not in self.sizes)
        self.sizes[prime] = (name, value, axis)
        return prime

    def is_open(self, size: int) -> bool:
        """Whether a size is known only when the program runs."""
        return size > _LARGEST_FIXED

    def compute(self, func: Any, args: Any, kwargs: Any) -> Any:
        """What an operator gives, as values of the graph."""
        rule = self.rules.get(func.overloadpacket)
        if rule is None:
            return self._decomposed(func, args, kwargs)
        shaped = (rule.result or _by_meta)(func, args, kwargs)
        try:
            names = rule.write(self, shaped, *args, **kwargs)
        except TypeError as error:  # an option that the rule does not know
            raise NotLoweredError(f"{func}: {error}") from error
        if isinstance(shaped, Tensor):
            return Value(self, names, shaped.shape, shaped.dtype)
        return [Value(self, n, own.shape, own.dtype) for n, own in zip(names, shaped, strict=True)]

    def _decomposed(self, func: Any, args: Any, kwargs: Any) -> Any:
        """By other operators, as PyTorch has it."""
        if func._schema.is_mutable:
            raise NotLoweredError(str(func))
        found = func.decompose(*args, **kwargs)
        if found is not NotImplemented:
            return found
        from torch._decomp import get_decompositions

        known = get_decompositions([func])
        if func not in known:
            raise NotLoweredError(str(func))
        return known[func](*args, **kwargs)

    # --- for rules -----------------------------------------------------------------------------------------

    def of(self, x: Any, dtype: torch.dtype | None = None) -> str:
        """The name of a value, a tensor or a number, in this type."""
        if isinstance(x, Value):
            return x.onnx_name if dtype in (None, x.dtype) else self.cast(x.onnx_name, dtype)
        tensor = x if isinstance(x, Tensor) else torch.tensor(x, dtype=dtype)
        if any(size and size % prime == 0 for size in tensor.shape for prime in self.sizes):
            raise NotLoweredError("a constant for each row")
        name = self.constants.get(id(x)) if dtype in (None, tensor.dtype) else None
        return self.graph.constant(tensor.to(dtype or tensor.dtype).contiguous().numpy(), name)

    def cast(self, name: str, dtype: torch.dtype) -> str:
        """A value in another type."""
        return self.graph.add("Cast", [name], to=onnx_type(dtype))

    def shape(self, sizes: Sequence[int]) -> str:
        """(D,) int64: sizes, of which some may be open."""
        parts: list[str] = []
        fixed: list[int] = []
        for size in sizes:
            if not self.is_open(size):
                fixed.append(size)
                continue
            parts += [self.graph.ints(fixed)] if fixed else []
            fixed = []
            parts.append(self._size(size))
        parts += [self.graph.ints(fixed)] if fixed or not parts else []
        return parts[0] if len(parts) == 1 else self.graph.add("Concat", parts, axis=0)

    def shape_in_words(self, sizes: Sequence[int]) -> list[int | str | None]:
        """Sizes as a file states them: of open ones the name, None of what follows from such."""
        names = {prime: name for prime, (name, _, _) in self.sizes.items()}
        return [names.get(size) if self.is_open(size) else size for size in sizes]

    def _size(self, size: int) -> str:
        """(1,) int64: an open size, or a product of it."""
        for prime, (_, value, axis) in self.sizes.items():
            if size % prime == 0:
                own = self.graph.add("Shape", [value], start=axis, end=axis + 1)
                times = size // prime
                if times == 1:
                    return own
                factor = self._size(times) if self.is_open(times) else self.graph.ints([times])
                return self.graph.add("Mul", [own, factor])
        raise NotLoweredError("a size that follows from the number of rows")


def onnx_type(dtype: torch.dtype) -> int:
    """ONNX's number of a type."""
    from onnx import helper

    return helper.np_dtype_to_tensor_dtype(np.dtype(str(dtype).removeprefix("torch.")))


def _by_meta(func: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
    return func(*tree_map(_without_numbers, args), **tree_map(_without_numbers, kwargs))


def _without_numbers(x: Any) -> Any:
    return torch.empty(x.shape, dtype=x.dtype, device="meta") if isinstance(x, Tensor) else x


def _primes() -> Iterator[int]:
    for n in count(_OPEN + 1, 2):
        if all(n % d for d in range(3, int(n**0.5) + 1, 2)):
            yield n


def trace_module(
    module: torch.nn.Module,
    graph: OnnxGraph,
    rules: Mapping[Any, Rule],
    examples: Mapping[str, Tensor],
    values: Mapping[str, str],
    open_sizes: Mapping[str, Mapping[int, str]],
    arguments: Callable[[Mapping[str, Tensor]], Any],
) -> tuple[OnnxTrace, Any]:
    """Write what a module computes.

    Args:
        module: without a branch that depends on numbers.
        graph: takes the nodes.
        rules: for each operator of PyTorch what writes it.
        examples: of what the module takes, by name.
        values: the value of the graph for each.
        open_sizes: for each the axes whose size is open, with a name for it.
        arguments: makes the module's argument of these.

    Returns:
        the trace, and what the module gives, of `Value`.

    Raises:
        NotLoweredError: an operator has no line, or what follows needs numbers.
    """
    trace = OnnxTrace(graph, rules, {id(b): n for n, b in module.named_buffers()})
    given = {}
    for name, example in examples.items():
        sizes = list(example.shape)
        for axis, called in open_sizes[name].items():
            sizes[axis] = trace.open_size(called, values[name], axis)
        given[name] = Value(trace, values[name], sizes, example.dtype)
    with torch.no_grad(), torch._C._AutoDispatchBelowAutograd():
        return trace, module(arguments(given))
