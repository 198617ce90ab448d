"""`nnrun predict`."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, BinaryIO, TextIO

import typer

from nnrun.cells import json_for
from nnrun.cli import options
from nnrun.cli.app import app
from nnrun.cli.output import message, print_json
from nnrun.errors import UsageError

if TYPE_CHECKING:
    from nnrun.data.preprocess.unknown import UnknownCounts
    from nnrun.data.row_source import RowSource
    from nnrun.experiment.meaning import Meaning, Predictions
    from nnrun.experiment.predict import Predictor

_STDIN = "-"
_LINES = {"txt": "one text per line", "jsonl": "one list of tokens per line", "csv": "CSV"}


class Format(str, Enum):
    """How predictions are written."""

    csv = "csv"
    jsonl = "jsonl"


@app.command()
def predict(
    run: options.Run,
    input_: Annotated[
        str,
        typer.Argument(
            metavar="INPUT",
            help="A .csv, .tsv, .jsonl, .parquet, .txt or .npz file; a folder of texts; or - for stdin.",
        ),
    ],
    output: Annotated[
        Path | None,
        typer.Option(
            "-o",
            "--output",
            metavar="FILE",
            parser=options.path,
            help="Write to this file, completely or not at all.",
        ),
    ] = None,
    probabilities: Annotated[
        bool, typer.Option("--probabilities", help="Also give the probability of every class.")
    ] = False,
    format_: Annotated[
        Format | None, typer.Option("--format", help="csv (default), or jsonl: one JSON object per line.")
    ] = None,
    skip_bad: Annotated[
        bool, typer.Option("--skip-bad", help="Skip unreadable rows and report each.")
    ] = False,
    member: Annotated[
        str | None,
        typer.Option("--member", metavar="NAME", help="Use one of several networks: fold-2, seed-7."),
    ] = None,
    weights: options.Weights = options.WeightsName.last,
    device: options.Device = "auto",
    threads: options.Threads = None,
    allow_custom: options.AllowCustom = None,
    runs_dir: options.RunsDir = options.DEFAULT_RUNS_DIR,
    data_dir: options.DataDir = None,
    as_json: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Predict new rows with a run's network. Rows are numbered from 0; several networks are averaged."""
    if as_json and format_ is not None and output is None:
        raise UsageError("--json prints one document: leave --format out, or name a file with -o.")
    if output is not None:
        _refuse_target(output, input_)

    from nnrun.cli.running import listener_for
    from nnrun.experiment.predict import load_predictor, predict_source, unknown_counts
    from nnrun.records import find_run

    listener = listener_for(quiet=quiet, verbose=False)
    predictor = load_predictor(
        find_run(run, runs_dir),
        member=member,
        weights=weights.value,
        data_dir=data_dir,
        device=device,
        listener=listener,
    )
    meaning = predictor.meaning
    if probabilities and meaning.kind == "numbers":
        raise UsageError(
            f"--probabilities: {predictor.run.id} predicts numbers, which have no probabilities."
        )
    source = _source(input_, predictor)
    unknown = unknown_counts(predictor)
    predicted = predict_source(predictor, source, skip_bad=skip_bad, unknown=unknown, listener=listener)

    if output is not None:
        chosen = format_ or (Format.jsonl if output.suffix.lower() in (".jsonl", ".ndjson") else Format.csv)
        rows = _write_file(output, predicted, meaning, chosen, probabilities)
        if as_json:
            print_json({**_head(predictor), "rows": rows, "output": str(output), **_unknown(unknown)})
        else:
            print(f"{rows:,} prediction{'' if rows == 1 else 's'} in {output}")
    elif as_json:
        documents = [d for p in predicted for d in meaning.documents(p, probabilities=probabilities)]
        head = {**_head(predictor), "rows": len(documents)}
        print_json({**head, "predictions": documents, **_unknown(unknown)})
    else:
        _write(sys.stdout, predicted, meaning, format_ or Format.csv, probabilities)


def _source(input_: str, predictor: Predictor) -> RowSource:
    """Where the rows come from. What stdin holds follows from what the network takes."""
    from nnrun.data.row_source import RowSource, source_of

    if input_ != _STDIN:
        source = source_of(options.path(input_))
        if source.kind == "folder":
            message(f"{source.name}: a row for each file, in the order of their paths")
        return source
    if sys.stdin is None:
        raise UsageError("stdin is closed: there is nothing to read.")
    kind = predictor.kind_of_lines
    if sys.stdin.isatty():
        message(f"reading {_LINES[kind]} from the terminal; Ctrl-D ends it")
    stream: BinaryIO = sys.stdin.buffer
    return RowSource("stdin", kind, stream=stream)


def _refuse_target(output: Path, input_: str) -> None:
    """A file is replaced as a whole, so it must be one, and not the one that is read."""
    if output.exists() and not output.is_file():
        raise UsageError(f"-o {output} is not a regular file. Without -o predictions go to stdout.")
    if output.suffix.lower() == ".gz":
        raise UsageError(f"-o {output}: files are not compressed here; leave -o out and pipe through gzip.")
    if (
        input_ != _STDIN
        and output.exists()
        and os.path.exists(os.path.expanduser(input_))
        and output.samefile(os.path.expanduser(input_))
    ):
        raise UsageError(f"-o {output} is the input file; name another one.")


def _head(predictor: Predictor) -> dict[str, Any]:
    members = [network.member for network in predictor.networks]
    return {
        "run": predictor.run.id,
        "members": [member.folder for member in members if member is not None],
        "weights": predictor.weights.as_document(),
        "kind": predictor.meaning.kind,
        "classes": None if predictor.meaning.kind == "numbers" else list(predictor.meaning.classes),
    }


def _unknown(counts: UnknownCounts) -> dict[str, Any]:
    return {"unknown": [vars(found) for found in counts.found]}


def _write_file(
    path: Path, predicted: Iterator[Predictions], meaning: Meaning, format_: Format, probabilities: bool
) -> int:
    from nnrun.records.files import replace_file

    rows = 0

    def write(temporary: Path) -> None:
        nonlocal rows
        with temporary.open("w", encoding="utf-8", newline="") as file:
            rows = _write(file, predicted, meaning, format_, probabilities)

    replace_file(path, write)
    return rows


def _write(
    file: TextIO, predicted: Iterator[Predictions], meaning: Meaning, format_: Format, probabilities: bool
) -> int:
    """Write predictions as they come; give their number."""
    from nnrun.experiment.prediction_lines import CsvLines, JsonLines

    rows = 0
    if format_ is Format.jsonl:
        json_lines = JsonLines(meaning, probabilities=probabilities)
        for block in predicted:
            file.write(json_for(json_lines.lines(block), file.encoding))
            rows += len(block)
        return rows
    csv_lines = CsvLines(meaning, probabilities=probabilities)
    for number, block in enumerate(predicted):
        if not number:  # where the rows cannot be read at all, nothing is written
            file.write(csv_lines.header())
        file.write(csv_lines.lines(block))
        rows += len(block)
    return rows
