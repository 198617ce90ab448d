"""`nnrun plot`."""

from __future__ import annotations

import os
import shutil
import sys
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from nnrun.cli import options
from nnrun.cli.output import ascii_only, message, print_result
from nnrun.errors import UsageError, printable

if TYPE_CHECKING:
    from nnrun.experiment.describing.learning_curves import Panels


Only = Literal["validation", "training"]
"""The curves that can be drawn without the other."""


def plot(
    runs: options.Runs,
    metric: Annotated[
        str | None, typer.Option("--metric", help="Plot only this measure: loss, mae, ...")
    ] = None,
    smooth: Annotated[
        float,
        typer.Option(
            "--smooth", help="Weight of the previous point in each point: 0.9 gives a smooth curve."
        ),
    ] = 0.0,
    skip: Annotated[int, typer.Option("--skip", min=0, help="Leave out the first N epochs.")] = 0,
    only: Annotated[
        Only | None, typer.Option("--only", help="Plot only the validation or only the training curve.")
    ] = None,
    log: Annotated[bool, typer.Option("--log", help="Logarithmic axes for the measures.")] = False,
    output: options.Figure = None,
    terminal: Annotated[bool, typer.Option("--terminal", help="Draw the plot in the terminal.")] = False,
    runs_dir: options.RunsDir = options.DEFAULT_RUNS_DIR,
    as_json: options.Json = False,
) -> None:
    """Plot the loss and the metrics by epoch, to runs/<id>/plots/; several runs in one figure."""
    if terminal and (as_json or output is not None):
        raise UsageError("--terminal prints the plot as text: it cannot be combined with --json or -o.")
    if not 0 <= smooth < 1:
        raise UsageError(f"--smooth must be at least 0 and below 1, but got {smooth:g}.")
    options.check_figure(output)

    from nnrun.experiment.describing.learning_curves import make_panels, write_figure, write_figures
    from nnrun.records import find_runs

    found = find_runs(runs, runs_dir, tell=message)
    panels = make_panels(found, metric=metric, only=only, smooth=smooth, skip=skip, log=log)
    left_out = panels.left_out_text([run.id for run in found])
    if not panels.curves:
        raise UsageError(f"No figure of {', '.join(run.id for run in found)}. {left_out}")
    if left_out:
        message(printable(left_out))
    if terminal:
        print(_as_text(panels))
        return
    if output is not None:
        paths = [write_figure(panels, output)]
    else:
        prefix = "compare-" if len(found) > 1 else ""
        paths = write_figures(
            panels, found[0].plots_dir(), prefix=prefix, suffix=_suffix(only, smooth, skip, log)
        )
    names = [str(path) for path in paths]
    print_result(as_json, lambda: {"figures": names}, lambda: "\n".join(names))


def _suffix(only: Only | None, smooth: float, skip: int, log: bool) -> str:
    """What a file's name says about its figure, so that one of another kind does not overwrite it."""
    how = "-smoothed" if smooth else f"-from-{skip + 1}" if skip else ""
    return (f"-{only}" if only is not None else "") + how + ("-log" if log else "")


def _as_text(panels: Panels) -> str:
    from nnrun.figures.terminal import terminal_plot

    return "\n\n".join(
        terminal_plot(
            measure,
            curves,
            width=shutil.get_terminal_size().columns,
            note=panels.note,
            log=panels.log,
            colour=sys.stdout.isatty() and not os.environ.get("NO_COLOR"),
            ascii_only=ascii_only(),
            outputs=panels.outputs,
        )
        for measure, curves in panels.curves.items()
    )
