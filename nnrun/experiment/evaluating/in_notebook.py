"""An evaluation as Python shows it: a line of text, and a piece of HTML in a notebook."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nnrun.errors import one_line
from nnrun.experiment.evaluating.error_analysis import Analysis, Classification, ClassScores, MultiLabel
from nnrun.experiment.finished.record_text import range_in_words
from nnrun.figures.fragment import fragment
from nnrun.figures.page import Block, Paragraph, Picture, Table
from nnrun.figures.svg import inline_svg
from nnrun.spec.wording import counted, score_text, with_std

if TYPE_CHECKING:
    from nnrun.experiment.evaluating.evaluation import Evaluation

_MOST_CLASSES = 20


def evaluation_text(evaluation: Evaluation) -> str:
    """`Evaluation('reuters-...', 2,246 test rows: loss 0.98, accuracy 0.79 (baseline 0.36))`."""
    parts = []
    for name, value in evaluation.scores.items():
        baseline = evaluation.baseline.get(name)
        beside = "" if baseline is None else f" (baseline {score_text(baseline)})"
        parts.append(f"{name} {score_text(value)}{beside}")
    return f"Evaluation({evaluation.run.id!r}, {_rows(evaluation)}: {', '.join(parts)})"


def evaluation_html(evaluation: Evaluation) -> str:
    """Scores beside their baselines, what each class scores, and the first figure of each output."""
    said = [
        Paragraph(f"{_rows(evaluation)}."),
        Paragraph(f"Weights: {evaluation.weights.text}.", "muted"),
    ]
    if evaluation.look is not None:
        said.append(Paragraph(f"Look {evaluation.look} at this test set by {evaluation.name!r}.", "muted"))
    tables, pictures = [_scores(evaluation)], []
    for port, analysis in evaluation.analyses.items():
        of = f" of {port}" if evaluation.outputs_have_names else ""
        tables += _classes(analysis, of)
        pictures += _pictures(evaluation, analysis, f"{evaluation.run.id} {evaluation.split} {port}")
    return fragment(Block(f"{evaluation.run.id}, evaluated", said, pictures, tables))


def _rows(evaluation: Evaluation) -> str:
    counts = [member.rows for member in evaluation.members] or [evaluation.rows]
    text = f"{range_in_words(sorted({min(counts), max(counts)}))} {evaluation.split} rows"
    if evaluation.networks == 1 or evaluation.kind is None:
        return text
    return f"{text} for each of {counted(evaluation.networks, evaluation.kind)}"


def _scores(evaluation: Evaluation) -> Table:
    linear = {} if evaluation.linear_baseline is None else evaluation.linear_baseline.scores or {}
    columns = {
        evaluation.split: {
            name: with_std(value, evaluation.std.get(name)) for name, value in evaluation.scores.items()
        },
        "baseline": {name: with_std(evaluation.baseline.get(name)) for name in evaluation.scores},
        "linear": {name: with_std(linear.get(name)) for name in evaluation.scores},
    }
    shown = {heading: cells for heading, cells in columns.items() if any(cells.values())}
    rows = [[name, *(cells[name] for cells in shown.values())] for name in evaluation.scores]
    return Table(["", *shown], rows)


def _classes(analysis: Analysis | None, of: str) -> list[Table]:
    if isinstance(analysis, Classification):
        return [_of_each("class", analysis.classes, of)]
    return [_of_each("label", analysis.labels, of)] if isinstance(analysis, MultiLabel) else []


def _of_each(what: str, each: tuple[ClassScores, ...], of: str) -> Table:
    rows = [
        [
            one_line(found.name),
            *(f"{value:.3f}" for value in (found.precision, found.recall, found.f1)),
            f"{found.support:,}",
        ]
        for found in each[:_MOST_CLASSES]
    ]
    left = len(each) - _MOST_CLASSES
    note = f"And {left:,} more." if left > 0 else ""
    return Table([f"{what}{of}", "precision", "recall", "F1", "rows"], rows, note)


def _pictures(evaluation: Evaluation, analysis: Analysis | None, salt: str) -> list[Picture]:
    from nnrun.experiment.evaluating.evaluation import analysis_figures

    if analysis is None:
        return []
    name, figure = next(iter(analysis_figures(analysis, _rows(evaluation)).items()))
    return [Picture(inline_svg(figure, name, salt))]
