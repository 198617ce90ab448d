"""The figure of a sweep: where each trial stands, and what the axes say."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from nnrun.figures.curve_figure import save
from nnrun.figures.sweep_figure import Panel, panel_of, sweep_figure

LAYERS = [[{"dense": {"units": units, "activation": "relu"}}] for units in (16, 32)]


def ticks(panel: Panel) -> list[str]:
    assert panel.ticks is not None
    return [text for _, text in panel.ticks]


def test_numbers_stand_where_they_belong() -> None:
    panel = panel_of("units", [32, 16, 32], order=[16, 32])
    assert (panel.x.tolist(), panel.log, panel.categories) == ([32, 16, 32], False, False)
    assert panel.ticks == ((16, "16"), (32, "32"))


@pytest.mark.parametrize(
    ("order", "log"),
    [([16, 32, 64], False), ([16, 32, 64, 128], True), ([0, 64], False), ([1e-3, 1e-2], True)],
)
def test_a_wide_span_is_logarithmic(order: list[float], log: bool) -> None:
    assert panel_of("units", order, order=order).log is log


def test_a_range_leaves_its_ticks_to_the_axis() -> None:
    panel = panel_of("learning_rate", [0.002, 0.003], log=True)
    assert (panel.log, panel.ticks) == (True, None)
    assert panel_of("rho", [0.5, 0.6]).log is False


def test_many_values_leave_their_ticks_to_the_axis() -> None:
    assert panel_of("epochs", [1], order=list(range(1, 20))).ticks is None


def test_other_values_stand_side_by_side() -> None:
    panel = panel_of("loss", ["mae", "mse", "mae"], order=["mse", "mae"])
    assert (panel.x.tolist(), panel.categories, ticks(panel)) == ([1, 0, 1], True, ["mse", "mae"])
    assert ticks(panel_of("layers", LAYERS, order=LAYERS)) == ["16 relu", "32 relu"]


def test_true_is_no_number() -> None:
    """In Python it equals 1."""
    panel = panel_of("x", [True, 1, False], order=[True, False, 1])
    assert (panel.x.tolist(), ticks(panel)) == ([0, 2, 1], ["true", "false", "1"])


UNITS = panel_of("units", [16, 16, 32, 32], order=[16, 32])
LOSS = panel_of("loss", ["mse", "mae", "mse", "mae"], order=["mse", "mae"])


def test_a_figure_says_what_it_shows() -> None:
    figure = sweep_figure([UNITS, LOSS], [0.5, 0.8, 0.7, 0.9], "val_accuracy", best=3)
    left, right = figure.axes
    assert (left.get_xlabel(), right.get_xlabel()) == ("units", "loss")
    assert (left.get_ylabel(), right.get_ylabel()) == ("Validation accuracy", "")
    assert left.get_ylim() == right.get_ylim()
    assert [text.get_text() for text in right.get_xticklabels()] == ["mse", "mae"]
    legend = [text.get_text() for text in figure.legends[0].get_texts()]
    assert legend == ["Trial", "Best trial", "Median of a value"]


def test_every_trial_is_a_dot_and_the_best_is_ringed() -> None:
    figure = sweep_figure([UNITS, LOSS], [0.5, 0.8, 0.7, 0.9], "val_accuracy", best=3)
    dots, medians, ring = figure.axes[0].lines
    assert np.array_equal(dots.get_xydata(), [[16, 0.5], [16, 0.8], [32, 0.7], [32, 0.9]])
    assert np.allclose(np.asarray(medians.get_xydata()), [[16, 0.65], [32, 0.8]])
    assert np.array_equal(ring.get_xydata(), [[32, 0.9]])


def test_trials_of_one_category_stand_apart_and_nearer_to_it_than_to_another() -> None:
    figure = sweep_figure([LOSS], [0.5, 0.5, 0.5, 0.5], "val_accuracy", best=0)
    dots, _ = figure.axes[0].lines
    x = np.asarray(dots.get_xdata())
    assert len(set(x)) == 4
    assert np.array_equal(np.rint(x), [0, 1, 0, 1])


def test_where_no_value_has_two_trials_there_is_no_median() -> None:
    figure = sweep_figure([panel_of("units", [16, 32], order=[16, 32])], [0.5, 0.6], "val_loss", best=0)
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["Trial", "Best trial"]


def test_many_panels_take_several_rows(tmp_path: Path) -> None:
    figure = sweep_figure([UNITS, LOSS, UNITS, LOSS], [0.5, 0.8, 0.7, 0.9], "val_loss", best=0)
    assert [ax.get_ylabel() for ax in figure.axes if ax.get_visible()] == [
        "Validation loss",
        "",
        "",
        "Validation loss",
    ]
    for name in ("sweep.png", "sweep.svg"):
        save(figure, tmp_path / name)
        assert (tmp_path / name).stat().st_size > 1000


def test_one_trial_alone_can_be_drawn(tmp_path: Path) -> None:
    for panel in (
        panel_of("units", [16], order=[16]),
        panel_of("rate", [0.1], log=True),
        panel_of("x", [None], order=[None]),
    ):
        save(sweep_figure([panel], [0.5], "val_loss", best=0), tmp_path / "sweep.png")
