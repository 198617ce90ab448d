"""What the weights that a run kept score: the scores that its out-of-fold predictions give."""

from __future__ import annotations

from html import unescape
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

import nnrun
from nnrun.cli.closing import closing_text
from nnrun.experiment.describing.report import write_report
from nnrun.experiment.finished.load_run import DEFAULT_ACCESS
from nnrun.experiment.finished.record_text import caution_text, kept_text, score_table
from nnrun.experiment.running.job import Settings
from nnrun.experiment.running.train import run_experiment
from nnrun.experiment.setup.groups import Selection
from nnrun.records import RunDirectory
from tests.support.small_experiments import BINARY, KFOLD, REGRESSION, load_small

STOPS = {"patience": 1, "restore_best": True}
APART: dict[str, Any] = {
    "validation": KFOLD,
    "early_stopping": {"on": "inner", "fraction": 0.3, **STOPS},
    "epochs": 12,
}
APART |= {"optimizer": {"adam": 0.1}}
ONE = Selection()


def _trained(folder: Path, spec: dict[str, Any], selection: Selection = ONE, **changes: Any) -> RunDirectory:
    return run_experiment(
        load_small(folder, spec, **changes), Settings("train", folder / "runs", selection=selection)
    )


@pytest.mark.parametrize("stopping", [APART["early_stopping"], STOPS, None])
def test_they_are_those_of_the_out_of_fold_predictions_fold_by_fold(tmp_path: Path, stopping: Any) -> None:
    run = _trained(tmp_path, REGRESSION, **{**APART, "early_stopping": stopping})
    record = run.read_record()
    oof = pd.read_csv(run.path / "oof.csv")
    error = (oof["prediction"] - oof["target"]).abs().groupby(oof["fold"]).mean()
    assert [member.kept["val_mae"] for member in record.members] == pytest.approx(list(error), rel=1e-5)
    assert record.kept["val_mae"] == pytest.approx(error.mean(), rel=1e-5)
    assert record.kept_std["val_mae"] == pytest.approx(error.std(), rel=1e-5)


def test_accuracy_is_that_of_the_predicted_classes(tmp_path: Path) -> None:
    run = _trained(tmp_path, BINARY, **APART)
    oof, record = pd.read_csv(run.path / "oof.csv"), run.read_record()
    right = (oof["prediction"] == oof["target"]).groupby(oof["fold"]).mean()
    assert record.kept["val_accuracy"] == pytest.approx(right.mean())
    assert nnrun.Run(run.path).kept == record.kept


def test_screens_say_which_is_which(tmp_path: Path) -> None:
    run = _trained(tmp_path, REGRESSION, **APART)
    record = run.read_record()
    assert len({member.weights_epoch for member in record.members}) > 1
    table = score_table(record)
    assert table is not None
    assert list(table.columns)[:4] == [
        "training",
        "inner",
        "validation",
        "kept weights",
    ]
    told = kept_text(record)
    assert told == (
        f"'validation' is of epoch {record.best_epoch} for every fold; 'kept weights' is of each fold's own "
        "epoch, which was kept and predicts: the mean over oof.csv, each fold scored by itself as "
        "scikit-learn's cross_val_score does."
    )
    assert told in closing_text(run, record)
    assert f"95 % interval of the mean at epoch {record.best_epoch}:" in closing_text(run, record)
    record.not_better_than_baseline = {"mae": [2.0, 1.0]}
    assert f"do not beat the best constant at epoch {record.best_epoch}: mae" in caution_text(record)


def test_a_choice_on_the_rows_that_are_scored_is_called_optimistic(tmp_path: Path) -> None:
    run = _trained(tmp_path, REGRESSION, **{**APART, "early_stopping": STOPS})
    told = kept_text(run.read_record())
    assert "Each fold's epoch was chosen on the very rows that score it, so 'kept weights' is opti" in told


def test_one_network_has_one_score_of_its_weights_and_no_second_column(tmp_path: Path) -> None:
    run = _trained(tmp_path, REGRESSION, epochs=3)
    record = run.read_record()
    own = {name: value for name, value in record.last.items() if name.startswith("val_")}
    assert (record.kept, record.kept_std) == (own, {})
    table = score_table(record)
    assert table is not None
    assert ("kept weights" in table.columns, kept_text(record)) == (False, "")


def test_of_seeds_nobody_is_sent_to_scikit_learn(tmp_path: Path) -> None:
    stopping = {"early_stopping": {"patience": 1, "restore_best": True}, "epochs": 12}
    run = _trained(tmp_path, REGRESSION, Selection(seeds=3), **stopping)
    record = run.read_record()
    assert record.kept_apart == (len({member.weights_epoch for member in record.members}) > 1)
    assert "cross_val_score" not in kept_text(record)


def test_moving_averages_that_no_epoch_was_scored_with_have_none(tmp_path: Path) -> None:
    averaged: dict[str, Any] = {"optimizer": {"adam": {"use_ema": True}}, "validation": KFOLD, "epochs": 3}
    record = _trained(tmp_path, REGRESSION, **averaged).read_record()
    assert all(member.weights_averaged for member in record.members)
    assert record.kept == {}


def test_the_page_has_both_beside_the_predictions_of_the_kept_weights(tmp_path: Path) -> None:
    run = _trained(tmp_path, REGRESSION, **APART)
    write_report([run], tmp_path / "page.html", DEFAULT_ACCESS)
    page = unescape((tmp_path / "page.html").read_text("utf-8"))
    assert kept_text(run.read_record()) in page
    assert f"Best epoch {run.read_record().best_epoch} by inner_loss" in page
    assert "the last (mean" not in page
