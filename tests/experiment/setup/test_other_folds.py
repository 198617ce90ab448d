"""A column that splits the rows is no input, whatever becomes of the validation later."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from nnrun.data.load_data import load_data
from nnrun.errors import DataError, SpecError
from nnrun.experiment.running.final import final_of_run, final_of_spec
from nnrun.experiment.running.job import Settings
from nnrun.experiment.running.train import run_experiment
from nnrun.experiment.setup.folds import load_for_kfold
from nnrun.records import RunDirectory
from nnrun.spec import schema
from nnrun.spec.reading.load import LoadedSpec, load_spec
from tests.support.small_experiments import record_of, without_seconds

ROWS = 60


@pytest.fixture
def spec(tmp_path: Path) -> Path:
    """Rows of ten sites over some days, with a number to predict."""
    rng = np.random.RandomState(0)
    lines = ["day,site,a,b,y"]
    for row in range(ROWS):
        a, b = rng.normal(size=2)
        lines.append(f"2026-{row % 12 + 1:02d}-{row % 28 + 1:02d},s{row % 10},{a:.3f},{b:.3f},{a - b:.3f}")
    (tmp_path / "sites.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    path = tmp_path / "sites.yaml"
    path.write_text(
        "dataset: {csv: {path: sites.csv, target: y, test: {fraction: 0.2}}}\n"
        "preprocessing: {inputs: [standardize]}\n"
        "layers: [{dense: 1}]\nloss: mse\nmetrics: [mae]\nepochs: 2\nbatch_size: 8\n",
        encoding="utf-8",
    )
    return path


def load(spec: Path, validation: Any) -> LoadedSpec:
    return load_spec(spec, {"validation": validation})


def train(loaded: LoadedSpec, folder: Path) -> RunDirectory:
    return run_experiment(loaded, Settings("train", folder / "runs"))


BY_SITE = {"kfold": {"k": 3, "group": "site"}}
BY_DAY = {"time_series": {"k": 3, "column": "day"}}
BY_VALUE = {"holdout": {"column": "site", "value": "s3"}}


@pytest.mark.parametrize(
    ("validation", "inputs"),
    [
        (BY_SITE, ("day", "a", "b")),
        (BY_DAY, ("site", "a", "b")),
        (BY_VALUE, ("day", "a", "b")),
        ("none", ("day", "site", "a", "b")),
    ],
)
def test_what_splits_is_no_input(spec: Path, validation: Any, inputs: tuple[str, ...]) -> None:
    assert load_data(load(spec, validation).spec).feature_names == inputs


def test_an_input_that_the_spec_names_stays_one(spec: Path) -> None:
    loaded = load_spec(spec, {"validation": BY_DAY, "dataset.csv.inputs": ["day", "a"]})
    assert load_data(loaded.spec).feature_names == ("day", "a")


@pytest.mark.parametrize("validation", [BY_SITE, BY_DAY, BY_VALUE])
def test_the_final_network_has_the_inputs_that_were_validated(
    spec: Path, validation: Any, tmp_path: Path
) -> None:
    loaded = load(spec, validation)
    inputs = list(load_data(loaded.spec).feature_names or ())
    run = train(loaded, tmp_path)
    for final in (
        final_of_run(run, Settings("final", tmp_path / "runs")),
        final_of_spec(loaded, Settings("final", tmp_path / "runs")),
    ):
        assert load_spec(final.path / "resolved.yaml").spec.dataset.inputs == inputs  # type: ignore[union-attr]


def test_no_site_is_on_both_sides(spec: Path, tmp_path: Path) -> None:
    run = train(load(spec, {"kfold": {"k": 3, "group": "site", "shuffle": True}}), tmp_path)
    assert record_of(run.path)["folds"] == [0, 1, 2]


def test_kfold_leaves_the_inputs_as_they_are(spec: Path) -> None:
    text = spec.read_text(encoding="utf-8")
    spec.write_text(text + "validation: {holdout: {column: site, value: s3}}\n", encoding="utf-8")
    loaded = load_for_kfold(spec, k=5)
    assert loaded.spec.validation.kind == "kfold"
    assert load_data(loaded.spec).feature_names == ("day", "a", "b")


def test_folds_in_time_are_the_same_every_time(spec: Path, tmp_path: Path) -> None:
    loaded = load(spec, BY_DAY)
    assert without_seconds(train(loaded, tmp_path).path) == without_seconds(train(loaded, tmp_path).path)


def test_a_column_that_is_not_there(spec: Path) -> None:
    with pytest.raises(
        DataError, match=r"has no column 'sit', which `validation` names\. Did you mean 'site'"
    ):
        load_data(load(spec, {"kfold": {"k": 3, "group": "sit"}}).spec)


def test_a_value_that_does_not_occur(spec: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"no training row has 's77' in column 'site'\. It holds 's0', 's1'"):
        train(load(spec, {"holdout": {"column": "site", "value": "s77"}}), tmp_path)
    assert not (tmp_path / "runs").exists()


def test_what_only_lacks_folds_is_accepted_where_they_take_the_place_of_the_validation(
    tmp_path: Path,
) -> None:
    spec = {
        "dataset": {"sklearn": "breast_cancer"},
        "layers": [{"dense": {"units": 1, "activation": "sigmoid"}}],
        "loss": "binary_crossentropy",
        "calibrate": "temperature",
        "threshold": {"maximize": "f1"},
        "early_stopping": {"patience": 3},
        "validation": "none",
    }
    path = tmp_path / "spec.yaml"
    path.write_text(json.dumps(spec))
    assert isinstance(load_for_kfold(path).spec.validation, schema.KFold)
    with pytest.raises(SpecError, match="calibrate is fitted on rows that the network was not trained on"):
        load_spec(path)
    path.write_text(json.dumps({**spec, "layers": [{"dense": 2}]}))
    with pytest.raises(SpecError, match="calibrate takes probabilities"):
        load_for_kfold(path)
