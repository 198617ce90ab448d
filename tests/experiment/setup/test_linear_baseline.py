"""What a linear model scores on the rows of a run, computed again with scikit-learn."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.metrics import log_loss, mean_absolute_error, mean_squared_error

from nnrun.experiment.evaluating.evaluate import evaluate_run
from nnrun.experiment.finished.record_text import baseline_text, caution_text
from nnrun.experiment.running.final import final_of_run
from nnrun.experiment.running.job import Settings
from nnrun.experiment.running.train import run_experiment
from nnrun.experiment.setup import linear_baseline
from nnrun.experiment.setup.groups import Selection
from nnrun.records import RunDirectory, RunRecord
from nnrun.spec.reading.load import load_spec_text
from tests.support.small_experiments import BINARY, KFOLD, growing_tokens, load_small, numbers, yes_or_no


def run_of(folder: Path, spec: dict[str, Any] | None = None, /, **changes: Any) -> RunDirectory:
    loaded = load_small(folder, *([] if spec is None else [spec]), **changes)
    return run_experiment(loaded, Settings("train", folder / "runs"))


def record_of(folder: Path, spec: dict[str, Any] | None = None, /, **changes: Any) -> RunRecord:
    return run_of(folder, spec, **changes).read_record()


def scores_of(record: RunRecord) -> dict[str, float | None]:
    assert record.linear_baseline is not None
    return dict(record.linear_baseline.scores)


def left_out(record: RunRecord) -> str:
    assert record.linear_baseline is not None
    assert record.linear_baseline.scores == {}
    return str(record.linear_baseline.left_out)


def standardized(train: np.ndarray, *others: np.ndarray) -> list[np.ndarray]:
    mean, std = train.mean(0), train.std(0)
    return [(part - mean) / std for part in (train, *others)]


def test_ridge_on_the_validation_rows(tmp_path: Path) -> None:
    record, data = record_of(tmp_path), numbers()
    train, valid = standardized(data["x_train"][16:], data["x_train"][:16])
    predicted = Ridge(alpha=1).fit(train, data["y_train"][16:]).predict(valid)
    expected = {
        "loss": mean_squared_error(data["y_train"][:16], predicted),
        "mae": mean_absolute_error(data["y_train"][:16], predicted),
    }
    assert scores_of(record) == pytest.approx(expected, rel=1e-4)
    assert record.baseline_on == "validation"


def test_standardized_targets_have_metrics_in_their_own_units(tmp_path: Path) -> None:
    preprocessing = {"inputs": "standardize", "targets": "standardize"}
    record, data = record_of(tmp_path, preprocessing=preprocessing), numbers()
    train, valid = standardized(data["x_train"][16:], data["x_train"][:16])
    y, y_valid = standardized(data["y_train"][16:], data["y_train"][:16])
    predicted = Ridge(alpha=1).fit(train, y).predict(valid)
    expected = {
        "loss": mean_squared_error(y_valid, predicted),
        "mae": mean_absolute_error(y_valid, predicted) * data["y_train"][16:].std(),
    }
    assert scores_of(record) == pytest.approx(expected, rel=1e-4)


def test_logistic_regression_is_the_mean_over_folds(tmp_path: Path) -> None:
    record, data = record_of(tmp_path, BINARY, validation=KFOLD), yes_or_no()
    losses, right = [], []
    for fold in range(3):
        held = np.arange(16 * fold, 16 * fold + 16)
        rest = np.setdiff1d(np.arange(48), held)
        train, valid = standardized(data["x_train"][rest], data["x_train"][held])
        model = LogisticRegression(tol=1e-8).fit(train, data["y_train"][rest])
        losses.append(log_loss(data["y_train"][held], model.predict_proba(valid), labels=[0, 1]))
        right.append(model.score(valid, data["y_train"][held]))
    expected = {"loss": np.mean(losses), "accuracy": np.mean(right)}
    assert scores_of(record) == pytest.approx(expected, abs=1e-4)


def test_the_training_rows_where_none_validate(tmp_path: Path) -> None:
    record, data = record_of(tmp_path, validation="none"), numbers()
    (train,) = standardized(data["x_train"])
    model = Ridge(alpha=1).fit(train, data["y_train"])
    loss = mean_squared_error(data["y_train"], model.predict(train))
    assert scores_of(record)["loss"] == pytest.approx(loss, rel=1e-4)


def test_seeds_that_split_alike_have_the_same_model(tmp_path: Path) -> None:
    settings = Settings("train", tmp_path / "runs", selection=Selection(seeds=2))
    seeds = run_experiment(load_small(tmp_path), settings).read_record()
    assert scores_of(seeds) == pytest.approx(scores_of(record_of(tmp_path)), rel=1e-9)


def test_the_test_rows_of_a_final_run_and_of_evaluate(tmp_path: Path) -> None:
    run = run_of(tmp_path)
    final = final_of_run(run, Settings("final", tmp_path / "runs")).read_record()
    data = numbers()
    train, test = standardized(data["x_train"], data["x_test"])
    predicted = Ridge(alpha=1).fit(train, data["y_train"]).predict(test)
    assert scores_of(final)["mae"] == pytest.approx(mean_absolute_error(data["y_test"], predicted), rel=1e-4)
    evaluation = evaluate_run(run, split="validation")
    assert evaluation.linear_baseline is not None
    own = scores_of(run.read_record())
    assert dict(evaluation.linear_baseline.scores) == pytest.approx(own, rel=1e-6)


def test_several_outputs_have_a_model_each(tmp_path: Path) -> None:
    data = numbers()
    columns = {name: data["x_train"][:, n] for n, name in enumerate("abc")}
    table = pd.DataFrame({**columns, "number": data["y_train"], "yes": (data["y_train"] > 3).astype(int)})
    table.to_csv(tmp_path / "table.csv", index=False)
    spec = {
        "dataset": {"csv": {"path": "table.csv"}},
        "preprocessing": {"inputs": "standardize"},
        "layers": {"number": [{"dense": 1}], "yes": [{"dense": {"units": 1, "activation": "sigmoid"}}]},
        "outputs": {
            "number": {"target": "number", "loss": "mse", "metrics": ["mae"]},
            "yes": {"target": "yes", "loss": "binary_crossentropy", "metrics": ["accuracy"]},
        },
        "validation": {"holdout": {"first": 16}},
    }
    loaded = load_spec_text(json.dumps(spec), file="small.yaml", base=tmp_path, default_name="small")
    record = run_experiment(loaded, Settings("train", tmp_path / "runs")).read_record()
    found = scores_of(record)
    assert list(found) == ["loss", "number_loss", "number_mae", "yes_loss", "yes_accuracy"]
    assert found["loss"] == pytest.approx((found["number_loss"] or 0) + (found["yes_loss"] or 0))
    train, valid = standardized(data["x_train"][16:], data["x_train"][:16])
    predicted = Ridge(alpha=1).fit(train, data["y_train"][16:]).predict(valid)
    mae = mean_absolute_error(data["y_train"][:16], predicted)
    assert found["number_mae"] == pytest.approx(mae, rel=1e-4)
    assert "ridge regression (alpha = 1) and logistic regression" in baseline_text(record)


# --- where there is none -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        (
            {"loss": "poisson", "layers": [{"dense": {"units": 1, "activation": "exponential"}}]},
            "the loss poisson",
        ),
        (
            {"layers": [{"dense": {"units": 1, "activation": "relu"}}]},
            "there is none for the loss mse after the activation relu",
        ),
    ],
)
def test_a_loss_that_none_is_for(tmp_path: Path, changes: dict[str, Any], why: str) -> None:
    arrays = {name: np.abs(a) for name, a in numbers().items()}
    record = record_of(tmp_path, arrays=arrays, **changes)
    assert why in left_out(record)
    assert baseline_text(record).endswith(f"No linear model beside it: {left_out(record)}.")


def test_rows_of_indices(tmp_path: Path) -> None:
    changes: dict[str, Any] = {
        "preprocessing": {"inputs": {"pad": 5}},
        "layers": [{"embedding": 4}, "flatten", {"dense": {"units": 1, "activation": "sigmoid"}}],
        "validation": {"holdout": {"first": 8}},
    }
    record = record_of(tmp_path, BINARY, arrays=growing_tokens(), **changes)
    assert left_out(record) == "the input is rows of indices, which only an embedding can read"


def test_words_as_columns_are_sparse_rows(tmp_path: Path) -> None:
    changes: dict[str, Any] = {
        "preprocessing": {"inputs": "multi_hot"}, "validation": {"holdout": {"first": 8}},
    }  # fmt: skip
    found = scores_of(record_of(tmp_path, BINARY, arrays=growing_tokens(), **changes))
    assert found.keys() == {"loss", "accuracy"}


def test_a_size_above_the_limit_and_that_it_can_be_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(linear_baseline, "MOST_SECONDS", 0)
    assert "linear_baseline: true in the spec fits it" in left_out(record_of(tmp_path))
    assert "it would take about " in left_out(record_of(tmp_path))
    assert scores_of(record_of(tmp_path, linear_baseline=True))


def test_the_time_of_sparse_rows_that_are_not_counted_yet_is_told_as_a_bound(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(linear_baseline, "MOST_SECONDS", 0)
    changes: dict[str, Any] = {
        "preprocessing": {"inputs": "multi_hot"}, "validation": {"holdout": {"first": 8}},
    }  # fmt: skip
    record = record_of(tmp_path, BINARY, arrays=growing_tokens(), **changes)
    assert "it would take more than " in left_out(record)


def test_it_can_be_switched_off_and_changes_nothing_else(tmp_path: Path) -> None:
    with_it, without = run_of(tmp_path), run_of(tmp_path, linear_baseline=False)
    record = without.read_record()
    assert record.linear_baseline is None
    assert record.not_better_than_linear == {}
    assert record.last == with_it.read_record().last
    assert "linear_baseline" not in with_it.read_resolved()


# --- what is said ------------------------------------------------------------------------------------------


def test_a_network_that_a_line_beats_is_told_first(tmp_path: Path) -> None:
    changes = {"optimizer": {"adam": {"learning_rate": 0.02}}, "epochs": 20}
    record = record_of(tmp_path, **changes)
    assert record.not_better_than_linear.keys() == {"loss", "mae"}
    text = caution_text(record).splitlines()
    assert text[0].startswith("The network does not beat ridge regression (alpha = 1): loss ")
    assert text[1] == (
        "Try more epochs (it was still improving) or the linear model itself, layers: [dense: 1]."
    )


def test_a_score_that_a_constant_reaches_is_told_once(tmp_path: Path) -> None:
    record = record_of(tmp_path, epochs=3)
    assert record.not_better_than_linear.keys() == record.not_better_than_baseline.keys() == {"loss", "mae"}
    text = caution_text(record).splitlines()
    assert text[0].startswith("The network does not beat the best constant: loss ")
    assert text[1].startswith("Try ")


def test_inputs_that_are_not_scaled_are_named(tmp_path: Path) -> None:
    arrays = {name: a * 100 if name.startswith("x") else a for name, a in numbers().items()}
    record = record_of(tmp_path, arrays=arrays, preprocessing={})
    assert record.linear_baseline is not None
    assert record.linear_baseline.unscaled
    assert "inputs: standardize (some are far larger than 1)" in str(record.advice)


def test_a_network_that_beats_it_is_not_told(tmp_path: Path) -> None:
    rng = np.random.RandomState(0)
    x = rng.normal(size=(120, 2))
    arrays = {"x_train": x, "y_train": np.abs(x[:, 0]) + np.abs(x[:, 1])}  # no line
    changes: dict[str, Any] = {
        "layers": [{"dense": {"units": 32, "activation": "relu"}}, {"dense": 1}],
        "optimizer": {"adam": {"learning_rate": 0.02}},
        "epochs": 40,
    }
    record = record_of(tmp_path, arrays=arrays, **changes)
    assert record.not_better_than_linear == {}
    assert caution_text(record) == ""
