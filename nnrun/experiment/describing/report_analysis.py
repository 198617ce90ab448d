"""What a run's predictions on its validation rows show, as blocks of a report."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from nnrun.errors import DataError, UsageError, one_line
from nnrun.experiment.evaluating.average_outputs import combination_text
from nnrun.experiment.evaluating.error_analysis import (
    Classification,
    ClassScores,
    MultiLabel,
    Residuals,
    label_scores,
)
from nnrun.experiment.evaluating.evaluate import evaluate_run
from nnrun.experiment.running.listener import Listener
from nnrun.figures.evaluation_figures import (
    calibration_figure,
    confusion_figure,
    labels_figure,
    residuals_figure,
)
from nnrun.figures.page import Block, Paragraph, Picture, Table
from nnrun.figures.svg import inline_svg
from nnrun.records import RunDirectory, WeightsChoice
from nnrun.spec.reading.overrides import Overrides


def analysis_blocks(
    run: RunDirectory,
    data_dir: Path | None,
    listener: Listener,
    salt: str,
    weights: WeightsChoice = "last",
    overrides: Overrides = (),
) -> Sequence[Block]:
    """Tables and figures of the validation rows; the test set is not looked at.

    Where there are no such rows, or the data or the weights are missing, a sentence says so.

    Args:
        run: the run.
        data_dir: where data files are looked for first.
        listener: is told what happens.
        salt: different for each run of a page.
        weights: those that training ended with, or those of the best epoch.
        overrides: where the files of the run's spec are now.
    """
    title = "Predictions on the validation rows"
    try:
        evaluation = evaluate_run(
            run,
            split="validation",
            weights=weights,
            overrides=overrides,
            data_dir=data_dir,
            listener=listener,
        )
    except (UsageError, DataError) as error:
        return [Block(title, [Paragraph(str(error), "muted")])]
    analysis = evaluation.analysis
    if analysis is None:
        return [
            Block(
                title,
                [Paragraph("The predictions are neither classes or labels nor one number per row.", "muted")],
            )
        ]
    rows = f"{analysis.rows:,} validation rows"
    how = combination_text(evaluation.combination, evaluation.networks, evaluation.kind)
    said = Paragraph(f"Each row is predicted {how}; weights: {evaluation.weights.text}.", "muted")
    if isinstance(analysis, Residuals):
        return [_residuals(analysis, title, rows, salt, said)]
    if isinstance(analysis, MultiLabel):
        return [_labels(analysis, title, rows, salt, said)]
    return _classes(analysis, title, rows, salt, said)


def _classes(analysis: Classification, title: str, rows: str, salt: str, said: Paragraph) -> list[Block]:
    names = [one_line(of_class.name) for of_class in analysis.classes]
    calibration = analysis.calibration
    bins = np.array([(b.low, b.high, b.rows, b.confidence, b.accuracy) for b in calibration.bins])
    confusion = confusion_figure(np.array(analysis.confusion), names, rows)
    reliability = calibration_figure(bins, calibration.error, rows)
    scores = [_class_row(c) for c in (*analysis.classes, analysis.macro, analysis.weighted)]
    mistakes = Table(
        ["row", "true", "predicted", "probability"],
        [
            [str(m.row), one_line(m.true), one_line(m.predicted), f"{m.probability:.3f}"]
            for m in analysis.mistakes
        ],
        words=True,
        texts=[m.text for m in analysis.mistakes],
    )
    return [
        Block(
            title,
            [Paragraph(f"{analysis.wrong:,} of {rows} were misclassified."), said],
            tables=[Table(["class", "precision", "recall", "F1", "rows"], scores)],
        ),
        Block(
            "Confusion and calibration",
            [
                Paragraph(
                    f"Expected calibration error {calibration.error:.4f}: mean confidence "
                    f"{calibration.confidence:.4f}, accuracy {calibration.accuracy:.4f}."
                )
            ],
            [
                Picture(inline_svg(confusion, "Confusion matrix", f"{salt} confusion"), detailed=True),
                Picture(inline_svg(reliability, "Reliability diagram", f"{salt} calibration")),
            ],
        ),
        Block(
            "The most confident mistakes",
            tables=[mistakes] if analysis.mistakes else [],
            paragraphs=[] if analysis.mistakes else [Paragraph("None.")],
        ),
    ]


def _labels(analysis: MultiLabel, title: str, rows: str, salt: str, said: Paragraph) -> Block:
    scores = [_class_row(c) for c in (*analysis.labels, analysis.micro, analysis.macro, analysis.weighted)]
    text = f"All labels are correct in {analysis.right:,} of {rows}."
    figure = labels_figure(*label_scores(analysis), rows)
    return Block(
        title,
        [Paragraph(text), said],
        [Picture(inline_svg(figure, "Scores of each label", f"{salt} labels"))],
        tables=[Table(["label", "precision", "recall", "F1", "rows"], scores)],
    )


def _class_row(scores: ClassScores) -> list[str]:
    return [
        one_line(scores.name),
        f"{scores.precision:.3f}",
        f"{scores.recall:.3f}",
        f"{scores.f1:.3f}",
        f"{scores.support:,}",
    ]


def _residuals(analysis: Residuals, title: str, rows: str, salt: str, said: Paragraph) -> Block:
    figure = residuals_figure(analysis.true, analysis.predicted, rows)
    quantiles = [[f"{share:.0%}", f"{value:.4g}"] for share, value in analysis.quantiles]
    worst = [[str(w.row), f"{w.true:.4g}", f"{w.predicted:.4g}", f"{w.residual:.4g}"] for w in analysis.worst]
    text = (
        f"Residuals are true minus predicted, in the target's own units: mean {analysis.mean:.4g}, standard "
        f"deviation {analysis.std:.4g}, mean absolute error {analysis.mae:.4g}."
    )
    return Block(
        title,
        [Paragraph(text), said],
        [Picture(inline_svg(figure, "Predicted against true values", f"{salt} residuals"))],
        [
            Table(["quantile", "residual"], quantiles),
            Table(["row", "true", "predicted", "residual"], worst, "Largest errors."),
        ],
    )
