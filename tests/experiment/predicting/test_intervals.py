"""Intervals and sets beside predictions: from which rows they come, in which form, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import nnrun
from nnrun.cli import main
from nnrun.errors import UsageError
from nnrun.experiment.evaluating.evaluate import evaluate_run
from nnrun.experiment.finished.load_run import Access
from nnrun.experiment.predicting.intervals import calibrate_run
from nnrun.experiment.predicting.out_of_fold import out_of_fold
from nnrun.experiment.predicting.predict import load_predictor
from nnrun.experiment.predicting.predict_split import predict_split
from nnrun.experiment.running.final import final_of_run
from nnrun.experiment.running.job import Settings
from nnrun.experiment.running.train import run_experiment
from nnrun.experiment.setup.groups import Selection
from nnrun.records import RunDirectory
from nnrun.spec.ports import OUTPUT
from tests.support.small_experiments import (
    BINARY,
    KFOLD,
    REGRESSION,
    load_small,
    numbers,
    only_run,
    record_of,
    yes_or_no,
)

CLASSES: dict[str, Any] = {
    **REGRESSION,
    "layers": [{"dense": {"units": 3, "activation": "softmax"}}],
    "loss": "sparse_categorical_crossentropy",
    "metrics": ["accuracy"],
}
NEW = numbers()["x_test"]


def train(
    folder: Path,
    spec: dict[str, Any] = REGRESSION,
    selection: Selection | None = None,
    arrays: dict[str, np.ndarray] | None = None,
    **changes: Any,
) -> RunDirectory:
    if spec is CLASSES:
        arrays = numbers() | {"y_train": np.arange(48) % 3, "y_test": np.arange(12) % 3}
    loaded = load_small(folder, spec, arrays=arrays, **changes)
    return run_experiment(loaded, Settings("kfold", folder / "runs", selection=selection or Selection()))


def test_cv_plus_of_folds(tmp_path: Path) -> None:
    run = train(tmp_path, validation=KFOLD)
    table = nnrun.predict(nnrun.Run(run.path), NEW, interval=0.8)
    assert list(table) == ["prediction", "prediction_lower", "prediction_upper"]
    found = out_of_fold(run)
    residuals = np.abs(found.targets[OUTPUT] - found.outputs[OUTPUT][:, 0])
    each = [load_predictor(run, Access(member=f"fold-{fold}")).outputs(NEW)[:, 0] for fold in range(3)]
    rank = int(np.ceil(0.8 * 49))
    for row in range(len(NEW)):
        ends = np.array([each[fold][row] for fold in found.members])
        assert table["prediction_upper"][row] == pytest.approx(sorted(ends + residuals)[rank - 1])
        assert table["prediction_lower"][row] == pytest.approx(sorted(ends - residuals)[48 - rank])
    of_split = predict_split(run, "test", interval=0.8).table()
    assert of_split[list(table)].to_numpy(float) == pytest.approx(table.to_numpy(float))


def test_split_conformal_of_a_holdout_and_of_seeds_on_the_same_rows(tmp_path: Path) -> None:
    for selection in (None, Selection(seeds=2)):
        run = train(tmp_path, selection=selection)
        table = nnrun.predict(nnrun.Run(run.path), NEW, interval=0.75)
        half = (table["prediction_upper"] - table["prediction_lower"]) / 2
        validated = predict_split(run, "validation").table()
        residuals = np.abs(validated["target"] - validated["prediction"])
        assert half.to_numpy() == pytest.approx(np.full(12, np.sort(residuals)[12]), rel=1e-5)
        assert calibrate_run(run, Access(), 0.75).method == "intervals by split conformal prediction"


@pytest.mark.parametrize("spec", [BINARY, CLASSES], ids=["binary", "classes"])
def test_sets_of_classes(spec: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = train(tmp_path, spec, validation=KFOLD)
    table = nnrun.predict(nnrun.Run(run.path), NEW, interval=0.9)
    assert list(table)[:3] == ["prediction", "prediction_set", "probability"]
    sets = [text.split(";") for text in table["prediction_set"]]
    assert {name for of_row in sets for name in of_row} <= {"0", "1", "2"}
    capsys.readouterr()
    arguments = ["predict", str(run.path), "--split", "test", "--interval", "0.9", "--json", "-q"]
    assert main(arguments) == 0
    document = json.loads(capsys.readouterr().out)
    assert [list(map(str, p["prediction_set"])) for p in document["predictions"]] == sets
    assert document["interval"]["level"] == 0.9
    assert "adaptive prediction sets" in document["interval"]["method"]
    out = tmp_path / "p.jsonl"
    assert main([*arguments[:-2], "-q", "-o", str(out)]) == 0
    assert [json.loads(line) for line in out.read_text().splitlines()] == document["predictions"]


def test_numbers_are_in_the_units_of_the_target(tmp_path: Path) -> None:
    arrays = numbers()
    arrays |= {name: 100 * np.exp(arrays[name] / 4) for name in ("y_train", "y_test")}
    for step in ("log1p", "standardize", "quantile"):
        steps = {"inputs": "standardize", "targets": step}
        run = train(tmp_path, arrays=arrays, preprocessing=steps, validation=KFOLD, epochs=20)
        table = predict_split(run, "test", interval=0.8).table()
        assert (table["prediction_lower"] <= table["prediction_upper"]).all()
        found = out_of_fold(run)
        residuals = np.abs(found.targets[OUTPUT] - found.outputs[OUTPUT][:, 0])
        width = (table["prediction_upper"] - table["prediction_lower"]).mean()
        assert 1.5 * np.median(residuals) < width < 2.5 * residuals.max()


def test_several_outputs_each_have_their_own(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rng = np.random.default_rng(0)
    table = pd.DataFrame({"a": rng.normal(size=90), "b": rng.normal(size=90)})
    table["grade"] = np.array(["low", "mid", "top"], object)[np.digitize(table["a"], [-0.4, 0.4])]
    table["size"], table["c"] = 1000 + 50 * table["b"], 3 * table["a"]
    table["red"], table["new"] = (table["a"] > 0).astype(int), (table["b"] > 0).astype(int)
    table["part"] = np.where(np.arange(90) % 4 == 3, "t", "r")
    table.loc[5, "grade"] = None
    table.to_csv(tmp_path / "rows.csv", index=False)
    (tmp_path / "spec.yaml").write_text(
        """
dataset: {csv: {path: rows.csv, test: {column: part, value: t}}}
inputs: {numbers: {columns: [a, b]}}
layers:
  trunk: [from: numbers, dense: {units: 8, activation: relu}]
  grade: [from: trunk, dense: {units: 3, activation: softmax}]
  pair: [from: trunk, dense: 2]
  tags: [from: trunk, dense: {units: 2, activation: sigmoid}]
outputs:
  grade: {loss: categorical_crossentropy}
  pair: {target: [size, c], loss: mse, preprocessing: standardize}
  tags: {target: [red, new], loss: binary_crossentropy}
epochs: 2
validation: {kfold: {k: 3}}
"""
    )
    run = nnrun.train(tmp_path / "spec.yaml", runs_dir=tmp_path / "runs")
    columns = list(nnrun.predict(run, split="test", interval=0.9, probabilities=False))
    ends = ["pair_size_lower", "pair_c_lower", "pair_size_upper", "pair_c_upper"]
    assert columns[:4] == ["file_row", "grade_target", "grade", "grade_set"]
    assert [name for name in columns if name.startswith("pair")][-4:] == ends
    capsys.readouterr()
    assert main(["predict", str(run.path), "--split", "test", "--interval", "0.9", "--json"]) == 0
    printed = capsys.readouterr()
    first = json.loads(printed.out)["predictions"][0]
    assert len(first["pair_lower"]) == len(first["pair_upper"]) == 2
    assert "without an interval: 'tags'" in printed.err
    assert "from 67 validation rows of 3 folds" in printed.err  # a row lacks its grade
    evaluation = nnrun.evaluate(run, interval=0.9)
    assert [found.output for found in evaluation.coverage] == ["grade", "pair_size", "pair_c"]


def test_of_repeats_a_row_has_the_mean_of_those_that_did_not_train_on_it(tmp_path: Path) -> None:
    validation = {"kfold": {"k": 3, "shuffle": True, "repeats": 2}}
    found = calibrate_run(train(tmp_path, validation=validation), Access(), 0.8)
    assert (found.rows, found.folds, found.repeated) == (48, 6, True)
    (calibration,) = found.of_outputs.values()
    assert set(calibration.networks.sum(axis=1)) == {2}
    assert "nothing is proven, since folds were drawn more than once" in found.sentences[0]


def test_what_is_promised(tmp_path: Path) -> None:
    assert calibrate_run(train(tmp_path, validation=KFOLD), Access(), 0.9).sentences == [
        "intervals by CV+, from 48 validation rows of 3 folds: about 90 % of new rows are covered in "
        "practice, and at least 72.2 % by proof, if they are like these (exchangeable)"
    ]
    restored = {"early_stopping": {"patience": 1, "restore_best": True}}
    assert calibrate_run(train(tmp_path, **restored), Access(), 0.9).sentences == [
        "intervals by split conformal prediction, from 16 validation rows: about 90 % of new rows are "
        "covered, if they are like these (exchangeable)",
        "these rows also chose the epochs of the weights (early_stopping: {on: inner} leaves that to "
        "others), so their errors are somewhat too small: nothing is proven, and "
        "fewer new rows may be covered",
    ]


def test_sets_are_of_calibrated_probabilities(tmp_path: Path) -> None:
    run = train(tmp_path, BINARY, validation=KFOLD, calibrate="temperature")
    found = calibrate_run(run, Access(), 0.9)
    assert found.sentences[1] == (
        "these rows also fitted the calibration of the probabilities, so their errors are somewhat too "
        "small: nothing is proven, and fewer new rows may be covered"
    )
    (calibration,) = found.of_outputs.values()
    positive = predict_split(run, "validation").combined.outputs[:, 0]
    true = np.load(tmp_path / "small.npz")["y_train"]
    of_true = np.where(true == 1, positive, 1 - positive)
    assert calibration.scores[:, 0] == pytest.approx(np.where(of_true > 0.5, 0, 1 - of_true))


def test_the_model_of_all_folds_has_the_intervals_of_its_parent(tmp_path: Path) -> None:
    parent = train(tmp_path, validation=KFOLD)
    runs = tmp_path / "final"
    assert main(["final", str(parent.path), "--members", "folds", "--runs-dir", str(runs), "-q"]) == 0
    run = RunDirectory(only_run(runs))
    tables = [nnrun.predict(nnrun.Run(each.path), NEW, interval=0.9) for each in (run, parent)]
    assert tables[0].equals(tables[1])


@pytest.mark.parametrize(
    ("split", "level", "said"),
    [
        ("train", 0.9, r"for new rows and for --split test: train rows trained the networks"),
        ("validation", 0.9, r"validation rows are those that the intervals come from"),
        ("test", 1.0, r"--interval 1: it is the share of rows to cover, from 0.5 and below 1, such as 0.9\."),
        ("test", 0.3, r"--interval 0\.3: it is the share of rows to cover, from 0\.5"),
        ("test", 95, r"from 0.5 and below 1, such as 0\.95\."),
        ("test", 0.99, r"--interval 0\.99 needs 99 validation rows or more, and small.* has 48\."),
    ],
)
def test_what_is_refused_does_not_count_as_a_look(
    split: Any, level: float, said: str, tmp_path: Path
) -> None:
    run = train(tmp_path, validation=KFOLD)
    with pytest.raises(UsageError, match=said):
        predict_split(run, split, interval=level)
    if split != "train":
        with pytest.raises(UsageError, match=said):
            evaluate_run(run, split=split, interval=level)
    assert record_of(run.path)["test_uses"] == []


def test_a_run_of_all_training_rows_names_the_run_to_ask(tmp_path: Path) -> None:
    parent = train(tmp_path, validation=KFOLD)
    run = final_of_run(parent, Settings("final", tmp_path / "runs"))
    with pytest.raises(UsageError) as caught:
        load_predictor(run, interval=0.9)
    assert str(caught.value) == (
        f"--interval: {run.id} was trained on all training rows, and nothing says how wrong it is on others: "
        "the errors of folds are those of other networks. Ask the run that was validated (nnrun predict "
        f"{parent.path} INPUT --interval 0.9); or, if that is of folds, make these the model (nnrun final "
        f"{parent.path} --members folds)."
    )


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        (
            {"loss": {"quantile": {"quantiles": [0.1, 0.9]}}},
            r"predicts quantiles \(q10, q90\), which are inter",
        ),
        ({"loss": "hinge"}, "predicts classes by scores, which are no probabilities"),
    ],
)
def test_outputs_without_an_interval_are_refused(changes: dict[str, Any], said: str, tmp_path: Path) -> None:
    of_scores = changes["loss"] == "hinge"
    layers = [{"dense": {"units": 8, "activation": "relu"}}, {"dense": 1 if of_scores else 2}]
    arrays = yes_or_no() if of_scores else None
    run = train(tmp_path, arrays=arrays, **changes, layers=layers, metrics=[], validation=KFOLD)
    with pytest.raises(UsageError, match=said):
        load_predictor(run, interval=0.9)


def test_evaluate_measures_the_coverage_and_keeps_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = train(tmp_path, validation=KFOLD, epochs=30)
    evaluation = evaluate_run(run, interval=0.8)
    (found,) = evaluation.coverage
    table = predict_split(run, "test", interval=0.8).table()
    inside = table["target"].between(table["prediction_lower"], table["prediction_upper"])
    assert (found.rows, found.covered) == (12, int(inside.sum()))
    assert found.width == pytest.approx(
        (table["prediction_upper"] - table["prediction_lower"]).mean(), rel=1e-5
    )
    assert found.low < found.share <= found.high
    assert record_of(run.path)["coverage"] == [found.model_dump(exclude_unset=True)]
    assert [use["command"] for use in record_of(run.path)["test_uses"]] == ["evaluate", "predict"]
    capsys.readouterr()
    assert main(["evaluate", str(run.path), "--interval", "0.8", "--json", "-q", "--no-figures"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["coverage"] == [{**found.model_dump(exclude_none=True), "share": found.share}]
    assert document["interval"]["method"] == found.method == "intervals by CV+"
    assert main(["show", str(run.path)]) == 0
    assert "80 % intervals cover" in capsys.readouterr().out
