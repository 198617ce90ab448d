"""A run as Python shows it: a line of text, a piece of HTML in a notebook, a figure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nnrun.errors import DataError, UsageError
from nnrun.experiment.describing.learning_curves import make_panels
from nnrun.experiment.describing.run_blocks import headline, score_tables
from nnrun.experiment.finished.record_text import SMOKE_TEXT, caution_text
from nnrun.figures.curve_figure import Phase, curves_figure, title_of
from nnrun.figures.fragment import fragment
from nnrun.figures.page import Block, Paragraph, Picture
from nnrun.figures.svg import inline_svg
from nnrun.records import RunDirectory

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_MOST_CURVES = 2  # the loss and the first metric; `plot` draws all


def run_html(run: RunDirectory) -> str:
    """How a run went, its scores and its first curves; where it cannot be read, a sentence that says so."""
    try:
        return fragment(_block(run))
    except DataError as error:
        return fragment(Block(run.id, [Paragraph(str(error), "warning")]))


def _block(run: RunDirectory) -> Block:
    record = run.read_record()
    said = [Paragraph(headline(record))]
    said += [Paragraph(text, "warning") for text in caution_text(record).splitlines()]
    said += [Paragraph(SMOKE_TEXT, "warning")] if record.smoke else []
    said += [Paragraph(record.error, "warning")] if record.error else []
    said += [Paragraph(record.own_verdict)] if record.own_verdict else []
    pictures: list[Picture] = []
    try:
        panels = make_panels([run])
    except DataError as error:  # no epoch has ended
        said.append(Paragraph(str(error), "muted"))
    else:
        shown = dict(list(panels.curves.items())[:_MOST_CURVES])
        titles = [title_of(measure, curves, panels.outputs) for measure, curves in shown.items()]
        if shown:
            figure = curves_figure(shown, note=panels.note, outputs=panels.outputs)
            pictures.append(Picture(inline_svg(figure, ", ".join(titles), run.id)))
    return Block(run.id, said, pictures, score_tables(record, at_last=False))


def run_figure(
    run: RunDirectory,
    *,
    metric: str | None = None,
    only: Phase | None = None,
    smooth: float = 0.0,
    skip: int = 0,
    log: bool = False,
) -> Figure:
    """The loss and the metrics by epoch, a panel each; arguments as of `make_panels`.

    Raises:
        UsageError: there is no such metric, or nothing to draw.
        DataError: no epoch has ended.
    """
    if not 0 <= smooth < 1:
        raise UsageError(f"smooth must be at least 0 and below 1, but got {smooth:g}.")
    panels = make_panels([run], metric=metric, only=only, smooth=smooth, skip=skip, log=log)
    if not panels.curves:
        raise UsageError(f"No figure of {run.id}. {panels.left_out_text([run.id])}")
    return curves_figure(panels.curves, note=panels.note, log=panels.log, outputs=panels.outputs)
