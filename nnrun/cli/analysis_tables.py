"""The tables of `nnrun evaluate`: what lies behind the scores, on a screen of a given width.

Each has a full form and a brief one, whose length a `Brief` sets.
"""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from nnrun.cli.output import aligned, shortened
from nnrun.errors import one_line

if TYPE_CHECKING:
    from nnrun.experiment.evaluating.error_analysis import (
        Analysis,
        Calibration,
        Classification,
        ClassScores,
        Mistake,
        MultiLabel,
        Residuals,
        WorstRow,
    )

_MOST_CLASSES_IN_A_MATRIX = 12
_MOST_CLASSES_IN_A_BRIEF_MATRIX = 3
_INDENT = "      "


@dataclass(frozen=True)
class Brief:
    """How much a brief form shows.

    Attributes:
        classes: so many classes or labels, those with the lowest F1.
        mistakes: so many rows, a line each.
        confusions: so many pairs of classes.
    """

    classes: int
    mistakes: int
    confusions: int


def analysis_text(found: Analysis, width: int, brief: Brief | None) -> str:
    """What an analysis found: all of it, or as much as a brief form shows."""
    from nnrun.experiment.evaluating.error_analysis import Classification, MultiLabel

    if isinstance(found, Classification):
        return _classification(found, width) if brief is None else _brief_classification(found, width, brief)
    if isinstance(found, MultiLabel):
        return _multi_label(found, width, brief)
    blocks = [_spread(found)]
    shown = found.worst if brief is None else found.worst[: brief.mistakes]
    if shown:
        with_texts = _with_texts if brief is None else _lines_with_texts
        blocks.append(with_texts("Largest errors", _worst_rows(shown), [row.text for row in shown], width))
    return "\n\n".join(blocks)


def _brief_classification(found: Classification, width: int, brief: Brief) -> str:
    """The worst classes, and mistakes in a line each."""
    means = (found.macro, found.weighted)
    blocks = [_worst_scores(_classes_head(found), "class", found.classes, means, brief, width)]
    as_matrix = brief.confusions and len(found.classes) <= _MOST_CLASSES_IN_A_BRIEF_MATRIX
    if as_matrix:
        blocks.append(_confusion(found, width))
    sentences = []
    if not as_matrix and found.confusions[: brief.confusions]:
        most = found.confusions[: brief.confusions]
        pairs = [f"{one_line(c.true)} as {one_line(c.predicted)} ({c.rows:,})" for c in most]
        sentences.append(f"Most frequent confusions: {', '.join(pairs)}")
    sentences.append(_calibration_sentence(found.calibration))
    blocks.append("\n".join(textwrap.fill(sentence, width) for sentence in sentences))
    shown = found.mistakes[: brief.mistakes]
    if shown:
        head = f"Most confident mistakes, {len(shown)} of {found.wrong:,}"
        blocks.append(_lines_with_texts(head, _mistake_rows(shown), [m.text for m in shown], width))
    elif found.mistakes:
        blocks[-1] += "\n-v shows the most confident mistakes"
    return "\n\n".join(block for block in blocks if block)


def _worst_scores(
    head: str,
    what: str,
    each: Sequence[ClassScores],
    means: Sequence[ClassScores],
    brief: Brief,
    width: int,
) -> str:
    """Scores of the classes with the lowest F1 among those that occur, and the means."""
    seen = [scores for scores in each if scores.support or scores.predicted]
    if len(seen) <= brief.classes + 1:
        return f"{textwrap.fill(head, width)}\n{_scores(what, each, means)}"
    worst = sorted(seen, key=lambda scores: (scores.f1, -scores.support))[: brief.classes]
    which = "the one" if len(worst) == 1 else f"the {len(worst)}"
    few = f"; below, {which} with the lowest F1 (-v shows all {len(seen)})" if worst else ""
    return f"{textwrap.fill(f'{head}{few}', width)}\n{_scores(what, worst, means, gap=False)}"


def _lines_with_texts(head: str, table: Sequence[Sequence[str]], texts: Sequence[str], width: int) -> str:
    """A table with as much of each row's text next to it as fits."""
    heading, *lines = aligned(table, right_first=True).split("\n")
    room = max(map(len, lines))
    rows = [
        shortened(f"{line:<{room}}  {' '.join(text.split())}", width).rstrip()
        for line, text in zip(lines, texts, strict=True)
    ]
    return "\n".join([head, heading, *rows])


def _mistake_rows(mistakes: Sequence[Mistake]) -> list[list[str]]:
    from nnrun.experiment.evaluating.error_analysis import place_cells, place_headings

    table = [[*place_headings(mistakes[0]), "true", "predicted", "probability", "of true"]]
    for m in mistakes:
        of_mistake = [f"{m.probability:.4f}", f"{m.probability_of_true:.4f}"]
        table.append([*place_cells(m), m.true, m.predicted, *of_mistake])
    return table


def _worst_rows(rows: Sequence[WorstRow]) -> list[list[str]]:
    from nnrun.experiment.evaluating.error_analysis import place_cells, place_headings

    table = [[*place_headings(rows[0]), "true", "predicted", "residual"]]
    for row in rows:
        numbers = [f"{value:.4g}" for value in (row.true, row.predicted, row.residual)]
        table.append([*place_cells(row), *numbers])
    return table


def _classification(found: Classification, width: int) -> str:
    """Scores per class, confusion, mistakes and calibration."""
    table = _scores("class", found.classes, (found.macro, found.weighted))
    unseen = _unseen("classes", "leaves them out", found.classes, width)
    blocks = ["\n".join([_classes_head(found), table, *unseen]), _confusion(found, width)]
    if found.mistakes:
        head = f"Most confident mistakes, {len(found.mistakes)} of {found.wrong:,}"
        texts = [mistake.text for mistake in found.mistakes]
        blocks.append(_with_texts(head, _mistake_rows(found.mistakes), texts, width))
    blocks.append(_calibration(found.calibration, width))
    return "\n\n".join(block for block in blocks if block)


def _classes_head(found: Classification) -> str:
    right = found.rows - found.wrong
    return f"Classes: {right:,} of {found.rows:,} rows are correct ({right / found.rows:.4f})"


def _spread(found: Residuals) -> str:
    names = [f"{share * 100:g} %" for share, _ in found.quantiles]
    spread = [f"{value:.4g}" for value in (found.mean, found.std, found.mae)]
    return (
        f"Residuals (true - predicted) of {found.rows:,} rows, in the target's units\n"
        + aligned([["mean", "std", "MAE"], spread], right_first=True)
        + "\n\nQuantiles of the residuals\n"
        + aligned([names, [f"{value:.4g}" for _, value in found.quantiles]], right_first=True)
    )


def _multi_label(found: MultiLabel, width: int, brief: Brief | None) -> str:
    """Scores per label, or of the worst labels."""
    head = (
        f"Labels: all labels are correct in {found.right:,} of {found.rows:,} rows "
        f"({found.right / found.rows:.4f}); a label is predicted where its probability is above 0.5"
    )
    means = (found.micro, found.macro, found.weighted)
    if brief is not None:
        return _worst_scores(head, "label", found.labels, means, brief, width)
    table = _scores("label", found.labels, means)
    return "\n".join(
        [textwrap.fill(head, width), table, *_unseen("labels", "counts them as 0", found.labels, width)]
    )


def _scores(what: str, each: Sequence[ClassScores], means: Sequence[ClassScores], gap: bool = True) -> str:
    """A table of those that occur or were predicted, and the means, by default below a blank line."""

    def line(scores: ClassScores) -> list[str]:
        values = [f"{value:.4f}" for value in (scores.precision, scores.recall, scores.f1)]
        return [scores.name, *values, f"{scores.support:,}"]

    seen = [scores for scores in each if scores.support or scores.predicted]
    table = [[what, "precision", "recall", "F1", "support"]]
    lines = aligned([*table, *map(line, (*seen, *means))]).split("\n")
    if gap:
        lines.insert(len(lines) - len(means), "")
    return "\n".join(lines)


def _unseen(what: str, macro: str, each: Sequence[ClassScores], width: int) -> list[str]:
    unseen = sum(not (scores.support or scores.predicted) for scores in each)
    sentence = (
        f"{unseen} of the {len(each)} {what} occur neither in these rows nor among the predictions; the "
        f"macro mean {macro}."
    )
    return [textwrap.fill(sentence, width)] if unseen else []


def _confusion(found: Classification, width: int) -> str:
    names = [scores.name for scores in found.classes]
    if len(names) <= _MOST_CLASSES_IN_A_MATRIX:
        head = "Confusion matrix: rows true, columns predicted"
        named = aligned(
            [["", *names], *([n, *map(_count, row)] for n, row in zip(names, found.confusion, strict=True))]
        )
        numbered = aligned(
            [
                ["", *map(str, range(len(names)))],
                *([f"{i} {names[i]}", *map(_count, row)] for i, row in enumerate(found.confusion)),
            ]
        )
        for matrix in (named, numbered):
            if max(map(len, matrix.split("\n"))) <= width:
                return f"{head}\n{matrix}"
    if not found.confusions:
        return ""
    table = [["true", "predicted", "rows", "of true"]]
    for c in found.confusions:
        table.append([c.true, c.predicted, f"{c.rows:,}", f"{c.share:.4f}"])
    return f"Most frequent confusions\n{aligned(table)}"


def _calibration(found: Calibration, width: int) -> str:
    table = [["confidence", "rows", "mean", "accuracy"]]
    for b in found.bins:
        edges = f"{b.low:.2f} to {b.high:.2f}"
        table.append([edges, f"{b.rows:,}", f"{b.confidence:.4f}", f"{b.accuracy:.4f}"])
    return f"{textwrap.fill(_calibration_sentence(found), width)}\n{aligned(table)}"


def _calibration_sentence(found: Calibration) -> str:
    return (
        f"Calibration: expected calibration error {found.error:.4f}; "
        f"mean confidence {found.confidence:.4f}, accuracy {found.accuracy:.4f}"
    )


def _with_texts(head: str, table: Sequence[Sequence[str]], texts: Sequence[str], width: int) -> str:
    """A table with the text of each of its rows below it, at most two lines of it."""
    heading, *lines = aligned(table, right_first=True).split("\n")
    parts = [head, heading]
    for line, text in zip(lines, texts, strict=True):
        parts.append(line)
        parts += textwrap.wrap(
            text,
            width,
            initial_indent=_INDENT,
            subsequent_indent=_INDENT,
            max_lines=2,
            placeholder=" ...",
            break_on_hyphens=False,
        )
    return "\n".join(parts)


def _count(number: int) -> str:
    return f"{number:,}" if number else "."
