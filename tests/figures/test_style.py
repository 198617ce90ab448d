"""What all figures have in common."""

from __future__ import annotations

import hashlib
import io
import subprocess
import sys

import pytest
from matplotlib import rc_context
from matplotlib.lines import Line2D

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


def test_in_a_command_figures_are_the_same_and_artists_have_short_docstrings() -> None:
    script = """
import hashlib
from nnrun.own_process import begin_own_process
begin_own_process()
import nnrun.figures
from tests.figures.test_style import saved
from matplotlib.lines import Line2D
from matplotlib.axes import Axes
print(hashlib.sha256(saved("png")).hexdigest())
print('linewidth: float' in Line2D.set.__doc__, len(Axes.plot.__doc__) > 1000)
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.split() == [hashlib.sha256(saved("png")).hexdigest(), "False", "True"]
    assert "linewidth: float" in (Line2D.set.__doc__ or "")
