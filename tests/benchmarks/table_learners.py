"""Learners of tables, at their defaults: from training rows and scored rows to predictions of the scored
rows.

A learner gets two frames of inputs, numbers and texts (None where missing), and the training targets:
floats, or codes of classes from 0. It returns probabilities (N, K), or numbers (N,). Nothing is chosen on
scored rows.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pandas as pd

Floats = npt.NDArray[np.float64]
_MOST_LEVELS: Final = 250  # of a category; HistGradientBoosting refuses more than 255


@dataclass(frozen=True)
class Problem:
    """What is learned from, and what is predicted.

    Attributes:
        train, scored: the inputs.
        y: (N,) the training targets.
        classes: how many; 0 for numbers.
    """

    train: pd.DataFrame
    scored: pd.DataFrame
    y: npt.NDArray[Any]
    classes: int

    @property
    def texts(self) -> list[str]:
        """Columns that are no numbers."""
        return [name for name in self.train if self.train[name].dtype == object]

    def as_categories(self) -> tuple[pd.DataFrame, pd.DataFrame]:
        """Texts as pandas categories of the commonest levels in the training rows; others are missing."""
        train, scored = self.train.copy(), self.scored.copy()
        for name in self.texts:
            levels = self.train[name].value_counts().index[:_MOST_LEVELS]
            for frame in (train, scored):
                frame[name] = pd.Categorical(frame[name], categories=levels)
        return train, scored


Learner = Callable[[Problem], Floats]


def _fit(problem: Problem, model: Any, train: Any, scored: Any, **fit: Any) -> Floats:
    model.fit(train, problem.y, **fit)
    return np.asarray(model.predict_proba(scored) if problem.classes else model.predict(scored), np.float64)


def _prepared(problem: Problem) -> Any:
    """The usual pipeline of scikit-learn: median and indicator, scaled; one-hot."""
    from sklearn.compose import make_column_transformer
    from sklearn.impute import SimpleImputer
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import FunctionTransformer, OneHotEncoder, StandardScaler

    numbers = [name for name in problem.train if name not in problem.texts]
    known = FunctionTransformer(_known)
    return make_column_transformer(
        (make_pipeline(SimpleImputer(strategy="median", add_indicator=True), StandardScaler()), numbers),
        (make_pipeline(known, OneHotEncoder(handle_unknown="ignore")), problem.texts),
    )


def _known(frame: pd.DataFrame) -> pd.DataFrame:
    return frame.fillna("missing").astype(str)


def linear(problem: Problem) -> Floats:
    """Ridge or logistic regression, with one-hot categories and scaled numbers."""
    from sklearn.linear_model import LogisticRegression, Ridge
    from sklearn.pipeline import make_pipeline

    model = LogisticRegression(max_iter=1000) if problem.classes else Ridge()
    return _fit(problem, make_pipeline(_prepared(problem), model), problem.train, problem.scored)


def sklearn_mlp(problem: Problem) -> Floats:
    """scikit-learn's network, on the same columns; targets scaled, else it learns nothing of prices."""
    from sklearn.compose import TransformedTargetRegressor
    from sklearn.neural_network import MLPClassifier, MLPRegressor
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    network: Any = MLPClassifier(random_state=0) if problem.classes else MLPRegressor(random_state=0)
    if not problem.classes:
        network = TransformedTargetRegressor(network, transformer=StandardScaler())
    return _fit(problem, make_pipeline(_prepared(problem), network), problem.train, problem.scored)


def hist_gradient_boosting(problem: Problem) -> Floats:
    """scikit-learn's HistGradientBoosting, which is told the categories."""
    from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor

    kind = HistGradientBoostingClassifier if problem.classes else HistGradientBoostingRegressor
    model = kind(categorical_features="from_dtype", random_state=0)
    return _fit(problem, model, *problem.as_categories())


def lightgbm(problem: Problem) -> Floats:
    """LightGBM, which is told the categories."""
    from lightgbm import LGBMClassifier, LGBMRegressor

    train, scored = problem.as_categories()
    names = [f"x{i}" for i in range(train.shape[1])]  # it refuses some characters
    kind: Any = LGBMClassifier if problem.classes else LGBMRegressor
    model = kind(n_jobs=1, verbose=-1, random_state=0)
    return _fit(problem, model, train.set_axis(names, axis=1), scored.set_axis(names, axis=1))


def catboost(problem: Problem) -> Floats:
    """CatBoost, which is told the categories."""
    from catboost import CatBoostClassifier, CatBoostRegressor

    def known(frame: pd.DataFrame) -> pd.DataFrame:
        found = frame.copy()
        for name in problem.texts:
            found[name] = _known(frame[[name]])[name]
        return found

    kind: Any = CatBoostClassifier if problem.classes else CatBoostRegressor
    model = kind(thread_count=1, verbose=False, random_seed=0, allow_writing_files=False)
    return _fit(problem, model, known(problem.train), known(problem.scored), cat_features=problem.texts)


def realmlp(problem: Problem) -> Floats:
    """RealMLP with its tuned defaults (Holzmueller et al. 2024), from pytabkit."""
    from pytabkit import RealMLP_TD_Classifier, RealMLP_TD_Regressor

    train, scored = problem.as_categories()
    kind: Any = RealMLP_TD_Classifier if problem.classes else RealMLP_TD_Regressor
    numbers = [name for name in train if name not in problem.texts]
    middle = problem.train[numbers].median()  # it refuses missing numbers
    for frame in (train, scored):
        frame[numbers] = frame[numbers].fillna(middle)
    return _fit(problem, kind(device="cpu", random_state=0, n_threads=1, verbosity=0), train, scored)


LEARNERS: Final[dict[str, Learner]] = {
    "linear": linear,
    "MLP": sklearn_mlp,
    "HistGradientBoosting": hist_gradient_boosting,
    "LightGBM": lightgbm,
    "CatBoost": catboost,
    "RealMLP": realmlp,
}
