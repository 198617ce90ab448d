"""Networks of several inputs and outputs: trained, resumed, measured."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import yaml

import nnrun
from nnrun.errors import DataError, DivergedError, SpecError
from nnrun.experiment.finished.record_text import caution_text, drowned_text
from nnrun.records import RunDirectory
from nnrun.records.run_record import DrownedLoss
from tests.support.commands import nnrun_command
from tests.support.port_experiments import arrays_of_ports, assert_folds_are_each_alone, table_of_ports
from tests.support.small_experiments import only_run, without_seconds

SPEC = """
dataset: {npz: {path: data.npz}}
inputs:
  size: {preprocessing: standardize}
  place: {array: where}
shared: {encoder: [dense: {units: 6, activation: relu}]}
layers:
  left: [from: size, use: encoder]
  right: [from: place, dense: 3, use: encoder]
  trunk: [concatenate: [left, right], dropout: 0.2, dense: {units: 8, activation: relu}]
  price: [from: trunk, dense: 1]
  kind: [from: trunk, dense: {units: 3, activation: softmax}]
outputs:
  price: {loss: mse, loss_weight: 0.5, preprocessing: standardize, metrics: [mae]}
  kind: {loss: sparse_categorical_crossentropy, target: sort, metrics: [accuracy], class_weight: balanced}
optimizer: {adam: {learning_rate: 0.01}}
epochs: 4
batch_size: 16
validation: {kfold: {k: 3}}
"""
COLUMNS = ["loss", "price_loss", "price_mae", "kind_loss", "kind_accuracy"]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    np.savez(tmp_path / "data.npz", **arrays_of_ports(range(3)))  # type: ignore[arg-type]
    (tmp_path / "spec.yaml").write_text(SPEC)
    return tmp_path / "spec.yaml"


def test_the_history_has_each_output_s_columns_and_the_total_is_their_sum(path: Path, tmp_path: Path) -> None:
    run = nnrun.train(path, runs_dir=tmp_path / "runs")
    history = run.history
    assert list(history)[2:] == [*COLUMNS, *(f"val_{c}" for c in COLUMNS), "learning_rate", "seconds"]
    for prefix in ("", "val_"):
        total = 0.5 * history[f"{prefix}price_loss"] + history[f"{prefix}kind_loss"]
        np.testing.assert_allclose(history[f"{prefix}loss"], total, rtol=1e-5)
    assert history["price_mae"].max() > 10  # in the target's own units
    assert set(run.record["baseline"]) == set(COLUMNS)


def test_a_single_named_output_has_its_columns_too(path: Path, tmp_path: Path) -> None:
    chains = yaml.safe_load(SPEC)["layers"]
    del chains["price"]
    kind = yaml.safe_load(SPEC)["outputs"]["kind"]
    changes = {"layers": chains, "outputs": {"kind": kind}, "validation": "none", "epochs": 1}
    run = nnrun.train(path, runs_dir=tmp_path / "runs", overrides=changes)
    assert list(run.history)[1:4] == ["loss", "kind_loss", "kind_accuracy"]
    assert set(run.baseline) == {"loss", "kind_loss", "kind_accuracy"}


def test_ports_may_be_called_x_and_y(path: Path, tmp_path: Path) -> None:
    changes = {
        "inputs": {"x": {"array": "size"}},
        "shared": {},
        "layers": {"y": [{"from": "x"}, {"dense": {"units": 3, "activation": "softmax"}}]},
        "outputs": {"y": yaml.safe_load(SPEC)["outputs"]["kind"]},
        "epochs": 1,
    }
    run = nnrun.train(path, runs_dir=tmp_path / "runs", overrides=changes)
    assert list(run.history)[2:5] == ["loss", "y_loss", "y_accuracy"]


def test_a_single_named_output_may_end_a_chain(path: Path, tmp_path: Path) -> None:
    changes = {
        "inputs": {"size": {}},
        "shared": {},
        "layers": {"kind": [{"from": "size"}, {"dense": {"units": 3, "activation": "softmax"}}]},
        "outputs": {"kind": yaml.safe_load(SPEC)["outputs"]["kind"]},
        "epochs": 1,
    }
    run = nnrun.train(path, runs_dir=tmp_path / "runs", overrides=changes)
    assert list(run.history)[2:5] == ["loss", "kind_loss", "kind_accuracy"]


def test_an_output_of_names_is_checked_once_the_data_are_known(path: Path, tmp_path: Path) -> None:
    archive = dict(np.load(tmp_path / "data.npz"))
    for part in ("train", "test"):
        archive[f"sort_{part}"] = np.array(["cat", "dog", "emu"])[archive[f"sort_{part}"]]
    np.savez(tmp_path / "data.npz", **archive)
    assert nnrun.train(path, runs_dir=tmp_path / "runs", overrides={"epochs": 1}).path.exists()
    with pytest.raises(DataError, match=r"^The output 'kind': The data do not .*units must be 3; found 4"):
        nnrun.train(path, runs_dir=tmp_path / "runs", overrides={"layers.kind[1].dense.units": 4})


def test_the_mean_divides_by_the_number_of_outputs(path: Path, tmp_path: Path) -> None:
    run = nnrun.train(path, runs_dir=tmp_path / "runs", overrides={"total_loss": "mean", "epochs": 1})
    row = run.history.iloc[0]
    assert row["loss"] == pytest.approx((0.5 * row["price_loss"] + row["kind_loss"]) / 2, rel=1e-5)


@pytest.mark.parametrize("networks", [{"kfold": {"k": 3}}, {"holdout": {"fraction": 0.25}}])
def test_a_loss_that_drowns_another_is_told_after_the_first_epoch_and_kept(
    path: Path, tmp_path: Path, networks: dict[str, dict[str, float]], capsys: pytest.CaptureFixture[str]
) -> None:
    """Squares of hundreds beside a cross-entropy; for all folds once."""
    changes = {"outputs.price.preprocessing": None, "outputs.price.loss_weight": 1, "validation": networks}
    run = nnrun.train(path, runs_dir=tmp_path / "runs", overrides=changes, verbose=True)
    lines = capsys.readouterr().err.splitlines()
    (place,) = (i for i, line in enumerate(lines) if "drowns" in line)
    assert lines[place - 1].startswith("epoch 1/4")
    told = run.record["drowned"]
    sizes = [run.history.query("epoch == 1")[f"{name}_loss"].mean() for name in ("kind", "price")]
    assert (told["output"], told["by"], told["standardize"]) == ("kind", "price", True)
    assert [told["loss"], told["by_loss"]] == pytest.approx(sizes)
    text = drowned_text(DrownedLoss(**told))
    assert lines[place] == f"warning: {text}"
    assert text in caution_text(RunDirectory(run.path).read_record())


def test_losses_of_one_size_are_not_warned_of(path: Path, tmp_path: Path) -> None:
    run = nnrun.train(path, runs_dir=tmp_path / "runs", overrides={"epochs": 1})
    assert "drowned" not in run.record


def test_folds_together_are_each_fold_alone(path: Path, tmp_path: Path) -> None:
    assert_folds_are_each_alone(path, tmp_path)


def test_a_shared_chain_has_its_weights_once(path: Path, tmp_path: Path) -> None:
    nnrun.train(path, runs_dir=tmp_path / "runs", overrides={"validation": "none", "epochs": 1})
    weights = RunDirectory(only_run(tmp_path / "runs")).read_weights()
    assert sorted(weights) == sorted(
        f"{layer}.{name}"
        for layer in ("encoder.0", "right.1", "trunk.2", "price.1", "kind.1")
        for name in ("weight", "bias")
    )


def test_resumed_it_is_as_if_it_had_not_stopped(path: Path, tmp_path: Path) -> None:
    nnrun.train(path, runs_dir=tmp_path / "whole")
    short = nnrun.train(path, runs_dir=tmp_path / "parts", overrides={"epochs": 2})
    resumed = nnrun_command("train", "--resume", str(short.path), "--epochs", "4", cwd=tmp_path)
    assert resumed.returncode == 0, resumed.stderr
    runs = [only_run(tmp_path / name) for name in ("whole", "parts")]
    assert without_seconds(runs[0]) == without_seconds(runs[1])


def test_evaluate_measures_every_output(path: Path, tmp_path: Path) -> None:
    run = nnrun.train(path, runs_dir=tmp_path / "runs")
    found = nnrun.evaluate(run.path)
    assert list(found.scores) == COLUMNS
    assert set(found.baseline) == set(COLUMNS)
    assert found.scores["kind_accuracy"] > found.baseline["kind_accuracy"]
    assert RunDirectory(run.path).read_record().test == found.scores


def test_what_is_wrong_with_the_data_names_the_output(path: Path, tmp_path: Path) -> None:
    archive = dict(np.load(tmp_path / "data.npz"))
    archive["price_train"][5] = -1
    np.savez(tmp_path / "data.npz", **archive)
    layer = {"dense": {"units": 1, "activation": "softplus"}}
    changes = {"outputs.price": {"loss": "poisson"}, "layers.price[1]": layer}
    with pytest.raises(
        DataError, match=r"^The output 'price': Row 5 of the training rows has the target -1\.0"
    ):
        nnrun.train(path, runs_dir=tmp_path / "runs", overrides=changes)


@pytest.mark.parametrize(
    ("array", "changes", "said"),
    [
        ("price", {"outputs.price.preprocessing": "log1p"}, r"^The output 'price': .*-3"),
        ("size", {"inputs.size.preprocessing": "log1p"}, r"^The input 'size': .*-3"),
    ],
)
def test_what_a_step_cannot_take_names_the_input_or_output(
    array: str, changes: dict[str, str], said: str, path: Path, tmp_path: Path
) -> None:
    archive = dict(np.load(tmp_path / "data.npz"))
    archive[f"{array}_train"][5] = -3
    np.savez(tmp_path / "data.npz", **archive)
    with pytest.raises(DataError, match=said):
        nnrun.train(path, runs_dir=tmp_path / "runs", overrides={**changes, "validation": "none"})


def test_a_loss_that_is_not_finite_names_the_output(path: Path, tmp_path: Path) -> None:
    archive = dict(np.load(tmp_path / "data.npz"))
    archive["price_train"][3] = 1e30
    np.savez(tmp_path / "data.npz", **archive)
    changes = {"validation": {"holdout": {"first": 24}}}
    with pytest.raises(DivergedError, match=r"^the validation loss, that of 'price', stopped being a finite"):
        nnrun.train(path, runs_dir=tmp_path / "runs", overrides=changes)


def test_shapes_of_inputs_are_known_before_the_data_are_read(path: Path, tmp_path: Path) -> None:
    changes = {"layers.trunk": [{"add": ["size", "place"]}, {"dense": 4}]}
    with pytest.raises(SpecError) as raised:
        nnrun.train(path, runs_dir=tmp_path / "runs", overrides=changes)
    said = [problem.message for problem in raised.value.problems]
    assert any(
        text.startswith("add takes rows of one shape; size gives (3), place gives (2)") for text in said
    )


def test_a_class_whose_column_another_output_has_is_refused(path: Path, tmp_path: Path) -> None:
    archive = dict(np.load(tmp_path / "data.npz"))
    for part in ("train", "test"):
        archive[f"sort_{part}"] = np.array(["cat", "dog", "target"])[archive[f"sort_{part}"]]
    np.savez(tmp_path / "data.npz", **archive)
    run = nnrun.train(path, runs_dir=tmp_path / "runs", overrides={"epochs": 1})
    for options, code in (((), 0), (("--probabilities",), 2)):
        made = nnrun_command(
            "predict", str(run.path), "--split", "train", "--member", "fold-0", *options, cwd=tmp_path
        )
        assert made.returncode == code, made.stderr
    assert "Two columns of the predictions would be called 'kind_target'" in made.stderr


def test_predict_has_columns_for_each_output(path: Path, tmp_path: Path) -> None:
    run = nnrun.train(path, runs_dir=tmp_path / "runs", overrides={"epochs": 2})
    table = nnrun.predict(run.path, split="validation")
    kinds = ["kind_target", "kind", "kind_probability", "kind_0", "kind_1", "kind_2"]
    assert list(table) == ["price_target", "price", *kinds]
    assert (table.index.name, len(table)) == ("row", 96)
    mae = (table["price"] - table["price_target"]).abs().mean()
    assert mae == pytest.approx(nnrun.evaluate(run.path, split="validation").scores["price_mae"], rel=1e-5)
    assert (table["kind"] == table[["kind_0", "kind_1", "kind_2"]].to_numpy().argmax(1)).all()
    made = nnrun_command("predict", str(run.path), "--split", "test", cwd=tmp_path)
    assert made.stdout.splitlines()[0] == "row,price_target,price,kind_target,kind,kind_probability"
    assert "1st look at the" in made.stderr


def test_resolved_yaml_repeats_the_run(path: Path, tmp_path: Path) -> None:
    run = nnrun.train(path, runs_dir=tmp_path / "runs")
    resolved = only_run(tmp_path / "runs") / "resolved.yaml"
    assert set(yaml.safe_load(resolved.read_text())["outputs"]) == {"price", "kind"}
    again = nnrun.train(resolved, runs_dir=tmp_path / "again")
    assert without_seconds(run.path) == without_seconds(again.path)


TABLE = """
dataset: {csv: {path: rows.csv, test: {column: part, value: t}, drop_missing_target: true}}
inputs:
  numbers: {columns: [a, b]}
  words: {columns: [kind, a]}
layers:
  trunk: [concatenate: [numbers, words], dense: {units: 16, activation: relu}]
  grade: [from: trunk, dense: {units: 3, activation: softmax}]
  size: [from: trunk, dense: 1]
outputs:
  grade: {loss: categorical_crossentropy, metrics: [accuracy], class_weight: {low: 2}}
  size: {target: height, loss: mse, preprocessing: standardize, metrics: [mae]}
optimizer: {adam: 0.01}
epochs: 3
validation: {holdout: {fraction: 0.25}}
"""


@pytest.fixture
def table(tmp_path: Path) -> Path:
    rows = table_of_ports()
    rows.loc[7, "height"] = None
    rows.to_csv(tmp_path / "rows.csv", index=False)
    (tmp_path / "table.yaml").write_text(TABLE)
    return tmp_path / "table.yaml"


def test_columns_of_a_table_are_inputs_and_targets(table: Path, tmp_path: Path) -> None:
    run = nnrun.train(table, runs_dir=tmp_path / "runs")
    assert list(run.history)[1:6] == ["loss", "grade_loss", "grade_accuracy", "size_loss", "size_mae"]
    weights = RunDirectory(run.path).read_weights()
    assert weights["trunk.1.weight"].shape == (16, 2 + 2 + 1)  # a, b; two kinds, and a again
    found = nnrun.evaluate(run.path)
    assert found.rows == 24
    assert found.scores["size_mae"] > 1  # in the target's own units
    predicted = nnrun.predict(run.path, split="test")
    names = [f"grade_{name}" for name in ("low", "mid", "top")]
    grade = ["grade_target", "grade", "grade_probability", *names]
    assert list(predicted) == ["file_row", *grade, "size_target", "size"]
    assert set(predicted["grade_target"]) == {"low", "mid", "top"}


def test_a_table_needs_columns_for_each_input(table: Path) -> None:
    text = TABLE.replace("{columns: [kind, a]}", "{}")
    table.write_text(text)
    with pytest.raises(SpecError) as raised:
        nnrun.train(table)
    assert [p.message for p in raised.value.problems] == [
        "an input of a table takes columns; write inputs.words.columns: [NAME, NAME]"
    ]
