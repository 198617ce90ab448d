"""The forward pass of trained networks over raw rows, and the outputs of several made into one per row."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, Literal

import numpy as np

from nnrun.data import FittedPreprocessing
from nnrun.data.dataset import Array, RawInputs
from nnrun.experiment.predicting.chain_outputs import chain_outputs
from nnrun.experiment.setup.groups import make_inputs
from nnrun.experiment.setup.rows_on_demand import RowsOnDemand
from nnrun.lazy_torch import torch
from nnrun.model.inputs import Batch, Inputs
from nnrun.model.network import network_of
from nnrun.output_transforms.target_scale import TargetScale
from nnrun.spec import schema
from nnrun.spec.ports import Port, output_views
from nnrun.training.device import cpu_setup, threads_for
from nnrun.training.metric_types import has_logits
from nnrun.training.problem import BLOCK_ELEMENTS
from nnrun.validation.calibration import calibrator_of

_ROWS_AT_ONCE = 4096
# A matrix product takes the rows of a batch in groups, and computes a last group that is not full by another
# kernel, which rounds otherwise. In full groups a row's outputs are the same whoever is beside it.
_FULL_GROUP = 16
_SMALL_PRODUCT = 400  # multiplications: of fewer PyTorch makes a loop of its own
_CHEAP = 1 << 26  # multiplications: what the copies of a row that fill a group may cost

OutputsFunction = Callable[[Mapping[Port, RawInputs]], dict[Port, Array]]
"""The rows of each input → the outputs of each output, (N, K)."""


def network_outputs(
    spec: schema.ExperimentSpec,
    fitted: FittedPreprocessing,
    weights: Mapping[str, np.ndarray[Any, Any]],
    inputs: Mapping[Port, RawInputs],
    device: torch.device | None,
) -> Array:
    """(N, K): probabilities after a sigmoid or softmax (float64), else the output layer's values (float32).

    Of an output with T steps (N, T, K). Where the spec has a calibration whose parameters are known,
    probabilities are calibrated.

    Args:
        spec: the network's experiment.
        fitted: its preprocessing.
        weights: as its weights file has them.
        inputs: the rows, N of them, as a data set has them.
        device: where to compute; None for the CPU.
    """
    (output,) = fitted.outputs
    return outputs_function(spec, fitted, weights, device)(inputs)[output]


def outputs_function(
    spec: schema.ExperimentSpec,
    fitted: FittedPreprocessing,
    weights: Mapping[str, np.ndarray[Any, Any]],
    device: torch.device | None,
    *,
    logits: bool = False,
) -> OutputsFunction:
    """`network_outputs` of each output, for rows that come in several blocks: the network is built once.

    With `logits` what a sigmoid or softmax takes (float64) in place of what it gives, not calibrated.
    """
    of_all = _function(spec, fitted, weights, device, logits=logits)
    return lambda inputs: {port: values[0] for port, values in of_all(inputs).items()}


def members_function(
    spec: schema.ExperimentSpec,
    fitted: FittedPreprocessing,
    weights: Mapping[str, np.ndarray[Any, Any]],
    device: torch.device | None,
) -> OutputsFunction:
    """The same for each member of a network that is an ensemble, (M, N, K); of any other (1, N, K)."""
    return _function(spec, fitted, weights, device, of_members=True)


def _function(
    spec: schema.ExperimentSpec,
    fitted: FittedPreprocessing,
    weights: Mapping[str, np.ndarray[Any, Any]],
    device: torch.device | None,
    *,
    of_members: bool = False,
    logits: bool = False,
) -> OutputsFunction:
    """(M, N, K) of each member, or (1, N, K) of all as one."""
    if device is None or device.type == "cpu":
        chain = chain_outputs(spec, fitted, weights, logits=logits)
        if chain is not None:
            return chain
        device = torch.device("cpu")
    of_inputs = outputs_of_inputs(spec, fitted, weights, device, of_members=of_members, logits=logits)
    return lambda rows: of_inputs(make_inputs([fitted], rows, device), len(next(iter(rows.values()))))


def outputs_of_inputs(
    spec: schema.ExperimentSpec,
    fitted: FittedPreprocessing,
    weights: Mapping[str, np.ndarray[Any, Any]],
    device: torch.device,
    *,
    of_members: bool = False,
    logits: bool = False,
) -> Callable[[Mapping[Port, Inputs | RowsOnDemand], int], dict[Port, Array]]:
    """A function of so many rows that are preprocessed already, to each output, (1, N, K).

    With `of_members` of each member of a network that is an ensemble, (M, N, K). Else, and with `logits`, as
    `outputs_function`.
    """
    network = network_of(spec, fitted.inputs)
    network.check_weights(weights, "the run")
    parameters = {name: value.to(device) for name, value in network.stack([weights]).items()}
    scales = {port: _as_scales(targets.scale) for port, targets in fitted.outputs.items()}
    calibrators = {port: calibrator_of(view.calibrate) for port, view in output_views(spec).items()}
    threads_of = cache(threads_for)  # who predicts small batches would read the system's limits for each
    at_once = max(1, min(_ROWS_AT_ONCE, BLOCK_ELEMENTS // network.widest_activation))
    at_once -= at_once % _FULL_GROUP if at_once > _FULL_GROUP else 0
    smallest = min((n for layer in network.layers if (n := layer.multiplications)), default=_SMALL_PRODUCT)
    fewest = _rounded_up(-(-_SMALL_PRODUCT // smallest), _FULL_GROUP)

    def outputs(made: Mapping[Port, Inputs | RowsOnDemand], rows_of_all: int) -> dict[Port, Array]:
        blocks: dict[Port, list[Array]] = {port: [] for port in network.outputs}
        elements = {port: rows.elements_per_row for port, rows in made.items()}
        multiplications = network.multiplications(elements)
        threads = threads_of(at_once * multiplications)
        group, least = (_FULL_GROUP, fewest) if fewest * multiplications <= _CHEAP else (1, 1)
        with torch.inference_mode(), cpu_setup(threads):
            for first in range(0, rows_of_all, at_once):
                n_rows = min(at_once, rows_of_all - first)
                places = np.arange(max(least, _rounded_up(n_rows, group)))  # the last row is repeated
                numbers = first + np.minimum(places, n_rows - 1)[None]
                batches: dict[Port, Batch] = {}
                for port, rows in made.items():
                    (batches[port],) = rows.batches([0], numbers, numbers.shape[1])
                for port, z in network.forward(parameters, batches).items():
                    one_by_one = of_members and network.number_of_members > 1
                    z_MNK = z[0] if one_by_one else network.combined(port, z, scales[port])
                    # In float64 the threshold of 0.5 and the largest probability are where metrics have them.
                    wide = has_logits(network.output_layers[port].activation)
                    ranked = z_MNK.double() if wide else z_MNK
                    if not (logits and wide):
                        if (calibrator := calibrators.get(port)) is not None:
                            ranked = calibrator.logits(ranked)
                        ranked = network.activate(port, ranked)
                    blocks[port].append(ranked[:, :n_rows].cpu().numpy())
        empty = {
            port: np.empty((network.number_of_members, 0, *layer.output_shape), np.float32)
            for port, layer in network.output_layers.items()
        }
        return {port: np.concatenate(parts or [empty[port]], 1) for port, parts in blocks.items()}

    return outputs


def _rounded_up(number: int, step: int) -> int:
    """To a multiple of a step."""
    return -(-number // step) * step


def number_of_members(spec: schema.ExperimentSpec) -> int:
    """Of each network of a spec: those of an ensemble, or 1."""
    return 1 if spec.ensemble is None else spec.ensemble.members


def _as_scales(scale: TargetScale | None) -> tuple[TargetScale, ...] | None:
    return None if scale is None else (scale,)


def in_own_units(fitted: FittedPreprocessing, outputs: Mapping[Port, Array]) -> dict[Port, Array]:
    """The outputs of a network in float64, numbers in the units of their own targets.

    Args:
        fitted: the network's preprocessing, perhaps of some of its outputs only, which are then given.
        outputs: what the network gives by each output, (N, K).
    """
    return {port: targets.in_own_units(outputs[port]) for port, targets in fitted.outputs.items()}


def finite_rows(outputs: Array) -> Array:
    """(N,) whether all that a network gives for a row, (N, ...), are finite numbers."""
    return np.asarray(np.isfinite(outputs).all(axis=tuple(range(1, outputs.ndim))))


@dataclass(frozen=True, eq=False)
class Average:
    """What M networks give for N rows, by one output.

    Attributes:
        mean: (N, K), of T steps (N, T, K), float64.
        spread: the standard deviation over the networks and their members (ddof 1), of the same shape; None
            where it is not asked for.
        region: (N, ...) the intervals, or the sets of classes; likewise.
    """

    mean: Array
    spread: Array | None = None
    region: Array | None = None

    def rows(self, chosen: Array) -> Average:
        """That of some rows."""
        spread, region = (None if of is None else of[chosen] for of in (self.spread, self.region))
        return Average(self.mean[chosen], spread, region)


def average(each: Sequence[Array], members: Sequence[Array] | None = None) -> Average:
    """The mean of what each of M networks gives, and how far they, or their members, are apart.

    Args:
        each: (N, K) of each network.
        members: (N, K) of each member of each network, two or more, where their spread is asked for.
    """
    mean = np.asarray(np.mean(each, axis=0))
    if members is None:
        return Average(mean)
    with np.errstate(invalid="ignore"):  # outputs that are not finite are refused row by row
        return Average(mean, np.asarray(np.std(members, axis=0, ddof=1)))


Combination = Literal["one_network", "ensemble", "out_of_fold", "mean_out_of_fold"]


@dataclass(frozen=True, eq=False)
class Combined:
    """One output per row.

    Attributes:
        rows: (M,) the numbers of the rows, ascending, each once.
        outputs: (M, K) float64, the mean of the outputs of the networks that were asked about the row.
        networks: (M,) how many these are.
        how: `one_network`; `ensemble`, where every network was asked about every row; `out_of_fold`, where
            each row has the one network that did not train on it; `mean_out_of_fold`, where a row can have
            several such networks (repeats of k-fold, seeds that split again).
    """

    rows: Array
    outputs: Array
    networks: Array
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
    return Combined(rows, sums / networks.reshape(-1, *[1] * (sums.ndim - 1)), networks, how)


def spread_over_networks(parts: Sequence[tuple[Array, Array]], combined: Combined) -> Array:
    """(M, K): the standard deviation (ddof 1) over the networks that were asked about a row, two or more.

    Args:
        parts: as `combine` took them.
        combined: what it gave.
    """
    squares = np.zeros_like(combined.outputs)
    for numbers, outputs in parts:
        place = np.searchsorted(combined.rows, numbers)
        squares[place] += (outputs - combined.outputs[place]) ** 2
    return np.asarray(np.sqrt(squares / (combined.networks - 1).reshape(-1, *[1] * (squares.ndim - 1))))


def combination_text(how: Combination, networks: int, kind: str | None) -> str:
    """What follows `each row is predicted`."""
    return {
        "one_network": "by the run's network",
        "ensemble": f"as the mean of the {networks} networks' outputs (an ensemble)",
        "out_of_fold": f"by the network of its own {kind}, which did not train on it",
        "mean_out_of_fold": "as the mean of the outputs of the networks that did not train on it",
    }[how]
