"""Laws of every step and table: nothing leaks, JSON keeps every bit, what is encoded can be read back."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from nnrun.data import DenseRows, FittedPreprocessing, SparseRows
from nnrun.data.preprocess.categorical import FittedOneHot, FittedOrdinal
from nnrun.data.table import CategoryColumn, NumberColumn, Table
from nnrun.errors import DataError
from nnrun.spec import schema
from tests.support.column_tables import categories, dataset, fit, numbers, rows_of, table, texts
from tests.support.preprocessed import fit_preprocessing

NUMBER = st.none() | st.floats(0, 1e6).map(lambda value: round(value, 3))
LEVEL = st.none() | st.sampled_from(["a", "b", "c", "", "Ä é"])
SENTENCE = st.none() | st.text(st.sampled_from("ab 1'Ä"), max_size=12)

NUMBER_STEPS = st.lists(
    st.sampled_from(
        [
            "standardize",
            "min_max",
            {"log1p": "x"},
            "robust",
            "quantile",
            {"piecewise_linear": {"bins": 3, "keep": True}},
            "impute",
            {"impute": {"strategy": "median", "indicator": True}},
            {"impute": {"strategy": "most_frequent"}},
            {"impute": {"strategy": "constant", "value": 3, "indicator": True}},
        ]
    ),
    max_size=3,
)
CATEGORY_STEPS = st.sampled_from(
    [
        [],
        [{"one_hot": {"columns": "c", "min_count": 2}}],
        [{"one_hot": {"columns": "c", "min_count": 2, "rare": True}}],
        [{"ordinal": {"columns": "c", "unknown": "ignore"}}],
        [{"lookup": {"columns": "c", "min_count": 2}}],
        [{"hashing": {"columns": "c", "buckets": 5}}],
        [{"hashing": {"columns": "c", "buckets": 70}}],
        [{"impute": {"strategy": "most_frequent", "columns": "c"}}, "one_hot"],
        [{"one_hot": {"columns": ["c", 0]}}],
        [{"text": {"column": "c"}}],
    ]
)
TEXT_STEPS = st.sampled_from(
    [
        [],
        [{"text": {"num_words": 2}}],
        [{"text": {"ngrams": 2, "weighting": "count"}}],
        [{"text": {"weighting": "tf_idf", "lower": False}}],
        [{"one_hot": "t"}],
    ]
)


@st.composite
def cases(draw: st.DrawFn) -> tuple[Table, Table, np.ndarray, list[Any]]:
    """A table, the same with other values outside some chosen rows, the rows, and steps."""
    n = draw(st.integers(2, 9))
    chosen = np.array(draw(st.lists(st.integers(0, n - 1), min_size=1, max_size=n - 1, unique=True)))
    is_chosen = set(chosen.tolist())
    held: list[tuple[list[Any], list[Any]]] = []
    for values in (NUMBER, LEVEL, SENTENCE):
        before = draw(st.lists(values, min_size=n, max_size=n))
        after = [value if i in is_chosen else draw(values) for i, value in enumerate(before)]
        held.append((before, after))
    extra = draw(st.sampled_from([(), ("zzz",)]))

    def made(which: int) -> Table:
        (x, c, t) = (pair[which] for pair in held)
        levels = sorted({v for v in c if v is not None} | set(extra if which else ()))
        return table(numbers("x", x), categories("c", c, levels), texts("t", t))

    steps = [*draw(CATEGORY_STEPS), *draw(NUMBER_STEPS), *draw(TEXT_STEPS)]
    if not any(isinstance(s, dict) and s == {"one_hot": {"columns": ["c", 0]}} for s in steps):
        return made(0), made(1), chosen, steps
    return made(0), made(1), chosen, [s for s in steps if isinstance(s, dict) and "log1p" not in s][:1]


def fitted_or_refusal(inputs: Table, steps: list[Any], rows: Any) -> FittedPreprocessing | str:
    spec = schema.Preprocessing.model_validate({"inputs": steps})
    try:
        return fit_preprocessing(spec, dataset(inputs), rows, n_outputs=1)
    except DataError as error:
        return str(error)


def usable_rows(fitted: FittedPreprocessing, inputs: Table) -> np.ndarray:
    return np.setdiff1d(np.arange(len(inputs)), list(fitted.input.problems(inputs)))


@settings(max_examples=400, deadline=None)
@given(cases())
def test_rows_that_are_not_trained_on_change_nothing(case: Any) -> None:
    before, after, rows, steps = case
    fitted = fitted_or_refusal(before, steps, rows)
    assert fitted_or_refusal(after, steps, rows) == fitted
    alone = fitted_or_refusal(before.take(rows), steps, None)
    if isinstance(fitted, FittedPreprocessing):
        assert alone == fitted
        # Not even what is equal may look different.
        assert repr(alone) == repr(fitted)
    else:
        assert isinstance(alone, str)


@settings(max_examples=300, deadline=None)
@given(cases())
def test_json_keeps_every_bit_and_every_row(case: Any) -> None:
    before, _, rows, steps = case
    fitted = fitted_or_refusal(before, steps, rows)
    if isinstance(fitted, str):
        return
    again = FittedPreprocessing.from_json(json.loads(json.dumps(fitted.to_json())))
    assert again == fitted
    assert repr(again) == repr(fitted)
    assert json.dumps(again.to_json()) == json.dumps(fitted.to_json())
    usable = before.take(usable_rows(fitted, before))
    assert np.array_equal(rows_of(again, usable), rows_of(fitted, usable))


@settings(max_examples=300, deadline=None)
@given(cases())
def test_rows_have_the_width_and_form_that_the_state_says(case: Any) -> None:
    before, after, rows, steps = case
    fitted = fitted_or_refusal(before, steps, rows)
    if isinstance(fitted, str):
        return
    usable = after.take(usable_rows(fitted, after))
    found = fitted.input.transform(usable)
    assert isinstance(found, SparseRows if fitted.input.sparse else DenseRows)
    assert (len(found), found.n_features) == (len(usable), fitted.input.width)
    assert fitted.input.feature_names is not None
    assert len(fitted.input.feature_names) == fitted.input.width
    if isinstance(found, SparseRows):
        starts, ends = found.indptr[:-1], found.indptr[1:]
        for start, end in zip(starts, ends, strict=True):
            assert (np.diff(found.indices[start:end]) > 0).all()


@settings(max_examples=200, deadline=None)
@given(cases())
def test_a_row_is_the_same_alone_and_among_others(case: Any) -> None:
    before, after, rows, steps = case
    fitted = fitted_or_refusal(before, steps, rows)
    if isinstance(fitted, str):
        return
    usable = usable_rows(fitted, after)
    whole = rows_of(fitted, after.take(usable))
    for place, row in enumerate(usable):
        assert np.array_equal(rows_of(fitted, after.take([row]))[0], whole[place])


@given(st.lists(LEVEL, min_size=1, max_size=30))
def test_encoded_categories_can_be_read_back(values: list[str | None]) -> None:
    inputs = table(categories("c", values))
    fitted = fit(inputs, "one_hot")
    assert fitted.input.table is not None
    (one_hot,) = fitted.input.table.columns[0].steps
    assert isinstance(one_hot, FittedOneHot)
    known = (*one_hot.levels, None)
    assert [known[row.argmax()] if row.any() else None for row in rows_of(fitted, inputs)] == values
    known = [value for value in values if value is not None]
    if not known:
        return
    whole = table(categories("c", known))
    fitted = fit(whole, "ordinal")
    assert fitted.input.table is not None
    (ordinal,) = fitted.input.table.columns[0].steps
    assert isinstance(ordinal, FittedOrdinal)
    assert [ordinal.levels[int(place)] for place in rows_of(fitted, whole)[:, 0]] == known


@given(st.lists(LEVEL, min_size=1, max_size=20), st.permutations(["a", "b", "c", "", "Ä é"]))
def test_a_level_is_known_by_its_text_whatever_its_code(values: list[str | None], order: list[str]) -> None:
    inputs = table(categories("c", values, ["a", "b", "c", "", "Ä é"]))
    codes = [-1 if value is None else order.index(value) for value in values]
    other = table(CategoryColumn("c", np.array(codes, np.int32), tuple(order)))
    for steps in ("one_hot", {"hashing": {"buckets": 4}}):
        assert np.array_equal(rows_of(fit(inputs, steps), inputs), rows_of(fit(inputs, steps), other))


@given(st.lists(st.floats(-1e9, 1e9), min_size=1, max_size=20))
def test_numbers_as_categories(values: list[float]) -> None:
    inputs = table(NumberColumn("x", np.array(values)))
    fitted = fit(inputs, {"one_hot": "x"})
    assert fitted.input.width == len(set(values))
    assert (rows_of(fitted, inputs).sum(axis=1) == 1).all()
