"""The forward pass of trained networks over raw rows, and the outputs of several made into one per row."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch

from nnrun.data import FittedPreprocessing
from nnrun.data.dataset import Array, RawInputs
from nnrun.experiment.setup.groups import make_inputs, network_of
from nnrun.spec import schema
from nnrun.spec.ports import INPUT, OUTPUT
from nnrun.training.device import cpu_setup, threads_for
from nnrun.training.metric_types import has_logits
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

    Of an output with T steps (N, T, K).

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
        return np.concatenate(blocks) if blocks else np.empty((0, *output.output_shape), np.float32)

    return outputs


Combination = Literal["one_network", "ensemble", "out_of_fold", "mean_out_of_fold"]


@dataclass(frozen=True, eq=False)
class Combined:
    """One output per row.

    Attributes:
        rows: (M,) the numbers of the rows, ascending, each once.
        outputs: (M, K) float64, the mean of the outputs of the networks that were asked about the row.
        how: `one_network`; `ensemble`, where every network was asked about every row; `out_of_fold`, where
            each row has the one network that did not train on it; `mean_out_of_fold`, where a row can have
            several such networks (repeats of k-fold, seeds that split again).
    """

    rows: Array
    outputs: Array
    how: Combination


def combine(parts: Sequence[tuple[Array, Array]]) -> Combined:
    """The mean over networks, row by row.

    Args:
        parts: for each network the (n,) numbers of its rows, each once, and its (n, K) outputs.
    """
    rows, place = np.unique(np.concatenate([numbers for numbers, _ in parts]), return_inverse=True)
    outputs = np.concatenate([of_network for _, of_network in parts]).astype(np.float64)
    sums = np.zeros((len(rows), *outputs.shape[1:]))
    np.add.at(sums, place, outputs)
    networks = np.bincount(place, minlength=len(rows))
    how: Combination
    if len(parts) == 1:
        how = "one_network"
    elif (networks == len(parts)).all():
        how = "ensemble"
    else:
        how = "out_of_fold" if (networks == 1).all() else "mean_out_of_fold"
    return Combined(rows, sums / networks.reshape(-1, *[1] * (sums.ndim - 1)), how)


def combination_text(how: Combination, networks: int, kind: str | None) -> str:
    """What follows `each row is predicted`."""
    return {
        "one_network": "by the run's network",
        "ensemble": f"as the mean of the {networks} networks' outputs (an ensemble)",
        "out_of_fold": f"by the network of its own {kind}, which did not train on it",
        "mean_out_of_fold": "as the mean of the outputs of the networks that did not train on it",
    }[how]
