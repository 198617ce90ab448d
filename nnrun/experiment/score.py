"""Loss and metrics of one trained network on given samples, and a baseline for comparison."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from nnrun.data import FittedPreprocessing, Samples
from nnrun.data.dataset import Array
from nnrun.experiment.baseline import TargetRows, constant_scores, target_rows
from nnrun.experiment.prepare import make_task, own_targets, weights_on_device
from nnrun.interrupts import stopping_between_batches
from nnrun.model.network import build_network
from nnrun.spec import schema
from nnrun.training.device import cpu_setup, threads_for
from nnrun.training.evaluate import evaluate


@dataclass(frozen=True)
class Scored:
    """Name → value: of the network, and of a predictor that never looks at the inputs."""

    scores: dict[str, float]
    baseline: dict[str, float]


@dataclass(frozen=True, eq=False)
class KnownTargets:
    """The targets of some rows as the data set has them, and what each row counts (None: all the same)."""

    targets: Array
    weights: Array | None


def known_targets(samples: Samples, rows: Array | None = None) -> KnownTargets:
    """Of the rows at these positions, or of all."""
    chosen = slice(None) if rows is None else rows
    weights = samples.weights
    return KnownTargets(samples.targets[chosen], None if weights is None else weights[chosen])


def score(
    spec: schema.ExperimentSpec,
    fitted: FittedPreprocessing,
    weights: Mapping[str, np.ndarray[Any, Any]],
    samples: Samples,
    known: KnownTargets,
    device: torch.device,
) -> Scored:
    """Measure one network.

    Args:
        spec: its experiment.
        fitted: its preprocessing.
        weights: as its weights file has them.
        samples: the rows to measure on.
        known: of its training rows, which the baseline may know.
        device: where to compute.
    """
    network = build_network(spec.layers, fitted.width, fitted.tokens)
    network.check_weights(weights, "the run")
    task = make_task(spec, network, [fitted], samples, device)
    parameters = {name: value.to(device) for name, value in network.stack([weights]).items()}
    work = task.rows_at_once * network.multiplications(task.inputs.numbers_per_row)
    with cpu_setup(threads_for(work)), stopping_between_batches():
        phase = evaluate(task, parameters, [0], [np.arange(len(samples))])
    scored = target_rows(task, 0, np.arange(len(samples)))
    return Scored(
        phase.columns(0),
        constant_scores(task, network.last.activation, _known_rows(fitted, known, device), scored),
    )


def _known_rows(fitted: FittedPreprocessing, known: KnownTargets, device: torch.device) -> TargetRows:
    targets = torch.from_numpy(fitted.transform_targets(known.targets))[None].to(device)
    own = own_targets(fitted, known.targets, device)
    weights = weights_on_device(known.weights, device)
    return TargetRows(targets, targets if own is None else own, weights)
