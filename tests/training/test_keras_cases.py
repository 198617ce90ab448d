"""What a whole run computes is what Keras computed from the same rows and the same first weights."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

import nnrun
from nnrun.data import load_dataset
from nnrun.experiment.running.job import Settings
from nnrun.experiment.running.train import run_experiment
from nnrun.spec.reading.load import load_spec
from tests.support.keras_case_list import ALL_CASES
from tests.support.keras_cases import (
    ANSWERS,
    CASES,
    Case,
    case_data,
    expected,
    expected_last_kernel,
    expected_marks,
    marks,
    write_case,
)

# Not Keras's columns: the epoch's number, its settings and its time.
OURS = {"epoch", "learning_rate", "seconds"}


def has_denormal_numbers() -> bool:
    return bool(np.array([1e-310]) * 1.0 > 0)


def test_every_case_has_its_answers() -> None:
    answers = json.loads(ANSWERS.read_text(encoding="utf-8"))["cases"]
    assert list(answers) == [case.name for case in ALL_CASES]


def train(case: Case, folder: Path) -> nnrun.Run:
    loaded = load_spec(write_case(case, folder))
    dataset = load_dataset(loaded.spec.dataset)
    train = replace(dataset.train, weights=case_data(case).row_weights)
    settings = Settings("train", folder / "runs")
    return nnrun.Run(run_experiment(loaded, settings, dataset=replace(dataset, train=train)).path)


@pytest.mark.parametrize("case", ALL_CASES, ids=lambda case: case.name)
def test_a_run_computes_what_keras_computed(case: Case, tmp_path: Path) -> None:
    run = train(case, tmp_path)

    history, answers = run.history, expected(case)
    assert set(history.columns) == set(answers) | OURS
    epochs = len(answers["loss"])  # early stopping may end a run before its last epoch
    assert history["epoch"].tolist() == list(range(1, epochs + 1))
    for column, values in answers.items():
        assert history[column].tolist() == pytest.approx(values, rel=1e-3, abs=1e-4), column

    weights = run.weights()
    if case.shapes:
        assert {name: value.shape for name, value in weights.items()} == case.shapes
        for name, values in expected_marks(case).items():
            assert marks(weights[name]) == pytest.approx(values, rel=2e-3, abs=2e-4), name
    kernel = weights[f"{len(case.layers) - 1}.weight"]
    assert kernel == pytest.approx(expected_last_kernel(case), rel=1e-3, abs=1e-4)


def test_a_run_leaves_the_arithmetic_of_its_process_as_it_was(tmp_path: Path) -> None:
    """Who calls `nnrun.train` may need the smallest numbers of a float afterwards: hypothesis does."""
    torch.set_num_threads(2)
    assert has_denormal_numbers()
    nnrun.train(write_case(CASES[0], tmp_path), runs_dir=tmp_path / "runs")
    assert has_denormal_numbers()
    assert torch.get_num_threads() == 2
