"""Calibrations and thresholds of runs: on which rows they are fitted, and that everything uses them alike."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import nnrun
from nnrun.errors import DataError, UsageError
from nnrun.experiment.describing.describe_spec import describe_spec
from nnrun.experiment.describing.report import analysis_blocks, report_page
from nnrun.experiment.evaluating.compare import compare_runs
from nnrun.experiment.evaluating.compare_text import notes
from nnrun.experiment.evaluating.evaluate import evaluate_run
from nnrun.experiment.finished.decision_text import decisions_text
from nnrun.experiment.finished.decisions import FittedDecisions, as_trained, kept_decisions
from nnrun.experiment.finished.load_run import Access
from nnrun.experiment.predicting.intervals import calibrate_run
from nnrun.experiment.predicting.open_run import open_run
from nnrun.experiment.predicting.predict import load_predictor
from nnrun.experiment.running.ensemble import final_of_members
from nnrun.experiment.running.final import final_of_run, final_of_spec
from nnrun.experiment.running.job import Settings
from nnrun.experiment.running.listener import Listener, Start, StopTraining
from nnrun.experiment.running.resume import resume_run
from nnrun.experiment.running.train import run_experiment
from nnrun.experiment.setup.groups import Selection
from nnrun.records import RunDirectory
from nnrun.spec import schema
from nnrun.spec.ports import OUTPUT
from nnrun.spec.reading.load import load_spec
from nnrun.training.loop import EpochRecord
from nnrun.validation.calibration import Decision, best_threshold, fit_temperature
from tests.support.small_experiments import BINARY, load_small, record_of, without_seconds

# A network that learns noise by heart: what it says of other rows is far too sure.
OVERFITTED: dict[str, Any] = {
    **BINARY,
    "layers": [
        {"dense": {"units": 64, "activation": "relu"}},
        {"dense": {"units": 1, "activation": "sigmoid"}},
    ],
    "optimizer": {"adam": {"learning_rate": 0.02}},
    "metrics": ["accuracy", "f1", "log_loss"],
    "epochs": 60,
    "batch_size": 16,
    "validation": {"kfold": {"k": 3}},
}
BOTH: dict[str, Any] = {"calibrate": "temperature", "threshold": {"maximize": "f1"}}


def noisy(rows: int = 120, test_rows: int = 60) -> dict[str, np.ndarray]:
    """Rows of which a number says something of the class, and seven say nothing; a third of class 1."""
    rng = np.random.RandomState(3)
    x = rng.normal(size=(rows + test_rows, 8))
    y = (x[:, 0] + rng.normal(0, 1.5, len(x)) > 0.8).astype(int)
    return {"x_train": x[:rows], "y_train": y[:rows], "x_test": x[rows:], "y_test": y[rows:]}


def settings(folder: Path, **changes: Any) -> Settings:
    own: dict[str, Any] = {"command": "train", "runs_dir": folder / "runs"}
    return Settings(**own | changes)


def train(folder: Path, *, seeds: int | None = None, fold: int | None = None, **changes: Any) -> RunDirectory:
    selection = Selection(seeds=seeds, only_fold=fold)
    loaded = load_small(folder, OVERFITTED, arrays=noisy(), **changes)
    return run_experiment(loaded, settings(folder, selection=selection))


def predicted(run: RunDirectory, split: Any, **access: Any) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The probability of class 1, the predicted class and the true one of each row."""
    table = nnrun.predict(nnrun.Run(run.path), split=split, **access)
    return (
        table["probability_1"].to_numpy(float),
        table["prediction"].to_numpy(int),
        table["target"].to_numpy(int),
    )


def kept(run: RunDirectory) -> Decision:
    return kept_decisions(run)[0].outputs[OUTPUT]


def logit(p: np.ndarray) -> np.ndarray:
    return np.log(p) - np.log1p(-p)


def out_of_fold(run: RunDirectory) -> tuple[np.ndarray, np.ndarray]:
    """Float64 probabilities of each row by the network of its own fold, and the true classes; by rows."""
    opened = open_run(run, Access())
    train = opened.dataset.train
    found = np.full(len(train), np.nan)
    for network in opened.networks:
        rows = opened.fold_of(network).validation_rows
        found[rows] = opened.outputs(network, train.take(rows))[:, 0]
    return found, train.targets.astype(int)


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> RunDirectory:
    return train(tmp_path_factory.mktemp("plain"))


@pytest.fixture(scope="module")
def fitted(tmp_path_factory: pytest.TempPathFactory) -> RunDirectory:
    return train(tmp_path_factory.mktemp("fitted"), **BOTH)


def test_histories_and_weights_are_those_without(plain: RunDirectory, fitted: RunDirectory) -> None:
    assert without_seconds(plain.path) == without_seconds(fitted.path)
    for member in plain.members():
        ours, theirs = (run.read_weights(member) for run in (plain, fitted))
        assert all(np.array_equal(ours[name], theirs[name]) for name in ours)
    assert not (plain.path / "calibration.json").exists()
    assert "decisions" not in record_of(plain.path)
    assert "calibrate" not in (plain.path / "resolved.yaml").read_text()


def test_they_are_fitted_on_out_of_fold_predictions(plain: RunDirectory, fitted: RunDirectory) -> None:
    raw, true = out_of_fold(plain)
    found = fit_temperature(logit(raw)[:, None], true)
    decision = kept(fitted)
    assert isinstance(decision.method, schema.Temperature)
    assert decision.method.temperature == pytest.approx(found.temperature, rel=1e-6)
    assert found.temperature is not None
    assert found.temperature > 1.5
    expected = 1 / (1 + np.exp(-logit(raw) / found.temperature))
    assert decision.threshold == pytest.approx(best_threshold("f1", expected, true), rel=1e-6)
    calibrated, classes, _ = predicted(fitted, "validation")
    np.testing.assert_allclose(calibrated, expected, atol=1e-6)
    assert np.array_equal(classes, (calibrated > decision.threshold).astype(int))


def test_on_an_overfitted_network_log_loss_and_calibration_error_fall(fitted: RunDirectory) -> None:
    (told,) = fitted.read_record().decisions
    assert (told.rows, told.out_of_fold, told.parts, told.bins) == (120, True, 3, 15)
    before, after = told.log_loss["before"], told.log_loss["after"]
    assert before is not None
    assert after is not None
    assert after < 0.6 * before
    before, after = told.calibration_error["before"], told.calibration_error["after"]
    assert before is not None
    assert after is not None
    assert after < 0.6 * before
    scores = told.score
    assert scores["same_rows"] >= scores["before"]  # type: ignore[operator]


def test_test_rows_are_decided_like_new_rows(fitted: RunDirectory) -> None:
    probabilities, classes, _ = predicted(fitted, "test")
    new = load_predictor(fitted).outputs(noisy()["x_test"])[:, 0]
    np.testing.assert_allclose(new, probabilities, atol=1e-6)
    threshold = kept(fitted).threshold
    assert load_predictor(fitted).output_decoder.threshold == threshold
    assert np.array_equal(classes, (new > threshold).astype(int))


def test_the_mean_is_taken_over_calibrated_networks(plain: RunDirectory, fitted: RunDirectory) -> None:
    temperature = kept(fitted).method.temperature  # type: ignore[union-attr]
    each = [predicted(plain, "test", member=f"fold-{n}")[0] for n in range(3)]
    expected = np.mean([1 / (1 + np.exp(-logit(p) / temperature)) for p in each], axis=0)
    np.testing.assert_allclose(predicted(fitted, "test")[0], expected, atol=2e-3)


def test_evaluate_measures_what_is_predicted(plain: RunDirectory, fitted: RunDirectory) -> None:
    from sklearn.metrics import accuracy_score, f1_score, log_loss

    found = evaluate_run(fitted, Access(member="fold-1"))
    p, classes, true = predicted(fitted, "test", member="fold-1")
    assert found.scores["log_loss"] == pytest.approx(log_loss(true, p), rel=1e-5)
    assert found.scores["loss"] == pytest.approx(log_loss(true, p), rel=1e-5)
    assert found.scores["accuracy"] == pytest.approx(accuracy_score(true, classes))
    assert found.scores["f1"] == pytest.approx(f1_score(true, classes))
    assert found.undecided is not None
    without = evaluate_run(plain, Access(member="fold-1"))
    assert found.undecided.scores == pytest.approx(without.scores)
    assert without.undecided is None
    analysis = found.analysis
    assert analysis is not None
    assert analysis.wrong == (true != classes).sum()  # type: ignore[union-attr]


def test_scores_on_the_rows_that_it_was_fitted_on_are_called_so(fitted: RunDirectory) -> None:
    on_validation = evaluate_run(fitted, split="validation").undecided
    on_test = evaluate_run(fitted).undecided
    assert on_validation is not None
    assert on_test is not None
    assert on_validation.fitted_on_these_rows
    assert not on_test.fitted_on_these_rows
    assert on_validation.fitted == ("calibration", "threshold")


def test_final_takes_over_what_its_parent_fitted_for_best_epochs(
    fitted: RunDirectory, tmp_path: Path
) -> None:
    last, best = kept_decisions(fitted)
    assert last.epochs != best.epochs
    run = final_of_run(fitted, settings(tmp_path))
    text = (run.path / "resolved.yaml").read_text()
    decision = best.outputs[OUTPUT]
    assert f"threshold: {{at: {decision.threshold!r}}}" in text
    (told,) = run.read_record().decisions
    assert told.parent == fitted.id
    assert told.threshold == decision.threshold
    p, classes, true = predicted(run, "test")
    assert np.array_equal(classes, (p > decision.threshold).astype(int))
    assert record_of(run.path)["test"]["accuracy"] == pytest.approx((classes == true).mean())
    assert fitted.id in decisions_text(run.read_record())


@pytest.mark.parametrize(
    "change", [{"calibrate": "platt"}, {"calibrate": None}, {"threshold.maximize": "mcc"}], ids=str
)
def test_final_takes_over_nothing_that_was_fitted_for_something_else(
    fitted: RunDirectory, tmp_path: Path, change: dict[str, Any]
) -> None:
    with pytest.raises(UsageError, match="would be fitted on rows that the network"):
        final_of_run(fitted, settings(tmp_path), overrides=change)


def test_final_takes_over_a_calibration_beside_another_threshold(
    fitted: RunDirectory, tmp_path: Path
) -> None:
    run = final_of_run(fitted, settings(tmp_path), overrides={"threshold": 0.4}, epochs=2)
    spec = load_predictor(run).spec
    assert spec.calibrate == kept(fitted).method
    assert spec.threshold == schema.Threshold(at=0.4)


def test_final_of_a_spec_has_no_rows_to_fit_on(tmp_path: Path) -> None:
    loaded = load_small(tmp_path, OVERFITTED, arrays=noisy(), **BOTH)
    with pytest.raises(UsageError, match="calibrate and threshold would be fitted on rows that the network"):
        final_of_spec(loaded, settings(tmp_path))
    given = load_small(
        tmp_path, OVERFITTED, arrays=noisy(), calibrate={"temperature": 2.0}, threshold=0.25, epochs=2
    )
    run = final_of_spec(given, settings(tmp_path))
    p, classes, _ = predicted(run, "test")
    assert np.array_equal(classes, (p > 0.25).astype(int))
    assert "given by the spec" in decisions_text(run.read_record())


def test_an_ensemble_of_folds_decides_as_its_parent(fitted: RunDirectory, tmp_path: Path) -> None:
    run = final_of_members(fitted, settings(tmp_path), "folds")
    for ours, theirs in zip(predicted(run, "test"), predicted(fitted, "test"), strict=True):
        assert np.array_equal(ours, theirs)
    _, classes, true = predicted(run, "test")
    record = run.read_record()
    assert record.test["accuracy"] == pytest.approx((classes == true).mean())
    assert record.ensemble is not None
    raw = evaluate_run(run, split="validation").undecided
    assert raw is not None
    assert record.ensemble.validation["log_loss"] == pytest.approx(raw.scores["log_loss"])
    assert [told.parent for told in record.decisions] == [fitted.id]


class _Stops(Listener):
    def started(self, start: Start) -> None:
        self.run = start.run

    def epoch(self, record: EpochRecord) -> None:
        if record.epoch == 7:
            raise StopTraining("as planned")


def test_a_resumed_run_fits_the_same_bytes(tmp_path: Path) -> None:
    changes: dict[str, Any] = {**BOTH, "epochs": 12, "calibrate": "platt"}
    whole = train(tmp_path, **changes)
    listener = _Stops()
    loaded = load_small(tmp_path, OVERFITTED, arrays=noisy(), **changes)
    with pytest.raises(StopTraining):
        run_experiment(loaded, settings(tmp_path, keep_every_epoch=True), listener)
    messages: list[str] = []
    heard = Listener()
    heard.message = messages.append  # type: ignore[method-assign]
    load_predictor(listener.run, Access(listener=heard))
    assert "fitted no calibration and no threshold for these weights" in "\n".join(messages)
    resume_run(listener.run)
    ours, theirs = ((run.path / "calibration.json").read_bytes() for run in (whole, listener.run))
    assert ours == theirs
    assert record_of(whole.path)["decisions"] == record_of(listener.run.path)["decisions"]


def test_a_given_temperature_beside_a_fitted_threshold_is_not_told_as_fitted(tmp_path: Path) -> None:
    run = train(tmp_path, calibrate={"temperature": 2.0}, threshold={"maximize": "f1"}, epochs=5)
    (told,) = run.read_record().decisions
    assert told.given == ["calibrate"]
    assert told.weights == "epoch 5, the last"
    text = decisions_text(run.read_record())
    assert text.startswith("Threshold ")
    assert "Calibration (temperature 2): given by the spec." in text
    intervals = " ".join(calibrate_run(run, Access(), 0.9).sentences)
    assert "fitted the calibration of the probabilities" not in intervals
    measured = evaluate_run(run, split="validation").undecided_text
    assert " The threshold was fitted on these very rows, so the scores with it are optimistic" in measured
    final = final_of_run(run, settings(tmp_path), epochs=2)
    (taken,) = final.read_record().decisions
    assert (taken.parent, taken.given) == (run.id, ["calibrate"])
    ensemble = final_of_members(run, settings(tmp_path), "folds", weights="best")
    (taken,) = ensemble.read_record().decisions
    assert (taken.parent, taken.given) == (run.id, ["calibrate"])


def test_the_interval_says_that_its_rows_fitted_the_calibration(fitted: RunDirectory) -> None:
    intervals = " ".join(calibrate_run(fitted, Access(), 0.9).sentences)
    assert "fitted the calibration of the probabilities" in intervals


def test_a_holdout_is_cross_fitted_in_parts(tmp_path: Path) -> None:
    run = train(tmp_path, calibrate="isotonic", epochs=5, validation={"holdout": {"fraction": 0.5}})
    (told,) = run.read_record().decisions
    assert (told.rows, told.out_of_fold, told.parts) == (60, False, 5)
    assert told.log_loss.keys() == {"before", "after"}


def test_seeds_share_one_calibration(tmp_path: Path) -> None:
    run = train(tmp_path, seeds=2, calibrate="temperature", epochs=5, validation={"holdout": {"first": 40}})
    (told,) = run.read_record().decisions
    assert (told.rows, told.out_of_fold, told.parts) == (80, False, 5)
    (found,) = (each for each in kept_decisions(run) if set(each.epochs.values()) == {5})
    assert set(found.epochs) == {"seed-0", "seed-1"}


def test_a_single_fold_is_fitted_on_its_own_rows(tmp_path: Path) -> None:
    run = train(tmp_path, fold=1, calibrate="temperature", epochs=5)
    (told,) = run.read_record().decisions
    assert (told.rows, told.out_of_fold, told.parts) == (40, False, 5)


def test_rows_of_one_class_leave_the_network_as_it_is(tmp_path: Path) -> None:
    arrays = noisy()
    order = np.argsort(arrays["y_train"], kind="stable")
    arrays |= {name: arrays[name][order] for name in ("x_train", "y_train")}
    changes: dict[str, Any] = {**BOTH, "epochs": 2, "validation": {"holdout": {"first": 30}}}
    loaded = load_small(tmp_path, OVERFITTED, arrays=arrays, **changes)
    run = run_experiment(loaded, settings(tmp_path))
    (told,) = run.read_record().decisions
    assert told.reason is not None
    assert "all of one class" in told.reason
    assert load_predictor(run).output_decoder.threshold == 0.5


def test_a_lost_or_damaged_file_is_said(fitted: RunDirectory, tmp_path: Path) -> None:
    run = RunDirectory(tmp_path / fitted.id)
    shutil.copytree(fitted.path, run.path)
    (run.path / "calibration.json").write_text('{"fitted": [{"epochs": {}, "outputs": {"(output)": 3}}]}')
    with pytest.raises(DataError, match=r"calibration\.json of .* is damaged"):
        load_predictor(run)
    (run.path / "calibration.json").unlink()
    with pytest.raises(DataError, match=r"has lost its calibration\.json"):
        load_predictor(run)


def test_what_was_fitted_reads_back_bit_for_bit() -> None:
    methods = [
        schema.Temperature(temperature=1 / 3),
        schema.Platt(slope=0.1, intercept=-1e-7),
        schema.Isotonic(logits=[-0.1, 1e-9], probabilities=[0.1, 0.7]),
        None,
    ]
    for method in methods:
        found = FittedDecisions({"fold-0": 3, "": 4}, {"a": Decision(method, 2 / 3), "b": Decision(method)})
        assert FittedDecisions.from_json(json.loads(json.dumps(found.to_json()))) == found


def of_two_outputs(folder: Path, **of_yes: Any) -> RunDirectory:
    """Two outputs: `yes`, of two classes, some of whose rows lack a target; `kind`, of three classes."""
    own = noisy()
    yes = own["y_train"].astype(float)
    yes[::7] = np.nan
    kinds = own["y_train"] + (own["x_train"][:, 1] > 0)
    arrays = {"x_train": own["x_train"], "yes_train": yes, "kind_train": kinds}
    spec: dict[str, Any] = {
        "dataset": {"npz": "small.npz"},
        "layers": {
            "both": [{"dense": {"units": 32, "activation": "relu"}}],
            "yes": [{"from": "both"}, {"dense": {"units": 1, "activation": "sigmoid"}}],
            "kind": [{"from": "both"}, {"dense": {"units": 3, "activation": "softmax"}}],
        },
        "outputs": {
            "yes": {"loss": "binary_crossentropy", "metrics": ["accuracy"], **of_yes},
            "kind": {"loss": "sparse_categorical_crossentropy", "calibrate": "temperature"},
        },
        "optimizer": {"adam": {"learning_rate": 0.02}},
        "epochs": 30,
        "validation": {"kfold": {"k": 3}},
    }
    np.savez(folder / "small.npz", **arrays)
    path = folder / "small.yaml"
    path.write_text("".join(f"{key}: {json.dumps(value)}\n" for key, value in spec.items()))
    return run_experiment(load_spec(path), settings(folder))


def test_each_output_has_its_own(tmp_path: Path) -> None:
    run = of_two_outputs(tmp_path, calibrate="platt", threshold={"maximize": "balanced_accuracy"})
    yes, kind = run.read_record().decisions
    assert (yes.output, yes.rows, yes.maximizes) == ("yes", 102, "balanced_accuracy")
    assert (kind.output, kind.rows, kind.threshold) == ("kind", 120, None)
    before, after = kind.log_loss["before"], kind.log_loss["after"]
    assert before is not None
    assert after is not None
    assert after < before
    found = kept_decisions(run)[0].outputs
    assert isinstance(found["kind"].method, schema.Temperature)
    decoders = load_predictor(run).output_decoders
    assert decoders["yes"].threshold == found["yes"].threshold
    evaluation = evaluate_run(run, split="validation")
    assert evaluation.undecided is not None
    assert evaluation.undecided.calibration_errors.keys() == {"yes", "kind"}
    assert evaluation.undecided.thresholds.keys() == {"yes"}
    final = final_of_run(run, settings(tmp_path))
    assert [told.output for told in final.read_record().decisions] == ["yes", "kind"]


def test_an_output_may_be_decided_alone(tmp_path: Path) -> None:
    run = of_two_outputs(tmp_path, threshold=0.2)
    yes, kind = run.read_record().decisions
    assert (yes.output, yes.threshold, yes.rows) == ("yes", 0.2, None)
    assert (kind.output, kind.rows) == ("kind", 120)
    assert set(kept_decisions(run)[0].outputs) == {"kind"}
    assert load_predictor(run).output_decoders["yes"].threshold == 0.2


def test_a_temperature_changes_no_class(tmp_path: Path) -> None:
    run = of_two_outputs(tmp_path)
    table = nnrun.predict(nnrun.Run(run.path), split="validation")
    columns = [f"kind_{n}" for n in range(3)]
    assert np.array_equal(table["kind"], table[columns].to_numpy().argmax(1))
    opened = open_run(run, Access())
    plain = replace(opened, spec=as_trained(opened.spec))
    for network in opened.networks:
        ours, theirs = (
            each.by_output(network, opened.dataset.train)["kind"].argmax(1) for each in (opened, plain)
        )
        assert np.array_equal(ours, theirs)


def test_out_of_fold_predictions_are_those_of_predict(fitted: RunDirectory) -> None:
    kept_ = pd.read_csv(fitted.path / "oof.csv")
    p, classes, _ = predicted(fitted, "validation")
    np.testing.assert_allclose(kept_["probability_1"], p, atol=1e-6)
    assert np.array_equal(kept_["prediction"], classes)


def test_the_page_and_comparisons_tell_of_it(plain: RunDirectory, fitted: RunDirectory) -> None:
    said = decisions_text(fitted.read_record())
    assert said.startswith("Calibration (temperature ")
    assert "Each fold by what the other folds fit: log loss" in said
    page = report_page([fitted], {fitted.id: analysis_blocks(fitted, Access(), "s")})
    assert "fitted on 120 out-of-fold predictions" in page
    assert "The calibration and threshold were fitted on these very rows" in page
    assert "A has a calibration or a threshold of its own" in "\n".join(notes(compare_runs([fitted, plain])))


def test_a_smoke_run_calibrates(tmp_path: Path) -> None:
    loaded = load_small(tmp_path, OVERFITTED, arrays=noisy(), **BOTH)
    run = run_experiment(loaded, settings(tmp_path, smoke=True))
    assert run.read_record().decisions


def test_the_memory_of_the_fit_is_estimated(tmp_path: Path) -> None:
    loaded = load_small(tmp_path, OVERFITTED, arrays=noisy(), **BOTH)
    described = describe_spec(loaded.spec, None)
    assert described.memory is not None
    assert described.memory.work >= 6 * 8 * 120
