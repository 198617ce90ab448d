"""Tables and texts as people have them: what a network reaches, beside scikit-learn's own on the same rows.

The networks' scores are those of the last epoch: no epoch is chosen by the rows that validate.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.compose import make_column_selector, make_column_transformer
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.metrics import mean_absolute_error
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from nnrun.spec.reading.load import load_spec
from nnrun.validation.splits import make_folds
from tests.support.commands import nnrun_command
from tests.support.small_experiments import only_run, record_of

SPECS = Path(__file__).parent / "own_data"
RealFile = Callable[[str], Path]


def trained(name: str, path: Path, folder: Path) -> pd.DataFrame:
    """The last rows of the history, one for each fold."""
    made = nnrun_command(
        "train", str(SPECS / f"{name}.yaml"), "--set", f"dataset.csv.path={path}", "-q", cwd=folder
    )
    assert made.returncode == 0, made.stderr
    history = pd.read_csv(only_run(folder / "runs") / "history.csv")
    last: pd.DataFrame = history[history["epoch"] == history["epoch"].max()]
    return last


def by_scikit_learn(
    name: str, path: Path, last_step: Any, score: Callable[[Any, pd.DataFrame, pd.Series], float]
) -> list[float]:
    """The score of each fold of the same spec, by a pipeline of scikit-learn fitted on the other rows."""
    spec = load_spec(SPECS / f"{name}.yaml", overrides=[f"dataset.csv.path={path}"]).spec
    rows = pd.read_csv(path)
    assert spec.dataset.kind == "csv"
    (target,) = spec.dataset.target  # type: ignore[union-attr]
    inputs: Any = rows[spec.dataset.inputs]  # type: ignore[union-attr]
    is_category = make_column_selector(dtype_exclude="number")
    columns = make_column_transformer(
        (
            make_pipeline(SimpleImputer(strategy="median"), StandardScaler()),
            make_column_selector(dtype_include="number"),
        ),
        (OneHotEncoder(handle_unknown="ignore"), is_category),
    )
    labels = rows[target].astype("category").cat.codes.to_numpy() if rows[target].dtype != float else None
    found = []
    for fold in make_folds(spec.validation, len(rows), labels, spec.seed):
        model = make_pipeline(columns, last_step)
        model.fit(inputs.iloc[fold.train_rows], rows[target].iloc[fold.train_rows])
        held = fold.validation_rows
        found.append(score(model, inputs.iloc[held], rows[target].iloc[held]))
    return found


def accuracy(model: Any, inputs: Any, targets: Any) -> float:
    return float(model.score(inputs, targets))


@pytest.mark.parametrize(("name", "least"), [("penguins", 0.97), ("titanic", 0.80)])
def test_classes_of_a_table(name: str, least: float, real_file: RealFile, tmp_path: Path) -> None:
    path = real_file(f"tables/{name}.csv")
    folds = trained(name, path, tmp_path)
    assert len(folds) == 5
    mean = folds["val_accuracy"].mean()
    assert mean >= least
    assert mean >= np.mean(by_scikit_learn(name, path, LogisticRegression(max_iter=2000), accuracy)) - 0.02


def test_numbers_of_a_table_in_their_own_units(real_file: RealFile, tmp_path: Path) -> None:
    path = real_file("tables/mpg.csv")
    folds = trained("mpg", path, tmp_path)
    assert len(folds) == 5
    mean = folds["val_mae"].mean()
    assert 0.5 < mean <= 2.3  # below that it would be in deviations

    def error(model: Any, inputs: Any, targets: Any) -> float:
        return float(mean_absolute_error(targets, model.predict(inputs)))

    assert mean <= np.mean(by_scikit_learn("mpg", path, Ridge(), error)) + 0.1


@pytest.mark.slow
def test_topics_of_raw_texts(real_file: RealFile, tmp_path: Path) -> None:
    path = real_file("text/reuters.csv")
    (found,) = trained("reuters", path, tmp_path)["val_accuracy"]
    assert found >= 0.80
    spec = load_spec(SPECS / "reuters.yaml").spec
    rows = pd.read_csv(path)
    rows["text"] = rows["text"].fillna("")
    labels = rows["topic"].astype("category").cat.codes.to_numpy()
    (fold,) = make_folds(spec.validation, len(rows), labels, spec.seed)
    model = make_pipeline(TfidfVectorizer(max_features=20_000), LogisticRegression(tol=1e-2))
    model.fit(rows["text"].iloc[fold.train_rows], labels[fold.train_rows])
    assert found >= model.score(rows["text"].iloc[fold.validation_rows], labels[fold.validation_rows]) - 0.02


def test_reviews_of_a_folder(data_dir: Path, tmp_path: Path) -> None:
    folder = data_dir / "text" / "aclImdb-sample"
    if not folder.is_dir():
        pytest.skip(f"{folder} is not there")
    made = nnrun_command(
        *("final", str(SPECS / "reviews.yaml"), "--set", f"dataset.text_folder.path={folder}"),
        *("--epochs", "8", "-q"),
        cwd=tmp_path,
    )
    assert made.returncode == 0, made.stderr
    found = record_of(only_run(tmp_path / "runs"))["test"]["accuracy"]
    assert found >= 0.80
    parts = {}
    for part in ("train", "test"):
        files = sorted((folder / part).glob("*/*.txt"))
        parts[part] = [f.read_text(encoding="utf-8") for f in files], [f.parent.name for f in files]
    model = make_pipeline(TfidfVectorizer(), LogisticRegression()).fit(*parts["train"])
    assert found >= model.score(*parts["test"]) - 0.02
