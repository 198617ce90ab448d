"""A run, or several, as one page that anybody can open: what was tried, the results, how to repeat it."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from nnrun.atomic_files import write_text
from nnrun.errors import DataError, SpecError, UsageError, one_line
from nnrun.experiment.describing.network_picture import network_figure, network_of_run
from nnrun.experiment.describing.run_blocks import curve_blocks, headline, score_tables
from nnrun.experiment.evaluating import importance_text
from nnrun.experiment.evaluating.draw_importance import (
    curve_figure_name,
    importance_figure_name,
    importance_figures,
)
from nnrun.experiment.evaluating.error_analysis import (
    Analysis,
    Classification,
    ClassScores,
    Mistake,
    MultiLabel,
    Residuals,
    WorstRow,
    place_cells,
    place_headings,
)
from nnrun.experiment.evaluating.evaluate import analyse_validation
from nnrun.experiment.evaluating.evaluation import Analysed, analysis_figures
from nnrun.experiment.finished.decision_text import decisions_text
from nnrun.experiment.finished.load_run import Access, load_run_spec
from nnrun.experiment.finished.look_text import looks_text
from nnrun.experiment.finished.record_text import (
    SMOKE_TEXT,
    best_epoch_text,
    caution_text,
    chosen_on,
    coverage_text,
)
from nnrun.experiment.finished.used_weights import UsedWeights, read_used_weights, recorded_weights
from nnrun.experiment.predicting.outputs import combination_text
from nnrun.experiment.setup.data_location import seen_from_here
from nnrun.figures.page import Block, Page, Paragraph, Picture, Section, Table, render
from nnrun.figures.svg import inline_svg
from nnrun.interrupts import stop_if_leaving
from nnrun.paths import path_from_here
from nnrun.records import RunDirectory, RunRecord, SweepDirectory, WeightsChoice, all_looks
from nnrun.spec.ports import Port
from nnrun.spec.reading.load import read_kept_spec
from nnrun.spec.wording import with_std
from nnrun.spec.writing.dump import dump_spec


def write_report(runs: Sequence[RunDirectory], output: Path | None, access: Access) -> Path:
    """Write the page to a file, or into the first run's folder, and give back its path.

    The test set is not looked at.

    Args:
        runs: one section each.
        output: the file, or None.
        access: how they are opened; scores and predictions are of these weights.

    Raises:
        UsageError, DataError: a run has no weights of a best epoch, and they are asked for.
    """
    if access.weights == "best":
        for run in runs:
            read_used_weights(run, list(run.members()) or [None], access.weights)
    analyses = {run.id: analysis_blocks(run, access, f"run {place}") for place, run in enumerate(runs)}
    networks = {run.id: network_block(run, access, f"run {place}") for place, run in enumerate(runs)}
    text = report_page(runs, analyses, access.weights, networks)
    stop_if_leaving()
    if output is None:
        return runs[0].write_report(text)
    write_text(output, text)
    return output


def report_page(
    runs: Sequence[RunDirectory],
    analyses: Mapping[str, Sequence[Block]],
    weights: WeightsChoice = "last",
    networks: Mapping[str, Block] | None = None,
) -> str:
    """The page as HTML.

    Args:
        runs: one section each; several are also drawn and listed side by side.
        analyses: run id → what its predictions on the validation rows show, where that is known.
        weights: whose predictions these are.
        networks: run id → the picture of its network.
    """
    records = [run.read_record() for run in runs]
    sections = []
    if len(runs) > 1:
        together = [_side_by_side(runs, records), *curve_blocks(runs, "together")]
        sections.append(Section("Side by side", together))
    for place, (run, record) in enumerate(zip(runs, records, strict=True)):
        blocks = [
            _summary(run, record, weights),
            *curve_blocks([run], f"run {place}"),
            *analyses.get(run.id, ()),
            *importance_blocks(run, f"run {place}"),
            *([networks[run.id]] if networks else []),
            _data(record),
            _environment(record),
            _repeat(run),
            spec_block(run),
        ]
        sections.append(Section(run.id if len(runs) > 1 else "", blocks))
    one = records[0]
    title = str(one.name) if len(runs) == 1 else f"{len(runs)} runs of nnrun"
    subtitle = runs[0].id if len(runs) == 1 else ", ".join(run.id for run in runs)
    return render(Page(title, subtitle, sections))


def _summary(run: RunDirectory, record: RunRecord, weights: WeightsChoice) -> Block:
    paragraphs = [Paragraph(headline(record))]
    if record.smoke:
        paragraphs.append(Paragraph(SMOKE_TEXT, "warning"))
    if record.error:
        paragraphs.append(Paragraph(record.error, "warning"))
    paragraphs += [Paragraph(text, "warning") for text in caution_text(record).splitlines()]
    if record.own_verdict:
        paragraphs.append(Paragraph(record.own_verdict, "verdict"))
    if record.parent:
        paragraphs.append(Paragraph(f"It comes from {record.parent}.", "muted"))
    if record.test_uses:
        looks = None if record.smoke else all_looks(run.runs_dir).of_record(record)
        paragraphs.append(Paragraph(looks_text(record, looks, run.runs_dir), "muted"))
    paragraphs += [Paragraph(text) for text in coverage_text(record.coverage).splitlines()]
    paragraphs += [Paragraph(text) for text in decisions_text(record).splitlines()]
    used = recorded_weights(record)
    at_last = _at_last(record, used, weights)
    if used is not None:
        paragraphs.append(Paragraph(_weights(run, record, used, weights, at_last), "muted"))
    return Block(paragraphs=paragraphs, tables=score_tables(record, at_last))


def _at_last(record: RunRecord, used: UsedWeights | None, weights: WeightsChoice) -> bool:
    """Whether the page is of the last epoch, and not of the best: as the weights that it tells of."""
    if weights == "best" or used is None or used.chosen_apart or record.ensemble is not None:
        return False
    if record.kept_apart:  # what these weights score stands in the table of the best epoch
        return False
    return used.epoch != record.best_epoch


def _weights(
    run: RunDirectory,
    record: RunRecord,
    used: UsedWeights,
    weights: WeightsChoice,
    at_last: bool,
) -> str:
    """Of which epoch the weights are whose predictions the page shows, and what the best epoch scored."""
    kind = record.member_type
    if weights == "best":
        networks = f"each {kind}'s" if kind is not None else "the"
        return f"The predictions below are those of {networks} best epoch's weights (--weights best)."
    text = f"The predictions below use the weights of {used.text}."
    if used.chosen_apart and record.best and record.ensemble is None and not record.kept_apart:
        text += (
            f" Each {kind}'s epoch was chosen on the rows that score it, so what these weights show there is "
            f"optimistic; the scores here are of one epoch for all {kind}s."
        )
    if at_last and record.best:
        scores = [
            f"{name} {with_std(value, record.best_std.get(name))}"
            for name, value in record.best.items()
            if name.startswith("val_")
        ]
        found = best_epoch_text(record)
        text += f" {found[:1].upper()}{found[1:]}, {chosen_on(record)}: {', '.join(scores)}"
        text += f" (nnrun report {shlex.quote(path_from_here(run.path))} --weights best)."
    return text


def _side_by_side(runs: Sequence[RunDirectory], records: Sequence[RunRecord]) -> Block:
    names = list(dict.fromkeys(name for record in records for name in record.listed_scores))
    names = [name for name in names if name.startswith("val_")]
    tests = list(dict.fromkeys(name for record in records for name in record.test))
    rows = []
    for run, record in zip(runs, records, strict=True):
        rows.append(
            [
                run.id,
                str(record.best_epoch or "") if record.ensemble is None else "",
                *(_listed(record, name) for name in names),
                *(with_std(record.test.get(name)) for name in tests),
            ]
        )
    headings = ["run", "best epoch", *names, *(f"test {name}" for name in tests)]
    return Block(tables=[Table(headings, rows)])


def _listed(record: RunRecord, name: str) -> str:
    std = record.best_std.get(name) if record.ensemble is None else None
    return with_std(record.listed_scores.get(name), std)


def network_block(run: RunDirectory, access: Access, salt: str) -> Block:
    """The picture of a run's network; a sentence where its shapes, or all of it, are not known.

    Args:
        run: the run.
        access: how it is opened.
        salt: different for each run of a page.
    """
    try:
        spec = load_run_spec(run, access.overrides, access.data_dir).spec
        known = network_of_run(run, spec, access.data_dir, access.listener)
    except (SpecError, UsageError, DataError) as error:
        return Block("Network", [Paragraph(f"It cannot be drawn: {error}", "muted")])
    figure = network_figure(spec, known)
    said = f"The picture has no shapes: {known.missing}" if known.network is None else ""
    svg = inline_svg(figure, "Graph of the network's layers", f"{salt} network")
    picture = Picture(svg, width=figure.get_size_inches()[0])
    return Block("Network", [Paragraph(said, "muted")] if said else [], [picture])


def spec_block(kept: RunDirectory | SweepDirectory) -> Block:
    """The spec of a run or a sweep, for others too: without the folders of this machine."""
    try:
        spec = read_kept_spec(kept.read_resolved(), file=f"the spec of {kept.id}")
    except SpecError as error:
        return Block("Spec", [Paragraph(f"It cannot be read: {error}", "muted")])
    return Block("Spec", code=dump_spec(seen_from_here(spec)).rstrip(), folded="all defaults filled in")


def _data(record: RunRecord) -> Block:
    rows = [
        [data.name, f"{data.rows:,}", data.sha256, data.note] for data in record.data if data.rows is not None
    ]
    return Block("Data", tables=[Table(["file", "rows", "SHA-256", ""], rows, words=True)])


def _environment(record: RunRecord) -> Block:
    told = {
        "started": record.started,
        "device": record.device,
        "CPU threads": record.threads,
        "steps": "compiled" if record.compiled else "not compiled",
        "seed": record.seed,
        "git commit": record.git_commit,
        **record.versions,
    }
    rows = [[name, str(value)] for name, value in told.items() if value is not None]
    return Block("Environment", tables=[Table(["", ""], rows, words=True)])


def _repeat(run: RunDirectory) -> Block:
    path = shlex.quote(path_from_here(run.path))
    return Block(
        "Repeat it",
        [Paragraph("Trains the spec again and compares the history and the weights with this run's.")],
        code=f"nnrun reproduce {path}",
    )


_READ_ALOUD = {
    "confusion": "Confusion matrix",
    "calibration": "Reliability diagram",
    "labels": "Scores of each label",
    "residuals": "Predicted against true values",
}


def analysis_blocks(run: RunDirectory, access: Access, salt: str) -> Sequence[Block]:
    """Tables and figures of the validation rows; the test set is not looked at.

    Where there are no such rows, or the data or the weights are missing, a sentence says so.

    Args:
        run: the run.
        access: how it is opened.
        salt: different for each run of a page.
    """
    title = "Predictions on the validation rows"
    try:
        found = analyse_validation(run, access)
    except (UsageError, DataError) as error:
        return [Block(title, [Paragraph(str(error), "muted")])]
    blocks: list[Block] = []
    for port, analysis in found.analyses.items():
        of = f"{title}: {port}" if found.outputs_have_names else title
        if analysis is None:
            said = "The predictions are neither classes or labels nor one number per row."
            blocks.append(Block(of, [Paragraph(said, "muted")]))
        else:
            blocks += _blocks_of_output(
                found, port, analysis, of, salt if len(found.analyses) == 1 else f"{salt} {port}"
            )
    return blocks


def importance_blocks(run: RunDirectory, salt: str) -> list[Block]:
    """What `nnrun importance` last found of the run's columns; nothing where nobody asked.

    Args:
        run: the run.
        salt: different for each run of a page.
    """
    title = "Importance of columns"
    try:
        record = run.read_importance()
    except DataError as error:
        return [Block(title, [Paragraph(str(error), "muted")])]
    if record is None:
        return []
    read_aloud = {importance_figure_name(table): importance_text.bars_title(table) for table in record.tables}
    read_aloud |= {curve_figure_name(of): importance_text.curve_title(of) for of in record.curves}
    pictures = {
        name: Picture(inline_svg(figure, read_aloud[name], f"{salt} {name}"))
        for name, figure in importance_figures(record).items()
    }
    measured = Paragraph(f"{importance_text.measured_on(record)}; weights: {record.weights}.", "muted")
    blocks = []
    for table in record.tables:
        rows = importance_text.table_rows(table)
        said = [Paragraph(text) for text in importance_text.table_sentences(table)]
        blocks.append(
            Block(
                importance_text.bars_title(table),
                [measured, *said, *(Paragraph(text) for text in importance_text.cautions(record))],
                [pictures[importance_figure_name(table)]],
                [Table(["column", importance_text.heading(table)], rows)] if rows else [],
            )
        )
    if record.curves:
        cautions = [Paragraph(text, "muted") for text in importance_text.curve_cautions(record.curves)]
        curves = [pictures[curve_figure_name(curve)] for curve in record.curves]
        blocks.append(Block("Partial dependence", cautions, curves))
    return blocks


def _blocks_of_output(found: Analysed, port: Port, analysis: Analysis, title: str, salt: str) -> list[Block]:
    named = found.outputs_have_names
    rows = f"{analysis.rows:,} validation rows"
    how = combination_text(found.combination, found.networks, found.kind)
    told = f"Each row is predicted {how}; weights: {found.weights.text}."
    said = Paragraph(f"{told} {found.undecided_text}".rstrip(), "muted")
    pictures = {
        name: Picture(inline_svg(figure, _READ_ALOUD[name], f"{salt} {name}"), detailed=name == "confusion")
        for name, figure in analysis_figures(analysis, f"{port}, {rows}" if named else rows).items()
    }
    if isinstance(analysis, Residuals):
        return [_residuals(analysis, title, said, pictures)]
    if isinstance(analysis, MultiLabel):
        text = f"All labels are correct in {analysis.right:,} of {rows}."
        each = (*analysis.labels, analysis.micro, analysis.macro, analysis.weighted)
        return [
            Block(title, [Paragraph(text), said], list(pictures.values()), [_scores_table("label", each)])
        ]
    blocks = _classes(analysis, title, rows, said, pictures)
    if named:  # the headings of several outputs would be the same
        blocks[1:] = [replace(block, title=f"{block.title}: {port}") for block in blocks[1:]]
    return blocks


def _classes(
    analysis: Classification, title: str, rows: str, said: Paragraph, pictures: Mapping[str, Picture]
) -> list[Block]:
    calibration = analysis.calibration
    mistakes = Table(
        [*_headings(analysis.mistakes), "true", "predicted", "probability"],
        [
            [*place_cells(m), one_line(m.true), one_line(m.predicted), f"{m.probability:.3f}"]
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


def _headings(rows: Sequence[Mistake | WorstRow]) -> list[str]:
    return place_headings(rows[0]) if rows else ["row"]


def _scores_table(what: str, each: Sequence[ClassScores]) -> Table:
    rows = [
        [one_line(of.name), *(f"{v:.3f}" for v in (of.precision, of.recall, of.f1)), f"{of.support:,}"]
        for of in each
    ]
    return Table([what, "precision", "recall", "F1", "rows"], rows)


def _residuals(analysis: Residuals, title: str, said: Paragraph, pictures: Mapping[str, Picture]) -> Block:
    quantiles = [[f"{share:.0%}", f"{value:.4g}"] for share, value in analysis.quantiles]
    worst = [
        [*place_cells(w), *(f"{value:.4g}" for value in (w.true, w.predicted, w.residual))]
        for w in analysis.worst
    ]
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
            Table([*_headings(analysis.worst), "true", "predicted", "residual"], worst, "Largest errors."),
        ],
    )
