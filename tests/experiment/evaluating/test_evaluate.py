"""A run's networks, measured again: on their validation rows, or on the test set, which is counted."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest

from nnrun.errors import DataError, DivergedError, UsageError
from nnrun.experiment.evaluating.evaluate import evaluate_run
from nnrun.experiment.finished.load_run import Access, load_networks
from nnrun.experiment.predicting.predict import load_predictor
from nnrun.experiment.predicting.predict_split import predict_split
from nnrun.experiment.running.final import final_of_spec
from nnrun.experiment.running.job import Settings
from nnrun.experiment.running.train import run_experiment
from nnrun.experiment.setup.groups import Selection
from nnrun.records import Member, RunDirectory
from nnrun.spec.reading.load import load_spec
from tests.support.small_experiments import (
    BINARY,
    KFOLD,
    REGRESSION,
    growing_tokens,
    load_small,
    numbers,
    only_run,
    record_of,
    standardized,
    write_small,
)

TOKENS: dict[str, Any] = {**BINARY, "preprocessing": {"inputs": "multi_hot"}, "validation": KFOLD}
MEASURES = {"loss": "val_loss", "mae": "val_mae", "accuracy": "val_accuracy"}


def settings(folder: Path, **changes: Any) -> Settings:
    return Settings(**({"command": "train", "runs_dir": folder / "runs"} | changes))


def train(folder: Path, spec: dict[str, Any] = REGRESSION, **changes: Any) -> RunDirectory:
    return run_experiment(load_small(folder, spec, **changes), settings(folder))


# --- validation --------------------------------------------------------------------------------------------

CASES: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "holdout": (REGRESSION, {}),
    "drawn": (BINARY, {"validation": {"holdout": {"fraction": 0.3, "stratify": True}}}),
    "folds": (REGRESSION, {"validation": KFOLD}),
    "repeats": (BINARY, {"validation": {"kfold": {"k": 2, "shuffle": True, "repeats": 2}}}),
    "vocabularies": (TOKENS, {"arrays": growing_tokens()}),
    "dropout": (REGRESSION, {"layers": [{"dropout": 0.5}, *REGRESSION["layers"]]}),
    "penalty": (REGRESSION, {"layers": [{"dense": {"units": 1, "kernel_regularizer": {"l2": 0.1}}}]}),
}


@pytest.mark.parametrize("case", CASES)
def test_validation_gives_what_the_last_epoch_gave(case: str, tmp_path: Path) -> None:
    spec, changes = CASES[case]
    run = train(tmp_path, spec, **changes)
    evaluation = evaluate_run(run, split="validation")
    history = run.read_history()
    last = history[history["epoch"] == history["epoch"].max()]
    for name, value in evaluation.scores.items():
        column = last[MEASURES[name]]
        assert value == pytest.approx(column.mean(), rel=1e-5), name
        if len(last) > 1:
            assert evaluation.std[name] == pytest.approx(column.std(), rel=1e-4, abs=1e-6), name
    assert set(evaluation.scores) == {name for name, column in MEASURES.items() if column in history}
    assert evaluation.networks == len(last)
    assert (evaluation.std == {}) == (len(last) == 1)
    record = record_of(run.path)
    assert evaluation.baseline == pytest.approx(record["baseline"], rel=1e-5)
    assert evaluation.rows == record["rows"]["validation"]
    # Looking at validation rows is free.
    assert (evaluation.test_uses, record["test_uses"]) == (0, [])
    assert "test" not in record


def test_one_fold_alone_is_measured_on_its_own_rows(tmp_path: Path) -> None:
    loaded = load_small(tmp_path, validation={"kfold": {"k": 3, "shuffle": True}})
    run = run_experiment(loaded, settings(tmp_path, command="kfold", selection=Selection(only_fold=2)))
    evaluation = evaluate_run(run, split="validation")
    last = run.read_history().iloc[-1]
    assert evaluation.networks == 1
    assert evaluation.scores == pytest.approx({"loss": last["val_loss"], "mae": last["val_mae"]}, rel=1e-5)


def test_restored_weights_give_what_the_best_epoch_gave(tmp_path: Path) -> None:
    stopping = {"monitor": "val_loss", "patience": 3, "restore_best": True}
    run = train(tmp_path, early_stopping=stopping, epochs=50, optimizer={"rmsprop": {"learning_rate": 3.0}})
    record = record_of(run.path)
    assert record["best_epoch"] < record["epochs_run"]
    scores = evaluate_run(run, split="validation").scores
    best = record["best"]
    assert scores == pytest.approx({"loss": best["val_loss"], "mae": best["val_mae"]}, rel=1e-5)


# --- the test set ------------------------------------------------------------------------------------------


def test_each_look_at_the_test_set_is_counted(tmp_path: Path) -> None:
    run = train(tmp_path)
    first, second = evaluate_run(run), evaluate_run(run)
    assert first.scores == second.scores
    assert (first.split, first.rows, first.networks, first.std) == ("test", 12, 1, {})
    assert (first.test_uses, second.test_uses) == (1, 2)
    record = record_of(run.path)
    assert [use["command"] for use in record["test_uses"]] == ["evaluate", "evaluate"]
    assert all(use["at"] >= record["ended"] for use in record["test_uses"])
    assert record["test"] == first.scores
    # What the run was before is left alone.
    assert record["status"] == "completed"
    assert (record["best_epoch"], record["baseline_on"]) == (3, "validation")


def test_a_killed_run_is_not_said_to_be_training(tmp_path: Path) -> None:
    run = train(tmp_path)
    record = run.read_record()
    record.status = "running"
    run.write_record(record)
    (run.path / "weights.safetensors").unlink()
    ended = "has no weights.safetensors: the run ended before its network was saved."
    with pytest.raises(DataError, match=ended):
        evaluate_run(run)
    with pytest.raises(DataError, match=ended):
        predict_split(run, "test")


def test_after_final_the_same_scores_are_found_and_the_look_counts_on(tmp_path: Path) -> None:
    run = final_of_spec(load_small(tmp_path, BINARY), settings(tmp_path))
    record = record_of(run.path)
    evaluation = evaluate_run(run)
    assert evaluation.scores == pytest.approx(record["test"], rel=1e-6)
    assert evaluation.baseline == pytest.approx(record["baseline"], rel=1e-6)
    assert [use["command"] for use in record_of(run.path)["test_uses"]] == ["final", "evaluate"]


def test_the_folds_of_a_kfold_are_measured_each_and_their_mean_is_kept(tmp_path: Path) -> None:
    run = train(tmp_path, validation=KFOLD)
    arrays = np.load(tmp_path / "small.npz")
    maes = []
    for fold in range(3):
        state = standardized(run.read_preprocessing(Member("fold", fold)))
        weights = run.read_weights(Member("fold", fold))
        h = (arrays["x_test"] - state["mean"]) / state["std"]
        h = np.maximum(h @ weights["0.weight"].T + weights["0.bias"], 0)
        outputs = h @ weights["1.weight"].T + weights["1.bias"]
        maes.append(np.abs(outputs[:, 0] - arrays["y_test"]).mean())
    evaluation = evaluate_run(run)
    assert evaluation.networks == 3
    assert evaluation.scores["mae"] == pytest.approx(np.mean(maes), rel=1e-5)
    assert evaluation.std["mae"] == pytest.approx(np.std(maes, ddof=1), rel=1e-4)
    record = record_of(run.path)
    assert record["test"] == evaluation.scores
    assert record["test_std"] == evaluation.std


# --- seeds -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("drawn", [False, True])
def test_each_seed_is_measured_on_its_own_validation_rows(tmp_path: Path, drawn: bool) -> None:
    changes = {"validation": {"holdout": {"fraction": 0.3, "shuffle": True}}} if drawn else {}
    loaded = load_small(tmp_path, seed=4, **changes)
    run = run_experiment(loaded, settings(tmp_path, selection=Selection(seeds=3)))
    evaluation = evaluate_run(run, split="validation")
    assert (evaluation.networks, evaluation.kind, evaluation.epoch) == (3, "seed", 3)
    last = run.read_history().tail(3)
    expected = {"loss": last["val_loss"], "mae": last["val_mae"]}
    assert evaluation.scores == pytest.approx({n: v.mean() for n, v in expected.items()}, rel=1e-5)
    assert evaluation.std == pytest.approx({n: v.std() for n, v in expected.items()}, rel=1e-4)
    record = record_of(run.path)
    assert evaluation.baseline == pytest.approx(record["baseline"], rel=1e-5)
    assert evaluation.rows == record["rows"]["validation"]
    assert record["test_uses"] == []


def test_the_test_scores_of_seeds_are_the_mean_of_those_of_each_alone(tmp_path: Path) -> None:
    drawn = {"validation": {"holdout": {"fraction": 0.3, "shuffle": True}}}
    together = run_experiment(load_small(tmp_path, **drawn), settings(tmp_path, selection=Selection(seeds=3)))
    evaluation = evaluate_run(together)
    alone = [evaluate_run(train(tmp_path, seed=seed, **drawn)) for seed in range(3)]
    for name in ("loss", "mae"):
        values = [one.scores[name] for one in alone]
        assert evaluation.scores[name] == pytest.approx(np.mean(values), rel=1e-5)
        assert evaluation.std[name] == pytest.approx(np.std(values, ddof=1), rel=1e-4)
        # Each knows the targets of its own training rows.
        assert evaluation.baseline[name] == pytest.approx(np.mean([one.baseline[name] for one in alone]))
    record = record_of(together.path)
    assert (record["test"], record["test_std"]) == (evaluation.scores, evaluation.std)
    assert [use["command"] for use in record["test_uses"]] == ["evaluate"]


# --- refusals, none of which is a look ---------------------------------------------------------------------


def refused(run: RunDirectory, split: Literal["test", "validation"], kind: type[Exception]) -> str:
    before = (run.path / "run.json").read_bytes()
    with pytest.raises(kind) as caught:
        evaluate_run(run, split=split)
    assert (run.path / "run.json").read_bytes() == before
    return str(caught.value)


def test_data_that_changed_are_refused(tmp_path: Path) -> None:
    run = train(tmp_path)
    before = hashlib.sha256((tmp_path / "small.npz").read_bytes()).hexdigest()
    write_small(tmp_path, arrays=numbers(seed=1))
    after = hashlib.sha256((tmp_path / "small.npz").read_bytes()).hexdigest()
    for split in ("test", "validation"):
        assert refused(run, split, DataError) == (
            f"small.npz is not the file that {run.id} was trained on: its SHA-256 is {after}, the run's was "
            f"{before}. "
            "Restore that file, or train again."
        )


def test_a_data_set_without_test_rows(tmp_path: Path) -> None:
    run = train(tmp_path, arrays=numbers(test_rows=0))
    assert refused(run, "test", UsageError) == "small has no test set. Use --split validation."


def test_a_run_without_validation(tmp_path: Path) -> None:
    run = train(tmp_path, validation="none")
    assert refused(run, "validation", UsageError) == (
        f"{run.id} was trained on all training rows: it has no validation rows."
    )


def test_a_run_without_either_is_not_told_to_use_the_other(tmp_path: Path) -> None:
    run = train(tmp_path, arrays=numbers(test_rows=0), validation="none")
    assert "--split validation" not in refused(run, "test", UsageError)


@pytest.mark.parametrize(
    ("validation", "file"),
    [("none", "weights.safetensors"), (KFOLD, "fold-0/weights.safetensors")],
)
def test_a_run_that_kept_no_weights(tmp_path: Path, validation: Any, file: str) -> None:
    with pytest.raises(DivergedError):
        train(tmp_path, optimizer={"sgd": {"learning_rate": 1e30}}, validation=validation)
    run = RunDirectory(only_run(tmp_path / "runs"))
    assert refused(run, "test", DataError) == (
        f"{run.path} has no {file}: the run ended before its network was saved."
    )


def test_a_run_whose_preprocessing_is_gone(tmp_path: Path) -> None:
    run = train(tmp_path)
    (run.path / "preprocessing.json").unlink()
    assert refused(run, "test", DataError) == f"{run.path} has no preprocessing.json."


def test_weights_of_another_network_are_refused(tmp_path: Path) -> None:
    run = train(tmp_path)
    other = train(tmp_path, layers=[{"dense": 1}])
    run.write_weights(other.read_weights())
    with pytest.raises(DataError) as caught:
        evaluate_run(run, split="validation")
    assert str(caught.value) == (
        "The weights in the run do not fit the network:\n"
        "  0.bias: needs (8,), the file has (1,)\n"
        "  0.weight: needs (8, 3), the file has (1, 3)\n"
        "  1.bias: needs (1,), the file has nothing\n"
        "  1.weight: needs (1, 8), the file has nothing"
    )


def test_a_run_may_be_moved_with_its_data_where_they_were(tmp_path: Path) -> None:
    run = train(tmp_path)
    before = evaluate_run(run, split="validation").scores
    moved = run.path.rename(tmp_path / "elsewhere")
    assert evaluate_run(RunDirectory(moved), split="validation").scores == before
    assert load_spec(moved / "resolved.yaml").spec.name == "small"


# --- several networks as one -------------------------------------------------------------------------------

TWO_CLASSES: dict[str, Any] = BINARY | {"metrics": ["accuracy", "auc"]}
THREE_CLASSES: dict[str, Any] = {
    **REGRESSION,
    "layers": [{"dense": {"units": 3, "activation": "softmax"}}],
    "loss": "sparse_categorical_crossentropy",
    "metrics": ["accuracy", {"top_k": 2}],
}


def predictions(run: RunDirectory, rows: np.ndarray, member: str | None = None) -> np.ndarray:
    return np.asarray(
        load_predictor(run, Access(member=member)).outputs(rows)
    )  # the mean of the networks' outputs


@pytest.mark.parametrize("targets", ["none", "standardize", "log1p", "quantile"])
def test_the_ensemble_of_numbers_is_scored_by_its_mean_prediction(targets: str, tmp_path: Path) -> None:
    arrays = {n: abs(a) + 1 if n.startswith("y") else a for n, a in numbers().items()}
    preprocessing = {"inputs": "standardize", "targets": targets}
    changes = {"validation": KFOLD, "preprocessing": preprocessing, "metrics": ["mae", "r2"]}
    run = train(tmp_path, arrays=arrays, **changes)
    tested = evaluate_run(run)
    found = tested.ensemble
    assert found is not None
    predicted, true = predictions(run, arrays["x_test"])[:, 0], arrays["y_test"]
    assert found["mae"] == pytest.approx(np.abs(predicted - true).mean(), rel=1e-6)
    spread = ((true - true.mean()) ** 2).sum()
    assert found["r2"] == pytest.approx(1 - ((predicted - true) ** 2).sum() / spread, rel=1e-6)
    scales = [network.fitted.output.scale for network in load_networks(run)[0]]
    losses = [
        ((predicted - true) ** 2).mean()
        if scale is None
        else ((scale.apply(predicted[:, None]) - scale.apply(true[:, None])) ** 2).mean()
        for scale in scales
    ]
    assert found["loss"] == pytest.approx(np.mean(losses), rel=1e-5)
    record = record_of(run.path)
    assert record["test_ensemble"] == found
    each = [(member["member"], member["test"]) for member in record["members"]]
    assert each == [(member.member, member.scores) for member in tested.members]
    assert [name for name, _ in each] == ["fold-0", "fold-1", "fold-2"]


@pytest.mark.parametrize("spec", [TWO_CLASSES, THREE_CLASSES], ids=["two", "three"])
def test_the_ensemble_of_classes_is_scored_by_its_mean_probabilities(
    spec: dict[str, Any], tmp_path: Path
) -> None:
    classes = 2 if spec is TWO_CLASSES else 3
    arrays = {n: np.arange(len(a)) % classes if n.startswith("y") else a for n, a in numbers().items()}
    loaded = load_small(tmp_path, spec, arrays=arrays)
    run = run_experiment(loaded, settings(tmp_path, selection=Selection(seeds=3)))
    evaluation = evaluate_run(run)
    found = evaluation.ensemble
    assert found is not None
    p, true = predictions(run, arrays["x_test"]), arrays["y_test"]
    p = np.concatenate([1 - p, p], axis=1) if classes == 2 else p
    assert found["accuracy"] == pytest.approx((p.argmax(1) == true).mean())
    assert found["loss"] == pytest.approx(-np.log(p[np.arange(len(p)), true]).mean(), rel=1e-5)
    # Averaging never does worse than the mean of the networks' losses: -log is convex.
    assert found["loss"] <= evaluation.scores["loss"] + 1e-9


def test_a_penalty_counts_in_the_ensemble_as_in_its_networks(tmp_path: Path) -> None:
    layers = [{"dense": {"units": 1, "kernel_regularizer": {"l2": 0.5}}}]
    run = train(tmp_path, layers=layers, validation=KFOLD)
    found = evaluate_run(run).ensemble
    arrays = np.load(tmp_path / "small.npz")
    error = ((predictions(run, arrays["x_test"])[:, 0] - arrays["y_test"]) ** 2).mean()
    kernels = [network.weights["0.weight"] for network in load_networks(run)[0]]
    penalty = np.mean([0.5 * (kernel**2).sum() for kernel in kernels])
    assert found is not None
    assert found["loss"] == pytest.approx(error + penalty, rel=1e-5)


def test_a_penalty_on_activities_counts_in_the_ensemble_as_in_its_networks(tmp_path: Path) -> None:
    layers = [{"dense": {"units": 1, "activity_regularizer": {"l2": 0.5}}}]
    run = train(tmp_path, layers=layers, validation=KFOLD)
    found = evaluate_run(run)
    arrays = np.load(tmp_path / "small.npz")
    error = ((predictions(run, arrays["x_test"])[:, 0] - arrays["y_test"]) ** 2).mean()
    each = [predictions(run, arrays["x_test"], member=f"fold-{fold}") for fold in range(3)]
    penalty = np.mean([0.5 * (outputs**2).mean() for outputs in each])
    assert found.ensemble is not None
    assert found.ensemble["loss"] == pytest.approx(error + penalty, rel=1e-5)


def test_rows_that_each_have_one_network_have_no_ensemble(tmp_path: Path) -> None:
    run = train(tmp_path, validation=KFOLD)
    assert evaluate_run(run, split="validation").ensemble is None
    assert evaluate_run(train(tmp_path)).ensemble is None
