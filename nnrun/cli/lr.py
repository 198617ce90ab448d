"""`nnrun lr`."""

from __future__ import annotations

import os
import shlex
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from nnrun.cli import options
from nnrun.cli.output import aligned, ascii_only, message, print_result, terminal_width, wrapped
from nnrun.errors import EXIT_INTERRUPTED, UsageError, printable

if TYPE_CHECKING:
    from nnrun.experiment.sweeping.rate_test_result import RateTest
    from nnrun.records import SweepRecord

Low = Annotated[
    float | None,
    typer.Option(
        "--from", metavar="RATE", help="The lowest learning rate; default: 1e-05.", show_default=False
    ),
]
High = Annotated[
    float | None,
    typer.Option("--to", metavar="RATE", help="The highest; default: 1.", show_default=False),
]
Count = Annotated[
    int | None,
    typer.Option("--count", metavar="N", help="How many; default: 32.", show_default=False),
]
Steps = Annotated[
    int | None,
    typer.Option(
        "--steps",
        min=1,
        metavar="N",
        help="Train each for the fewest epochs with N steps; default: 200.",
        show_default=False,
    ),
]
Epochs = Annotated[int | None, typer.Option("--epochs", min=1, metavar="N", help="Train each for N epochs.")]


def lr(
    spec: options.Spec,
    low: Low = None,
    high: High = None,
    count: Count = None,
    steps: Steps = None,
    epochs: Epochs = None,
    new: Annotated[bool, typer.Option("--new", help="Test again, even if the same test is there.")] = False,
    terminal: Annotated[bool, typer.Option("--terminal", help="Draw the plot in the terminal.")] = False,
    output: options.Figure = None,
    *,
    set_: options.Set = None,
    seed: options.Seed = None,
    smoke: options.Smoke = False,
    training: options.Training,
) -> int:
    """Test learning rates: train each for a short while, and say which to take.

    All start from the same weights, see the rows in the same order, and train side by side. Their losses are
    measured on the spec's validation rows, of folds the first. Take the middle of those rates whose lowest
    validation loss, smoothed over its neighbours, is as good as the best but for 5 % of the fall.
    """
    _refuse_together(terminal and (training.as_json or output is not None), steps, epochs)
    options.check_figure(output)

    from nnrun.cli.running import show_warnings, sweep_listener
    from nnrun.experiment.sweeping import rate_test
    from nnrun.experiment.sweeping.at_work import SweepInterrupted
    from nnrun.experiment.sweeping.rate_test_result import draw_rate_test, read_rate_test

    listener = sweep_listener(training, each=False)
    planned = rate_test.plan_rate_test(
        spec,
        training.settings("lr", smoke=smoke),
        overrides=options.changes_of(set_, seed=seed, epochs=None),
        rates=rate_test.RateRange(**_given(low=low, high=high, count=count)),
        length=rate_test.Length(**_given(steps=steps, epochs=epochs)),
        listener=listener,
    )
    show_warnings(planned.plan.warnings, training)
    if (sentence := rate_test.left_out_sentence(planned.left_out)) and not training.quiet:
        message(sentence)
    try:
        sweep = rate_test.run_rate_test(planned, listener, new=new)
    except SweepInterrupted as interruption:
        message(f"interrupted; the same command goes on with {interruption.sweep.path}")
        return EXIT_INTERRUPTED
    test = read_rate_test(sweep)
    if output is not None and test.choice is not None:
        draw_rate_test(test, output)
    record = sweep.read_record()
    if terminal and test.choice is not None:
        print(f"{_plot(test)}\n")
    print_result(
        training.as_json,
        lambda: _document(test, record),
        lambda: _text(test, record, spec, output),
    )
    return 0 if test.choice is not None else 1


def _refuse_together(as_text: bool, steps: int | None, epochs: int | None) -> None:
    """Refuse options that exclude each other. `as_text`: a plot as text where none can be printed."""
    if as_text:
        raise UsageError("--terminal prints the plot as text: it cannot be combined with --json or -o.")
    if steps is not None and epochs is not None:
        raise UsageError("--steps and --epochs both say how long to train; leave out one.")


def _given(**values: Any) -> dict[str, Any]:
    """The values that the command line has; the others have defaults."""
    return {name: value for name, value in values.items() if value is not None}


def _document(test: RateTest, record: SweepRecord) -> dict[str, Any]:
    choice = test.choice
    rates = [vars(trial) for trial in test.trials]
    return {
        "id": test.sweep.id,
        "path": str(test.sweep.path),
        "name": record.name,
        "smoke": record.smoke,
        "epochs": test.epochs,
        "fold": test.only_fold,
        "rates": rates,
        "rate": test.rate,
        "set": test.override,
        "plateau": None if choice is None else [rates[choice.low]["rate"], rates[choice.high]["rate"]],
        "at_edge": test.at_edge,
        "figure": str(test.sweep.figure) if test.sweep.figure.is_file() else None,
    }


def _text(test: RateTest, record: SweepRecord, spec: Path, figure: Path | None) -> str:
    from nnrun.experiment.finished.record_text import SMOKE_TEXT

    width, rows = terminal_width(), [["learning rate", "loss", "val_loss", "epoch", ""]]
    for place, trial in enumerate(test.trials):
        mark = "take" if test.choice is not None and place == test.choice.place else ""
        if trial.val_loss is None or trial.loss is None:
            rows.append([f"{trial.rate:g}", trial.status, "", "", mark])
        else:
            losses = [f"{loss:.5g}" for loss in (trial.loss, trial.val_loss)]
            rows.append([f"{trial.rate:g}", *losses, str(trial.epoch), mark])
    of_fold = "" if test.only_fold is None else f", fold {test.only_fold} only"
    headline = (
        f"{record.name}: {len(test.trials)} learning rates, each trained for {test.epochs} "
        f"epoch{'s' if test.epochs > 1 else ''}{of_fold}; losses at the epoch with the lowest val_loss"
    )
    if record.smoke:
        headline += f"\n{SMOKE_TEXT}"
    blocks = [
        wrapped(headline, width),
        aligned(rows),
        wrapped(_advice(test), width),
        _ends(test, spec, figure),
    ]
    return printable("\n\n".join(blocks))


def _advice(test: RateTest) -> str:
    """Which rate to take, and why."""
    from nnrun.validation.rate_choice import MARGIN

    choice, trials = test.choice, test.trials
    if choice is None:
        return (
            "No learning rate kept the loss finite. Try lower ones (--from, --to), or standardize the inputs."
        )
    low, high = trials[choice.low].rate, trials[choice.high].rate
    how = " (losses smoothed over neighbours)" if choice.smoothed else ""
    why = (
        f"the middle of the rates from {low:g} to {high:g}, whose val_loss is above the best by at most "
        f"{MARGIN * 100:g} % of the fall from the lowest rates' to the best{how}"
        if low < high
        else "the rate with the lowest val_loss; its neighbours' are clearly higher"
    )
    lines = [f"Take {test.rate:g}: {why}."]
    if not choice.learns:
        lines.append("No rate brought the val_loss below that of the lowest: this choice means little.")
    elif test.at_edge is not None:
        option, beyond = ("--to", "higher") if test.at_edge == "highest" else ("--from", "lower")
        lines.append(
            f"The {test.at_edge} rate that was tried is among the best: try {beyond} ones ({option})."
        )
    lines.append(
        "It was chosen on the validation rows, after a short training: a longer one may do better with a "
        "lower rate, and its score on these rows is a little optimistic."
    )
    return "\n".join(lines)


def _ends(test: RateTest, spec: Path, figure: Path | None) -> str:
    lines = [f"Files  {test.sweep.path}"]
    shown = figure if figure is not None else test.sweep.figure
    if shown.is_file():
        lines.append(f"Figure {shown}")
    if test.override is not None:
        lines.append(f"Next   nnrun train {shlex.quote(str(spec))} --set {shlex.quote(test.override)}")
    return "\n".join(lines)


def _plot(test: RateTest) -> str:
    from nnrun.experiment.sweeping.rate_test_result import rate_curve
    from nnrun.figures.terminal import terminal_plot

    ends = test.trials[0].rate, test.trials[-1].rate
    return terminal_plot(
        "loss",
        [rate_curve(test)],
        width=shutil.get_terminal_size().columns,
        note=f"learning rates, on a logarithmic axis; take {test.rate:g}",
        colour=sys.stdout.isatty() and not os.environ.get("NO_COLOR"),
        ascii_only=ascii_only(),
        x_ends=(f"{ends[0]:g}", f"{ends[1]:g}"),
    )
