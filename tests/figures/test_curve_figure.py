import math
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import to_hex

from nnrun.figures.curve_figure import Curve, curve_of, curves_figure, name_of, outputs_among, save
from nnrun.figures.style import COLOURS
from tests.support.history_tables import history_table

LONG = "mean of the folds of two-20261130T114502Z-52c5, which trained them, to epoch 24, that all reached"


def history(epochs: int = 20) -> pd.DataFrame:
    at = np.arange(1, epochs + 1)
    return pd.DataFrame({"epoch": at, "loss": 1 / at, "val_loss": 0.5 + (at - 9) ** 2 / 100, "seconds": 0.1})


def drawn(frame: pd.DataFrame, *arguments: Any, **named: Any) -> Curve:
    return curve_of(history_table(frame), *arguments, **named)


def test_a_curve_takes_its_columns() -> None:
    curve = drawn(history(), "loss", "run", skip=3, transform=lambda values: values * 2, best_epoch=9)
    assert curve.epochs.tolist() == list(range(4, 21))
    assert curve.training[0] == 2 / 4
    assert curve.validation is not None
    assert curve.validation[0] == 2 * 0.75
    assert curve.best_epoch == 9
    assert curve.training_std is None


def test_a_mean_of_folds_has_bands() -> None:
    frame = history().rename(columns={"loss": "loss_mean", "val_loss": "val_loss_mean"})
    frame["loss_std"] = 0.1
    frame["val_loss_std"] = math.nan  # one fold alone
    curve = drawn(frame, "loss", "run")
    assert curve.training_std is not None
    assert curve.validation_std is None


def test_what_is_not_finite_is_a_gap() -> None:
    frame = history(3).assign(loss=[1.0, math.inf, math.nan], val_loss=[math.nan] * 3)
    curve = drawn(frame, "loss", "run")
    np.testing.assert_array_equal(curve.training, [1.0, math.nan, math.nan])
    assert curve.validation is None


def test_a_figure_says_what_it_shows() -> None:
    figure = curves_figure({"loss": [drawn(history(), "loss", "run", best_epoch=9)]}, note="smoothed (0.9)")
    (ax,) = figure.axes
    assert ax.get_title(loc="left") == "Training and validation loss"
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("Epochs", "Loss")
    assert [text.get_text() for text in ax.texts] == ["smoothed (0.9)   ○ best at epoch 9"]
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["Training", "Validation"]
    dots, line, ring = ax.lines
    assert (dots.get_linestyle(), dots.get_marker()) == ("None", "o")
    assert (line.get_linestyle(), line.get_marker()) == ("-", "None")
    assert {to_hex(str(dots.get_color())), to_hex(str(line.get_color()))} == {COLOURS[0].lower()}
    assert ring.get_xdata() == [9]
    assert all(tick == int(tick) for tick in ax.get_xticks())


def test_without_validation_there_is_no_line() -> None:
    figure = curves_figure({"mae": [Curve("run", np.arange(1.0, 4), np.ones(3))]})
    assert figure.axes[0].get_title(loc="left") == "Training MAE"
    assert len(figure.axes[0].lines) == 1


def test_the_validation_curve_alone_is_figure_3_12() -> None:
    curve = drawn(history(), "loss", "run", only="validation", best_epoch=9)
    figure = curves_figure({"mae": [curve]})
    (ax,) = figure.axes
    assert ax.get_title(loc="left") == ax.get_ylabel() == "Validation MAE"
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["Validation"]
    line, ring = ax.lines
    assert (line.get_linestyle(), ring.get_xdata()) == ("-", [9])


@pytest.mark.parametrize("scale", [1e-280, 1e-6, 1.0, 1e280])
@pytest.mark.parametrize("spread", [0.0, 0.001, 3.0])
def test_a_logarithmic_axis_shows_all_values_between_plain_numbers(scale: float, spread: float) -> None:
    values = scale * (1 + spread * np.arange(4))
    curve = Curve("run", np.arange(1.0, 5), values, validation_std=None, training_std=values * 2)
    figure = curves_figure({"loss": [curve]}, log=True)
    figure.draw_without_rendering()
    (ax,) = figure.axes
    low, high = ax.get_ylim()
    assert ax.get_yscale() == "log"
    assert 0 < low <= values.min() <= values.max() <= high


def test_what_a_logarithmic_axis_cannot_show_is_a_gap() -> None:
    frame = history(3).assign(loss=[1.0, 0.0, -1.0], val_loss=[0.5, 0.25, 0.125])
    curve = drawn(frame, "loss", "run", log=True, best_epoch=3)
    np.testing.assert_array_equal(curve.training, [1.0, math.nan, math.nan])
    assert curve.best_epoch == 3
    assert drawn(frame, "loss", "run", log=True, only="training").best_epoch is None


def test_each_run_has_its_colour_in_every_panel() -> None:
    labels = [f"run-{i}" for i in range(9)]
    panels = {name: [drawn(history(), "loss", label) for label in labels] for name in ("loss", "accuracy")}
    figure = curves_figure(panels)
    assert len(figure.axes) == 2
    styles = [[(line.get_color(), line.get_linestyle()) for line in ax.lines[1::2]] for ax in figure.axes]
    assert styles[0] == styles[1]
    assert len(set(styles[0])) == 9
    texts = [text.get_text() for text in figure.legends[0].get_texts()]
    assert [text for text in texts if text.strip()] == [*labels, "Training", "Validation"]


def test_many_epochs_do_not_make_a_blob_of_dots() -> None:
    figure = curves_figure({"loss": [drawn(history(500), "loss", "run")]})
    assert figure.axes[0].lines[0].get_markevery() == 7
    assert figure.legends[0].get_texts()[0].get_text() == "Training (every 7 epochs)"


WEIRD = {
    "one epoch": Curve("run", np.array([1.0]), np.array([1.0]), np.array([2.0]), best_epoch=1),
    "nothing finite": Curve("run", np.array([1.0, 2.0]), np.full(2, np.nan)),
    "huge": Curve("run", np.array([1.0, 2.0]), np.array([1e-300, 1e300]), np.array([0.0, 1e300])),
    "long label": Curve("x" * 200, np.array([1.0, 2.0]), np.zeros(2), np.zeros(2)),
    "signs in the label": Curve("$a_{b\n<é", np.array([1.0, 2.0]), np.zeros(2)),
}


@pytest.mark.parametrize("name", WEIRD)
@pytest.mark.parametrize("ending", [".png", ".svg"])
def test_everything_can_be_drawn_and_equal_figures_give_equal_files(
    name: str, ending: str, tmp_path: Path
) -> None:
    paths = [tmp_path / f"{i}{ending}" for i in range(2)]
    for path in paths:
        save(curves_figure({"loss": [WEIRD[name], WEIRD["one epoch"]]}), path)
    first, second = (path.read_bytes() for path in paths)
    assert first == second
    assert first.startswith(b"\x89PNG" if ending == ".png" else b"<?xml")


@pytest.mark.parametrize("runs", [1, 2, 7])
@pytest.mark.parametrize("measures", [1, 3])
@pytest.mark.parametrize("note", ["mean of the folds, smoothed (0.9)", LONG], ids=["short", "long"])
def test_nothing_is_cut_off_or_overlaps(runs: int, measures: int, note: str) -> None:
    curve = drawn(history(), "loss", "reuters-20260101T000000Z-aaaa" * 2, best_epoch=9)
    names = ["loss", "accuracy", "top_k"][:measures]
    figure = curves_figure({name: [curve] * runs for name in names}, note=note)
    figure.draw_without_rendering()
    for ax in figure.axes:
        assert ax.get_window_extent().width > 0.8 * figure.bbox.width
    legend = figure.legends[0].get_window_extent()
    boxes = [ax.get_tightbbox() for ax in figure.axes]
    for box in [legend, *boxes]:
        assert box is not None
        assert box.x0 >= 0
        assert box.y0 >= 0
        assert box.x1 <= figure.bbox.x1
        assert box.y1 <= figure.bbox.y1
    from_the_top = [*boxes, legend]
    for above, below in pairwise(from_the_top):
        assert above is not None
        assert below is not None
        assert above.y0 >= below.y1


# --- several outputs ---------------------------------------------------------------------------------------

OF_OUTPUTS = ["loss", "kind_loss", "kind_top_k", "body_mass_loss", "body_mass_mae", "log_loss"]


def test_the_measures_of_an_output_are_called_by_it() -> None:
    outputs = outputs_among(OF_OUTPUTS)
    assert outputs == ("kind", "body_mass")
    names = [name_of(measure, outputs) for measure in OF_OUTPUTS]
    assert names == [
        "loss",
        "kind loss",
        "kind top-k accuracy",
        "body_mass loss",
        "body_mass MAE",
        "log loss",
    ]
    assert name_of("ab_mae", ("a", "a_b", "ab")) == "ab MAE"
    assert name_of("a_b_mae", ("a", "a_b", "ab")) == "a_b MAE"


def test_many_panels_stand_in_two_columns() -> None:
    """The first column is filled first, and each says epochs at its foot."""
    curve = Curve("run", np.arange(1.0, 4), np.ones(3), np.ones(3))
    panels = {measure: [curve] for measure in OF_OUTPUTS[:5]}
    figure = curves_figure(panels, outputs=("kind", "body_mass"))
    said = [(ax.get_title(loc="left"), ax.get_ylabel(), ax.get_xlabel()) for ax in figure.axes]
    assert sorted(said) == sorted(
        [
            ("Training and validation loss", "Loss", ""),
            ("kind: training and validation loss", "Loss", ""),
            ("kind: training and validation top-k accuracy", "Top-k accuracy", "Epochs"),
            ("body_mass: training and validation loss", "Loss", ""),
            ("body_mass: training and validation MAE", "MAE", "Epochs"),
        ]
    )
    figure.draw_without_rendering()
    lefts = {ax.get_title(loc="left"): ax.get_position().x0 for ax in figure.axes}
    assert {title for title, x in lefts.items() if x > 0.5} == {title for title in lefts if "body" in title}
