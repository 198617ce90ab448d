"""The weights that a run keeps: those it ended with and those of its best epoch, and which they are."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from nnrun.errors import DataError, UsageError
from nnrun.experiment.checking.check import check_run
from nnrun.experiment.evaluating.evaluate import evaluate_run
from nnrun.experiment.evaluating.importance import measure_importance
from nnrun.experiment.exporting.export import export_run
from nnrun.experiment.finished.load_run import Access, load_networks
from nnrun.experiment.finished.used_weights import UsedWeights, recorded_weights
from nnrun.experiment.predicting.predict import load_predictor
from nnrun.experiment.running.job import Settings
from nnrun.experiment.running.train import run_experiment
from nnrun.experiment.setup.groups import Selection
from nnrun.records import Member, RunDirectory, RunRecord, WeightsEpoch
from tests.support.runs_on_disk import write_record
from tests.support.small_experiments import BINARY, KFOLD, REGRESSION, load_small, of_members, record_of

# A learning rate at which the best epoch comes early, and others are worse.
WILD: dict[str, Any] = {"optimizer": {"rmsprop": {"learning_rate": 1.0}}, "epochs": 12}
BEST = "weights-best.safetensors"


def train(
    folder: Path, spec: dict[str, Any] = REGRESSION, seeds: int | None = None, **changes: Any
) -> RunDirectory:
    settings = Settings("train", folder / "runs", selection=Selection(seeds=seeds))
    return run_experiment(load_small(folder, spec, **changes), settings)


def same(mine: dict[str, np.ndarray], theirs: dict[str, np.ndarray]) -> bool:
    return mine.keys() == theirs.keys() and all(np.array_equal(mine[n], theirs[n]) for n in mine)


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"early_stopping": {"monitor": "val_mae", "patience": 20}},
        {"early_stopping": {"monitor": "loss", "patience": 20}},  # a training loss chooses no epoch
    ],
    ids=["val_loss", "val_mae", "loss"],
)
def test_the_weights_of_the_best_epoch_are_those_of_a_run_that_ends_there(
    changes: dict[str, Any], tmp_path: Path
) -> None:
    run = train(tmp_path, **WILD | changes)
    record = record_of(run.path)
    best = record["best_epoch"]
    assert best < record["epochs_run"], "the case is of no use otherwise"
    until = train(tmp_path, **WILD | changes | {"epochs": best})
    assert same(run.read_kept_weights(which="best").arrays, until.read_weights())
    assert not same(run.read_weights(), until.read_weights())
    assert run.read_kept_weights().epoch == WeightsEpoch(12, last=True)
    assert run.read_kept_weights(which="best").epoch == WeightsEpoch(best, best=True)
    assert (record["weights_epoch"], record["best_weights_epoch"]) == (12, best)


@pytest.mark.parametrize("members", ["fold", "seed"])
def test_each_fold_or_seed_keeps_those_of_its_own_best_epoch(members: str, tmp_path: Path) -> None:
    changes = WILD | ({"validation": KFOLD} if members == "fold" else {})
    run = train(tmp_path, seeds=3 if members == "seed" else None, **changes)
    history = run.read_history()
    best = {}
    for number, table in history.groupby(members):
        best[str(number)] = int(table["val_loss"].to_numpy().argmin()) + 1
    record = record_of(run.path)
    assert of_members(run.path, "best_weights_epoch") == best
    assert set(of_members(run.path, "weights_epoch").values()) == {12}
    evaluation = evaluate_run(run, Access(weights="best"), split="validation")
    assert evaluation.kept is not None
    means = np.mean([table["val_loss"].min() for _, table in history.groupby(members)])
    assert evaluation.kept["loss"][0] == pytest.approx(means, rel=1e-5)
    # The score is that of an epoch of all, as the summary of training has it.
    assert evaluation.scores == pytest.approx({n: record["best"][f"val_{n}"] for n in ("loss", "mae")})
    assert evaluation.scores_epoch == record["best_epoch"]
    assert [m.scores["loss"] for m in evaluation.members] == pytest.approx(
        history[history["epoch"] == record["best_epoch"]]["val_loss"].tolist()
    )


def test_folds_with_restored_weights_are_scored_by_one_epoch_of_all(tmp_path: Path) -> None:
    stopping = {"monitor": "val_loss", "patience": 3, "restore_best": True}
    run = train(tmp_path, **WILD | {"validation": KFOLD, "early_stopping": stopping, "epochs": 40})
    record = record_of(run.path)
    kept = of_members(run.path, "weights_epoch")
    assert len(set(kept.values())) > 1, "the case is of no use otherwise"
    assert of_members(run.path, "best_weights_epoch") == kept
    assert list(run.path.rglob(BEST)) == []  # the same are not kept twice
    evaluation = evaluate_run(run, split="validation")
    assert evaluation.scores == pytest.approx({n: record["best"][f"val_{n}"] for n in ("loss", "mae")})
    assert evaluation.std == pytest.approx({n: record["best_std"][f"val_{n}"] for n in ("loss", "mae")})
    assert evaluation.kept is not None
    assert evaluation.kept["loss"][0] < evaluation.scores["loss"]
    assert evaluation.chosen_on_these_rows
    # Test rows chose nothing: there the kept weights are what counts.
    tested = evaluate_run(run)
    assert (tested.kept, tested.chosen_on_these_rows) == (None, False)


def test_evaluate_measures_the_weights_that_are_asked_for(tmp_path: Path) -> None:
    run = train(tmp_path, **WILD)
    record = record_of(run.path)
    best, last = (evaluate_run(run, Access(weights=which), split="validation") for which in ("best", "last"))
    assert best.scores == pytest.approx({n: record["best"][f"val_{n}"] for n in ("loss", "mae")}, rel=1e-5)
    assert last.scores == pytest.approx({n: record["last"][f"val_{n}"] for n in ("loss", "mae")}, rel=1e-5)
    assert (best.epoch, last.epoch) == (record["best_epoch"], 12)
    assert (best.chosen_on_these_rows, last.chosen_on_these_rows) == (True, False)
    tested = evaluate_run(run, Access(weights="best"))
    record = record_of(run.path)
    assert (record["test"], record["test_epoch"]) == (tested.scores, record["best_epoch"])


def test_predict_and_export_use_them_too(tmp_path: Path) -> None:
    run = train(tmp_path, **WILD)
    rows = np.load(tmp_path / "small.npz")["x_test"]
    best, last = (load_predictor(run, Access(weights=which)) for which in ("best", "last"))
    assert not np.allclose(best.outputs(rows), last.outputs(rows))
    assert best.weights.epoch == record_of(run.path)["best_epoch"]
    exported = export_run(run, tmp_path / "best.pt2", "pt2", Access(weights="best"))
    assert exported.weights.epoch == best.weights.epoch
    assert exported.difference < 1e-4


@pytest.mark.parametrize(
    ("status", "end"),
    [
        ("completed", ""),
        ("interrupted", ", of a run that was interrupted"),
        ("failed", ", of a run that failed"),
        ("diverged", ", of a run that diverged"),
    ],
)
def test_weights_of_a_run_that_did_not_come_to_its_end_say_so(status: str, end: str, tmp_path: Path) -> None:
    run = train(tmp_path, epochs=2)
    record = run.read_record()
    record.status = status  # type: ignore[assignment]
    run.write_record(record)
    text = f"epoch 2, the last and the best by val_loss{end}"
    assert evaluate_run(run, split="validation").weights.text == text
    assert measure_importance(run).weights == text
    assert load_predictor(run).weights.sentence == f"weights: {text}"
    said = "its networks, by which the labels were judged, are not trained to their end."
    told = f"{run.id}{end.removeprefix(', of a run that')}: {said}" in check_run(run, Access()).remarks
    assert told == bool(end)


def test_restored_weights_are_the_best_and_the_file_says_so(tmp_path: Path) -> None:
    stopping = {"monitor": "val_loss", "patience": 3, "restore_best": True, "min_delta": 0.5}
    run = train(tmp_path, **WILD | {"early_stopping": stopping, "epochs": 40})
    record = record_of(run.path)
    epoch = run.read_kept_weights(which="best").epoch
    assert epoch == WeightsEpoch(record["best_epoch"], best=True, restored=True)
    assert run.read_kept_weights().epoch == epoch
    assert record["weights_epoch"] == record["best_epoch"]
    _, used = load_networks(run)
    assert used.text == f"epoch {epoch.epoch}, the best by val_loss, restored by early stopping"
    assert used.others == ""


@pytest.mark.parametrize("validation", [None, KFOLD], ids=["one", "folds"])
@pytest.mark.parametrize("restore_best", [True, False])
def test_epochs_before_start_from_epoch_are_not_the_best(
    validation: Any, restore_best: bool, tmp_path: Path
) -> None:
    """From epoch 4 on the rate is so high that one of the first three would be the best."""
    stopping = {"patience": 20, "restore_best": restore_best, "start_from_epoch": 3}
    changes: dict[str, Any] = {"optimizer": "adam", "epochs": 8, "early_stopping": stopping}
    changes["learning_rate_schedule"] = {"rates": [0.3] * 3 + [30.0] * 5}
    run = train(tmp_path, **changes | ({} if validation is None else {"validation": validation}))
    history = run.read_history()
    losses = history["val_loss"].groupby(history["epoch"]).mean()
    assert losses.idxmin() <= 3, "the case is of no use otherwise"
    record = run.read_record()
    assert record.best_epoch is not None
    assert record.best_epoch > 3
    _, used = load_networks(run, which="best")
    _, kept = load_networks(run)
    assert all(of is not None and of.epoch > 3 for of in used.epochs)
    if restore_best:
        assert used.epochs == kept.epochs
        assert kept.others == ""
    if validation is None:
        assert used.epochs[0] is not None
        assert used.epochs[0].epoch == record.best_epoch
        assert record.best["val_loss"] == losses[losses.index > 3].min()
    changes["learning_rate_schedule"] = {"rates": [0.3] * 2}
    short = train(tmp_path, **changes | {"epochs": 2})  # no epoch counts: then they all do
    assert short.read_record().best_epoch in (1, 2)


def test_without_validation_there_are_no_best_weights(tmp_path: Path) -> None:
    run = train(tmp_path, validation="none")
    with pytest.raises(UsageError) as caught:
        evaluate_run(run, Access(weights="best"))
    assert str(caught.value) == (
        f"--weights best: {run.id} has no best epoch, since nothing was validated with a finite score. Its "
        "weights are those that training ended with: leave --weights out."
    )
    assert record_of(run.path)["test_uses"] == []


def test_a_run_of_an_older_nnrun_kept_no_best_weights(tmp_path: Path) -> None:
    run = train(tmp_path, **WILD)
    (run.path / BEST).unlink()
    run.write_weights(run.read_weights())
    record = record_of(run.path)
    del record["best_weights_epoch"]
    write_record(run, record)
    _, used = load_networks(run)
    assert used.text == "epoch 12, the last"
    with pytest.raises(DataError, match="kept only the weights that training ended with"):
        load_networks(run, "best")


def test_another_word_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="it must be last or best"):
        evaluate_run(train(tmp_path), Access(weights="first"), split="validation")  # type: ignore[arg-type]


def test_a_metric_that_is_better_the_higher_chooses_its_highest(tmp_path: Path) -> None:
    stopping = {"monitor": "val_accuracy", "patience": 50}
    run = train(tmp_path, BINARY, **WILD | {"early_stopping": stopping})
    values = run.read_history()["val_accuracy"].to_numpy()
    assert record_of(run.path)["best_weights_epoch"] == values.argmax() + 1


# --- in words ----------------------------------------------------------------------------------------------


def used(
    which: Any, epochs: Sequence[WeightsEpoch], best: Sequence[int | None], kind: Any = None
) -> UsedWeights:
    members = [None] if kind is None else [Member(kind, n) for n in range(len(epochs))]
    return UsedWeights(which, tuple(members), tuple(epochs), "val_mae", tuple(best))


@pytest.mark.parametrize(
    ("weights", "sentence"),
    [
        (
            used("last", [WeightsEpoch(20, last=True)], [7]),
            "weights: epoch 20, the last; --weights best uses those of epoch 7, the best by val_mae",
        ),
        (
            used("best", [WeightsEpoch(7, best=True)], [None]),
            "weights: epoch 7, the best by val_mae; --weights last uses those that training ended with",
        ),
        (
            used("last", [WeightsEpoch(20, last=True, best=True)], [None]),
            "weights: epoch 20, the last and the best by val_mae",
        ),
        (
            used(
                "last", [WeightsEpoch(5, last=True), WeightsEpoch(5, last=True, best=True)], [3, None], "fold"
            ),
            "weights: epoch 5, the last; --weights best uses those of each fold's best epoch by val_mae",
        ),
        (
            used(
                "best",
                [WeightsEpoch(3, best=True), WeightsEpoch(5, last=True, best=True)],
                [None, None],
                "seed",
            ),
            "weights: each seed's best epoch by val_mae (epochs 3, 5); --weights last uses those that "
            "training ended with",
        ),
        (
            used(
                "last", [WeightsEpoch(n, restored=True, best=True) for n in range(1, 13)], [None] * 12, "fold"
            ),
            "weights: each fold's best epoch by val_mae, restored by early stopping (epochs 1 to 12)",
        ),
        (
            used("last", [WeightsEpoch(4, last=True), WeightsEpoch(6, last=True)], [1, 2], "fold"),
            "weights: each fold's last epoch (epochs 4, 6); --weights best uses those of each fold's best "
            "epoch by val_mae",
        ),
    ],
)
def test_the_sentence_says_which_and_how_to_get_the_others(weights: UsedWeights, sentence: str) -> None:
    assert weights.sentence == sentence


def test_a_record_without_weights_tells_of_none() -> None:
    assert recorded_weights(RunRecord(status="running")) is None
