"""How a spec splits its rows, and the same spec with other folds."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from nnrun.data import Dataset, Samples
from nnrun.data.load_data import load_data
from nnrun.data.table import CategoryColumn, NumberColumn, Table, TextColumn
from nnrun.errors import DataError, UsageError
from nnrun.experiment.evaluating.compare import compare_runs
from nnrun.experiment.evaluating.compare_text import notes
from nnrun.experiment.evaluating.evaluate import evaluate_run
from nnrun.experiment.running.final import final_of_run
from nnrun.experiment.running.job import Settings
from nnrun.experiment.running.reproduce import reproduce_run
from nnrun.experiment.running.train import run_experiment
from nnrun.experiment.setup.folds import folds_of, load_for_kfold, smoke_spec
from nnrun.experiment.setup.groups import EVERYTHING, Selection, prepare_groups
from nnrun.records import RunDirectory
from nnrun.spec import schema
from nnrun.spec.reading.load import load_spec
from tests.support.small_experiments import (
    BINARY,
    REGRESSION,
    numbers,
    record_of,
    spec_text,
    without_seconds,
    write_small,
)

SPECS = sorted(path.name for path in (Path(__file__).parents[3] / "specs").glob("*.yaml"))


@pytest.mark.parametrize(
    ("validation", "changed"),
    [
        ({"holdout": {"first": 10_000}}, {"holdout": {"first": 64}}),
        ({"holdout": {"first": 63}}, {"holdout": {"first": 63}}),
        ({"holdout": {"fraction": 0.3}}, {"holdout": {"fraction": 0.3}}),
        ({"kfold": {"k": 100, "shuffle": True}}, {"kfold": {"k": 64, "shuffle": True}}),
        ({"kfold": {"k": 4}}, {"kfold": {"k": 4}}),
        ("none", "none"),
    ],
)
def test_validation_shrinks_to_what_256_rows_can_bear(validation: Any, changed: Any) -> None:
    found = smoke_spec(spec_text(validation=validation, epochs=500).spec)
    assert found == spec_text(validation=changed, epochs=2).spec


def test_an_epoch_stays_one_epoch() -> None:
    spec = spec_text(epochs=1).spec
    assert smoke_spec(spec) == spec


@pytest.mark.parametrize("name", SPECS)
def test_the_generated_rows_suit_every_spec_of_the_book(name: str, specs_dir: Path) -> None:
    spec = smoke_spec(load_spec(specs_dir / name).spec)
    dataset = load_data(spec, smoke=True)
    groups = prepare_groups(spec, dataset)
    folds = [fold for group in groups for fold in group.folds]
    assert all(len(fold.train_rows) + len(fold.validation_rows) == 256 for fold in folds)
    assert all(len(fold.validation_rows) > 0 for fold in folds)
    assert len(folds) == (spec.validation.k if isinstance(spec.validation, schema.KFold) else 1)


SITES = CategoryColumn("site", np.array([0, 0, 1, 1, 2, 2], np.int32), ("a", "b", "c"))
YEARS = NumberColumn("year", np.array([3.0, 1, 2, 1, 3, 2]))
DAYS = TextColumn("day", np.array([f"2026-01-0{day}" for day in (6, 5, 4, 3, 2, 1)], object))


def dataset(split_columns: Table | None = None, groups: np.ndarray | None = None, **changes: Any) -> Dataset:
    train = Samples(
        np.zeros((6, 3)), np.array([0, 0, 1, 1, 1, 0]), groups=groups, split_columns=split_columns
    )
    given: dict[str, Any] = {"name": "small", "train": train, "test": None, "sources": (), "task": "binary"}
    return Dataset(**(given | changes))


def validated(validation: dict[str, Any], data: Dataset) -> list[list[int]]:
    spec = spec_text(CSV, validation=validation).spec
    return [fold.validation_rows.tolist() for fold in folds_of(spec, data, 0)]


CSV = BINARY | {"dataset": {"csv": {"path": "small.csv", "target": "y"}}, "preprocessing": {}}
ASIDE = Table((SITES, YEARS, DAYS), 6)


def test_each_kind_of_column_splits() -> None:
    data = dataset(ASIDE)
    assert validated({"holdout": {"column": "site", "value": "b"}}, data) == [[2, 3]]
    assert validated({"holdout": {"column": "year", "value": 3}}, data) == [[0, 4]]
    assert validated({"time_series": {"k": 2, "column": "year"}}, data) == [[2, 5], [0, 4]]
    assert validated({"time_series": {"k": 2, "column": "day"}}, data) == [[2, 3], [0, 1]]
    assert sorted(validated({"kfold": {"k": 3, "group": "site"}}, data)) == [[0, 1], [2, 3], [4, 5]]


def test_a_group_of_the_folds_stands_before_that_of_the_data() -> None:
    data = dataset(ASIDE, groups=np.array([0, 1, 2, 0, 1, 2]))
    assert sorted(validated({"kfold": 3}, data)) == [[0, 3], [1, 4], [2, 5]]
    assert sorted(validated({"kfold": {"k": 3, "group": "site"}}, data)) == [[0, 1], [2, 3], [4, 5]]


def test_an_input_can_be_split_by() -> None:
    data = dataset()
    inputs = Samples(ASIDE, data.train.targets)
    assert validated({"holdout": {"column": "year", "value": 3}}, dataset(train=inputs)) == [[0, 4]]


def test_a_row_without_a_group_is_refused() -> None:
    some = CategoryColumn("site", np.array([0, 0, -1, 1, 1, 1], np.int32), ("a", "b"))
    with pytest.raises(DataError) as caught:
        validated({"kfold": {"k": 2, "group": "site"}}, dataset(Table((some,), 6)))
    assert str(caught.value) == (
        "validation.kfold.group: column 'site' has no value in training row 2 (from 0), and each row needs a "
        "group. Leave out such rows, or name another column."
    )


def test_numbers_to_predict_are_no_classes() -> None:
    data = dataset(train=Samples(np.zeros((6, 3)), np.arange(6)), task=None)
    spec = spec_text(REGRESSION, validation={"kfold": 3}).spec
    assert len(folds_of(spec, data, 0)) == 3


# --- a time series from training to the test set -----------------------------------------------------------


def train(folder: Path, selection: Selection = EVERYTHING, **changes: Any) -> RunDirectory:
    spec = REGRESSION | {"validation": {"time_series": 3}, "batch_size": 5}
    loaded = load_spec(write_small(folder, spec, numbers(49), **changes))
    return run_experiment(loaded, Settings("train", folder / "runs", selection=selection))


def test_folds_of_a_time_series_train_together_as_alone(tmp_path: Path) -> None:
    run = train(tmp_path)
    assert [str(member) for member in run.members()] == ["fold 0", "fold 1", "fold 2"]
    assert record_of(run.path)["folds"] == [0, 1, 2]
    together = without_seconds(run.path).splitlines()
    alone = [
        line for i in range(3) for line in without_seconds(train(tmp_path, Selection(i)).path).splitlines()
    ]
    assert sorted(together[1:]) == sorted(line for line in alone if line[:1].isdigit())
    assert (run.path / "history_mean.csv").is_file()


def test_what_follows_a_time_series(tmp_path: Path) -> None:
    run = train(tmp_path)
    scored = evaluate_run(run, split="validation")
    assert scored.analysis is not None
    assert scored.analysis.rows == 36  # 13 of 49 rows are never validated
    assert scored.combination == "out_of_fold"
    assert reproduce_run(run, runs_dir=tmp_path / "runs").identical
    final = final_of_run(run, Settings("final", tmp_path / "runs"))
    record = record_of(final.path)
    assert record["rows"]["train"] == 49
    assert record["chosen_from"]["smoothed"] is True
    assert record["test"]


def test_a_time_series_is_compared_without_a_test(tmp_path: Path) -> None:
    first, second = train(tmp_path), train(tmp_path, optimizer="adam")
    comparison = compare_runs([first, second])
    (loss, _) = comparison.pairs[0].scores
    assert loss.difference is not None
    assert loss.test is None
    assert (
        "Not tested: each fold of a time series trains on the validation rows of earlier folds, and no "
        "known test accounts for that." in notes(comparison)
    )


def test_seeds_and_repeats_do_not_go_with_a_time_series(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="this spec declares time_series"):
        train(tmp_path, Selection(seeds=2))
    path = tmp_path / "small.yaml"
    assert load_for_kfold(path).spec.validation == load_spec(path).spec.validation
    assert (
        load_for_kfold(path, k=2, repeats=1).spec.validation
        == load_spec(path, {"validation.time_series.k": 2}).spec.validation
    )
    with pytest.raises(UsageError, match="declares time_series, and time has one order"):
        load_for_kfold(path, repeats=2)
