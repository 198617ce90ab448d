"""Several outputs evaluated: each has the tables, figures and ensemble scores that a single one has."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest

import nnrun
from nnrun.experiment.evaluating.error_analysis import Classification, MultiLabel, Residuals
from tests.support.commands import nnrun_command

SPEC = """
dataset: {csv: {path: rows.csv, test: {column: part, value: t}}}
inputs: {numbers: {columns: [a, b]}, places: {columns: [place]}}
layers:
  trunk: [concatenate: [numbers, places], dense: {units: 8, activation: relu}]
  grade: [from: trunk, dense: {units: 3, activation: softmax}]
  size: [from: trunk, dense: 1]
  tags: [from: trunk, dense: {units: 2, activation: sigmoid}]
  pair: [from: trunk, dense: 2]
outputs:
  grade: {loss: categorical_crossentropy, metrics: [accuracy]}
  size: {loss: mse, loss_weight: 0.5, preprocessing: standardize, metrics: [mae]}
  tags: {target: [red, new], loss: binary_crossentropy, metrics: [f1]}
  pair: {target: [size, c], loss: mse, preprocessing: standardize}
optimizer: {adam: 0.01}
epochs: 3
batch_size: 16
validation: {holdout: {fraction: 0.25}}
"""


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> nnrun.Run:
    """Three seeds, trained on rows of which a fifth lack the grade."""
    folder, rng = tmp_path_factory.mktemp("evaluated"), np.random.default_rng(0)
    table = pd.DataFrame({"a": rng.normal(size=160), "b": rng.normal(size=160)})
    table["place"] = rng.choice(["x", "y"], 160)
    table["grade"] = np.array(["low", "mid", "top"], object)[np.digitize(table["a"], [-0.4, 0.4])]
    table["size"], table["c"] = 1000 + 50 * table["b"], 3 * table["a"]
    table["red"], table["new"] = (table["a"] > 0).astype(int), (table["b"] > 0).astype(int)
    table["part"] = np.where(np.arange(160) % 4 == 3, "t", "r")
    table.loc[np.arange(160) % 5 == 0, "grade"] = None
    table.to_csv(folder / "rows.csv", index=False)
    (folder / "spec.yaml").write_text(SPEC)
    return nnrun.train(folder / "spec.yaml", runs_dir=folder / "runs", seeds=3)


def test_each_output_is_analysed_on_the_rows_that_have_its_target(run: nnrun.Run) -> None:
    found, predicted = nnrun.evaluate(run.path), nnrun.predict(run.path, split="test")
    grade, size, tags = (found.analyses[port] for port in ("grade", "size", "tags"))
    assert isinstance(grade, Classification)
    assert isinstance(size, Residuals)
    assert isinstance(tags, MultiLabel)
    assert found.analyses["pair"] is None
    assert found.analysis is None
    there = predicted["grade_target"].notna()
    assert (grade.rows, size.rows, tags.rows) == (int(there.sum()), 40, 40)
    names = [scores.name for scores in grade.classes]
    table = pd.crosstab(predicted["grade_target"], predicted["grade"])
    expected = table.reindex(index=names, columns=names, fill_value=0)
    assert np.array(grade.confusion).tolist() == expected.to_numpy().tolist()
    assert all(there[mistake.row] for mistake in grade.mistakes)
    assert size.mae == pytest.approx((predicted["size"] - predicted["size_target"]).abs().mean(), rel=1e-5)
    assert size.worst[0].text.startswith("numbers: a ")
    assert "; places: " in size.worst[0].text


def test_seeds_made_one_model_have_the_scores_of_the_average(run: nnrun.Run) -> None:
    made = nnrun.final(run, members="seeds", runs_dir=run.path.parent)
    found, of_parent = nnrun.evaluate(made), nnrun.evaluate(run)
    assert found.scores == of_parent.ensemble
    assert made.test == pytest.approx(found.scores)
    validated = made.record["ensemble"]
    assert validated["combination"] == "mean_out_of_fold"  # each seed draws its own holdout
    assert set(validated["validation"]) == set(found.scores)


def test_the_ensemble_has_scores_of_each_output(run: nnrun.Run) -> None:
    found, predicted = nnrun.evaluate(run.path), nnrun.predict(run.path, split="test")
    ensemble = found.ensemble
    assert ensemble is not None
    assert list(ensemble) == list(found.scores)
    assert run.record["test_ensemble"] == ensemble
    graded = predicted[predicted["grade_target"].notna()]
    assert ensemble["grade_accuracy"] == pytest.approx((graded["grade"] == graded["grade_target"]).mean())
    mae = (predicted["size"] - predicted["size_target"]).abs().mean()
    assert ensemble["size_mae"] == pytest.approx(mae, rel=1e-5)
    parts = [ensemble[f"{port}_loss"] for port in ("grade", "size", "tags", "pair")]
    assert ensemble["loss"] == pytest.approx(parts[0] + 0.5 * parts[1] + parts[2] + parts[3])
    true_class = graded.apply(lambda row: row[f"grade_{row['grade_target']}"], axis=1)
    assert ensemble["grade_loss"] == pytest.approx(-np.log(true_class).mean(), rel=1e-5)


def test_the_screen_the_document_and_the_figures_have_each_output(run: nnrun.Run) -> None:
    folder = run.path.parent.parent
    made = nnrun_command("evaluate", str(run.path), "--mistakes", "2", cwd=folder)
    assert made.returncode == 0, made.stderr
    for heading in ("grade, on 32 rows", "size, on 40 rows", "tags, on 40 rows"):
        assert f"\n\n{heading}\n\n" in made.stdout
    said = " ".join(made.stdout.split())
    assert "Below, each row is predicted as the mean of the 3 networks' outputs" in said
    assert "No mistakes, residuals or figures are shown of 'pair': they are made for classes, labels" in said
    figures = ["grade_calibration", "grade_confusion", "size_residuals", "tags_labels"]
    assert sorted(path.stem for path in (run.path / "plots").glob("*_*.png")) == figures
    document = json.loads(nnrun_command("evaluate", str(run.path), "--json", cwd=folder).stdout)
    assert {
        port: [kind for kind, table in of.items() if table] for port, of in document["outputs"].items()
    } == {
        "grade": ["classification"],
        "size": ["residuals"],
        "tags": ["multi_label"],
        "pair": [],
    }
    assert document["outputs"]["tags"]["multi_label"]["label_names"] == ["red", "new"]
    assert document["classification"] is None


def test_the_report_has_a_part_for_each_output(run: nnrun.Run) -> None:
    folder = run.path.parent.parent
    made = nnrun_command("report", str(run.path), cwd=folder)
    assert made.returncode == 0, made.stderr
    page = (run.path / "report.html").read_text()
    for port in ("grade", "size", "tags", "pair"):
        assert page.count(f"Predictions on the validation rows: {port}") >= 1
    assert "Confusion and calibration: grade" in page
