"""What words and n-grams count: as scikit-learn's vectorizers have it, and ratios by their formula."""

from __future__ import annotations

import json
from itertools import pairwise
from typing import Any, get_args

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.feature_extraction.text import CountVectorizer, TfidfVectorizer

from nnrun.data import Dataset, Samples, SparseRows, TokenRows
from nnrun.data.dataset import RawInputs
from nnrun.data.preprocess import FittedInputs, fit_input
from nnrun.data.preprocess.registry import read_step
from nnrun.data.preprocess.token_steps import FittedMultiHot
from nnrun.errors import DataError
from nnrun.spec import schema
from tests.support.column_tables import table, texts

RNG = np.random.RandomState(0)
LISTS = [RNG.choice(12, RNG.randint(0, 30), p=np.arange(1, 13) / 78).tolist() for _ in range(60)]
TRAIN = np.arange(40)
LABELS = (np.arange(60) * 7 % 5 < 2).astype(np.int64)
WEIGHTINGS = get_args(schema.Weighting)


def fitted(
    inputs: RawInputs, step: Any, labels: np.ndarray = LABELS, classes: int | None = 2, **samples: Any
) -> FittedInputs:
    dataset = Dataset("rows", Samples(inputs, labels, **samples), None, (), classes=classes)
    return fit_input(schema.Preprocessing.model_validate({"inputs": [step]}), dataset, TRAIN)


def multi_hot(lists: list[list[int]] = LISTS, **step: Any) -> FittedMultiHot:
    made = fitted(TokenRows.from_lists(lists), {"multi_hot": step}).token_step
    assert isinstance(made, FittedMultiHot)
    return made


def rows_of(step: FittedMultiHot, lists: list[list[int]]) -> np.ndarray:
    found = step.transform(TokenRows.from_lists(lists), {})
    assert isinstance(found, SparseRows)
    starts = found.indptr
    assert all((np.diff(found.indices[a:b]) > 0).all() for a, b in pairwise(starts))
    return found.to_dense()


def names_of(step: FittedMultiHot) -> list[str]:
    runs = [flat[i : i + n] for n, flat in enumerate(step.ngrams, start=1) for i in range(0, len(flat), n)]
    return [" ".join(f"w{token}" for token in run) for run in runs]


@pytest.mark.parametrize("ngrams", [1, 2, 4])
@pytest.mark.parametrize("min_count", [2, 6])
@pytest.mark.parametrize("weighting", ["binary", "count", "tf_idf", "sublinear"])
def test_token_rows_are_those_of_a_vectorizer(weighting: str, min_count: int, ngrams: int) -> None:
    """On texts in which the word `w7` stands for the token 7."""
    as_texts = [" ".join(f"w{token}" for token in row) for row in LISTS]
    options: Any = {"ngram_range": (1, ngrams), "min_df": min_count, "token_pattern": r"\S+"}
    if weighting in ("binary", "count"):
        theirs, step = CountVectorizer(binary=weighting == "binary", **options), {"weighting": weighting}
    else:
        sublinear = weighting == "sublinear"
        theirs = TfidfVectorizer(sublinear_tf=sublinear, **options)
        step = {"weighting": "tf_idf", "sublinear": sublinear}
    theirs.fit([as_texts[i] for i in TRAIN])
    ours = multi_hot(ngrams=ngrams, min_count=min_count, **step)
    columns = [theirs.vocabulary_[name] for name in names_of(ours)]
    assert sorted(columns) == list(range(len(theirs.vocabulary_)))
    expected = theirs.transform(as_texts).toarray()[:, columns]
    assert np.allclose(rows_of(ours, LISTS), expected, atol=1e-6)


def test_without_a_choice_each_token_below_the_dimension_has_its_column() -> None:
    counted = rows_of(multi_hot(dimension=20, weighting="count"), LISTS)
    assert np.array_equal(counted, [np.bincount(row, minlength=20) for row in LISTS])
    weighted = multi_hot(dimension=20, weighting="tf_idf")
    idf = np.log((1 + len(TRAIN)) / (1 + (counted[TRAIN] > 0).sum(axis=0))) + 1
    expected = counted * idf
    lengths = np.linalg.norm(expected, axis=1, keepdims=True)
    assert np.allclose(rows_of(weighted, LISTS), expected / np.where(lengths == 0, 1, lengths))


def test_the_most_frequent_ngrams_and_of_equals_the_shorter_and_lower_ones() -> None:
    lists = [[3, 4, 3, 4], [5, 3, 4]] + [[]] * 58
    assert names_of(multi_hot(lists, ngrams=2)) == ["w3", "w4", "w5", "w3 w4", "w4 w3", "w5 w3"]
    assert names_of(multi_hot(lists, ngrams=2, num_words=3)) == ["w3", "w4", "w3 w4"]  # three times each
    assert names_of(multi_hot(lists, ngrams=2, num_words=4)) == ["w3", "w4", "w5", "w3 w4"]  # once, as others


def test_an_unknown_token_is_part_of_no_run() -> None:
    step = multi_hot([[1, 2, 3]] * 60, ngrams=2)
    assert names_of(step) == ["w1", "w2", "w3", "w1 w2", "w2 w3"]
    # 9 is above the dimension: 1 and 2 are no neighbours then. A run without its prefix among them is none.
    assert rows_of(step, [[1, 9, 2, 3], [2, 1], []]).tolist() == [[1, 1, 1, 0, 1], [1, 1, 0, 0, 0], [0] * 5]
    with pytest.raises(DataError, match="holds the token -1; tokens are not negative"):
        rows_of(step, [[1, -1]])


@given(lists=st.lists(st.lists(st.integers(0, 5), max_size=12), min_size=60, max_size=60))
def test_rows_longer_than_a_block(lists: list[list[int]]) -> None:
    """Blocks of a few tokens give the rows that one block gives."""
    from nnrun.data.preprocess import ngrams

    lists[0] = [1]
    step = multi_hot(lists, ngrams=3)
    whole = rows_of(step, lists)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ngrams, "_BLOCK_TOKENS", 7)
        assert np.array_equal(rows_of(step, lists), whole)


def ratios_by_formula(held: np.ndarray, labels: np.ndarray) -> np.ndarray:
    p, q = (1 + held[labels == label].sum(axis=0) for label in (1, 0))
    return np.asarray(np.log((p / p.sum()) / (q / q.sum())))


@pytest.mark.parametrize("ngrams", [1, 2])
def test_ratios_of_token_rows_are_those_of_the_paper(ngrams: int) -> None:
    held = rows_of(multi_hot(ngrams=ngrams, min_count=2), LISTS)
    step = multi_hot(ngrams=ngrams, min_count=2, weighting="nb_ratio")
    assert np.allclose(step.ratios, ratios_by_formula(held[TRAIN], LABELS[TRAIN]))
    assert np.allclose(rows_of(step, LISTS), held * np.array(step.ratios), atol=1e-6)


@pytest.mark.parametrize("ngrams", [1, 2])
def test_ratios_of_texts_are_the_same(ngrams: int) -> None:
    as_texts = table(texts("t", [" ".join("abcdefghijkl"[token] for token in row) for row in LISTS]))
    held = fitted(as_texts, {"text": {"ngrams": ngrams}}).transform(as_texts).to_dense()
    found = fitted(as_texts, {"text": {"ngrams": ngrams, "weighting": "nb_ratio"}}).transform(as_texts)
    expected = held * ratios_by_formula(held[TRAIN], LABELS[TRAIN])
    assert np.allclose(found.to_dense(), expected, atol=1e-6)


def test_rows_without_a_target_do_not_count() -> None:
    present = np.arange(60) % 3 > 0
    rows = TokenRows.from_lists(LISTS)
    step = {"multi_hot": {"weighting": "nb_ratio"}}
    found = fitted(rows, step, present=present).token_step
    held = rows_of(multi_hot(), LISTS)
    known = TRAIN[present[TRAIN]]
    assert isinstance(found, FittedMultiHot)
    assert np.allclose(found.ratios, ratios_by_formula(held[known], LABELS[known]))
    assert fitted(rows, step, np.where(present, LABELS, 1 - LABELS), present=present).token_step == found


@given(labels=st.lists(st.integers(0, 1), min_size=20, max_size=20))
def test_labels_of_validation_rows_teach_nothing(labels: list[int]) -> None:
    step = {"multi_hot": {"weighting": "nb_ratio"}}
    changed = np.concatenate([LABELS[TRAIN], labels])
    rows = TokenRows.from_lists(LISTS)
    assert fitted(rows, step, changed).to_json() == fitted(rows, step).to_json()


@pytest.mark.parametrize("weighting", WEIGHTINGS)
@pytest.mark.parametrize("ngrams", [1, 3])
def test_the_state_comes_back_from_json(weighting: str, ngrams: int) -> None:
    step = multi_hot(ngrams=ngrams, weighting=weighting)
    document = json.loads(json.dumps({step.kind: step.to_json()}))
    assert read_step(document) == step
    assert ("ratios" in document["multi_hot"]) == (weighting == "nb_ratio")


def test_a_plain_step_is_written_as_ever() -> None:
    assert multi_hot().to_json() == {"dimension": 12}
    as_texts = table(texts("t", ["a b", "b"]))
    dataset = Dataset("rows", Samples(as_texts, np.zeros(2)), None, ())
    made = fit_input(schema.Preprocessing.model_validate({"inputs": ["text"]}), dataset).to_json()
    (column,) = made["table"]["columns"]
    assert column["steps"] == [
        {"text": {"words": ["a", "b"], "lower": True, "ngrams": 1, "weighting": "binary", "idf": []}}
    ]


@pytest.mark.parametrize(
    "changes",
    [
        {"ratios": [0.5]},
        {"ratios": []},
        {"ngrams": [[0], [0, 1, 1]]},
        {"ngrams": [[99]]},
        {"ngrams": [[-1]]},
        {"weighting": "none"},
        {"weighting": "tf_idf"},
    ],
)
def test_a_damaged_state_is_refused(changes: dict[str, Any]) -> None:
    state = multi_hot(ngrams=2, weighting="nb_ratio").to_json()
    with pytest.raises(ValueError, match="FittedMultiHot"):
        read_step({"multi_hot": {**state, **changes}})


@pytest.mark.parametrize(
    ("labels", "classes", "samples", "held"),
    [
        (LABELS + LABELS[::-1], 3, {}, "the targets are 3 classes. Use weighting: tf_idf."),
        (LABELS * 0.5, None, {}, "the targets are numbers. Use weighting: tf_idf."),
        (np.eye(2)[LABELS], 2, {}, "the targets are several for each row. Use weighting: tf_idf."),
        (
            LABELS,
            2,
            {"of_outputs": {"a": LABELS, "b": LABELS}},
            "of several outputs it cannot know whose classes. Use weighting: tf_idf or binary.",
        ),
    ],
    ids=["3 classes", "numbers", "several labels", "several outputs"],
)
def test_ratios_need_two_classes(
    labels: np.ndarray, classes: int | None, samples: dict[str, Any], held: str
) -> None:
    with pytest.raises(DataError) as refused:
        fitted(
            TokenRows.from_lists(LISTS), {"multi_hot": {"weighting": "nb_ratio"}}, labels, classes, **samples
        )
    start = "multi_hot: nb_ratio compares the words of two classes, and "
    assert str(refused.value) == start + held


def test_too_rare_words_are_told() -> None:
    with pytest.raises(DataError, match=r"^multi_hot: no word is in 41 or more of the training rows\.$"):
        multi_hot(min_count=41)
