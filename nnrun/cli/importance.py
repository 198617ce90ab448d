"""`nnrun importance`."""

from __future__ import annotations

import textwrap
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from nnrun.cli import options
from nnrun.cli.evaluate import Split
from nnrun.cli.output import aligned, in_blocks, message, print_result, text_width
from nnrun.errors import printable
from nnrun.spec.wording import counted

if TYPE_CHECKING:
    from nnrun.records import RunDirectory
    from nnrun.records.importance_record import ImportanceRecord


_Metric = Annotated[
    str | None,
    typer.Option(
        "--metric",
        metavar="METRIC",
        help="The score that gets worse: loss, or a metric of the spec. Default: its first metric.",
        show_default=False,
    ),
]
_Output = Annotated[
    str | None,
    typer.Option("--output", metavar="NAME", help="One of several outputs.", show_default=False),
]
_Repeats = Annotated[
    int | None,
    typer.Option(
        "--repeats",
        min=1,
        metavar="N",
        help="Shuffle each column N times. Default: 5.",
        show_default=False,
    ),
]
_Curves = Annotated[
    list[str] | None,
    typer.Option(
        "--curve",
        metavar="COLUMN",
        help="Show what is predicted on average for each value of this column; again for another.",
    ),
]


def importance(
    run: options.Run,
    metric: _Metric = None,
    output: _Output = None,
    repeats: _Repeats = None,
    curve: _Curves = None,
    split: Annotated[Split, typer.Option("--split", help="The rows to ask about.")] = "validation",
    seed: Annotated[
        int | None, typer.Option("--seed", help="Shuffle in another way; default: by the spec's seed.")
    ] = None,
    figures: Annotated[
        bool, typer.Option("--figures/--no-figures", help="Write figures to runs/<id>/plots/.")
    ] = True,
    *,
    asking: options.Asking,
    verbose: options.Verbose = False,
) -> None:
    """Show how much each input column matters: how much worse a score gets when the column is shuffled.

    The networks are asked about rows that they did not train on: of folds each network about its own
    validation rows. A column counts as one, whatever features it becomes. With --split test the look at the
    test set is counted in the run's record.
    """
    from nnrun.cli.running import listener_for
    from nnrun.experiment.evaluating.draw_importance import write_importance_figures
    from nnrun.experiment.evaluating.importance import ImportanceSettings, measure_importance
    from nnrun.records import find_run

    given: dict[str, Any] = {
        "metric": metric,
        "output": output,
        "repeats": repeats,
        "seed": seed,
        "curves": curve,
    }
    settings = ImportanceSettings(
        split=split, **{name: value for name, value in given.items() if value is not None}
    )
    found = find_run(run, asking.runs_dir, tell=message)
    access = asking.access(listener_for(quiet=asking.quiet, verbose=verbose))
    record = measure_importance(found, access, settings)
    paths = write_importance_figures(found, record) if figures else []
    print_result(
        asking.as_json,
        lambda: _document(found, record, paths),
        lambda: _text(found, record, paths, whole=verbose),
    )


def _document(run: RunDirectory, record: ImportanceRecord, figures: list[Path]) -> dict[str, Any]:
    return {"run": run.id, **record.model_dump(), "figures": [str(path) for path in figures]}


def _text(run: RunDirectory, record: ImportanceRecord, figures: list[Path], *, whole: bool) -> str:
    from nnrun.experiment.evaluating import importance_text as words
    from nnrun.experiment.finished.look_text import this_look_text
    from nnrun.records import LookCount

    width = text_width()
    columns = counted(len(record.tables[0].columns), "column")
    head = [f"{run.id}: importance of {columns}", words.measured_on(record), f"weights: {record.weights}"]
    blocks = ["\n".join(textwrap.fill(line, width) for line in head)]
    for table in record.tables:
        title = "" if table.output is None else f"{table.output}\n"
        rows = words.table_rows(table, everything=whole)
        shown = aligned([["", words.heading(table)], *rows]) if rows else ""
        sentences = [textwrap.fill(text, width) for text in words.table_sentences(table)]
        blocks.append(f"{title}{shown}".rstrip())
        blocks.append("\n".join(sentences))
    blocks.append("\n".join(textwrap.fill(text, width) for text in words.cautions(record)))
    for curve in record.curves:
        note = textwrap.fill(f"{words.curve_title(curve)}, {words.curve_note(record, curve)}", width)
        blocks.append(f"{note}\n{in_blocks(words.curve_rows(curve, everything=whole), width)}")
    blocks.append("\n".join(textwrap.fill(text, width) for text in words.curve_cautions(record.curves)))
    blocks.append("\n".join(map(str, figures)))
    if record.look is not None and record.look_of_any is not None:
        known, count = run.read_record(), LookCount(record.look, record.look_of_any)
        uses, data = known.test_uses, known.test_uses[-1].data or ""
        blocks.append(this_look_text(count, data, str(known.name), run.runs_dir, by_this_run=len(uses)))
    return printable("\n\n".join(block for block in blocks if block))
