"""How good a network's predictions are, drawn: confusion, calibration, labels, residuals.

Plain arrays in, figures out; made, like the learning curves, with matplotlib's objects.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from nnrun.figures.style import COLOURS, GREY, empty_figure, plain_axes, plain_label

Array = npt.NDArray[Any]

_ON_CELLS = "#1A1A1A"
_MOST_NUMBERED_CLASSES = 12  # in more cells than their square, numbers cannot be read
_MOST_BINS = 40
_TALLEST = 20.0  # inches


def confusion_figure(confusion_KK: Array, names: Sequence[str], note: str) -> Figure:
    """Each true class's rows, as shares of its row, over the predicted classes.

    Args:
        confusion_KK: row: true class, column: predicted class, value: rows.
        names: of the classes, in the order of both.
        note: what was measured, to stand beside the title.
    """
    count = len(names)
    support = confusion_KK.sum(1, keepdims=True)
    shares = np.divide(confusion_KK, support, out=np.full(confusion_KK.shape, np.nan), where=support > 0)
    numbered = count <= _MOST_NUMBERED_CLASSES
    side = min(max(5.0, 0.75 * count + 2.5), 10.0)
    figure = empty_figure(side + 0.9, side)
    ax = figure.subplots()
    image = ax.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    size = 9.5 if numbered else max(4.5, 9.5 - count / 10)
    labels = [_short(name) for name in names]
    ax.set_xticks(range(count), labels, fontsize=size, rotation=90 if sum(map(len, labels)) > 60 else 0)
    ax.set_yticks(range(count), labels, fontsize=size)
    ax.tick_params(length=0)
    ax.spines[:].set_visible(False)
    if numbered:
        for true, predicted in np.ndindex(count, count):
            share = shares[true, predicted]
            if confusion_KK[true, predicted]:
                ax.text(
                    predicted,
                    true,
                    f"{share:.2f}\n{confusion_KK[true, predicted]:,}",
                    ha="center",
                    va="center",
                    fontsize=9.5 if count <= 8 else 8.5,
                    # The cells are as light on a dark page as on a light one, so their text is no page's.
                    color="white" if share > 0.6 else _ON_CELLS,
                )
    ax.set_xlabel("Predicted class", fontsize=11)
    ax.set_ylabel("True class", fontsize=11)
    _title(ax, "Confusion matrix", note)
    bar = figure.colorbar(image, ax=ax, shrink=0.7)
    bar.set_label("Share of the true class's rows", fontsize=9.5)
    bar.outline.set_visible(False)
    return figure


def calibration_figure(bins: Array, error: float, note: str) -> Figure:
    """A reliability diagram over a histogram of the confidence.

    Args:
        bins: (M, 5) low edge, high edge, rows, mean confidence and accuracy of each bin that holds rows.
        error: the expected calibration error.
        note: what was measured, to stand beside the title.
    """
    low, high, rows, confidence, accuracy = bins.T
    figure = empty_figure(5.6, 6.0)
    upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=(3, 1))
    upper.plot([0, 1], [0, 1], color=GREY, linestyle="--", linewidth=1, label="Perfectly calibrated")
    upper.vlines(confidence, confidence, accuracy, color=COLOURS[1], linewidth=1.4, label="Gap")
    upper.plot(confidence, accuracy, marker="o", markersize=5, linewidth=1.4, color=COLOURS[0], label="Found")
    upper.set_ylim(-0.02, 1.02)
    upper.set_xlim(min(low.min(), 0.5) - 0.01, 1.01)
    upper.set_ylabel("Accuracy", fontsize=11)
    handles = upper.get_legend_handles_labels()
    figure.legend(*handles, frameon=False, fontsize=9.5, loc="outside lower center", ncols=3)
    _title(upper, "Calibration", f"{note}, expected calibration error {error:.4f}")
    lower.bar(low, rows, width=high - low, align="edge", color=COLOURS[0], alpha=0.6, edgecolor="white")
    lower.set_ylabel("Rows", fontsize=11)
    lower.set_xlabel("Confidence: probability of the predicted class", fontsize=11)
    lower.yaxis.set_major_locator(MaxNLocator(nbins=4, integer=True))
    plain_axes(upper, lower)
    return figure


def labels_figure(scores_L3: Array, support_L: Array, names: Sequence[str], note: str) -> Figure:
    """Precision, recall and F1 of each label as bars, from top to bottom; its support beside its name.

    Args:
        scores_L3: precision, recall and F1 of each label.
        support_L: rows that have the label.
        names: of the labels.
        note: what was measured, to stand beside the title.
    """
    count = len(names)
    figure = empty_figure(7.0, min(1.8 + 0.55 * count, _TALLEST))
    ax = figure.subplots()
    places = np.arange(count)
    for i, measure in enumerate(("Precision", "Recall", "F1")):
        ax.barh(places + 0.27 * (i - 1), scores_L3[:, i], height=0.25, color=COLOURS[i], label=measure)
    size = 9.5 if 1.8 + 0.55 * count <= _TALLEST else max(4.0, 9.5 * _TALLEST / (1.8 + 0.55 * count))
    labels = [f"{_short(name)} ({rows:,})" for name, rows in zip(names, support_L.tolist(), strict=True)]
    ax.set_yticks(places, labels, fontsize=size)
    ax.set_ylim(count - 0.4, -0.6)
    ax.set_xlim(0, 1)
    ax.set_xlabel("Score", fontsize=11)
    ax.set_ylabel("Label (rows)", fontsize=11)
    _title(ax, "Scores of each label", note)
    handles = ax.get_legend_handles_labels()
    figure.legend(*handles, frameon=False, fontsize=9.5, loc="outside lower center", ncols=3)
    plain_axes(ax)
    ax.grid(axis="y", visible=False)
    return figure


def residuals_figure(true_N: Array, predicted_N: Array, note: str) -> Figure:
    """Predicted against true values, and a histogram of true minus predicted.

    Args:
        true_N, predicted_N: in the target's units, N at least 1.
        note: what was measured, to stand beside the title.
    """
    residuals = true_N - predicted_N
    figure = empty_figure(9.0, 4.4)
    left, right = figure.subplots(1, 2)
    ends = [min(true_N.min(), predicted_N.min()), max(true_N.max(), predicted_N.max())]
    left.plot(ends, ends, color=GREY, linestyle="--", linewidth=1)
    many = len(true_N) > 1000
    left.plot(
        true_N,
        predicted_N,
        linestyle="none",
        marker="o",
        markersize=2.5 if many else 4.5,
        markeredgewidth=0,
        color=COLOURS[0],
        alpha=0.3 if many else 0.7,
    )
    left.set_xlabel("True", fontsize=11)
    left.set_ylabel("Predicted", fontsize=11)
    _title(left, "Predicted against true", note)
    right.hist(
        residuals, bins=min(_MOST_BINS, max(5, round(2 * len(residuals) ** 0.5))), color=COLOURS[0], alpha=0.7
    )
    right.axvline(0, color=GREY, linestyle="--", linewidth=1)
    right.set_xlabel("True - predicted", fontsize=11)
    right.set_ylabel("Rows", fontsize=11)
    right.yaxis.set_major_locator(MaxNLocator(nbins=6, integer=True))
    _title(right, "Residuals", f"mean {residuals.mean():.4g}, std {residuals.std():.4g}")
    plain_axes(left, right)
    return figure


def _title(ax: Axes, title: str, note: str) -> None:
    ax.set_title(title, loc="left", fontsize=12, pad=22)
    ax.annotate(
        note, (0, 1), (0, 6), xycoords="axes fraction", textcoords="offset points", fontsize=9.5, color=GREY
    )


def _short(name: str) -> str:
    return plain_label(name if len(name) <= 18 else f"{name[:17]}…")
