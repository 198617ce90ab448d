"""target_mean: scikit-learn's TargetEncoder, and no training row that sees its own target."""

from __future__ import annotations

import json
from inspect import signature
from typing import Any

import numpy as np
import pytest
from sklearn.model_selection import KFold, StratifiedKFold
from sklearn.preprocessing import StandardScaler, TargetEncoder

from nnrun.data import Dataset, DenseRows, Samples
from nnrun.data.preprocess import FittedInputs, fit_input
from nnrun.data.table import Table
from nnrun.errors import DataError
from nnrun.spec import schema
from tests.support.column_tables import categories, numbers, table, texts

N, SEED = 60, 2**40 + 5
RNG = np.random.default_rng(0)
TOWNS = [None if place == 7 else "abcdefgh"[place] for place in RNG.integers(0, 8, N)]
TRAIN = np.sort(RNG.permutation(N)[:45])
REST = np.setdiff1d(np.arange(N), TRAIN)
PRICES = RNG.lognormal(3, 1, N)
TARGETS: dict[str, Any] = {
    "regression": PRICES,
    "binary": (PRICES > 20).astype(np.int64),
    "multiclass": np.searchsorted([10, 30], PRICES),
}


def of_task(task: Any, inputs: Table, targets: Any = None, present: Any = None) -> Dataset:
    values = TARGETS[task] if targets is None else targets
    classes = {"binary": 2, "multiclass": 3}.get(task)
    return Dataset("flats", Samples(inputs, values, present=present), None, (), task, classes)


def fit(dataset: Dataset, *steps: Any, rows: Any = TRAIN, seed: int = SEED) -> FittedInputs:
    spec = schema.Preprocessing.model_validate({"inputs": list(steps) or ["target_mean"]})
    return fit_input(spec, dataset, rows, seed=seed)


def rows_of(fitted: FittedInputs, inputs: Table, *, training: bool = False) -> np.ndarray:
    rows = fitted.transform(inputs, training=training)
    return rows.x_NF if isinstance(rows, DenseRows) else rows.to_dense()


def their_encoder(task: str, smooth: Any, folds: int) -> TargetEncoder:
    """With the same parts of the training rows; before 1.9 scikit-learn makes them itself."""
    random = np.random.RandomState([SEED >> 32, SEED & 0xFFFFFFFF])
    if signature(TargetEncoder).parameters["random_state"].default != "deprecated":
        return TargetEncoder(smooth=smooth, cv=folds, random_state=random)
    kind = KFold if task == "regression" else StratifiedKFold
    return TargetEncoder(smooth=smooth, cv=kind(folds, shuffle=True, random_state=random))


@pytest.mark.parametrize("task", list(TARGETS))
@pytest.mark.parametrize(("smooth", "folds"), [("auto", 5), (0.0, 2), (7.5, 3)])
def test_it_is_scikit_learns_target_encoder(task: str, smooth: Any, folds: int) -> None:
    inputs = table(categories("town", TOWNS))
    fitted = fit(of_task(task, inputs), {"target_mean": {"smooth": smooth, "folds": folds}})
    found = rows_of(fitted, inputs, training=True)
    y = TARGETS[task][TRAIN]
    if task == "regression":
        y = StandardScaler().fit_transform(y[:, None])[:, 0]
    theirs = their_encoder(task, smooth, folds)
    held = np.array(["missing" if town is None else town for town in TOWNS], object)[:, None]
    np.testing.assert_allclose(found[TRAIN], theirs.fit_transform(held[TRAIN], y), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(found[REST], theirs.transform(held[REST]), rtol=1e-5, atol=1e-6)
    # Without `training` every row is a new one.
    np.testing.assert_allclose(rows_of(fitted, inputs), theirs.transform(held), rtol=1e-5, atol=1e-6)
    new = table(categories("town", ["a", "never", None]))
    expected = theirs.transform(np.array([["a"], ["never"], ["missing"]], object))
    np.testing.assert_allclose(rows_of(fitted, new), expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("task", ["binary", "multiclass"])
def test_no_training_row_sees_its_own_target(task: str) -> None:
    dataset = of_task(task, table(categories("town", TOWNS)))
    table_of = fit(dataset).table
    assert table_of is not None
    (column,) = table_of.columns
    assert sorted(row for part in column.held_out for row in part.rows) == TRAIN.tolist()
    for part in column.held_out:
        others = fit(dataset, rows=np.setdiff1d(TRAIN, part.rows)).table
        assert others is not None
        assert column.without(part) == others.columns[0]


def test_nothing_is_learned_from_the_targets_of_other_rows() -> None:
    inputs = table(categories("town", TOWNS))
    for task, values in TARGETS.items():
        changed = values.copy()
        changed[REST] = values.min()
        known, other = fit(of_task(task, inputs)), fit(of_task(task, inputs, changed))
        assert known == other
        assert known.same_rows(other)


def test_rows_without_a_target_teach_nothing() -> None:
    inputs, present = table(categories("town", TOWNS)), np.ones(N, bool)
    present[TRAIN[::4]] = False
    found = fit(of_task("regression", inputs, present=present))
    assert found == fit(of_task("regression", inputs), rows=np.setdiff1d(TRAIN, TRAIN[::4]))


def test_the_parts_follow_from_the_seed() -> None:
    dataset = of_task("regression", table(categories("town", TOWNS)))
    first, again, other = fit(dataset), fit(dataset), fit(dataset, seed=SEED + 1)
    assert first.same_rows(again)
    assert first == other  # new rows are transformed alike
    assert not first.same_rows(other)
    inputs = table(categories("town", TOWNS))
    assert (rows_of(first, inputs, training=True) != rows_of(other, inputs, training=True)).any()


@pytest.mark.parametrize("extra", [[], [{"text": {"num_words": 2}}]])
def test_beside_other_columns(extra: list[Any]) -> None:
    """In its place among dense columns, and in rows that are sparse since a text is."""
    words = [texts("note", ["good flat" if place % 2 else "bad" for place in range(N)])] if extra else []
    columns = (numbers("x", range(N)), categories("town", TOWNS), numbers("z", range(N)))
    inputs = table(*columns, *words)
    steps = [{"standardize": ["x", "z"]}, {"impute": {"strategy": "most_frequent", "columns": "town"}}]
    fitted = fit(of_task("multiclass", inputs), *steps, {"target_mean": {"columns": "town"}}, *extra)
    assert fitted.sparse == bool(extra)
    assert (fitted.feature_names or ())[:5] == ("x", "town mean 0", "town mean 1", "town mean 2", "z")
    alone = table(categories("town", TOWNS))
    means = fit(of_task("multiclass", alone), steps[1], "target_mean")
    trained = rows_of(fitted, inputs, training=True)
    np.testing.assert_array_equal(trained[:, 1:4], rows_of(means, alone, training=True))
    np.testing.assert_array_equal(trained[:, [0, 4]], rows_of(fitted, inputs)[:, [0, 4]])
    np.testing.assert_array_equal(trained[:, 5:], rows_of(fitted, inputs)[:, 5:])
    assert (trained != rows_of(fitted, inputs)).any()


def test_what_is_read_again_transforms_new_rows_alike() -> None:
    inputs = table(categories("town", TOWNS))
    fitted = fit(of_task("multiclass", inputs))
    again = FittedInputs.from_json(json.loads(json.dumps(fitted.to_json())))
    assert again == fitted
    np.testing.assert_array_equal(rows_of(again, inputs), rows_of(fitted, inputs))


def test_what_it_cannot_encode_by() -> None:
    inputs = table(categories("town", TOWNS))
    whole = Dataset("flats", Samples(inputs, np.arange(N) % 3), None, ())
    with pytest.raises(DataError, match="only the loss tells whether they are classes"):
        fit(whole)
    with pytest.raises(DataError, match="has 1 training rows with a target, and needs 2 at least"):
        fit(of_task("regression", inputs), rows=[3])
