"""A learning curve over the number of training rows as a figure."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

from nnrun.figures.style import COLOURS, GREY, empty_figure, plain_axes, plain_label

_WIDTH, _HEIGHT = 7.0, 4.5


def size_figure(
    rows: Sequence[int],
    validation: Sequence[Sequence[float]],
    training: Sequence[float],
    *,
    measure: str,
    kind: str,
) -> Figure:
    """The mean score against the training rows on a logarithmic axis, with a band and each fold as a point.

    Args:
        rows: of each fraction, ascending.
        validation: of each fraction the scores of its folds or seeds.
        training: of each fraction the mean score on its training rows; NaN where there is none.
        measure: what the score is.
        kind: what the points are: `fold` or `seed`.
    """
    figure = empty_figure(_WIDTH, _HEIGHT)
    ax = figure.subplots()
    mean = np.array([np.mean(values) for values in validation])
    std = np.array([np.std(values, ddof=1) if len(values) > 1 else 0.0 for values in validation])
    ax.set_xscale("log")
    ax.fill_between(
        rows, mean - std, mean + std, color=COLOURS[1], alpha=0.15, linewidth=0, label="± standard deviation"
    )
    ax.plot(rows, training, marker="o", markersize=3.5, color=COLOURS[0], linewidth=1.4, label="Training")
    ax.plot(rows, mean, marker="o", markersize=4.5, color=COLOURS[1], linewidth=1.8, label="Validation, mean")
    x = [count for count, values in zip(rows, validation, strict=True) for _ in values]
    y = [value for values in validation for value in values]
    ax.plot(
        x, y, linestyle="none", marker=".", markersize=4, color=COLOURS[1], alpha=0.5, label=f"Each {kind}"
    )
    ax.xaxis.set_major_locator(FixedLocator(list(rows)))
    ax.xaxis.set_minor_locator(NullLocator())
    ax.xaxis.set_major_formatter(FuncFormatter(lambda count, _: f"{count:,.0f}"))
    ax.set_xlabel("Training rows (logarithmic)", fontsize=11)
    ax.set_ylabel(plain_label(measure), fontsize=11)
    caption = f"{len(rows)} fractions of the training rows, the best epoch of each"
    ax.set_title(caption, fontsize=10, color=GREY)
    plain_axes(ax)
    figure.legend(ncols=4, loc="outside lower center", frameon=False, fontsize=9.5)
    return figure
