"""What a run shows first: how it went, its scores, its curves. For its page and for a notebook."""

from __future__ import annotations

from collections.abc import Sequence

from nnrun.errors import DataError
from nnrun.experiment.describing.learning_curves import make_panels
from nnrun.experiment.finished.ensemble_text import ensemble_text
from nnrun.experiment.finished.record_text import (
    baseline_text,
    interval_text,
    kept_text,
    member_rows,
    procedure_text,
    rows_in_words,
    score_table,
    taken_over_headline,
    unfinished_text,
)
from nnrun.figures.curve_figure import curves_figure, name_of, outputs_among, title_of
from nnrun.figures.page import Block, Paragraph, Picture, Table
from nnrun.figures.svg import inline_svg
from nnrun.records import RunDirectory, RunRecord
from nnrun.spec.wording import counted

_DONE = {
    "completed": "trained",
    "running": "still training, or killed",
    "interrupted": "interrupted",
    "failed": "failed",
    "diverged": "diverged",
}


def headline(record: RunRecord) -> str:
    """How it went, in a sentence or two."""
    if record.ensemble is not None and record.ensemble.taken_over:
        text = taken_over_headline(record)
        return f"{text[:1].upper()}{text[1:]}."
    status = _DONE.get(str(record.status), str(record.status))
    text = f"{status[:1].upper()}{status[1:]}, {counted(record.epochs_run, 'epoch')}"
    seconds = record.training_seconds
    text += "" if seconds is None else f" in {seconds:.1f} s"
    text += f" on {record.device}"
    if record.rows.train:
        text += f"; {rows_in_words(record.rows, ', ')}"
    if record.member_type is not None:
        text += f"; {counted(len(record.member_ids), record.member_type)}"
    text += "." if record.parameters is None else f"; {record.parameters:,} parameters."
    unfinished = unfinished_text(record)
    return " ".join([text, *unfinished.split("\n")]) if unfinished else text


def score_tables(record: RunRecord, at_last: bool) -> list[Table]:
    """The table of the closing screen, and beneath it what its numbers are."""
    scores = score_table(record, last_epoch=at_last)
    if scores is None:
        return []
    chosen = f"{scores.heading[:1].upper()}{scores.heading[1:]}"
    notes = (
        f"{chosen}.",
        ensemble_text(record),
        procedure_text(record),
        "" if at_last else kept_text(record),
        "" if at_last and not record.is_nested else interval_text(record),
        baseline_text(record),
    )
    outputs = outputs_among(scores.names)
    headings, *rows = scores.rows(lambda measure: name_of(measure, outputs))
    tables = [Table(headings, rows, " ".join(note for note in notes if note))]
    each = member_rows(record, last_epoch=at_last)
    return [*tables, Table(each[0], each[1:])] if each else tables


def curve_blocks(runs: Sequence[RunDirectory], salt: str) -> list[Block]:
    """A figure for each measure that all the runs have."""
    try:
        panels = make_panels(runs)
    except DataError as error:  # no epoch has ended
        return [Block("Curves", [Paragraph(str(error), "muted")])]
    pictures = [
        Picture(
            inline_svg(
                curves_figure({measure: curves}, note=panels.note, outputs=panels.outputs),
                title_of(measure, curves, panels.outputs),
                f"{salt} {measure}",
            )
        )
        for measure, curves in panels.curves.items()
    ]
    left_out = panels.left_out_text([run.id for run in runs])
    return [Block("Curves", [Paragraph(left_out, "muted")] if left_out else [], pictures)]
