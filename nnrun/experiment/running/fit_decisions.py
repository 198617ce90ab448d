"""Calibrations and thresholds, fitted when a run's training ends.

They are fitted on rows that a network did not train on: of folds each row by the network of its own fold,
else the validation rows. All networks of a run, its folds or seeds, share one calibration and one threshold,
fitted on what all of them say about such rows. A calibration applies to each network, before their mean is
taken, since single networks are what it was fitted on; the threshold applies to the mean.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import get_args

import numpy as np

from nnrun.data.dataset import Array, split_values
from nnrun.errors import DataError
from nnrun.experiment.evaluating.error_analysis import CALIBRATION_BINS, calibrate, class_labels
from nnrun.experiment.finished.decision_text import given_decision, given_keys, method_in_words
from nnrun.experiment.finished.decisions import (
    FittedDecisions,
    decided_outputs,
    epochs_of,
    open_outputs,
)
from nnrun.experiment.finished.load_run import DEFAULT_ACCESS, load_networks
from nnrun.experiment.predicting.open_run import OpenRun
from nnrun.experiment.predicting.out_of_fold import OutOfFold, predict_out_of_fold
from nnrun.experiment.running.recorder import ActiveRun
from nnrun.interrupts import stopping_between_batches
from nnrun.records import WeightsChoice
from nnrun.records.run_record import DecisionRecord
from nnrun.spec import schema
from nnrun.spec.ports import Port
from nnrun.spec.random_streams import derive_seed
from nnrun.spec.wording import listing
from nnrun.validation.calibration import (
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

    Where other weights are kept beside those that training ended with, it is fitted for these as well. The
    networks within the outer folds of nested cross-validation only choose, and decide nothing.
    """
    job, record = run.job, run.record
    open_ = open_outputs(job.spec)
    given = {port: view for port, view in decided_outputs(job.spec).items() if port not in open_}
    if given and not record.decisions:
        named = bool(job.spec.outputs)
        record.decisions = [given_decision(p if named else None, view) for p, view in given.items()]
    if not open_ or record.status == "diverged" or record.is_inner:
        return
    fitted: list[FittedDecisions] = []
    for opened in _opened(run):
        epochs = epochs_of(opened.weights)
        if any(each.epochs == epochs for each in fitted):
            continue
        found = _fit_outputs(opened, open_)
        decisions = {port: decision for port, (decision, _) in found.items() if decision is not None}
        if not fitted:  # the weights that training ended with
            others = [told for told in record.decisions if told.output in given]
            record.decisions = [*others, *(told for _, told in found.values())]
        fitted.append(FittedDecisions(epochs, decisions))
    run.directory.write_calibration({"fitted": [each.to_json() for each in fitted]})
    for told in record.decisions:
        if told.reason is not None:
            job.listener.message(f"warning: {told.reason}")


def _opened(run: ActiveRun) -> Iterator[OpenRun]:
    """The run with the weights that training ended with; then with those of best epochs, if all have such."""
    job, directory = run.job, run.directory
    for which in get_args(WeightsChoice):
        if which == "best":
            kept = [directory.read_kept_weights(job.member(n), which) for n in job.member_ids]
            if not all(each.epoch is not None and each.epoch.best for each in kept):
                return
        networks, used = load_networks(directory, which)
        yield OpenRun(directory, job.spec, networks, used, job.dataset, job.device, DEFAULT_ACCESS)


def _fit_outputs(
    opened: OpenRun, open_: Mapping[Port, schema.ExperimentSpec]
) -> dict[Port, tuple[Decision | None, DecisionRecord]]:
    """What is fitted for each output that leaves something open, and what is told of it."""
    named = bool(opened.spec.outputs)
    try:
        with stopping_between_batches():
            held_out = predict_out_of_fold(opened, logits=True)
    except DataError as error:  # some outputs are not finite
        told = {port: _unfitted(view, str(error)) for port, view in open_.items()}
        return {p: (None, DecisionRecord(output=p if named else None, reason=of)) for p, of in told.items()}
    return {port: _fit(opened, port, view, _held_out(held_out, port)) for port, view in open_.items()}


@dataclass(frozen=True, eq=False)
class _HeldOut:
    """What networks say about rows that they did not train on, M in all.

    Attributes:
        rows: (M,) their numbers; several networks may say something about one row.
        members: (M,) the fold or seed of the network.
        logits: (M, K).
        labels: (M,) the true classes; None where targets are no classes.
    """

    rows: Array
    members: Array
    logits: Floats
    labels: Labels | None


def _held_out(found: OutOfFold, port: Port) -> _HeldOut:
    """What is said of the rows that have the output's target."""
    there = found.present.get(port, np.ones(len(found.rows), bool))
    logits, targets = found.outputs[port][there].astype(np.float64), found.targets[port][there]
    labels = None
    if logits.ndim == 2:  # else a class for each step
        targets = targets[:, 0] if targets.ndim == 2 and targets.shape[1] == 1 else targets
        labels = class_labels(targets, max(2, logits.shape[1]))
    return _HeldOut(found.rows[there], found.members[there], logits, labels)


def _fit(
    opened: OpenRun, port: Port, view: schema.ExperimentSpec, held_out: _HeldOut
) -> tuple[Decision | None, DecisionRecord]:
    """What an output leaves open, fitted on all rows, and what is told of it."""
    output = port if opened.spec.outputs else None
    reason = _why_not(view, held_out)
    if reason is not None or held_out.labels is None:
        return None, DecisionRecord(output=output, reason=reason)
    logits, labels = held_out.logits, held_out.labels
    found = fit_decision(logits, labels, view.calibrate, view.threshold)
    assert found is not None, "there are two classes"
    parts = _parts(opened, held_out)
    crossed = cross_fit(logits, labels, parts, view.calibrate, view.threshold)
    told = DecisionRecord(output=output, rows=len(labels), out_of_fold=_are_of_folds(held_out))
    told.given, told.weights = given_keys(view), opened.weights.text
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
        told.score = {"before": decision_score(metric, positive_probability(logits) > schema.HALF, labels)}
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
    if held_out.labels is None:
        return _unfitted(view, "The targets are not one class for each row.")
    if len(np.unique(held_out.labels)) < 2:
        return _unfitted(view, "The validation rows are all of one class.")
    return None


def _unfitted(view: schema.ExperimentSpec, why: str) -> str:
    keys = listing([key for key in ("calibrate", "threshold") if getattr(view, key) is not None], "and")
    return (
        f"{why} So nothing was fitted for {keys}, and probabilities and classes stay those of the network as "
        "trained."
    )


def _are_of_folds(held_out: _HeldOut) -> bool:
    """Whether each row is of one of several folds."""
    several = len(np.unique(held_out.members)) > 1
    return several and len(np.unique(held_out.rows)) == len(held_out.rows)


def _parts(opened: OpenRun, held_out: _HeldOut) -> Labels:
    """(M,) the part of each row: its fold; else one of five at random, the same for the rows of a group."""
    if _are_of_folds(held_out):
        return held_out.members.astype(np.int64)
    groups = split_values(opened.spec.validation, opened.dataset).groups
    keys = held_out.rows if groups is None else groups[held_out.rows]
    _, place = np.unique(keys, return_inverse=True)
    count = int(place.max()) + 1
    rng = np.random.default_rng(derive_seed(opened.spec.seed, purpose="calibration"))
    return np.asarray(rng.permutation(count)[place] % PARTS, np.int64)
