"""`nnrun data check`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from nnrun.cli import completing, options
from nnrun.cli.output import hanging, message, paragraph, print_result, text_width
from nnrun.errors import UsageError

if TYPE_CHECKING:
    from nnrun.experiment.checking.check import CheckedData
    from nnrun.experiment.checking.finding import Finding

_INDENT = 9  # of what stands below the severity of a finding


def check(
    what: Annotated[
        str,
        typer.Argument(
            metavar="SPEC|FILE|RUN",
            autocompletion=completing.specs_and_runs,
            help="A spec (.yaml); a file (.csv, .tsv, .jsonl, .parquet, .npz) or folder, checked by the "
            "spec that `nnrun init` would write; or a finished run, whose own out-of-fold predictions then "
            "judge the labels.",
        ),
    ],
    target: Annotated[
        list[str] | None,
        typer.Option(
            "--target",
            metavar="COLUMN",
            help="Of a FILE: the column to predict. Repeat it for several, or write commas between them.",
        ),
    ] = None,
    task: Annotated[
        Literal["classification", "regression"] | None,
        typer.Option("--task", help="Of a FILE: predict classes, or a number."),
    ] = None,
    test: Annotated[
        Path | None, options.test_file("Of a FILE: a file with the same columns, the test set.")
    ] = None,
    strict: Annotated[
        bool, typer.Option("--strict", help="Exit with 1 if a finding is serious or a warning.")
    ] = False,
    set_: options.Set = None,
    allow_custom: options.AllowCustom = None,
    runs_dir: options.RunsDir = options.DEFAULT_RUNS_DIR,
    data_dir: options.DataDir = None,
    as_json: options.Json = False,
) -> int:
    """Say what is wrong with data: each finding with its evidence, and what to write in the spec.

    It looks for identical rows in training, validation and test; groups on both sides of the split; row
    numbers, copies of the target and constant columns among the inputs; an order in time that the split
    breaks; test rows that differ from training rows; and labels that are likely wrong. Nothing is trained
    but quick models of scikit-learn, and nothing is written.
    """
    checked = _check(what, target, task, test, set_, runs_dir, data_dir)
    print_result(as_json, checked.as_document, lambda: _text(checked))
    doubtful = any(finding.severity != "note" for finding in checked.findings)
    return 1 if strict and doubtful else 0


def _check(
    what: str,
    target: list[str] | None,
    task: Literal["classification", "regression"] | None,
    test: Path | None,
    set_: list[str] | None,
    runs_dir: Path,
    data_dir: Path | None,
) -> CheckedData:
    from nnrun.cli.running import listener_for
    from nnrun.experiment.checking.check import check_file, check_run, check_spec, file_of
    from nnrun.experiment.finished.load_run import Access
    from nnrun.experiment.init.initial_spec import Wanted
    from nnrun.records import find_run
    from nnrun.spec.reading.load import load_spec

    file = file_of(what, data_dir)
    if file is not None:
        if set_:
            raise UsageError("--set is for a spec or a run; write a spec for the file first: nnrun init.")
        return check_file(file, Wanted(tuple(target or ()), task, test), message)
    if target or task or test:
        raise UsageError(
            "--target, --task and --test are for a FILE; a spec or a run says what is predicted."
        )
    if options.is_spec(what):
        return check_spec(load_spec(what, set_ or ()).spec, data_dir, message)
    listener = listener_for(quiet=False, verbose=False)
    access = Access(overrides=set_ or (), data_dir=data_dir, listener=listener)
    return check_run(find_run(what, runs_dir, tell=message), access)


def _text(checked: CheckedData) -> str:
    from nnrun.experiment.checking.finding import counts_text

    test = f"{checked.test_rows:,} test rows" if checked.test_rows else "no test set"
    validated = f", {checked.splits} folds" if checked.splits > 1 else ""
    head = f"{checked.name}: {checked.train_rows:,} training rows, {test}{validated}"
    parts = [f"{head}\n{counts_text(checked.findings)}", *map(_finding_text, checked.findings)]
    if checked.remarks:
        parts.append("\n".join(paragraph(remark, text_width()) for remark in checked.remarks))
    return "\n\n".join(parts)


def _finding_text(finding: Finding) -> str:
    width, below = text_width(), " " * _INDENT
    lines = [hanging(f"{finding.severity:<{_INDENT}}{finding.text}", _INDENT, width)]
    lines += [hanging(f"{below}  {example}", _INDENT + 4, width) for example in finding.examples]
    lines.append(hanging(f"{below}{finding.advice}", _INDENT, width))
    return "\n".join(lines)
