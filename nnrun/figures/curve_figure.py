"""Learning curves as in the book's figures 3.7 to 3.13: dots for training, a line for validation.

Figures are made with matplotlib's objects, without pyplot: no window, no display, no shared state.
"""

from __future__ import annotations

import io
import textwrap
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullLocator

from nnrun.atomic_files import write_whole, writing
from nnrun.figures.style import COLOURS, GREY, any_script, empty_figure, plain_axes, plain_label
from nnrun.history_table import HistoryTable
from nnrun.interrupts import stop_if_leaving
from nnrun.spec.schema import Metric, components

Values = npt.NDArray[np.float64]
LineStyle = Literal["-", "--", ":"]
Phase = Literal["training", "validation"]

_LINES: tuple[LineStyle, ...] = ("-", "--", ":")
_WIDTH, _HEIGHT = 7.0, 4.5
_NOTE_WIDTH = 85  # letters, beside the axis of a figure of this width
_MOST_IN_A_COLUMN = 4
_MANY_DOTS = 80
_LONGEST_LABEL = 46
_RING: dict[str, Any] = {"marker": "o", "markersize": 9.0, "markerfacecolor": "none", "markeredgewidth": 1.2}

_NAMES = {
    "mae": "MAE",
    "mse": "MSE",
    "rmse": "RMSE",
    "auc": "AUC",
    "r2": "R²",
    "f1": "F1",
    "top_k": "top-k accuracy",
}


_INNER_LINE = (0, (1, 1.5))


@dataclass(frozen=True, eq=False)
class Curve:
    """One measure of one run (or of the mean over its folds), epoch by epoch.

    Attributes:
        label: what the legend calls the run.
        epochs: from 1.
        training: as long as `epochs`, a value that is not finite being a gap; None where it is not shown.
        validation: the same; None also where the run validated nothing.
        training_std, validation_std: the standard deviation over folds, or None.
        best_epoch: the epoch to mark on the validation line, or None.
        inner: as `validation`, of the inner rows that decided when to stop; None where there were none.
    """

    label: str
    epochs: Values
    training: Values | None = None
    validation: Values | None = None
    training_std: Values | None = None
    validation_std: Values | None = None
    best_epoch: int | None = None
    inner: Values | None = None

    @property
    def is_empty(self) -> bool:
        """Whether it has no finite value: it would be drawn as empty axes."""
        shown = (values for values in (self.training, self.validation, self.inner) if values is not None)
        return not any(np.isfinite(values).any() for values in shown)


def curve_of(
    history: HistoryTable,
    measure: str,
    label: str,
    *,
    skip: int = 0,
    transform: Callable[[Values], Values] = lambda values: values,
    only: Phase | None = None,
    log: bool = False,
    best_epoch: int | None = None,
) -> Curve:
    """The curve of a measure in a history, or in a mean of histories (`<column>_mean`, `<column>_std`).

    Args:
        history: the table; it has the measure's columns.
        measure: `loss` or a metric.
        label: what the legend calls the run.
        skip: leave out this many epochs at the start.
        transform: applied to each column after skipping, such as smoothing.
        only: the phase to show; both where it is None.
        log: for a logarithmic axis, where what is not above 0 is a gap.
        best_epoch: the epoch to mark, where the validation line has it.
    """

    def column(name: str) -> Values | None:
        if name not in history:
            return None
        values = history.floats(name)[skip:]
        return None if np.isnan(values).all() else transform(np.where(np.isfinite(values), values, np.nan))

    def line(name: str, phase: Phase) -> Values | None:
        values = column(name) if only in (None, phase) else None
        return np.where(values > 0, values, np.nan) if values is not None and log else values

    mean, std = ("_mean", "_std") if f"{measure}_mean" in history else ("", "_std")
    epochs = history.floats("epoch")[skip:]
    training = line(f"{measure}{mean}", "training")
    validation = line(f"val_{measure}{mean}", "validation")
    if training is None and only is None:
        training = np.full(len(epochs), np.nan)
    marked = validation is not None and bool(np.isfinite(validation[epochs == best_epoch]).any())
    return Curve(
        label=label,
        epochs=epochs,
        training=training,
        validation=validation,
        training_std=None if training is None else column(f"{measure}{std}"),
        validation_std=None if validation is None else column(f"val_{measure}{std}"),
        best_epoch=best_epoch if marked else None,
        inner=line(f"inner_{measure}{mean}", "validation"),
    )


def curves_figure(
    panels: Mapping[str, Sequence[Curve]], *, note: str = "", log: bool = False, outputs: Collection[str] = ()
) -> Figure:
    """A figure with one panel per measure, and in each panel one colour per run.

    The panels stand one above the other; more than four in two columns, the first filled first.

    Args:
        panels: measure → its curves, one per run, the runs in the same order in each panel.
        note: how the curves were made (`smoothed`), to stand under each title.
        log: whether the vertical axes are logarithmic.
        outputs: the names of outputs, which measures begin with.
    """
    of_one_panel = next(iter(panels.values()))
    every = [curve for curves in panels.values() for curve in curves]
    keys, key_columns = _legend(of_one_panel, every)
    columns = 2 if len(panels) > _MOST_IN_A_COLUMN else 1
    rows = -(-len(panels) // columns)
    height = (_HEIGHT if rows == 1 else 3.4 * rows + 0.6) + 0.2 * (len(keys) // key_columns - 1)
    figure = empty_figure(_WIDTH * columns, height)
    axes = figure.subplots(rows, columns, squeeze=False).T.flatten()
    for place, (ax, (measure, curves)) in enumerate(zip(axes, panels.items(), strict=False)):
        _draw_panel(ax, measure, curves, note, outputs)
        if log:
            _make_logarithmic(ax, curves)
        if (place + 1) % rows == 0 or place + 1 == len(panels):
            ax.set_xlabel("Epochs")
    for ax in axes[len(panels) :]:
        ax.remove()
    figure.legend(handles=keys, ncols=key_columns, loc="outside lower center", frameon=False, fontsize=9.5)
    return figure


def save(figure: Figure, path: Path) -> None:
    """Write a figure, whole or not at all; the name's ending (.png, .svg) is its format.

    Equal figures give equal files.

    Raises:
        NnrunError: the file cannot be written.
    """
    # Without a salt and with a date, no two SVG files would be alike.
    kind = path.suffix.lower().removeprefix(".")
    drawn = io.BytesIO()
    with rc_context({"svg.hashsalt": "nnrun"}), any_script():
        figure.savefig(drawn, format=kind, metadata={"Date": None} if kind == "svg" else None)
    stop_if_leaving()  # a request to stop that Matplotlib swallowed
    with writing(path):
        write_whole(path, lambda temporary: temporary.write_bytes(drawn.getvalue()))


def title_of(measure: str, curves: Sequence[Curve], outputs: Collection[str] = ()) -> str:
    """`Training and validation loss`, or `Training loss` where nothing was validated; of an output
    `species: training and validation loss`."""
    shown = {
        "training": any(curve.training is not None for curve in curves),
        "validation": any(curve.validation is not None for curve in curves),
    }
    phases = " and ".join(phase for phase, is_shown in shown.items() if is_shown)
    output, own = _of_output(measure, outputs)
    if output:
        return f"{output}: {phases} {name_of(own)}"
    return f"{phases[:1].upper()}{phases[1:]} {name_of(measure)}"


def name_of(measure: str, outputs: Collection[str] = ()) -> str:
    """A measure's name as it is written in text: `MAE`, `accuracy`; of an output `body_mass MAE`."""
    output, own = _of_output(measure, outputs)
    name = _NAMES.get(own, own.replace("_", " "))
    return f"{output} {name}" if output else name


def outputs_among(measures: Collection[str]) -> tuple[str, ...]:
    """The names of the outputs that these measures are of: each has a loss of its own."""
    metrics = components(Metric)
    return tuple(m.removesuffix("_loss") for m in measures if m.endswith("_loss") and m not in metrics)


def _of_output(measure: str, outputs: Collection[str]) -> tuple[str, str]:
    """The output that a measure is of, and what the measure is called there; of none an empty name."""
    able = [output for output in outputs if measure.startswith(f"{output}_")]
    output = max(able, key=len, default="")
    return output, measure.removeprefix(f"{output}_") if output else measure


def _draw_panel(ax: Axes, measure: str, curves: Sequence[Curve], note: str, outputs: Collection[str]) -> None:
    for i, curve in enumerate(curves):
        _draw_curve(ax, curve, *_style(i), alone=len(curves) == 1)
    title = title_of(measure, curves, outputs)
    output, own = _of_output(measure, outputs)
    name = name_of(own) if _trained(curves) or output else title
    best = curves[0].best_epoch if len(curves) == 1 else None
    remarks = [note] if note else []
    if best is not None:
        remarks.append(f"○ best at epoch {best}")
    lines = textwrap.wrap("   ".join(remarks), _NOTE_WIDTH)  # a longer line would narrow the axes
    ax.set_title(title, loc="left", fontsize=12, pad=8 + 14 * len(lines))
    ax.text(0, 1.025, "\n".join(lines), transform=ax.transAxes, fontsize=9.5, color=GREY)
    ax.set_ylabel(name[0].upper() + name[1:], fontsize=11)
    ax.xaxis.set_major_locator(MaxNLocator(nbins=10, steps=[1, 2, 5, 10], integer=True, min_n_ticks=1))
    ax.margins(x=0.02)
    plain_axes(ax)


def _trained(curves: Sequence[Curve]) -> bool:
    return any(curve.training is not None for curve in curves)


def _make_logarithmic(ax: Axes, curves: Sequence[Curve]) -> None:
    """A logarithmic vertical axis with plain numbers; within one decade they stand at round distances."""
    every = [v for c in curves for v in (c.training, c.validation, c.inner) if v is not None]
    decades = np.log10(np.concatenate([values[np.isfinite(values)] for values in every]))
    low, high = float(decades.min()), float(decades.max())
    margin = max(0.05 * (high - low), 0.02)
    ax.set_yscale("log")
    # Bands may reach down to 0, to which a logarithmic axis has no end.
    ax.set_ylim(10 ** max(low - margin, -300), 10 ** min(high + margin, 300))
    subs = (1.0, 2.0, 5.0) if high - low < 2.5 else (1.0,)
    ax.yaxis.set_major_locator(MaxNLocator(nbins=6) if high - low < 1 else LogLocator(subs=subs, numticks=8))
    ax.yaxis.set_minor_locator(NullLocator())
    ax.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))


def _style(run: int) -> tuple[str, LineStyle]:
    """The colour and line of the run at this place; different line styles once the colours repeat."""
    return COLOURS[run % len(COLOURS)], _LINES[run // len(COLOURS) % len(_LINES)]


def _draw_curve(ax: Axes, curve: Curve, colour: str, line: LineStyle, *, alone: bool) -> None:
    if curve.inner is not None:
        ax.plot(curve.epochs, curve.inner, linewidth=1.0, linestyle=_INNER_LINE, color=colour)
    if curve.training is not None:
        _draw_band(
            ax, curve.epochs, curve.training, curve.training_std, colour, alpha=0.10 if alone else 0.06
        )
        ax.plot(
            curve.epochs,
            curve.training,
            linestyle="none",
            marker="o",
            markevery=_dot_spacing(len(curve.epochs)),
            markersize=5.0 if len(curve.epochs) <= _MANY_DOTS // 2 else 3.5,
            markeredgewidth=0,
            color=colour,
            alpha=0.85,
        )
    if curve.validation is None:
        return
    _draw_band(
        ax, curve.epochs, curve.validation, curve.validation_std, colour, alpha=0.22 if alone else 0.14
    )
    # A line through one point would be invisible.
    one_point = {"marker": "D", "markersize": 5.0} if np.isfinite(curve.validation).sum() == 1 else {}
    ax.plot(curve.epochs, curve.validation, color=colour, linestyle=line, linewidth=1.6, **one_point)  # type: ignore[arg-type]
    if curve.best_epoch is not None:
        at = curve.epochs == curve.best_epoch
        ax.plot(curve.epochs[at], curve.validation[at], linestyle="none", color=GREY, zorder=4, **_RING)


def _draw_band(
    ax: Axes, epochs: Values, mean: Values, std: Values | None, colour: str, *, alpha: float
) -> None:
    if std is not None:
        ax.fill_between(epochs, mean - std, mean + std, color=colour, alpha=alpha, linewidth=0)


def _dot_spacing(n_epochs: int) -> int:
    """Every how many epochs a dot is drawn: more dots than fit apart would look like a line."""
    return -(-n_epochs // _MANY_DOTS)


def _legend(runs: Sequence[Curve], every: Sequence[Curve]) -> tuple[list[Line2D | Patch], int]:
    """What dots, line and band mean, and for several runs each one's colour; and in how many columns."""
    alone = len(runs) == 1
    colour = COLOURS[0] if alone else GREY
    spacing = _dot_spacing(max(len(curve.epochs) for curve in every))
    training = (
        "Training"
        if spacing == 1
        else f"Training (every {spacing} epochs)"
        if alone
        else "Training (thinned)"
    )
    keys: list[Line2D | Patch] = []
    if _trained(every):
        keys.append(Line2D([], [], linestyle="none", marker="o", markersize=5, color=colour, label=training))
    if any(curve.validation is not None for curve in every):
        keys.append(Line2D([], [], linewidth=1.6, color=colour, label="Validation"))
    if any(curve.inner is not None for curve in every):
        keys.append(Line2D([], [], linewidth=1.0, linestyle=_INNER_LINE, color=colour, label="Inner"))
    if any(curve.validation_std is not None or curve.training_std is not None for curve in every):
        keys.append(Patch(color=colour, alpha=0.22, linewidth=0, label="± one standard deviation"))
    if alone:
        return keys, len(keys)
    if any(curve.best_epoch is not None for curve in every):
        keys.append(Line2D([], [], linestyle="none", color=GREY, label="Best epoch", **_RING))
    named: list[Line2D | Patch] = []
    for i, run in enumerate(runs):
        colour, line = _style(i)
        named.append(Line2D([], [], linewidth=3, linestyle=line, color=colour, label=_short(run.label)))
    # Filled column by column: the runs in the first, what the signs mean in the second.
    rows = max(len(named), len(keys))
    return [*_filled(named, rows), *_filled(keys, rows)], 2


def _filled(keys: list[Line2D | Patch], rows: int) -> list[Line2D | Patch]:
    return [*keys, *(Line2D([], [], linestyle="none", label=" ") for _ in range(rows - len(keys)))]


def _short(label: str) -> str:
    """A label that fits; what tells ids apart stands at their end."""
    fits = len(label) <= _LONGEST_LABEL
    return plain_label(label if fits else f"{label[:16]}…{label[17 - _LONGEST_LABEL :]}")
