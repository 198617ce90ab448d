"""A learning-rate range test as a figure: the losses that each rate reached."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from matplotlib.figure import Figure

from nnrun.figures.style import COLOURS, GREY, empty_figure, plain_axes, plain_label

_WIDTH, _HEIGHT = 7.0, 4.5
_HEADROOM = 1.3  # losses so much above the start are cut off: a rate that diverges would flatten all others


def shown_limit(losses: Sequence[float], start: float) -> float:
    """The largest loss that is worth drawing, where networks start at `start`."""
    finite = [loss for loss in losses if np.isfinite(loss)]
    lowest = min(finite, default=start)
    return start + (_HEADROOM - 1) * max(abs(start), start - lowest)


def rate_figure(
    rates: Sequence[float],
    training: npt.NDArray[np.float64],
    validation: npt.NDArray[np.float64],
    *,
    plateau: tuple[float, float] | None,
    chosen: float | None,
    start: float,
    caption: str,
) -> Figure:
    """The losses against the rates, the plateau as a band, the rate to take as a line.

    Args:
        rates: ascending.
        training, validation: the losses, NaN where a rate diverged.
        plateau: the rates that are as good as the best.
        chosen: the rate to take.
        start: the loss of the lowest rates; what lies far above is cut off.
        caption: below the title: on which rows, for how long.
    """
    figure = empty_figure(_WIDTH, _HEIGHT)
    ax = figure.subplots()
    top = shown_limit([*training, *validation], start)
    ax.set_xscale("log")
    if plateau is not None:
        ax.axvspan(*plateau, color=COLOURS[2], alpha=0.12, linewidth=0, label="As good as the best")
    if chosen is not None:
        ax.axvline(chosen, color=COLOURS[2], linewidth=1.4, label=f"Take {chosen:g}")
    ax.plot(rates, training, linestyle="none", marker="o", markersize=4.5, color=COLOURS[0], label="Training")
    ax.plot(rates, validation, marker="o", markersize=3, color=COLOURS[1], linewidth=1.6, label="Validation")
    shown = np.concatenate([training, validation])
    shown = shown[np.isfinite(shown) & (shown <= top)]
    if len(shown):
        low, high = float(shown.min()), float(shown.max())
        room = 0.06 * (high - low or abs(high) or 1.0)
        ax.set_ylim(low - room, high + room)
    lost = [rate for rate, loss in zip(rates, validation, strict=True) if not np.isfinite(loss)]
    if lost:
        ax.plot(lost, np.full(len(lost), 0.02), linestyle="none", marker="x", color=GREY, label="Diverged")
        ax.lines[-1].set_transform(ax.get_xaxis_transform())
    ax.set_xlabel("Learning rate", fontsize=11)
    ax.set_ylabel("Loss", fontsize=11)
    ax.set_title(plain_label(caption), fontsize=10, color=GREY)
    plain_axes(ax)
    figure.legend(ncols=5, loc="outside lower center", frameon=False, fontsize=9.5)
    return figure
