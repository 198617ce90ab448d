"""The curves of runs: which measures are drawn, which are not, and which epoch is marked."""

from __future__ import annotations

from pathlib import Path

import pytest

from nnrun.errors import NnrunError, UsageError
from nnrun.experiment.describing.learning_curves import make_panels, write_figure, write_figures
from nnrun.records import RunDirectory, history_columns
from tests.support.runs_on_disk import make_run, write_history, write_record


@pytest.fixture
def runs(tmp_path: Path) -> list[RunDirectory]:
    made = [make_run(tmp_path, name) for name in ("one", "two", "folds")]
    write_history(made[0], epochs=5)
    write_history(made[1], epochs=8)
    write_history(made[2], epochs=4, folds=3, metric="mae")
    return made


def test_all_that_the_runs_share_is_drawn_and_the_rest_named(runs: list[RunDirectory]) -> None:
    panels = make_panels(runs)
    assert {measure: [c.label for c in curves] for measure, curves in panels.curves.items()} == {
        "loss": ["one", "two", "folds"]
    }
    assert panels.left_out == {"accuracy": [2], "mae": [0, 1]}
    assert panels.left_out_text(["A", "B", "C"]) == (
        "Not drawn, since some runs lack it: accuracy (not in C); mae (not in A, B)."
    )
    alike = make_panels(runs[:2])
    assert list(alike.curves) == ["loss", "accuracy"]
    assert (alike.left_out, alike.left_out_text(["A", "B"])) == ({}, "")


def test_one_measure_that_is_asked_for_leaves_nothing_out(runs: list[RunDirectory]) -> None:
    assert make_panels(runs, metric="val_loss").left_out == {}


def test_labels_and_the_epochs_to_mark(runs: list[RunDirectory]) -> None:
    own = make_panels(runs[:2]).curves
    assert [curve.best_epoch for curve in own["loss"]] == [3, 3]
    assert [curve.best_epoch for curve in own["accuracy"]] == [None, None]
    for run, chosen in zip(runs, (("val_accuracy", 2), (None, None)), strict=False):
        write_record(run, run.read_record().to_json() | {"chosen_by": chosen[0], "best_epoch": chosen[1]})
    panels = make_panels(runs[:2], labels=["A", "B"])
    marked = {
        measure: [(curve.label, curve.best_epoch) for curve in curves]
        for measure, curves in panels.curves.items()
    }
    assert marked == {"loss": [("A", None), ("B", None)], "accuracy": [("A", 2), ("B", None)]}
    assert [curve.validation_std for curve in panels.curves["accuracy"]] == [None, None]


def test_a_smoothed_curve_is_marked_at_the_epoch_of_the_record(runs: list[RunDirectory]) -> None:
    assert make_panels(runs[1:2], smooth=0.9).curves["loss"][0].best_epoch == 3
    assert make_panels(runs[1:2], skip=3).curves["loss"][0].best_epoch is None


def test_one_phase_alone(runs: list[RunDirectory]) -> None:
    (validation,) = make_panels(runs[:1], only="validation").curves["loss"]
    assert validation.training is None
    assert validation.validation is not None
    assert validation.validation.tolist() == pytest.approx([0.7, 0.6, 0.5, 0.6, 0.7])
    (training,) = make_panels(runs[:1], only="training").curves["loss"]
    assert (training.validation, training.best_epoch) == (None, None)


def test_a_measure_without_a_finite_value_is_no_panel(runs: list[RunDirectory], tmp_path: Path) -> None:
    nan = make_run(tmp_path, "nan")
    with nan.history_writer(history_columns(["accuracy"], validated=True, member_type=None)) as history:
        row = dict.fromkeys(("loss", "val_loss", "accuracy", "val_accuracy"), float("nan"))
        history.append({"epoch": 1, **row, "loss": 1.0, "seconds": 0.1, "learning_rate": 0.001})
    panels = make_panels([nan])
    assert (list(panels.curves), panels.empty) == (["loss"], {"accuracy": [0]})
    both = make_panels([nan, runs[0]])
    assert (list(both.curves), both.empty) == (["loss", "accuracy"], {"accuracy": [0]})
    assert both.left_out_text(["A", "B"]) == "There is no finite value to draw: accuracy (A)."


def test_several_networks_are_drawn_as_their_mean(runs: list[RunDirectory]) -> None:
    panels = make_panels(runs[2:])
    assert panels.note == "mean of the folds"
    assert panels.curves["loss"][0].validation_std is not None


def test_the_best_epoch_of_a_mean_is_one_that_all_folds_reached(tmp_path: Path) -> None:
    run = make_run(tmp_path, "stopped")
    with run.history_writer(history_columns(["mae"], validated=True, member_type="fold")) as history:
        for fold, losses in enumerate(([5.0, 4.0, 6.0], [2.0, 1.5, 1.6, 1.4, 1.3])):
            for epoch, loss in enumerate(losses, start=1):
                row = {"loss": loss, "val_loss": loss, "mae": loss, "val_mae": loss}
                history.append({"fold": fold, "epoch": epoch, **row, "seconds": 0.1, "learning_rate": 0.001})
    panels = make_panels([run])
    assert [curve.best_epoch for curve in panels.curves["loss"]] == [2]
    assert panels.note == "mean of the folds, to epoch 3, the last that all reached"
    (curve,) = panels.curves["loss"]
    assert curve.validation is not None
    assert (curve.epochs.tolist(), curve.validation.tolist()) == ([1, 2, 3], [3.5, 2.75, 3.8])
    assert [curve.best_epoch for curve in make_panels([run], skip=1).curves["loss"]] == [2]
    assert [curve.best_epoch for curve in make_panels([run], skip=2).curves["loss"]] == [None]
    with pytest.raises(UsageError, match="which has 3 epochs that all folds reached"):
        make_panels([run], skip=3)
    assert make_panels([run, run]).note == "means end with the first of their folds or seeds"


def test_inner_rows_have_a_curve_and_mark_the_epoch_that_they_chose(tmp_path: Path) -> None:
    run = make_run(tmp_path, "inner", chosen_by="inner_loss", best_epoch=2)
    with run.history_writer(history_columns(["mae"], validated=True, inner=True)) as history:
        for epoch, loss in enumerate([3.0, 1.0, 2.0], start=1):
            row = {"loss": loss, "mae": loss, "inner_loss": loss, "inner_mae": loss}
            row |= {"val_loss": 4 - loss, "val_mae": 4 - loss, "learning_rate": 0.001}
            history.append({"epoch": epoch, **row, "seconds": 0.1})
    panels = make_panels([run])
    assert list(panels.curves) == ["loss", "mae"]
    (of_loss,), (of_mae,) = panels.curves.values()
    assert of_loss.inner is not None
    assert of_loss.inner.tolist() == [3.0, 1.0, 2.0]
    assert (of_loss.best_epoch, of_mae.best_epoch) == (2, None)
    write_figure(panels, tmp_path / "curves.svg")
    assert (tmp_path / "curves.svg").is_file()
    (training,) = make_panels([run], only="training").curves["loss"]
    assert training.inner is None


def test_figures_are_written_where_they_are_said_to_be(runs: list[RunDirectory], tmp_path: Path) -> None:
    panels = make_panels(runs[:2])
    assert write_figure(panels, tmp_path / "x.svg") == tmp_path / "x.svg"
    assert (tmp_path / "x.svg").read_text().count("Training and validation") == 2
    names = [path.name for path in write_figures(panels, tmp_path, prefix="both-", suffix="-s")]
    assert names == ["both-loss-s.png", "both-accuracy-s.png"]
    assert all((tmp_path / name).is_file() for name in names)
    with pytest.raises(NnrunError, match="Cannot write"):
        write_figure(panels, tmp_path / "no" / "x.png")
