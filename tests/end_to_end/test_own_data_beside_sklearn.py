"""A person's own tables and texts: the command's scores beside scikit-learn's on the same folds.

The same preprocessing, in scikit-learn's own parts, goes before scikit-learn's own network (`MLPClassifier`,
`MLPRegressor`) or, for texts, its logistic regression.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.compose import ColumnTransformer, TransformedTargetRegressor
from sklearn.exceptions import ConvergenceWarning
from sklearn.feature_extraction.text import CountVectorizer, TfidfVectorizer
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.neural_network import MLPClassifier, MLPRegressor
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from nnrun.experiment.load_data import load_data
from nnrun.experiment.prepare import prepare_groups
from nnrun.spec.load import load_spec

NO_WORSE = 0.02


def run_command(spec: Path, command: str = "train", *options: str) -> tuple[dict[str, Any], float]:
    """The record of a run by the command, and the seconds that the command took, from cold."""
    runs = spec.parent / f"runs-{spec.stem}"
    started = time.perf_counter()
    subprocess.run(
        [sys.executable, "-m", "nnrun", command, str(spec), "--runs-dir", str(runs), "-q", *options],
        check=True,
        capture_output=True,
        text=True,
    )
    seconds = time.perf_counter() - started
    (record,) = runs.glob("*/run.json")
    found: dict[str, Any] = json.loads(record.read_text(encoding="utf-8"))
    return found, seconds


def write(folder: Path, name: str, **values: Any) -> Path:
    path = folder / f"{name}.yaml"
    path.write_text(json.dumps(values), encoding="utf-8")
    return path


def network(hidden: int, outputs: int, activation: str) -> list[dict[str, Any]]:
    return [
        {"dense": {"units": hidden, "activation": "relu"}},
        {"dense": {"units": outputs, "activation": activation}},
    ]


def folds_of(spec: Path) -> list[tuple[np.ndarray, np.ndarray]]:
    """(training rows, validation rows) of each fold."""
    made = load_spec(str(spec)).spec
    members = [member for group in prepare_groups(made, load_data(made)) for member in group.members]
    members.sort(key=lambda member: member.number)
    return [(member.fold.train_rows, member.fold.validation_rows) for member in members]


def columns_of(frame: pd.DataFrame, numbers: Sequence[str]) -> ColumnTransformer:
    """The default plan in scikit-learn's parts."""
    others = [name for name in frame if name not in numbers]
    scaled = make_pipeline(SimpleImputer(strategy="median", add_indicator=True), StandardScaler())
    encoded = OneHotEncoder(handle_unknown="ignore")
    return ColumnTransformer([("numbers", scaled, list(numbers)), ("others", encoded, others)])


def scores_of(model: Any, x: Any, y: np.ndarray, folds: Sequence[tuple[np.ndarray, np.ndarray]]) -> float:
    """The mean score over the folds: accuracy, or the negative mean absolute error."""
    found = []
    for train, validation in folds:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            fitted = model.fit(x.iloc[train], y[train])
        said = fitted.predict(x.iloc[validation])
        regression = y.dtype.kind == "f"
        found.append(-np.abs(said - y[validation]).mean() if regression else (said == y[validation]).mean())
    return float(np.mean(found))


def classifier(seed: int = 0) -> MLPClassifier:
    return MLPClassifier(hidden_layer_sizes=(32,), max_iter=300, random_state=seed)


def test_penguins(real_file: Any, tmp_path: Path) -> None:
    path = real_file("tables/penguins.csv")
    spec = write(
        tmp_path,
        "penguins",
        dataset={"csv": {"path": str(path), "target": "species"}},
        layers=network(32, 3, "softmax"),
        loss="sparse_categorical_crossentropy",
        metrics=["accuracy"],
        epochs=40,
        batch_size=16,
        validation={"kfold": {"k": 5, "shuffle": True, "stratify": True}},
    )
    record, _ = run_command(spec)
    accuracy = record["best"]["val_accuracy"]
    assert accuracy >= 0.97
    frame = pd.read_csv(path)
    y = frame.pop("species").to_numpy(str)
    numbers = [name for name in frame if pd.api.types.is_numeric_dtype(frame[name])]
    theirs = scores_of(
        Pipeline([("x", columns_of(frame, numbers)), ("y", classifier())]), frame, y, folds_of(spec)
    )
    assert accuracy >= theirs - NO_WORSE


TITANIC = ["pclass", "sex", "age", "sibsp", "parch", "fare", "embarked", "who", "adult_male", "deck", "alone"]


def test_titanic(real_file: Any, tmp_path: Path) -> None:
    path = real_file("tables/titanic.csv")
    spec = write(
        tmp_path,
        "titanic",
        dataset={"csv": {"path": str(path), "target": "survived", "inputs": TITANIC}},
        layers=network(16, 1, "sigmoid"),
        loss="binary_crossentropy",
        metrics=["accuracy"],
        epochs=30,
        validation={"kfold": {"k": 5, "shuffle": True, "stratify": True}},
    )
    record, _ = run_command(spec)
    accuracy = record["best"]["val_accuracy"]
    assert accuracy >= 0.80
    frame = pd.read_csv(path)
    y = frame["survived"].to_numpy(int)
    x = frame[TITANIC]
    numbers = ["pclass", "age", "sibsp", "parch", "fare"]
    model = Pipeline([("x", columns_of(x, numbers)), ("y", LogisticRegression(max_iter=1000))])
    assert accuracy >= scores_of(model, x, y, folds_of(spec)) - NO_WORSE


def test_miles_per_gallon(real_file: Any, tmp_path: Path) -> None:
    path = real_file("tables/mpg.csv")
    inputs = ["cylinders", "displacement", "horsepower", "weight", "acceleration", "model_year", "origin"]
    spec = write(
        tmp_path,
        "mpg",
        dataset={"csv": {"path": str(path), "target": "mpg", "inputs": inputs}},
        preprocessing={"targets": "standardize"},
        layers=[*network(64, 64, "relu"), {"dense": 1}],
        loss="mse",
        metrics=["mae"],
        epochs=40,
        batch_size=16,
        validation={"kfold": {"k": 5, "shuffle": True}},
    )
    record, _ = run_command(spec)
    error = record["best"]["val_mae"]
    assert error <= 2.3
    frame = pd.read_csv(path)
    regressor = MLPRegressor(hidden_layer_sizes=(64, 64), max_iter=300, random_state=0)
    model = Pipeline(
        [
            ("x", columns_of(frame[inputs], inputs[:-1])),
            ("y", TransformedTargetRegressor(regressor, transformer=StandardScaler())),
        ]
    )
    theirs = -scores_of(model, frame[inputs], frame["mpg"].to_numpy(float), folds_of(spec))
    assert error <= theirs * (1 + NO_WORSE)


def test_newswires_as_texts(real_file: Any, tmp_path: Path) -> None:
    path = real_file("text/reuters.csv")
    frame = pd.read_csv(path)
    topics = frame["topic"].nunique()
    spec = write(
        tmp_path,
        "wires",
        dataset={"csv": {"path": str(path), "target": "topic", "inputs": "text"}},
        layers=network(128, topics, "softmax"),
        loss="sparse_categorical_crossentropy",
        metrics=["accuracy"],
        epochs=6,
        batch_size=128,
        validation={"holdout": {"fraction": 0.2, "stratify": True}},
    )
    record, seconds = run_command(spec)
    accuracy = record["best"]["val_accuracy"]
    assert accuracy >= 0.80
    assert seconds < 60  # 5 s where nothing else runs
    words = CountVectorizer(max_features=10_000, binary=True, token_pattern=r"[^\W_]+")
    model = Pipeline([("x", words), ("y", LogisticRegression(max_iter=20))])
    texts, y = frame["text"].fillna(""), frame["topic"].to_numpy(str)
    assert accuracy >= scores_of(model, texts, y, folds_of(spec)) - NO_WORSE


def test_reviews_in_folders(data_dir: Path, tmp_path: Path) -> None:
    folder = data_dir / "text" / "aclImdb-sample"
    if not folder.is_dir():
        pytest.skip(f"{folder} is not there")
    spec = write(
        tmp_path,
        "reviews",
        dataset={"text_folder": str(folder)},
        preprocessing={"inputs": {"text": {"weighting": "tf_idf"}}},
        layers=network(16, 1, "sigmoid"),
        loss="binary_crossentropy",
        metrics=["accuracy"],
        epochs=15,
    )
    record, _ = run_command(spec, "final")
    accuracy = record["test"]["accuracy"]
    assert accuracy >= 0.80

    def read(split: str) -> tuple[list[str], np.ndarray]:
        files = sorted((folder / split).glob("*/*.txt"))
        return [file.read_text(encoding="utf-8") for file in files], np.array(
            [file.parent.name for file in files]
        )

    words = TfidfVectorizer(max_features=10_000, token_pattern=r"[^\W_]+")
    model = make_pipeline(words, LogisticRegression(max_iter=1000)).fit(*read("train"))
    assert accuracy >= model.score(*read("test")) - NO_WORSE
