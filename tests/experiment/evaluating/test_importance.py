"""How much columns matter: scikit-learn's numbers, on rows that a network did not see."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.inspection import permutation_importance

import nnrun
from nnrun.cli import main
from nnrun.errors import DataError, UsageError
from nnrun.experiment.evaluating import importance
from nnrun.experiment.evaluating.correlated_columns import correlated_columns
from nnrun.experiment.evaluating.draw_importance import importance_figures
from nnrun.experiment.evaluating.exchanged_columns import InputColumn
from nnrun.experiment.evaluating.importance import ImportanceSettings, measure_importance
from nnrun.experiment.finished.load_run import DEFAULT_ACCESS
from nnrun.experiment.predicting.open_run import open_run
from nnrun.records import RunDirectory
from nnrun.records.importance_record import ImportanceRecord, ImportanceTable
from nnrun.spec.ports import INPUT
from tests.support.column_tables import categories, dataset, numbers, table
from tests.support.port_experiments import write_arrays, write_columns
from tests.support.small_experiments import (
    BINARY,
    KFOLD,
    REGRESSION,
    growing_tokens,
    record_of,
    write_small,
)

Drops = dict[str, list[list[float]]]


def train(folder: Path, spec: dict[str, Any] = REGRESSION, **changes: Any) -> RunDirectory:
    return RunDirectory(nnrun.train(write_small(folder, spec, **changes), runs_dir=folder / "runs").path)


def measured(run: RunDirectory, **settings: Any) -> ImportanceRecord:
    return measure_importance(run, DEFAULT_ACCESS, ImportanceSettings(**settings))


def drops(found: ImportanceTable) -> Drops:
    """Column → for each network the drop of each repeat."""
    return {column.column: column.each for column in found.columns}


class _Recorder:
    """A network as scikit-learn's functions take one; keeps the inputs that it was asked about."""

    def __init__(self, run: RunDirectory) -> None:
        self.opened, self.asked = open_run(run, DEFAULT_ACCESS), list[np.ndarray]()

    def fit(self) -> None:
        """Nothing: it is trained."""

    def predict(self, x: np.ndarray) -> np.ndarray:
        self.asked.append(x.copy())
        samples = self.opened.dataset.train.take(np.arange(len(x)))
        changed = type(samples)(x, samples.targets)
        return self.opened.outputs(self.opened.networks[0], changed)[:, 0]


def _negative_mae(network: _Recorder, x: np.ndarray, y: np.ndarray) -> float:
    return -float(np.abs(network.predict(x) - y).mean())


def test_it_is_scikit_learns(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = train(tmp_path)
    network = _Recorder(run)
    rows = network.opened.fold_of(network.opened.networks[0]).validation_rows
    own = network.opened.dataset.train.take(rows)
    assert isinstance(own.inputs, np.ndarray)
    x, y = own.inputs, own.targets
    theirs = permutation_importance(network, x, y, scoring=_negative_mae, n_repeats=4, random_state=1)
    # Their permutations are found again by the values of the first column, all different.
    place = {value: row for row, value in enumerate(x[:, 0].tolist())}
    at_RN = np.array([[place[value] for value in asked[:, 0].tolist()] for asked in network.asked[1:5]])
    monkeypatch.setattr(importance, "permutations", lambda *_: at_RN)
    found = drops(measured(run, repeats=4, metric="mae").tables[0])
    for column, expected in enumerate(theirs.importances):
        np.testing.assert_allclose(found[str(column)][0], expected, atol=1e-6)


def thirty_columns(rows: int = 400) -> dict[str, np.ndarray]:
    """Thirty columns of which 4, 17 and 25 decide, each in its own way."""
    rng = np.random.RandomState(0)
    x = rng.normal(size=(rows, 30))
    y = 3 * x[:, 4] - 2 * x[:, 17] + 2 * np.abs(x[:, 25]) + rng.normal(0, 0.1, rows)
    return {"x_train": x, "y_train": y}


def test_it_finds_the_three_of_thirty_columns_that_matter(tmp_path: Path) -> None:
    layers = [{"dense": {"units": 16, "activation": "relu"}}, {"dense": 1}]
    changes = {"layers": layers, "epochs": 40, "optimizer": {"adam": 0.01}, "validation": {"kfold": {"k": 5}}}
    run = train(tmp_path, arrays=thirty_columns(), **changes)
    (found,) = measured(run).tables
    assert [column.column for column in found.columns[:3]] == ["4", "17", "25"]
    assert not any(column.within_noise for column in found.columns[:3])
    # What decides nothing changes the score by a fraction of what the least of the three does.
    assert max(column.importance for column in found.columns[3:]) < found.columns[2].importance / 3
    assert sum(column.within_noise for column in found.columns) > 10


def test_each_fold_is_asked_about_its_own_validation_rows(tmp_path: Path) -> None:
    run = train(tmp_path, validation=KFOLD)
    record = measured(run, repeats=3)
    (together,) = record.tables
    assert (record.networks, record.over, record.rows) == (3, "folds", [16])
    path = tmp_path / "small.yaml"
    for fold in range(3):
        alone = RunDirectory(nnrun.kfold(path, fold=fold, runs_dir=tmp_path / f"fold-{fold}").path)
        own = drops(measured(alone, repeats=3).tables[0])
        for column, each in drops(together).items():
            np.testing.assert_allclose(each[fold], own[column][0], rtol=1e-4, atol=1e-5)
    for of in together.columns:
        means = np.mean(of.each, axis=1)
        assert of.importance == pytest.approx(means.mean())
        assert of.std == pytest.approx(means.std(ddof=1))
        half = 4.302653 * means.std(ddof=1) / 3**0.5  # Student's t of 2 degrees of freedom
        assert of.within_noise == (means.mean() - half <= 0)
    evaluation = nnrun.evaluate(nnrun.load_run(str(run.path)), split="validation")
    assert (together.metric, together.score) == ("mae", pytest.approx(evaluation.scores["mae"]))


def test_of_one_network_the_deviation_is_over_the_repeats(tmp_path: Path) -> None:
    run = train(tmp_path)
    record = measured(run, repeats=4)
    assert (record.over, record.networks) == ("repeats", 1)
    for of in record.tables[0].columns:
        ((*each,),) = of.each
        assert (of.importance, of.std) == (pytest.approx(np.mean(each)), pytest.approx(np.std(each, ddof=1)))
    once = measured(run, repeats=1)
    assert [of.std for of in once.tables[0].columns] == [None] * 3


def test_of_a_share_it_is_the_fall_and_of_the_loss_the_rise(tmp_path: Path) -> None:
    run = train(tmp_path, BINARY, epochs=40, optimizer={"adam": 0.02})
    (found,) = measured(run).tables
    assert (found.metric, found.higher_is_better) == ("accuracy", True)
    assert found.columns[0].importance > 0
    (loss,) = measured(run, metric="loss").tables
    assert (loss.metric, loss.higher_is_better, loss.output) == ("loss", False, None)
    assert loss.columns[0].importance > 0


def test_the_seed_decides_about_the_permutations_and_nothing_else(tmp_path: Path) -> None:
    run = train(tmp_path)
    first, again, other = measured(run), measured(run, seed=0), measured(run, seed=1)
    assert first.tables == again.tables
    assert drops(first.tables[0]) != drops(other.tables[0])
    assert (first.seed, other.seed) == (0, 1)


def test_a_column_that_the_network_ignores_is_exactly_0(tmp_path: Path) -> None:
    rng = np.random.RandomState(0)
    x = np.column_stack([rng.normal(size=48), rng.normal(size=48)])
    run = train(tmp_path, arrays={"x_train": x, "y_train": x[:, 0]}, layers=[{"dense": 1}], epochs=1)
    weights = dict(run.read_weights())
    weights["0.weight"] = weights["0.weight"] * np.array([1, 0], np.float32)
    run.write_weights(weights)
    (found,) = measured(run).tables
    assert drops(found)["1"] == [[0.0] * 5]
    assert {of.column: of.within_noise for of in found.columns}["1"]


def test_the_test_set_is_looked_at_only_if_it_is_asked_for(tmp_path: Path) -> None:
    run = train(tmp_path)
    assert measured(run).look is None
    assert record_of(run.path)["test_uses"] == []
    assert measured(run, split="test").look == 1
    record = measured(run, split="test")
    assert (record.look, record.rows) == (2, [12])
    assert [use["command"] for use in record_of(run.path)["test_uses"]] == ["importance", "importance"]
    before = record_of(run.path)["test_uses"]
    for wrong in ({"metric": "auc"}, {"output": "x"}, {"curves": ["9"]}):
        with pytest.raises(UsageError):
            measured(run, split="test", **wrong)
    assert record_of(run.path)["test_uses"] == before


def test_networks_that_are_averaged_are_asked_one_by_one(tmp_path: Path) -> None:
    folds = train(tmp_path, validation=KFOLD)
    model = RunDirectory(nnrun.final(nnrun.load_run(str(folds.path)), members="folds").path)
    record = measured(model)
    assert record.averaged
    assert record.tables == measured(folds).tables


def test_calibration_and_threshold_count(tmp_path: Path) -> None:
    """The scores are those of `evaluate`, of the classes that the threshold decides."""
    changes = {"calibrate": {"temperature": 3.0}, "threshold": 0.9, "validation": KFOLD}
    run = train(tmp_path, BINARY, epochs=20, optimizer={"adam": 0.02}, **changes)
    scores = nnrun.evaluate(nnrun.Run(run.path), split="validation").scores
    (accuracy,), (loss,) = measured(run).tables, measured(run, metric="loss").tables
    assert accuracy.score == pytest.approx(scores["accuracy"])
    assert loss.score == pytest.approx(scores["loss"])
    at_half = train(tmp_path, BINARY, epochs=20, optimizer={"adam": 0.02}, validation=KFOLD)
    assert drops(measured(at_half).tables[0]) != drops(accuracy)


def test_what_training_makes_untrue_is_not_kept(tmp_path: Path) -> None:
    run = train(tmp_path, time_limit="0.001s", epochs=4)
    assert run.read_record().epochs_run < 4
    assert measured(run) == run.read_importance()
    assert main(["train", "--resume", str(run.path), "--time", "10m", "-q"]) == 0
    assert run.read_record().epochs_run == 4
    assert run.read_importance() is None


# --- inputs and outputs that have names --------------------------------------------------------------------


def test_a_column_that_two_inputs_take_is_one(tmp_path: Path) -> None:
    path = write_columns(tmp_path)
    run = RunDirectory(nnrun.train(path, overrides={"epochs": 40}, runs_dir=tmp_path / "runs").path)
    grade, size = measured(run).tables
    assert [(of.output, of.metric) for of in (grade, size)] == [("grade", "accuracy"), ("size", "mae")]
    assert {column.column for column in grade.columns} == {"a", "b", "kind"}
    assert grade.columns[0].column == "a"
    assert [t.output for t in measured(run, output="size").tables] == ["size"]
    assert [t.output for t in measured(run, metric="mae").tables] == ["size"]
    assert [t.metric for t in measured(run, metric="size_mae").tables] == ["mae"]
    assert [t.metric for t in measured(run, metric="loss").tables] == ["loss", "loss"]
    with pytest.raises(
        UsageError, match=r"^--output 'sise': the run has grade and size. Did you mean 'size'"
    ):
        measured(run, output="sise")
    with pytest.raises(UsageError, match=r"^--metric 'acuracy': the run has loss, accuracy and mae. Did you"):
        measured(run, metric="acuracy")
    figures = importance_figures(measured(run))
    assert set(figures) == {"grade_importance", "size_importance"}
    assert "95 % interval of the mean" in figures["size_importance"].axes[0].texts[-1].get_text()


def test_features_of_several_arrays_are_told_apart(tmp_path: Path) -> None:
    run = RunDirectory(nnrun.train(write_arrays(tmp_path), runs_dir=tmp_path / "runs").path)
    names = {column.column for column in measured(run).tables[0].columns}
    assert names == {"size.0", "size.1", "size.2", "place.0", "place.1"}


# --- what is refused, kept, and said -----------------------------------------------------------------------


def test_what_is_refused(tmp_path: Path) -> None:
    run = train(tmp_path)
    with pytest.raises(UsageError, match=r"^--metric 'accuracy': the run has loss and mae\.$"):
        measured(run, metric="accuracy")
    with pytest.raises(UsageError, match=r"^--output names one of several outputs"):
        measured(run, output="y")
    with pytest.raises(UsageError, match=r"^repeats is 0; it must be at least 1\.$"):
        measured(run, repeats=0)
    path = write_small(tmp_path)
    smoke = RunDirectory(nnrun.train(path, smoke=True, runs_dir=tmp_path / "smoke").path)
    with pytest.raises(UsageError, match=r"is a smoke run: its networks learned from generated rows"):
        measured(smoke)
    none = RunDirectory(nnrun.train(path, overrides={"validation": "none"}, runs_dir=tmp_path / "none").path)
    with pytest.raises(UsageError, match=r"it has no validation rows"):
        measured(none)
    write_small(tmp_path, arrays={"x_train": np.ones((48, 3)), "y_train": np.ones(48)})
    with pytest.raises(DataError, match=r"is not the file that .* was trained on"):
        measured(run)


def test_words_have_no_columns(tmp_path: Path) -> None:
    spec = {**BINARY, "preprocessing": {"inputs": "multi_hot"}, "validation": {"holdout": {"first": 8}}}
    run = train(tmp_path, spec, arrays=growing_tokens())
    with pytest.raises(UsageError, match=r"are lists of words, which have no columns to shuffle"):
        measured(run)


def test_it_is_kept_and_read_again(tmp_path: Path) -> None:
    run = train(tmp_path, validation=KFOLD)
    assert run.read_importance() is None
    record = measured(run, curves=["0"])
    assert run.read_importance() == record
    path = run.path / "importance.json"
    document = json.loads(path.read_text())
    path.write_text(json.dumps({**document, "tables": [{}]}))
    with pytest.raises(DataError, match=r"importance.json is damaged. `nnrun importance \S*small-"):
        run.read_importance()
    path.write_text(json.dumps({**document, "version": 99}))
    with pytest.raises(DataError, match="version 99"):
        run.read_importance()


def test_categories_that_hide_each_other() -> None:
    rng = np.random.default_rng(0)
    place = rng.integers(1, 4, 60)
    own = table(
        categories("class", [["first", "second", "third"][i - 1] for i in place]),
        numbers("pclass", place.tolist()),
        categories("port", rng.choice(["C", "Q", "S"], 60).tolist()),
        categories("ticket", [f"t{i // 4}" for i in rng.permutation(60)]),
        numbers("fare", rng.normal(size=60).tolist()),
    )
    columns = [InputColumn(name, (INPUT,)) for name in own.names]
    (pair,) = correlated_columns(columns, dataset(own))
    assert (pair.first, pair.second) == ("class", "pclass")
    assert pair.correlation == pytest.approx(1)


def test_columns_that_hide_each_other() -> None:
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=50), rng.normal(size=50)
    a[3] = np.nan
    own = table(numbers("a", a.tolist()), numbers("b", b.tolist()), numbers("c", np.exp(-a).tolist()))
    columns = [InputColumn(name, (INPUT,)) for name in "abc"]
    (pair,) = correlated_columns(columns, dataset(own))
    assert (pair.first, pair.second) == ("a", "c")
    assert pair.correlation == pytest.approx(-1, abs=0.01)
    constant = table(numbers("a", [1.0] * 50), numbers("b", [2.0] * 50))
    assert correlated_columns(columns[:2], dataset(constant)) == []
