"""Which steps each column passes, and which steps do not suit which columns."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from nnrun.data import Dataset, Samples
from nnrun.data.preprocess import plan_columns
from nnrun.data.table import CategoryColumn, kind_of
from nnrun.errors import DataError
from nnrun.spec import schema
from tests.support.column_tables import categories, dataset, fit, numbers, rows_of, table, texts
from tests.support.preprocessed import fit_preprocessing

PEOPLE = table(
    numbers("age", [22, None, 26, 35]),
    categories("sex", ["male", "female", "female", None]),
    texts("note", ["a fine man", "ill", None, "a lady"]),
    numbers("fare", [7.25, 71.3, 7.9, 53.1]),
)


def plan(steps: Any) -> dict[str, list[str]]:
    spec = schema.Preprocessing.model_validate({"inputs": steps})
    columns = [(column.name, kind_of(column)) for column in PEOPLE.columns]
    return {
        column.name: [step.kind for step in column.steps] + ["default"] * column.by_default
        for column in plan_columns(spec.inputs, columns, "people")
    }


def refusal(steps: Any, inputs: Any = PEOPLE) -> str:
    with pytest.raises(DataError) as error:
        fit(inputs, steps, name="people").input.transform(inputs)
    return str(error.value)


def test_the_default() -> None:
    assert plan([]) == {
        "age": ["impute", "standardize", "default"],
        "sex": ["one_hot", "default"],
        "note": ["text", "default"],
        "fare": ["impute", "standardize", "default"],
    }
    fitted = fit(PEOPLE)
    assert fitted.input.feature_names == (
        "age", "age is missing", "sex=female", "sex=male", "sex is missing", "fare",
        "note:a", "note:fine", "note:ill", "note:lady", "note:man",
    )  # fmt: skip


def test_a_step_takes_all_columns_of_its_kind_or_those_that_it_names() -> None:
    steps = [{"log1p": "fare"}, {"impute": {"columns": [0], "strategy": "median"}}, "standardize"]
    assert plan(steps) == {
        "age": ["impute", "standardize"],
        "sex": ["one_hot", "default"],
        "note": ["text", "default"],
        "fare": ["log1p", "standardize"],
    }
    assert plan([{"ordinal": "sex"}, "impute", "min_max"])["sex"] == ["ordinal", "impute", "min_max"]
    assert plan([{"one_hot": ["sex", "fare"]}])["fare"] == ["one_hot"]


def test_none_takes_numbers_as_they_are() -> None:
    inputs = PEOPLE.select(["fare"])
    assert rows_of(fit(inputs, "none"), inputs)[:, 0].tolist() == pytest.approx([7.25, 71.3, 7.9, 53.1])
    assert refusal("none") == (
        "none takes inputs as they are, and 'sex' and 'note' of people are not numeric. Encode them "
        "(one_hot, ordinal, text), or leave preprocessing.inputs out for the default."
    )


@pytest.mark.parametrize(
    ("steps", "said"),
    [
        ({"standardize": "agee"}, "standardize: there is no column 'agee'. Did you mean 'age'? people has: "),
        ({"min_max": [4]}, "min_max: there is no column 4; people has 4 input columns, counted from 0."),
        ({"log1p": ["age", 0]}, "log1p: columns ['age', 0] name age twice."),
        (
            {"standardize": "sex"},
            "standardize: column 'sex' holds categories, not numbers; use one_hot or ordinal, or say `types: "
            "{sex: number}` in the data set.",
        ),
        ({"min_max": "note"}, "min_max: column 'note' holds texts, not numbers; use text, or say "),
        ({"text": {"column": "age"}}, "text: column 'age' holds numbers, and text takes texts"),
        ({"impute": {"columns": "note"}}, "impute: column 'note' holds texts; a missing text counts as an"),
        ({"impute": {"columns": "sex"}}, "impute: column 'sex' holds categories, which have no mean; use "),
        (["one_hot", {"ordinal": "sex"}], "ordinal: column 'sex' has become several columns by one_hot, and"),
        (["one_hot", "hashing"], "hashing: no category is left in people, which has 'age', 'sex', "),
        ("multi_hot", "multi_hot needs lists of tokens, but the inputs of people are a table. For texts, "),
        (["tokens", "multi_hot"], "tokens gives rows of word indices, which cannot be combined with "),
        ({"impute": {"strategy": "constant", "value": "x"}}, "impute: column 'age' holds numbers, and the"),
        ({"ordinal": {"columns": "sex", "order": ["male"]}}, "holds 'female', which is not in its order"),
        ({"text": {"min_count": 3}}, "text: no word is in 3 or more of the training rows of column 'note'."),
        ("standardize", "Column 'age', row 1: has no value; put `impute` before the other steps of this"),
    ],
)  # fmt: skip
def test_what_does_not_suit_is_refused(steps: Any, said: str) -> None:
    assert said in refusal(steps)


def test_log1p_wants_more_than_minus_one() -> None:
    inputs = table(numbers("loss", [1, -3, 2]))
    assert refusal("log1p", inputs) == "Column 'loss', row 1: has -3, and log1p takes numbers above -1."
    with pytest.raises(DataError, match="row 1: has -3"):
        fit(inputs, "log1p", rows=[0, 1])
    assert fit(inputs, "log1p", rows=[0, 2]).input.problems(inputs) == {
        1: "in column 'loss' has -3, and log1p takes numbers above -1"
    }


def test_values_that_training_rows_do_not_hold() -> None:
    inputs = table(categories("c", ["a", "b", "rare", "new", None]))
    strict = {"one_hot": {"unknown": "error", "min_count": 2}}
    rows = [0, 0, 1, 1, 2]
    fitted = fit(inputs, strict, rows)
    assert fitted.input.feature_names == ("c=a", "c=b")
    why = "which the training rows do not hold; `unknown: ignore` takes such values"
    assert fitted.input.problems(inputs) == {
        3: f"in column 'c' has 'new', {why}",
        4: f"in column 'c' has no value, {why}",
    }
    assert rows_of(fit(inputs, "one_hot", [0, 1]), inputs).tolist() == [
        [1, 0],
        [0, 1],
        [0, 0],
        [0, 0],
        [0, 0],
    ]
    ordinal = fit(inputs, {"ordinal": {"order": ["b", "a"]}}, [0, 1])
    assert sorted(ordinal.input.problems(inputs)) == [2, 3, 4]
    assert rows_of(ordinal, inputs.take([0, 1])).tolist() == [[1], [0]]


def test_the_default_copes_with_gaps_that_training_rows_do_not_have() -> None:
    inputs = table(numbers("x", [1, 2, 6, None]))
    fitted = fit(inputs, (), [0, 1, 2])
    assert fitted.input.feature_names == ("x",)
    found = rows_of(fitted, inputs)[:, 0]
    assert found[3] == found[1]  # the median
    whole = fit(inputs)
    assert whole.input.feature_names == ("x", "x is missing")
    assert rows_of(whole, inputs)[:, 1].tolist() == [0, 0, 0, 1]


def test_a_column_without_any_value_among_the_training_rows() -> None:
    inputs = table(numbers("x", [None, None, 5]), categories("c", [None, None, "a"]))
    found = rows_of(fit(inputs, (), [0, 1]), inputs)
    assert found.tolist() == [[0, 1, 1], [0, 1, 1], [5, 0, 0]]


def test_texts_become_word_indices_and_then_rows() -> None:
    inputs = table(texts("t", ["b a b", "a c", None, "z"]))
    fitted = fit(inputs, [{"tokens": 4}, "multi_hot"], [0, 1, 2])
    assert (fitted.input.width, fitted.input.tokens, fitted.input.sparse) == (4, 4, True)
    # a is 2 and b is 3, the most frequent ones; 1 is every other word.
    assert rows_of(fitted, inputs).tolist() == [[0, 0, 1, 1], [0, 1, 1, 0], [0, 0, 0, 0], [0, 1, 0, 0]]
    again = type(fitted).from_json(fitted.to_json())
    assert np.array_equal(rows_of(again, inputs), rows_of(fitted, inputs))


def test_arrays_take_the_steps_by_name_or_position() -> None:
    x = np.array([[1.0, 5.0], [3.0, 5.0], [2.0, 7.0]])
    named = Dataset("d", Samples(x, np.zeros(3)), None, (), feature_names=("a", "b"))
    spec = schema.Preprocessing.model_validate({"inputs": [{"one_hot": "b"}, {"min_max": 0}]})
    fitted = fit_preprocessing(spec, named, n_outputs=1)
    assert fitted.input.feature_names == ("a", "b=5", "b=7")
    assert rows_of(fitted, x).tolist() == [[0, 1, 0], [1, 1, 0], [0.5, 0, 1]]  # type: ignore[arg-type]
    only = fit_preprocessing(
        schema.Preprocessing.model_validate({"inputs": {"standardize": "b"}}), named, n_outputs=1
    )
    assert only == fit_preprocessing(
        schema.Preprocessing.model_validate({"inputs": {"standardize": 1}}), named, n_outputs=1
    )
    with pytest.raises(DataError, match="standardize: there is no column 'c'"):
        fit_preprocessing(
            schema.Preprocessing.model_validate({"inputs": {"standardize": "c"}}), named, n_outputs=1
        )


def test_a_column_of_another_kind_or_none_is_refused() -> None:
    fitted = fit(PEOPLE)
    with pytest.raises(DataError, match="The inputs lack column 'fare', which the network takes"):
        fitted.input.transform(PEOPLE.select(["age", "sex", "note"]))
    other = table(*(PEOPLE.by_name[name] for name in ("age", "sex", "note")), categories("fare", ["1"] * 4))
    with pytest.raises(DataError, match="Column 'fare' was a number in training, and is a category here"):
        fitted.input.transform(other)
    with pytest.raises(DataError, match="no named columns"):
        fitted.input.transform(np.zeros((2, 4)))


@pytest.mark.parametrize("kind", sorted(schema.components(schema.InputStep)))
def test_every_step_has_its_place(kind: str) -> None:
    """Each step of the schema is fitted, gives rows, and survives JSON: on a table that it takes."""
    data = {
        "multi_hot": table(texts("t", ["a b", "b"])),
        "pad": table(texts("t", ["a b", "b"])),
        "tokens": table(texts("t", ["a b", "b"])),
        "text": table(texts("t", ["a b", "b"])),
        "none": table(numbers("x", [1, 2])),
    }
    if kind == "datetime":
        levels = ("2024-01-31", "2024-02-01 12:00")
        inputs = table(CategoryColumn("d", np.array([0, 1], np.int32), levels, dates=True))
    elif kind in ("one_hot", "ordinal", "lookup", "target_mean", "hashing"):
        inputs = table(categories("c", ["a", "b"]))
    else:
        inputs = data.get(kind, table(numbers("x", [1, 2])))
    after_tokens = {"multi_hot": "multi_hot", "tokens": "multi_hot", "pad": {"pad": 3}}
    own: Any = {"rescale": {"rescale": 0.5}}.get(kind, kind)
    steps: list[Any] = ["tokens", after_tokens[kind]] if kind in after_tokens else [own]
    fitted = fit(inputs, steps, y=[0.5, 1.25])
    rows = rows_of(fitted, inputs)
    assert rows.shape == (2, fitted.input.width)
    assert np.isfinite(rows).all()
    assert len({tuple(row) for row in rows.tolist()}) == 2
    again = type(fitted).from_json(fitted.to_json())
    assert again == fitted
    assert len(dataset(inputs).train) == 2


@pytest.mark.parametrize(
    ("column", "step", "kind"),
    [
        (numbers("x", [1, 1]), "piecewise_linear", "piecewise_linear"),
        (categories("c", ["a", "b"]), {"one_hot": {"min_count": 2}}, "one_hot"),
    ],
)
def test_a_network_that_would_see_nothing_is_refused(column: Any, step: Any, kind: str) -> None:
    with pytest.raises(DataError, match=f"The inputs of mine have no feature left after {kind}: in these tr"):
        fit(table(column), step)


def test_what_has_no_column_of_its_own_has_the_column_for_rare_values() -> None:
    inputs = table(categories("c", ["a", "a", "b"]))
    fitted = fit(inputs, {"one_hot": {"min_count": 2, "rare": True}})
    assert fitted.input.feature_names == ("c=a", "c is rare")
    rows = rows_of(fitted, table(categories("c", ["a", "b", "z", None])))
    np.testing.assert_array_equal(rows, [[1, 0], [0, 1], [0, 1], [0, 1]])
    strict = fit(inputs, {"one_hot": {"min_count": 2, "rare": True, "unknown": "error"}})
    assert list(strict.input.problems(table(categories("c", ["a", "b", "z", None])))) == [2, 3]
    # A file that was written without the column is read on.
    assert fit(inputs, "one_hot").to_json()["table"]["columns"][0]["steps"] == [
        {
            "one_hot": {
                "levels": ["a", "b"],
                "missing": False,
                "rare": [],
                "strict": False,
                "rare_missing": False,
            }
        }
    ]
