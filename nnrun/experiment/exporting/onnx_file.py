"""The ONNX file that `nnrun export` writes, and how it is asked again."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from nnrun.data.dataset import Array, RawInputs
from nnrun.data.table import Table
from nnrun.experiment.exporting.export_content import ROWS, Export, quiet, told_of_layers
from nnrun.experiment.exporting.onnx_graph import OPSETS, OnnxGraph, model_of, prefix_apart
from nnrun.experiment.exporting.onnx_operators import RULES
from nnrun.experiment.exporting.onnx_trace import NotLoweredError, onnx_type, trace_module
from nnrun.extras import require
from nnrun.spec.ports import Port

_EXTRA_PACKAGES = ("onnx", "onnxscript", "onnxruntime")


def require_onnx() -> None:
    """Raise UsageError unless the packages of the extra are here."""
    require("onnx", dict(zip(_EXTRA_PACKAGES, _EXTRA_PACKAGES, strict=True)), "--format onnx")


def write_onnx(export: Export, path: Path) -> None:
    """Fill a file."""
    import onnx

    try:
        model = _written_onnx(export)
    except NotLoweredError:
        model = _onnx_by_torch(export)
    onnx.helper.set_model_props(model, dict(export.metadata))
    onnx.save_model(model, path)


def _onnx_inputs(export: Export) -> list[Any]:
    """What an ONNX file says of what it takes."""
    from onnx import TensorProto, helper

    if export.columns is not None:
        number = TensorProto.DOUBLE if export.float64 else TensorProto.FLOAT
        kinds = {name: number if held else TensorProto.STRING for name, held in export.columns.names.items()}
        return [helper.make_tensor_value_info(name, kind, [ROWS, 1]) for name, kind in kinds.items()]
    return [
        helper.make_tensor_value_info(name, onnx_type(each.dtype), [ROWS, *each.row_shape])
        for name, each in export.inputs.items()
    ]


def _written_onnx(export: Export) -> Any:
    """The program, operator by operator.

    Raises:
        NotLoweredError: a layer needs one that is not known here.
    """
    from onnx import helper

    inputs = _onnx_inputs(export)
    taken = [each.name for each in inputs]
    graph = OnnxGraph(prefix_apart([*taken, *export.output_names.values()]))
    values = dict(zip(taken, taken, strict=True)) if export.columns is None else export.columns.write(graph)
    with told_of_layers(export.spec, "write as ONNX"):
        trace, found = trace_module(
            export.module(), graph, RULES, export.examples, values, export.open_sizes, export.arguments
        )
    given = export.by_output(found)
    outputs = []
    for port, name in export.output_names.items():
        value = given[port]
        graph.give(value.onnx_name, name)
        shape = trace.shape_in_words(value.shape)
        outputs.append(helper.make_tensor_value_info(name, onnx_type(value.dtype), shape))
    return model_of(graph, inputs, outputs)


def _onnx_by_torch(export: Export) -> Any:
    """The program as PyTorch's exporter writes it, which knows all operators of PyTorch, and takes long."""
    import onnx

    traced = export.program()
    with quiet(), told_of_layers(export.spec, "write as ONNX"):
        program = torch.onnx.export(
            traced,
            dynamo=True,
            dynamic_shapes=export.dynamic_shapes(),  # the file has the names of open sizes from here
            opset_version=OPSETS[""],
            verbose=False,
        )
    assert program is not None, "without a file to write it is given back"
    outputs = list(export.output_names.values())
    if export.columns is None:
        _name_ends(program.model.graph, list(export.inputs), outputs)
        return program.model_proto
    _name_ends(program.model.graph, list(export.examples), outputs, export.columns.names)
    model = program.model_proto
    export.columns.put_before(model)
    del model.graph.input[:]
    model.graph.input.extend(_onnx_inputs(export))
    for domain in OPSETS.keys() - {each.domain for each in model.opset_import}:
        model.opset_import.append(onnx.helper.make_opsetid(domain, OPSETS[domain]))
    return model


def _name_ends(
    graph: Any, inputs: Sequence[str], outputs: Sequence[str], reserved: Iterable[str] = ()
) -> None:
    """Give the inputs and outputs of an ONNX graph (`onnx_ir.Graph`) their names.

    All values in a graph share one name space: what is called so within, or by a reserved name, gets another
    name.
    """
    ends = dict(zip([*graph.inputs, *graph.outputs], [*inputs, *outputs], strict=True))
    within = [value for node in graph.all_nodes() for value in node.outputs if value not in ends]
    within += list(graph.initializers.values())
    kept = {*ends.values(), *reserved}
    taken = {value.name for value in within} | kept
    for value in within:
        if value.name in kept:
            name = value.name
            while name in taken:
                name += "_"
            value.name = name
            taken.add(name)
    for value, name in ends.items():
        value.name = name


def ask_onnx(export: Export, path: Path, inputs: Mapping[Port, RawInputs]) -> dict[Port, Array]:
    """What the network in a file says of rows of a data set, by its outputs."""
    import onnxruntime

    session = onnxruntime.InferenceSession(path.read_bytes(), providers=["CPUExecutionProvider"])
    taken = _onnx_rows(export, inputs)
    found = session.run(list(export.output_names.values()), taken)
    return dict(zip(export.output_names, map(np.asarray, found), strict=True))


def _onnx_rows(export: Export, inputs: Mapping[Port, RawInputs]) -> dict[str, Array]:
    """Rows of a data set as the inputs of a program take them."""
    if export.columns is None:
        return {name: values.numpy() for name, values in export.rows(inputs).items()}
    rows: dict[str, Array] = {}
    for port in inputs:
        table = inputs[port]
        assert isinstance(table, Table), "a table has columns"
        rows |= export.columns.rows(table, export.float64)
    return rows
