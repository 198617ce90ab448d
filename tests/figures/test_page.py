"""The page's parts, without a run."""

from __future__ import annotations

import re

import numpy as np
import pytest

from nnrun.figures.evaluation_figures import confusion_figure
from nnrun.figures.page import Block, Page, Section, Table, render
from nnrun.figures.svg import inline_svg


def page_of(*tables: Table) -> str:
    return render(Page("title", "subtitle", [Section("", [Block(tables=tables)])]))


def test_long_texts_stand_below_their_row_and_fold_out() -> None:
    long = "<b>one</b> " * 30
    table = Table(
        ["row", "true"], [["3", "a"], ["4", "b"], ["5", "c"]], words=True, texts=[long, "short", ""]
    )
    page = page_of(table)
    (folded,) = re.findall(
        r'<tr class="text"><td colspan="2"><details class="text"><summary>(.*?)</summary>', page
    )
    assert folded == long.replace("<", "&lt;").replace(">", "&gt;")
    assert '<span class="muted">short</span>' in page
    assert page.count('<tr class="text">') == 2
    assert "-webkit-line-clamp: 2" in page


def test_a_long_table_takes_two_columns_on_paper() -> None:
    rows = [[str(i)] for i in range(46)]
    assert '<div class="scroll long">' in page_of(Table(["n"], rows))
    assert '<div class="scroll long">' not in page_of(Table(["n"], rows[:20]))


@pytest.mark.parametrize("classes", [2, 10, 12])
def test_the_numbers_of_the_cells_do_not_take_the_colours_of_the_page(classes: int) -> None:
    """The cells are light on a dark page too."""
    counts = np.full((classes, classes), 3)
    figure = confusion_figure(counts, [str(i) for i in range(classes)], "rows")
    ax = figure.axes[0]
    assert {text.get_color() for text in ax.texts if "\n" in text.get_text()} == {"#1A1A1A"}
    assert min(text.get_fontsize() for text in ax.texts) >= 8.5
    svg = inline_svg(figure, "Confusion matrix", "x")
    assert svg.lower().count("#1a1a1a") >= classes * classes
