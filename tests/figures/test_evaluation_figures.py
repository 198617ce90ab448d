from pathlib import Path

import numpy as np
import pytest
from matplotlib.image import imread

from nnrun.figures.curve_figure import save
from nnrun.figures.evaluation_figures import (
    calibration_figure,
    confusion_figure,
    labels_figure,
    residuals_figure,
)


def test_each_true_class_is_shared_out_over_its_own_row() -> None:
    figure = confusion_figure(np.array([[3, 1], [0, 2]]), ["no", "yes"], "6 rows")
    ax = figure.axes[0]
    np.testing.assert_array_equal(ax.images[0].get_array(), [[0.75, 0.25], [0, 1]])
    assert [label.get_text() for label in ax.get_yticklabels()] == ["no", "yes"]
    # Cells without rows stay without a number; the last text is the note.
    assert [text.get_text() for text in ax.texts] == ["0.75\n3", "0.25\n1", "1.00\n2", "6 rows"]


def test_a_class_without_rows_has_no_shares() -> None:
    figure = confusion_figure(np.array([[2, 0], [0, 0]]), ["a", "b"], "")
    values = figure.axes[0].images[0].get_array()
    assert values is not None
    shares = np.ma.filled(values, np.nan)
    np.testing.assert_array_equal(shares, [[1, 0], [np.nan, np.nan]])


def test_many_classes_have_no_numbers_in_their_cells() -> None:
    figure = confusion_figure(np.eye(13, dtype=int), [f"class {i}" for i in range(13)], "note")
    assert [text.get_text() for text in figure.axes[0].texts] == ["note"]


def test_calibration_draws_accuracy_over_confidence_and_the_rows_below() -> None:
    bins = np.array([[0.4, 0.6, 10, 0.5, 0.7], [0.8, 1.0, 30, 0.9, 0.6]])
    upper, lower = calibration_figure(bins, 0.275, "40 rows").axes
    found = next(line for line in upper.lines if line.get_label() == "Found")
    np.testing.assert_array_equal(found.get_xydata(), [[0.5, 0.7], [0.9, 0.6]])
    assert [bar.get_height() for bar in lower.patches] == [10, 30]  # type: ignore[attr-defined]
    assert [text.get_text() for text in upper.texts] == ["40 rows, expected calibration error 0.2750"]


@pytest.mark.parametrize("count", [2, 90])
def test_each_label_has_three_bars_from_top_to_bottom(count: int) -> None:
    scores = np.linspace(0, 1, 3 * count).reshape(count, 3)
    figure = labels_figure(scores, np.arange(count) * 1000, [f"label {i}" for i in range(count)], "9 rows")
    ax = figure.axes[0]
    widths = [bar.get_width() for bar in ax.patches]  # type: ignore[attr-defined]
    np.testing.assert_array_equal(np.reshape(widths, (3, count)).T, scores)
    assert [label.get_text() for label in ax.get_yticklabels()][:2] == ["label 0 (0)", "label 1 (1,000)"]
    assert ax.yaxis_inverted()


def test_every_residual_is_in_the_histogram() -> None:
    true, predicted = np.array([1.0, 2.0, 3.0, 4.0]), np.array([1.5, 2.0, 2.0, 8.0])
    left, right = residuals_figure(true, predicted, "4 rows").axes
    np.testing.assert_array_equal(left.lines[1].get_xydata(), np.stack([true, predicted], 1))
    assert sum(bar.get_height() for bar in right.patches) == 4  # type: ignore[attr-defined]
    assert [text.get_text() for text in right.texts] == ["mean -0.875, std 1.883"]


@pytest.mark.parametrize("rows", [1, 2000])
def test_figures_can_be_saved_and_equal_ones_are_equal_files(tmp_path: Path, rows: int) -> None:
    true = np.linspace(0, 1, rows)
    names = ["$x", "a name that is far too long to stand on an axis"]
    for i in range(2):
        save(residuals_figure(true, true, "same"), tmp_path / f"residuals-{i}.png")
        save(confusion_figure(np.eye(2, dtype=int), names, "$"), tmp_path / f"confusion-{i}.png")
    for name in ("residuals", "confusion"):
        first = tmp_path / f"{name}-0.png"
        assert first.read_bytes() == (tmp_path / f"{name}-1.png").read_bytes()
        assert imread(first).std() > 0
