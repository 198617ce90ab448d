"""What a run scored, read from its files alone."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nnrun.errors import DataError, SpecError
from nnrun.experiment.evaluating.evaluate import evaluate_run
from nnrun.experiment.finished.run_scores import Score, read_run_scores
from nnrun.experiment.running.job import Settings
from nnrun.experiment.running.train import run_experiment
from nnrun.experiment.setup.groups import Selection
from nnrun.records import RunDirectory
from tests.support.runs_on_disk import DATA, make_run, scored_run, scores_of
from tests.support.small_experiments import KFOLD, load_small, record_of


@pytest.mark.parametrize(
    ("changes", "selection", "kind", "numbers"),
    [
        ({}, Selection(), None, (0,)),
        ({"seed": 7}, Selection(), None, (7,)),
        ({"seed": 7}, Selection(seeds=3), "seed", (7, 8, 9)),
        ({"validation": KFOLD}, Selection(), "fold", (0, 1, 2)),
        ({"validation": KFOLD}, Selection(only_fold=1), "fold", (1,)),
    ],
)
def test_scores_are_those_that_the_run_recorded(
    tmp_path: Path, changes: dict[str, Any], selection: Selection, kind: str | None, numbers: tuple[int, ...]
) -> None:
    loaded = load_small(tmp_path, **changes)
    run = run_experiment(loaded, Settings("train", tmp_path / "runs", selection=selection))
    evaluation = evaluate_run(run)
    record, scores = record_of(run.path), read_run_scores(run)
    assert (scores.record.member_type, scores.member_ids) == (kind, numbers)
    assert scores.spec == loaded.spec
    assert scores.record.best_epoch == record["best_epoch"]
    assert {name: score.mean for name, score in scores.validation_scores.items()} == pytest.approx(
        {name: value for name, value in record["best"].items() if name.startswith("val_")}
    )
    stds = record.get("best_std") or {}
    for name, score in scores.validation_scores.items():
        assert score.std == (pytest.approx(stds[name]) if len(numbers) > 1 else None)
        assert tuple(scores.validation[name]) == numbers
    assert {name: score.mean for name, score in scores.test.items()} == evaluation.scores
    assert scores.test["mae"].std == evaluation.std.get("mae")
    assert (scores.tested_epochs, len(scores.record.test_uses)) == ((3,), 1)
    assert [(d.name, d.rows) for d in scores.record.data] == [("small.npz", 60)]
    assert (record["command"], record["status"], record["smoke"], record["epochs_run"]) == (
        "train",
        "completed",
        False,
        3,
    )


def test_the_best_epoch_is_the_run_s_own(tmp_path: Path) -> None:
    scores = read_run_scores(scored_run(tmp_path, "a", scores_of(0.5, 0.75)))
    assert scores.validation["val_accuracy"] == {0: 0.5, 1: 0.75}
    assert scores.validation_scores["val_accuracy"] == Score(0.625, float(np.std([0.5, 0.75], ddof=1)))
    assert [(d.name, d.sha256, d.rows) for d in scores.record.data] == [("imdb.npz", "aa", DATA[0]["rows"])]


def test_a_score_that_is_no_number_makes_the_mean_none(tmp_path: Path) -> None:
    scores = read_run_scores(scored_run(tmp_path, "a", scores_of(0.5, math.nan)))
    assert math.isnan(scores.validation_scores["val_accuracy"].mean)
    assert scores.validation_scores["val_accuracy"].std is None


def test_a_run_that_has_not_begun_has_no_scores(tmp_path: Path) -> None:
    run = make_run(tmp_path, "a", status="running")
    run.write_resolved(scored_run(tmp_path, "b", scores_of(0.5)).read_resolved())
    scores = read_run_scores(run)
    assert (scores.validation, scores.test, scores.record.best_epoch, scores.record.epochs_run) == (
        {},
        {},
        None,
        0,
    )


def test_a_run_that_goes_on_has_the_epochs_of_its_history(tmp_path: Path) -> None:
    run = scored_run(tmp_path, "a", scores_of(0.5), status="running", epochs_run=0, best_epoch=None)
    with run.owned():
        assert read_run_scores(run).record.epochs_run == 3


def test_what_is_missing_or_damaged_is_said(tmp_path: Path) -> None:
    run = scored_run(tmp_path, "a", scores_of(0.5))
    run.write_resolved("loss: [")
    with pytest.raises(SpecError, match="the spec of a"):
        read_run_scores(run)
    with pytest.raises(DataError, match=r"has no resolved\.yaml"):
        read_run_scores(make_run(tmp_path, "b"))


ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=6,
)
KEYS = [
    "command",
    "status",
    "smoke",
    "folds",
    "seeds",
    "epochs_run",
    "best_epoch",
    "test",
    "test_std",
    "data",
]


@given(st.dictionaries(st.sampled_from([*KEYS, "weights_epoch", "test_uses"]), ANYTHING))
def test_a_record_may_hold_anything(tmp_path_factory: pytest.TempPathFactory, record: dict[str, Any]) -> None:
    run = scored_run(tmp_path_factory.mktemp("runs"), "a", scores_of(0.5, 0.6))
    (run.path / "run.json").write_text(json.dumps(record))
    scores = read_run_scores(RunDirectory(run.path))
    assert all(isinstance(number, int) for number in scores.member_ids)
    assert all(isinstance(score.mean, float) for score in scores.test.values())
    assert set(scores.validation) <= {"val_loss", "val_accuracy"}
