"""A run's networks, measured again: on the test set (which is counted) or on their validation rows.

Scores are those of each network and their mean; tables and figures need one prediction per row. Where a run's
networks, averaged, are one model, its scores are those of that one prediction.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Literal, get_args

import numpy as np

from nnrun.data import Samples
from nnrun.data.catalog import token_words_of
from nnrun.data.dataset import Array, TokenRows
from nnrun.data.preprocess.unknown_values import Unknown, together, unknown_in
from nnrun.data.summaries.describe_data import row_in_one_line
from nnrun.data.table import Table
from nnrun.errors import UsageError, one_line
from nnrun.experiment.evaluating.coverage import coverage_of
from nnrun.experiment.evaluating.error_analysis import (
    Analysis,
    Classification,
    Residuals,
    analyse,
)
from nnrun.experiment.finished.cautions import not_better
from nnrun.experiment.finished.decisions import as_trained, decided_outputs, open_outputs
from nnrun.experiment.finished.load_run import (
    DEFAULT_ACCESS,
    Access,
    TrainedNetwork,
    load_spec_of_networks,
)
from nnrun.experiment.finished.run_scores import validation_at
from nnrun.experiment.finished.used_weights import UsedWeights
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
from nnrun.records import MemberType, RunDirectory, RunRecord, member_of_folder
from nnrun.records.run_record import CoverageRecord, LinearBaselineRecord
from nnrun.spec import schema
from nnrun.spec.graph import graph_of
from nnrun.spec.ports import OUTPUT, Port, named, output_names
from nnrun.spec.wording import listing, quoted

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Split = Literal["test", "validation"]


@dataclass(frozen=True)
class MemberScores:
    """One network of a run.

    Attributes:
        member: the name of its folder; None for a run of one network.
        epoch: of these scores.
        rows: how many it was measured on.
        scores: name → value.
    """

    member: str | None
    epoch: int | None
    rows: int
    scores: dict[str, float]


@dataclass(frozen=True)
class Undecided:
    """Networks as they were trained, without calibration and at a threshold of 0.5.

    Attributes:
        scores: name → value.
        calibration_errors: of each calibrated output the expected calibration error, of one prediction per
            row.
        thresholds: of each output that has another one than 0.5, above which the second class is predicted.
        fitted_on_these_rows: whether calibration or threshold were fitted on the very rows that are scored,
            so that the scores with them are optimistic.
        fitted: which of them were fitted, and not given: `calibration`, `threshold`.
    """

    scores: dict[str, float]
    calibration_errors: dict[Port, float]
    thresholds: dict[Port, float]
    fitted_on_these_rows: bool
    fitted: tuple[str, ...] = ()


@dataclass(frozen=True, repr=False)
class Evaluation:
    """What `nnrun evaluate` found.

    Attributes:
        run: the run's folder.
        name: the experiment's name.
        data: the data set, as a spec names it.
        split: `test` or `validation`.
        rows: rows that each network was measured on (of the first fold or seed).
        weights: which weights were measured, and of which epochs they are.
        networks: how many networks; the scores are their mean.
        kind: what tells them apart (`fold`, `seed`); None where there is one.
        members: each network and its scores.
        members_mean: where the networks, averaged, are one model: name → (mean, standard deviation) over what
            each scores alone. `scores` are then the model's: of the average on the test set; on validation
            rows of the predictions that `combination` tells of, all rows together. Else None.
        scores: name → value.
        std: name → standard deviation over the networks; empty for one network.
        scores_epoch: the epoch of these scores; None where the networks have different ones.
        kept: where validation rows chose an epoch for each network by itself: what the kept weights score on
            these same rows, name → (mean, standard deviation). It is optimistic, so `scores` are those of
            one epoch of all networks, from the history. Else None.
        ensemble: where several networks were asked about the same rows, name → what the mean of their outputs
            scores; else None.
        baseline: name → what a predictor that never looks at the inputs scores.
        undecided: where the spec has a calibration or a threshold, what the networks score without, as they
            were trained; else None.
        test_uses: how often this run has looked at the test set, this time included.
        look: which look at this test set it was by experiments of this name, from 1; None for validation
            rows and for a smoke run.
        analyses: for each output what lies behind its scores, from one prediction per row that has its
            target; None where the targets are neither classes or labels nor one number per row.
        combination: how several networks gave that one prediction.
        not_better_than_baseline: each score that does not beat its baseline, and both.
        linear_baseline: what linear models score on these rows, fitted to the training rows of the networks;
            None where none is wanted.
        not_better_than_linear: as `not_better_than_baseline`.
        unknown: what these rows hold that training never saw.
        calibrated: what intervals and sets come from, where they were asked for.
        coverage: how many rows they cover; likewise.
    """

    run: RunDirectory
    name: str
    data: str
    split: Split
    rows: int
    weights: UsedWeights
    networks: int
    kind: MemberType | None
    members: list[MemberScores]
    members_mean: dict[str, tuple[float, float]] | None
    scores: dict[str, float]
    std: dict[str, float]
    scores_epoch: int | None
    kept: dict[str, tuple[float, float]] | None
    ensemble: dict[str, float] | None
    baseline: dict[str, float]
    undecided: Undecided | None
    test_uses: int
    look: int | None
    look_of_any: int | None
    analyses: Mapping[Port, Analysis | None]
    combination: Combination
    not_better_than_baseline: dict[str, list[float]]
    linear_baseline: LinearBaselineRecord | None
    not_better_than_linear: dict[str, list[float]]
    unknown: Sequence[Unknown] = ()
    calibrated: Calibrated | None = None
    coverage: Sequence[CoverageRecord] = ()

    def __repr__(self) -> str:
        from nnrun.experiment.evaluating.in_notebook import evaluation_text

        return evaluation_text(self)

    def _repr_html_(self) -> str:
        """What a notebook shows."""
        from nnrun.experiment.evaluating.in_notebook import evaluation_html

        return evaluation_html(self)

    @property
    def epoch(self) -> int | None:
        """The epoch whose weights were measured; None for several networks of different epochs."""
        return self.weights.epoch

    @property
    def analysis(self) -> Analysis | None:
        """What lies behind the scores of the only output; None where outputs have names, too."""
        return None if self.outputs_have_names else self.analyses[OUTPUT]

    @property
    def outputs_have_names(self) -> bool:
        """Whether there are several outputs, or the only one has a name."""
        return named(self.analyses)

    @property
    def undecided_text(self) -> str:
        """What the scores are with and without a calibration or a threshold; empty where there is neither."""
        undecided = self.undecided
        if undecided is None:
            return ""
        calibrated = bool(undecided.calibration_errors) or not undecided.thresholds
        parts = ["without calibration"] if calibrated else []
        parts += ["at a threshold of 0.5"] if undecided.thresholds else []
        too = "" if self.kept is None else f", as is the history's epoch {self.scores_epoch}"
        text = f"As trained: {', '.join(parts)}{too}."
        for port, error in undecided.calibration_errors.items():
            of = f" of {quoted(port)}" if self.outputs_have_names else ""
            text += f" The expected calibration error{of} was then {error:.4f}."
        for port, threshold in undecided.thresholds.items():
            if threshold == schema.HALF:
                continue
            of = f"Of {quoted(port)} the" if self.outputs_have_names else "The"
            text += (
                f" {of} second class is predicted above {threshold:.4g}; the calibration below is of the "
                "more probable class, as at 0.5."
            )
        if undecided.fitted_on_these_rows:
            were, them = ("were", "them") if len(undecided.fitted) > 1 else ("was", "it")
            text += (
                f" The {listing(undecided.fitted, 'and')} {were} fitted on these very rows, so the scores "
                f"with {them} are optimistic; nnrun show {self.run.id} has those that are cross-fitted."
            )
        return text

    @property
    def chosen_on_these_rows(self) -> bool:
        """Whether the epoch of the measured weights was chosen by their scores on the very same rows."""
        return self.split == "validation" and self.weights.chosen_on_validation


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


@dataclass(frozen=True)
class Analysed:
    """What lies behind a run's predictions of its validation rows; the attributes are those of `Evaluation`.

    Attributes:
        undecided_text: empty where there is neither calibration nor threshold.
    """

    weights: UsedWeights
    networks: int
    kind: MemberType | None
    analyses: Mapping[Port, Analysis | None]
    combination: Combination
    undecided_text: str = ""

    @property
    def outputs_have_names(self) -> bool:
        """Whether there are several outputs, or the only one has a name."""
        return named(self.analyses)


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
        split: which rows.
        mistakes: how many wrong or worst rows to name.
        command: what the look at the test set is recorded as.
        interval: as `evaluate_run` has it.
    """
    run, spec, dataset, weights = opened.run, opened.spec, opened.dataset, opened.weights
    samples = samples_of(opened, split)
    calibrated = None if interval is None else calibrate(opened, interval, tell=True)
    unknown, look = opened.count_look(command) if split == "test" else ([], None)
    record = run.read_record()
    measured = [_measure(opened, network, samples, split) for network in opened.networks]
    members = _scores_of_members(opened, measured)
    one_model = record.ensemble is not None and len(measured) > 1
    kept = None
    if split == "validation" and weights.chosen_apart and not one_model:
        members, kept = _at_one_epoch(run, record, members)
    if split == "validation":
        unknown = _unknown_in_validation(opened, measured)
    combined = _combined(opened, measured)
    scores, baseline = mean_of([m.scores for m in members]), mean_of([m.scored.baseline for m in measured])
    ensemble = _ensemble(opened, samples, split, measured, combined, one_model=one_model)
    averaged = one_model and next(iter(combined.values())).how == "ensemble"
    linear = None if record.smoke else _linear(opened, samples, split, measured, averaged=averaged)
    std = std_of([m.scores for m in members]) if len(members) > 1 else {}
    members_mean = None
    if one_model and ensemble is not None:
        members_mean = _mean_and_std(members)
        scores, std, ensemble = ensemble, {}, None
    evaluation = Evaluation(
        run=run,
        name=spec.name,
        data=dataset.name,
        split=split,
        rows=len(measured[0].rows),
        weights=weights,
        networks=len(opened.networks),
        kind=opened.member_type,
        members=members,
        members_mean=members_mean,
        scores=scores,
        std=std,
        scores_epoch=weights.epoch if kept is None else members[0].epoch,
        kept=kept,
        ensemble=ensemble,
        baseline=baseline,
        undecided=_undecided(opened, samples, split, one_model=one_model),
        test_uses=len(record.test_uses),
        look=None if look is None else look.by_name,
        look_of_any=None if look is None else look.by_any,
        analyses=_analyses(opened, samples, combined, mistakes),
        combination=next(iter(combined.values())).how,
        not_better_than_baseline={} if record.smoke else not_better(scores, baseline, spec),
        linear_baseline=linear,
        not_better_than_linear={}
        if linear is None
        else not_better(scores, linear.scores, spec, of_constant=False),
        unknown=unknown,
        calibrated=calibrated,
        coverage=[]
        if calibrated is None
        else coverage_of(calibrated, samples, [each.outputs for each in measured], weights.text),
    )
    if split == "test":
        _record_test_scores(evaluation, record)
    return evaluation


def _undecided(opened: OpenRun, samples: Samples, split: Split, *, one_model: bool) -> Undecided | None:
    """The same networks without calibration and threshold; None where the spec has neither."""
    decided = decided_outputs(opened.spec)
    if not decided:
        return None
    plain = replace(opened, spec=as_trained(opened.spec))
    measured = [_measure(plain, network, samples, split) for network in plain.networks]
    combined = _combined(plain, measured)
    scores = mean_of([each.scored.scores for each in measured])
    if one_model and (average := _ensemble(plain, samples, split, measured, combined, one_model=True)):
        scores = average
    errors, thresholds = {}, {}
    for port, view in decided.items():
        if view.threshold is not None and view.threshold.at is not None:
            thresholds[port] = view.threshold.at
        found = _analysis(plain.of_output(port), samples.output(port), combined[port], 0)
        if view.calibrate is not None and isinstance(found, Classification):
            errors[port] = found.calibration.error
    own = open_outputs(load_spec_of_networks(opened.run))
    fitted = {
        "calibration": any(of.calibrate is not None and not of.calibrate.is_fitted for of in own.values()),
        "threshold": any(of.threshold is not None and of.threshold.at is None for of in own.values()),
    }
    names = tuple(name for name, is_fitted in fitted.items() if is_fitted)
    return Undecided(scores, errors, thresholds, bool(own) and split == "validation", names)


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


def _linear(
    opened: OpenRun, samples: Samples, split: Split, measured: Sequence[_Measured], *, averaged: bool
) -> LinearBaselineRecord | None:
    """What linear models score on the same rows, each fitted to the training rows of a network; averaged
    where the networks are one model."""
    networks = [(each.fitted, opened.fold_of(each).train_rows) for each in opened.networks]
    scored = [samples.take(each.rows) if split == "validation" else samples for each in measured]
    train, device = opened.dataset.train, opened.device
    return linear_score(opened.spec, networks, train, scored, device, averaged=averaged)


def _ensemble(
    opened: OpenRun,
    samples: Samples,
    split: Split,
    measured: Sequence[_Measured],
    combined: Mapping[Port, Combined],
    *,
    one_model: bool,
) -> dict[str, float] | None:
    """What the mean of the networks' outputs scores, where all were asked about the same rows.

    Of one model also where each row was predicted by the networks that did not train on it.
    """
    first = next(iter(combined.values()))
    if first.how != "ensemble" and not one_model:
        return None
    parts = [(network.fitted, network.weights) for network in opened.networks]
    asked = samples.take(first.rows) if split == "validation" else samples
    outputs = {port: found.outputs for port, found in combined.items()}
    by = None if first.how == "ensemble" else np.stack([np.isin(first.rows, each.rows) for each in measured])
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


def write_figures(evaluation: Evaluation) -> list[Path]:
    """Draw what the tables say into the run's folder of figures; each split's figure replaces the one before.

    Raises:
        NnrunError: a figure cannot be written.
    """
    from nnrun.figures.curve_figure import save

    paths: dict[Path, Figure] = {}
    for port, analysis in evaluation.analyses.items():
        if analysis is None:
            continue
        rows = f"{analysis.rows:,} {evaluation.split} rows"
        name, note = (f"{port}_", f"{port}, {rows}") if evaluation.outputs_have_names else ("", rows)
        made = analysis_figures(analysis, note)
        paths |= {evaluation.run.figure(f"{name}{figure}"): drawn for figure, drawn in made.items()}
    for path, figure in paths.items():
        save(figure, path)
    return list(paths)


def analysis_figures(analysis: Analysis, rows: str) -> dict[str, Figure]:
    """Name → figure of what an analysis found. `rows` says what was measured: `404 test rows`."""
    from nnrun.figures import evaluation_figures as figures

    if isinstance(analysis, Residuals):
        return {"residuals": figures.residuals_figure(analysis.true, analysis.predicted, rows)}
    if isinstance(analysis, Classification):
        calibration = analysis.calibration
        bins = [(b.low, b.high, b.rows, b.confidence, b.accuracy) for b in calibration.bins]
        names = [one_line(of_class.name) for of_class in analysis.classes]
        return {
            "confusion": figures.confusion_figure(np.array(analysis.confusion), names, rows),
            "calibration": figures.calibration_figure(np.array(bins), calibration.error, rows),
        }
    seen = [label for label in analysis.labels if label.support or label.predicted] or list(analysis.labels)
    scores = np.array([(label.precision, label.recall, label.f1) for label in seen])
    support, names = np.array([label.support for label in seen]), [one_line(label.name) for label in seen]
    return {"labels": figures.labels_figure(scores, support, names, rows)}


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
