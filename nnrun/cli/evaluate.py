"""`nnrun evaluate`."""

from __future__ import annotations

import textwrap
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from nnrun.cli import options
from nnrun.cli.output import (
    MOST_MEMBERS,
    aligned,
    in_blocks,
    message,
    paragraph,
    print_result,
    shortened,
    text_width,
)
from nnrun.errors import printable
from nnrun.spec.wording import counted, listing, quoted, with_std

if TYPE_CHECKING:
    from nnrun.cli.analysis_tables import Brief
    from nnrun.experiment.evaluating.error_analysis import Analysis
    from nnrun.experiment.evaluating.evaluation import Evaluation


_MISTAKES = 5
_LINES = 30
_LONGEST_CLASS = 20
# How many classes, mistakes and confusions a brief screen shows: as many as fit.
_BRIEF = ((5, 5, 3), (5, 3, 3), (3, 3, 3), (3, 2, 3), (2, 1, 3), (2, 2, 0), (1, 1, 0), (1, 0, 0))


Split = Literal["test", "validation"]
"""The rows that a run can be evaluated on."""


def evaluate(
    run: options.Run,
    split: Annotated[Split, typer.Option("--split", help="The rows to evaluate on.")] = "test",
    mistakes: Annotated[
        int | None,
        typer.Option(
            "--mistakes",
            min=0,
            help="How many misclassified rows, or largest errors, to show in full; default: as many as fit.",
        ),
    ] = None,
    interval: options.Interval = None,
    figures: Annotated[
        bool, typer.Option("--figures/--no-figures", help="Write figures to runs/<id>/plots/.")
    ] = True,
    *,
    asking: options.Asking,
    verbose: options.Verbose = False,
) -> None:
    """Evaluate a run's networks in detail: scores, classes, labels, mistakes, calibration, residuals.

    Each look at the test set is counted in the run's record.
    """
    from nnrun.cli.running import listener_for
    from nnrun.experiment.evaluating.evaluate import evaluate_run
    from nnrun.experiment.evaluating.evaluation import write_figures
    from nnrun.records import find_run

    number = _MISTAKES if mistakes is None else mistakes
    found = find_run(run, asking.runs_dir, tell=message)
    access = asking.access(listener_for(quiet=asking.quiet, verbose=verbose))
    evaluation = evaluate_run(found, access, split=split, mistakes=number, interval=interval)
    paths = write_figures(evaluation) if figures else []
    print_result(
        asking.as_json,
        lambda: _document(evaluation, paths),
        lambda: _text(evaluation, paths, whole=verbose or mistakes is not None),
    )


def _document(evaluation: Evaluation, figures: list[Path]) -> dict[str, Any]:
    document = {
        **vars(evaluation),
        "run": evaluation.run.id,
        "epoch": evaluation.epoch,
        "weights": evaluation.weights.as_document(),
        "members": [vars(member) for member in evaluation.members],
        "chosen_on_these_rows": evaluation.chosen_on_these_rows,
        "unknown": [found.as_document() for found in evaluation.unknown],
    }
    linear = evaluation.linear_baseline
    document["linear_baseline"] = None if linear is None else linear.model_dump(exclude_unset=True)
    if evaluation.members_mean is None:
        del document["members_mean"]
    else:
        each = evaluation.members_mean.items()
        document["members_mean"] = {name: {"mean": mean, "std": std} for name, (mean, std) in each}
    if evaluation.kept is not None:
        document["kept"] = {name: {"mean": mean, "std": std} for name, (mean, std) in evaluation.kept.items()}
    del document["analyses"], document["undecided"], document["calibrated"]
    if evaluation.calibrated is None:
        del document["coverage"]
    else:
        document["interval"] = evaluation.calibrated.as_document()
        document["coverage"] = [
            {**found.model_dump(exclude_none=True), "share": found.share} for found in evaluation.coverage
        ]
    if evaluation.undecided is not None:
        document["undecided"] = vars(evaluation.undecided)
    document |= _tables_document(evaluation.analysis)
    if evaluation.outputs_have_names:
        document["outputs"] = {port: _tables_document(found) for port, found in evaluation.analyses.items()}
    return {**document, "figures": [str(path) for path in figures]}


def _tables_document(analysis: Analysis | None) -> dict[str, Any]:
    """What an analysis found, under the name of its kind; the other kinds are null."""
    from nnrun.experiment.evaluating.error_analysis import Classification, MultiLabel, Residuals

    kinds = {Classification: "classification", MultiLabel: "multi_label", Residuals: "residuals"}
    tables: dict[str, Any] = dict.fromkeys(kinds.values())
    if analysis is not None:
        tables[kinds[type(analysis)]] = analysis.as_document()
    return tables


def _text(evaluation: Evaluation, figures: list[Path], *, whole: bool) -> str:
    """The screen: everything that is known, or as much as a common terminal shows at once."""
    if whole:
        return _screen(evaluation, figures, None, members=True)
    from nnrun.cli.analysis_tables import Brief

    text, few = "", len(evaluation.members) <= MOST_MEMBERS
    with_members = [(True, brief) for brief in _BRIEF if brief[1]] if few else []
    for members, (classes, mistakes, confusions) in [*with_members, *((False, brief) for brief in _BRIEF)]:
        text = _screen(evaluation, figures, Brief(classes, mistakes, confusions), members=members)
        if text.count("\n") < _LINES * len(evaluation.analyses):
            break
    return text


def _screen(evaluation: Evaluation, figures: list[Path], brief: Brief | None, *, members: bool) -> str:
    from nnrun.experiment.finished.record_text import coverage_text, no_better_text

    width = text_width()
    head = [f"{evaluation.run.id} on {_rows_and_networks(evaluation)}", evaluation.weights.sentence]
    lines = ["\n".join(paragraph(text, width) for text in head)]
    several = evaluation.networks > 1
    averaged = evaluation.members_mean is not None and evaluation.combination == "ensemble"
    caution = no_better_text(evaluation.not_better_than_baseline, several=several, averaged=averaged)
    if caution:
        lines.append(paragraph(caution, width))
    lines.append(aligned(_score_rows(evaluation)))
    if members and len(evaluation.members) > 1:
        lines[-1] += f"\n{in_blocks(_members(evaluation), width)}"
    remarks = [*_remarks(evaluation), *coverage_text(evaluation.coverage).splitlines()]
    if remarks := [textwrap.fill(text, width) for text in remarks]:
        lines.append("\n".join(remarks))
    lines += _tables(evaluation, brief)
    if figures:
        lines.append("\n".join(map(str, figures)))
    if evaluation.split == "test":
        lines.append(paragraph(_look(evaluation), text_width()))
    return printable("\n\n".join(lines))


def _rows_and_networks(evaluation: Evaluation) -> str:
    """`569 validation rows, each by the network of its own fold`: what the scores are of."""
    from nnrun.experiment.finished.record_text import range_in_words

    each = [member.rows for member in evaluation.members] or [evaluation.rows]
    rows = range_in_words(sorted({min(each), max(each)}))  # uneven folds differ by a row
    rows += f" {evaluation.split} rows"
    networks, kind = evaluation.networks, evaluation.kind
    if evaluation.members_mean is None:
        return f"{rows}, mean ± std over {networks} {kind}s" if networks > 1 else rows
    if evaluation.combination == "out_of_fold":
        return (
            f"{sum(each):,} {evaluation.split} rows, each by the network of its own {kind}, not by the "
            f"average of the {networks}"
        )
    if evaluation.combination == "mean_out_of_fold":
        return f"{rows} of each {kind}, by the networks that did not train on them, not by the average of all"
    return f"{rows}, the average of {networks} {kind}s' networks"


def _score_rows(evaluation: Evaluation) -> list[list[str]]:
    """The scores, beside what the kept weights score where that is something else, and the baseline."""
    columns: dict[str, dict[str, str]] = {
        _heading(evaluation) if evaluation.kept is None else f"epoch {evaluation.scores_epoch}": {
            name: with_std(value, evaluation.std.get(name)) for name, value in evaluation.scores.items()
        }
    }
    if evaluation.kept is not None:
        columns["own epochs"] = {n: with_std(mean, std) for n, (mean, std) in evaluation.kept.items()}
    if evaluation.members_mean is not None:
        each = evaluation.members_mean.items()
        columns[_heading_of_members(evaluation)] = {name: with_std(mean, std) for name, (mean, std) in each}
    if evaluation.ensemble is not None:
        columns["ensemble"] = {name: with_std(value) for name, value in evaluation.ensemble.items()}
    if evaluation.undecided is not None:
        scores = evaluation.undecided.scores.items()
        columns["as trained"] = {name: with_std(value) for name, value in scores}
    columns["baseline"] = {name: with_std(evaluation.baseline.get(name)) for name in evaluation.scores}
    if evaluation.linear_baseline is not None and (linear := evaluation.linear_baseline.scores):
        columns["linear"] = {name: with_std(linear.get(name)) for name in evaluation.scores}
    rows = [["", *columns]]
    return rows + [
        [_label(evaluation, name), *(cells[name] for cells in columns.values())] for name in evaluation.scores
    ]


def _label(evaluation: Evaluation, measure: str) -> str:
    """`f1 (benign)`: a measure, and its class where the table below has the same of each class."""
    from nnrun.experiment.evaluating.error_analysis import Classification

    found = evaluation.analysis
    if measure not in ("precision", "recall", "f1") or not isinstance(found, Classification):
        return measure
    return measure if found.positive is None else f"{measure} ({shortened(found.positive, _LONGEST_CLASS)})"


def _heading(evaluation: Evaluation) -> str:
    """What the scores are of: `test`, `validation`; `out of fold`, where no network predicts all rows."""
    by_all = evaluation.combination in ("one_network", "ensemble")
    return evaluation.split if by_all or evaluation.members_mean is None else "out of fold"


def _heading_of_members(evaluation: Evaluation) -> str:
    """What the mean over the networks is of: all of them on the same rows, or each on its own."""
    same = evaluation.split == "test" or evaluation.combination == "ensemble"
    return "each network" if same else f"mean over {evaluation.kind}s"


def _members(evaluation: Evaluation) -> list[list[str]]:
    """The scores of each fold or seed: a row for each measure."""
    kind, members = str(evaluation.kind), evaluation.members
    rows = [[f"each {kind}", *(str(member.member).removeprefix(f"{kind}-") for member in members)]]
    if evaluation.scores_epoch is None:
        rows.append(["epoch", *(str(member.epoch) for member in members)])
    return rows + [
        [_label(evaluation, name), *(with_std(m.scores[name]) for m in members)] for name in evaluation.scores
    ]


def _remarks(evaluation: Evaluation) -> list[str]:
    """What must be known of the scores: that something was chosen or fitted by them."""
    on_decisions = evaluation.undecided_text
    return [*_remarks_on_epochs(evaluation), *([on_decisions] if on_decisions else [])]


def _remarks_on_epochs(evaluation: Evaluation) -> list[str]:
    """That an epoch was chosen by the scores."""
    weights, kind = evaluation.weights, evaluation.kind
    if evaluation.members_mean is not None:
        return _remarks_of_one_model(evaluation)
    if evaluation.kept is not None:
        return [
            f"Own epochs: each {kind}'s weights are those of the epoch that was best on the very rows that "
            f"score it, so these scores are optimistic. Epoch {evaluation.scores_epoch}: all {kind}s at that "
            "one epoch, as in the training summary."
            + (" The ensemble uses the own epochs as well." if evaluation.ensemble is not None else "")
        ]
    if evaluation.chosen_on_these_rows:
        return [f"Epoch {weights.epoch} was chosen on these validation rows, so its scores are optimistic."]
    return []


def _remarks_of_one_model(evaluation: Evaluation) -> list[str]:
    """What the scores of an average on validation rows are."""
    from nnrun.experiment.finished.ensemble_text import validation_text

    if evaluation.split == "test":
        return []
    text = validation_text(
        evaluation.combination,
        evaluation.kind,
        "these rows",
        optimistic=evaluation.chosen_on_these_rows,
    )
    if _heading_of_members(evaluation) != "each network":
        text += (
            f" These scores are of all rows together; the mean over {evaluation.kind}s is of those of each "
            f"{evaluation.kind}."
        )
    return [text]


def _look(evaluation: Evaluation) -> str:
    """How often the test set has been looked at."""
    from nnrun.experiment.finished.look_text import this_look_text
    from nnrun.records import LookCount

    count = None
    if evaluation.look is not None and evaluation.look_of_any is not None:
        count = LookCount(evaluation.look, evaluation.look_of_any)
    return this_look_text(
        count,
        evaluation.data,
        evaluation.name,
        evaluation.run.runs_dir,
        by_this_run=evaluation.test_uses,
    )


def _tables(evaluation: Evaluation, brief: Brief | None) -> list[str]:
    from nnrun.cli.analysis_tables import analysis_text
    from nnrun.experiment.predicting.outputs import combination_text

    width, named, each = text_width(), evaluation.outputs_have_names, evaluation.analyses
    found = {port: made for port, made in each.items() if made is not None}
    lines = []
    if found and evaluation.combination != "one_network":
        how = combination_text(evaluation.combination, evaluation.networks, evaluation.kind)
        rows = "each row" if named else f"each of {next(iter(found.values())).rows:,} rows"
        lines.append(textwrap.fill(f"Below, {rows} is predicted {how}.", width))
    for port, analysis in found.items():
        if named:
            lines.append(f"{port}, on {counted(analysis.rows, 'row')}")
        lines.append(analysis_text(analysis, width, brief))
    if len(found) < len(each):
        without = listing([quoted(port) for port in each if port not in found], "and")
        of, kinds = "", "a single output of classes, labels or numbers"
        if named:
            of, kinds = f" of {without}", "classes, labels or one number per row"
        text = (
            f"No mistakes, residuals or figures are shown{of}: they are made for {kinds}. nnrun predict "
            f"{evaluation.run.id} --split {evaluation.split} writes the prediction of each row."
        )
        lines.append(textwrap.fill(text, width))
    return lines
