"""A sweep as one page that anybody can open: what was tried, what was chosen by what, what that is worth."""

from __future__ import annotations

import shlex
from pathlib import Path

from nnrun.atomic_files import write_text
from nnrun.experiment.describing.report import spec_block
from nnrun.experiment.finished.nested_text import (
    choices_text,
    nested_columns,
    nested_heading,
    nested_interval_text,
    nested_rows,
    nested_text,
)
from nnrun.experiment.finished.sweep_text import (
    best_trial_text,
    board,
    failures_text,
    optimism_text,
    sweep_headline,
)
from nnrun.experiment.sweeping.sweep_listener import sweep_line
from nnrun.experiment.sweeping.sweep_result import figure_of
from nnrun.figures.page import Block, Page, Paragraph, Picture, Section, Table, render
from nnrun.figures.svg import inline_svg
from nnrun.interrupts import stop_if_leaving
from nnrun.paths import path_from_here
from nnrun.records import SweepDirectory, SweepRecord
from nnrun.records.run_record import NestedRecord
from nnrun.spec.reading.load import read_kept_spec
from nnrun.spec.wording import counted


def write_sweep_report(sweep: SweepDirectory, output: Path | None) -> Path:
    """Write the page to a file, or into the sweep's folder, and give back its path.

    Raises:
        DataError: its record or its spec is missing or damaged.
    """
    text = sweep_page(sweep, sweep.read_record())
    stop_if_leaving()
    if output is None:
        return sweep.write_report(text)
    write_text(output, text)
    return output


def sweep_page(sweep: SweepDirectory, record: SweepRecord) -> str:
    """The page as HTML."""
    blocks = [
        _summary(record),
        *([] if record.nested is None else _nested(record, record.nested)),
        *_figure(sweep, record),
        _trials(sweep, record),
        _data(record),
        _repeat(sweep),
        spec_block(sweep),
    ]
    return render(Page(record.name, sweep.id, [Section("", blocks)]))


def _summary(record: SweepRecord) -> Block:
    first, *notes = sweep_headline(record).splitlines()
    paragraphs = [Paragraph(first), *(Paragraph(text, "warning") for text in notes)]
    paragraphs.append(Paragraph(sweep_line(record).partition(";")[0], "muted"))
    if best := best_trial_text(record):
        paragraphs.append(Paragraph(best, "verdict"))
    if worth := optimism_text(record):
        paragraphs.append(Paragraph(worth))
    if record.command is not None:
        paragraphs.append(Paragraph(f"nnrun {record.command} made it, to measure a setting."))
    paragraphs += [Paragraph(text, "warning") for text in failures_text(record).splitlines()]
    return Block("", paragraphs)


def _nested(record: SweepRecord, nested: NestedRecord) -> list[Block]:
    """How what was chosen within outer folds scores there, and what was chosen in each."""
    names, columns = nested_columns(nested)
    scores = Table(["", *columns], [[name, *(cells[name] for cells in columns.values())] for name in names])
    headings, *rows = nested_rows(nested)
    each = record.total if record.has_best else record.total // nested.k
    tried = counted(each, "trial") + ("" if record.has_best else " in each outer fold")
    remarks = [
        choices_text(nested, tried),
        nested_text(nested, has_best=record.has_best),
        nested_interval_text(nested),
    ]
    told = [Paragraph(line) for text in remarks for line in text.splitlines()]
    return [
        Block("Outer folds", [Paragraph(nested_heading(nested)), *told], tables=[scores]),
        Block("Chosen within each outer fold", tables=[Table(headings, rows)]),
    ]


def _figure(sweep: SweepDirectory, record: SweepRecord) -> list[Block]:
    """Scores against values; of trials that only measured a setting none, as `nnrun lr` draws its own."""
    section = read_kept_spec(sweep.read_resolved(), file=f"the spec of {sweep.id}").sweep
    if not record.ranked() or section is None or record.command is not None:
        return []
    svg = inline_svg(figure_of(record, section), "Scores of the trials against what was varied", "sweep")
    return [Block("Scores by value", figures=[Picture(svg)])]


def _trials(sweep: SweepDirectory, record: SweepRecord) -> Block:
    headings, *rows = board(record, every=True, gone=sweep.gone(record))
    return Block("Trials", tables=[Table(headings, rows)] if rows else [])


def _data(record: SweepRecord) -> Block:
    files = [[str(of.get(name, "")) for name in ("name", "rows", "sha256")] for of in record.data]
    told = {"started": record.started, "ended": record.ended, "seed": record.seed, **record.versions}
    environment = [[name, str(value)] for name, value in told.items() if value is not None]
    return Block(
        "Data and environment",
        tables=[
            Table(["file", "rows", "SHA-256"], files, words=True),
            Table(["", ""], environment, words=True),
        ],
    )


def _repeat(sweep: SweepDirectory) -> Block:
    said = "Tries the same again, each trial as a run of its own, on data of the same hash."
    spec = Path(path_from_here(sweep.path)) / sweep.resolved_spec.name
    return Block("Repeat it", [Paragraph(said)], code=f"nnrun sweep {shlex.quote(str(spec))} --new")
