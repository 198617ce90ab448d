"""A preprocessing.json that somebody changed: refused, whatever is wrong, or read as what it says."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nnrun.data import FittedPreprocessing
from nnrun.errors import DataError
from tests.support.column_tables import categories, fit, numbers, table, texts

INPUTS = table(
    numbers("x", [1, None, 3]),
    categories("c", ["a", None, "b"]),
    categories("d", ["a", "e", "b"]),
    categories("e", ["a", "e", None]),
    categories("h", ["a", "e", "b"]),
    categories("l", ["a", "e", "b"]),
    categories("m", ["a", None, "b"]),
    numbers("q", [1, 2, 3]),
    numbers("r", [1, 2, 3]),
    texts("t", ["a b", None, "c"]),
)
STEPS = [
    {"log1p": "x"},
    {"impute": {"columns": "x", "indicator": True}},
    {"min_max": "x"},
    {"standardize": "x"},
    {"piecewise_linear": {"columns": "q", "bins": 2, "keep": True}},
    {"quantile": {"columns": "q"}},
    {"robust": "r"},
    {"piecewise_linear": {"columns": "r", "bins": 2}},
    {"one_hot": {"columns": "c", "unknown": "error"}},
    {"ordinal": "d"},
    {"impute": {"columns": "e", "strategy": "most_frequent"}},
    {"one_hot": "e"},
    {"hashing": "h"},
    {"lookup": "l"},
    {"target_mean": "m"},
    {"text": {"weighting": "tf_idf"}},
]
STATE: dict[str, Any] = json.loads(json.dumps(fit(INPUTS, STEPS, y=[0.5, 1.5, 1.0]).to_json()))


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    yield path
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, item in items:
        yield from places(item, (*path, key))


PLACES = [path for path in places(STATE) if path]
JUNK = st.sampled_from(
    [None, True, -1, 0, 10**400, 1.5, float("nan"), float("inf"), "", "a", [], ["a", "a"], {}, {"a": 1}, [[]]]
)


@settings(max_examples=500, deadline=None)
@given(st.sampled_from(PLACES), JUNK)
def test_a_changed_value_is_refused_or_read_as_it_is(path: tuple[Any, ...], junk: Any) -> None:
    document = copy.deepcopy(STATE)
    holder = document
    for key in path[:-1]:
        holder = holder[key]
    holder[path[-1]] = junk
    try:
        fitted = FittedPreprocessing.from_json(document)
    except DataError:
        return
    # A number may be another number, and a text another text: then that is what it says.
    assert FittedPreprocessing.from_json(json.loads(json.dumps(fitted.to_json()))) == fitted
    assert fitted.input.table is not None
    if all(column.name in INPUTS.names for column in fitted.input.table.columns):
        with suppress(DataError):  # a column may say that it is of another kind
            fitted.input.problems(INPUTS)


@settings(max_examples=100, deadline=None)
@given(st.sampled_from(PLACES))
def test_a_key_or_entry_that_is_gone_is_no_traceback(path: tuple[Any, ...]) -> None:
    document = copy.deepcopy(STATE)
    holder = document
    for key in path[:-1]:
        holder = holder[key]
    del holder[path[-1]]
    try:
        fitted = FittedPreprocessing.from_json(document)
    except DataError:
        return
    assert fitted.to_json() == document  # an entry of a list may be gone, so that the rest is a state


@pytest.mark.parametrize(
    "steps",
    [
        [{"text": {"words": ["a"], "lower": True, "ngrams": 1, "weighting": "binary", "idf": []}}],
        [{"hashing": {"buckets": 4}}, {"hashing": {"buckets": 4}}],
        [{"ordinal": {"levels": [], "strict": True}}, {"impute_category": {"value": "a"}}],
        [{"standardize": {"mean": 0, "std": 0}}],
        [{"standardize": {"mean": 0, "std": 1}, "log1p": {}}],
        [{"tokens": {"words": ["a"], "lower": True}}],
    ],
)
def test_steps_that_no_number_column_can_have_are_refused(steps: list[Any]) -> None:
    document = copy.deepcopy(STATE)
    document["table"]["columns"][0]["steps"] = steps
    with pytest.raises(DataError, match="damaged"):
        FittedPreprocessing.from_json(document)


def test_a_column_twice_is_refused() -> None:
    document = copy.deepcopy(STATE)
    document["table"]["columns"][1]["name"] = "x"
    with pytest.raises(DataError, match="damaged"):
        FittedPreprocessing.from_json(document)
