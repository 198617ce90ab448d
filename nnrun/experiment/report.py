"""A run, or several, as one page that anybody can open: what was tried, how it went, how to repeat it."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from nnrun.errors import DataError
from nnrun.experiment.baseline import SHUFFLED
from nnrun.experiment.curves import make_panels
from nnrun.experiment.listener import Listener
from nnrun.experiment.report_analysis import analysis_blocks
from nnrun.figures.curves import curves_figure, name_of, title_of
from nnrun.figures.page import Block, Page, Paragraph, Picture, Section, Table, render
from nnrun.figures.svg import inline_svg
from nnrun.records import MEMBER_KINDS, RunDirectory
from nnrun.records.files import write_text

_DONE = {
    "completed": "trained",
    "running": "still training, or killed",
    "interrupted": "interrupted",
    "failed": "failed",
    "diverged": "diverged",
}


def write_report(
    runs: Sequence[RunDirectory], output: Path | None, data_dir: Path | None, listener: Listener
) -> Path:
    """Write the page to a file, or into the first run's folder, and give back its path.

    The test set is not looked at.

    Args:
        runs: one section each.
        output: the file, or None.
        data_dir: where data files are looked for first.
        listener: is told what happens.
    """
    analyses = {r.id: analysis_blocks(r, data_dir, listener, f"run {i}") for i, r in enumerate(runs)}
    text = report_page(runs, analyses)
    if output is None:
        return runs[0].write_report(text)
    write_text(output, text)
    return output


def report_page(runs: Sequence[RunDirectory], analyses: Mapping[str, Sequence[Block]]) -> str:
    """The page as HTML.

    Args:
        runs: one section each; several are also drawn and listed side by side.
        analyses: run id → what its predictions on the validation rows show, where that is known.
    """
    records = [run.read_record() for run in runs]
    sections = []
    if len(runs) > 1:
        sections.append(Section("Side by side", [_side_by_side(runs, records), *_curves(runs, "together")]))
    for place, (run, record) in enumerate(zip(runs, records, strict=True)):
        blocks = [
            _summary(record),
            *_curves([run], f"run {place}"),
            *analyses.get(run.id, ()),
            _data(record),
            _environment(record),
            _repeat(run, record),
            Block("Spec", code=run.read_resolved().rstrip(), folded="every default filled in"),
        ]
        sections.append(Section(run.id if len(runs) > 1 else "", blocks))
    one = records[0]
    title = str(one.get("name")) if len(runs) == 1 else f"{len(runs)} runs of nnrun"
    subtitle = runs[0].id if len(runs) == 1 else ", ".join(run.id for run in runs)
    return render(Page(title, subtitle, sections))


def _summary(record: Mapping[str, Any]) -> Block:
    paragraphs = [Paragraph(_headline(record))]
    if record.get("smoke"):
        paragraphs.append(Paragraph("This was a smoke run: its numbers mean nothing.", "warning"))
    if record.get("error"):
        paragraphs.append(Paragraph(str(record["error"]), "warning"))
    if record.get("verdict"):
        paragraphs.append(Paragraph(str(record["verdict"]), "verdict"))
    if record.get("parent"):
        paragraphs.append(Paragraph(f"It comes from {record['parent']}.", "muted"))
    uses = record.get("test_uses") or []
    if uses:
        times = "once" if len(uses) == 1 else f"{len(uses)} times"
        paragraphs.append(Paragraph(f"This run has looked at the test set {times}.", "muted"))
    table = _scores(record)
    return Block(paragraphs=paragraphs, tables=[table] if table.rows else [])


def _headline(record: Mapping[str, Any]) -> str:
    rows = record.get("rows") or {}
    status = _DONE.get(str(record.get("status")), str(record.get("status")))
    epochs = record.get("epochs_run")
    text = f"{status[:1].upper()}{status[1:]}, {epochs} epoch{'' if epochs == 1 else 's'}"
    seconds = record.get("training_seconds")
    text += f" in {seconds:.1f} s" if isinstance(seconds, (int, float)) else ""
    text += f" on {record.get('device')}"
    if rows.get("train"):
        text += f"; {rows['train']:,} training rows"
        text += f", {rows['validation']:,} validation rows" if rows.get("validation") else ""
    kind, members = _members(record)
    if kind is not None:
        text += f"; {len(members)} {kind}{'' if len(members) == 1 else 's'}"
    parameters = record.get("parameters")
    return f"{text}; {parameters:,} parameters." if isinstance(parameters, int) else f"{text}."


def _members(record: Mapping[str, Any]) -> tuple[str | None, Sequence[Any]]:
    for kind in MEMBER_KINDS:
        members = record.get(f"{kind}s")
        if isinstance(members, list) and members:
            return kind, members
    return None, ()


def _scores(record: Mapping[str, Any]) -> Table:
    """Training, validation, test and baseline, as far as they are there."""
    best, last = record.get("best") or {}, record.get("last") or {}
    scores, std = best or last, (record.get("best_std") or {}) if best else {}
    test, test_std = record.get("test") or {}, record.get("test_std") or {}
    baseline = record.get("baseline") or {}
    names = [n for n in scores if not n.startswith("val_")] or list(test)
    columns = {
        "training": {n: _number(scores.get(n), std.get(n)) for n in names},
        "validation": {n: _number(scores.get(f"val_{n}"), std.get(f"val_{n}")) for n in names},
        "test": {n: _number(test.get(n), test_std.get(n)) for n in names},
        "baseline": {n: _number(baseline.get(n)) for n in names},
    }
    shown = {heading: cells for heading, cells in columns.items() if any(cells.values())}
    where = f"epoch {record.get('epochs_run')}"
    if best:
        where = f"best epoch, {record.get('best_epoch')} (by {record.get('chosen_by')})"
    notes = [f"At the {where}." if best else f"At {where}."]
    kind, _ = _members(record)
    if std:
        notes.append(f"Mean ± standard deviation over the {kind}s.")
    notes += _interval(record)
    if baseline:
        what = "the majority class" if "accuracy" in baseline else "the mean of the training targets"
        notes.append(f"Baseline: {what}, for all {record.get('baseline_on')} rows.")
    if SHUFFLED in baseline:
        notes.append(f"Shuffled labels would score {baseline[SHUFFLED]:.2f}.")
    rows = [[name_of(n), *(cells[n] for cells in shown.values())] for n in names]
    return Table(["", *shown], rows, " ".join(notes))


def _interval(record: Mapping[str, Any]) -> list[str]:
    intervals = record.get("best_interval") or {}
    told = [f"{n} {low:.4g} to {high:.4g}" for n, (low, high) in intervals.items() if n.startswith("val_")]
    return [f"95 % interval of the mean: {', '.join(told)}."] if told else []


def _number(value: object, std: object = None) -> str:
    if not isinstance(value, (int, float)):
        return ""
    return f"{value:.4f} ± {std:.4f}" if isinstance(std, (int, float)) else f"{value:.4f}"


def _side_by_side(runs: Sequence[RunDirectory], records: Sequence[Mapping[str, Any]]) -> Block:
    names = list(dict.fromkeys(name for record in records for name in record.get("best") or {}))
    names = [name for name in names if name.startswith("val_")]
    tests = list(dict.fromkeys(name for record in records for name in record.get("test") or {}))
    rows = []
    for run, record in zip(runs, records, strict=True):
        best, std, test = (record.get(key) or {} for key in ("best", "best_std", "test"))
        rows.append(
            [
                run.id,
                str(record.get("best_epoch") or ""),
                *(_number(best.get(name), std.get(name)) for name in names),
                *(_number(test.get(name)) for name in tests),
            ]
        )
    headings = ["run", "best epoch", *names, *(f"test {name}" for name in tests)]
    return Block(tables=[Table(headings, rows)])


def _curves(runs: Sequence[RunDirectory], salt: str) -> list[Block]:
    """A figure for each measure that all the runs have."""
    try:
        panels = make_panels(runs)
    except DataError as error:  # no epoch has ended
        return [Block("Curves", [Paragraph(str(error), "muted")])]
    pictures = [
        Picture(
            inline_svg(
                curves_figure({measure: curves}, note=panels.note),
                title_of(measure, curves),
                f"{salt} {measure}",
            )
        )
        for measure, curves in panels.curves.items()
    ]
    left_out = panels.left_out_text([run.id for run in runs])
    return [Block("Curves", [Paragraph(left_out, "muted")] if left_out else [], pictures)]


def _data(record: Mapping[str, Any]) -> Block:
    rows = [
        [str(e.get("name")), f"{e.get('rows'):,}", str(e.get("sha256")), str(e.get("note") or "")]
        for e in record.get("data") or []
        if isinstance(e, Mapping) and isinstance(e.get("rows"), int)
    ]
    return Block("Data", tables=[Table(["file", "rows", "SHA-256", ""], rows, words=True)])


def _environment(record: Mapping[str, Any]) -> Block:
    told = {
        "started": record.get("started"),
        "device": record.get("device"),
        "CPU threads": record.get("threads"),
        "steps": "compiled" if record.get("compiled") else "one by one",
        "seed": record.get("seed"),
        "git commit": record.get("git_commit"),
        **(record.get("versions") or {}),
    }
    rows = [[name, str(value)] for name, value in told.items() if value is not None]
    return Block("Environment", tables=[Table(["", ""], rows, words=True)])


def _repeat(run: RunDirectory, record: Mapping[str, Any]) -> Block:
    path = shlex.quote(str(run.path))
    return Block(
        "Repeat it",
        [Paragraph("Trains the spec again and compares the history and the weights with this run's.")],
        code=f"nnrun reproduce {path}",
    )
