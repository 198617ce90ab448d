"""The networks of a run, averaged, as one model: a run of its own, honest about what its scores are."""

from __future__ import annotations

import shutil
from html import unescape
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import nnrun
from nnrun.cli.closing import closing_text
from nnrun.errors import UsageError
from nnrun.experiment.describing.in_notebook import run_html
from nnrun.experiment.describing.learning_curves import make_panels
from nnrun.experiment.describing.report import report_page
from nnrun.experiment.evaluating.compare import compare_runs
from nnrun.experiment.evaluating.compare_text import notes
from nnrun.experiment.evaluating.evaluate import evaluate_opened, evaluate_run
from nnrun.experiment.evaluating.evaluation import Evaluation
from nnrun.experiment.finished.ensemble_text import ensemble_columns
from nnrun.experiment.finished.load_run import Access
from nnrun.experiment.finished.record_text import caution_text
from nnrun.experiment.finished.used_weights import recorded_weights
from nnrun.experiment.predicting.open_run import OpenRun, open_run
from nnrun.experiment.predicting.predict import load_predictor
from nnrun.experiment.running import ensemble
from nnrun.experiment.running.ensemble import final_of_members
from nnrun.experiment.running.final import final_of_run, final_of_spec
from nnrun.experiment.running.job import Settings
from nnrun.experiment.running.listener import Listener, StopTraining
from nnrun.experiment.running.recorder import RunInterrupted
from nnrun.experiment.running.reproduce import reproduce_run
from nnrun.experiment.running.resume import resume_run
from nnrun.experiment.running.train import run_experiment
from nnrun.experiment.setup.groups import Selection
from nnrun.experiment.sharing.card import card_text
from nnrun.records import RunDirectory, RunRecord, list_runs
from nnrun.records.run_record import EnsembleRecord
from tests.support.small_experiments import (
    BINARY,
    KFOLD,
    REGRESSION,
    files_of,
    load_small,
    numbers,
    of_members,
    record_of,
    without_seconds,
    write_small,
)

FOLDS: dict[str, Any] = {"validation": KFOLD}
SCALED: dict[str, Any] = {**REGRESSION, "preprocessing": {"inputs": "standardize", "targets": "standardize"}}
RESTORED: dict[str, Any] = {
    "optimizer": {"rmsprop": {"learning_rate": 0.3}},
    "epochs": 12,
    "early_stopping": {"patience": 1, "restore_best": True},
}


def settings(folder: Path, **changes: Any) -> Settings:
    own: dict[str, Any] = {"command": "train", "runs_dir": folder / "runs"}
    return Settings(**own | changes)


def train(
    folder: Path, spec: dict[str, Any] = REGRESSION, *, seeds: int | None = None, **changes: Any
) -> RunDirectory:
    selection = Selection(seeds=seeds)
    return run_experiment(load_small(folder, spec, **changes), settings(folder, selection=selection))


def of_folds(
    folder: Path, spec: dict[str, Any] = REGRESSION, **changes: Any
) -> tuple[RunDirectory, RunDirectory]:
    """A k-fold run, and its networks averaged."""
    parent = train(folder, spec, **FOLDS | changes)
    return parent, final_of_members(parent, settings(folder), "folds")


def predicted(run: RunDirectory, split: Any, **access: Any) -> tuple[np.ndarray, np.ndarray]:
    """What the run says of each row of a split, and the true values."""
    table = nnrun.predict(nnrun.Run(run.path), split=split, probabilities=False, **access)
    numbers = "probability" if "probability" in table else "prediction"
    return table[numbers].to_numpy(float), table["target"].to_numpy(float)


def test_it_has_the_members_of_its_parent_and_needs_it_no_longer(tmp_path: Path) -> None:
    parent, made = of_folds(tmp_path)
    kept = [name for name in files_of(made.path) if name not in ("run.json", "resolved.yaml")]
    assert {
        f"fold-{i}/{name}" for i in range(3) for name in ("weights.safetensors", "preprocessing.json")
    } <= set(kept)
    for name in kept:
        assert (made.path / name).read_bytes() == (parent.path / name).read_bytes(), name
    x = np.load(tmp_path / "small.npz")["x_test"]
    before = nnrun.predict(nnrun.Run(parent.path), x)
    shutil.rmtree(parent.path)
    assert nnrun.predict(nnrun.Run(made.path), x).equals(before)
    assert evaluate_run(made, split="validation").scores.keys() == {"loss", "mae"}
    each = [nnrun.predict(nnrun.Run(made.path), x, member=f"fold-{i}")["prediction"] for i in range(3)]
    assert before["prediction"].to_numpy() == pytest.approx(np.mean(each, axis=0), rel=1e-6)


def test_its_record_tells_what_it_is(tmp_path: Path) -> None:
    parent, made = of_folds(tmp_path)
    record, of_parent = record_of(made.path), record_of(parent.path)
    told = {
        "command": "final",
        "status": "completed",
        "parent": parent.id,
        "folds": [0, 1, 2],
        "epochs_run": 3,
    }
    assert {key: record[key] for key in told} == told
    assert record["best"] == of_parent["best"]
    assert "training_seconds" not in record
    assert (made.path / "history.csv").read_bytes() == (parent.path / "history.csv").read_bytes()
    found = record["ensemble"]
    assert (found["of"], found["taken_over"], found["rows"]) == ("folds", True, 48)
    assert (found["combination"], found["optimistic"]) == ("out_of_fold", False)
    assert "ensemble" not in of_parent or of_parent["ensemble"] is None
    assert of_parent["test_uses"] == []  # the parent did not look


@pytest.mark.parametrize("spec", [REGRESSION, SCALED], ids=["own_units", "standardized"])
def test_its_validation_score_is_that_of_all_rows_each_out_of_its_fold(
    spec: dict[str, Any], tmp_path: Path
) -> None:
    _, made = of_folds(tmp_path, spec)
    values, true = predicted(made, "validation")
    assert len(values) == 48
    found = record_of(made.path)["ensemble"]["validation"]
    assert found["mae"] == pytest.approx(np.mean(abs(values - true)), rel=1e-5)
    errors = (values - true) ** 2
    if spec is SCALED:  # each row by the scale of the training rows of its own fold
        folds = np.array_split(true, 3)
        own = [np.concatenate([of for j, of in enumerate(folds) if j != i]).var() for i in range(3)]
        errors /= np.repeat(own, [len(fold) for fold in folds])
    assert found["loss"] == pytest.approx(np.mean(errors), rel=1e-5)


@pytest.mark.parametrize("targets", ["standardize", "quantile"])
def test_out_of_fold_the_loss_is_the_mean_of_the_folds_losses(targets: str, tmp_path: Path) -> None:
    spec = {**SCALED, "preprocessing": {"inputs": "standardize", "targets": targets}}
    _, made = of_folds(tmp_path, spec)  # folds of as many rows
    found = evaluate_run(made, split="validation")
    assert len({member.rows for member in found.members}) == 1
    each = [member.scores["loss"] for member in found.members]
    assert found.scores["loss"] == pytest.approx(np.mean(each), rel=1e-5)


def test_a_caution_about_scores_out_of_fold_is_not_about_the_average(tmp_path: Path) -> None:
    spec = {**REGRESSION, "optimizer": {"sgd": {"learning_rate": 1e-9}}}  # which learns nothing
    tested = of_folds(tmp_path, spec)[1].read_record()
    assert caution_text(tested).startswith("The average of the networks does not beat the best constant: ")
    untested = of_folds(tmp_path, spec, arrays=numbers(test_rows=0))[1].read_record()
    assert caution_text(untested).startswith("On average the networks do not beat the best constant: ")


def test_the_test_set_is_used_once_and_its_score_is_that_of_the_average(tmp_path: Path) -> None:
    _, made = of_folds(tmp_path)
    record = record_of(made.path)
    assert [(use["command"], use["look"]) for use in record["test_uses"]] == [("final", 1)]
    assert record["baseline_on"] == "test"
    values, true = predicted(made, "test")
    assert record["test"]["mae"] == pytest.approx(np.mean(abs(values - true)), rel=1e-5)
    assert record["test"]["loss"] == pytest.approx(np.mean((values - true) ** 2), rel=1e-5)
    each = [of["mae"] for of in of_members(made.path, "test").values()]
    assert record["ensemble"]["test_mean"]["mae"] == pytest.approx(np.mean(each))
    assert record["ensemble"]["test_std"]["mae"] == pytest.approx(np.std(each, ddof=1))
    assert record["test"]["loss"] <= record["ensemble"]["test_mean"]["loss"]  # a square is convex


def test_evaluating_it_gives_the_score_of_the_average(tmp_path: Path) -> None:
    parent, made = of_folds(tmp_path, BINARY)
    measured, of_parent = evaluate_run(made), evaluate_run(parent)
    assert measured.scores == of_parent.ensemble
    assert (measured.std, measured.ensemble) == ({}, None)
    assert measured.members_mean == {n: (v, of_parent.std[n]) for n, v in of_parent.scores.items()}
    assert of_parent.members_mean is None
    record = record_of(made.path)
    assert record["test"] == measured.scores
    assert "test_std" not in record
    assert [use["command"] for use in record["test_uses"]] == ["final", "evaluate"]


def test_linear_models_beside_it_are_averaged_likewise(tmp_path: Path) -> None:
    """Ridge regression of scikit-learn on the rows of each fold, whose predictions are averaged."""
    from sklearn.linear_model import Ridge
    from sklearn.preprocessing import StandardScaler

    _, made = of_folds(tmp_path)
    arrays, opened = numbers(), open_run(made, Access())
    predictions = []
    for network in opened.networks:
        rows = opened.fold_of(network).train_rows
        scaler = StandardScaler().fit(arrays["x_train"][rows])
        ridge = Ridge(1.0).fit(scaler.transform(arrays["x_train"][rows]), arrays["y_train"][rows])
        predictions.append(ridge.predict(scaler.transform(arrays["x_test"])))
    wrong = np.mean(predictions, axis=0) - arrays["y_test"]
    linear = made.read_record().linear_baseline
    assert linear is not None
    assert linear.scores["mae"] == pytest.approx(np.abs(wrong).mean(), rel=1e-5)
    assert linear.scores["loss"] == pytest.approx(np.square(wrong).mean(), rel=1e-5)
    assert linear.model == "the average of 3 models of ridge regression (alpha = 1)"
    untested = of_folds(tmp_path, arrays=numbers(test_rows=0))[1].read_record().linear_baseline
    assert untested is not None
    assert untested.model == "ridge regression (alpha = 1)"  # each row is predicted by one of them


def test_linear_models_beside_it_know_no_threshold_of_the_networks(tmp_path: Path) -> None:
    """Of classes, whose probabilities are averaged; beside a threshold that predicts none of them."""
    spec = {**BINARY, "threshold": 0.999}
    linear = of_folds(tmp_path, spec)[1].read_record().linear_baseline
    plain = of_folds(tmp_path, BINARY)[1].read_record().linear_baseline
    assert linear is not None
    assert plain is not None
    assert linear.scores == plain.scores
    assert linear.scores["accuracy"] > 0.7  # type: ignore[operator]


def test_its_scores_say_which_are_calibrated(tmp_path: Path) -> None:
    spec = {**BINARY, "calibrate": "temperature", "metrics": ["accuracy", "log_loss"]}
    record = of_folds(tmp_path, spec)[1].read_record()
    assert record.ensemble is not None
    _, columns = ensemble_columns(record, record.ensemble)
    assert {"out of fold, as trained", "test, calibrated"} <= set(columns)
    _, plain = ensemble_columns(*_record_and_ensemble(of_folds(tmp_path, BINARY)[1]))
    assert {"out of fold", "test"} <= set(plain)


def _record_and_ensemble(run: RunDirectory) -> tuple[RunRecord, EnsembleRecord]:
    record = run.read_record()
    assert record.ensemble is not None
    return record, record.ensemble


def test_scores_on_rows_that_chose_an_epoch_are_called_optimistic(tmp_path: Path) -> None:
    _, made = of_folds(tmp_path, **RESTORED)
    assert record_of(made.path)["ensemble"]["optimistic"] is True
    assert evaluate_run(made, split="validation").chosen_on_these_rows


def test_the_best_weights_of_its_members_can_be_used(tmp_path: Path) -> None:
    fast: dict[str, Any] = {"optimizer": {"rmsprop": {"learning_rate": 3.0}}, "epochs": 8}
    parent, made = of_folds(tmp_path, **fast)
    best = evaluate_run(made, Access(weights="best"), split="validation")
    own = nnrun.predict(nnrun.Run(parent.path), split="validation", weights="best")
    assert best.scores["mae"] == pytest.approx((own["prediction"] - own["target"]).abs().mean(), rel=1e-5)
    assert best.chosen_on_these_rows
    assert best.scores != evaluate_run(made, split="validation").scores


def test_only_the_best_weights_can_be_taken_over(tmp_path: Path) -> None:
    fast: dict[str, Any] = {"optimizer": {"rmsprop": {"learning_rate": 3.0}}, "epochs": 8}
    parent = train(tmp_path, **FOLDS, **fast)
    made = final_of_members(parent, settings(tmp_path), "folds", weights="best")
    epochs = [m["best_weights_epoch"] for m in record_of(parent.path)["members"]]
    assert set(epochs) != {8}
    record = record_of(made.path)
    assert [m["weights_epoch"] for m in record["members"]] == epochs
    assert [m["test_epoch"] for m in record["members"]] == epochs
    assert (record["ensemble"]["weights"], record["ensemble"]["optimistic"]) == ("best", True)
    assert not list(made.path.glob("fold-*/weights-best.safetensors"))
    best, x = Access(weights="best"), np.load(tmp_path / "small.npz")["x_test"]
    expected = load_predictor(parent, best).outputs(x)
    for access in (Access(), best):  # there are no others
        predictor = load_predictor(made, access)
        assert predictor.outputs(x).tobytes() == expected.tobytes()
        listed = ", ".join(map(str, epochs))
        assert predictor.weights.sentence == f"weights: each fold's best epoch by val_loss (epochs {listed})"
    recorded = recorded_weights(made.read_record())
    assert recorded is not None
    assert recorded.sentence == predictor.weights.sentence


def test_seeds_that_share_their_validation_rows_are_scored_there_as_one(tmp_path: Path) -> None:
    parent = train(tmp_path, seeds=3)
    made = final_of_members(parent, settings(tmp_path), "seeds")
    found = record_of(made.path)["ensemble"]
    assert (found["of"], found["combination"], found["rows"]) == ("seeds", "ensemble", 16)
    values, true = predicted(made, "validation")
    assert found["validation"]["mae"] == pytest.approx(np.mean(abs(values - true)), rel=1e-5)


def test_seeds_are_trained_on_all_rows_and_averaged(tmp_path: Path) -> None:
    loaded = load_small(tmp_path)
    made = final_of_spec(loaded, settings(tmp_path, selection=Selection(seeds=3)))
    record = record_of(made.path)
    assert record["seeds"] == [0, 1, 2]
    assert record["rows"] == {"train": 48, "validation": 0, "test": 12}
    assert (record["ensemble"]["of"], record["ensemble"].get("taken_over", False)) == ("seeds", False)
    assert "validation" not in record["ensemble"]
    assert [use["command"] for use in record["test_uses"]] == ["final"]
    values, true = predicted(made, "test")
    assert record["test"]["mae"] == pytest.approx(np.mean(abs(values - true)), rel=1e-5)
    alone = final_of_spec(loaded, settings(tmp_path, selection=Selection(seeds=3)))
    assert without_seconds(alone.path) == without_seconds(made.path)
    assert evaluate_run(made).scores == pytest.approx(record["test"])


def test_seeds_are_trained_for_as_long_as_the_validation_of_a_run_chose(tmp_path: Path) -> None:
    parent = train(tmp_path, optimizer={"rmsprop": {"learning_rate": 3.0}}, epochs=8, **FOLDS)
    made = final_of_run(parent, settings(tmp_path, selection=Selection(seeds=2)))
    record = record_of(made.path)
    assert (record["epochs_run"], record["parent"]) == (record_of(parent.path)["best_epoch"], parent.id)
    assert record["chosen_from"]["parent"] == parent.id


@pytest.mark.parametrize("kind", ["folds", "seeds"])
def test_it_is_reproduced_by_training_its_members_again(kind: str, tmp_path: Path) -> None:
    if kind == "folds":
        _, made = of_folds(tmp_path)
    else:
        made = final_of_spec(load_small(tmp_path), settings(tmp_path, selection=Selection(seeds=2)))
    again = reproduce_run(made, runs_dir=tmp_path / "again")
    assert again.identical
    assert again.changed == {}
    record = record_of(again.run.path)
    assert record["test_uses"] == []
    assert record["ensemble"]["of"] == kind


def test_seeds_that_were_interrupted_are_resumed_and_scored(tmp_path: Path) -> None:
    class Stops(Listener):
        def epoch(self, record: Any) -> None:
            if record.epoch == 2:
                raise StopTraining("as planned")

    own = settings(tmp_path, selection=Selection(seeds=2), keep_every_epoch=True)
    whole = final_of_spec(load_small(tmp_path), own)
    with pytest.raises(StopTraining):
        final_of_spec(load_small(tmp_path), own, listener=Stops())
    (stopped,) = (run for run in (tmp_path / "runs").iterdir() if run.is_dir() and run != whole.path)
    assert resume_run(RunDirectory(stopped))
    assert without_seconds(stopped) == without_seconds(whole.path)
    assert record_of(stopped)["test"] == record_of(whole.path)["test"]
    assert record_of(stopped)["ensemble"] == record_of(whole.path)["ensemble"]


def test_another_file_of_test_rows(tmp_path: Path) -> None:
    rng = np.random.RandomState(0)
    lines = [f"{a:.3f},{b:.3f},{a - b:.3f}" for a, b in rng.normal(size=(60, 2))]
    (tmp_path / "rows.csv").write_text("\n".join(["a,b,y", *lines[:48]]) + "\n")
    (tmp_path / "later.csv").write_text("\n".join(["a,b,y", *lines[48:]]) + "\n")
    parent = train(tmp_path, dataset={"csv": {"path": "rows.csv", "target": "y"}}, **FOLDS)
    made = final_of_members(parent, settings(tmp_path), "folds", test=tmp_path / "later.csv")
    record = record_of(made.path)
    assert record["rows"]["test"] == 12
    assert [data["name"] for data in record["data"]] == ["rows.csv", "later.csv"]
    without = final_of_members(parent, settings(tmp_path), "folds")
    assert record_of(without.path)["test_uses"] == []
    own = {"csv": {"path": "rows.csv", "target": "y", "test": {"fraction": 0.25}}}
    parent = train(tmp_path, dataset=own, **FOLDS)
    with pytest.raises(UsageError, match="the networks were not trained on them"):
        final_of_members(parent, settings(tmp_path), "folds", test=tmp_path / "later.csv")


def test_where_steps_are_masked_equal_networks_score_as_one_of_them(tmp_path: Path) -> None:
    rng = np.random.RandomState(0)
    x, y = rng.randint(1, 6, (40, 7)), rng.randint(0, 3, (40, 7))
    x[::2, 4:] = 0  # padding
    spec = {
        "dataset": {"npz": "small.npz"},
        "preprocessing": {"inputs": {"pad": 7}, "targets": "class_index"},
        "layers": [
            {"embedding": {"input_dim": 6, "output_dim": 4, "mask_zero": True}},
            {"gru": {"units": 5, "return_sequences": True}},
            {"dense": {"units": 3, "activation": "softmax"}},
        ],
        "loss": "sparse_categorical_crossentropy",
        "metrics": ["accuracy"],
        "epochs": 2,
        "validation": KFOLD,
    }
    arrays = {"x_train": x[:30], "y_train": y[:30], "x_test": x[30:], "y_test": y[30:]}
    parent = train(tmp_path, spec, arrays=arrays)
    for fold in (1, 2):
        shutil.copytree(parent.path / "fold-0", parent.path / f"fold-{fold}", dirs_exist_ok=True)
    made = final_of_members(parent, settings(tmp_path), "folds")
    record = record_of(made.path)
    assert record["test"] == pytest.approx(of_members(made.path, "test")["0"], rel=1e-5)
    assert record["ensemble"]["combination"] == "out_of_fold"
    assert 0 < record["ensemble"]["validation"]["accuracy"] < 1


def test_one_that_was_cut_off_is_made_again(tmp_path: Path) -> None:
    parent, made = of_folds(tmp_path)
    record = made.read_record()
    record.status = "interrupted"
    made.write_record(record)
    with pytest.raises(UsageError, match=f"Make it again: nnrun final {parent.path} --members folds"):
        resume_run(made)


def test_an_interrupted_look_at_the_test_set_is_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(opened: OpenRun, split: Any, **options: Any) -> Evaluation:
        if split == "test":
            opened.count_look("final")
            raise KeyboardInterrupt
        return evaluate_opened(opened, split, **options)

    monkeypatch.setattr(ensemble, "evaluate_opened", interrupted)
    parent = train(tmp_path, **FOLDS)
    with pytest.raises(RunInterrupted) as stopped:
        final_of_members(parent, settings(tmp_path), "folds")
    record = record_of(stopped.value.run.path)
    assert (record["status"], len(record["test_uses"])) == ("interrupted", 1)
    assert record["ensemble"]["validation"].keys() == {"loss", "mae"}
    assert "test" not in record


def test_a_comparison_tells_whose_scores_are_whose(tmp_path: Path) -> None:
    parent, made = of_folds(tmp_path)
    found = notes(compare_runs([parent, made]))
    assert (
        "B is the average of 3 folds' networks. Its validation scores are those of its single networks, fold "
        "by fold; its test scores are those of the average."
    ) in found


def test_what_its_parents_training_showed_is_not_told_as_its_own(tmp_path: Path) -> None:
    parent, made = of_folds(tmp_path)
    verdict = parent.read_record().verdict
    assert verdict
    runs = [(parent, True), (made, False)]
    for run, own in runs:
        record = run.read_record()
        assert (verdict in closing_text(run, record)) == own
        assert (verdict in run_html(run)) == own
        assert (verdict in unescape(report_page([run], {}))) == own
        assert (verdict[-30:] in card_text(load_predictor(run), None, None, "")) == own
    assert [found.epochs for found in list_runs(made.runs_dir) if found.command == "final"] == [None]
    for measure, (curve,) in make_panels([made]).curves.items():
        assert curve.best_epoch is None, measure
    assert make_panels([parent]).curves["loss"][0].best_epoch == parent.read_record().best_epoch
    assert make_panels([made]).note == f"mean of the folds of {parent.id}, which trained them"


def test_what_is_no_run_of_several_such_networks_is_refused(tmp_path: Path) -> None:
    def refused(run: RunDirectory, members: Any, says: str, **options: Any) -> None:
        before = sorted((tmp_path / "runs").iterdir())
        with pytest.raises(UsageError, match=says):
            final_of_members(run, settings(tmp_path), members, **options)
        assert sorted((tmp_path / "runs").iterdir()) == before  # nothing was made

    refused(train(tmp_path), "folds", "has one network. Name a run of several folds: nnrun kfold SPEC")
    parent, made = of_folds(tmp_path)
    refused(parent, "seeds", "has folds. Name a run of several seeds: nnrun train SPEC --seeds N")
    refused(made, "folds", "is such a model already, the average of its 3 folds")
    refused(parent, "folds", "was trained with a different epochs", overrides=["epochs=2"])
    one = settings(tmp_path, selection=Selection(only_fold=1))
    refused(run_experiment(load_small(tmp_path, **FOLDS), one), "folds", "has fold 1 only")
    record = parent.read_record()
    record.status = "interrupted"
    parent.write_record(record)
    refused(parent, "folds", "is interrupted, so not all of its folds were trained to their end")


def test_python_makes_the_same(tmp_path: Path) -> None:
    path = write_small(tmp_path, BINARY, **FOLDS)
    parent = nnrun.train(path, runs_dir=tmp_path / "runs")
    made = nnrun.final(parent, members="folds", runs_dir=tmp_path / "runs")
    assert made.test == made.record["test"]
    assert made.record["ensemble"]["of"] == "folds"
    two = nnrun.final(path, seeds=2, runs_dir=tmp_path / "runs")
    assert two.record["seeds"] == [0, 1]
    with pytest.raises(UsageError, match="seeds is 1; an average takes a whole number from 2"):
        nnrun.final(path, seeds=1)
    with pytest.raises(
        UsageError, match=r"epochs is for training, and with members='folds' nothing is trained"
    ):
        nnrun.final(parent, members="folds", epochs=3)
    with pytest.raises(UsageError, match="weights is for members"):
        nnrun.final(parent, weights="best")
    with pytest.raises(UsageError, match=r"takes the networks of a run, and .*small.yaml is a spec"):
        nnrun.final(path, members="folds")


def test_folds_of_a_time_series_are_told_apart(tmp_path: Path) -> None:
    heard: list[str] = []

    class Hears(Listener):
        def message(self, text: str) -> None:
            heard.append(text)

    parent = train(tmp_path, validation={"time_series": {"k": 3}})
    made = final_of_members(parent, settings(tmp_path), "folds", listener=Hears())
    assert any(text.startswith("these are folds of a time series: each network") for text in heard)
    found = record_of(made.path)["ensemble"]
    assert (found["combination"], found["rows"]) == ("out_of_fold", 36)  # the first part is never validated
