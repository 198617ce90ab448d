"""Rows that lack the target of some outputs count for the others, and are counted aloud."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import nnrun
from nnrun.errors import DataError
from nnrun.records import RunDirectory
from tests.support.commands import nnrun_command
from tests.support.port_experiments import assert_folds_are_each_alone
from tests.support.small_experiments import only_run, without_seconds

TABLE = """
dataset: {csv: {path: rows.csv, test: {column: part, value: t}}}
inputs: {numbers: {columns: [a, b], preprocessing: standardize}}
layers:
  trunk: [from: numbers, dropout: 0.1, dense: {units: 8, activation: relu}]
  grade: [from: trunk, dense: {units: 3, activation: softmax}]
  size: [from: trunk, dense: 1]
outputs:
  grade: {loss: categorical_crossentropy, metrics: [accuracy], class_weight: balanced}
  size: {target: height, loss: mse, preprocessing: standardize, metrics: [mae, r2]}
optimizer: {adam: 0.01}
epochs: 4
batch_size: 16
validation: {kfold: {k: 3}}
"""
LACKS_GRADE, LACKS_SIZE = 3, 4  # rows of which the number divided by 5 leaves this rest


def rows_of_a_table(rows: int = 150) -> pd.DataFrame:
    rng = np.random.default_rng(0)
    table = pd.DataFrame({"a": rng.normal(size=rows), "b": rng.normal(size=rows)})
    table["grade"] = np.array(["low", "mid", "top"], object)[np.digitize(table["a"], [-0.4, 0.4])]
    table["height"] = 1000 + 50 * table["b"]
    table["part"] = np.where(np.arange(rows) % 6 == 5, "t", "r")
    table.loc[np.arange(rows) % 5 == LACKS_GRADE, "grade"] = None
    table.loc[np.arange(rows) % 5 == LACKS_SIZE, "height"] = None
    return table


@pytest.fixture
def path(tmp_path: Path) -> Path:
    rows_of_a_table().to_csv(tmp_path / "rows.csv", index=False)
    (tmp_path / "table.yaml").write_text(TABLE)
    return tmp_path / "table.yaml"


def test_each_output_is_measured_on_the_rows_that_have_its_target(path: Path, tmp_path: Path) -> None:
    run = nnrun.train(path, runs_dir=tmp_path / "runs")
    predicted = nnrun.predict(run.path, split="validation")
    rows = predicted.index.to_numpy()
    trained = rows_of_a_table().query("part == 'r'").reset_index(drop=True).loc[rows]
    assert predicted["grade_target"].isna().tolist() == trained["grade"].isna().tolist()
    assert predicted["size_target"].isna().tolist() == trained["height"].isna().tolist()
    found = nnrun.evaluate(run.path, split="validation")
    folds = np.array_split(np.arange(len(predicted)), 3)
    maes = [(predicted["size"] - predicted["size_target"]).abs().iloc[fold].mean() for fold in folds]
    assert found.scores["size_mae"] == pytest.approx(np.mean(maes), rel=1e-5)
    of_grade = predicted[predicted["grade_target"].notna()]
    right = [
        (of_grade["grade"] == of_grade["grade_target"])[of_grade.index.isin(rows[fold])].mean()
        for fold in folds
    ]
    assert found.scores["grade_accuracy"] == pytest.approx(np.mean(right))
    means = [trained["height"].drop(rows[fold]).median() for fold in folds]
    constant = [(trained["height"].loc[rows[f]] - m).abs().mean() for f, m in zip(folds, means, strict=True)]
    assert run.baseline["size_mae"] == pytest.approx(np.mean(constant), rel=1e-6)


def test_standardization_is_fitted_on_the_targets_that_are_there(path: Path, tmp_path: Path) -> None:
    run = nnrun.train(path, runs_dir=tmp_path / "runs", overrides={"validation": "none", "epochs": 1})
    scale = RunDirectory(run.path).read_preprocessing()["outputs"]["size"]["targets"]["standardize"]
    trained = rows_of_a_table().query("part == 'r'")["height"]
    assert scale["mean"] == pytest.approx([trained.mean()])
    assert scale["std"] == pytest.approx([trained.std(ddof=0)])


def test_how_many_rows_lack_which_target_is_told_and_recorded(path: Path, tmp_path: Path) -> None:
    made = nnrun_command("train", str(path), "--epochs", "1", cwd=tmp_path)
    assert made.returncode == 0, made.stderr
    lack = f"{tmp_path}/rows.csv: output {{}}: 30 rows of 150 lack its target{{}}, and count for other "
    lack += "outputs only"
    assert made.stderr.splitlines()[:2] == [lack.format("'grade'", ""), lack.format("'size'", " ('height')")]
    record = json.loads((only_run(tmp_path / "runs") / "run.json").read_text())
    assert record["data"][0]["rows_without_target_of"] == {"grade": 30, "size": 30}


def test_folds_together_are_each_fold_alone(path: Path, tmp_path: Path) -> None:
    assert_folds_are_each_alone(path, tmp_path)


def test_resumed_it_is_as_if_it_had_not_stopped(path: Path, tmp_path: Path) -> None:
    nnrun.train(path, runs_dir=tmp_path / "whole")
    short = nnrun.train(path, runs_dir=tmp_path / "parts", overrides={"epochs": 2})
    resumed = nnrun_command("train", "--resume", str(short.path), "--epochs", "4", cwd=tmp_path)
    assert resumed.returncode == 0, resumed.stderr
    runs = [only_run(tmp_path / name) for name in ("whole", "parts")]
    assert without_seconds(runs[0]) == without_seconds(runs[1])


def test_seeds_and_a_smoke_run_of_it(path: Path, tmp_path: Path) -> None:
    changes = {"validation": {"holdout": {"fraction": 0.25}}, "epochs": 2}
    run = nnrun.train(path, runs_dir=tmp_path / "runs", overrides=changes, seeds=2)
    assert np.isfinite(run.history.drop(columns="seed").to_numpy(float)).all()
    assert nnrun.train(path, runs_dir=tmp_path / "runs", smoke=True).path.exists()


def test_a_row_that_lacks_all_targets_is_refused_or_left_out(path: Path, tmp_path: Path) -> None:
    table = rows_of_a_table()
    table.loc[[7, 9], ["grade", "height"]] = None
    table.to_csv(tmp_path / "rows.csv", index=False)
    with pytest.raises(
        DataError, match=r"line 9, column 'grade': the targets of all outputs are missing, as in "
    ):
        nnrun.train(path, runs_dir=tmp_path / "runs")
    made = nnrun_command(
        "train", str(path), "--epochs", "1", "--set", "dataset.csv.drop_missing_target=true", cwd=tmp_path
    )
    assert made.returncode == 0, made.stderr
    assert "2 rows of 150 left out, since no output has its target there" in made.stderr


def test_a_single_named_output_needs_its_target_in_every_row(path: Path, tmp_path: Path) -> None:
    text = TABLE.replace("  grade: [from: trunk, dense: {units: 3, activation: softmax}]\n", "")
    line = next(line for line in text.splitlines(keepends=True) if line.startswith("  grade: {loss"))
    path.write_text(text.replace(line, ""))
    with pytest.raises(DataError, match="column 'height': the target is missing, as in 29 later rows"):
        nnrun.train(path, runs_dir=tmp_path / "runs")


def test_a_fold_without_a_target_of_an_output_is_refused(path: Path, tmp_path: Path) -> None:
    table = rows_of_a_table()
    table["grade"] = table["grade"].fillna("low")
    table.loc[:60, "height"] = None
    table.to_csv(tmp_path / "rows.csv", index=False)
    with pytest.raises(
        DataError, match=r"^The output 'size': None of the 42 validation rows of fold 0 has a "
    ):
        nnrun.train(path, runs_dir=tmp_path / "runs")
    checked = nnrun_command("check", str(path), cwd=tmp_path)
    assert checked.returncode == 4
    assert "None of the 42 validation rows of fold 0 has a target" in " ".join(checked.stdout.split())


def test_test_rows_without_any_target_of_an_output_are_refused(path: Path, tmp_path: Path) -> None:
    table = rows_of_a_table()
    table["grade"] = table["grade"].fillna("low")
    table.loc[table["part"] == "t", "height"] = None
    table.to_csv(tmp_path / "rows.csv", index=False)
    with pytest.raises(DataError, match=r"^The output 'size': none of the 25 test rows has its target"):
        nnrun.train(path, runs_dir=tmp_path / "runs")


def test_predictions_of_rows_without_a_target_have_an_empty_one(path: Path, tmp_path: Path) -> None:
    run = nnrun.train(path, runs_dir=tmp_path / "runs", overrides={"validation": "none", "epochs": 1})
    for options, lacks in ((("--format", "csv"), ",,"), (("--format", "jsonl"), '"size_target": null')):
        made = nnrun_command("predict", str(run.path), "--split", "test", *options, cwd=tmp_path)
        assert made.returncode == 0, made.stderr
        assert lacks in made.stdout
        assert "NaN" not in made.stdout


ARRAYS = """
dataset: {npz: {path: data.npz}}
layers:
  trunk: [dense: {units: 6, activation: relu}]
  price: [from: trunk, dense: 1]
  kind: [from: trunk, dense: {units: 3, activation: softmax}]
inputs: {x: {}}
outputs:
  price: {loss: mse, preprocessing: standardize, metrics: [mae]}
  kind: {loss: sparse_categorical_crossentropy, metrics: [accuracy]}
optimizer: adam
epochs: 2
"""


def write_arrays(folder: Path, missing: float = np.nan) -> Path:
    rng = np.random.default_rng(0)
    arrays = {}
    for part, rows in (("train", 80), ("test", 20)):
        arrays[f"x_{part}"] = rng.normal(size=(rows, 3))
        arrays[f"price_{part}"] = rng.normal(50, 5, rows)
        arrays[f"kind_{part}"] = rng.integers(0, 3, rows).astype(float)
        arrays[f"price_{part}"][::4] = missing
        arrays[f"kind_{part}"][1::4] = np.nan
    np.savez(folder / "data.npz", **arrays)
    (folder / "arrays.yaml").write_text(ARRAYS)
    return folder / "arrays.yaml"


def test_nan_in_an_array_is_a_target_that_a_row_lacks(tmp_path: Path) -> None:
    made = nnrun_command("train", str(write_arrays(tmp_path)), cwd=tmp_path)
    assert made.returncode == 0, made.stderr
    assert "data.npz: output 'price': 20 rows of 80 lack its target ('price_train'), and count" in made.stderr
    assert "data.npz: output 'kind': 5 rows of 20 lack its target ('kind_test'), and count" in made.stderr
    table = nnrun.predict(only_run(tmp_path / "runs"), split="test")
    assert table["price_target"].isna().tolist() == [i % 4 == 0 for i in range(20)]
    assert table["kind_target"].isna().tolist() == [i % 4 == 1 for i in range(20)]


def test_infinity_is_no_missing_target_and_a_row_of_an_array_needs_one(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="price_train holds inf in row 0"):
        nnrun.train(write_arrays(tmp_path, np.inf), runs_dir=tmp_path / "runs")
    path = write_arrays(tmp_path)
    arrays = dict(np.load(tmp_path / "data.npz"))
    arrays["price_test"][5] = np.nan
    np.savez(tmp_path / "data.npz", **arrays)
    with pytest.raises(DataError, match=r"price_test and kind_test all hold NaN in row 5 \(1 row in all\)"):
        nnrun.train(path, runs_dir=tmp_path / "runs")


def test_an_output_trains_as_on_the_rows_that_have_its_target_alone(tmp_path: Path) -> None:
    """In batches of all rows, where the loss of the other output counts nothing."""
    changes = {"outputs.kind.loss_weight": 0, "validation": "none", "batch_size": 1000, "epochs": 4}
    path = write_arrays(tmp_path)
    some = nnrun.train(path, runs_dir=tmp_path / "some", overrides=changes).history
    arrays = dict(np.load(tmp_path / "data.npz"))
    there = np.isfinite(arrays["price_train"])
    np.savez(tmp_path / "data.npz", **{n: v[there] if n.endswith("train") else v for n, v in arrays.items()})
    alone = nnrun.train(path, runs_dir=tmp_path / "alone", overrides=changes).history
    columns = ["price_loss", "price_mae", "loss"]
    pd.testing.assert_frame_equal(some[columns], alone[columns], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("validation", [{"kfold": {"k": 4}}, {"holdout": {"fraction": 0.25}}])
def test_rows_are_stratified_by_the_output_that_is_named(
    path: Path, tmp_path: Path, validation: dict[str, dict[str, object]]
) -> None:
    """Each part has its share of each class, and of the rows that have none."""
    table = rows_of_a_table().sort_values("a", kind="stable")
    table.to_csv(tmp_path / "rows.csv", index=False)
    ((kind, said),) = validation.items()
    changes = {"validation": {kind: {**said, "stratify": "grade"}}, "epochs": 1}
    run = nnrun.train(path, runs_dir=tmp_path / "runs", overrides=changes)
    trained = table[table["part"] == "r"].reset_index(drop=True)
    share = trained["grade"].fillna("none").value_counts(normalize=True)
    for member in ["fold-0", "fold-1", "fold-2", "fold-3"] if kind == "kfold" else [None]:
        found = nnrun.predict(run.path, split="validation", member=member)
        own = found["grade_target"].fillna("none").value_counts(normalize=True)
        assert own.to_dict() == pytest.approx(share.to_dict(), abs=0.05)


def test_a_fraction_of_test_rows_is_stratified_by_the_output_that_is_named(
    path: Path, tmp_path: Path
) -> None:
    test = {"fraction": 0.2, "stratify": "grade"}
    run = nnrun.train(path, runs_dir=tmp_path / "runs", overrides={"dataset.csv.test": test, "epochs": 1})
    share = rows_of_a_table()["grade"].fillna("none").value_counts(normalize=True)
    own = nnrun.predict(run.path, split="test")["grade_target"].fillna("none").value_counts(normalize=True)
    assert own.to_dict() == pytest.approx(share.to_dict(), abs=0.02)


def test_a_few_rows_without_a_class_are_no_class_of_their_own(path: Path, tmp_path: Path) -> None:
    table = rows_of_a_table()
    table["grade"] = table["grade"].fillna("low")
    table.loc[30, "grade"] = None
    table.to_csv(tmp_path / "rows.csv", index=False)
    changes = {"validation.kfold.stratify": "grade", "epochs": 1}
    assert nnrun.train(path, runs_dir=tmp_path / "runs", overrides=changes).path.exists()


def test_a_test_file_of_its_own(path: Path, tmp_path: Path) -> None:
    table = rows_of_a_table()
    table[table["part"] == "r"].to_csv(tmp_path / "rows.csv", index=False)
    table[table["part"] == "t"].to_csv(tmp_path / "held.csv", index=False)
    one = nnrun.evaluate(
        nnrun.train(
            path,
            runs_dir=tmp_path / "own",
            overrides={"dataset.csv.test": {"path": str(tmp_path / "held.csv")}},
        ).path
    )
    rows_of_a_table().to_csv(tmp_path / "rows.csv", index=False)
    other = nnrun.evaluate(nnrun.train(path, runs_dir=tmp_path / "one").path)
    assert one.scores == other.scores
    table["grade"] = table["grade"].replace("top", "best")
    table[table["part"] == "t"].to_csv(tmp_path / "held.csv", index=False)
    with pytest.raises(
        DataError, match=r"held.csv, line \d+, column 'grade' holds the class 'best', which the "
    ):
        nnrun.train(
            path,
            runs_dir=tmp_path / "other",
            overrides={"dataset.csv.test": {"path": str(tmp_path / "held.csv")}},
        )
