"""Runs in TensorBoard's event files, read back as TensorBoard reads them."""

from __future__ import annotations

from pathlib import Path

import pytest

import nnrun
from nnrun.errors import UsageError
from tests.experiment.publishing.conftest import folders_told

accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")


def _read(folder: Path) -> object:
    events = accumulator.EventAccumulator(str(folder), size_guidance={"images": 0, "scalars": 0})
    events.Reload()
    return events


def test_scores_by_epoch_figures_and_spec(folds: nnrun.Run, tmp_path: Path) -> None:
    (published,) = nnrun.publish(folds, to="tensorboard", into=tmp_path)
    assert published.new
    events = _read(tmp_path / folds.id)
    means = [event.value for event in events.Scalars("val_accuracy_mean")]
    assert means == pytest.approx(list(folds.history_mean["val_accuracy_mean"]), rel=1e-6)
    assert [event.step for event in events.Scalars("val_accuracy_mean")] == [1, 2, 3]
    assert set(events.Tags()["images"]) == {"accuracy", "loss"}
    assert "params/text_summary" in events.Tags()["tensors"]
    own = folds.history[folds.history["fold"] == 1]
    scores = [event.value for event in _read(tmp_path / folds.id / "fold-1").Scalars("val_loss")]
    assert scores == pytest.approx(list(own["val_loss"]), rel=1e-6)


def test_the_same_again_changes_nothing_and_a_run_that_was_measured_again_is_written_anew(
    single: nnrun.Run, tmp_path: Path
) -> None:
    nnrun.publish(single, to="tensorboard", into=tmp_path)
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}
    (again,) = nnrun.publish(single, to="tensorboard", into=tmp_path)
    assert not again.new
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")} == before
    nnrun.evaluate(single)
    (anew,) = nnrun.publish(single, to="tensorboard", into=tmp_path)
    assert anew.new
    assert "summary/test_mae" in _read(tmp_path / single.id).Tags()["scalars"]


def test_a_folder_of_somebody_else_is_left_alone(single: nnrun.Run, tmp_path: Path) -> None:
    (tmp_path / single.id).mkdir()
    (tmp_path / single.id / "notes").write_text("mine")
    with pytest.raises(UsageError, match="nnrun publish did not write it"):
        nnrun.publish(single, to="tensorboard", into=tmp_path)
    assert (tmp_path / single.id / "notes").read_text() == "mine"


def test_no_folder_of_this_machine_is_published(folds: nnrun.Run, tmp_path: Path) -> None:
    nnrun.publish(folds, to="tensorboard", into=tmp_path)
    assert folders_told(folds, tmp_path) == []
