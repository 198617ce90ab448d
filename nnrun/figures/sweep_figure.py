"""A sweep as a figure: the score of each trial against each key that was varied."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import NullLocator

from nnrun.figures.curve_figure import name_of
from nnrun.figures.style import COLOURS, empty_figure, plain_axes, plain_label
from nnrun.spec.writing.value_labels import value_label

Values = npt.NDArray[np.float64]

_PANEL_WIDTH, _PANEL_HEIGHT = 3.6, 3.4
_MOST_COLUMNS = 3
_LARGE_RATIO = 8  # from this ratio of the ends on, numbers stand on a logarithmic axis
_MOST_TICKS = 8
_WIDEST_LABEL = 9  # characters; wider ones are turned
_SPREAD = 0.3  # how far trials of one value stand apart, of the distance between values


@dataclass(frozen=True)
class Panel:
    """One key, and its value in each trial.

    Attributes:
        label: what the axis is called.
        x: where each trial stands.
        log: whether the axis is logarithmic.
        ticks: where the axis has marks and their texts; None leaves them to the axis.
        categories: whether `x` are places of categories, with nothing between them.
    """

    label: str
    x: Values
    log: bool = False
    ticks: tuple[tuple[float, str], ...] | None = None
    categories: bool = False


def panel_of(label: str, values: Sequence[Any], *, log: bool = False, order: Sequence[Any] = ()) -> Panel:
    """The panel of a key.

    Numbers stand where they belong on the axis, all else side by side.

    Args:
        label: what the axis is called.
        values: the key's value in each trial.
        log: whether the values were drawn from a range of orders of magnitude.
        order: the values that were listed, in their order; empty for a range.
    """
    listed = list(order) or list(values)
    if all(isinstance(value, (int, float)) and not isinstance(value, bool) for value in listed):
        low, high = min(listed), max(listed)
        log = log or (low > 0 and high / low >= _LARGE_RATIO)
        ticks = tuple((float(value), plain_label(value_label(value))) for value in order)
        few = ticks if 0 < len(ticks) <= _MOST_TICKS else None
        return Panel(label, np.array(values, dtype=float), log, few)
    # As JSON, for 1 and true are equal in Python and different in a spec.
    places = {json.dumps(value): place for place, value in enumerate(listed)}
    x = np.array([places[json.dumps(value)] for value in values], dtype=float)
    ticks = tuple((float(place), plain_label(value_label(value))) for place, value in enumerate(listed))
    return Panel(label, x, ticks=ticks, categories=True)


def sweep_figure(panels: Sequence[Panel], scores: Sequence[float], monitor: str, *, best: int) -> Figure:
    """A figure with one panel per key, all with the same axis of scores, the best trial ringed in each.

    Args:
        panels: one per key.
        scores: of the trials, in the order of each panel's values.
        monitor: the column that the scores are of.
        best: which of the trials is the best.
    """
    columns = min(len(panels), _MOST_COLUMNS)
    rows = -(-len(panels) // columns)
    figure = empty_figure(max(_PANEL_WIDTH * columns + 0.4, 5.0), _PANEL_HEIGHT * rows + 0.5)
    axes = figure.subplots(rows, columns, squeeze=False, sharey=True).ravel()
    y = np.array(scores, dtype=float)
    for ax, panel in zip(axes, panels, strict=False):
        _draw(ax, panel, y, best)
    for ax in axes[len(panels) :]:
        ax.set_visible(False)
    measure = name_of(monitor.removeprefix("val_"))
    for ax in axes[: len(panels) : columns]:
        ax.set_ylabel(f"Validation {measure}", fontsize=11)
    keys = [
        Line2D([], [], linestyle="none", marker="o", color=COLOURS[0], alpha=0.6, label="Trial"),
        Line2D([], [], **_RING, label="Best trial"),
    ]
    if any(map(_shows_medians, panels)):
        keys.append(Line2D([], [], color=COLOURS[1], linewidth=1.6, label="Median of a value"))
    figure.legend(handles=keys, ncols=3, loc="outside lower center", frameon=False, fontsize=9.5)
    return figure


_RING: dict[str, Any] = {
    "linestyle": "none",
    "marker": "o",
    "markersize": 11.0,
    "markerfacecolor": "none",
    "markeredgewidth": 1.5,
    "color": "#000000",
}


def _draw(ax: Axes, panel: Panel, y: Values, best: int) -> None:
    x = _apart(panel.x) if panel.categories else panel.x
    if panel.log:
        ax.set_xscale("log")
    ax.plot(x, y, linestyle="none", marker="o", markersize=6, markeredgewidth=0, color=COLOURS[0], alpha=0.6)
    if _shows_medians(panel):
        _draw_medians(ax, panel, y)
    ax.plot(x[best : best + 1], y[best : best + 1], zorder=4, **_RING)
    if panel.ticks is not None:
        places, texts = zip(*panel.ticks, strict=True)
        turned = max(map(len, texts)) > _WIDEST_LABEL
        style: dict[str, Any] = {"rotation": 35, "ha": "right", "rotation_mode": "anchor"} if turned else {}
        ax.set_xticks(places, texts, fontsize=9, **style)
        ax.xaxis.set_minor_locator(NullLocator())
    if panel.categories and panel.ticks:
        ax.set_xlim(-0.5, len(panel.ticks) - 0.5)
    ax.set_xlabel(plain_label(panel.label), fontsize=11)
    ax.margins(y=0.08)
    plain_axes(ax)


def _shows_medians(panel: Panel) -> bool:
    """Whether there are few enough different values that several trials have each."""
    return panel.ticks is not None and len(np.unique(panel.x)) < len(panel.x)


def _draw_medians(ax: Axes, panel: Panel, y: Values) -> None:
    places = np.unique(panel.x)
    medians = np.array([np.median(y[panel.x == place]) for place in places])
    if panel.categories:
        ax.hlines(medians, places - _SPREAD, places + _SPREAD, color=COLOURS[1], linewidth=1.6)
    else:
        ax.plot(places, medians, color=COLOURS[1], linewidth=1.6)


def _apart(x: Values) -> Values:
    """The trials of each category side by side, in their own order."""
    result = x.copy()
    for place in np.unique(x):
        here = np.flatnonzero(x == place)
        offsets = np.linspace(-_SPREAD, _SPREAD, len(here)) if len(here) > 1 else np.zeros(1)
        result[here] += offsets
    return result
