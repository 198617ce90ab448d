"""When scores of two runs mean the same, and what is said when they do not."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from nnrun.data import load_dataset
from nnrun.experiment.evaluating.compare import other_data, other_validation_rows, overlap
from nnrun.experiment.finished.run_scores import RunScores, read_run_scores
from nnrun.experiment.setup.folds import folds_of
from nnrun.spec.comparing.comparable_scores import other_measure, other_rows
from nnrun.spec.reading.load import load_spec_text
from nnrun.spec.schema import ExperimentSpec
from tests.support.runs_on_disk import DATA, scored_run, scores_of
from tests.support.small_experiments import load_small

KFOLD: dict[str, Any] = {"validation": {"kfold": 4}}
SHUFFLED: dict[str, Any] = {"validation": {"kfold": {"k": 4, "shuffle": True}}}
FRACTION: dict[str, Any] = {"validation": {"holdout": {"fraction": 0.25}}}


def run(
    folder: Path, id_: str, spec: dict[str, Any] | None = None, kind: Any = None, **record: Any
) -> RunScores:
    return read_run_scores(scored_run(folder, id_, scores_of(0.5), spec=spec, kind=kind, **record))


@pytest.mark.parametrize(
    ("changes", "record", "reason"),
    [
        ({}, {}, None),
        ({"dataset": {"imdb": {"num_words": 500, "skip_top": 3}}}, {}, None),
        ({"optimizer": "adam", "seed": 5, "epochs": 9}, {}, None),
        ({"dataset": {"imdb": {"maxlen": 80}}}, {}, "dataset.imdb.maxlen differs"),
        ({"dataset": {"npz": "imdb.npz"}}, {}, "dataset differs"),
        (
            {},
            {"data": [{**DATA[0], "sha256": "bb"}]},
            "they were trained on different data (the recorded hashes or numbers of rows differ)",
        ),
        (
            {},
            {"data": [{**DATA[0], "rows": 3}]},
            "they were trained on different data (the recorded hashes or numbers of rows differ)",
        ),
        ({}, {"data": [{**DATA[0], "name": "renamed.npz"}]}, None),
        ({}, {"smoke": True}, "one of the two is a smoke run, on a few rows"),
    ],
)
def test_other_data(
    tmp_path: Path, changes: dict[str, Any], record: dict[str, Any], reason: str | None
) -> None:
    a, b = run(tmp_path, "a"), run(tmp_path, "b", changes, **record)
    assert other_data(a, b) == other_data(b, a) == reason
    assert other_validation_rows(a, b) == reason


@pytest.mark.parametrize(
    ("first", "second", "reason"),
    [
        ({}, {"validation": {"holdout": {"first": 50}}}, "validation.holdout.first differs"),
        ({}, KFOLD, "validation differs"),
        (KFOLD, {"validation": {"kfold": 5}}, "validation.kfold.k differs"),
        (KFOLD, {**KFOLD, "seed": 1}, None),
        (SHUFFLED, {**SHUFFLED, "seed": 1}, "the seed draws the folds, and the seeds differ"),
        (SHUFFLED, {"validation": {"kfold": {"k": 4, "shuffle": True, "repeats": 3}}}, None),
        (FRACTION, {**FRACTION, "seed": 1}, None),  # networks of one seed have the same rows
    ],
)
def test_other_validation_rows(
    tmp_path: Path, first: dict[str, Any], second: dict[str, Any], reason: str | None
) -> None:
    a, b = run(tmp_path, "a", first), run(tmp_path, "b", second)
    assert other_validation_rows(a, b) == other_validation_rows(b, a) == reason


@pytest.mark.parametrize(
    "validation",
    [
        {"holdout": {"first": 16}},
        {"holdout": {"fraction": 0.25}},
        {"holdout": {"fraction": 0.25, "shuffle": False}},
        {"kfold": {"k": 3}},
        {"kfold": {"k": 3, "shuffle": True}},
    ],
)
def test_the_seed_draws_the_rows_where_it_is_said_to(tmp_path: Path, validation: dict[str, Any]) -> None:
    spec = load_small(tmp_path, validation=validation).spec
    dataset = load_dataset(spec.dataset)
    one, other = (folds_of(spec, dataset, seed)[0].validation_rows for seed in (0, 1))
    assert spec.validation.drawn_by_seed is not np.array_equal(one, other)


@pytest.mark.parametrize("validation", [{"kfold": {"k": 4}}, {"holdout": {"fraction": 0.25}}])
def test_overlap_is_validation_rows_per_training_row(tmp_path: Path, validation: dict[str, Any]) -> None:
    spec = load_small(tmp_path, validation=validation).spec
    fold = folds_of(spec, load_dataset(spec.dataset), 0)[0]
    scores = run(tmp_path, "a", {"validation": validation})
    assert overlap(scores) == pytest.approx(len(fold.validation_rows) / len(fold.train_rows))


def test_networks_with_the_same_validation_rows_do_not_overlap(tmp_path: Path) -> None:
    assert overlap(run(tmp_path, "a")) == 0
    assert overlap(run(tmp_path, "b", {"validation": {"holdout": {"fraction": 0.2, "shuffle": False}}})) == 0


def dense(**parameters: Any) -> dict[str, Any]:
    return {"layers": [{"dense": {"units": 1, "activation": "sigmoid", **parameters}}]}


L2 = {"kernel_regularizer": {"l2": 0.1}}


@pytest.mark.parametrize(
    ("measure", "first", "second", "reason"),
    [
        ("loss", {}, {"optimizer": "sgd"}, None),
        ("loss", {}, {"loss": "mse"}, "the losses are different ones"),
        ("accuracy", {}, {"loss": "mse"}, None),
        (
            "loss",
            dense(),
            dense(**L2),
            "the loss includes the regularizers' penalty, and the regularizers differ",
        ),
        ("loss", dense(**L2), dense(**L2), None),
        ("loss", {}, dense(), None),
        ("accuracy", dense(), dense(**L2), None),
        (
            "precision",
            {"metrics": ["precision"]},
            {"metrics": [{"precision": 0.9}]},
            "the metric's parameters differ",
        ),
        (
            "precision",
            {"metrics": ["accuracy", "precision"]},
            {"metrics": [{"precision": 0.5}]},
            None,
        ),
    ],
)
def test_other_measures(
    tmp_path: Path, measure: str, first: dict[str, Any], second: dict[str, Any], reason: str | None
) -> None:
    a, b = run(tmp_path, "a", first), run(tmp_path, "b", second)
    assert other_measure(a.spec, b.spec, measure) == other_measure(b.spec, a.spec, measure) == reason


def test_a_loss_that_takes_classes_as_indices_is_the_same_loss(tmp_path: Path) -> None:
    topics = {"dataset": "reuters", "layers": [{"dense": {"units": 46, "activation": "softmax"}}]}
    one_hot = run(tmp_path, "a", {**topics, "loss": "categorical_crossentropy"})
    index = run(tmp_path, "b", {**topics, "loss": "sparse_categorical_crossentropy"})
    assert other_measure(one_hot.spec, index.spec, "loss") is None


def test_the_loss_of_standardized_targets_has_other_units(tmp_path: Path) -> None:
    price = {"dataset": "boston_housing", "layers": [{"dense": 1}], "loss": "mse", "metrics": ["mae", "r2"]}
    a = run(tmp_path, "a", {**price, "preprocessing": {"inputs": "standardize"}})
    b = run(tmp_path, "b", {**price, "preprocessing": {"inputs": "standardize", "targets": "standardize"}})
    units = "only one of the two standardizes the targets, so that the units of the loss differ"
    found = [other_measure(a.spec, b.spec, measure) for measure in ("loss", "mae", "r2")]
    assert found == [units, None, None]


@pytest.mark.parametrize("metric", ["precision", "recall", "f1", "average_precision"])
def test_a_metric_of_one_output_is_no_mean_over_classes(tmp_path: Path, metric: str) -> None:
    two = {
        "layers": [{"dense": {"units": 2, "activation": "softmax"}}],
        "loss": "sparse_categorical_crossentropy",
    }
    one = run(tmp_path, "a", {**dense(), "metrics": [metric]})
    several = run(tmp_path, "b", {**two, "metrics": [metric]})
    assert "that of the positive class" in (other_measure(one.spec, several.spec, metric) or "")


HEADS = """
dataset: {csv: {path: rows.csv}}
inputs: {x: {columns: [a, b]}}
layers: {price: [from: x, dense: 1], size: [from: x, dense: 1]}
outputs: {price: {loss: mse, metrics: [mae]}, size: {loss: mse, metrics: [mae]}}
optimizer: adam
"""
HEAD = """
dataset: {csv: {path: rows.csv}}
inputs: {x: {columns: [a, b]}}
layers: {price: [from: x, dense: 1]}
outputs: {price: {loss: mse, metrics: [mae]}}
optimizer: adam
"""


def test_an_output_of_several_compares_with_one_that_is_learned_alone(tmp_path: Path) -> None:
    """Unless rows are dropped by their targets, or the output has another target."""

    def spec(text: str, *changes: str) -> ExperimentSpec:
        return load_spec_text(text, file="s.yaml", base=tmp_path, default_name="s", overrides=changes).spec

    both, alone = spec(HEADS), spec(HEAD)
    assert other_rows(both, alone) is None
    assert other_measure(both, alone, "price_mae") is None
    assert other_measure(both, alone, "size_mae") == "only one of the two has this output"
    assert other_measure(both, alone, "loss") == "the outputs differ, or what their losses count in the total"
    cost = spec(HEAD, "outputs.price.target=cost")
    assert other_measure(both, cost, "price_mae") == "the output has another target"
    dropping = "dataset.csv.drop_missing_target=true"
    assert other_rows(spec(HEADS, dropping), spec(HEAD, dropping)) == "dataset.csv.target differs"
