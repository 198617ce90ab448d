"""What networks predict on average where every row has one value in a column."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.inspection import partial_dependence

import nnrun
from nnrun.errors import DataError, UsageError
from nnrun.experiment.evaluating import partial_dependence as module
from nnrun.experiment.evaluating.importance import ImportanceSettings, measure_importance
from nnrun.experiment.finished.load_run import DEFAULT_ACCESS
from nnrun.experiment.predicting.open_run import open_run
from nnrun.records import RunDirectory
from nnrun.records.importance_record import DependenceCurve
from nnrun.spec.ports import OUTPUT
from tests.support.port_experiments import write_columns
from tests.support.small_experiments import BINARY, KFOLD, REGRESSION, numbers, write_small


def curves_of(run: RunDirectory, *columns: str) -> list[DependenceCurve]:
    settings = ImportanceSettings(repeats=1, curves=columns)
    return measure_importance(run, DEFAULT_ACCESS, settings).curves


def train(folder: Path, spec: dict[str, Any] = REGRESSION, **changes: Any) -> RunDirectory:
    return RunDirectory(nnrun.train(write_small(folder, spec, **changes), runs_dir=folder / "runs").path)


def train_table(folder: Path, rows: pd.DataFrame, spec: dict[str, Any], **changes: Any) -> RunDirectory:
    rows.to_csv(folder / "rows.csv", index=False)
    dataset = {"csv": {"path": "rows.csv", "target": "y"}}
    return train(folder, spec, dataset=dataset, preprocessing={"inputs": ["impute", "one_hot"]}, **changes)


def test_the_curve_is_the_mean_over_rows_and_the_band_over_folds(tmp_path: Path) -> None:
    run = train(tmp_path, validation=KFOLD)
    (curve,) = curves_of(run, "1")
    (line,) = curve.lines
    opened = open_run(run, DEFAULT_ACCESS)
    expected = []
    for network in opened.networks:
        own = opened.dataset.train.take(opened.fold_of(network).validation_rows)
        means = []
        for value in curve.values:
            x = np.array(own.inputs)
            x[:, 1] = value
            means.append(opened.outputs(network, type(own)(x, own.targets)).mean())
        expected.append(means)
    np.testing.assert_allclose(line.mean, np.mean(expected, axis=0), rtol=1e-5)
    np.testing.assert_allclose(line.std or [], np.std(expected, axis=0, ddof=1), rtol=1e-3, atol=1e-5)
    assert (curve.kind, curve.predicted, curve.rows, line.name) == ("number", "prediction", 16, "")
    column = numbers()["x_train"][:, 1]
    low, high = np.quantile(column, [0.05, 0.95])
    assert curve.values == sorted(curve.values)
    assert set(curve.values) <= set(column.tolist())
    assert min(curve.values) == pytest.approx(low, abs=0.5)
    assert max(curve.values) == pytest.approx(high, abs=0.5)
    assert len(curve.values) == 20


def test_it_is_scikit_learns(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from sklearn.base import BaseEstimator, RegressorMixin

    run = train(tmp_path)
    (curve,) = curves_of(run, "0")
    opened = open_run(run, DEFAULT_ACCESS)
    (network,) = opened.networks
    own = opened.dataset.train.take(opened.fold_of(network).validation_rows)

    class Network(RegressorMixin, BaseEstimator):  # type: ignore[misc]
        def __sklearn_is_fitted__(self) -> bool:
            return True

        def fit(self, x: Any, y: Any) -> None:
            """Nothing: it is trained."""

        def predict(self, x: np.ndarray) -> np.ndarray:
            targets = np.zeros(len(x))
            return opened.outputs(network, type(own)(x, targets))[:, 0]

    theirs = partial_dependence(
        Network(), np.asarray(own.inputs), [0], method="brute", custom_values={0: np.array(curve.values)}
    )
    np.testing.assert_allclose(curve.lines[0].mean, theirs["average"][0], rtol=1e-5)
    assert curve.lines[0].std is None


def test_of_many_rows_some_are_drawn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = train(tmp_path)
    monkeypatch.setattr(module, "MOST_ROWS", 5)
    (first,), (second,) = curves_of(run, "0"), curves_of(run, "0")
    assert first.rows == 5
    assert first == second


def test_categories_come_by_frequency_and_dates_in_order(tmp_path: Path) -> None:
    rows = pd.DataFrame({"x": np.random.default_rng(0).normal(size=48)})
    rows["kind"] = ["b"] * 24 + ["c"] * 10 + [None] * 4 + ["a"] * 10
    rows["day"] = [f"{1 + i % 28:02d}.0{1 + i // 28}.2021" for i in range(48)]
    rows["y"] = np.where(rows["kind"] == "b", "yes", "no")
    steps = {"inputs": ["impute", "standardize", "one_hot", "datetime"]}
    rows.to_csv(tmp_path / "rows.csv", index=False)
    dataset = {"csv": {"path": "rows.csv", "target": "y", "types": {"day": "date"}}}
    validation = {"holdout": {"fraction": 0.3, "shuffle": True}}
    run = train(tmp_path, BINARY, dataset=dataset, preprocessing=steps, validation=validation)
    kind, day = curves_of(run, "kind", "day")
    assert (kind.kind, kind.values) == ("category", ["b", "a", "c"])
    assert [line.name for line in kind.lines] == ["yes"]
    assert kind.predicted == "probability"
    assert all(0 <= p <= 1 for p in kind.lines[0].mean)
    assert day.kind == "date"
    assert [str(value).split(".")[::-1] for value in day.values] == sorted(
        str(value).split(".")[::-1] for value in day.values
    )
    assert len(day.values) == 20


def test_each_output_has_a_curve_and_each_class_a_line(tmp_path: Path) -> None:
    run = RunDirectory(nnrun.train(write_columns(tmp_path), runs_dir=tmp_path / "runs").path)
    grade, size = curves_of(run, "a")
    assert [line.name for line in grade.lines] == ["low", "mid", "top"]
    np.testing.assert_allclose(np.sum([line.mean for line in grade.lines], axis=0), 1, rtol=1e-5)
    assert (size.output, size.predicted, len(size.lines)) == ("size", "prediction", 1)
    assert 900 < min(size.lines[0].mean) < max(size.lines[0].mean) < 1100  # in the target's own units


def test_a_network_that_gives_no_numbers_has_no_curve(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = train(tmp_path)

    def nowhere(*_: Any) -> Any:
        return lambda inputs, rows: {OUTPUT: np.full((1, rows, 1), np.inf)}

    monkeypatch.setattr(module, "outputs_of_inputs", nowhere)
    with pytest.raises(
        DataError, match=r"^--curve '1': with .* in every row some predictions are not finite"
    ):
        curves_of(run, "1")


def test_what_has_no_curve(tmp_path: Path) -> None:
    run = train(tmp_path)
    no_such = r"^--curve 'x': the networks of small-.* take no such column\. They take '0', '1' and '2'\.$"
    with pytest.raises(UsageError, match=no_such):
        curves_of(run, "x")
    rows = pd.DataFrame({"y": np.arange(48.0) % 7, "x": np.arange(48.0) ** 2 % 17})
    rows["note"] = [f"a long note about number {i} and its many friends" for i in range(48)]
    words = {"inputs": [{"text": {"num_words": 20}}]}
    rows.to_csv(tmp_path / "rows.csv", index=False)
    dataset = {"csv": {"path": "rows.csv", "target": "y", "types": {"note": "text"}}}
    texts = RunDirectory(
        nnrun.train(
            write_small(tmp_path, dataset=dataset, preprocessing=words), runs_dir=tmp_path / "texts"
        ).path
    )
    with pytest.raises(UsageError, match=r"^--curve 'note': this column holds texts, and a curve needs"):
        curves_of(texts, "note")
    x = np.random.default_rng(0).normal(size=(48, 4, 2))
    layers = [{"lstm": 3}, {"dense": 1}]
    steps = train(tmp_path, arrays={"x_train": x, "y_train": x[:, 1, 1]}, layers=layers)
    with pytest.raises(UsageError, match=r"^--curve '1': this column has no single value in a row, and a"):
        curves_of(steps, "1")
    assert {c.column for c in measure_importance(steps).tables[0].columns} == {"0", "1"}
    names = {c.column for c in measure_importance(texts).tables[0].columns}
    assert names == {"x", "note"}
