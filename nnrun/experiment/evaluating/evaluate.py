"""A run's networks, measured again: on the test set (which is counted) or on their validation rows.

Scores are those of each network and their mean; tables and figures need one prediction per row. Where a run's
networks, averaged, are one model, its scores are those of that one prediction.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from functools import cache
from typing import get_args

import numpy as np

from nnrun.data import Samples
from nnrun.data.catalog import token_words_of
from nnrun.data.dataset import Array, TokenRows
from nnrun.data.preprocess.unknown_values import Unknown, together, unknown_in
from nnrun.data.summaries.describe_data import row_in_one_line
from nnrun.data.table import Table
from nnrun.errors import UsageError
from nnrun.experiment.evaluating.coverage import coverage_of
from nnrun.experiment.evaluating.error_analysis import (
    Analysis,
    Classification,
    analyse,
)
from nnrun.experiment.evaluating.evaluation import Analysed, Evaluation, MemberScores, Split, Undecided
from nnrun.experiment.finished.cautions import not_better
from nnrun.experiment.finished.decisions import as_trained, decided_outputs, open_outputs
from nnrun.experiment.finished.load_run import (
    DEFAULT_ACCESS,
    Access,
    TrainedNetwork,
    load_spec_of_networks,
)
from nnrun.experiment.finished.run_scores import validation_at
from nnrun.experiment.predicting.intervals import (
    Calibrated,
    calibrate,
    refuse_level,
    refuse_rows_of_calibration,
)
from nnrun.experiment.predicting.open_run import OpenRun, open_run
from nnrun.experiment.predicting.outputs import Combination, Combined, combine
from nnrun.experiment.running.score import Scored, known_targets, linear_score, score, score_ensemble, std_of
from nnrun.experiment.setup.baseline import mean_of
from nnrun.records import RunDirectory, RunRecord, member_of_folder
from nnrun.records.run_record import CoverageRecord, LinearBaselineRecord
from nnrun.spec import schema
from nnrun.spec.graph import graph_of
from nnrun.spec.ports import Port, output_names


def evaluate_run(
    run: RunDirectory,
    access: Access = DEFAULT_ACCESS,
    *,
    split: Split = "test",
    mistakes: int = 5,
    interval: float | None = None,
) -> Evaluation:
    """Measure every network that a run kept. A look at the test set is written into the run's record first.

    Args:
        run: the run.
        access: how it is opened.
        split: which rows.
        mistakes: how many wrong or worst rows to name.
        interval: the share of rows that intervals, or sets of classes, are to cover; how many they cover is
            measured on test rows only.

    Raises:
        UsageError: the data set has no such rows; or an interval is asked for, and there is none.
        DataError: the run's files or data are missing, damaged or changed; or most test rows hold values that
            training never saw.
        LockedError: another process writes into the run's record.
    """
    if split not in get_args(Split):
        raise UsageError(f"split is {split!r}; it must be test or validation.")
    if interval is not None:
        refuse_level(interval)
        refuse_rows_of_calibration(split)
    with run.owned_for_a_look() if split == "test" else nullcontext():
        return evaluate_opened(open_run(run, access), split, mistakes, interval=interval)


def analyse_validation(run: RunDirectory, access: Access = DEFAULT_ACCESS, *, mistakes: int = 5) -> Analysed:
    """The part of `evaluate_run` on validation rows that needs no scores, which PyTorch computes.

    Raises:
        UsageError, DataError: as from `evaluate_run`.
    """
    opened = open_run(run, access)
    if decided_outputs(opened.spec):  # it tells how good they are without calibration, too
        found = evaluate_opened(opened, "validation", mistakes)
        return Analysed(
            found.weights,
            found.networks,
            found.kind,
            found.analyses,
            found.combination,
            found.undecided_text,
        )
    samples = samples_of(opened, "validation")
    predicted = [_predict(opened, network, samples, "validation")[0] for network in opened.networks]
    _unknown_in_validation(opened, predicted)
    combined = _combined(opened, predicted)
    return Analysed(
        opened.weights,
        len(opened.networks),
        opened.member_type,
        _analyses(opened, samples, combined, mistakes),
        next(iter(combined.values())).how,
    )


@dataclass(frozen=True, eq=False)
class _Predicted:
    """One network's outputs for its rows.

    Attributes:
        rows: their numbers in their split.
        outputs: (N, K) of each output, numbers in the target's own units.
        unknown: what validation rows hold that its training rows do not.
    """

    rows: Array
    outputs: Mapping[Port, Array]
    unknown: list[Unknown]


@dataclass(frozen=True, eq=False)
class _Measured(_Predicted):
    """The same with `scored`: the network's scores, and those of the baselines."""

    scored: Scored


@dataclass(frozen=True, eq=False)
class _Networks:
    """All networks of a run, measured on the rows of a split.

    Attributes:
        opened: the run.
        split: which rows.
        samples: of them, or of all training rows where the split is `validation`.
        each: what each network gives for its rows, and its scores.
        combined: of each output one prediction per row.
        one_model: whether their average is one model.
    """

    opened: OpenRun
    split: Split
    samples: Samples
    each: Sequence[_Measured]
    combined: Mapping[Port, Combined]
    one_model: bool

    @property
    def combination(self) -> Combination:
        """How several networks give one prediction per row."""
        return next(iter(self.combined.values())).how


def _measure_networks(opened: OpenRun, samples: Samples, split: Split, *, one_model: bool) -> _Networks:
    measured = [_measure(opened, network, samples, split) for network in opened.networks]
    one_model = one_model and len(measured) > 1
    return _Networks(opened, split, samples, measured, _combined(opened, measured), one_model)


@dataclass(frozen=True)
class _RunScores:
    """What a run scores; the attributes are those of `Evaluation`."""

    members: list[MemberScores]
    members_mean: dict[str, tuple[float, float]] | None
    scores: dict[str, float]
    std: dict[str, float]
    scores_epoch: int | None
    kept: dict[str, tuple[float, float]] | None
    ensemble: dict[str, float] | None


def evaluate_opened(
    opened: OpenRun,
    split: Split,
    mistakes: int = 0,
    *,
    command: str = "evaluate",
    interval: float | None = None,
) -> Evaluation:
    """The same of a run that is open, and owned where the test set is looked at.

    Args:
        opened: the run.
        split, mistakes, interval: as `evaluate_run` has them.
        command: what the look at the test set is recorded as.
    """
    run, spec, weights = opened.run, opened.spec, opened.weights
    samples = samples_of(opened, split)
    calibrated = None if interval is None else calibrate(opened, interval, tell=True)
    unknown, look = opened.count_look(command) if split == "test" else ([], None)
    record = run.read_record()
    networks = _measure_networks(opened, samples, split, one_model=record.ensemble is not None)
    if split == "validation":
        unknown = _unknown_in_validation(opened, networks.each)
    found = _run_scores(networks, record)
    baseline = mean_of([each.scored.baseline for each in networks.each])
    linear = None if record.smoke else _linear(networks)
    evaluation = Evaluation(
        run=run,
        name=spec.name,
        data=opened.dataset.name,
        split=split,
        rows=len(networks.each[0].rows),
        weights=weights,
        networks=len(opened.networks),
        kind=opened.member_type,
        **vars(found),
        baseline=baseline,
        undecided=_undecided(networks),
        test_uses=len(record.test_uses),
        look=None if look is None else look.by_name,
        look_of_any=None if look is None else look.by_any,
        analyses=_analyses(opened, samples, networks.combined, mistakes),
        combination=networks.combination,
        not_better_than_baseline={} if record.smoke else not_better(found.scores, baseline, spec),
        linear_baseline=linear,
        not_better_than_linear=_not_better_than_linear(found.scores, linear, spec),
        unknown=unknown,
        calibrated=calibrated,
        coverage=[] if calibrated is None else _coverage(calibrated, networks),
    )
    if split == "test":
        _record_test_scores(evaluation, record)
    return evaluation


def _run_scores(networks: _Networks, record: RunRecord) -> _RunScores:
    """The scores of the networks and of all together: their mean, or those of the one model that they are."""
    opened, weights = networks.opened, networks.opened.weights
    members = _scores_of_members(opened, networks.each)
    ensemble = _ensemble(networks)
    if networks.one_model and ensemble is not None:
        return _RunScores(members, _mean_and_std(members), ensemble, {}, weights.epoch, None, None)
    kept = None
    if networks.split == "validation" and weights.chosen_apart and not networks.one_model:
        members, kept = _at_one_epoch(opened.run, record, members)
    each = [member.scores for member in members]
    std = std_of(each) if len(members) > 1 else {}
    epoch = weights.epoch if kept is None else members[0].epoch
    return _RunScores(members, None, mean_of(each), std, epoch, kept, ensemble)


def _not_better_than_linear(
    scores: dict[str, float], linear: LinearBaselineRecord | None, spec: schema.ExperimentSpec
) -> dict[str, list[float]]:
    return {} if linear is None else not_better(scores, linear.scores, spec, of_constant=False)


def _coverage(calibrated: Calibrated, networks: _Networks) -> Sequence[CoverageRecord]:
    outputs = [each.outputs for each in networks.each]
    return coverage_of(calibrated, networks.samples, outputs, networks.opened.weights.text)


def _undecided(networks: _Networks) -> Undecided | None:
    """The same networks without calibration and threshold; None where the spec has neither."""
    opened, samples = networks.opened, networks.samples
    decided = decided_outputs(opened.spec)
    if not decided:
        return None
    plain = replace(opened, spec=as_trained(opened.spec))
    measured = _measure_networks(plain, samples, networks.split, one_model=networks.one_model)
    scores = mean_of([each.scored.scores for each in measured.each])
    if networks.one_model and (average := _ensemble(measured)):
        scores = average
    errors, thresholds = {}, {}
    for port, view in decided.items():
        if view.threshold is not None and view.threshold.at is not None:
            thresholds[port] = view.threshold.at
        found = _analysis(plain.of_output(port), samples.output(port), measured.combined[port], 0)
        if view.calibrate is not None and isinstance(found, Classification):
            errors[port] = found.calibration.error
    own = open_outputs(load_spec_of_networks(opened.run))
    fitted = {
        "calibration": any(of.calibrate is not None and not of.calibrate.is_fitted for of in own.values()),
        "threshold": any(of.threshold is not None and of.threshold.at is None for of in own.values()),
    }
    names = tuple(name for name, is_fitted in fitted.items() if is_fitted)
    on_these_rows = bool(own) and networks.split == "validation"
    return Undecided(scores, errors, thresholds, on_these_rows, names)


def _at_one_epoch(
    run: RunDirectory, record: RunRecord, members: list[MemberScores]
) -> tuple[list[MemberScores], dict[str, tuple[float, float]] | None]:
    """The scores of the epoch that is best for all, and the mean and deviation of those of the kept weights.

    The same scores and None where there is no such epoch.
    """
    common = _at_common_epoch(run, record, members)
    if common is None:
        return members, None
    return common, _mean_and_std(members)


def _scores_of_members(opened: OpenRun, measured: Sequence[_Measured]) -> list[MemberScores]:
    """What each network scored, with the weights of which epoch."""
    return [
        MemberScores(
            None if network.member is None else network.member.folder,
            None if epoch is None else epoch.epoch,
            len(of_network.rows),
            of_network.scored.scores,
        )
        for network, epoch, of_network in zip(opened.networks, opened.weights.epochs, measured, strict=True)
    ]


def _unknown_in_validation(opened: OpenRun, measured: Sequence[_Predicted]) -> list[Unknown]:
    """Values of the validation rows that training never saw. The listener is told where they are many."""
    unknown = together([each.unknown for each in measured], sum(len(each.rows) for each in measured))
    for found in unknown:
        if found.large:
            opened.access.listener.message(f"validation rows: {found}")
    return unknown


def samples_of(opened: OpenRun, split: Split) -> Samples:
    """The rows of a split.

    Raises:
        UsageError: there are none.
    """
    dataset = opened.dataset
    validated = not isinstance(opened.spec.validation, schema.NoValidation)
    if split == "validation":
        if not validated:
            raise UsageError(f"{opened.run.id} was trained on all training rows: it has no validation rows.")
        return dataset.train
    if dataset.test is None:
        instead = " Use --split validation." if validated else ""
        raise UsageError(f"{dataset.name} has no test set.{instead}")
    return dataset.test


def _combined(opened: OpenRun, predicted: Sequence[_Predicted]) -> dict[Port, Combined]:
    """One prediction per row, by each output."""
    names = output_names(opened.spec)
    return {port: combine([(each.rows, each.outputs[port]) for each in predicted]) for port in names}


def _predict(
    opened: OpenRun, network: TrainedNetwork, samples: Samples, split: Split
) -> tuple[_Predicted, Samples]:
    """A network's outputs for its rows of a split, and these rows."""
    fold = opened.fold_of(network)
    rows = fold.validation_rows if split == "validation" else np.arange(len(samples))
    own = samples.take(rows) if split == "validation" else samples
    unknown: list[Unknown] = []
    if split == "validation" and isinstance(own.inputs, Table):
        unknown = unknown_in([network.fitted], own)
    return _Predicted(rows, opened.by_output(network, own), unknown), own


def _measure(opened: OpenRun, network: TrainedNetwork, samples: Samples, split: Split) -> _Measured:
    found, own = _predict(opened, network, samples, split)
    known = known_targets(opened.dataset.train, opened.fold_of(network).train_rows)
    scored = score(opened.spec, network.fitted, network.weights, own, known, opened.device)
    return _Measured(found.rows, found.outputs, found.unknown, scored)


def _linear(networks: _Networks) -> LinearBaselineRecord | None:
    """What linear models score on the same rows, each fitted to the training rows of a network; averaged
    where the networks are one model."""
    opened, samples = networks.opened, networks.samples
    fitted = [(each.fitted, opened.fold_of(each).train_rows) for each in opened.networks]
    of_folds = networks.split == "validation"
    scored = [samples.take(each.rows) if of_folds else samples for each in networks.each]
    averaged = networks.one_model and networks.combination == "ensemble"
    return linear_score(opened.spec, fitted, opened.dataset.train, scored, opened.device, averaged=averaged)


def _ensemble(networks: _Networks) -> dict[str, float] | None:
    """What the mean of the networks' outputs scores, where all were asked about the same rows.

    Of one model also where each row was predicted by the networks that did not train on it.
    """
    if networks.combination != "ensemble" and not networks.one_model:
        return None
    opened, samples = networks.opened, networks.samples
    rows = next(iter(networks.combined.values())).rows
    parts = [(network.fitted, network.weights) for network in opened.networks]
    asked = samples.take(rows) if networks.split == "validation" else samples
    outputs = {port: found.outputs for port, found in networks.combined.items()}
    by = None
    if networks.combination != "ensemble":
        by = np.stack([np.isin(rows, each.rows) for each in networks.each])
    return score_ensemble(opened.spec, parts, asked, outputs, opened.device, by)


def _analyses(
    opened: OpenRun, samples: Samples, combined: Mapping[Port, Combined], mistakes: int
) -> dict[Port, Analysis | None]:
    """What lies behind the scores of each output."""
    return {
        port: _analysis(opened.of_output(port), samples.output(port), found, mistakes)
        for port, found in combined.items()
    }


def _analysis(opened: OpenRun, samples: Samples, combined: Combined, mistakes: int) -> Analysis | None:
    """What lies behind the scores of one output; the run and the samples are as it sees them."""
    dataset, last = opened.dataset, graph_of(opened.spec).first_output
    assert isinstance(last, schema.Dense), "lint lets only a dense layer end the stack"
    if schema.is_of_scores(opened.spec.own_loss):
        return None  # scores are neither probabilities to calibrate nor numbers to subtract
    outputs, quantiles = combined.outputs, schema.quantiles_of(opened.spec.own_loss)
    if 0.5 in quantiles:
        outputs = outputs[:, [quantiles.index(0.5)]]
    rows, chosen = samples.with_target(combined.rows), opened.spec.threshold
    return analyse(
        outputs if len(rows) == len(combined.rows) else outputs[np.isin(combined.rows, rows)],
        samples.targets[rows],
        activation=last.activation,
        threshold=schema.HALF if chosen is None or chosen.at is None else chosen.at,
        rows=rows,
        class_names=dataset.class_names,
        label_names=dataset.target_names,
        mistakes=mistakes,
        text_of=_text_of(opened, samples),
        places=samples.places,
    )


def _record_test_scores(evaluation: Evaluation, record: RunRecord) -> None:
    record.test = evaluation.scores
    for member, scored in zip(evaluation.weights.members, evaluation.members, strict=True):
        record.tell(member, test=scored.scores, test_epoch=scored.epoch)
    if evaluation.members_mean is not None and record.ensemble is not None:
        record.ensemble.test_mean = {name: mean for name, (mean, _) in evaluation.members_mean.items()}
        record.ensemble.test_std = {name: std for name, (_, std) in evaluation.members_mean.items()}
    else:
        record.test_ensemble = evaluation.ensemble
    if evaluation.coverage:
        record.coverage = list(evaluation.coverage)
    if evaluation.std:
        record.test_std = evaluation.std
    evaluation.run.write_record(record)


def _text_of(opened: OpenRun, samples: Samples) -> Callable[[int], str]:
    """The number of a row → the row in one line. The words are read when the first row is asked for."""

    access = opened.access

    @cache
    def words() -> Mapping[int, str] | None:
        if not isinstance(samples.inputs, TokenRows):
            return None
        return token_words_of(opened.spec.dataset, access.data_dir, access.listener.message)

    names = opened.dataset.feature_names

    def text(row: int) -> str:
        parts = {p: row_in_one_line(part, row, names, words()) for p, part in samples.of_inputs.items()}
        if len(parts) > 1 and samples.inputs_are_told:
            return "; ".join(f"{port}: {part}" for port, part in parts.items())
        return row_in_one_line(samples.inputs, row, names, words())

    return text


def _mean_and_std(members: Sequence[MemberScores]) -> dict[str, tuple[float, float]]:
    """Name → (mean, standard deviation) of each score over several networks."""
    each = [m.scores for m in members]
    mean, std = mean_of(each), std_of(each)
    return {name: (mean[name], std[name]) for name in mean}


def _at_common_epoch(
    run: RunDirectory, record: RunRecord, members: Sequence[MemberScores]
) -> list[MemberScores] | None:
    """What the networks scored on their validation rows at the run's best epoch, which is one for all.

    None where the history does not tell it of all of them.
    """
    epoch = record.best_epoch
    if epoch is None:
        return None
    found = validation_at(run, epoch)
    scores: list[dict[str, float]] = []
    for member in members:
        named = member_of_folder(member.member or "")
        number = -1 if named is None else named.id
        if any(number not in found.get(f"val_{name}", {}) for name in member.scores):
            return None
        scores.append({name: found[f"val_{name}"][number] for name in member.scores})
    return [replace(m, epoch=epoch, scores=of) for m, of in zip(members, scores, strict=True)]
