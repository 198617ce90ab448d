"""`nnrun plot`."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from nnrun.cli import options
from nnrun.cli.app import app
from nnrun.cli.output import print_json
from nnrun.errors import DataError, NnrunError, UsageError

if TYPE_CHECKING:
    import pandas as pd

    from nnrun.figures.curves import Curve
    from nnrun.records import RunDirectory

Panels = dict[str, list["Curve"]]

_FORMATS = (".png", ".svg")


@app.command()
def plot(
    runs: Annotated[
        list[str], typer.Argument(metavar="RUN...", help="A path, an id, a prefix of one, or @last.")
    ],
    metric: Annotated[str | None, typer.Option("--metric", help="Only this measure: loss, mae, ...")] = None,
    smooth: Annotated[
        float,
        typer.Option("--smooth", help="Share of the point before in each point: 0.9 is a smooth curve."),
    ] = 0.0,
    skip: Annotated[int, typer.Option("--skip", min=0, help="Leave out the first epochs.")] = 0,
    output: Annotated[
        Path | None, typer.Option("-o", "--output", metavar="FILE", help="One figure: .png or .svg.")
    ] = None,
    terminal: Annotated[bool, typer.Option("--terminal", help="Draw with characters, here.")] = False,
    runs_dir: options.RunsDir = options.DEFAULT_RUNS_DIR,
    as_json: options.Json = False,
) -> None:
    """Draw the loss and the metrics, epoch by epoch: to runs/<id>/plots/, several runs on one figure."""
    if terminal and (as_json or output is not None):
        raise UsageError("--terminal prints a drawing: it cannot be combined with --json or -o.")
    if not 0 <= smooth < 1:
        raise UsageError(f"--smooth must be at least 0 and below 1, but got {smooth:g}.")
    if output is not None and output.suffix.lower() not in _FORMATS:
        raise UsageError(f"-o must name a .png or .svg file, but got {output}.")

    from nnrun.records import find_run

    found = list(dict.fromkeys(find_run(reference, runs_dir) for reference in runs))
    panels, note = make_panels(found, metric=metric, smooth=smooth, skip=skip)
    if terminal:
        print(_as_text(panels, note))
        return
    paths = draw(panels, note, found[0], output, suffix=_suffix(smooth, skip), together=len(found) > 1)
    if as_json:
        print_json({"figures": [str(path) for path in paths]})
    else:
        print("\n".join(map(str, paths)))


def make_panels(
    runs: Sequence[RunDirectory], *, metric: str | None, smooth: float, skip: int
) -> tuple[Panels, str]:
    """The curves of each measure that all the runs have (or of one), and how they were made."""
    from nnrun.figures.curves import curve_of
    from nnrun.records import measures, member_kind
    from nnrun.validation import summary

    tables = [_table(run, skip) for run in runs]
    wanted = [name for name in measures(tables[0]) if all(name in measures(table) for table in tables)]
    if metric is not None:
        wanted = [metric.removeprefix("val_")]
        for run, table in zip(runs, tables, strict=True):
            if wanted[0] not in measures(table):
                known = ", ".join(measures(table))
                raise UsageError(f"{run.id} has no measure '{metric}'; it has {known}.")
    if not wanted:
        raise DataError(f"{runs[0].id} has no loss in its history: there is nothing to draw.")
    panels: Panels = {}
    for measure in wanted:
        mode = summary.monitor_mode(measure)
        panels[measure] = [
            curve_of(
                table,
                measure,
                run.id,
                skip=skip,
                transform=lambda values: summary.smooth(values, smooth),
                best=lambda values, mode=mode: summary.best_epoch(values, mode),  # type: ignore[misc]
            )
            for run, table in zip(runs, tables, strict=True)
        ]
    remarks = []
    if "loss_mean" in tables[0] and len(runs) == 1:
        remarks = [f"mean of the {member_kind(runs[0].read_history().columns)}s"]
    remarks += [f"smoothed ({smooth:g})"] if smooth else []
    remarks += [f"from epoch {skip + 1}"] if skip else []
    return panels, ", ".join(remarks)


def draw(
    panels: Panels, note: str, run: RunDirectory, output: Path | None, *, suffix: str, together: bool
) -> list[Path]:
    """Write the figures: one with all panels to `output`, or one per measure to the run's plots."""
    from nnrun.figures.curves import curves_figure, save

    if output is not None:
        figures = {output: panels}
    else:
        prefix = "compare-" if together else ""
        folder = run.plots_dir()
        figures = {folder / f"{prefix}{name}{suffix}.png": {name: curves} for name, curves in panels.items()}
    for path, of_figure in figures.items():
        try:
            save(curves_figure(of_figure, note=note), path)
        except OSError as error:
            raise NnrunError(f"Cannot write {path}: {error.strerror}.") from error
    return list(figures)


def _table(run: RunDirectory, skip: int) -> pd.DataFrame:
    """A run's history; where it has several folds or seeds, their mean."""
    from nnrun.records import member_kind
    from nnrun.validation.summary import history_mean

    history = run.read_history()
    if history.empty:
        raise DataError(f"{run.id} has no epochs yet: there is nothing to draw.")
    epochs = int(history["epoch"].max())
    if skip >= epochs:
        raise UsageError(f"--skip {skip} leaves nothing of {run.id}, which has {epochs} epochs.")
    kind = member_kind(history.columns)
    if kind is None:
        return history
    if history[kind].nunique() == 1:
        return history.drop(columns=kind)
    return history_mean(history)


def _suffix(smooth: float, skip: int) -> str:
    return "-smoothed" if smooth else f"-from-{skip + 1}" if skip else ""


def _as_text(panels: Panels, note: str) -> str:
    from nnrun.figures.terminal import terminal_plot

    try:
        "⠿·│".encode(sys.stdout.encoding or "ascii")
        ascii_only = False
    except UnicodeEncodeError:
        ascii_only = True
    return "\n\n".join(
        terminal_plot(
            measure,
            curves,
            width=shutil.get_terminal_size().columns,
            note=note,
            colour=sys.stdout.isatty() and not os.environ.get("NO_COLOR"),
            ascii_only=ascii_only,
        )
        for measure, curves in panels.items()
    )
