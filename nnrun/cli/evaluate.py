"""`nnrun evaluate`."""

from __future__ import annotations

import textwrap
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from nnrun.cli import options
from nnrun.cli.app import app
from nnrun.cli.output import aligned, nth_look, ordinal, print_json, text_width, times
from nnrun.errors import printable
from nnrun.spec.suggest import with_std

if TYPE_CHECKING:
    from nnrun.experiment.evaluate import Evaluation


class Split(str, Enum):
    """The rows that a run can be measured on."""

    test = "test"
    validation = "validation"


@app.command()
def evaluate(
    run: options.Run,
    split: Annotated[Split, typer.Option("--split", help="The rows to measure on.")] = Split.test,
    mistakes: Annotated[
        int, typer.Option("--mistakes", min=0, help="How many wrong rows, or rows furthest off, to show.")
    ] = 5,
    figures: Annotated[bool, typer.Option("--figures/--no-figures", help="Draw to runs/<id>/plots/.")] = True,
    set_: options.SetPaths = None,
    device: options.Device = "auto",
    allow_custom: options.AllowCustom = None,
    runs_dir: options.RunsDir = options.DEFAULT_RUNS_DIR,
    data_dir: options.DataDir = None,
    as_json: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Measure a run's networks, and show what lies behind: classes, labels, mistakes, calibration, residuals.

    Each look at the test set is counted in the run's record.
    """
    from nnrun.cli.running import listener_for
    from nnrun.experiment.evaluate import evaluate_run, write_figures
    from nnrun.records import find_run

    evaluation = evaluate_run(
        find_run(run, runs_dir),
        split="test" if split is Split.test else "validation",
        overrides=set_ or (),
        data_dir=data_dir,
        device=device,
        mistakes=mistakes,
        listener=listener_for(quiet=quiet, verbose=False),
    )
    paths = write_figures(evaluation) if figures else []
    if as_json:
        print_json(_document(evaluation, paths))
    else:
        print(printable(_text(evaluation, paths)))


def _document(evaluation: Evaluation, figures: list[Path]) -> dict[str, Any]:
    from nnrun.experiment.analysis import Classification, MultiLabel

    document = {**vars(evaluation), "run": evaluation.run.id}
    analysis = document.pop("analysis")
    tables: dict[str, Any] = {"classification": None, "multi_label": None, "residuals": None}
    if isinstance(analysis, Classification):
        tables["classification"] = analysis.as_document()
    elif isinstance(analysis, MultiLabel):
        tables["multi_label"] = analysis.as_document()
    elif analysis is not None:
        tables["residuals"] = analysis.as_document()
    return {**document, **tables, "figures": [str(path) for path in figures]}


def _text(evaluation: Evaluation, figures: list[Path]) -> str:
    networks = (
        "" if evaluation.networks == 1 else f", mean ± std over {evaluation.networks} {evaluation.kind}s"
    )
    epoch = "" if evaluation.epoch is None else f", after epoch {evaluation.epoch},"
    lines = [f"{evaluation.run.id}{epoch} on {evaluation.rows:,} {evaluation.split} rows{networks}"]
    table = [["", evaluation.split, "baseline"]]
    for name, value in evaluation.scores.items():
        baseline = with_std(evaluation.baseline.get(name))
        table.append([name, with_std(value, evaluation.std.get(name)), baseline])
    lines.append(aligned(table))
    lines += _tables(evaluation)
    if figures:
        lines.append("\n".join(map(str, figures)))
    if evaluation.split == "test":
        lines.append(_look(evaluation))
    return printable("\n\n".join(lines))


def _look(evaluation: Evaluation) -> str:
    """How often the test set has been looked at."""
    uses = evaluation.test_uses
    if evaluation.look is None:  # a smoke run, which counts for itself alone
        return f"This run has looked at the test set {times(uses)}."
    sentence = nth_look(evaluation.look, evaluation.data, evaluation.name, evaluation.run.runs_dir)
    return f"{sentence}, the {ordinal(uses)} by this run." if 1 < uses < evaluation.look else f"{sentence}."


def _tables(evaluation: Evaluation) -> list[str]:
    from nnrun.cli.analysis_tables import classification_text, multi_label_text, residuals_text
    from nnrun.experiment.analysis import Classification, MultiLabel
    from nnrun.experiment.combine import combination_text

    analysis = evaluation.analysis
    if analysis is None:
        return []
    lines = []
    if evaluation.combination != "one_network":
        how = combination_text(evaluation.combination, evaluation.networks, evaluation.kind)
        lines.append(
            textwrap.fill(f"Below, each of {analysis.rows:,} rows is predicted {how}.", text_width())
        )
    if isinstance(analysis, Classification):
        lines.append(classification_text(analysis, text_width()))
    elif isinstance(analysis, MultiLabel):
        lines.append(multi_label_text(analysis, text_width()))
    else:
        lines.append(residuals_text(analysis, text_width()))
    return lines
