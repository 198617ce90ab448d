"""How much columns matter, as bars; and what is predicted along the values of one column, as a curve."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from nnrun.figures.style import COLOURS, GREY, empty_figure, plain_axes, plain_label

_MOST_BARS = 30
_MOST_LINES = len(COLOURS)
_LONGEST_NAME = 28
_NOTE_WIDTH = 78  # letters, beside the longest name


@dataclass(frozen=True)
class Bar:
    """A column: how much it matters, the interval of that, and whether it is more than noise."""

    name: str
    value: float
    interval: tuple[float, float] | None
    certain: bool


def bars_figure(bars: Sequence[Bar], title: str, what: str, note: str) -> Figure:
    """A horizontal bar for each column, from top to bottom, with its interval; grey where it is noise.

    Args:
        bars: the longest first; of many the first 30 are drawn.
        title: above all.
        what: what the bars show.
        note: what was measured, and what the intervals are.
    """
    shown = bars[:_MOST_BARS]
    figure = empty_figure(7.0, 1.6 + 0.3 * len(shown))
    ax = figure.subplots()
    places = np.arange(len(shown))
    ax.barh(
        places,
        [bar.value for bar in shown],
        xerr=_reach(shown),
        height=0.68,
        color=[COLOURS[0] if bar.certain else "#B0B0B0" for bar in shown],
        error_kw={"ecolor": GREY, "elinewidth": 1.2, "capsize": 2.5},
    )
    ax.axvline(0, color=GREY, linewidth=0.8)
    ax.set_yticks(places, [_short(bar.name) for bar in shown], fontsize=9.5)
    ax.set_ylim(len(shown) - 0.4, -0.6)
    ax.set_xlabel(plain_label(what), fontsize=11)
    if any(not bar.certain for bar in shown):
        note += "; grey: 0 or less" if _reach(shown) is None else "; grey: it reaches 0"
    if len(bars) > len(shown):
        note += f"; the first {len(shown)} of {len(bars)} columns"
    _title(ax, title, note)
    plain_axes(ax)
    ax.grid(axis="y", visible=False)
    return figure


def _reach(bars: Sequence[Bar]) -> list[list[float]] | None:
    """How far each interval goes to the left and to the right of its bar's end; None where one has none."""
    known = [(bar.value, bar.interval) for bar in bars if bar.interval is not None]
    if len(known) < len(bars):
        return None
    return [[value - low for value, (low, _) in known], [high - value for value, (_, high) in known]]


@dataclass(frozen=True)
class Line:
    """What is predicted at each value, and its standard deviation over the networks; `name` of several."""

    name: str
    mean: Sequence[float]
    std: Sequence[float] | None


def dependence_figure(
    column: str, values: Sequence[float | str], lines: Sequence[Line], predicted: str, note: str
) -> Figure:
    """Numbers along the horizontal axis, with a band; categories and dates from top to bottom, with bars.

    Args:
        column: whose values these are.
        values: in their order.
        lines: what is predicted; of many the seven that vary most are drawn.
        predicted: what the lines are: `mean probability of yes`.
        note: of which rows it is the mean.
    """
    shown = sorted(lines, key=lambda line: min(line.mean) - max(line.mean))[:_MOST_LINES]
    shown = [line for line in lines if line in shown]
    if len(lines) > len(shown):
        note += f"; the {len(shown)} of {len(lines)} that vary most"
    what = _sentence(predicted)
    numbers = [value for value in values if not isinstance(value, str)]
    if len(numbers) == len(values):
        figure = empty_figure(7.0, 4.5)
        ax = figure.subplots()
        _along_numbers(ax, numbers, shown)
        ax.set_xlabel(plain_label(column), fontsize=11)
        ax.set_ylabel(plain_label(what), fontsize=11)
    else:
        figure = empty_figure(7.0, 1.8 + 0.32 * len(values))
        ax = figure.subplots()
        _by_name(ax, [str(value) for value in values], shown)
        ax.set_xlabel(plain_label(what), fontsize=11)
        ax.set_ylabel(plain_label(column), fontsize=11)
    _title(ax, f"{what} by {column}", note)
    plain_axes(ax)
    if len(shown) > 1:
        figure.legend(ncols=min(4, len(shown)), loc="outside lower center", frameon=False, fontsize=9.5)
    return figure


def _along_numbers(ax: Axes, values: Sequence[float], lines: Sequence[Line]) -> None:
    for line, colour in zip(lines, COLOURS, strict=False):
        mean = np.array(line.mean)
        if line.std is not None:
            std = np.array(line.std)
            ax.fill_between(values, mean - std, mean + std, color=colour, alpha=0.2, linewidth=0)
        ax.plot(
            values,
            mean,
            marker="o",
            markersize=3.5,
            linewidth=1.6,
            color=colour,
            label=plain_label(_short(line.name)),
        )


def _by_name(ax: Axes, values: Sequence[str], lines: Sequence[Line]) -> None:
    places = np.arange(len(values))
    for number, (line, colour) in enumerate(zip(lines, COLOURS, strict=False)):
        ax.errorbar(
            line.mean,
            places + 0.5 * (number / max(1, len(lines) - 1) - 0.5) * (len(lines) > 1),
            xerr=line.std,
            linestyle="none",
            marker="o",
            markersize=5,
            capsize=2.5,
            color=colour,
            label=plain_label(_short(line.name)),
        )
    ax.set_yticks(places, [_short(value) for value in values], fontsize=9.5)
    ax.set_ylim(len(values) - 0.4, -0.6)


def _title(ax: Axes, title: str, note: str) -> None:
    lines = textwrap.wrap(plain_label(note), _NOTE_WIDTH)
    ax.set_title(plain_label(title), loc="left", fontsize=12, pad=8 + 14 * len(lines))
    ax.annotate(
        "\n".join(lines),
        (0, 1),
        (0, 6),
        xycoords="axes fraction",
        textcoords="offset points",
        fontsize=9.5,
        color=GREY,
    )


def _sentence(text: str) -> str:
    return f"{text[:1].upper()}{text[1:]}"


def _short(name: str) -> str:
    return plain_label(name if len(name) <= _LONGEST_NAME else f"{name[: _LONGEST_NAME - 1]}…")
