"""Loss and metrics of one trained network on given samples, and a baseline for comparison."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np

from nnrun.data import FittedPreprocessing, Samples
from nnrun.data.dataset import Array, Flags
from nnrun.data.preprocess.target_encoding import FittedTargets
from nnrun.experiment.finished.decisions import as_trained, decided_outputs
from nnrun.experiment.predicting.outputs import in_own_units, outputs_function, outputs_of_inputs
from nnrun.experiment.setup.baseline import constant_scores, dtype_of_outputs
from nnrun.experiment.setup.groups import make_problem, present_on_device, unscaled_targets, weights_on_device
from nnrun.experiment.setup.linear_baseline import LinearTask, RowsOfProblem, linear_baseline, why_left_out
from nnrun.interrupts import stopping_between_batches
from nnrun.lazy_torch import torch
from nnrun.model.inputs import Inputs
from nnrun.model.network import Network, network_of
from nnrun.records.run_record import LinearBaselineRecord
from nnrun.spec import schema
from nnrun.spec.graph import graph_of
from nnrun.spec.ports import Port, loss_weights, output_views
from nnrun.spec.shapes import outputs_masked
from nnrun.training.backends.eager import EagerBackend
from nnrun.training.device import cpu_setup, threads_for
from nnrun.training.engine import evaluate
from nnrun.training.losses import build_loss
from nnrun.training.metric_types import Scored as RowsToScore
from nnrun.training.metrics import MetricTotals, build_metrics
from nnrun.training.objective import mean_loss, mean_over_steps
from nnrun.training.problem import TargetRows, TrainingProblem


@dataclass(frozen=True)
class Scored:
    """Name → value: of the network, and of a predictor that never looks at the inputs."""

    scores: dict[str, float]
    baseline: dict[str, float]


@dataclass(frozen=True, eq=False)
class KnownTargets:
    """The targets of some rows as the data set has them, and what each row counts (None: all the same).

    Of several outputs the targets of each, and of those that some rows lack which rows have one.
    """

    targets: Array
    weights: Array | None
    of_outputs: Mapping[Port, Array] = field(default_factory=dict)
    present_of: Mapping[Port, Flags] = field(default_factory=dict)


def known_targets(samples: Samples, rows: Array | None = None) -> KnownTargets:
    """Of the rows at these positions, or of all."""
    chosen = slice(None) if rows is None else rows
    weights = samples.weights
    return KnownTargets(
        samples.targets[chosen],
        None if weights is None else weights[chosen],
        {port: targets[chosen] for port, targets in samples.of_outputs.items()},
        {port: present[chosen] for port, present in samples.present_of.items()},
    )


def score(
    spec: schema.ExperimentSpec,
    fitted: FittedPreprocessing,
    weights: Mapping[str, np.ndarray[Any, Any]],
    samples: Samples,
    known: KnownTargets,
    device: torch.device,
) -> Scored:
    """Measure one network: as it predicts, calibrated and at its threshold where its spec has such.

    Args:
        spec: its experiment.
        fitted: its preprocessing.
        weights: as its weights file has them.
        samples: the rows to measure on.
        known: of its training rows, which the baseline may know.
        device: where to compute.
    """
    measured = MeasuredNetwork.of(spec, fitted, weights, samples, device)
    problem, rows = measured.problem, np.arange(len(samples))
    found = measured.scores()
    scored = {port: head.gather([0], rows[None]) for port, head in problem.heads.items()}
    baseline = constant_scores(problem, _known_rows(fitted, known, device), scored)
    return Scored(found, baseline)


@dataclass(frozen=True, eq=False)
class MeasuredNetwork:
    """A network and the rows that it is measured on, once or again and again with other inputs.

    Attributes:
        spec: its experiment.
        fitted: its preprocessing.
        weights: as its weights file has them.
        samples: the rows.
        device: where to compute.
        network: without its weights.
        problem: it, with its rows, their targets, the loss and the metrics.
        parameters: its weights, stacked, (1, ...).
    """

    spec: schema.ExperimentSpec
    fitted: FittedPreprocessing
    weights: Mapping[str, np.ndarray[Any, Any]]
    samples: Samples
    device: torch.device
    network: Network
    problem: TrainingProblem
    parameters: Mapping[str, torch.Tensor]

    @classmethod
    def of(
        cls,
        spec: schema.ExperimentSpec,
        fitted: FittedPreprocessing,
        weights: Mapping[str, np.ndarray[Any, Any]],
        samples: Samples,
        device: torch.device,
    ) -> MeasuredNetwork:
        """What `score` takes of these."""
        network = network_of(spec, fitted.inputs)
        network.check_weights(weights, "the run")
        problem = make_problem(spec, network, [fitted], samples, device)
        parameters = {name: value.to(device) for name, value in network.stack([weights]).items()}
        return cls(spec, fitted, weights, samples, device, network, problem, parameters)

    def scores(self, inputs: Mapping[Port, Inputs] | None = None) -> dict[str, float]:
        """Loss and metrics, with the rows' own inputs or with others, in the same order."""
        rows, problem = len(self.samples), self.problem
        if inputs is not None:
            problem = replace(problem, inputs=inputs)
        if decided_outputs(self.spec):
            given = self._outputs(problem.inputs, rows)
            outputs = in_own_units(self.fitted, {port: of_output[0] for port, of_output in given.items()})
            network = [(self.fitted, self.weights)]
            return score_ensemble(self.spec, network, self.samples, outputs, self.device)
        work = problem.rows_at_once * self.network.multiplications(problem.elements_of_inputs)
        with cpu_setup(threads_for(work)), stopping_between_batches():
            blocks = problem.blocks([np.arange(rows)], [0])
            found = evaluate(problem, EagerBackend(problem), self.parameters, 1, blocks)
        return found.columns(0)

    @cached_property
    def _outputs(self) -> Callable[[Mapping[Port, Any], int], dict[Port, Array]]:
        """What the network gives, as its calibration and threshold have it."""
        return outputs_of_inputs(self.spec, self.fitted, self.weights, self.device)


def linear_score(
    spec: schema.ExperimentSpec,
    networks: Sequence[tuple[FittedPreprocessing, Array]],
    train: Samples,
    scored: Sequence[Samples],
    device: torch.device,
    *,
    averaged: bool = False,
) -> LinearBaselineRecord | None:
    """What linear models score that are fitted as each of several networks was; None where none is wanted.

    Args:
        spec: their experiment.
        networks: the preprocessing of each, and the training rows that it was fitted on.
        train: the samples that these rows are of.
        scored: for each the rows to measure on.
        device: where rows are prepared.
        averaged: whether the mean of their outputs is scored, all on the same rows, as that of the networks;
            else it is the mean of their scores.
    """
    if spec.linear_baseline is False:
        return None
    first = networks[0][0]
    counts = [len(rows) for _, rows in networks]
    if why := why_left_out(spec, network_of(spec, first.inputs), first, counts):
        return LinearBaselineRecord(left_out=why)
    tasks = []
    for (fitted, rows), samples in zip(networks, scored, strict=True):
        network = network_of(spec, fitted.inputs)
        known = make_problem(spec, network, [fitted], train, device, training=True)
        measured = make_problem(spec, network, [fitted], samples, device)
        positions = np.arange(len(samples))
        tasks.append(LinearTask(RowsOfProblem(known, 0, rows), RowsOfProblem(measured, 0, positions)))
    each = [fitted for fitted, _ in networks]
    plain, samples = as_trained(spec), scored[0]  # no calibration and no threshold was fitted for them

    def score_average(outputs: Sequence[Mapping[Port, Array]]) -> dict[str, float]:
        own = [in_own_units(*of_one) for of_one in zip(each, outputs, strict=True)]
        mean = {port: np.asarray(np.mean([of[port] for of in own], axis=0)) for port in own[0]}
        return _scores_as_one(plain, each, samples, mean, {}, device)

    return linear_baseline(spec, tasks, score_average if averaged else None)


def score_average(
    spec: schema.ExperimentSpec,
    networks: Sequence[tuple[FittedPreprocessing, Mapping[str, np.ndarray[Any, Any]]]],
    samples: Samples,
    known: Sequence[KnownTargets],
    device: torch.device,
) -> tuple[list[Scored], dict[str, float]]:
    """What each of several networks scores, and what they score as one, whose outputs are the mean of theirs.

    Args:
        spec: their experiment.
        networks: the preprocessing and the weights of each.
        samples: the rows to measure on.
        known: of each its training rows, which its baseline may know.
        device: where to compute.
    """
    each, outputs = [], []
    for (fitted, weights), rows in zip(networks, known, strict=True):
        each.append(score(spec, fitted, weights, samples, rows, device))
        predicted = outputs_function(spec, fitted, weights, device)(samples.by_input(fitted.inputs))
        outputs.append(in_own_units(fitted, predicted))
    averaged = {port: np.asarray(np.mean([own[port] for own in outputs], axis=0)) for port in outputs[0]}
    return each, score_ensemble(spec, networks, samples, averaged, device)


def std_of(scores: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """Name → standard deviation (ddof 1) of each score over several networks."""
    with np.errstate(invalid="ignore"):  # a score may be no number
        return {name: float(np.std([own[name] for own in scores], ddof=1)) for name in scores[0]}


def score_ensemble(
    spec: schema.ExperimentSpec,
    networks: Sequence[tuple[FittedPreprocessing, Mapping[str, np.ndarray[Any, Any]]]],
    samples: Samples,
    outputs: Mapping[Port, Array],
    device: torch.device,
    asked: Array | None = None,
) -> dict[str, float]:
    """Loss and metrics of several networks as one, whose outputs are the mean of theirs.

    Where each network scales the targets by its own training rows, the loss of a row is the mean over the
    scales of the networks that predicted it: out of fold it is that of the row's own network, as in the fold.
    A penalty on weights or activities counts in it as the mean of theirs. Masked steps do not count. Of
    several outputs the loss is the total, and names begin with the output's, as of one network.

    Args:
        spec: their experiment.
        networks: the preprocessing and the weights of each.
        samples: the rows that were predicted.
        outputs: the mean (N, K) of each output, numbers in the targets' own units.
        device: where to compute.
        asked: (networks, N) which networks predicted which row; None: all of them every row.
    """
    penalties = [_penalty(spec, fitted, weights, samples, device) for fitted, weights in networks]
    masks, fitted = _masks(spec, *networks[0], samples, device), [each for each, _ in networks]
    return _scores_as_one(spec, fitted, samples, outputs, masks, device, asked, penalties)


def _scores_as_one(
    spec: schema.ExperimentSpec,
    fitted: Sequence[FittedPreprocessing],
    samples: Samples,
    outputs: Mapping[Port, Array],
    masks: Mapping[Port, torch.Tensor],
    device: torch.device,
    asked: Array | None = None,
    penalties: Sequence[float] | None = None,
) -> dict[str, float]:
    """Loss and metrics of the mean outputs of several models, `score_ensemble` says how.

    Args:
        fitted: the preprocessing of each.
        masks: (1, N, T) which steps of masked outputs count.
        penalties: what the regularizers of each add to its loss; None for nothing.
    """
    totals = np.zeros(len(fitted)) if penalties is None else np.array(penalties)
    counts, scores = loss_weights(spec), dict[str, float]()
    for port, view in output_views(spec).items():
        own = samples.output(port)
        losses, metrics = _ensemble_output(
            view, port, fitted, own, outputs[port], masks.get(port), device, asked
        )
        totals += counts[port] * losses
        prefix = f"{port}_" if spec.outputs else ""
        if prefix:
            scores[f"{prefix}loss"] = float(np.mean(losses))
        scores |= {f"{prefix}{name}": value for name, value in metrics.items()}
    return {"loss": float(np.mean(totals)), **scores}


def _ensemble_output(
    view: schema.ExperimentSpec,
    port: Port,
    fitted: Sequence[FittedPreprocessing],
    samples: Samples,
    outputs_NK: Array,
    mask_1NT: torch.Tensor | None,
    device: torch.device,
    asked: Array | None,
) -> tuple[Array, dict[str, float]]:
    """The loss of one output by the scale of each network, and its metrics, of the rows with its target.

    The mean of these losses is the output's. Where not all networks were asked about a row, it counts in the
    loss of each as much as the network's share of its prediction.
    """
    kept = samples.with_target(np.arange(len(samples)))
    targets, outputs_NK = samples.targets[kept], outputs_NK[kept]
    of_steps = _of_steps(view, fitted[0].outputs[port])
    mask_1NT = mask_1NT[:, kept] if mask_1NT is not None and of_steps else None
    loss, losses = build_loss(view.own_loss), []
    counted = None if asked is None else asked[:, kept] * (len(fitted) / asked[:, kept].sum(axis=0))
    row_weights = weights_on_device(None if samples.weights is None else samples.weights[kept], device)
    activation = network_of(view, fitted[0].inputs).output_layers[port].activation
    with torch.inference_mode():
        for number, each in enumerate(fitted):
            own = each.outputs[port]
            scaled = outputs_NK if own.scale is None else own.scale.apply(outputs_NK)
            z, outputs = (t.float()[None].to(device) for t in _before_and_after(scaled, activation))
            true = torch.from_numpy(own.transform(targets))[None].to(device)
            of_rows = loss(z, outputs, true)
            of_rows = mean_over_steps(of_rows, mask_1NT) if of_rows.dim() == 3 else of_rows
            of_rows = of_rows.double()
            if counted is not None:
                of_rows = of_rows * torch.from_numpy(counted[number]).to(device)
            losses.append(float(mean_loss(of_rows, row_weights)[0]))
        first = fitted[0].outputs[port]
        unscaled = unscaled_targets(first, targets, device)
        true = torch.from_numpy(first.transform(targets))[None].to(device)
        z, outputs = (t[None].to(device) for t in _before_and_after(outputs_NK, activation))
        if of_steps:
            z, outputs, true = (values.flatten(1, 2) for values in (z, outputs, true))  # each step is a row
        if mask_1NT is not None:
            z, outputs, true = (values[:, mask_1NT.flatten()] for values in (z, outputs, true))
        scores: dict[str, float] = {}
        decides_as = schema.decision_activation(view.own_loss, activation)
        built = build_metrics(view.metrics, decides_as, schema.quantiles_of(view.own_loss))
        for declared, metric in zip(view.metrics, built, strict=True):
            dtype = dtype_of_outputs(metric, scaled=unscaled is not None)
            totals = MetricTotals([metric], 1)
            compared = true if unscaled is None else unscaled
            before, after = _decided(declared, view.threshold, z, outputs)
            totals.add([0], RowsToScore(before.to(dtype), after.to(dtype), compared))
            scores |= totals.values(0)
    return np.array(losses), scores


def _decided(
    metric: schema.Component, threshold: schema.Threshold | None, z: torch.Tensor, outputs: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """The values before and after the sigmoid as a metric takes them, which itself decides at 0.5.

    Where the spec has another threshold, a metric of decisions gets logits of 1 and -1 that say the same; but
    for one that has a threshold of its own.
    """
    if threshold is None or threshold.at is None:
        return z, outputs
    if not getattr(metric, "of_decisions", False) or getattr(metric, "threshold", schema.HALF) != schema.HALF:
        return z, outputs
    decided = torch.where(outputs > threshold.at, 1.0, -1.0).to(z.dtype)
    return decided, decided.sigmoid()


def _of_steps(view: schema.ExperimentSpec, targets: FittedTargets) -> bool:
    """Whether each row has a class for each of its steps."""
    return targets.kind == schema.ClassSequenceTargets.kind and not isinstance(view.own_loss, schema.Ctc)


def _masks(
    spec: schema.ExperimentSpec,
    fitted: FittedPreprocessing,
    weights: Mapping[str, np.ndarray[Any, Any]],
    samples: Samples,
    device: torch.device,
) -> dict[Port, torch.Tensor]:
    """(1, N, T) which steps of each masked output count. They follow from the rows, in all networks alike."""
    if not any(outputs_masked(graph_of(spec))):
        return {}
    network = network_of(spec, fitted.inputs)
    problem = make_problem(spec, network, [fitted], samples, device)
    parameters = {name: value.to(device) for name, value in network.stack([weights]).items()}
    blocks: dict[Port, list[torch.Tensor]] = {}
    with torch.inference_mode():
        for block in problem.blocks([np.arange(len(samples))], [0]):
            masks: dict[Port, torch.Tensor] = {}
            network.forward(parameters, block.whole, output_masks=masks)
            for port, mask in masks.items():
                blocks.setdefault(port, []).append(mask)
    return {port: torch.cat(each, dim=1) for port, each in blocks.items()}


def _penalty(
    spec: schema.ExperimentSpec,
    fitted: FittedPreprocessing,
    weights: Mapping[str, np.ndarray[Any, Any]],
    samples: Samples,
    device: torch.device,
) -> float:
    """What one network's regularizers add to its loss on some rows."""
    network = network_of(spec, fitted.inputs)
    parameters = {name: value.to(device) for name, value in network.stack([weights]).items()}
    of_weights = network.penalty(parameters)
    total = 0.0 if of_weights is None else float(of_weights[0])
    if not network.penalizes_activity:
        return total
    problem = make_problem(spec, network, [fitted], samples, device)
    for block in problem.blocks([np.arange(len(samples))], [0]):
        terms: list[torch.Tensor] = []
        network.forward(parameters, block.whole, activity_penalties=terms)
        total += sum(float(term[0]) for term in terms) * block.segment.rows_GN.shape[1] / len(samples)
    return total


def _before_and_after(outputs_NK: Array, activation: str) -> tuple[torch.Tensor, torch.Tensor]:
    """Outputs in float64, and the values that the last activation would turn into them."""
    outputs = torch.from_numpy(np.asarray(outputs_NK, np.float64))
    if activation not in ("sigmoid", "softmax"):
        return outputs, outputs
    likely = outputs.clamp(min=torch.finfo(torch.float32).tiny)
    if activation == "softmax":
        return likely.log(), outputs
    unlikely = (1 - outputs).clamp(min=torch.finfo(torch.float64).eps)
    return likely.log() - unlikely.log(), outputs


def _known_rows(
    fitted: FittedPreprocessing, known: KnownTargets, device: torch.device
) -> dict[Port, TargetRows]:
    rows, weights = {}, weights_on_device(known.weights, device)
    for port, each in fitted.outputs.items():
        own_targets = known.of_outputs.get(port, known.targets)
        targets = torch.from_numpy(each.transform(own_targets))[None].to(device)
        own = unscaled_targets(each, own_targets, device)
        present = present_on_device(known.present_of.get(port), device)
        rows[port] = TargetRows(targets, targets if own is None else own, weights, present)
    return rows
