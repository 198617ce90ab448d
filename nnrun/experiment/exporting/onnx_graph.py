"""An ONNX graph while it is written: nodes, none of them twice, and constants."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import onnx

OPSETS: Mapping[str, int] = {"": 20, "ai.onnx.ml": 3, "com.microsoft": 1}
"""Of every program that is written: 20 has `StringConcat`."""
IR_VERSION = 10


@dataclass
class OnnxGraph:
    """Nodes and constants so far.

    A node that was written with the same inputs and attributes is the same value: networks that are averaged
    ask the same of a column.

    Attributes:
        prefix: of the names of all values within; no input or output of the program begins so.
    """

    prefix: str
    nodes: list[onnx.NodeProto] = field(default_factory=list)
    initializers: list[onnx.TensorProto] = field(default_factory=list)
    _values: dict[Any, list[str]] = field(default_factory=dict)

    def add(self, op: str, inputs: Sequence[str], *, domain: str = "", **attributes: Any) -> str:
        """Write a node with one result, whose name is returned."""
        return self.add_many(op, inputs, (True,), domain=domain, **attributes)[0]

    def add_many(
        self, op: str, inputs: Sequence[str], wanted: Sequence[bool], *, domain: str = "", **attributes: Any
    ) -> list[str]:
        """Write a node with several results, of which some are wanted: their names."""
        from onnx import helper

        held = tuple((name, _frozen(value)) for name, value in attributes.items())
        key = (op, domain, tuple(inputs), tuple(wanted), held)
        if key not in self._values:
            names = [self.name(op) + (f"/{i}" if i else "") if want else "" for i, want in enumerate(wanted)]
            self.nodes.append(helper.make_node(op, list(inputs), names, domain=domain, **attributes))
            self._values[key] = [name for name in names if name]
        return self._values[key]

    def give(self, value: str, result: str) -> None:
        """Have a value the name `result` too."""
        from onnx import helper

        self.nodes.append(helper.make_node("Identity", [value], [result]))

    def name(self, what: str) -> str:
        """A name that no other value has, before the next node is written."""
        return f"{self.prefix}{len(self.nodes)}/{what}"

    def constant(self, value: Any, name: str | None = None) -> str:
        """An array, under `name` where no other constant is called so."""
        from onnx import numpy_helper

        array = np.asarray(value)
        content = tuple(array.ravel().tolist()) if array.dtype == object else array.tobytes()
        key = (array.dtype.str, array.shape, content)
        if key not in self._values:
            own = f"{self.prefix}{'constant' if name is None else name}"
            if name is None or any(each.name == own for each in self.initializers):
                own = f"{own}/{len(self.initializers)}"
            self.initializers.append(numpy_helper.from_array(array, own))
            self._values[key] = [own]
        return self._values[key][0]

    def ints(self, values: Sequence[int]) -> str:
        """(L,) int64."""
        return self.constant(np.array(values, np.int64))

    def scalar(self, value: int) -> str:
        """One int64, without an axis."""
        return self.constant(np.array(value, np.int64))

    def strings(self, values: Sequence[str]) -> str:
        """(L,) strings."""
        return self.constant(np.array(values, object))


def prefix_apart(names: Iterable[str]) -> str:
    """A prefix for values within a program, with which none of these names begins."""
    prefix, taken = "within/", list(names)
    while any(name.startswith(prefix) for name in taken):
        prefix += "_"
    return prefix


def model_of(
    graph: OnnxGraph, inputs: Sequence[onnx.ValueInfoProto], outputs: Sequence[onnx.ValueInfoProto]
) -> onnx.ModelProto:
    """The whole program."""
    from onnx import helper

    made = helper.make_graph(graph.nodes, "nnrun", inputs, outputs, graph.initializers)
    used = {"", *(node.domain for node in graph.nodes)}
    opsets = [helper.make_opsetid(domain, version) for domain, version in OPSETS.items() if domain in used]
    return helper.make_model(made, opset_imports=opsets, ir_version=IR_VERSION, producer_name="nnrun")


def _frozen(value: Any) -> Any:
    """What tells an attribute from others; a graph within a node is like no other."""
    if isinstance(value, list | tuple):
        return tuple(value)
    return value if isinstance(value, str | int | float | bytes) else id(value)
