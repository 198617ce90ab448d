"""Runs on tables of named columns: folds together are folds alone, units are the target's own."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from nnrun.data import FittedPreprocessing
from nnrun.data.load_data import load_data
from nnrun.data.table import Table
from nnrun.errors import DataError
from nnrun.experiment.describing.describe_spec import column_plan
from nnrun.experiment.evaluating.evaluate import evaluate_run
from nnrun.experiment.exporting.export import export_run, generated_rows
from nnrun.experiment.finished.load_run import Access, load_networks, load_run_spec
from nnrun.experiment.predicting.predict import load_predictor, predict_values
from nnrun.experiment.running.job import Settings
from nnrun.experiment.running.train import run_experiment
from nnrun.experiment.setup.groups import Selection, prepare_groups
from nnrun.records import RunDirectory
from nnrun.spec.reading.load import LoadedSpec, load_spec_text

ROWS = 120
WORDS = np.array(["oil", "price", "rose", "fell", "cocoa", "bank", "rate", "ship", "tax", "gold"])


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    rng = np.random.RandomState(0)
    path = tmp_path_factory.mktemp("table") / "rows.csv"
    with path.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream)
        writer.writerow(["a", "b", "colour", "note", "price", "weight"])
        for i in range(ROWS):
            a, b = rng.normal(50, 10), rng.lognormal()
            colour = ["red", "green", "blue"][rng.randint(3)]
            note = " ".join(rng.choice(WORDS, 8))
            price = 1000 + 40 * a - 200 * b + 300 * (colour == "red") + rng.normal(0, 10)
            gap = "" if i % 7 == 2 else f"{b:.4f}"
            writer.writerow([f"{a:.3f}", gap, colour, note, f"{price:.2f}", f"{a / 1000:.5f}"])
    return path


def loaded(file: Path, **changes: Any) -> LoadedSpec:
    values: dict[str, Any] = {
        "name": "rows",
        "dataset": {"csv": {"path": str(file), "target": "price", "inputs": ["a", "b", "colour", "note"]}},
        "preprocessing": {"targets": "standardize"},
        "layers": [{"dense": {"units": 6, "activation": "relu"}}, {"dense": 1}],
        "loss": "mse",
        "metrics": ["mae", "mse", "rmse", "r2"],
        "epochs": 3,
        "batch_size": 16,
        "validation": {"kfold": {"k": 3, "shuffle": True}},
        **changes,
    }
    return load_spec_text(json.dumps(values), file="rows.yaml", base=file.parent, default_name="rows")


def train(file: Path, folder: Path, selection: Selection | None = None, **changes: Any) -> RunDirectory:
    settings = Settings("train", folder, None, "cpu", selection=selection or Selection())
    return run_experiment(loaded(file, **changes), settings)


STEPS = {
    "sparse": ["impute", "one_hot", {"text": {"weighting": "tf_idf"}}],
    "sparse, ones": ["impute", {"one_hot": ["colour"]}, {"text": 8}],
    "dense": [{"impute": {"indicator": True}}, {"min_max": "a"}, {"one_hot": "note"}],
    "word indices": [{"tokens": 8}, "multi_hot"],
}


@pytest.mark.parametrize("kind", STEPS)
def test_folds_together_compute_what_each_computes_alone(kind: str, file: Path, tmp_path: Path) -> None:
    changes: dict[str, Any] = {"preprocessing": {"inputs": STEPS[kind], "targets": "standardize"}}
    columns = ["note"] if kind == "word indices" else ["a", "b", "colour"] + ["note"] * ("sparse" in kind)
    if kind == "dense":
        changes["preprocessing"]["inputs"] = [*STEPS[kind][:2], "one_hot"]
    changes["dataset"] = {"csv": {"path": str(file), "target": "price", "inputs": columns}}
    together = train(file, tmp_path / "together", **changes)
    spec = loaded(file, **changes).spec
    (group,) = prepare_groups(spec, load_data(spec))
    assert len(group.members) == 3
    assert group.fitted[0].input.sparse is (kind != "dense")
    for fold in range(3):
        alone = train(file, tmp_path / f"{fold}", Selection(only_fold=fold), **changes)
        own = together.read_history()
        own = own[own["fold"] == fold].reset_index(drop=True).drop(columns="seconds")
        found = alone.read_history().drop(columns="seconds")
        pd.testing.assert_frame_equal(own, found, rtol=1e-5, atol=1e-5)


def test_metrics_are_in_the_targets_own_units_and_the_loss_is_not(file: Path, tmp_path: Path) -> None:
    run = train(file, tmp_path, epochs=4)
    dataset = load_data(load_run_spec(run).spec)
    price = dataset.train.targets
    history = run.read_history()
    for network in load_networks(run)[0]:
        assert network.member is not None
        (fold,) = [
            m.fold
            for g in prepare_groups(load_run_spec(run).spec, dataset)
            for m in g.members
            if m.id == network.member.id
        ]
        std = price[fold.train_rows].std()
        rows = history[history["fold"] == network.member.id]
        for prefix in ("", "val_"):
            mse = rows[f"{prefix}mse"].to_numpy()
            assert np.allclose(mse, rows[f"{prefix}loss"] * std**2, rtol=1e-4)
            assert np.allclose(rows[f"{prefix}rmse"] ** 2, mse)
            # r2 has no unit.
            spread = price[fold.validation_rows if prefix else fold.train_rows].var()
            assert np.allclose(rows[f"{prefix}r2"], 1 - mse / spread, atol=1e-4)
    baseline = run.read_record().baseline
    assert 0.8 * price.std() < baseline["rmse"] < 1.2 * price.std()
    assert abs(baseline["r2"]) < 0.2


def test_evaluate_converts_once(file: Path, tmp_path: Path) -> None:
    run = train(file, tmp_path, epochs=4)
    evaluation = evaluate_run(run, Access(device="cpu"), split="validation")
    assert evaluation.analysis is not None
    price = load_data(load_run_spec(run).spec).train.targets
    assert evaluation.scores["mae"] == pytest.approx(evaluation.analysis.as_document()["mae"], rel=0.05)
    assert evaluation.scores["mae"] < 2 * price.std()
    assert evaluation.scores["mae"] > 10
    assert all("colour" in row["text"] for row in evaluation.analysis.as_document()["worst"])


def test_several_targets_have_a_scale_each(file: Path, tmp_path: Path) -> None:
    changes: dict[str, Any] = {
        "dataset": {"csv": {"path": str(file), "target": ["price", "weight"], "inputs": ["a", "b"]}},
        "layers": [{"dense": 2}],
        "metrics": ["mae", "mse"],
        "validation": {"holdout": {"fraction": 0.3}},
    }
    run = train(file, tmp_path, **changes)
    (network,), _ = load_networks(run)
    dataset = load_data(load_run_spec(run).spec)
    (group,) = prepare_groups(load_run_spec(run).spec, dataset)
    rows = group.folds[0].validation_rows
    predictor = load_predictor(run, Access(device="cpu"))
    outputs = predictor.outputs(dataset.train.inputs.take(rows))  # type: ignore[union-attr]
    errors = np.abs(outputs - dataset.train.targets[rows])
    last = run.read_history().iloc[-1]
    assert last["val_mae"] == pytest.approx(errors.mean(), rel=1e-4)
    assert network.fitted.output.scale is not None


def test_predictions_by_name_are_those_of_the_training_rows(file: Path, tmp_path: Path) -> None:
    run = train(file, tmp_path)
    predictor = load_predictor(run, Access(device="cpu"))
    frame = pd.read_csv(file)
    found = predict_values(predictor, frame[["note", "colour", "price", "b", "a"]])
    dataset = load_data(load_run_spec(run).spec)
    assert np.allclose(found["prediction"], predictor.outputs(dataset.train.inputs)[:, 0], rtol=1e-6)


def test_a_program_of_numbers_has_its_steps_inside(file: Path, tmp_path: Path) -> None:
    import torch

    steps = [{"log1p": "a"}, {"impute": {"columns": ["a", "b"], "indicator": True}}, {"min_max": ["a", "b"]}]
    run = train(
        file,
        tmp_path,
        dataset={"csv": {"path": str(file), "target": "price", "inputs": ["a", "b"]}},
        preprocessing={"inputs": steps, "targets": "standardize"},
        validation={"holdout": {"fraction": 0.2}},
    )
    exported = export_run(run, tmp_path / "net.pt2", "pt2", float64=True)
    taken = exported.inputs["rows"]
    assert (taken.rows_of, taken.columns, taken.features) == ("features", ("a", "b"), 2)
    assert (exported.rows_from, exported.rows) == ("training", ROWS)
    program = torch.export.load(tmp_path / "net.pt2").module()
    raw = torch.tensor([[50.0, float("nan")], [40.0, 2.0]], dtype=torch.float64)
    frame = pd.DataFrame(raw.numpy(), columns=["a", "b"])
    expected = predict_values(load_predictor(run, Access(device="cpu")), frame)["prediction"]
    assert program(raw)[:, 0].tolist() == pytest.approx(expected.tolist(), rel=1e-5)


def test_a_program_of_other_columns_takes_prepared_rows(file: Path, tmp_path: Path) -> None:
    run = train(file, tmp_path, validation={"holdout": {"fraction": 0.2}})
    exported = export_run(run, tmp_path / "net.pt2", "pt2")
    taken = exported.inputs["rows"]
    assert (taken.rows_of, taken.columns) == ("prepared", ())
    held = export_run(run, tmp_path / "net.safetensors", "safetensors")
    assert held.difference == 0


@pytest.mark.parametrize("kind", STEPS)
def test_generated_rows_suit_the_preprocessing(kind: str, file: Path) -> None:
    columns = ["note"] if kind == "word indices" else ["a", "b", "colour", "note"]
    spec = loaded(
        file,
        dataset={"csv": {"path": str(file), "target": "price", "inputs": columns}},
        preprocessing={"inputs": STEPS[kind]},
    ).spec
    fitted: FittedPreprocessing = prepare_groups(spec, load_data(spec))[0].fitted[0]
    rows = generated_rows(fitted.input, 30)
    assert isinstance(rows, Table)
    assert fitted.input.problems(rows) == {}
    assert len(fitted.input.transform(rows)) == 30


def test_the_plan_of_each_column(file: Path) -> None:
    steps = [{"log1p": "b"}, {"impute": {"columns": "b", "indicator": True}}]
    spec = loaded(file, preprocessing={"inputs": steps}).spec
    dataset = load_data(spec)
    fitted = prepare_groups(spec, dataset)[0].fitted[0]
    plan = {column.name: column for column in column_plan(spec, dataset, fitted)}
    assert plan["b"].steps == ("log1p", "impute: {indicator: true}")
    assert (plan["b"].default, plan["b"].features, plan["b"].sparse) == (False, 2, False)
    assert plan["a"].steps == ("impute: {strategy: median, indicator: true}", "standardize")
    assert (plan["a"].default, plan["a"].features) == (True, 1)
    assert (plan["note"].features, plan["note"].sparse) == (len(WORDS), True)
    assert sum(column.features for column in plan.values()) == fitted.input.width


@pytest.mark.parametrize("wrong", [3, 18], ids=["a row to train on", "a row to validate on"])
def test_what_a_step_cannot_take_is_told_with_its_line_of_the_file(tmp_path: Path, wrong: int) -> None:
    rows = [f"{-2 if i == wrong else i},{i % 2}" for i in range(20)]
    (tmp_path / "rows.csv").write_text("\n".join(["a,y", "", *rows]) + "\n")
    loaded = load_spec_text(
        "dataset: {csv: {path: rows.csv, target: y}}\npreprocessing: {inputs: log1p}\n"
        "layers: [{dense: {units: 1, activation: sigmoid}}]\nloss: binary_crossentropy\n"
        "validation: {holdout: {fraction: 0.2, shuffle: false}}\n",
        file="s.yaml",
        base=tmp_path,
        default_name="s",
    )
    with pytest.raises(DataError) as caught:
        run_experiment(loaded, Settings("train", tmp_path / "runs"))
    said = f"Column 'a', line {wrong + 3} of the file: has -2, and log1p takes numbers above -1."
    assert str(caught.value) == said
    assert not (tmp_path / "runs").exists()


def test_a_class_that_cannot_be_stratified_is_called_by_its_name(tmp_path: Path) -> None:
    rows = [f"{i},{'rare' if i == 7 else 'ab'[i % 2]}" for i in range(20)]
    (tmp_path / "rows.csv").write_text("\n".join(["a,y", *rows]) + "\n")
    loaded = load_spec_text(
        "dataset: {csv: {path: rows.csv, target: y}}\nloss: categorical_crossentropy\n"
        "layers: [{dense: {units: 3, activation: softmax}}]\n"
        "validation: {kfold: {k: 2, shuffle: true, stratify: true}}\n",
        file="s.yaml",
        base=tmp_path,
        default_name="s",
    )
    with pytest.raises(DataError, match="stratify: class 'rare' has 1 row, but each of the 2 folds must"):
        run_experiment(loaded, Settings("train", tmp_path / "runs"))
