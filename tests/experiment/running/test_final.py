"""The last step of an experiment: all training rows, then the test set, once."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from nnrun.errors import DivergedError, UsageError
from nnrun.experiment.running.final import final_of_run, final_of_spec
from nnrun.experiment.running.job import Settings
from nnrun.experiment.running.listener import Listener
from nnrun.experiment.running.train import run_experiment
from nnrun.experiment.setup.groups import Selection
from nnrun.records import RunDirectory
from nnrun.spec.reading.load import load_spec
from nnrun.validation.summary import smoothed_best_epoch, smoothing_window
from tests.support.small_experiments import (
    BINARY,
    KFOLD,
    REGRESSION,
    growing_tokens,
    load_small,
    of_members,
    only_run,
    record_of,
    standardized,
    without_seconds,
    write_small,
)

# Jumps about, so that the best epoch is not the last one.
FAST: dict[str, Any] = {"optimizer": {"rmsprop": {"learning_rate": 3.0}}, "epochs": 8}


def settings(folder: Path, **changes: Any) -> Settings:
    return Settings(**({"command": "train", "runs_dir": folder / "runs"} | changes))


def train(folder: Path, spec: dict[str, Any] = REGRESSION, **changes: Any) -> RunDirectory:
    return run_experiment(load_small(folder, spec, **changes), settings(folder))


def outputs_by_hand(run: RunDirectory, x: np.ndarray) -> np.ndarray:
    """What a run's network of two layers gives for these rows, computed with NumPy alone."""
    state, weights = standardized(run.read_preprocessing()), run.read_weights()
    h = (x - state["mean"]) / state["std"]
    h = np.maximum(h @ weights["0.weight"].T + weights["0.bias"], 0)
    return (h @ weights["1.weight"].T + weights["1.bias"])[:, 0]


def test_it_trains_on_all_rows_for_as_long_as_validation_chose(tmp_path: Path) -> None:
    parent = train(tmp_path, **FAST)
    best = record_of(parent.path)["best_epoch"]
    assert 1 <= best < 8
    made = final_of_run(parent, settings(tmp_path))
    record = record_of(made.path)
    told = {
        "command": "final",
        "parent": parent.id,
        "status": "completed",
        "epochs": best,
        "epochs_run": best,
        "rows": {"train": 48, "validation": 0, "test": 12},
        "best_epoch": None,
        "best": {},
        "chosen_by": None,
        "baseline_on": "test",
    }
    assert {key: record[key] for key in told} == told
    assert record["chosen_from"] == {
        "parent": parent.id,
        "column": "val_loss",
        "epoch": best,
        "smoothed": False,
        "smoothed_over": None,
    }
    assert [use["command"] for use in record["test_uses"]] == ["final"]

    # From scratch: it is the run that the spec without validation gives.
    again = train(tmp_path, **FAST | {"validation": "none", "epochs": best})
    assert without_seconds(again.path) == without_seconds(made.path)
    # The parent is as it was: it did not look.
    assert record_of(parent.path)["test_uses"] == []


def test_the_test_scores_are_those_of_its_weights(tmp_path: Path) -> None:
    made = final_of_spec(load_small(tmp_path), settings(tmp_path))
    arrays = np.load(tmp_path / "small.npz")
    errors = outputs_by_hand(made, arrays["x_test"]) - arrays["y_test"]
    expected = {"loss": np.mean(errors**2), "mae": np.mean(abs(errors))}
    assert record_of(made.path)["test"] == pytest.approx(expected, rel=1e-5)


def test_its_baseline_knows_the_training_targets_and_is_measured_on_the_test_rows(tmp_path: Path) -> None:
    made = final_of_spec(load_small(tmp_path), settings(tmp_path))
    arrays = np.load(tmp_path / "small.npz")
    known, tested = arrays["y_train"], arrays["y_test"]
    of_mean, of_median = tested - known.mean(), tested - np.median(known)
    expected = {"loss": np.mean(of_mean**2), "mae": np.mean(abs(of_median))}
    assert record_of(made.path)["baseline"] == pytest.approx(expected, rel=1e-5)


def test_a_number_of_epochs_and_changes_go_before_what_the_run_chose(tmp_path: Path) -> None:
    parent = train(tmp_path)
    made = final_of_run(parent, settings(tmp_path), epochs=5, overrides=["seed=4", "batch_size=48"])
    record = record_of(made.path)
    assert (record["epochs_run"], record["seed"], record["chosen_from"]) == (5, 4, None)
    resolved = load_spec(made.path / "resolved.yaml").spec
    assert (resolved.epochs, resolved.batch_size, resolved.seed) == (5, 48, 4)


def test_of_a_kfold_the_mean_over_the_folds_chose(tmp_path: Path) -> None:
    parent = train(tmp_path, validation=KFOLD, **FAST)
    made = final_of_run(parent, settings(tmp_path))
    record = record_of(made.path)
    curve = parent.read_history_mean()["val_loss_mean"]
    assert record["epochs_run"] == smoothed_best_epoch(curve, "min")
    assert record["chosen_from"] == {
        "parent": parent.id,
        "column": "val_loss",
        "epoch": record["epochs_run"],
        "smoothed": True,
        "smoothed_over": smoothing_window(record["epochs_run"]),
    }
    assert record["folds"] is None
    assert (made.path / "weights.safetensors").is_file()
    assert made.members() == []
    # It is the best epoch of the parent's own record: its summary and its final run agree.
    assert record_of(parent.path)["best_epoch"] == record["epochs_run"]


def test_of_several_seeds_too(tmp_path: Path) -> None:
    seeds = settings(tmp_path, selection=Selection(seeds=3))
    parent = run_experiment(load_small(tmp_path, **FAST), seeds)
    chosen = record_of(final_of_run(parent, settings(tmp_path)).path)["chosen_from"]
    curve = parent.read_history_mean()["val_loss_mean"]
    assert (chosen["epoch"], chosen["smoothed"]) == (smoothed_best_epoch(curve, "min"), True)


@pytest.mark.parametrize("selection", [Selection(only_fold=1), Selection(seeds=1)])
def test_one_fold_or_seed_alone_is_not_smoothed(selection: Selection, tmp_path: Path) -> None:
    validation = KFOLD if selection.seeds is None else REGRESSION["validation"]
    loaded = load_small(tmp_path, validation=validation, **FAST)
    parent = run_experiment(loaded, settings(tmp_path, selection=selection))
    record = record_of(final_of_run(parent, settings(tmp_path)).path)
    assert record["epochs_run"] == record_of(parent.path)["best_epoch"]
    assert record["chosen_from"]["smoothed"] is False


def test_epochs_that_not_every_fold_reached_are_not_chosen(tmp_path: Path) -> None:
    stopping = {"monitor": "val_loss", "patience": 1}
    parent = train(tmp_path, **FAST | {"validation": KFOLD, "early_stopping": stopping, "epochs": 50})
    stopped = of_members(parent.path, "stopped_early").values()
    assert len(set(stopped)) > 1, "they end at different epochs"
    assert record_of(final_of_run(parent, settings(tmp_path)).path)["epochs_run"] <= min(stopped)


def test_a_monitored_score_chooses_by_its_highest(tmp_path: Path) -> None:
    stopping = {"monitor": "val_accuracy", "patience": 50}
    parent = train(tmp_path, BINARY, validation=KFOLD, early_stopping=stopping, epochs=12)
    chosen = record_of(final_of_run(parent, settings(tmp_path)).path)["chosen_from"]
    curve = parent.read_history_mean()["val_accuracy_mean"]
    assert (chosen["column"], chosen["epoch"]) == ("val_accuracy", smoothed_best_epoch(curve, "max"))


def test_the_record_of_its_folds_is_all_that_is_needed(tmp_path: Path) -> None:
    parent = train(tmp_path, validation=KFOLD)
    (parent.path / "history.csv").unlink()
    made = final_of_run(parent, settings(tmp_path))
    assert record_of(made.path)["epochs_run"] == record_of(parent.path)["best_epoch"]
    assert record_of(final_of_run(parent, settings(tmp_path), epochs=1).path)["chosen_from"] is None


def test_of_seeds_the_mean_over_them_chose(tmp_path: Path) -> None:
    """Seed 7, which is trained again, would alone have chosen the last epoch."""
    loaded = load_small(tmp_path, seed=7, **FAST)
    parent = run_experiment(loaded, settings(tmp_path, selection=Selection(seeds=3)))
    best = smoothed_best_epoch(parent.read_history_mean()["val_loss_mean"], "min")
    assert best is not None
    assert record_of(train(tmp_path, seed=7, **FAST).path)["best_epoch"] == 8
    made = final_of_run(parent, settings(tmp_path))
    record = record_of(made.path)
    assert record["epochs_run"] == best
    # One network, of the spec's own seed.
    assert (record["seed"], record["seeds"], made.members()) == (7, None, [])
    again = train(tmp_path, **FAST | {"validation": "none", "epochs": best, "seed": 7})
    assert without_seconds(again.path) == without_seconds(made.path)


def test_of_a_spec_the_spec_s_epochs_decide(tmp_path: Path) -> None:
    loaded = load_small(tmp_path, epochs=4)
    assert record_of(final_of_spec(loaded, settings(tmp_path)).path)["epochs_run"] == 4
    assert record_of(final_of_spec(loaded, settings(tmp_path), epochs=2).path)["epochs_run"] == 2


def test_early_stopping_is_left_out(tmp_path: Path) -> None:
    stopping = {"monitor": "val_loss", "patience": 1, "restore_best": True}
    parent = train(tmp_path, **FAST | {"early_stopping": stopping, "epochs": 50})
    made = final_of_run(parent, settings(tmp_path), epochs=20)
    record = record_of(made.path)
    assert record["epochs_run"] == 20
    assert "stopped_early" not in record
    assert load_spec(made.path / "resolved.yaml").spec.early_stopping is None


def test_of_a_smoke_run_it_is_a_smoke_run(tmp_path: Path) -> None:
    parent = run_experiment(load_small(tmp_path), settings(tmp_path, smoke=True))
    assert record_of(final_of_run(parent, settings(tmp_path)).path)["smoke"] is True


def test_without_a_test_set_nothing_is_tested(tmp_path: Path) -> None:
    arrays = {k: v for k, v in np.load(write_small(tmp_path).with_suffix(".npz")).items() if "test" not in k}
    record = record_of(final_of_spec(load_small(tmp_path, arrays=arrays), settings(tmp_path)).path)
    assert (record["status"], record["test_uses"], record["rows"]["test"]) == ("completed", [], 0)
    assert "test" not in record
    assert record["baseline_on"] == "training"


def test_tokens_that_no_training_row_has_are_left_out_of_the_test_rows(tmp_path: Path) -> None:
    arrays = growing_tokens()
    unseen = np.empty(2, object)
    unseen[:] = [[1, 2, 1000], [1000]]
    tokens = {**BINARY, "preprocessing": {"inputs": "multi_hot"}, "validation": "none"}
    loaded = load_small(tmp_path, tokens, arrays=arrays | {"x_test": unseen, "y_test": np.array([0, 1])})
    record = record_of(final_of_spec(loaded, settings(tmp_path)).path)
    assert record["status"] == "completed"
    assert set(record["test"]) == {"loss", "accuracy"}


# --- learning rates ----------------------------------------------------------------------------------------

PLATEAU: dict[str, Any] = {
    "learning_rate_schedule": {"reduce_on_plateau": {"patience": 1, "factor": 0.5}},
    "optimizer": {"rmsprop": {"learning_rate": 3.0}},
    "epochs": 8,
}


class Heard(Listener):
    def __init__(self) -> None:
        self.messages: list[str] = []

    def message(self, text: str) -> None:
        self.messages.append(text)


def test_a_cosine_is_as_long_as_that_of_the_run_that_chose_the_epoch(tmp_path: Path) -> None:
    schedule = {"learning_rate_schedule": ["warmup", "cosine"]}
    parent = train(tmp_path, **FAST | schedule)
    made = final_of_run(parent, settings(tmp_path), epochs=3)
    rates = parent.read_history()["learning_rate"].tolist()
    assert rates[0] == 1.5
    assert len(set(rates)) == 8
    assert made.read_history()["learning_rate"].tolist() == rates[:3]
    # And so is that of a spec.
    made = final_of_spec(load_small(tmp_path, **FAST | schedule), settings(tmp_path), epochs=3)
    assert made.read_history()["learning_rate"].tolist() == rates[:3]


def test_the_rates_that_validation_decided_are_taken_again(tmp_path: Path) -> None:
    parent = train(tmp_path, **PLATEAU)
    rates = parent.read_history()["learning_rate"].tolist()
    assert len(set(rates)) > 1
    heard = Heard()
    made = final_of_run(parent, settings(tmp_path), epochs=8, listener=heard)
    assert made.read_history()["learning_rate"].tolist() == rates
    assert heard.messages == [
        f"there is no validation here, so each epoch has the learning rate that it had in {parent.id}"
    ]
    # Its own resolved spec says them, so that it can be repeated without its parent.
    spec = load_spec(made.path / "resolved.yaml").spec
    (schedule,) = spec.learning_rate_schedule
    assert schedule.model_dump() == {"rates": {"rates": rates}}
    again = run_experiment(load_spec(made.path / "resolved.yaml"), settings(tmp_path))
    assert without_seconds(again.path) == without_seconds(made.path)


def test_of_folds_each_epoch_has_the_median_of_their_rates(tmp_path: Path) -> None:
    """Of those that reached it; of an even number the lower of the two in the middle."""
    parent = train(tmp_path, **PLATEAU, validation={"kfold": 4}, early_stopping={"patience": 4})
    history = parent.read_history()
    heard = Heard()
    made = final_of_run(parent, settings(tmp_path), epochs=9, listener=heard)
    expected, several = [], 0
    for epoch in range(1, int(history["epoch"].max()) + 1):
        rates = sorted(history[history["epoch"] == epoch]["learning_rate"])
        several += len(set(rates)) > 1
        expected.append(rates[(len(rates) - 1) // 2])
    assert several, "the folds must have rates of their own"
    expected += [expected[-1]] * (9 - len(expected))
    assert made.read_history()["learning_rate"].tolist() == expected
    assert heard.messages[0].endswith(f"it had in {parent.id}, the median over its folds")


def test_a_plateau_of_the_training_loss_needs_no_validation(tmp_path: Path) -> None:
    plateau = {"reduce_on_plateau": {"monitor": "loss", "patience": 1, "min_delta": 1000.0}}
    parent = train(tmp_path, learning_rate_schedule=plateau, epochs=4)
    heard = Heard()
    made = final_of_run(parent, settings(tmp_path), epochs=4, listener=heard)
    assert made.read_history()["learning_rate"].tolist() == pytest.approx([1e-3, 1e-3, 1e-4, 1e-5])
    assert heard.messages == []
    assert load_spec(made.path / "resolved.yaml").spec.learning_rate_schedule[0].kind == "reduce_on_plateau"


def test_a_spec_whose_rates_validation_decides_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError) as caught:
        final_of_spec(load_small(tmp_path, **PLATEAU), settings(tmp_path))
    assert str(caught.value) == (
        "reduce_on_plateau watches val_loss, and a final run validates nothing. Name a run of this spec "
        "instead of the spec, and the learning rates of its epochs are reused; or set "
        "learning_rate_schedule, "
        "such as --set learning_rate_schedule=[]."
    )
    assert not (tmp_path / "runs").exists()
    path = tmp_path / "small.yaml"
    made = final_of_spec(load_spec(path, ["learning_rate_schedule=[]"]), settings(tmp_path))
    assert set(made.read_history()["learning_rate"]) == {3.0}


def test_rates_of_another_learning_rate_are_not_taken_again(tmp_path: Path) -> None:
    parent = train(tmp_path, **PLATEAU)
    slower = ["optimizer.rmsprop.learning_rate=0.5"]
    with pytest.raises(UsageError) as caught:
        final_of_run(parent, settings(tmp_path), overrides=slower)
    assert str(caught.value) == (
        f"The learning rates of {parent.id} follow from its val_loss and start at 3, so they do not apply "
        "to a learning rate of 0.5. Leave it as it was, or set learning_rate_schedule as well."
    )
    changes = [*slower, "learning_rate_schedule=[step: 1]"]
    made = final_of_run(parent, settings(tmp_path), epochs=2, overrides=changes)
    assert made.read_history()["learning_rate"].tolist() == pytest.approx([0.5, 0.05])


# --- runs that chose no epoch ------------------------------------------------------------------------------


def refusal(parent: RunDirectory, folder: Path) -> str:
    before = sorted(folder.glob("runs/*"))
    with pytest.raises(UsageError) as caught:
        final_of_run(parent, settings(folder))
    assert sorted(folder.glob("runs/*")) == before
    return str(caught.value)


def test_a_run_that_validated_nothing(tmp_path: Path) -> None:
    parent = train(tmp_path, validation="none")
    assert refusal(parent, tmp_path) == (
        f"{parent.id} has no best epoch, since it has no validation; say how long to train with --epochs N."
    )
    assert record_of(final_of_run(parent, settings(tmp_path), epochs=1).path)["epochs_run"] == 1


def test_a_final_run(tmp_path: Path) -> None:
    parent = final_of_spec(load_small(tmp_path), settings(tmp_path))
    assert refusal(parent, tmp_path) == (
        f"{parent.id} has no best epoch, since it has no validation (it is a final run itself); "
        "say how long to train with --epochs N."
    )


def test_a_run_that_diverged_at_once_did_validate(tmp_path: Path) -> None:
    """It has no best epoch for another reason than a run without validation."""
    with pytest.raises(DivergedError):
        train(tmp_path, optimizer={"sgd": {"learning_rate": 1e30}})
    sentence = refusal(RunDirectory(only_run(tmp_path / "runs")), tmp_path)
    assert "validated nothing" not in sentence
    assert sentence.endswith("; say how long to train with --epochs N.")


def test_a_published_table_has_no_other_file_of_test_rows(tmp_path: Path) -> None:
    (tmp_path / "more.csv").write_text("species,sex\nAdelie,MALE\n")
    spec = write_small(tmp_path, {**REGRESSION, "dataset": {"penguins": "body_mass_g"}, "preprocessing": {}})
    with pytest.raises(UsageError, match=r"one published table.*dataset\.penguins\.test\.fraction=0\.2"):
        final_of_spec(load_spec(spec), settings(tmp_path), test=tmp_path / "more.csv")
