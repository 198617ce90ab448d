"""The forward pass of a trained network over raw rows: preprocessing, layers, last activation."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch

from nnrun.data import FittedPreprocessing
from nnrun.data.dataset import Array, RawInputs
from nnrun.experiment.setup.groups import make_inputs
from nnrun.experiment.setup.networks import network_of
from nnrun.spec import schema
from nnrun.spec.ports import INPUT, OUTPUT
from nnrun.training.device import cpu_setup, threads_for
from nnrun.training.metrics import has_logits
from nnrun.training.problem import BLOCK_ELEMENTS

_ROWS_AT_ONCE = 4096

OutputFunction = Callable[[RawInputs], Array]


def network_outputs(
    spec: schema.ExperimentSpec,
    fitted: FittedPreprocessing,
    weights: Mapping[str, np.ndarray[Any, Any]],
    inputs: RawInputs,
    device: torch.device,
) -> Array:
    """(N, K): probabilities after a sigmoid or softmax (float64), else the output layer's values (float32).

    Args:
        spec: the network's experiment.
        fitted: its preprocessing.
        weights: as its weights file has them.
        inputs: the rows, N of them, as a data set has them.
        device: where to compute.
    """
    return output_function(spec, fitted, weights, device)(inputs)


def output_function(
    spec: schema.ExperimentSpec,
    fitted: FittedPreprocessing,
    weights: Mapping[str, np.ndarray[Any, Any]],
    device: torch.device,
) -> OutputFunction:
    """`network_outputs` for rows that come in several blocks: the network is built once."""
    network = network_of(spec, fitted)
    network.check_weights(weights, "the run")
    parameters = {name: value.to(device) for name, value in network.stack([weights]).items()}
    output = network.output_layers[OUTPUT]
    at_once = max(1, min(_ROWS_AT_ONCE, BLOCK_ELEMENTS // network.widest_activation))

    def outputs(inputs: RawInputs) -> Array:
        rows = make_inputs([fitted], inputs, device)
        blocks = []
        threads = threads_for(at_once * network.multiplications({INPUT: rows.elements_per_row}))
        with torch.inference_mode(), cpu_setup(threads):
            for first in range(0, len(inputs), at_once):
                numbers = np.arange(first, min(first + at_once, len(inputs)))[None]
                (batch,) = rows.batches([0], numbers, numbers.shape[1])
                z_NK = network.forward(parameters, {INPUT: batch})[OUTPUT][0]
                # In float64 the threshold of 0.5 and the largest probability are where metrics have them.
                ranked = z_NK.double() if has_logits(output.activation) else z_NK
                outputs_NK = network.activate(OUTPUT, ranked)
                blocks.append(outputs_NK.cpu().numpy())
        return (
            np.concatenate(blocks)
            if blocks
            else np.empty((0, network.output_layers[OUTPUT].units), np.float32)
        )

    return outputs
