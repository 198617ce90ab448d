"""The bars of what columns matter, and curves along the values of a column."""

from __future__ import annotations

import numpy as np

from nnrun.figures.importance_figure import Bar, Line, bars_figure, dependence_figure


def labels(axis: list[object]) -> list[str]:
    return [tick.get_text() for tick in axis]  # type: ignore[attr-defined]


def test_bars_stand_from_top_to_bottom_with_their_deviation() -> None:
    bars = [Bar("sex", 0.2, (0.18, 0.22), certain=True), Bar("$cabin", -0.01, (-0.04, 0.02), certain=False)]
    (ax,) = bars_figure(bars, "Importance", "accuracy falls by", "5 folds").axes
    assert [bar.get_width() for bar in ax.patches] == [0.2, -0.01]  # type: ignore[attr-defined]
    assert ax.patches[0].get_facecolor() != ax.patches[1].get_facecolor()
    assert labels(ax.get_yticklabels()) == ["sex", r"\$cabin"]
    low, high = ax.get_ylim()
    assert low > high
    (deviations,) = (c.get_segments() for c in ax.collections)  # type: ignore[attr-defined]
    np.testing.assert_allclose(np.array(deviations)[:, :, 0], [[0.18, 0.22], [-0.04, 0.02]])
    assert ax.get_xlabel() == "accuracy falls by"
    assert ax.texts[-1].get_text() == "5 folds; grey: it reaches 0"


def test_of_many_columns_the_first_are_drawn() -> None:
    bars = [Bar(f"c{i}", 1 - i / 40, None, certain=True) for i in range(40)]
    (ax,) = bars_figure(bars, "", "", "one network").axes
    assert len(ax.patches) == 30
    assert ax.texts[-1].get_text() == "one network; the first 30 of 40 columns"


def test_numbers_are_a_line_with_a_band() -> None:
    line = Line("", [1.0, 2.0, 4.0], [0.1, 0.2, 0.3])
    (ax,) = dependence_figure("age", [10.0, 20.0, 40.0], [line], "mean prediction", "9 rows").axes
    np.testing.assert_array_equal(ax.lines[0].get_xydata(), [[10, 1], [20, 2], [40, 4]])
    (band,) = ax.collections
    edges = {tuple(np.round(point, 6)) for point in band.get_paths()[0].vertices.tolist()}
    assert {(10, 0.9), (10, 1.1), (40, 3.7), (40, 4.3)} <= edges
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("age", "Mean prediction")
    assert ax.get_title(loc="left") == "Mean prediction by age"


def test_categories_are_points_by_name() -> None:
    lines = [Line("yes", [0.2, 0.7], None), Line("no", [0.8, 0.3], None)]
    figure = dependence_figure("sex", ["male", "female"], lines, "mean probability", "9 rows")
    (ax,) = figure.axes
    assert labels(ax.get_yticklabels()) == ["male", "female"]
    assert [line.get_xdata().tolist() for line in ax.lines] == [[0.2, 0.7], [0.8, 0.3]]  # type: ignore[union-attr]
    assert labels(figure.legends[0].get_texts()) == ["yes", "no"]


def test_of_many_classes_those_that_vary_most_are_drawn() -> None:
    lines = [Line(f"class {i}", [0.0, i / 20], None) for i in range(12)]
    figure = dependence_figure("x", [0.0, 1.0], lines, "mean probability", "9 rows")
    assert labels(figure.legends[0].get_texts()) == [f"class {i}" for i in range(5, 12)]
    assert figure.axes[0].texts[-1].get_text() == "9 rows; the 7 of 12 that vary most"
