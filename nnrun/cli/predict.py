"""`nnrun predict`."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, BinaryIO, Literal, TextIO

import typer

from nnrun.cells import json_for
from nnrun.cli import options
from nnrun.cli.output import message, print_json
from nnrun.errors import UsageError
from nnrun.spec.wording import counted

if TYPE_CHECKING:
    from nnrun.data.new_rows.row_source import RowSource
    from nnrun.experiment.finished.load_run import Access
    from nnrun.experiment.predicting.predict import Predictor
    from nnrun.experiment.predicting.predict_split import SplitPredictions
    from nnrun.experiment.predicting.prediction_table import PredictedRows, PredictionTable
    from nnrun.records import RunDirectory

_STDIN = "-"
_LINES = {"txt": "one text per line", "jsonl": "one list of tokens per line", "csv": "CSV, or JSON lines"}


Split = Literal["train", "validation", "test"]
"""Rows of a run's data set."""


Format = Literal["csv", "jsonl"]
"""How predictions are written."""

_NOT_WRITTEN = frozenset(
    (".tsv", ".tab", ".json", ".parquet", ".feather", ".arrow", ".npz", ".npy", ".xlsx", ".xls", ".html")
)
"""Endings by which other programs read a file as something that predictions are not written as."""


Input = Annotated[
    str | None,
    typer.Argument(
        metavar="INPUT",
        help="A .csv, .tsv, .jsonl, .parquet, .txt or .npz file; an image; a folder of texts or images; or - "
        "for stdin.",
        show_default=False,
    ),
]
OfSplit = Annotated[
    Split | None,
    typer.Option("--split", help="Rows of the run's own data set instead, with their true targets."),
]
Output = Annotated[Path | None, options.output_file("FILE", "Write to this file, completely or not at all.")]
Probabilities = Annotated[
    bool, typer.Option("--probabilities", help="Also give the probability of every class.")
]
Spread = Annotated[
    bool,
    typer.Option(
        "--spread",
        help="Also give the standard deviation over a run's networks and their members, of each number or "
        "probability.",
    ),
]
AsFormat = Annotated[
    Format | None, typer.Option("--format", help="csv (default), or jsonl: one JSON object per line.")
]
SkipBad = Annotated[bool, typer.Option("--skip-bad", help="Skip unreadable rows and report each.")]
OfMember = Annotated[
    str | None, typer.Option("--member", metavar="NAME", help="Use one of several networks: fold-2, seed-7.")
]


@dataclass(frozen=True)
class _Form:
    """How predictions are written.

    Attributes:
        output: the file; None for stdout.
        format: None for what the file's name says.
        probabilities: of every class as well.
        spread: the standard deviations over several networks as well.
        interval: the share of rows that intervals or sets are to cover; None for none.
        as_json: one document.
    """

    output: Path | None
    format: Format | None
    probabilities: bool
    spread: bool
    interval: float | None
    as_json: bool


def predict(
    run: options.Run,
    input_: Input = None,
    split: OfSplit = None,
    output: Output = None,
    probabilities: Probabilities = False,
    spread: Spread = False,
    interval: options.Interval = None,
    format_: AsFormat = None,
    skip_bad: SkipBad = False,
    member: OfMember = None,
    *,
    asking: options.Asking,
) -> None:
    """Predict new rows with a run's network, or the rows of its data set (--split).

    Rows are numbered from 0; several networks are averaged. Of folds each validation row is predicted by the
    network that did not train on it. With --split `file_row` is the row of the table's file, from 0 as pandas
    counts. `file` names the file of a folder. A look at the test set is counted in the run's record.
    """
    form = _Form(output, format_, probabilities, spread, interval, asking.as_json)
    _refuse_contradictions(form, input_, split)
    if split is not None and skip_bad:
        raise UsageError("--skip-bad is for the rows of INPUT; leave it out with --split.")
    needless_set = asking.set_ and interval is None
    if split is None and (needless_set or asking.allow_unknown):
        option = "--set" if needless_set else "--allow-unknown"
        raise UsageError(f"{option} is for --split, which reads the run's data set; INPUT needs none.")

    from nnrun.cli.running import listener_for
    from nnrun.records import find_run

    found = find_run(run, asking.runs_dir, tell=message)
    access = asking.access(listener_for(quiet=asking.quiet, verbose=False), member)
    if split is not None:
        _predict_split(found, split, form, access, asking.quiet)
        return
    assert input_ is not None, "one of the two is given"
    _predict_input(found, input_, form, access, skip_bad)


def _refuse_contradictions(form: _Form, input_: str | None, split: Split | None) -> None:
    if (input_ is None) == (split is None):
        found = "both are given" if split is not None else "neither is given"
        raise UsageError(
            f"predict takes INPUT (a file, or - for stdin) or --split (train, validation or test); {found}."
        )
    if form.as_json and form.format is not None and form.output is None:
        raise UsageError("--json prints one document: leave --format out, or name a file with -o.")
    if form.output is not None:
        _refuse_target(form.output, input_, named_format=form.format is not None)


def _predict_split(run: RunDirectory, split: Split, form: _Form, access: Access, quiet: bool) -> None:
    from nnrun.experiment.finished.look_text import this_look_text
    from nnrun.experiment.predicting.predict_split import predict_split

    shown = form.probabilities
    found = predict_split(
        run,
        split,
        access,
        probabilities=shown,
        need_probabilities=shown,
        spread=form.spread,
        interval=form.interval,
    )
    opened = found.opened
    if found.look is not None and not quiet:
        message(this_look_text(found.look, opened.dataset.name, opened.spec.name, opened.run.runs_dir))
    look, of_any = (None, None) if found.look is None else (found.look.by_name, found.look.by_any)
    told = {
        "split": found.split,
        "combination": found.combined.how,
        "look": look,
        "look_of_any": of_any,
    }
    _give(found, found.blocks(), found.layout(probabilities=shown), form, told, dict)


def _predict_input(run: RunDirectory, input_: str, form: _Form, access: Access, skip_bad: bool) -> None:
    from nnrun.experiment.predicting.predict import list_files, load_predictor, predict_source, unknown_counts
    from nnrun.experiment.predicting.predict_split import refuse_without_probabilities

    predictor = load_predictor(run, access, spread=form.spread, interval=form.interval)
    if form.probabilities:
        refuse_without_probabilities(predictor.run, predictor.output_decoders)
    source = list_files(predictor, _source(input_, predictor), access.listener)
    unknown = unknown_counts(predictor)
    predicted = predict_source(
        predictor, source, skip_bad=skip_bad, unknown=unknown, listener=access.listener
    )
    table = predictor.layout(probabilities=form.probabilities, places=source.places)
    _give(
        predictor, predicted, table, form, {}, lambda: {"unknown": [u.as_document() for u in unknown.found]}
    )


def _give(
    asked: Predictor | SplitPredictions,
    predicted: Iterator[PredictedRows],
    table: PredictionTable,
    form: _Form,
    told: Mapping[str, Any],
    found: Callable[[], Mapping[str, Any]],
) -> None:
    """Write predictions to a file or to stdout.

    Args:
        asked: the networks.
        predicted: block by block.
        table: how they are written.
        form: where to, and how.
        told: more for the head of a JSON document; empty for rows without targets.
        found: what is known of the rows once all were predicted, for its end.
    """
    table.refuse_one_name_twice()
    if form.output is not None:
        is_jsonl = form.output.suffix.lower() in (".jsonl", ".ndjson")
        to_file = replace(form, format=form.format or ("jsonl" if is_jsonl else "csv"))
        rows = _write_file(form.output, predicted, table, to_file)
        if form.as_json:
            print_json({**_head(asked), **told, "rows": rows, "output": str(form.output), **found()})
        else:
            print(f"{counted(rows, 'prediction')} in {form.output}")
    elif form.as_json:
        documents = [document for block in predicted for document in table.documents(block)]
        head = {**_head(asked), **told, "rows": len(documents)}
        print_json({**head, "predictions": documents, **found()})
    else:
        _write(sys.stdout, predicted, table, form)


def _source(input_: str, predictor: Predictor) -> RowSource:
    """Where the rows come from. What stdin holds follows from what the network takes."""
    from nnrun.data.new_rows.row_source import source_of, stream_source

    if input_ != _STDIN:
        return source_of(options.path(input_))
    if sys.stdin is None:
        raise UsageError("stdin is closed: there is nothing to read.")
    kind = predictor.decoder.kind_of_lines
    if sys.stdin.isatty():
        message(f"reading {_LINES[kind]} from the terminal; Ctrl-D ends it")
    stream: BinaryIO = sys.stdin.buffer
    return stream_source("stdin", stream, kind)


def _refuse_target(output: Path, input_: str | None, *, named_format: bool) -> None:
    """A file is replaced as a whole, so it must be one, and not the one that is read."""
    if output.exists() and not output.is_file():
        raise UsageError(f"-o {output} is not a regular file. Without -o predictions go to stdout.")
    suffix = output.suffix.lower()
    if suffix in _NOT_WRITTEN and not named_format:
        raise UsageError(
            f"-o {output}: predictions are written as CSV (.csv) or as JSON lines (.jsonl), not as {suffix}. "
            "Name the file so, or say by --format csv or --format jsonl what it is to hold."
        )
    if suffix == ".gz":
        raise UsageError(f"-o {output}: files are not compressed here; leave -o out and pipe through gzip.")
    if (
        input_ is not None
        and input_ != _STDIN
        and output.exists()
        and os.path.exists(os.path.expanduser(input_))
        and output.samefile(os.path.expanduser(input_))
    ):
        raise UsageError(f"-o {output} is the input file; name another one.")


def _head(asked: Predictor | SplitPredictions) -> dict[str, Any]:
    """What a JSON document says of the networks: of named outputs their names, else what its classes are."""
    members = [network.member for network in asked.networks]
    head = {
        "run": asked.run.id,
        "members": [member.folder for member in members if member is not None],
        "weights": asked.weights.as_document(),
    }
    if asked.calibrated is not None:
        head["interval"] = asked.calibrated.as_document()
    first, *_ = asked.output_decoders.values()
    if first.port is not None:
        return {**head, "outputs": list(asked.output_decoders)}
    return {**head, "kind": first.kind, "classes": None if first.kind == "numbers" else list(first.classes)}


def _write_file(path: Path, predicted: Iterator[PredictedRows], table: PredictionTable, form: _Form) -> int:
    from nnrun.atomic_files import replace_file

    rows = 0

    def write(temporary: Path) -> None:
        nonlocal rows
        with temporary.open("w", encoding="utf-8", newline="") as file:
            rows = _write(file, predicted, table, form)

    replace_file(path, write)
    return rows


def _write(file: TextIO, predicted: Iterator[PredictedRows], table: PredictionTable, form: _Form) -> int:
    """Write predictions as they come; give their number."""
    from nnrun.experiment.predicting.prediction_table import CsvLines, JsonLines, row_numbers

    rows = 0
    if form.format == "jsonl":
        json_lines = JsonLines(table)
        for block in predicted:
            file.write(json_for(json_lines.lines(block), file.encoding))
            rows += len(row_numbers(block))
        return rows
    csv_lines = CsvLines(table)
    for number, block in enumerate(predicted):
        if not number:  # where the rows cannot be read at all, nothing is written
            file.write(csv_lines.header())
        file.write(csv_lines.lines(block))
        rows += len(row_numbers(block))
    return rows
