"""What a summary says before the scores: a constant does as well, or a score is close to perfect."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import nnrun
from nnrun.experiment.finished.record_text import caution_text, no_better_text
from nnrun.experiment.setup.cautions import not_better
from nnrun.records.run_record import RunRecord
from tests.support.small_experiments import spec_text


def trained(folder: Path, table: pd.DataFrame, **changes: Any) -> nnrun.Run:
    table.to_csv(folder / "rows.csv", index=False)
    spec = {
        "dataset": {"csv": {"path": str(folder / "rows.csv"), "target": "y"}},
        "layers": [{"dense": 1}],
        "loss": "mse",
        "optimizer": {"adam": {"learning_rate": 0.1}},
        "metrics": ["mae", "r2"],
        "epochs": 40,
        **changes,
    }
    (folder / "spec.yaml").write_text(json.dumps(spec))
    return nnrun.train(folder / "spec.yaml", runs_dir=folder / "runs")


@pytest.mark.parametrize(
    ("scores", "baseline", "changes", "expected"),
    [
        ({"accuracy": 0.9945}, {"accuracy": 0.9953}, {}, {"accuracy": [0.9945, 0.9953]}),
        ({"accuracy": 0.9953}, {"accuracy": 0.9953}, {}, {"accuracy": [0.9953, 0.9953]}),
        ({"accuracy": 0.9954}, {"accuracy": 0.9953}, {}, {}),
        ({"mae": 7.65, "loss": 1.0}, {"mae": 3.61, "loss": 2.0}, {}, {"mae": [7.65, 3.61]}),
        ({"recall": 0.8}, {"recall": 1.0}, {}, {}),  # who always says yes misses none
        ({"auc": math.nan}, {"auc": math.nan}, {}, {}),
        (  # weights of classes cost accuracy; f1 says what they gain
            {"accuracy": 0.8, "f1": 0.3},
            {"accuracy": 0.96, "f1": 0.08},
            {"class_weight": "balanced"},
            {},
        ),
        (
            {"accuracy": 0.8, "f1": 0.05},
            {"accuracy": 0.96, "f1": 0.08},
            {"class_weight": "balanced"},
            {"accuracy": [0.8, 0.96], "f1": [0.05, 0.08]},
        ),
        ({"accuracy": 0.8}, {"accuracy": 0.96}, {"class_weight": "balanced"}, {"accuracy": [0.8, 0.96]}),
        (
            {"loss": 3.0},
            {"loss": 2.0},
            {"layers": [{"dense": {"units": 1, "kernel_regularizer": "l2"}}]},
            {},
        ),
    ],
)
def test_scores_that_a_constant_reaches(
    scores: dict[str, float], baseline: dict[str, float], changes: dict[str, Any], expected: Any
) -> None:
    assert not_better(scores, baseline, spec_text(**changes).spec) == expected


def test_the_sentence() -> None:
    worse = {"accuracy": [0.9945, 0.9953], "f1": [0.0, 0.01]}
    assert no_better_text(worse, several=False) == (
        "The network does not beat the best constant: accuracy 0.9945 (baseline 0.9953), "
        "f1 0.0000 (baseline 0.0100)."
    )
    assert no_better_text({}, several=True) == ""


def test_noise_is_called_noise_and_not_where_a_network_learns(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    table = pd.DataFrame({"a": rng.normal(size=80), "y": rng.normal(size=80) + 5})
    record = trained(tmp_path, table, epochs=1).record
    assert list(record["not_better_than_baseline"]) == ["loss", "mae", "r2"]
    assert caution_text(RunRecord.model_validate(record)).startswith(
        "The network does not beat the best constant: loss "
    )
    table["y"] = 3 * table["a"] + rng.normal(0, 1.5, 80)
    record = trained(tmp_path, table).record
    assert record["not_better_than_baseline"] == {}
    assert caution_text(RunRecord.model_validate(record)) == ""


def test_the_column_behind_a_score_that_is_close_to_perfect(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    table = pd.DataFrame({"a": rng.normal(size=100), "copy": rng.normal(size=100), "c": ["u", "v"] * 50})
    table["y"] = 2 * table["copy"] + 1
    record = trained(tmp_path, table, epochs=120).record
    near = record["near_perfect"]
    assert (near["score"], near["column"]) == ("r2", "copy")
    assert near["alone"] > 0.98
    text = caution_text(RunRecord.model_validate(record))
    assert "The input that predicts the target best by itself is 'copy'" in text
    assert text.endswith("if it is a copy of the target, leave it out.")


def test_a_category_that_is_the_class_is_found(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    alive = rng.choice(["yes", "no"], 100)
    table = pd.DataFrame({"a": rng.normal(size=100), "alive": alive, "y": (alive == "yes").astype(int)})
    record = trained(
        tmp_path,
        table,
        layers=[{"dense": {"units": 1, "activation": "sigmoid"}}],
        loss="binary_crossentropy",
        metrics=["accuracy"],
    ).record
    assert record["near_perfect"] == {"score": "accuracy", "value": 1.0, "column": "alive", "alone": 1.0}
