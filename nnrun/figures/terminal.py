"""Learning curves as text: a line of braille dots for validation, middle dots for training."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from nnrun.figures.curve_figure import Curve, title_of

Values = npt.NDArray[np.float64]
Range = tuple[float, float]

_BRAILLE = 0x2800
# The bit of each of a braille character's eight dots: row from the top, then left and right.
_DOT_BITS = ((0x01, 0x08), (0x02, 0x10), (0x04, 0x20), (0x40, 0x80))
_CYAN, _RESET = "\x1b[36m", "\x1b[0m"


def terminal_plot(
    measure: str,
    curves: Sequence[Curve],
    *,
    width: int,
    height: int = 12,
    note: str = "",
    log: bool = False,
    colour: bool = False,
    ascii_only: bool = False,
    outputs: Collection[str] = (),
    x_ends: tuple[str, str] | None = None,
) -> str:
    """One plot per run, one below the other, all with the same axes so that they can be compared.

    Args:
        measure: `loss` or a metric.
        curves: one per run.
        width: columns that the text may take.
        height: lines of each plot, without its title and axis.
        note: how the curves were made (`smoothed`).
        log: whether the vertical axis is logarithmic.
        colour: colour the validation line.
        ascii_only: for a terminal that cannot show braille.
        outputs: the names of outputs, which measures begin with.
        x_ends: the labels of the horizontal axis; default: its first and last epoch.
    """
    named = curves
    curves = [_logarithms(curve) for curve in curves] if log else curves
    low, high = _range_of(named)
    ends = (f"{low:.4g}", f"{high:.4g}")
    y_range = _range_of(curves)
    x_range = _range([curve.epochs for curve in curves])
    first, last = x_ends or (f"{value:.0f}" for value in x_range)
    blocks = []
    for curve in curves:
        best = "" if curve.best_epoch is None else f"best at epoch {curve.best_epoch}"
        name = "" if len(curves) == 1 else curve.label
        blocks.append(
            ", ".join(part for part in (title_of(measure, named, outputs), name, note, best) if part)
        )
        blocks.extend(
            _plot(curve, x_range, y_range, ends, width, height, colour=colour, ascii_only=ascii_only)
        )
        blocks.append(_horizontal_axis(first, last, max(map(len, ends)), width))
    dot, line = (".", "o") if ascii_only else ("·", "⠒⠒")
    keys = [f"{dot} training"] if any(curve.training is not None for curve in curves) else []
    keys += [f"{line} validation"] if any(curve.validation is not None for curve in curves) else []
    blocks.append("   ".join(keys))
    return "\n".join(blocks)


def _logarithms(curve: Curve) -> Curve:
    training, validation = (None if v is None else np.log10(v) for v in (curve.training, curve.validation))
    return replace(curve, training=training, validation=validation)


def _plot(
    curve: Curve,
    x_range: Range,
    y_range: Range,
    ends: tuple[str, str],
    width: int,
    height: int,
    *,
    colour: bool,
    ascii_only: bool,
) -> list[str]:
    """The lines of one plot: the labels of the vertical axis, and the cells.

    `ends` are the labels of the vertical axis, the lower one first.
    """
    bottom, top = ends
    gutter = max(len(top), len(bottom))
    columns = _columns(gutter, width)
    dots = np.zeros((height, columns), bool)
    if curve.training is not None:
        dots = _dots(curve.epochs, curve.training, x_range, y_range, columns, height)
    line = np.zeros((4 * height, 2 * columns), bool)
    if curve.validation is not None:
        line = _line(curve.epochs, curve.validation, x_range, y_range, 2 * columns, 4 * height)
    lines = []
    for row in range(height):
        label = top if row == 0 else bottom if row == height - 1 else ""
        cells = "".join(
            _cell(line[4 * row : 4 * row + 4, 2 * i : 2 * i + 2], bool(dots[row, i]), colour, ascii_only)
            for i in range(columns)
        )
        lines.append(f"{label:>{gutter}} {'|' if ascii_only else '│'}{cells}".rstrip())
    return lines


def _horizontal_axis(first: str, last: str, gutter: int, width: int) -> str:
    """The labels of both ends, below the cells of a plot whose vertical labels are `gutter` wide."""
    columns = _columns(gutter, width)
    return f"{'':>{gutter}}  " + (f"{first}{last:>{columns - len(first)}}" if first != last else first)


def _columns(gutter: int, width: int) -> int:
    """How many cells of a plot stand beside each other."""
    return max(width - gutter - 2, 10)


def _cell(line: npt.NDArray[np.bool_], dot: bool, colour: bool, ascii_only: bool) -> str:
    bits = sum(_DOT_BITS[y][x] for y, x in np.argwhere(line))
    if not bits:
        return ("." if ascii_only else "·") if dot else " "
    cell = "o" if ascii_only else chr(_BRAILLE + bits)
    return f"{_CYAN}{cell}{_RESET}" if colour else cell


def _dots(
    epochs: Values, values: Values, x_range: Range, y_range: Range, columns: int, rows: int
) -> npt.NDArray[np.bool_]:
    cells = np.zeros((rows, columns), bool)
    finite = np.isfinite(values)
    cells[_scaled(values[finite], y_range, rows, flip=True), _scaled(epochs[finite], x_range, columns)] = True
    return cells


def _line(
    epochs: Values, values: Values, x_range: Range, y_range: Range, columns: int, rows: int
) -> npt.NDArray[np.bool_]:
    """The values as points, each joined to the next; a missing value is a gap."""
    cells = np.zeros((rows, columns), bool)
    steps = np.linspace(0, 1, 2 * (rows + columns) // max(len(epochs) - 1, 1) + 2)
    for i in np.flatnonzero(np.isfinite(values)).tolist():
        following = min(i + 1, len(values) - 1)
        end = following if np.isfinite(values[following]) else i
        xs = epochs[i] + steps * (epochs[end] - epochs[i])
        ys = values[i] + steps * (values[end] - values[i])
        cells[_scaled(ys, y_range, rows, flip=True), _scaled(xs, x_range, columns)] = True
    return cells


def _scaled(values: Values, limits: Range, cells: int, *, flip: bool = False) -> npt.NDArray[np.int64]:
    low, high = limits
    share = (values - low) / (high - low) if high > low else np.full(len(values), 0.5)
    places = np.rint((1 - share if flip else share) * (cells - 1)).astype(np.int64)
    return np.clip(places, 0, cells - 1)


def _range_of(curves: Sequence[Curve]) -> Range:
    return _range([values for c in curves for values in (c.training, c.validation) if values is not None])


def _range(columns: Sequence[Values]) -> Range:
    values = np.concatenate(columns)
    finite = values[np.isfinite(values)]
    return (float(finite.min()), float(finite.max())) if len(finite) else (0.0, 1.0)
