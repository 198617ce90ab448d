"""What a trained chain of dense layers gives for rows, in the C++ that trains such chains, without PyTorch.

Only NumPy's arrays go in and out: PyTorch takes longer to import than most predictions to compute.
"""

from __future__ import annotations

import ctypes
from collections.abc import Mapping
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt

from nnrun.interrupts import stop_if_asked
from nnrun.limits import cxx_compiler
from nnrun.native.library import NotCompiledError, load_library
from nnrun.spec import schema
from nnrun.spec.graph import graph_of
from nnrun.training.backends import native_job
from nnrun.training.backends.native import (
    EVALUATED_AT_ONCE,
    NativeBackend,
    declare,
    threads_of_call,
    unknown_activation,
    unknown_order,
)

Floats = npt.NDArray[np.float32]

# C++ computes batches of fewer rows in another order. With copies of the last row behind them a row's
# numbers are the same whoever is beside it.
_GROUP = 16

_LAYERS = (schema.Dense, schema.Dropout, schema.Flatten)

_ROWS_A_CALL = 16_384
"""Between two moments at which Python can answer a signal."""


def computes(spec: schema.ExperimentSpec) -> bool:
    """Whether a network is a chain that C++ computes, whatever loss and optimizer it was trained with."""
    graph = graph_of(spec)
    if spec.inputs or spec.outputs or spec.ensemble is not None or unknown_order(graph) is not None:
        return False
    return all(isinstance(layer, _LAYERS) and unknown_activation(layer) is None for layer in graph.layers)


class NativeOutputs:
    """The values before the last activation of one network, row by row.

    Args:
        spec: the network's experiment, of which C++ computes the layers (`computes`).
        weights: its kernels (F, U) and biases (U,), by their names in a weights file.
        library: from `nnrun.native.library`.
    """

    def __init__(
        self, spec: schema.ExperimentSpec, weights: Mapping[str, Floats], library: ctypes.CDLL
    ) -> None:
        declare(library)
        self._measure = library.measure
        nodes = [node for node in graph_of(spec).nodes if not isinstance(node.layer, schema.Flatten)]
        self._layers = (native_job.Layer * len(nodes))()
        self._held: list[Any] = []  # C++ knows addresses alone
        first = next(node for node in nodes if isinstance(node.layer, schema.Dense))
        width = len(weights[f"{first.weights_path}.weight"])
        widths = [width]
        for layer, node in zip(self._layers, nodes, strict=True):
            layer.inputs, layer.kind = width, native_job.KINDS.index(node.layer.kind)
            if isinstance(node.layer, schema.Dense):
                width = node.layer.units
                layer.activation = native_job.ACTIVATIONS.index(node.layer.activation)
                layer.kernel.value = self._address(weights[f"{node.weights_path}.weight"], np.float32)
                if node.layer.use_bias:
                    layer.bias.value = self._address(weights[f"{node.weights_path}.bias"], np.float32)
            layer.units = width
            widths.append(width)
        self._products = sum(a * b for a, b in pairwise(widths))

    @classmethod
    def of(cls, spec: schema.ExperimentSpec, weights: Mapping[str, Floats]) -> NativeOutputs | None:
        """None where C++ does not compute such layers, or cannot be compiled here."""
        if not computes(spec) or cxx_compiler() is None:
            return None
        try:
            return cls(spec, weights, load_library(NativeBackend.library))
        except NotCompiledError:
            return None

    def _address(self, array: npt.NDArray[Any], kind: npt.DTypeLike) -> int:
        """That of the numbers one behind the other, which are held as long as this is."""
        self._held.append(np.ascontiguousarray(array, kind))
        return int(self._held[-1].ctypes.data)

    def of_dense(self, x: Floats) -> Floats:
        """(N, K) of rows (N, F), or (N, ...) of F numbers."""
        numbers = np.ascontiguousarray(x, np.float32)
        return self._of_rows(len(x), inputs=numbers.ctypes.data)

    def of_sparse(
        self, indptr: npt.NDArray[np.int64], indices: npt.NDArray[np.int32], values: Floats | None
    ) -> Floats:
        """(N, K) of rows in compressed form (CSR); `values` is None where all are 1."""
        starts, columns = np.ascontiguousarray(indptr, np.int64), np.ascontiguousarray(indices, np.int32)
        numbers = None if values is None else np.ascontiguousarray(values, np.float32)
        return self._of_rows(
            len(starts) - 1,
            row_starts=starts.ctypes.data,
            columns=columns.ctypes.data,
            values=None if numbers is None else numbers.ctypes.data,
        )

    def _of_rows(self, n_rows: int, **addresses: int | None) -> Floats:
        units = int(self._layers[len(self._layers) - 1].units)
        found = [np.empty((0, units), np.float32)]
        for first in range(0, n_rows, _ROWS_A_CALL):
            stop_if_asked()
            count = min(_ROWS_A_CALL, n_rows - first)
            whole = -(-count // _GROUP) * _GROUP
            rows = first + np.minimum(np.arange(whole, dtype=np.int64), count - 1)
            logits, targets = np.empty((whole, units), np.float32), np.zeros((whole, units), np.float32)
            network, mean = np.zeros(1, np.int64), np.empty(1)
            job = native_job.Job(
                count=whole,
                batch=EVALUATED_AT_ONCE,
                layers=len(self._layers),
                layer=self._layers,
                rows=rows.ctypes.data,
                targets=targets.ctypes.data,  # a loss is measured as well, of targets that do not matter
                loss=native_job.LOSSES.index("mse"),
                logits=logits.ctypes.data,
                **addresses,
            )
            self._measure(job, 1, network.ctypes.data, mean.ctypes.data, self._threads(whole))
            found.append(logits[:count])
        return np.concatenate(found)

    def _threads(self, rows: int) -> int:
        return threads_of_call(rows * self._products)
