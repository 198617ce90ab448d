"""What a run's predictions on its validation rows show, as blocks of a report."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from nnrun.errors import DataError, UsageError, one_line
from nnrun.experiment.evaluating.error_analysis import Classification, ClassScores, MultiLabel, Residuals
from nnrun.experiment.evaluating.evaluate import analysis_figures, evaluate_run
from nnrun.experiment.predicting.average_outputs import combination_text
from nnrun.experiment.running.listener import Listener
from nnrun.figures.page import Block, Paragraph, Picture, Table
from nnrun.figures.svg import inline_svg
from nnrun.records import RunDirectory, WeightsChoice
from nnrun.spec.reading.overrides import Overrides

_READ_ALOUD = {
    "confusion": "Confusion matrix",
    "calibration": "Reliability diagram",
    "labels": "Scores of each label",
    "residuals": "Predicted against true values",
}


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
        listener: receives progress messages.
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
    pictures = {
        name: Picture(inline_svg(figure, _READ_ALOUD[name], f"{salt} {name}"), detailed=name == "confusion")
        for name, figure in analysis_figures(analysis, rows).items()
    }
    if isinstance(analysis, Residuals):
        return [_residuals(analysis, title, said, pictures)]
    if isinstance(analysis, MultiLabel):
        text = f"All labels are correct in {analysis.right:,} of {rows}."
        each = (*analysis.labels, analysis.micro, analysis.macro, analysis.weighted)
        return [
            Block(title, [Paragraph(text), said], list(pictures.values()), [_scores_table("label", each)])
        ]
    return _classes(analysis, title, rows, said, pictures)


def _classes(
    analysis: Classification, title: str, rows: str, said: Paragraph, pictures: Mapping[str, Picture]
) -> list[Block]:
    calibration = analysis.calibration
    mistakes = Table(
        ["row", "true", "predicted", "probability"],
        [
            [str(m.row), one_line(m.true), one_line(m.predicted), f"{m.probability:.3f}"]
            for m in analysis.mistakes
        ],
        words=True,
        texts=[m.text for m in analysis.mistakes],
    )
    found = f"Expected calibration error {calibration.error:.4f}: mean confidence "
    found += f"{calibration.confidence:.4f}, accuracy {calibration.accuracy:.4f}."
    return [
        Block(
            title,
            [Paragraph(f"{analysis.wrong:,} of {rows} were misclassified."), said],
            tables=[_scores_table("class", (*analysis.classes, analysis.macro, analysis.weighted))],
        ),
        Block("Confusion and calibration", [Paragraph(found)], list(pictures.values())),
        Block(
            "The most confident mistakes",
            tables=[mistakes] if analysis.mistakes else [],
            paragraphs=[] if analysis.mistakes else [Paragraph("None.")],
        ),
    ]


def _scores_table(what: str, each: Sequence[ClassScores]) -> Table:
    rows = [
        [one_line(of.name), *(f"{v:.3f}" for v in (of.precision, of.recall, of.f1)), f"{of.support:,}"]
        for of in each
    ]
    return Table([what, "precision", "recall", "F1", "rows"], rows)


def _residuals(analysis: Residuals, title: str, said: Paragraph, pictures: Mapping[str, Picture]) -> Block:
    quantiles = [[f"{share:.0%}", f"{value:.4g}"] for share, value in analysis.quantiles]
    worst = [[str(w.row), f"{w.true:.4g}", f"{w.predicted:.4g}", f"{w.residual:.4g}"] for w in analysis.worst]
    text = (
        f"Residuals are true minus predicted, in the target's own units: mean {analysis.mean:.4g}, standard "
        f"deviation {analysis.std:.4g}, mean absolute error {analysis.mae:.4g}."
    )
    return Block(
        title,
        [Paragraph(text), said],
        list(pictures.values()),
        [
            Table(["quantile", "residual"], quantiles),
            Table(["row", "true", "predicted", "residual"], worst, "Largest errors."),
        ],
    )
