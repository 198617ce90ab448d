"""A run's networks, measured again: on the test set (which is counted) or on their validation rows.

Scores are those of each network and their mean; tables and figures need one prediction per row.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Literal, get_args

import numpy as np

from nnrun.data import Dataset, Samples
from nnrun.data.catalog import token_words_of
from nnrun.data.dataset import Array, TokenRows
from nnrun.data.preprocess.unknown_values import Unknown, together, unknown_values
from nnrun.data.summaries.describe_data import row_in_one_line
from nnrun.data.table import Table
from nnrun.errors import UsageError, one_line
from nnrun.experiment.evaluating.average_outputs import Combination, combine
from nnrun.experiment.evaluating.error_analysis import (
    Analysis,
    Classification,
    Residuals,
    analyse,
    label_scores,
)
from nnrun.experiment.finished.load_run import TrainedNetwork, load_networks, load_run_data, load_spec_of_data
from nnrun.experiment.finished.run_scores import validation_at
from nnrun.experiment.finished.used_weights import UsedWeights
from nnrun.experiment.predicting.outputs import network_outputs
from nnrun.experiment.predicting.unknown_rows import tables_of, unknown_in_test_set
from nnrun.experiment.running.listener import Listener
from nnrun.experiment.running.score import Scored, known_targets, score, score_ensemble
from nnrun.experiment.setup.baseline import mean_of
from nnrun.experiment.setup.cautions import not_better
from nnrun.experiment.setup.fold_splits import folds_of
from nnrun.records import (
    MemberType,
    RunDirectory,
    RunRecord,
    WeightsChoice,
    look_at_test_set,
    member_of_folder,
)
from nnrun.spec import schema
from nnrun.spec.custom_objects import refuse_what_is_not_allowed
from nnrun.spec.reading.overrides import Overrides, with_changes
from nnrun.training.device import resolve_device
from nnrun.validation.splits import Fold

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
        scores: name → value.
        std: name → standard deviation over the networks; empty for one network.
        scores_epoch: the epoch of these scores; None where the networks have different ones.
        kept: where validation rows chose an epoch for each network by itself: what the kept weights score on
            these same rows, name → (mean, standard deviation). It is optimistic, so `scores` are those of
            one epoch of all networks, from the history. Else None.
        ensemble: where several networks were asked about the same rows, name → what the mean of their outputs
            scores; else None.
        baseline: name → what a predictor that never looks at the inputs scores.
        test_uses: how often this run has looked at the test set, this time included.
        look: which look at this test set it was by experiments of this name, from 1; None for validation
            rows and for a smoke run.
        analysis: what lies behind the scores, from one prediction per row; None where the targets are neither
            classes or labels nor one number per row.
        combination: how several networks gave that one prediction.
        not_better_than_baseline: each score that does not beat its baseline, and both.
        unknown: what these rows hold that training never saw.
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
    scores: dict[str, float]
    std: dict[str, float]
    scores_epoch: int | None
    kept: dict[str, tuple[float, float]] | None
    ensemble: dict[str, float] | None
    baseline: dict[str, float]
    test_uses: int
    look: int | None
    analysis: Analysis | None
    combination: Combination
    not_better_than_baseline: dict[str, list[float]]
    unknown: Sequence[Unknown] = ()

    @property
    def epoch(self) -> int | None:
        """The epoch whose weights were measured; None for several networks of different epochs."""
        return self.weights.epoch

    @property
    def chosen_on_these_rows(self) -> bool:
        """Whether the epoch of the measured weights was chosen by their scores on the very same rows."""
        return self.split == "validation" and self.weights.chosen_on_validation


def evaluate_run(
    run: RunDirectory,
    *,
    split: Split = "test",
    weights: WeightsChoice = "last",
    overrides: Overrides = (),
    data_dir: Path | None = None,
    device: str = "auto",
    mistakes: int = 5,
    allow_unknown: bool = False,
    listener: Listener | None = None,
) -> Evaluation:
    """Measure every network that a run kept. A look at the test set is written into the run's record first.

    Args:
        run: the run.
        split: which rows.
        weights: those that training ended with (`last`), or those of the best epoch.
        overrides: where the files of the run's spec lie now, such as `dataset.csv.path=t.csv`.
        data_dir: where data files are looked for first.
        device: `auto`, `cpu`, `cuda` or `cuda:N`.
        mistakes: how many wrong or worst rows to name.
        allow_unknown: use the test set even where most of its rows hold values that training never saw.
        listener: is told what takes long.

    Raises:
        UsageError: the data set has no such rows.
        DataError: the run's files or data are missing, damaged or changed; or most test rows hold values that
            training never saw.
        LockedError: another process writes into the run's record.
    """
    if split not in get_args(Split):
        raise UsageError(f"split is {split!r}; it must be test or validation.")
    with run.owned() if split == "test" else nullcontext():
        return _evaluated(
            run, split, weights, overrides, data_dir, device, mistakes, allow_unknown, listener or Listener()
        )


def _evaluated(
    run: RunDirectory,
    split: Split,
    which: WeightsChoice,
    overrides: Overrides,
    data_dir: Path | None,
    device: str,
    mistakes: int,
    allow_unknown: bool,
    listener: Listener,
) -> Evaluation:
    chosen_device = resolve_device(device)
    spec = load_spec_of_data(run, with_changes(overrides, {"init_weights": None}), data_dir).spec
    refuse_what_is_not_allowed(spec)
    networks, weights = load_networks(run, which)
    dataset = load_run_data(run, spec, data_dir, listener)
    test = dataset.test
    validated = not isinstance(spec.validation, schema.NoValidation)
    if split == "test" and test is None:
        instead = " Use --split validation." if validated else ""
        raise UsageError(f"{dataset.name} has no test set.{instead}")
    if split == "validation" and not validated:
        raise UsageError(f"{run.id} was trained on all training rows: it has no validation rows.")
    record = run.read_record()
    unknown: list[Unknown] = []
    if split == "test":
        allowed = allow_unknown or record.smoke
        fitted = [network.fitted for network in networks]
        unknown = unknown_in_test_set(dataset, fitted, listener, allowed=allowed)
    look = None
    if split == "test":
        look = look_at_test_set(run, record, dataset.name, "evaluate", listener.message)

    samples: Samples = dataset.train if split == "validation" else test  # type: ignore[assignment]
    measured: list[Scored] = []
    predicted: list[tuple[Array, Array]] = []
    unknown_of_each: list[list[Unknown]] = []
    for network in networks:
        fold = fold_of(network, spec, dataset)
        rows = fold.validation_rows if split == "validation" else np.arange(len(samples))
        own = samples.take(rows) if split == "validation" else samples
        known = known_targets(dataset.train, fold.train_rows)
        if split == "validation" and isinstance(own.inputs, Table):
            unknown_of_each.append(unknown_values(tables_of([network.fitted]), own.inputs))
        measured.append(score(spec, network.fitted, network.weights, own, known, chosen_device))
        outputs = network_outputs(spec, network.fitted, network.weights, own.inputs, chosen_device)
        predicted.append((rows, network.fitted.in_own_units(outputs)))
    members = [
        MemberScores(
            None if network.member is None else network.member.folder,
            None if epoch is None else epoch.epoch,
            len(rows),
            scored.scores,
        )
        for network, epoch, scored, (rows, _) in zip(
            networks, weights.epochs, measured, predicted, strict=True
        )
    ]
    kept = None
    if split == "validation" and weights.chosen_apart:
        common = _at_common_epoch(run, record, members)
        if common is not None:
            kept = {n: (mean, of_std) for n, mean, of_std in _mean_and_std(members)}
            members = common
    if split == "validation":
        unknown = together(unknown_of_each, sum(len(rows) for rows, _ in predicted))
        for found in unknown:
            if found.large:
                listener.message(f"validation rows: {found}")
    combined = combine(predicted)
    ensemble = None
    if combined.how == "ensemble":
        parts = [(network.fitted, network.weights) for network in networks]
        asked = samples.take(combined.rows) if split == "validation" else samples
        ensemble = score_ensemble(spec, parts, asked, combined.outputs, chosen_device)
    mean_scores, worthless = (
        mean_of([m.scores for m in members]),
        mean_of([scored.baseline for scored in measured]),
    )
    evaluation = Evaluation(
        run=run,
        name=spec.name,
        data=dataset.name,
        split=split,
        rows=len(predicted[0][0]),
        weights=weights,
        networks=len(networks),
        kind=None if networks[0].member is None else networks[0].member.type,
        members=members,
        scores=mean_scores,
        std={name: std for name, _, std in _mean_and_std(members)} if len(members) > 1 else {},
        scores_epoch=weights.epoch if kept is None else members[0].epoch,
        kept=kept,
        ensemble=ensemble,
        baseline=worthless,
        test_uses=len(record.test_uses),
        look=look,
        analysis=analyse(
            combined.outputs,
            samples.targets[combined.rows],
            activation=_last_activation(spec),
            rows=combined.rows,
            class_names=dataset.class_names,
            label_names=dataset.target_names,
            mistakes=mistakes,
            text_of=_text_of(spec, samples, dataset, data_dir, listener),
            lines=samples.lines,
        ),
        combination=combined.how,
        not_better_than_baseline={} if record.smoke else not_better(mean_scores, worthless, spec),
        unknown=unknown,
    )
    if split == "test":
        record.test, record.test_epoch = evaluation.scores, _tested_epochs(weights)
        record.test_members, record.test_ensemble = _test_members(members), ensemble
        if evaluation.std:
            record.test_std = evaluation.std
        run.write_record(record)
    return evaluation


def write_figures(evaluation: Evaluation) -> list[Path]:
    """Draw what the tables say into the run's folder of figures; each split's figure replaces the one before.

    Raises:
        NnrunError: a figure cannot be written.
    """
    from nnrun.figures import evaluation_figures as figures
    from nnrun.figures.curve_figure import save

    analysis = evaluation.analysis
    if analysis is None:
        return []
    rows = f"{analysis.rows:,} {evaluation.split} rows"
    if isinstance(analysis, Residuals):
        made = {"residuals": figures.residuals_figure(analysis.true, analysis.predicted, rows)}
    elif isinstance(analysis, Classification):
        calibration = analysis.calibration
        bins = [(b.low, b.high, b.rows, b.confidence, b.accuracy) for b in calibration.bins]
        names = [one_line(of_class.name) for of_class in analysis.classes]
        made = {
            "confusion": figures.confusion_figure(np.array(analysis.confusion), names, rows),
            "calibration": figures.calibration_figure(np.array(bins), calibration.error, rows),
        }
    else:
        scores, support, names = label_scores(analysis)
        made = {"labels": figures.labels_figure(scores, support, names, rows)}
    paths = {evaluation.run.figure(name): figure for name, figure in made.items()}
    for path, figure in paths.items():
        save(figure, path)
    return list(paths)


def _last_activation(spec: schema.ExperimentSpec) -> str:
    last = spec.layers[-1]
    assert isinstance(last, schema.Dense), "lint lets only a dense layer end the stack"
    return last.activation


def _text_of(
    spec: schema.ExperimentSpec, samples: Samples, dataset: Dataset, data_dir: Path | None, listener: Listener
) -> Callable[[int], str]:
    """The number of a row → the row in one line. The words are read when the first row is asked for."""

    @cache
    def words() -> Mapping[int, str] | None:
        tokens = isinstance(samples.inputs, TokenRows)
        return token_words_of(spec.dataset, data_dir, listener.message) if tokens else None

    return lambda row: row_in_one_line(samples.inputs, row, dataset.feature_names, words())


def _mean_and_std(members: Sequence[MemberScores]) -> list[tuple[str, float, float]]:
    """(name, mean, standard deviation) of each score over several networks."""
    values = {name: [m.scores[name] for m in members] for name in members[0].scores}
    with np.errstate(invalid="ignore"):  # a score may be no number
        return [
            (name, float(np.mean(each)), float(np.std(each, ddof=1)) if len(each) > 1 else math.nan)
            for name, each in values.items()
        ]


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


def _tested_epochs(weights: UsedWeights) -> dict[int, int]:
    """As the record has them: member id → epoch."""
    pairs = zip(weights.members, weights.epochs, strict=True)
    return {0 if m is None else m.id: of.epoch for m, of in pairs if of is not None}


def _test_members(members: Sequence[MemberScores]) -> dict[str, dict[str, float]] | None:
    """Member → its scores on the test set; None for a run of one network."""
    return {m.member: m.scores for m in members if m.member is not None} or None


def fold_of(network: TrainedNetwork, spec: schema.ExperimentSpec, dataset: Dataset) -> Fold:
    """The rows that the network was trained and validated on."""
    member = network.member
    if member is not None and member.type == "seed":
        return folds_of(spec, dataset, member.id)[0]
    return folds_of(spec, dataset, spec.seed)[0 if member is None else member.id]
