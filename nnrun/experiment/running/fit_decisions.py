"""Calibrations and thresholds, fitted when a run's training ends.

They are fitted on rows that a network did not train on: of folds each row by the network of its own fold,
else the validation rows. All networks of a run, its folds or seeds, share one calibration and one threshold,
fitted on what all of them say about such rows. A calibration applies to each network, before their mean is
taken, since single networks are what it was fitted on; the threshold applies to the mean.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import get_args

import numpy as np

from nnrun.data.dataset import Array, split_values
from nnrun.experiment.evaluating.error_analysis import CALIBRATION_BINS, calibrate, class_labels
from nnrun.experiment.finished.decision_text import given_decision
from nnrun.experiment.finished.decisions import (
    FittedDecisions,
    decided_outputs,
    folder_of,
    method_in_words,
    open_outputs,
)
from nnrun.experiment.predicting.outputs import logits_function
from nnrun.experiment.running.recorder import ActiveRun
from nnrun.interrupts import stopping_between_batches
from nnrun.records import WeightsChoice
from nnrun.records.run_record import DecisionRecord
from nnrun.spec import schema
from nnrun.spec.ports import Port
from nnrun.spec.random_streams import derive_seed
from nnrun.validation.calibration import (
    HALF,
    Decision,
    Floats,
    Labels,
    cross_fit,
    decision_score,
    fit_decision,
    log_loss,
    log_probabilities,
    positive_probability,
)

PARTS = 5
"""In so many parts rows are cross-fitted that are not those of several folds."""


def fit_decisions(run: ActiveRun) -> None:
    """Fit what the spec leaves open, write it into the run's folder, and tell its record what it is worth.

    Where other weights are kept beside those that training ended with, it is fitted for these as well.
    """
    job, record = run.job, run.record
    open_ = open_outputs(job.spec)
    given = {port: view for port, view in decided_outputs(job.spec).items() if port not in open_}
    if given and not record.decisions:
        named = bool(job.spec.outputs)
        record.decisions = [given_decision(p if named else None, view) for p, view in given.items()]
    if not open_ or record.status == "diverged":
        return
    fitted: list[FittedDecisions] = []
    choices: tuple[WeightsChoice, ...] = get_args(WeightsChoice)
    for which in choices:
        epochs, held_out = _held_out(run, which)
        if any(each.epochs == epochs for each in fitted):
            continue
        of_outputs = {port: _fit(run, port, of) for port, of in held_out.items()}
        decisions = {port: found for port, (found, _) in of_outputs.items() if found is not None}
        if not fitted:  # the weights that training ended with
            others = [told for told in record.decisions if told.output in given]
            record.decisions = [*others, *(told for _, told in of_outputs.values())]
        fitted.append(FittedDecisions(epochs, decisions))
    run.directory.write_calibration({"fitted": [each.to_json() for each in fitted]})
    for told in record.decisions:
        if told.reason is not None:
            job.listener.message(f"warning: {told.reason}")


@dataclass(frozen=True, eq=False)
class _HeldOut:
    """What networks say about rows that they did not train on, M in all.

    Attributes:
        rows: (M,) their numbers; several networks may say something about one row.
        networks: (M,) the place of the network.
        logits: (M, K).
        labels: (M,) the true classes; None where targets are no classes.
    """

    rows: Array
    networks: Array
    logits: Floats
    labels: Labels | None


def _held_out(run: ActiveRun, which: WeightsChoice) -> tuple[dict[str, int], dict[Port, _HeldOut]]:
    """The epoch of each network's weights, and of each output that is open what the networks say."""
    job = run.job
    members = sorted((m for group in job.groups for m in group.members), key=lambda member: member.id)
    ports = open_outputs(job.spec)
    epochs: dict[str, int] = {}
    logits: dict[Port, list[Floats]] = {port: [] for port in ports}
    rows: dict[Port, list[Array]] = {port: [] for port in ports}
    for member in members:
        name = job.member(member.id)
        kept = run.directory.read_kept_weights(name, which)
        assert kept.epoch is not None, "weights of this nnrun tell it"
        epochs[folder_of(name)] = kept.epoch.epoch
        validated = member.fold.validation_rows
        function = logits_function(job.spec, member.fitted, kept.arrays, job.device)
        with stopping_between_batches():
            found = function(job.dataset.train.take(validated).by_input(member.fitted.inputs))
        for port in ports:
            with_target = job.dataset.train.output(port).with_target(validated)
            logits[port].append(found[port][np.isin(validated, with_target)].astype(np.float64))
            rows[port].append(with_target)
    return epochs, {port: _together(run, port, rows[port], logits[port]) for port in ports}


def _together(run: ActiveRun, port: Port, rows: Sequence[Array], logits: Sequence[Floats]) -> _HeldOut:
    all_rows, all_logits = np.concatenate(rows), np.concatenate(logits)
    networks = np.repeat(np.arange(len(rows)), [len(own) for own in rows])
    if all_logits.ndim > 2:  # a class for each step
        return _HeldOut(all_rows, networks, all_logits, None)
    targets = run.job.dataset.train.output(port).targets[all_rows]
    targets = targets[:, 0] if targets.ndim == 2 and targets.shape[1] == 1 else targets
    labels = class_labels(targets, max(2, all_logits.shape[1]))
    return _HeldOut(all_rows, networks, all_logits, labels)


def _fit(run: ActiveRun, port: Port, held_out: _HeldOut) -> tuple[Decision | None, DecisionRecord]:
    """What an output's spec leaves open, fitted on all rows, and what is told of it."""
    spec, view = run.job.spec, open_outputs(run.job.spec)[port]
    output = port if spec.outputs else None
    reason = _why_not(view, held_out)
    if reason is not None or held_out.labels is None:
        return None, DecisionRecord(output=output, reason=reason)
    logits, labels = held_out.logits, held_out.labels
    found = fit_decision(logits, labels, view.calibrate, view.threshold)
    assert found is not None, "there are two classes"
    parts = _parts(run, held_out)
    crossed = cross_fit(logits, labels, parts, view.calibrate, view.threshold)
    told = DecisionRecord(output=output, rows=len(labels), out_of_fold=_are_of_folds(held_out))
    if crossed is not None:
        told.parts = len(np.unique(parts))
    if found.method is not None:
        told.method, told.bins = method_in_words(found.method), CALIBRATION_BINS
        told.log_loss = {"before": log_loss(logits, labels)}
        told.calibration_error = {"before": calibration_error(logits, labels)}
        if crossed is not None:
            told.log_loss = {**told.log_loss, "after": log_loss(crossed.logits, labels)}
            after = calibration_error(crossed.logits, labels)
            told.calibration_error = {**told.calibration_error, "after": after}
    if found.threshold is not None:
        told.threshold = found.threshold
    if view.threshold is not None and view.threshold.maximize is not None:
        metric, kept = view.threshold.maximize, found.calibrated(logits)
        told.maximizes = metric
        told.score = {"before": decision_score(metric, positive_probability(logits) > HALF, labels)}
        told.score = {**told.score, "same_rows": _score_of(metric, kept, found, labels)}
        if crossed is not None:
            told.score = {**told.score, "after": decision_score(metric, crossed.positive, labels)}
    return found, told


def _score_of(metric: str, calibrated: Floats, found: Decision, labels: Labels) -> float:
    """What a threshold scores on the rows that chose it."""
    assert found.threshold is not None, "it was chosen"
    return decision_score(metric, positive_probability(calibrated) > found.threshold, labels)


def calibration_error(logits_NK: Floats, labels_N: Labels) -> float:
    """The expected calibration error, as `nnrun evaluate` has it."""
    return calibrate(np.exp(log_probabilities(logits_NK)), labels_N).error


def _why_not(view: schema.ExperimentSpec, held_out: _HeldOut) -> str | None:
    """Why nothing can be fitted; None where it can."""
    keys = " and ".join(key for key in ("calibrate", "threshold") if getattr(view, key) is not None)
    is_left = f"{keys}: probabilities and classes stay those of the network as trained."
    if held_out.labels is None:
        return f"The targets are not one class for each row, so nothing was fitted for {is_left}"
    if not np.isfinite(held_out.logits).all():
        return f"Outputs for some validation rows are not finite, so nothing was fitted for {is_left}"
    if len(np.unique(held_out.labels)) < 2:
        return f"The validation rows are all of one class, so nothing was fitted for {is_left}"
    return None


def _are_of_folds(held_out: _HeldOut) -> bool:
    """Whether each row is of one of several folds."""
    several = len(np.unique(held_out.networks)) > 1
    return several and len(np.unique(held_out.rows)) == len(held_out.rows)


def _parts(run: ActiveRun, held_out: _HeldOut) -> Labels:
    """(M,) the part of each row: its fold; else one of five at random, the same for the rows of a group."""
    if _are_of_folds(held_out):
        return held_out.networks.astype(np.int64)
    groups = split_values(run.job.spec.validation, run.job.dataset).groups
    keys = held_out.rows if groups is None else groups[held_out.rows]
    _, place = np.unique(keys, return_inverse=True)
    count = int(place.max()) + 1
    rng = np.random.default_rng(derive_seed(run.job.spec.seed, purpose="calibration"))
    return np.asarray(rng.permutation(count)[place] % PARTS, np.int64)
