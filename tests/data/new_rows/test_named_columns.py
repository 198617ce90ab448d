"""Rows of named columns to predict: found by name, typed as in training."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
import pytest

from nnrun.data.new_rows.input_batches import InputBatch, input_batches
from nnrun.data.new_rows.named_columns import NamedColumnDecoder, missing_texts
from nnrun.data.new_rows.row_source import Kind, RowSource
from nnrun.data.table import CategoryColumn, NumberColumn, Table, TextColumn
from nnrun.errors import DataError
from nnrun.spec import schema
from tests.support.column_tables import categories, fit, numbers, table, texts

INPUTS = table(
    numbers("age", [1, 2, None]),
    categories("sex", ["f", "m", None]),
    categories("alone", ["True", "False", "True"]),
)


def decoder(inputs: Table = INPUTS, told: list[str] | None = None) -> NamedColumnDecoder:
    fitted = fit(inputs).input.table
    assert fitted is not None
    listener = (lambda text: None) if told is None else told.append
    return NamedColumnDecoder.of(fitted, missing_texts(schema.Csv(path="x.csv", target=["y"])), listener)


def read(
    content: str, kind: Kind = "csv", inputs: Table = INPUTS, told: list[str] | None = None
) -> InputBatch:
    source = RowSource("rows", kind, stream=io.BytesIO(content.encode()))
    (batch,) = input_batches(source, decoder(inputs, told))
    return batch


def values(block: InputBatch) -> dict[str, list[Any]]:
    assert isinstance(block.inputs, Table)
    found: dict[str, list[Any]] = {}
    for column in block.inputs.columns:
        if isinstance(column, CategoryColumn):
            found[column.name] = [None if code < 0 else column.levels[code] for code in column.codes]
        elif isinstance(column, NumberColumn):
            found[column.name] = [None if np.isnan(value) else value for value in column.values.tolist()]
        else:
            assert isinstance(column, TextColumn)
            found[column.name] = column.values.tolist()
    return found


def reasons(block: InputBatch) -> list[str]:
    return [bad.reason for bad in block.bad]


EXPECTED = {"age": [3.5, None], "sex": [None, "m"], "alone": ["True", "False"]}


def test_columns_are_found_by_name_in_any_order() -> None:
    told: list[str] = []
    block = read("alone,y,sex,age\ntrue,1,,3.5\nFALSE,0, m ,NA\n", told=told)
    assert values(block) == EXPECTED
    assert told == ["rows: not used: y"]
    assert values(read("alone\ty\tsex\tage\ntrue\t1\t\t3.5\nFALSE\t0\tm\tnull\n", "tsv")) == EXPECTED


def test_objects() -> None:
    lines = '{"age": 3.5, "sex": null, "alone": true, "y": 2}\n{"alone": "false", "sex": "m", "age": null}\n'
    assert values(read(lines, "jsonl")) == EXPECTED


def test_a_data_frame_and_dicts() -> None:
    frame = pd.DataFrame({"sex": [None, "m"], "alone": [True, False], "age": [3.5, np.nan], "y": [1, 2]})
    (block,) = decoder().of_python(frame)
    assert values(block) == EXPECTED
    (block,) = decoder().of_python(frame.replace({np.nan: None}).to_dict("records"))
    assert values(block) == EXPECTED
    with pytest.raises(DataError, match="is an array, but this network takes 3 named columns: age, sex"):
        list(decoder().of_python(np.zeros((2, 3))))


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("x,m,true", "has 'x' in column 'age', which is not a finite number"),
        ("1_0,m,true", "has '1_0' in column 'age', which is not a finite number"),
        ("inf,m,true", "has 'inf' in column 'age', which is not a finite number"),
        ("1,m", "has 2 fields; its first line has 3"),
    ],
)
def test_rows_that_are_bad(line: str, said: str) -> None:
    block = read(f"age,sex,alone\n{line}\n1,f,true\n")
    assert reasons(block) == [said]
    assert len(block.inputs) == 1


@pytest.mark.parametrize(
    ("line", "said"),
    [
        (
            '{"age": true, "sex": "m", "alone": true}',
            "has True in column 'age', which is not a finite number",
        ),
        ('{"age": 1, "sex": [], "alone": true}', "has [] in column 'sex', which is not text"),
        ('{"ages": 1}', "has none of the columns that the network takes: age, sex, alone"),
        ("{}", "has none of the columns that the network takes: age, sex, alone"),
        ("[1, 2, 3]", "is [1, 2, 3], which is not an object with the columns' names"),
        ('"a"', "is 'a', which is not an object with the columns' names"),
        ('{"age": 1' + "0" * 400 + ', "sex": "m", "alone": true}', "which is not a finite number"),
    ],
)
def test_objects_that_are_bad(line: str, said: str) -> None:
    (found,) = reasons(read(line + "\n", "jsonl"))
    assert said in found


def test_a_key_that_is_not_there_stands_for_a_missing_value_which_is_said_once() -> None:
    told: list[str] = []
    lines = ['{"age": 1, "sex": "m", "alone": true}', '{"age": 2}', '{"sex": "f", "alone": false}\n']
    absent = read("\n".join(lines), "jsonl", told=told)
    assert told == ["rows: line 2 lacks sex, alone; a missing key counts as a missing value"]
    lines[1:] = ['{"age": 2, "sex": null, "alone": null}', '{"age": null, "sex": "f", "alone": false}\n']
    null = read("\n".join(lines), "jsonl", told=told)
    assert len(told) == 1
    assert absent.bad == null.bad == []
    assert str(values(absent)) == str(values(null))
    assert values(null)["sex"] == ["m", None, "f"]


@pytest.mark.parametrize(
    ("content", "kind", "said"),
    [
        ("age,sex\n1,m\n", "csv", "rows lacks 1 column that the network takes: alone. Its first line"),
        ("age,sex,alone,sex\n", "csv", "rows names sex more than once."),
        ("a text\n", "txt", "rows holds plain text, but this network takes 3 named columns: age, "),
    ],
)  # fmt: skip
def test_files_that_do_not_suit(content: str, kind: Kind, said: str) -> None:
    with pytest.raises(DataError) as error:
        read(content, kind)
    assert said in str(error.value)


@pytest.mark.parametrize(
    ("content", "kind"),
    [
        ("oil, rose\n\nx\n", "txt"),
        ('text\n"oil, rose"\n""\nx\n', "csv"),
        ('"oil, rose"\n""\n{"text": "x"}\n', "jsonl"),
    ],
)  # fmt: skip
def test_a_text_alone_may_be_a_line(content: str, kind: Kind) -> None:
    only = table(texts("text", ["a b", "c"]))
    assert decoder(only).takes_lines
    found = values(read(content, kind, only))["text"]
    assert [text or "" for text in found] == ["oil, rose", "", "x"]


def test_a_number_in_a_category_is_its_text() -> None:
    only = table(categories("code", ["1", "2.5"]))
    assert values(read('{"code": 1.0}\n{"code": 2.5}\n{"code": "1"}\n', "jsonl", only))["code"] == [
        "1",
        "2.5",
        "1",
    ]


def test_the_files_own_words_for_missing() -> None:
    def own(missing: Sequence[str] | None) -> frozenset[str]:
        made = schema.Csv.model_validate({"path": "x", "target": "y", "missing": missing})
        return missing_texts(made)

    assert {"", "?"} == own(["?"])
    assert "NA" in own(None)
    assert "NA" in missing_texts(schema.Jsonl(path="x", target=["y"]))


@pytest.mark.parametrize(
    ("content", "kind"),
    [("b\ntrue\nFALSE\n", "csv"), ('b\n"True"\nfalse\n', "csv"), ('{"b": true}\n{"b": false}\n', "jsonl")],
)
def test_truth_that_is_hashed_is_the_same_however_it_is_written(content: str, kind: Kind) -> None:
    fitted = fit(table(categories("b", ["True", "False"])), {"hashing": {"buckets": 50}}).input.table
    assert fitted is not None
    fitted = type(fitted).from_json(fitted.to_json())
    found = NamedColumnDecoder.of(fitted, frozenset([""]), lambda text: None)
    source = RowSource("rows", kind, stream=io.BytesIO(content.encode()))
    assert [values(block) for block in input_batches(source, found)] == [{"b": ["True", "False"]}]
