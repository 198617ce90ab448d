"""What `nnrun evaluate` finds, and the figures of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np

from nnrun.data.preprocess.unknown_values import Unknown
from nnrun.errors import one_line
from nnrun.experiment.evaluating.error_analysis import (
    Analysis,
    Classification,
    Residuals,
)
from nnrun.experiment.finished.used_weights import UsedWeights
from nnrun.experiment.predicting.intervals import (
    Calibrated,
)
from nnrun.experiment.predicting.outputs import Combination
from nnrun.records import MemberType, RunDirectory
from nnrun.records.run_record import CoverageRecord, LinearBaselineRecord
from nnrun.spec import schema
from nnrun.spec.ports import OUTPUT, Port, named
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
