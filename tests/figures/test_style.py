"""What all figures have in common."""

from __future__ import annotations

import io

import pytest
from matplotlib import rc_context

from nnrun.figures.style import ShownFigure, empty_figure


def saved(kind: str) -> bytes:
    figure = empty_figure(5, 4)
    for ax in figure.subplots(2, 1):
        ax.plot([1, 2, 3], [10, 20_000, 3], label="a label")
        ax.set_title("a title")
        ax.set_ylabel("large numbers")
        ax.legend()
    drawn = io.BytesIO()
    with rc_context({"svg.hashsalt": "nnrun"}):
        figure.savefig(drawn, format=kind, metadata={"Date": None} if kind == "svg" else None)
    return drawn.getvalue()


@pytest.mark.parametrize("kind", ["svg", "png"])
def test_a_figure_that_is_drawn_once_is_that_of_matplotlib_which_draws_it_twice(
    kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    once = saved(kind)
    monkeypatch.delattr(ShownFigure, "draw")
    assert once == saved(kind)
