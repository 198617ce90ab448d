"""Rows of Parquet files, which say what CSV of the same rows says."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import nnrun
from nnrun.data.new_rows.row_source import source_of
from nnrun.errors import DataError
from nnrun.experiment.predicting.predict import Predictor, load_predictor, predict_source
from nnrun.experiment.predicting.prediction_table import PredictionTable
from nnrun.experiment.running.job import Settings
from nnrun.experiment.running.train import run_experiment
from tests.support.small_experiments import load_small, numbers

pytest.importorskip("pyarrow")


def ask(predictor: Predictor, path: Path, **parameters: Any) -> list[list[Any]]:
    found = predict_source(predictor, source_of(path), **parameters)
    table = PredictionTable(predictor.output_decoders, probabilities=True)
    return [row for block in found for row in table.rows(block)]


@pytest.fixture
def frame() -> pd.DataFrame:
    rng = np.random.RandomState(0)
    x = rng.normal(size=200)
    frame = pd.DataFrame({"x": x, "k": rng.randint(0, 4, 200), "c": rng.choice(["a", "b"], 200)})
    return frame.assign(f=rng.rand(200) > 0.5, s=rng.choice(["u", "v"], 200), y=np.where(x > 0, "yes", "no"))


def predictor_of(folder: Path, frame: pd.DataFrame, kind: str, unknown: str = "ignore") -> Predictor:
    path = folder / f"rows.{kind}"
    frame.to_csv(path, index=False) if kind == "csv" else frame.to_parquet(path, index=False)
    (folder / "spec.yaml").write_text(
        f"dataset: {{{kind}: {{path: {path.name}, target: y}}}}\nvalidation: none\nepochs: 1\n"
        "preprocessing:\n  inputs:\n  - impute: {columns: x}\n"
        f"  - one_hot: {{columns: c, unknown: {unknown}}}\n  - hashing: {{columns: [s, f], buckets: 30}}\n"
        "layers: [{dense: {units: 1, activation: sigmoid}}]\nloss: binary_crossentropy\n"
    )
    run = nnrun.train(folder / "spec.yaml", runs_dir=folder / "runs")
    return load_predictor(run._directory)


@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_the_same_rows_in_any_form(tmp_path: Path, frame: pd.DataFrame, kind: str) -> None:
    predictor = predictor_of(tmp_path, frame, kind)
    new = frame.head(30)[["s", "y", "f", "c", "x", "k"]].assign(extra=0)
    new.loc[3, "x"] = None
    new.loc[5, "c"] = "zz"
    for columns in (list(new), [name for name in new if name != "y"]):
        new[columns].to_csv(tmp_path / "new.csv", index=False)
        new[columns].to_csv(tmp_path / "new.csv.gz", index=False)
        new[columns].to_csv(tmp_path / "new.tsv", index=False, sep="\t")
        new[columns].to_json(tmp_path / "new.jsonl", orient="records", lines=True)
        new[columns].to_parquet(tmp_path / "new.parquet", index=False)
        first, *others = (
            ask(predictor, tmp_path / f"new.{end}") for end in ("csv", "csv.gz", "tsv", "jsonl", "parquet")
        )
        assert len(first) == 30
        assert all(other == first for other in others)


def test_rows_that_are_bad(tmp_path: Path, frame: pd.DataFrame) -> None:
    predictor = predictor_of(tmp_path, frame, "csv", unknown="error")
    new = frame.head(5)
    new.loc[1, "c"] = "zz"
    new.loc[3, "x"] = np.inf
    new.to_parquet(tmp_path / "new.parquet")
    with pytest.raises(DataError, match=r"row 1 in column 'c' has 'zz', which the training rows do not hold"):
        ask(predictor, tmp_path / "new.parquet")
    assert [row[0] for row in ask(predictor, tmp_path / "new.parquet", skip_bad=True)] == [0, 2, 4]
    new.drop(columns="s").to_parquet(tmp_path / "less.parquet")
    with pytest.raises(DataError, match="lacks 1 column that the network takes: s"):
        ask(predictor, tmp_path / "less.parquet")


def test_texts_in_a_column_of_numbers(tmp_path: Path, frame: pd.DataFrame) -> None:
    predictor = predictor_of(tmp_path, frame, "csv")
    frame.astype({"k": str}).to_parquet(tmp_path / "new.parquet")
    assert len(ask(predictor, tmp_path / "new.parquet")) == 200
    frame.assign(k=["many", *["1"] * 199]).to_parquet(tmp_path / "new.parquet")
    with pytest.raises(DataError, match="row 0 has 'many' in column 'k', which is not a finite number"):
        ask(predictor, tmp_path / "new.parquet")


def test_a_network_of_arrays_takes_columns_by_position(tmp_path: Path) -> None:
    run = run_experiment(load_small(tmp_path), Settings("train", tmp_path / "runs", None, "cpu"))
    predictor = load_predictor(run)
    x = numbers()["x_test"]
    pd.DataFrame(x, columns=list("abc")).to_parquet(tmp_path / "x.parquet")
    np.savez(tmp_path / "x.npz", x=x)
    assert ask(predictor, tmp_path / "x.parquet") == ask(predictor, tmp_path / "x.npz")
    pd.DataFrame(x[:, :2], columns=list("ab")).to_parquet(tmp_path / "less.parquet")
    with pytest.raises(DataError, match="has 2 columns, but the network takes 3"):
        ask(predictor, tmp_path / "less.parquet")
