"""What columns are taken for: each rule, and what a person is told."""

from __future__ import annotations

import numpy as np
import pytest

from nnrun.data.files.columns import RawNumbers, RawTexts
from nnrun.data.inference.column_types import ColumnInference, infer
from nnrun.data.table import CategoryColumn, NumberColumn, TextColumn
from nnrun.spec.schema import ColumnType


def texts(*values: str | None) -> RawTexts:
    levels = sorted({value for value in values if value is not None})
    codes = [-1 if value is None else levels.index(value) for value in values]
    return RawTexts(np.array(codes, np.int32), tuple(levels))


def of(*values: str | None, declared: ColumnType | None = None, typed: bool = False) -> ColumnInference:
    return infer("c", texts(*values), declared, typed=typed)


def said(inferred: ColumnInference) -> list[str]:
    return [warning.text for warning in inferred.warnings]


def test_numbers_stay_numbers_also_where_there_are_few() -> None:
    inferred = infer("c", RawNumbers(np.array([1.0, 2.0, np.nan, 1.0])))
    assert (inferred.type, inferred.why, inferred.missing, inferred.distinct) == (
        "number",
        "all values are numbers",
        1,
        2,
    )
    assert said(inferred) == ["lacks a value in 1 row (25.0 %)"]


@pytest.mark.parametrize(
    ("values", "levels"),
    [
        (("true", "FALSE", None), ("False", "True")),
        (("True", "TRUE"), ("True",)),
        (("no", "yes"), ("no", "yes")),
    ],
)
def test_truth_values_are_a_category(values: tuple[str | None, ...], levels: tuple[str, ...]) -> None:
    column = of(*values).column
    assert isinstance(column, CategoryColumn)
    assert column.levels == levels


def test_numbers_that_were_read_as_texts() -> None:
    column = of("1", "2.5", None, "-1e3").column
    assert isinstance(column, NumberColumn)
    assert column.values.tolist()[:2] == [1.0, 2.5]
    assert np.isnan(column.values[2])


@pytest.mark.parametrize("text", ["1_000", "inf", "nan", "0x10", "1,5", "12:30", "٣ ٤"])
def test_what_is_no_number(text: str) -> None:
    assert of("1", text).type == "category"


def test_a_few_words_among_numbers_are_told() -> None:
    inferred = of(*[str(i) for i in range(60)], "many", "few")
    assert inferred.type == "category"
    assert inferred.wrong is not None
    assert (inferred.wrong.row, inferred.wrong.value, inferred.wrong.numbers, inferred.wrong.of) == (
        60,
        "many",
        60,
        62,
    )
    assert said(inferred) == [
        "holds numbers in 60 of 62 values, and also 'few' and 'many': correct those, or say that it is a "
        "category (`types`)"
    ]
    assert of(*[str(i) for i in range(30)], *["x"] * 5).wrong is None
    assert of("1", "2", "x").wrong is None


def test_texts_are_long_and_different() -> None:
    lines = [f"this is the line number {i} of many" for i in range(10)]
    inferred = of(*lines, None)
    assert isinstance(inferred.column, TextColumn)
    assert inferred.column.values[3] == lines[3]
    assert inferred.column.values[10] is None
    assert said(inferred) == ["lacks a text in 1 row (9.1 %)"]
    assert of(*lines[:2] * 20).type == "category"
    assert of(*[f"name{i}" for i in range(30)]).type == "category"


def test_names_that_differ_in_each_row_are_told() -> None:
    assert said(of(*[f"name{i}" for i in range(30)])) == [
        "has 30 different values in 30 rows: a network cannot generalize from such names; leave it out of "
        "`inputs`"
    ]
    assert said(of(*["a", "b"] * 15)) == []


@pytest.mark.parametrize("form", ["2024-01-{:02d}", "2024-01-{:02d} 12:30", "{}.1.2024", "1/{}/24"])
def test_dates_are_dates(form: str) -> None:
    inferred = of(*[form.format(i + 1) for i in range(25)])
    assert (inferred.type, inferred.why, said(inferred)) == ("date", "the values are dates", [])
    assert isinstance(inferred.column, CategoryColumn)
    assert inferred.column.dates
    assert of(*[form.format(i + 1) for i in range(25)], declared="category").type == "category"


@pytest.mark.parametrize(("n_wrong", "type_"), [(1, "date"), (4, "category")])
def test_dates_that_name_no_day_are_told(n_wrong: int, type_: str) -> None:
    inferred = of(
        *[f"2024-01-{i + 1:02d}" for i in range(28)], *[f"2024-{i + 1:02d}-32" for i in range(n_wrong)]
    )
    assert inferred.type == type_
    (text,) = said(inferred)
    others = "" if n_wrong == 1 else " and 3 other texts"
    assert text.startswith(
        f"holds dates, but '2024-01-32'{others} name{'s' * (n_wrong == 1)} no day that exists: "
    )


def test_dates_whose_days_and_months_nothing_tells_apart_are_told() -> None:
    inferred = of(*[f"{i % 12 + 1}/{i % 7 + 1}/2024" for i in range(24)])
    assert inferred.type == "category"
    (text,) = said(inferred)
    assert text.startswith("looks like dates in which day and month cannot be told apart, such as '1/1/2024'")


@pytest.mark.parametrize(
    ("values", "text"),
    [
        (["6,7", "4,0", "1,25"], "holds numbers such as '1,25': `decimal: ','` reads the column as numbers"),
        (
            ["58,122", "1,460", "704"],
            "holds numbers such as '1,460': `thousands: ','` reads the column as numbers",
        ),
        (
            ["1.234,5", "12,0", "1.000.000,1"],
            "holds numbers such as '1.000.000,1': `decimal: ',', thousands: '.'` reads the column as numbers",
        ),
    ],
)
def test_numbers_in_another_spelling_are_told_with_the_key_that_reads_them(
    values: list[str], text: str
) -> None:
    inferred = of(*values * 3)
    assert (inferred.type, said(inferred)[0]) == ("category", text)


def test_a_mark_among_numbers_is_told_with_the_key_that_makes_it_missing() -> None:
    inferred = of(*[str(i) for i in range(27)], "?", "?", "?")
    assert inferred.type == "category"
    assert said(inferred)[0] == (
        "holds numbers in 27 of 30 values, and also '?': `missing: ['?']` (which replaces the default list "
        "of NA, null, ...) reads the column as numbers"
    )


@pytest.mark.parametrize("values", [["12%", "7 %"], ["$5.00", "-$3"], ["\u22129", "4"]])
def test_signs_that_python_does_not_know_are_read(values: list[str]) -> None:
    inferred = of(*values)
    assert inferred.type == "number"
    assert "written as" in inferred.why


def test_percentages_and_plain_numbers_do_not_mix() -> None:
    assert of("12%", "0.3", "7%").type == "category"
    assert of("$5", "3 €", "$7").type == "category"
    assert of("12%", "0", "7%").type == "number"


@pytest.mark.parametrize(
    ("inferred", "text"),
    [
        (infer("c", RawNumbers(np.array([7.0, 7.0]))), "is 7 in every row"),
        (infer("c", RawNumbers(np.array([np.nan, np.nan]))), "has no value in any row"),
        (of("red", "red"), "is 'red' in every row"),
        (of(None, None), "has no value in any row"),
        (of(None, None, declared="category"), "has no value in any row"),
        (of(None, None, declared="text"), "has no text in any row"),
        (of("one text", "one text", declared="text"), "is 'one text' in every row"),
    ],
)
def test_columns_that_are_the_same_in_every_row(inferred: ColumnInference, text: str) -> None:
    assert (inferred.constant, said(inferred)) == (True, [text])


def test_a_value_that_is_sometimes_missing_is_not_constant() -> None:
    assert not of("red", None).constant
    assert not of("red", None, declared="text").constant
    assert not infer("c", RawNumbers(np.array([7.0, np.nan]))).constant


def test_the_spec_can_say_otherwise() -> None:
    column = of("1", "02", declared="category").column
    assert isinstance(column, CategoryColumn)
    assert column.levels == ("02", "1")
    assert of("a", "b", declared="text").type == "text"
    wrong = of("1", "x", declared="number").wrong
    assert wrong is not None
    assert (wrong.row, wrong.value, wrong.declared) == (1, "x", True)
    assert of("1", "2", declared="number").why == "the spec's `types` says so"


def test_numbers_of_a_file_that_has_types_as_names() -> None:
    column = infer("c", RawNumbers(np.array([10.0, 2.0, np.nan, 2.5])), "category").column
    assert isinstance(column, CategoryColumn)
    assert column.levels == ("2", "2.5", "10")
    assert column.codes.tolist() == [2, 0, -1, 1]


def test_a_text_is_a_text_where_the_file_has_types() -> None:
    assert of("1", "2", typed=True).type == "category"
    assert of("1", "2", typed=True, declared="number").type == "number"


@pytest.mark.parametrize(
    ("values", "text"),
    [
        (["1", "2", "?"], None),
        (["0.5", "1.5", "2.5"], "holds texts that are numbers, such as '0.5': `types: {c: number}` reads"),
        (
            ["0.5", "1.5", "2.5", "1", "?"],
            "holds texts that are numbers, such as '0.5', in 4 of 5 values, and others, such as '?': "
            "`missing: ['?']` (JSON lines only; in other files write null) and `types: {c: number}` read",
        ),
        (
            ["0,5", "1,5", "2,5"],
            "holds texts that are numbers, such as '0,5': write them with a decimal point and without "
            "thousands separators, and `types: {c: number}` reads",
        ),
    ],
)
def test_texts_that_are_numbers_are_told_unless_they_may_be_names(
    values: list[str], text: str | None
) -> None:
    inferred = infer("c", texts(*values * 4) if len(values) < 5 else texts(*values), typed=True)
    assert inferred.type == "category"
    assert said(inferred)[:1] == ([] if text is None else [f"{text} the column as numbers"])
