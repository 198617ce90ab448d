"""The outputs of a chain of dense layers by the C++ that trains such chains, without importing PyTorch."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from nnrun.data import FittedPreprocessing
from nnrun.data.dataset import Array, RawInputs, taken_rows
from nnrun.data.preprocess import FittedInputs
from nnrun.data.rows import RowError, SparseRows
from nnrun.model.network import network_of
from nnrun.spec import schema
from nnrun.spec.ports import Port, output_views
from nnrun.training.backends.native_outputs import NativeOutputs
from nnrun.training.metric_types import has_logits
from nnrun.training.problem import BLOCK_ELEMENTS
from nnrun.validation.calibration import calibrator_of


def chain_outputs(
    spec: schema.ExperimentSpec,
    fitted: FittedPreprocessing,
    weights: Mapping[str, np.ndarray[Any, Any]],
    *,
    logits: bool = False,
) -> Callable[[Mapping[Port, RawInputs]], dict[Port, Array]] | None:
    """A function of rows to the outputs, (1, N, K), as `outputs_function` has them on a CPU.

    None where PyTorch is to compute them: of other networks, and where C++ cannot be compiled.
    """
    if len(fitted.inputs) != 1 or len(fitted.outputs) != 1:
        return None
    network = network_of(spec, fitted.inputs)
    ((port, output),) = network.output_layers.items()
    activate = _ACTIVATIONS.get(output.activation)
    if activate is None or len(output.output_shape) != 1:
        return None
    network.check_weights(weights, "the run")
    own = {name: weight.from_file(weights[name]) for name, weight in network.weights.items()}
    native = NativeOutputs.of(spec, own)
    if native is None:
        return None
    ((source, preprocessing),) = fitted.inputs.items()
    calibrator = calibrator_of(output_views(spec)[port].calibrate)
    wide = has_logits(output.activation)
    at_once = max(1, BLOCK_ELEMENTS // math.prod(preprocessing.shape))

    def of_block(rows: RawInputs) -> Array:
        z_NK: Array = _logits(native, preprocessing, rows)
        # In float64 the threshold of 0.5 and the largest probability are where metrics have them.
        z_NK = z_NK.astype(np.float64) if wide else z_NK
        if logits and wide:
            return z_NK
        return activate(z_NK if calibrator is None else calibrator.logits(z_NK))

    def outputs(inputs: Mapping[Port, RawInputs]) -> dict[Port, Array]:
        rows = inputs[source]
        if len(rows) <= at_once:
            return {port: of_block(rows)[None]}
        blocks = []
        for first in range(0, len(rows), at_once):
            block = np.arange(first, min(first + at_once, len(rows)))
            try:
                blocks.append(of_block(taken_rows(rows, block)))
            except RowError as error:
                raise RowError(error.column, first + error.row, error.reason) from None
        return {port: np.concatenate(blocks)[None]}

    return outputs


def _logits(native: NativeOutputs, preprocessing: FittedInputs, rows: RawInputs) -> npt.NDArray[np.float32]:
    made = preprocessing.transform(rows)
    if isinstance(made, SparseRows):
        return native.of_sparse(made.indptr, made.indices, made.values)
    return native.of_dense(made.to_dense())


def _sigmoid(z: Array) -> Array:
    small = np.exp(-np.abs(z))  # never too large
    return np.asarray(np.where(z >= 0, 1.0, small) / (1.0 + small))


def _softmax(z_NK: Array) -> Array:
    shares = np.exp(z_NK - z_NK.max(axis=1, keepdims=True))
    return np.asarray(shares / shares.sum(axis=1, keepdims=True))


_ACTIVATIONS: Mapping[str, Callable[[Array], Array]] = {
    "linear": lambda z: z,
    "sigmoid": _sigmoid,
    "softmax": _softmax,
}
