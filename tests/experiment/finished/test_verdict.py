"""What a history amounts to, computed again from tables small enough to see it."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import scipy.stats

import nnrun
from nnrun.data import Samples
from nnrun.experiment.finished.cautions import cautions, not_better
from nnrun.experiment.finished.nested_text import by_rows_text
from nnrun.experiment.finished.record_text import caution_text, no_better_text
from nnrun.experiment.finished.verdict import interval_of, pooled_rows, verdict
from nnrun.records.run_record import RunRecord
from nnrun.spec.reading.load import load_spec
from nnrun.spec.schema import ExperimentSpec
from nnrun.spec.score_columns import chooser
from nnrun.validation.summary import MORE_EPOCHS
from tests.support.history_tables import history_table
from tests.support.small_experiments import BINARY, KFOLD, load_small, spec_text


def verdict_keys(table: pd.DataFrame, spec: ExperimentSpec) -> dict[str, Any]:
    """The keys of run.json that follow from a history."""
    found = verdict(history_table(table), spec).to_json()
    del found["version"]
    return found


def history(**columns: list[float]) -> pd.DataFrame:
    epochs = len(next(iter(columns.values())))
    ending = {"learning_rate": [0.001] * epochs, "seconds": [0.5] * epochs}
    return pd.DataFrame({"epoch": range(1, epochs + 1), **columns, **ending})


def folds_history(*folds: pd.DataFrame) -> pd.DataFrame:
    return pd.concat([table.assign(fold=fold) for fold, table in enumerate(folds)], ignore_index=True)


@pytest.mark.parametrize(
    ("changes", "column"),
    [
        ({"validation": "none"}, None),
        ({}, "val_loss"),
        ({"validation": KFOLD}, "val_loss"),
        ({"early_stopping": {"monitor": "val_mae"}}, "val_mae"),
        ({"early_stopping": {"monitor": "loss"}}, "val_loss"),  # a training loss chooses no epoch
    ],
)
def test_which_column_chooses_the_best_epoch(changes: dict[str, Any], column: str | None) -> None:
    assert chooser(spec_text(**changes).spec) == column


def test_a_run_with_a_holdout() -> None:
    table = history(loss=[3, 2, 1, 0.5], mae=[4, 3, 2, 1], val_loss=[5, 4, 6, 7], val_mae=[6, 6, 5, 7])
    assert verdict_keys(table, spec_text().spec) == {
        "best_epoch": 2,
        "best": {"loss": 2, "mae": 3, "val_loss": 4, "val_mae": 6},
        "last": {"loss": 0.5, "mae": 1, "val_loss": 7, "val_mae": 7},
        "chosen_by": "val_loss",
        "smoothed_over": None,
        "verdict": "val_loss was best at epoch 2; after that, the network kept improving on the "
        "training set only (overfitting).",
    }


def test_early_stopping_s_column_chooses() -> None:
    table = history(loss=[3, 2, 1, 0.5], val_loss=[5, 4, 6, 7], val_mae=[6, 6, 5, 7])
    found = verdict_keys(table, spec_text(early_stopping={"monitor": "val_mae", "patience": 9}).spec)
    assert (found["best_epoch"], found["chosen_by"]) == (3, "val_mae")
    assert found["best"] == {"loss": 1, "val_loss": 6, "val_mae": 5}


def test_a_run_without_validation_has_no_best_epoch() -> None:
    table = history(loss=[3, 2], mae=[4, 3])
    assert verdict_keys(table, spec_text(validation="none").spec) == {
        "best_epoch": None,
        "best": {},
        "last": {"loss": 2, "mae": 3},
        "chosen_by": None,
        "verdict": None,
    }


def test_a_run_that_never_had_a_number() -> None:
    found = verdict_keys(history(loss=[math.nan], val_loss=[math.nan]), spec_text().spec)
    assert (found["best_epoch"], found["best"]) == (None, {})
    assert found["verdict"] == "val_loss was never a finite number."


def test_the_best_epoch_of_a_kfold_is_that_of_the_mean() -> None:
    """Fold 0 alone would choose epoch 3, fold 1 epoch 1; their mean is lowest in epoch 2."""
    first = history(loss=[3, 2, 1], val_loss=[9.0, 4.0, 3.0])
    second = history(loss=[5, 2, 3], val_loss=[1.0, 2.0, 8.0])
    found = verdict_keys(folds_history(first, second), spec_text(validation=KFOLD).spec)
    assert found["best_epoch"] == 2
    assert found["best"] == {"loss": 2, "val_loss": 3}
    assert found["last"] == {"loss": 2, "val_loss": 5.5}
    assert found["best_std"] == pytest.approx({"loss": 0, "val_loss": math.sqrt(2)})


def test_the_interval_of_the_mean_is_student_s() -> None:
    losses = [14.0, 15.0, 19.0]
    tables = [history(loss=[1.0], val_loss=[value]) for value in losses]
    found = verdict_keys(folds_history(*tables), spec_text(validation=KFOLD).spec)
    expected = scipy.stats.t.interval(0.95, 2, loc=16, scale=np.std(losses, ddof=1) / math.sqrt(3))
    assert found["best_interval"]["val_loss"] == pytest.approx(expected)
    assert found["best_interval"]["loss"] == pytest.approx((1, 1))


def test_the_interval_goes_no_further_than_the_measure() -> None:
    tables = [history(loss=[1.0], val_loss=[value], val_accuracy=[1 - value / 10]) for value in (0.1, 5.0)]
    spec = spec_text(BINARY, validation=KFOLD).spec
    found = verdict_keys(folds_history(*tables), spec)["best_interval"]
    assert found["val_loss"][0] == 0
    assert found["val_accuracy"][1] == 1


def test_the_interval_of_an_output_goes_no_further_than_its_measure() -> None:
    outputs = {
        "kind": {"loss": "binary_crossentropy", "metrics": ["accuracy", "mcc"]},
        "size": {"loss": "poisson", "metrics": ["mae", "r2"]},
    }
    layers = {
        "kind": [{"dense": {"units": 1, "activation": "sigmoid"}}],
        "size": [{"dense": {"units": 1, "activation": "exponential"}}],
    }
    spec = spec_text(
        {"dataset": {"npz": {"path": "data.npz"}}, "outputs": outputs, "layers": layers, "epochs": 1},
        validation=KFOLD,
    ).spec
    columns = ("kind_accuracy", "kind_mcc", "size_mae", "size_r2", "kind_loss", "size_loss", "loss")
    tables = [history(loss=[1.0], **{f"val_{name}": [value] for name in columns}) for value in (0.1, 0.9)]
    found = verdict_keys(folds_history(*tables), spec)["best_interval"]
    ends = {name: (found[f"val_{name}"][0] < 0, found[f"val_{name}"][1] > 1) for name in columns}
    assert ends == {
        "kind_accuracy": (False, False),
        "kind_mcc": (True, False),
        "size_mae": (False, True),
        "size_r2": (True, False),
        "kind_loss": (False, True),
        "size_loss": (True, True),
        "loss": (True, True),
    }
    assert found["val_kind_mcc"][0] == -1


def test_one_fold_alone_has_no_deviation() -> None:
    table = history(loss=[3, 2], val_loss=[9, 4]).assign(fold=2)
    found = verdict_keys(table, spec_text(validation=KFOLD).spec)
    assert (found["best_epoch"], found["best"]) == (2, {"loss": 2, "val_loss": 4})
    assert "best_std" not in found
    assert "best_interval" not in found


def test_an_epoch_that_some_folds_did_not_reach_is_not_chosen() -> None:
    """Fold 1 stopped early: the lone low loss of fold 0 in epoch 3 is no mean over the folds."""
    first = history(loss=[3, 2, 1], val_loss=[9.0, 4.0, 0.1])
    second = history(loss=[3, 2], val_loss=[5.0, 6.0])
    found = verdict_keys(folds_history(first, second), spec_text(validation=KFOLD).spec)
    assert found["best_epoch"] == 2
    assert found["best"] == {"loss": 2, "val_loss": 5}
    assert found["last"] == {"loss": 2, "val_loss": 5}


def test_the_epoch_in_which_the_first_fold_stopped_is_not_called_the_last() -> None:
    """Fold 0 trained on, and more epochs were to be had: early stopping took them from fold 1."""
    first = history(loss=[3, 2, 1], val_loss=[9.0, 4.0, 0.1])
    second = history(loss=[3, 2], val_loss=[5.0, 4.9])
    stopping = {"monitor": "val_loss", "patience": 1}
    found = verdict_keys(
        folds_history(first, second), spec_text(validation=KFOLD, early_stopping=stopping).spec
    )
    assert found["best_epoch"] == 2
    assert "the last: more epochs may help" not in found["verdict"]


def test_seeds_are_summed_up_as_folds_are() -> None:
    tables = [history(loss=[3, 2, 1], val_loss=[9.0, 4.0, 8.0]), history(loss=[5, 2], val_loss=[1.0, 2.0])]
    folds = folds_history(*tables)
    found = verdict_keys(folds.rename(columns={"fold": "seed"}), spec_text().spec)
    expected = verdict_keys(folds, spec_text(validation=KFOLD).spec)
    assert [m.pop("member") for m in found["members"]] == ["seed-0", "seed-1"]
    assert [m.pop("member") for m in expected["members"]] == ["fold-0", "fold-1"]
    assert found == expected | {"verdict": found["verdict"]}
    assert (found["best_epoch"], found["last_epoch"]) == (2, 2)
    assert found["last_std"] == pytest.approx({"loss": 0, "val_loss": math.sqrt(2)})


def test_the_sentence_speaks_of_seeds() -> None:
    first = history(loss=[3, 2, 1], val_loss=[9.0, 4.0, 0.1])
    second = history(loss=[3, 2], val_loss=[5.0, 4.9])
    table = folds_history(first, second).rename(columns={"fold": "seed"})
    found = verdict_keys(table, spec_text(early_stopping={"monitor": "val_loss", "patience": 1}).spec)
    assert found["verdict"] == (
        "The smoothed mean val_loss was best at epoch 2, the last that all seeds reached; later epochs have "
        "no mean over all of them."
    )


def test_seeds_without_validation_have_a_mean_and_a_deviation() -> None:
    table = folds_history(history(loss=[3, 2]), history(loss=[5, 3])).rename(columns={"fold": "seed"})
    found = verdict_keys(table, spec_text(validation="none").spec)
    assert (found["best_epoch"], found["last"], found["last_epoch"]) == (None, {"loss": 2.5}, 2)
    assert found["last_std"] == pytest.approx({"loss": math.sqrt(0.5)})


def test_a_diverged_fold_is_not_hidden_by_the_others() -> None:
    first = history(loss=[3, 2], val_loss=[9.0, 4.0])
    second = history(loss=[3, math.nan], val_loss=[5.0, math.nan])
    found = verdict_keys(folds_history(first, second), spec_text(validation=KFOLD).spec)
    assert (found["best_epoch"], found["best"]) == (1, {"loss": 3, "val_loss": 7})
    assert found["last"]["val_loss"] is None


AUC: dict[str, Any] = {
    "layers": [{"dense": {"units": 1, "activation": "sigmoid"}}],
    "loss": "binary_crossentropy",
    "metrics": ["auc"],
    "early_stopping": {"monitor": "val_auc", "patience": 2, "restore_best": True},
}
NEEDS = "It needs rows of both classes among the validation rows."


def test_a_restored_epoch_is_not_the_best_where_the_metric_was_never_a_number() -> None:
    nothing = [math.nan] * 2
    table = history(loss=[2, 1], auc=[0.5, 0.6], val_loss=[2.0, 1.0], val_auc=nothing)
    found = verdict_keys(table, spec_text(**AUC).spec)
    assert (found["best_epoch"], found["best"]) == (None, {})
    assert found["verdict"] == f"val_auc was never a finite number. {NEEDS}"


def test_of_folds_it_says_which_never_had_a_number() -> None:
    parts = [
        history(loss=[2, 1], auc=[0.5, 0.6], val_loss=[2.0, 1.0], val_auc=values).assign(fold=fold)
        for fold, values in enumerate([[math.nan] * 2, [0.7, 0.8], [math.nan] * 2])
    ]
    spec = spec_text(**AUC, validation={"kfold": {"k": 3}}).spec
    found = verdict_keys(pd.concat(parts, ignore_index=True), spec)
    assert found["best_epoch"] is None
    assert found["verdict"] == (
        f"val_auc was never a finite number in fold 0 and fold 2, so there is no best epoch. {NEEDS}"
    )


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
    assert "best constant" not in caution_text(RunRecord.model_validate(record))


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


OUTPUTS = """
dataset: {csv: {path: rows.csv}}
inputs: {numbers: {columns: [a]}, places: {columns: [alive]}}
layers:
  trunk: [concatenate: [numbers, places], dense: 4]
  here: [from: trunk, dense: {units: 1, activation: sigmoid}]
  size: [from: trunk, dense: 1]
outputs:
  here: {target: y, loss: binary_crossentropy, metrics: [accuracy, f1], class_weight: {0: 1, 1: 1}}
  size: {loss: mse, metrics: [r2]}
optimizer: {adam: 0.05}
epochs: 30
"""


def test_the_column_behind_a_perfect_output_and_what_weighted_classes_cost(tmp_path: Path) -> None:
    """Of an output that some rows lack, beside another that is noise."""
    rng = np.random.default_rng(0)
    alive = rng.choice(["yes", "no"], 100)
    table = pd.DataFrame({"a": rng.normal(size=100), "alive": alive, "size": rng.normal(size=100)})
    table["y"] = np.where(np.arange(100) % 5 == 0, np.nan, alive == "yes")
    table.to_csv(tmp_path / "rows.csv", index=False)
    (tmp_path / "s.yaml").write_text(OUTPUTS)
    record = nnrun.train(tmp_path / "s.yaml", runs_dir=tmp_path / "runs").record
    found = {"score": "here_accuracy", "value": 1.0, "column": "alive", "alone": 1.0}
    assert record["near_perfect"] == found

    def worse(weights: dict[str, float] | None) -> list[str]:
        scores = {"loss": 2.0, "here_loss": 1.0, "here_accuracy": 0.6, "here_f1": 0.5, "size_loss": 1.1}
        constants = {"loss": 1.7, "here_loss": 0.7, "here_accuracy": 0.7, "here_f1": 0.3, "size_loss": 1.0}
        changes = {"outputs.here.class_weight": weights}
        spec = load_spec(tmp_path / "s.yaml", changes).spec
        return list(not_better(scores, constants, spec))

    assert worse({"yes": 3}) == ["size_loss"]
    assert worse(None) == ["loss", "here_loss", "here_accuracy", "size_loss"]


@pytest.mark.parametrize(
    ("loss", "said"),
    [
        (0.0083, "; in loss it is better, 0.0083 (linear 0.0338)."),
        (0.05, "."),
    ],
)
def test_scores_that_are_the_same_are_level(loss: float, said: str) -> None:
    record = {
        "best": {"val_loss": loss, "val_accuracy": 1.0},
        "baseline_on": "validation",
        "linear_baseline": {"model": "logistic regression", "scores": {"loss": 0.0338, "accuracy": 1.0}},
        "not_better_than_linear": {"accuracy": [1.0, 1.0]},
    }
    text = caution_text(RunRecord.model_validate(record))
    assert text == (f"The network is level with logistic regression: accuracy 1.0000 (linear 1.0000){said}")


def test_no_advice_where_scores_are_level_with_the_linear_model(tmp_path: Path) -> None:
    spec = load_small(tmp_path, BINARY).spec
    samples = Samples(np.zeros((4, 2)), np.array([0, 1, 0, 1]))
    record = RunRecord.model_validate(
        {
            "best": {"val_loss": 0.01, "val_accuracy": 1.0},
            "baseline": {"loss": 0.69, "accuracy": 0.5},
            "baseline_on": "validation",
            "linear_baseline": {"model": "logistic regression", "scores": {"loss": 0.03, "accuracy": 1.0}},
            "verdict": f"The mean val_loss was still falling at epoch 3, the last: {MORE_EPOCHS}",
        }
    )
    found = cautions(record, spec, samples)
    assert found.not_better_than_linear == {"accuracy": [1.0, 1.0]}
    assert found.advice is None
    worse = record.model_copy(deep=True)
    worse.best["val_accuracy"] = 0.9
    assert cautions(worse, spec, samples).advice is not None


def test_folds_with_equally_many_errors_do_not_make_an_interval_narrow(tmp_path: Path) -> None:
    spec = load_small(tmp_path, BINARY).spec
    rows, mean, std = 344, 341 / 344, 0.00004
    low, high = interval_of("val_accuracy", mean, std, 3, spec, rows)
    wilson = scipy.stats.binomtest(341, rows).proportion_ci(method="wilson")
    assert (low, high) == pytest.approx((wilson.low, wilson.high))
    assert "Wilson's" in by_rows_text((low, high), std, 3)
    over_folds = interval_of("val_accuracy", 0.9, 0.05, 3, spec, rows)
    assert over_folds == pytest.approx([0.9 - 0.124207, 1.0], abs=1e-5)
    assert by_rows_text(over_folds, 0.05, 3) == ""
    for column in ("val_loss", "accuracy"):  # no share; not of validation rows
        assert interval_of(column, mean, std, 3, spec, rows) == interval_of(column, mean, std, 3, spec, None)


def test_folds_of_a_run_know_their_rows(tmp_path: Path) -> None:
    record = nnrun.train(load_small(tmp_path, BINARY | {"validation": {"kfold": 3}}).path).record
    low, high = record["best_interval"]["val_accuracy"]
    share = record["best"]["val_accuracy"]
    wilson = scipy.stats.binomtest(round(share * 48), 48).proportion_ci(method="wilson")
    assert high - low >= wilson.high - wilson.low - 1e-9


@pytest.mark.parametrize(
    ("change", "rows"),
    [
        ({"validation": {"kfold": 3}}, 48),
        ({"validation": {"kfold": 3}, "train_fraction": 0.5}, 48),
        ({"validation": {"kfold": {"k": 3, "repeats": 2, "shuffle": True}}}, None),
        ({"validation": {"holdout": {"fraction": 0.25}}}, None),
    ],
)
def test_only_rows_that_folds_validate_once_are_pooled(
    change: dict[str, Any], rows: int | None, tmp_path: Path
) -> None:
    """What a card says of a finished run agrees with what was recorded at its end."""
    loaded = load_small(tmp_path, BINARY | change | {"epochs": 1})
    record = RunRecord.model_validate(nnrun.train(loaded.path).record)
    assert pooled_rows(record, loaded.spec) == rows
