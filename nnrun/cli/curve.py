"""`nnrun curve`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from nnrun.cli import options
from nnrun.cli.output import aligned, message, print_result, terminal_width, wrapped
from nnrun.errors import EXIT_INTERRUPTED, UsageError, printable

if TYPE_CHECKING:
    from nnrun.experiment.sweeping.size_curve_result import SizeCurve
    from nnrun.records import SweepRecord

Fractions = Annotated[
    str | None,
    typer.Option(
        "--fractions",
        metavar="F,F,...",
        help="Of each fold's training rows; default: 1/8,1/4,1/2,1.",
        show_default=False,
    ),
]
Seeds = Annotated[
    int | None,
    typer.Option(
        "--seeds",
        metavar="N",
        help="Networks for each fraction, where the spec has no folds; default: 5.",
        show_default=False,
    ),
]
Metric = Annotated[
    str | None,
    typer.Option("--metric", metavar="M", help="The score to compare; default: what chooses the best epoch."),
]
SameEpochs = Annotated[
    bool,
    typer.Option("--same-epochs", help="Train each for the spec's epochs, not for as many steps."),
]


def curve(
    spec: options.Spec,
    fractions: Fractions = None,
    seeds: Seeds = None,
    metric: Metric = None,
    same_epochs: SameEpochs = False,
    new: Annotated[bool, typer.Option("--new", help="Train again, even if the same curve is there.")] = False,
    output: options.Figure = None,
    *,
    set_: options.Set = None,
    seed: options.Seed = None,
    epochs: options.Epochs = None,
    smoke: options.Smoke = False,
    training: options.Training,
) -> int:
    """Train on parts of the training rows, and say whether more data would help.

    The rows of a smaller part are among those of a larger one, drawn by class where there are classes, and
    the preprocessing is fitted to each. Validation rows stay the same. Folds, or several seeds where the spec
    has none, train side by side, each part for about as many steps as all rows, at its own best epoch.
    """
    options.check_figure(output)

    from nnrun.cli.running import show_warnings, sweep_listener
    from nnrun.experiment.sweeping.at_work import SweepInterrupted
    from nnrun.experiment.sweeping.size_curve import CurveOptions, plan_curve, run_curve
    from nnrun.experiment.sweeping.size_curve_result import draw_size_curve, read_size_curve

    asked: dict[str, Any] = {"seeds": seeds, "metric": metric}
    if fractions is not None:
        asked["fractions"] = [_number(text) for text in fractions.split(",")]
    given = {name: value for name, value in asked.items() if value is not None}
    listener = sweep_listener(training, each=False)
    planned = plan_curve(
        spec,
        training.settings("curve", smoke=smoke),
        overrides=options.changes_of(set_, seed=seed, epochs=epochs),
        options=CurveOptions(**given, same_epochs=same_epochs),
        listener=listener,
    )
    show_warnings(planned.plan.warnings, training)
    try:
        sweep = run_curve(planned, listener, new=new)
    except SweepInterrupted as interruption:
        message(f"interrupted; the same command goes on with {interruption.sweep.path}")
        return EXIT_INTERRUPTED
    found, record = read_size_curve(sweep), sweep.read_record()
    if output is not None and found.gain is not None:
        draw_size_curve(found, output)
    print_result(training.as_json, lambda: _document(found, record), lambda: _text(found, record, output))
    return 0 if found.gain is not None else 1


def _number(text: str) -> float:
    """A fraction as a person writes it: `1/8`, `0.125`."""
    above, _, below = text.partition("/")
    try:
        return float(above) / float(below or 1)
    except (ValueError, ZeroDivisionError):
        raise UsageError(f"--fractions: {text.strip()!r} is no fraction, such as 1/8 or 0.125.") from None


def _document(curve: SizeCurve, record: SweepRecord) -> dict[str, Any]:
    from nnrun.experiment.sweeping.size_curve_result import size_sentence

    test = curve.test
    return {
        "id": curve.sweep.id,
        "path": str(curve.sweep.path),
        "name": record.name,
        "smoke": record.smoke,
        "monitor": curve.monitor,
        "member_type": curve.member_type,
        "points": [{**vars(point), "mean": point.mean} for point in curve.points],
        "gain": curve.gain,
        "standard_error": None if test is None else test.standard_error,
        "p": None if test is None else test.p,
        "helped": curve.helped,
        "next_gain": curve.next_gain,
        "verdict": size_sentence(curve),
        "figure": str(curve.sweep.figure) if curve.sweep.figure.is_file() else None,
    }


def _text(curve: SizeCurve, record: SweepRecord, figure: Path | None) -> str:
    from nnrun.experiment.finished.record_text import SMOKE_TEXT
    from nnrun.experiment.sweeping.size_curve_result import size_sentence
    from nnrun.spec.wording import counted

    width = terminal_width()
    members = max(len(point.validation) for point in curve.points)
    headline = f"{record.name}: {counted(len(curve.points), 'part')} of the training rows"
    if members:
        headline += (
            f", {counted(members, curve.member_type)} each; mean ± std at each part's best epoch by "
            f"{curve.monitor}"
        )
    headline += f"\n{SMOKE_TEXT}" if record.smoke else ""
    blocks = [
        wrapped(headline, width),
        aligned(_rows(curve)),
        wrapped(f"{size_sentence(curve)}\n{_caution(curve)}" if members else size_sentence(curve), width),
        _ends(curve, figure),
    ]
    return printable("\n\n".join(blocks))


def _rows(curve: SizeCurve) -> list[list[str]]:
    from nnrun.spec.wording import with_std

    names = [name for name in curve.points[-1].scores if name.startswith("val_")]
    training = curve.monitor.removeprefix("val_")
    rows = [["rows", "of all", "epochs", "best", training, *names]]
    for point in curve.points:
        share = f"{point.fraction:.3g}"
        if not point.validation:
            rows.append(["", share, "", point.status, "", *("" for _ in names)])
            continue
        rows.append(
            [
                f"{point.rows:,}",
                share,
                str(point.epochs),
                str(point.epoch),
                with_std(point.training),
                *(with_std(point.scores.get(name), point.std.get(name)) for name in names),
            ]
        )
    return rows


def _caution(curve: SizeCurve) -> str:
    """How the parts were trained, and what the scores are."""
    steps = "Smaller parts were trained for more epochs, about as many steps"
    if len({point.epochs for point in curve.points if point.epochs}) <= 1:
        steps = "Each part was trained for as many epochs"
    last = curve.points[-1]
    unfinished = ""
    if last.epoch is not None and last.epoch == last.epochs:
        unfinished = " The largest part was best at its last epoch: more epochs may help before more rows do."
    return (
        f"{steps}. Each best epoch was chosen on the rows that score it, so all scores are a little "
        f"optimistic.{unfinished}"
    )


def _ends(curve: SizeCurve, figure: Path | None) -> str:
    lines = [f"Files  {curve.sweep.path}"]
    shown = figure if figure is not None else curve.sweep.figure
    if shown.is_file():
        lines.append(f"Figure {shown}")
    return "\n".join(lines)
