"""Quick models of scikit-learn for questions about data: out of fold, on a sample of many rows.

They are no networks and no baseline: features are scaled once on all rows, without their targets.

Letters in names: N rows, F features, K classes.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from nnrun.data.dataset import RawInputs, TokenRows
from nnrun.data.inference.dates import iso_texts
from nnrun.data.table import CategoryColumn, Column, NumberColumn, Table, TextColumn
from nnrun.validation.frozen_random import frozen_random

MOST_ROWS: Final = 5_000
"""Rows that a model is fitted to; of more a sample is taken."""
_FOLDS: Final = 5
_MOST_LEVELS: Final = 30
_MOST_WORDS: Final = 5_000
_FARTHEST: Final = 5.0  # standard deviations
_TREES: Final = 100
_LEAF: Final = 2
_DEPTH_OF_A_COLUMN: Final = 6
_LEAF_OF_A_COLUMN: Final = 5
_LEAST_PROBABILITY: Final = 1e-3  # a class that a fold's trees never saw counts so much in the log loss
_LINEAR: Final = "a linear model of scikit-learn"
_FOREST: Final = "100 extremely randomized trees of scikit-learn"
MODEL: Final = "the mean of a linear model and 100 extremely randomized trees of scikit-learn"
_LINEAR_OF_TEXTS: Final = "a linear model of scikit-learn on word counts"
Floats = npt.NDArray[np.float64]


def sample_of(rows: npt.NDArray[np.int64], most: int = MOST_ROWS) -> npt.NDArray[np.int64]:
    """At most so many of the rows, ascending, the same each time."""
    if len(rows) <= most:
        return rows
    return np.sort(frozen_random(0).choice(rows, most, replace=False))


# --- features ----------------------------------------------------------------------------------------------


def features_of(inputs: Sequence[RawInputs], rows: npt.NDArray[np.int64]) -> Any:
    """(n, F) features of these rows: an array, or a sparse matrix where there are texts."""
    blocks: list[Any] = []
    for each in inputs:
        if isinstance(each, Table):
            blocks += [_of_column(column.take(rows)) for column in each.columns]
        elif isinstance(each, TokenRows):
            blocks.append(_of_tokens(each.take(rows)))
        else:
            blocks.append(_scaled(each[rows].reshape(len(rows), -1).astype(np.float64)))
    blocks = [block for block in blocks if block.shape[1]]
    if not blocks:
        return np.zeros((len(rows), 0))
    if all(isinstance(block, np.ndarray) for block in blocks):
        return np.hstack(blocks)
    from scipy import sparse

    return sparse.hstack(blocks, "csr")


def _of_column(column: Column) -> Any:
    if isinstance(column, TextColumn):
        return _of_texts(column)
    if isinstance(column, CategoryColumn) and column.dates:
        places = np.unique(np.array(iso_texts(column.levels)), return_inverse=True)[1].reshape(-1)
        return _scaled(np.append(places.astype(np.float64), np.nan)[column.codes][:, None])
    if isinstance(column, CategoryColumn):
        different, counts = np.unique(column.codes, return_counts=True)
        frequent = different[np.argsort(-counts, kind="stable")][:_MOST_LEVELS]
        return (column.codes[:, None] == frequent).astype(np.float64)
    values = column.values.astype(np.float64)[:, None]
    missing = np.isnan(values)
    return np.hstack([_scaled(values), missing.astype(np.float64)]) if missing.any() else _scaled(values)


def _scaled(values_NF: Floats) -> Floats:
    """Standardized and clipped; what is missing is 0, the mean. Constant features are left out."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # a column of missing values has no mean
        largest = np.nan_to_num(np.nanmax(np.abs(values_NF), axis=0), nan=0.0)
        values_NF = values_NF / np.where(largest > 0, largest, 1.0)
        mean, std = np.nanmean(values_NF, axis=0), np.nanstd(values_NF, axis=0)
    kept = np.nan_to_num(std) > 0
    scaled = (values_NF[:, kept] - mean[kept]) / std[kept]
    return np.asarray(np.clip(np.nan_to_num(scaled), -_FARTHEST, _FARTHEST))


def _of_texts(column: TextColumn) -> Any:
    from scipy import sparse
    from sklearn.feature_extraction.text import TfidfVectorizer

    vectorizer = TfidfVectorizer(max_features=_MOST_WORDS, sublinear_tf=True)
    try:
        return sparse.csr_matrix(
            vectorizer.fit_transform("" if text is None else text for text in column.values)
        )
    except ValueError:  # no text has a word
        return np.zeros((len(column.values), 0))


def _of_tokens(rows: TokenRows) -> Any:
    from scipy import sparse
    from sklearn.feature_extraction.text import TfidfTransformer

    width = int(rows.tokens.max(initial=0)) + 1
    counts = sparse.csr_matrix((np.ones(len(rows.tokens)), rows.tokens, rows.indptr), (len(rows), width))
    frequent = np.argsort(-np.asarray(counts.sum(axis=0)).reshape(-1), kind="stable")[:_MOST_WORDS]
    return TfidfTransformer(sublinear_tf=True).fit_transform(counts[:, np.sort(frequent)])


# --- out of fold -------------------------------------------------------------------------------------------


def class_probabilities(features: Any, labels: npt.NDArray[np.int64]) -> Floats:
    """(n, K) out of fold, the mean of models that did not train on the row; K is the highest label plus 1.

    Each class needs 2 rows or more.
    """
    return np.asarray(_each_probabilities(_classifiers(features), features, labels).mean(axis=0))


def best_probabilities(features: Any, labels: npt.NDArray[np.int64]) -> tuple[Floats, str]:
    """The same of the model with the least log loss, or of the mean; and who that is, as in `by ...`."""

    def log_loss(probabilities: Floats) -> float:
        own = probabilities[np.arange(len(labels)), labels]
        return float(-np.log(np.maximum(own, _LEAST_PROBABILITY)).mean())

    return _best(_each_probabilities(_classifiers(features), features, labels), log_loss)


def best_numbers(features: Any, targets: Floats) -> tuple[Floats, str]:
    """(n,) numbers, each by a model that did not train on the row; and who that is.

    Of the linear model, the trees and their mean those with the least mean absolute error.
    """
    from sklearn.ensemble import ExtraTreesRegressor
    from sklearn.linear_model import Ridge

    models: list[Callable[[], Any]] = [lambda: Ridge(1.0)]
    if isinstance(features, np.ndarray):
        models.append(lambda: ExtraTreesRegressor(_TREES, min_samples_leaf=_LEAF, random_state=0, n_jobs=1))
    found = _each_prediction(models, features, targets)
    return _best(found, lambda each: float(np.abs(each - targets).mean()))


def _classifiers(features: Any) -> list[Callable[[], Any]]:
    """The linear model; and the trees, where features are an array."""
    from sklearn.ensemble import ExtraTreesClassifier
    from sklearn.linear_model import LogisticRegression

    models: list[Callable[[], Any]] = [lambda: LogisticRegression(max_iter=200)]
    if isinstance(features, np.ndarray):
        models.append(lambda: ExtraTreesClassifier(_TREES, min_samples_leaf=_LEAF, random_state=0, n_jobs=1))
    return models


def _best(each: Floats, loss: Callable[[Floats], float]) -> tuple[Floats, str]:
    """Of several models' outputs and their mean those of the least loss, and whose they are."""
    if len(each) == 1:
        return each[0], _LINEAR_OF_TEXTS
    able = [(each[0], _LINEAR), (each[1], _FOREST), (each.mean(axis=0), MODEL)]
    return min(able, key=lambda one: loss(one[0]))


def column_score(column: Column, labels: npt.NDArray[np.int64] | None, numbers: Floats | None) -> float:
    """How well one column alone predicts, out of fold, by a tree of depth 6.

    Of classes the area under the ROC curve (the mean of each class against the rest), of numbers R².
    A tree has few steps: of a nearly perfect column, `order_score` says more.
    """
    from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor

    if isinstance(column, TextColumn):
        return 0.5 if labels is not None else 0.0

    def tree(kind: Any) -> Any:
        return kind(max_depth=_DEPTH_OF_A_COLUMN, min_samples_leaf=_LEAF_OF_A_COLUMN, random_state=0)

    features = _of_column(column) if isinstance(column, CategoryColumn) else _ranked(column)
    if labels is not None:
        (found,) = _each_probabilities([lambda: tree(DecisionTreeClassifier)], features, labels)
        return area_under_curve(labels, found)
    assert numbers is not None, "a target is classes or numbers"
    (predicted,) = _each_prediction([lambda: tree(DecisionTreeRegressor)], features, numbers)
    spread = float(((numbers - numbers.mean()) ** 2).sum())
    return 1 - float(((numbers - predicted) ** 2).sum()) / spread if spread else 0.0


def order_score(column: Column, labels: npt.NDArray[np.int64] | None, numbers: Floats | None) -> float:
    """How well the order of a column's numbers alone tells the target: finer than a tree's few steps.

    Of two classes the area under the ROC curve, from 0.5, as whichever class has the larger numbers; of more
    classes 0.5. Of numbers the squared rank correlation (Spearman), which a few large values do not decide.
    """
    if not isinstance(column, NumberColumn):
        return 0.0
    places = _ranked(column)[:, 0]
    if labels is not None:
        area = area_of_order(labels, places)
        return max(area, 1 - area)
    assert numbers is not None, "a target is classes or numbers"
    if places.min() == places.max() or numbers.min() == numbers.max():
        return 0.0
    from scipy.stats import spearmanr

    return float(spearmanr(places, numbers).statistic ** 2)


def area_of_order(labels: npt.NDArray[np.int64], values_N: Floats) -> float:
    """The area under the ROC curve of two classes by a value of each row; of more classes 0.5."""
    from sklearn.metrics import roc_auc_score

    classes = np.unique(labels)
    return float(roc_auc_score(labels == classes[1], values_N)) if len(classes) == 2 else 0.5


def _ranked(column: NumberColumn | CategoryColumn | TextColumn) -> Floats:
    """(n, 1) the places of numbers, a missing one before all: a tree asks for nothing else."""
    assert isinstance(column, NumberColumn), "other columns have levels"
    values = column.values.astype(np.float64)
    places = np.unique(np.where(np.isnan(values), -np.inf, values), return_inverse=True)[1]
    return places.reshape(-1, 1).astype(np.float64)


def area_under_curve(labels: npt.NDArray[np.int64], probabilities_NK: Floats) -> float:
    """The area under the ROC curve; of more than two classes the mean of each against the rest."""
    from sklearn.metrics import roc_auc_score

    classes = np.unique(labels)
    if len(classes) == 2:
        return area_of_order(labels, probabilities_NK[:, classes[1]])
    return float(np.mean([roc_auc_score(labels == k, probabilities_NK[:, k]) for k in classes]))


def _each_probabilities(
    models: Sequence[Callable[[], Any]], features: Any, labels: npt.NDArray[np.int64]
) -> Floats:
    """(models, n, K) out of fold."""
    found = np.zeros((len(models), len(labels), int(labels.max()) + 1))
    for train, held in _folds(labels):
        for own, make in zip(found, models, strict=True):
            model = _fitted(make(), features[train], labels[train])
            own[np.ix_(held, model.classes_)] = model.predict_proba(features[held])
    return found


def _each_prediction(models: Sequence[Callable[[], Any]], features: Any, targets: Floats) -> Floats:
    """(models, n) numbers out of fold."""
    found = np.zeros((len(models), len(targets)))
    for train, held in _folds(None, len(targets)):
        for each, make in zip(found, models, strict=True):
            each[held] = _fitted(make(), features[train], targets[train]).predict(features[held])
    return found


def _folds(labels: npt.NDArray[np.int64] | None, n: int = 0) -> list[tuple[Any, Any]]:
    from sklearn.model_selection import KFold, StratifiedKFold

    if labels is None:
        return list(KFold(min(_FOLDS, n), shuffle=True, random_state=0).split(np.zeros(n)))
    counts = np.bincount(labels)
    k = max(2, min(_FOLDS, int(counts[counts > 0].min())))
    return list(StratifiedKFold(k, shuffle=True, random_state=0).split(np.zeros(len(labels)), labels))


def _fitted(model: Any, features: Any, targets: Any) -> Any:
    from sklearn.exceptions import ConvergenceWarning

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # nearly converged is good enough here
        return model.fit(features, targets)
