"""`early_stopping: {on: inner}`: rows that are not scored decide when to stop and which epoch is the best."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from nnrun.data.load_data import load_data
from nnrun.experiment.evaluating.evaluate import evaluate_run
from nnrun.experiment.finished.record_text import rows_in_words, score_table
from nnrun.experiment.finished.used_weights import recorded_weights
from nnrun.experiment.running.final import final_of_run
from nnrun.experiment.running.job import Settings
from nnrun.experiment.running.listener import Start, start_line
from nnrun.experiment.running.train import run_experiment
from nnrun.experiment.setup.folds import folds_of
from nnrun.experiment.setup.groups import Selection
from nnrun.records import RunDirectory, history_columns, measures
from nnrun.spec.reading.load import LoadedSpec
from tests.support.small_experiments import BINARY, REGRESSION, load_small, numbers

FOLDS: dict[str, Any] = {"kfold": {"k": 3, "shuffle": True}}
STOPPING: dict[str, Any] = {"on": "inner", "fraction": 0.25, "patience": 2, "restore_best": True}
SETTINGS: dict[str, Any] = {"optimizer": {"adam": 0.1}, "epochs": 150, "early_stopping": STOPPING}


def load(folder: Path, **changes: Any) -> LoadedSpec:
    return load_small(folder, REGRESSION, **{**SETTINGS, "validation": FOLDS, **changes})


def trained(loaded: LoadedSpec, folder: Path, only_fold: int | None = None) -> RunDirectory:
    return run_experiment(
        loaded, Settings("train", folder / "runs", selection=Selection(only_fold=only_fold))
    )


def test_the_history_has_columns_of_the_inner_rows_which_stop_each_network(tmp_path: Path) -> None:
    run = trained(load(tmp_path), tmp_path)
    table, record = run.read_history(), run.read_record()
    of_inner = ["inner_loss", "inner_mae", "val_loss", "val_mae", "learning_rate", "seconds"]
    assert table.columns.tolist() == ["fold", "epoch", "loss", "mae", *of_inner]
    assert "inner_loss_std" in run.read_history_mean().columns
    for member in run.members():
        own = table[table["fold"] == member.id]
        kept = run.read_kept_weights(member, "last").epoch
        assert kept is not None
        assert kept.epoch == int(own["inner_loss"].argmin()) + 1
        assert record.network(member).stopped_early == kept.epoch + 2
    assert record.chosen_by == "inner_loss"
    assert record.to_json()["rows"] == {"train": 24, "inner": 8, "validation": 16, "test": 12}


def changed_rows(folder: Path, rows: np.ndarray) -> dict[str, np.ndarray]:
    """The small arrays with other numbers in some training rows."""
    arrays = numbers()
    rng = np.random.default_rng(3)
    for name in ("x_train", "y_train"):
        arrays[name] = arrays[name].copy()
        arrays[name][rows] = 100 + rng.normal(size=arrays[name][rows].shape)
    return arrays


def test_no_validation_row_has_a_say(tmp_path: Path) -> None:
    """Other validation rows leave all but `val_*` as it was: epochs, weights, rates of the plateau."""
    schedule = {"learning_rate_schedule": {"reduce_on_plateau": {"patience": 1}}}
    validation = {"holdout": {"fraction": 0.3}}
    loaded = load(tmp_path, validation=validation, **schedule)
    rows = folds_of(loaded.spec, load_data(loaded.spec), 0)[0].validation_rows
    run = trained(loaded, tmp_path)
    other = tmp_path / "other"
    other.mkdir()
    arrays = changed_rows(other, rows)
    changed = trained(load(other, arrays=arrays, validation=validation, **schedule), other)
    own = ["epoch", "loss", "mae", "inner_loss", "inner_mae", "learning_rate"]
    one, two = run.read_history(), changed.read_history()
    assert one[own].equals(two[own])
    assert (one["val_loss"] != two["val_loss"]).all()
    assert len(set(one["learning_rate"])) > 1, "a plateau that is never met would prove less"
    assert run.read_record().best_epoch == changed.read_record().best_epoch
    for name, value in run.read_weights().items():
        np.testing.assert_array_equal(changed.read_weights()[name], value)


def test_nothing_is_fitted_on_inner_rows(tmp_path: Path) -> None:
    """Other inner rows leave preprocessing and the training losses of the first epochs as they were."""
    loaded = load(tmp_path)
    fold = folds_of(loaded.spec, load_data(loaded.spec), 0)[0]
    run = trained(loaded, tmp_path, 0)
    other = tmp_path / "other"
    other.mkdir()
    changed = trained(load(other, arrays=changed_rows(other, fold.inner_rows)), other, 0)
    member = run.members()[0]
    assert run.read_preprocessing(member) == changed.read_preprocessing(member)
    both = [each.read_history() for each in (run, changed)]
    shared = min(map(len, both))
    one, two = (table.iloc[:shared] for table in both)
    assert one[["loss", "val_loss"]].equals(two[["loss", "val_loss"]])
    assert (one["inner_loss"] != two["inner_loss"]).all()


def test_a_fold_alone_is_as_in_the_whole_run(tmp_path: Path) -> None:
    loaded = load(tmp_path)
    together = trained(loaded, tmp_path)
    for number, member in enumerate(together.members()):
        alone = trained(loaded, tmp_path, number)
        one, two = (run.read_history() for run in (together, alone))
        columns = [name for name in one.columns if name != "seconds"]
        mine = one[one["fold"] == number][columns].reset_index(drop=True)
        np.testing.assert_allclose(two[columns], mine, rtol=1e-5)
        assert together.read_preprocessing(member) == alone.read_preprocessing(member)


def test_scores_are_not_called_optimistic(tmp_path: Path) -> None:
    run = trained(load(tmp_path), tmp_path)
    record = run.read_record()
    used, table = recorded_weights(record), score_table(record)
    assert used is not None
    assert table is not None
    assert not used.chosen_apart
    assert not used.chosen_on_validation
    assert ", chosen on inner rows, not on these validation rows (mean ± std over folds)" in table.heading
    assert list(table.columns) == ["training", "inner", "validation", "kept weights", "baseline", "linear"]
    assert list(table.names) == ["loss", "mae"]
    assert rows_in_words(record.rows, ", ") == "24 training rows, 8 inner rows, 16 validation rows"
    found = evaluate_run(run, split="validation")
    assert found.kept is None
    assert not found.chosen_on_these_rows
    history = run.read_history()
    for member, scores in zip(run.members(), found.members, strict=True):
        own = history[history["fold"] == member.id]
        at_best = own["val_loss"].iloc[int(own["inner_loss"].argmin())]
        assert scores.scores["loss"] == pytest.approx(at_best, rel=1e-6)


def test_the_same_on_validation_rows_is(tmp_path: Path) -> None:
    stopping = {"patience": 2, "restore_best": True}
    record = trained(load(tmp_path, early_stopping=stopping), tmp_path).read_record()
    used, table = recorded_weights(record), score_table(record)
    assert used is not None
    assert table is not None
    assert used.chosen_apart
    assert "chosen on these validation rows" in table.heading
    assert "inner" not in record.to_json()["rows"]


def test_without_validation_a_run_stops_by_itself_and_final_trains_on_all_rows(tmp_path: Path) -> None:
    run = trained(load(tmp_path, validation="none"), tmp_path)
    record = run.read_record()
    assert record.stopped_early is not None
    assert record.best_epoch == int(run.read_history()["inner_loss"].argmin()) + 1
    assert record.to_json()["rows"] == {"train": 36, "inner": 12, "validation": 0, "test": 12}
    table = score_table(record)
    assert table is not None
    assert table.heading == f"best epoch {record.best_epoch} by inner_loss, chosen on inner rows"
    final = final_of_run(run, Settings("final", tmp_path / "runs")).read_record()
    assert final.epochs_run == record.best_epoch
    assert final.to_json()["rows"] == {"train": 48, "validation": 0, "test": 12}
    assert final.chosen_from is not None
    assert final.chosen_from.column == "inner_loss"


def test_a_final_run_takes_the_rates_of_a_plateau_of_inner_rows_again(tmp_path: Path) -> None:
    loaded = load(tmp_path, learning_rate_schedule={"reduce_on_plateau": {"patience": 0}})
    assert "monitor: inner_loss" in trained(loaded, tmp_path).read_resolved()
    run = trained(loaded, tmp_path, 1)
    final = final_of_run(run, Settings("final", tmp_path / "runs"))
    length = final.read_record().epochs_run
    theirs = run.read_history()["learning_rate"].tolist()[:length]
    assert final.read_history()["learning_rate"].tolist() == theirs


@pytest.mark.parametrize("validation", ["none", {"holdout": {"fraction": 0.25, "stratify": True}}])
def test_classes_have_their_share(validation: Any, tmp_path: Path) -> None:
    loaded = load_small(tmp_path, BINARY, **SETTINGS, validation=validation)
    dataset = load_data(loaded.spec)
    (fold,) = folds_of(loaded.spec, dataset, 0)
    of_inner, of_rest = (dataset.train.targets[rows].mean() for rows in (fold.inner_rows, fold.train_rows))
    assert of_inner == pytest.approx(of_rest, abs=0.07)


def test_columns_of_inner_rows_are_told_from_an_output_of_that_name() -> None:
    with_inner = history_columns(["mae"], True, "fold", inner=True)
    assert measures(with_inner) == ["loss", "mae"]
    assert measures(f"{name}_mean" for name in with_inner[2:]) == ["loss", "mae"]
    outputs = history_columns(["inner_loss", "inner_mae", "outer_loss"], True)
    assert measures(outputs) == ["loss", "inner_loss", "inner_mae", "outer_loss"]


def test_the_first_line_names_them() -> None:
    start = Start(
        run=None,  # type: ignore[arg-type]
        name="small",
        member_type=None,
        member_ids=[0],
        epochs=3,
        train_rows=24,
        validation_rows=16,
        parameters=41,
        device="cpu",
        inner_rows=8,
    )
    assert start_line(start) == (
        "small: a network of 41 parameters, 24 training, 8 inner and 16 validation rows, on cpu"
    )
