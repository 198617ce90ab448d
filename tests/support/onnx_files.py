"""PyTorch modules as ONNX files, as `nnrun export` writes them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from nnrun.experiment.exporting.onnx_graph import OnnxGraph, model_of
from nnrun.experiment.exporting.onnx_operators import RULES
from nnrun.experiment.exporting.onnx_trace import onnx_type, trace_module


def written(module: torch.nn.Module, rows: Mapping[str, Tensor], rules: Mapping[Any, Any] = RULES) -> bytes:
    """A module that takes a dictionary of rows, and gives one of outputs; the number of rows is open."""
    from onnx import helper

    graph, names = OnnxGraph("within/"), {name: name for name in rows}
    sizes = {name: {0: "rows"} for name in rows}
    trace, found = trace_module(module, graph, rules, rows, names, sizes, dict)
    taken = [
        helper.make_tensor_value_info(name, onnx_type(x.dtype), ["rows", *x.shape[1:]])
        for name, x in rows.items()
    ]
    given = []
    for name, value in found.items():
        graph.give(value.onnx_name, name)
        shape = trace.shape_in_words(value.shape)
        given.append(helper.make_tensor_value_info(name, onnx_type(value.dtype), shape))
    content: bytes = model_of(graph, taken, given).SerializeToString()
    return content
