"""Colours, sizes and texts that all figures have in common."""

from __future__ import annotations

import io
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

from matplotlib.axes import Axes
from matplotlib.backend_bases import RendererBase
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine

from nnrun.errors import printable

# Okabe and Ito's colours, which people with any common colour vision can tell apart.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
GREY = "#5A5A5A"
DPI = 150  # of PNG files


class ShownFigure(Figure):
    """A figure that a notebook shows, also where nobody has imported pyplot, which teaches notebooks to."""

    def draw(self, renderer: RendererBase) -> None:
        """Draw it, or arrange its axes, which is what Matplotlib draws a figure for before it saves it."""
        engine = self.get_layout_engine()
        # Then the engine is set aside, and the figure drawn: once more would take a fifth of all the time.
        if self.canvas.is_saving() and isinstance(engine, ConstrainedLayoutEngine):
            engine.execute(self)
        else:
            super().draw(renderer)

    def _repr_png_(self) -> bytes:
        drawn = io.BytesIO()
        with any_script():
            self.savefig(drawn, format="png")
        return drawn.getvalue()


def empty_figure(width: float, height: float) -> Figure:
    """A figure of this size in inches, whose axes keep clear of each other."""
    return ShownFigure(
        figsize=(width, height), dpi=DPI, layout=ConstrainedLayoutEngine(w_pad=0.12, h_pad=0.12)
    )


def plain_axes(*axes: Axes) -> None:
    """A light grid behind what is drawn, and no frame but the two axes."""
    for ax in axes:
        ax.grid(color="#DDDDDD", linewidth=0.6)
        ax.set_axisbelow(True)
        ax.spines[["top", "right"]].set_visible(False)


def plain_label(name: str) -> str:
    """A name as Matplotlib draws it: no formula (`$`), no control characters."""
    return printable(name).replace("\n", " ").replace("$", r"\$")


@contextmanager
def any_script() -> Iterator[None]:
    """Letters that the font lacks are drawn as boxes, without a warning for each."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=r"Glyph \d+ .* missing from", category=UserWarning)
        yield
