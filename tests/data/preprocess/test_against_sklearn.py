"""The steps of columns compute what scikit-learn's transformers do on the same rows."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from sklearn.feature_extraction.text import CountVectorizer, TfidfVectorizer
from sklearn.impute import SimpleImputer
from sklearn.preprocessing import MinMaxScaler, OneHotEncoder, OrdinalEncoder, RobustScaler, StandardScaler

from nnrun.data import SparseRows
from tests.support.column_tables import categories, fit, numbers, rows_of, table, texts

RNG = np.random.RandomState(0)
X = RNG.lognormal(2, 1, 60)
GAPS = [None if i % 7 == 3 else round(float(v)) for i, v in enumerate(X)]
LEVELS = [None if i % 11 == 5 else "abcdefg"[min(int(v) // 3, 6)] for i, v in enumerate(X)]
TRAIN = np.arange(40)
WORDS = ["the", "a", "oil", "price", "rose", "Bank", "RATE", "bank", "7", "1987", "österreich", "and"]
TEXTS = [" ".join(RNG.choice(WORDS, RNG.randint(1, 30))) + ", it's" for _ in range(60)]

COLUMN = X[:, None]
GAP_COLUMN = np.array([np.nan if v is None else v for v in GAPS])[:, None]


@pytest.mark.parametrize(
    ("step", "theirs"),
    [
        ("standardize", StandardScaler()),
        ("min_max", MinMaxScaler()),
        ({"robust": {"clip": "none"}}, RobustScaler()),
    ],
)
def test_scalers(step: Any, theirs: Any) -> None:
    inputs = table(numbers("x", X.tolist()))
    found = rows_of(fit(inputs, step, TRAIN), inputs)
    assert np.allclose(found, theirs.fit(COLUMN[TRAIN]).transform(COLUMN), rtol=1e-6, atol=1e-7)


def test_robust_clips_smoothly_and_has_a_scale_where_the_quartiles_are_equal() -> None:
    inputs = table(numbers("x", X.tolist()), numbers("y", [7.0] * 50 + [9.0] * 10), numbers("z", [5.0] * 60))
    found = rows_of(fit(inputs, "robust"), inputs)
    scaled = RobustScaler().fit_transform(COLUMN)[:, 0]
    assert np.allclose(found[:, 0], scaled / np.sqrt(1 + (scaled / 3) ** 2), rtol=1e-6)
    assert np.abs(found).max() < 3
    assert np.allclose(found[:, 1], [0] * 50 + [2 / np.sqrt(1 + 4 / 9)] * 10)
    assert not found[:, 2].any()


@pytest.mark.parametrize("strategy", ["mean", "median", "most_frequent", "constant"])
def test_impute(strategy: str) -> None:
    constant = {"value": -5} if strategy == "constant" else {}
    inputs = table(numbers("x", GAPS))
    fitted = fit(inputs, {"impute": {"strategy": strategy, "indicator": True, **constant}}, TRAIN)
    theirs = SimpleImputer(strategy=strategy, fill_value=-5 if constant else None, add_indicator=True).fit(
        GAP_COLUMN[TRAIN]
    )
    assert np.array_equal(rows_of(fitted, inputs), theirs.transform(GAP_COLUMN).astype(np.float32))


def test_standardize_before_impute_leaves_gaps_and_learns_from_the_rest() -> None:
    inputs = table(numbers("x", GAPS))
    found = rows_of(fit(inputs, ["standardize", {"impute": {"strategy": "constant", "value": 0}}]), inputs)
    theirs = StandardScaler().fit_transform(GAP_COLUMN)
    assert np.allclose(found, np.nan_to_num(theirs), atol=1e-6)


@pytest.mark.parametrize("min_count", [1, 4])
def test_one_hot(min_count: int) -> None:
    inputs = table(categories("c", LEVELS))
    fitted = fit(inputs, {"one_hot": {"min_count": min_count}}, TRAIN)
    held = [["missing" if v is None else v] for v in LEVELS]
    theirs = OneHotEncoder(min_frequency=min_count, handle_unknown="ignore", sparse_output=False).fit(
        [held[i] for i in TRAIN]
    )
    # They have one more column, for all that is rare.
    frequent = [i for i, name in enumerate(theirs.get_feature_names_out()) if "infrequent" not in name]
    assert np.array_equal(rows_of(fitted, inputs), theirs.transform(held)[:, frequent])
    names = [str(theirs.get_feature_names_out()[i]) for i in frequent]
    assert list(fitted.input.feature_names or ()) == [
        "c is missing" if name == "x0_missing" else name.replace("x0_", "c=") for name in names
    ]


@pytest.mark.parametrize("min_count", [2, 4])
def test_one_hot_with_a_column_for_what_is_rare(min_count: int) -> None:
    values: list[str | None] = [*LEVELS, "never", None]
    inputs = table(categories("c", values))
    fitted = fit(inputs, {"one_hot": {"min_count": min_count, "rare": True}}, TRAIN)
    held = [["missing" if v is None else v] for v in values]
    theirs = OneHotEncoder(
        min_frequency=min_count, handle_unknown="infrequent_if_exist", sparse_output=False
    ).fit([held[i] for i in TRAIN])
    assert theirs.infrequent_categories_[0] is not None
    # Our columns are in the same order, but that missing values are no ordinary level.
    names = [str(name).replace("x0_", "c=") for name in theirs.get_feature_names_out()]
    ours = {"c is missing": "c=missing", "c is rare": "c=infrequent_sklearn"}
    order = [names.index(ours.get(name, name)) for name in fitted.input.feature_names or ()]
    assert sorted(order) == list(range(len(names)))
    assert np.array_equal(rows_of(fitted, inputs), theirs.transform(held)[:, order])


def test_ordinal() -> None:
    inputs = table(categories("c", LEVELS))
    fitted = fit(
        inputs,
        [
            {"ordinal": {"columns": "c", "unknown": "ignore"}},
            {"impute": {"strategy": "constant", "value": -2}},
        ],
        TRAIN,
    )
    held = np.array([np.nan if v is None else v for v in LEVELS], object)[:, None]
    theirs = OrdinalEncoder(
        handle_unknown="use_encoded_value", unknown_value=-1, encoded_missing_value=-2
    ).fit(held[TRAIN])
    assert np.array_equal(rows_of(fitted, inputs), theirs.transform(held))


@pytest.mark.parametrize("lower", [True, False])
@pytest.mark.parametrize("ngrams", [1, 3])
@pytest.mark.parametrize("weighting", ["binary", "count", "tf_idf"])
@pytest.mark.parametrize("min_count", [1, 6])
def test_words(weighting: str, ngrams: int, lower: bool, min_count: int) -> None:
    inputs = table(texts("t", TEXTS))
    step = {"lower": lower, "ngrams": ngrams, "weighting": weighting, "min_count": min_count}
    fitted = fit(inputs, {"text": step}, TRAIN)
    vectorizer = TfidfVectorizer if weighting == "tf_idf" else CountVectorizer
    theirs = vectorizer(
        lowercase=lower,
        ngram_range=(1, ngrams),
        token_pattern=r"[^\W_]+",
        min_df=min_count,
        binary=weighting == "binary",
    ).fit([TEXTS[i] for i in TRAIN])
    found = fitted.input.transform(inputs)
    assert isinstance(found, SparseRows)
    assert found.n_features == len(theirs.vocabulary_)
    assert np.allclose(found.to_dense(), theirs.transform(TEXTS).toarray(), atol=1e-6)
    assert list(fitted.input.feature_names or ()) == [f"t:{word}" for word in theirs.get_feature_names_out()]


def test_the_most_frequent_words() -> None:
    held = ["b b b c", "a a c", "d e"]
    inputs = table(texts("t", held))
    # c is in two texts, d and e in one; of equals the alphabet decides.
    assert fit(inputs, {"text": 3}).input.feature_names == ("t:a", "t:b", "t:c")
    assert fit(inputs, {"text": 4}).input.feature_names == ("t:a", "t:b", "t:c", "t:d")
    theirs = CountVectorizer(max_features=2, token_pattern=r"[^\W_]+").fit(["b b b c c", "a", "d"])
    found = fit(table(texts("t", ["b b b c c", "a", "d"])), {"text": {"num_words": 2, "weighting": "count"}})
    assert found.input.feature_names == tuple(f"t:{word}" for word in theirs.get_feature_names_out())
