"""target_mean in whole runs: training rows have other rows' means, whoever trains beside them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import nnrun
from nnrun.data.load_data import load_data
from nnrun.experiment.setup.groups import Selection, prepare_groups, training_problem
from nnrun.lazy_torch import torch
from nnrun.model.inputs import DenseInputs
from nnrun.spec.reading.load import load_spec

SPEC = """
dataset: {csv: {path: FOLDER/flats.csv, target: dear}}
preprocessing: {inputs: [{target_mean: {columns: street}}]}
layers: [{dense: {units: 8, activation: relu}}, {dense: {units: 1, activation: sigmoid}}]
loss: binary_crossentropy
metrics: [accuracy]
epochs: 3
batch_size: 32
validation: {kfold: {k: 3, shuffle: true}}
"""


@pytest.fixture
def spec(tmp_path: Path) -> Path:
    """200 flats in 60 streets; whether one is dear follows from nothing."""
    rng = np.random.default_rng(0)
    columns = {"rooms": rng.normal(size=200), "street": [f"s{place}" for place in rng.integers(0, 60, 200)]}
    dear = np.where(rng.integers(0, 2, 200) == 1, "yes", "no")
    pd.DataFrame({**columns, "dear": dear}).to_csv(tmp_path / "flats.csv", index=False)
    path = tmp_path / "s.yaml"
    path.write_text(SPEC.replace("FOLDER", str(tmp_path)), encoding="utf-8")
    return path


def test_training_rows_say_nothing_of_their_target_and_validation_rows_are_new_rows(spec: Path) -> None:
    own = load_spec(spec).spec
    dataset = load_data(own, data_dir=None, smoke=False, on_message=print)
    (group,) = prepare_groups(own, dataset)
    problem = training_problem(own, group, dataset, torch.device("cpu"))
    (inputs,) = problem.inputs.values()
    assert isinstance(inputs, DenseInputs)
    assert inputs.x_SNF.shape == (3, 200, 2)  # each fold has rows of its own
    target = np.asarray(dataset.train.targets, np.float64)
    for replica, member in enumerate(group.members):
        trained = inputs.x_SNF[replica].numpy()[:, 1]
        new = member.fitted.input.transform(dataset.train.inputs).to_dense()[:, 1]
        rows, fold = member.fold.train_rows, member.fold.validation_rows
        np.testing.assert_array_equal(trained[fold], new[fold])
        # Of 60 streets of two or three training rows each the mean with a row's own target gives it away.
        assert np.corrcoef(new[rows], target[rows])[0, 1] > 0.4
        assert np.corrcoef(trained[rows], target[rows])[0, 1] < 0.1


def test_a_fold_alone_is_the_fold_among_others(spec: Path, tmp_path: Path) -> None:
    whole = nnrun.kfold(spec, runs_dir=tmp_path / "whole")
    alone = nnrun.kfold(spec, fold=1, runs_dir=tmp_path / "alone")
    for name in ("weights.safetensors", "preprocessing.json"):
        found = [sorted(run.path.glob(f"**/fold-1/{name}")) for run in (whole, alone)]
        assert [len(each) for each in found] == [1, 1]
        assert found[0][0].read_bytes() == found[1][0].read_bytes()


def test_seeds_have_parts_of_their_own(spec: Path) -> None:
    spec.write_text(spec.read_text().replace("{kfold: {k: 3, shuffle: true}}", "{holdout: {first: 50}}"))
    own = load_spec(spec).spec
    dataset = load_data(own, data_dir=None, smoke=False, on_message=print)
    (group,) = prepare_groups(own, dataset, Selection(seeds=2))
    problem = training_problem(own, group, dataset, torch.device("cpu"))
    (inputs,) = problem.inputs.values()
    assert isinstance(inputs, DenseInputs)
    first, second = inputs.x_SNF.numpy()
    np.testing.assert_array_equal(first[:50], second[:50])
    assert (first[50:] != second[50:]).any()
