"""The figure of a graph of layers: inputs at the top, an arrow for each row of numbers that is handed on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from typing import Literal

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from matplotlib.patches import FancyBboxPatch, PathPatch, Polygon
from matplotlib.path import Path
from matplotlib.textpath import text_to_path

from nnrun.figures.layered_layout import Line, Point, layered_layout
from nnrun.figures.style import COLOURS, DPI, GREY, any_script, plain_label

BoxKind = Literal["input", "layer", "merge", "output"]

_BLUE, _ORANGE, _GREEN = COLOURS[:3]
_COLOUR_OF = {"input": _BLUE, "layer": "#000000", "merge": GREY, "output": _ORANGE}
_TITLE, _TEXT = 9.0, 8.0  # points
_LINE, _PADDING, _MARGIN, _CORNER = 0.155, 0.09, 0.15, 0.06  # inches
_LEAST_WIDTH = 0.9
_LONGEST = 38  # letters of a line
_MOST_PIXELS, _LONGEST_SIDE = 100e6, 60_000  # Matplotlib's own limit is 65,536 pixels a side
_ARROW = 0.085


@dataclass(frozen=True)
class Box:
    """An input, a layer, a merge or an output.

    Attributes:
        kind: which of them; it decides the colour.
        title: the first line, bold.
        lines: the others.
        takes: the places of the boxes whose rows it takes, all before its own.
        shared: whether it stands for a layer of a shared chain: drawn dashed and green.
    """

    kind: BoxKind
    title: str
    lines: tuple[str, ...] = ()
    takes: tuple[int, ...] = ()
    shared: bool = False


def graph_figure(boxes: Sequence[Box]) -> Figure:
    """The figure, as large as its boxes need, on no background of its own."""
    shown = [[_short(line) for line in (box.title, *box.lines)] for box in boxes]
    with any_script():
        sizes = [_size(lines) for lines in shown]
    layout = layered_layout(sizes, [box.takes for box in boxes])
    width, height = (length + 2 * _MARGIN for length in layout.size)
    dpi = min(DPI, (_MOST_PIXELS / (width * height)) ** 0.5, _LONGEST_SIDE / max(width, height))
    figure = Figure(figsize=(width, height), dpi=dpi)
    ax = figure.add_axes((0, 0, 1, 1))
    ax.set_axis_off()
    ax.set_xlim(-_MARGIN, width - _MARGIN)
    ax.set_ylim(height - _MARGIN, -_MARGIN)
    for line in layout.lines:
        _draw_line(ax, line)
    for box, lines, size, centre in zip(boxes, shown, sizes, layout.centres, strict=True):
        _draw_box(ax, box, lines, size, centre)
    return figure


def _short(line: str) -> str:
    return plain_label(line if len(line) <= _LONGEST else f"{line[: _LONGEST - 1]}…")


@lru_cache(maxsize=4096)
def _text_width(text: str, size: float, weight: str) -> float:
    """In inches."""
    font = FontProperties(size=size, weight=weight)
    width, _, _ = text_to_path.get_text_width_height_descent(text.replace(r"\$", "$"), font, False)
    return float(width) / 72


def _size(lines: Sequence[str]) -> Point:
    title, *others = lines
    widths = [_text_width(title, _TITLE, "bold"), *(_text_width(line, _TEXT, "normal") for line in others)]
    return max(_LEAST_WIDTH, max(widths) + 2 * _PADDING), len(lines) * _LINE + 2 * _PADDING


def _draw_box(ax: Axes, box: Box, lines: Sequence[str], size: Point, centre: Point) -> None:
    (width, height), (x, y) = size, centre
    colour = _GREEN if box.shared else _COLOUR_OF[box.kind]
    corner = (x - width / 2, y - height / 2)
    style = f"round,pad=0,rounding_size={height / 2 if box.kind == 'merge' else _CORNER}"
    for filled in (True, False):
        ax.add_patch(
            FancyBboxPatch(
                corner,
                width,
                height,
                boxstyle=style,
                facecolor=colour if filled else "none",
                edgecolor="none" if filled else colour,
                alpha=0.07 if filled else None,
                linewidth=1.1,
                linestyle="--" if box.shared and not filled else "-",
            )
        )
    for place, line in enumerate(lines):
        ax.text(
            x,
            corner[1] + _PADDING + (place + 0.5) * _LINE,
            line,
            ha="center",
            va="center_baseline",
            fontsize=_TEXT if place else _TITLE,
            fontweight="normal" if place else "bold",
            color=GREY if place else "#000000",
        )


def _draw_line(ax: Axes, line: Line) -> None:
    *_, (x, y) = line.points
    end = (x, y - _ARROW * 0.8) if line.arrow else (x, y)
    points = (*line.points[:-1], end)
    path = _angular(points) if line.angular else _curved(points)
    ax.add_patch(PathPatch(path, facecolor="none", edgecolor=GREY, linewidth=1.0, capstyle="round"))
    if line.arrow:
        half = _ARROW * 0.45
        tip = [(x, y), (x - half, y - _ARROW), (x + half, y - _ARROW)]
        ax.add_patch(Polygon(tip, closed=True, facecolor=GREY, edgecolor="none"))


def _curved(points: Sequence[Point]) -> Path:
    """Straight where vertical, else an S that leaves and arrives vertically."""
    vertices, codes = [points[0]], [Path.MOVETO]
    for (x0, y0), (x1, y1) in pairwise(points):
        if abs(x0 - x1) < 1e-3:
            vertices.append((x1, y1))
            codes.append(Path.LINETO)
            continue
        middle = (y0 + y1) / 2
        vertices += [(x0, middle), (x1, middle), (x1, y1)]
        codes += [Path.CURVE4] * 3
    return Path(vertices, codes)


def _angular(points: Sequence[Point], radius: float = 0.08) -> Path:
    """Straight lines with round corners."""
    vertices, codes = [points[0]], [Path.MOVETO]
    for before, corner, after in zip(points, points[1:], points[2:], strict=False):
        vertices += [_towards(corner, before, radius), corner, _towards(corner, after, radius)]
        codes += [Path.LINETO, Path.CURVE3, Path.CURVE3]
    return Path([*vertices, points[-1]], [*codes, Path.LINETO])


def _towards(begin: Point, end: Point, distance: float) -> Point:
    """The point at this distance from one on the way to another, at most half way."""
    dx, dy = end[0] - begin[0], end[1] - begin[1]
    length = (dx**2 + dy**2) ** 0.5
    share = min(distance / length, 0.5) if length else 0.0
    return begin[0] + share * dx, begin[1] + share * dy
