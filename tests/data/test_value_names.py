"""The one name of a value: laws, and the same value through every reader."""

from __future__ import annotations

import io
import json
import unicodedata
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nnrun.data import load_dataset
from nnrun.data.new_rows.input_batches import input_batches
from nnrun.data.new_rows.named_columns import NamedColumn, NamedColumnDecoder
from nnrun.data.new_rows.row_source import RowSource
from nnrun.data.table import NumberColumn, Table, as_categories
from nnrun.data.value_names import code_among, in_order, number_name, text_name, value_name
from nnrun.spec import schema
from nnrun.spec.values import is_value

IDS = [1234567890123456789, 1234567890123456790, -(2**53) - 1, 12345678901234567890123, 7]


@given(st.integers())
def test_a_whole_number_is_its_digits(number: int) -> None:
    assert value_name(number) == str(number) == value_name(Decimal(number))
    if float(number) == number:
        assert value_name(float(number)) == str(number)


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_other_numbers_read_back(number: float) -> None:
    assert float(number_name(number)) == number


@given(st.text())
def test_a_text_is_one_in_any_unicode_form(text: str) -> None:
    forms = {text_name(unicodedata.normalize(form, text)) for form in ("NFC", "NFD")}
    assert len(forms) == 1
    assert text_name(forms.copy().pop()) == forms.pop()


@pytest.mark.parametrize(
    ("value", "name"),
    [
        (True, "True"),
        (np.bool_(False), "False"),
        (np.int64(2**62), str(2**62)),
        (np.float32(0.5), "0.5"),
        (Decimal("2.50"), "2.5"),
        (-0.0, "0"),
        (None, None),
        (float("nan"), None),
        (" Ünï ", "Ünï"),
    ],
)
def test_names(value: Any, name: str | None) -> None:
    assert value_name(value) == name


def test_what_has_no_name() -> None:
    for value in (float("inf"), [1], {}):
        with pytest.raises(TypeError):
            value_name(value)


def test_the_order_of_names() -> None:
    assert in_order(["10", "9", "b", "1.5", "-2", "a", "1e-05", "٣", "007"]) == [
        *("-2", "1e-05", "1.5", "007", "9", "10"),
        *("a", "b", "٣"),
    ]


@pytest.mark.parametrize(
    ("texts", "code"),
    [
        (["02116", "10001"], "02116"),
        (["1", "01", "001"], "01"),
        (["6E1", "7E0"], "6E1"),
        (["123", "5E3", "456"], "5E3"),
        (["0", "10"], None),
        (["0.5", "00.7"], None),
        (["-007", "5"], None),
        (["007", "1.5"], None),
        (["1e5", "2e5"], None),
        (["1E+05", "2.0E5"], None),
        (["1E5", "20"], None),
    ],
)
def test_what_tells_a_code(texts: list[str], code: str | None) -> None:
    assert code_among(texts) == code


@pytest.mark.parametrize(
    ("wanted", "found", "same"),
    [
        (IDS[0], str(IDS[0]), True),
        (IDS[0], str(IDS[1]), False),
        (IDS[0], float(IDS[0]), False),
        (2, "2.0", True),
        (1, "001", False),
        ("Málaga", unicodedata.normalize("NFD", "Málaga"), True),
        (True, "TRUE", True),
    ],
)
def test_a_value_of_a_spec(wanted: Any, found: Any, same: bool) -> None:
    assert is_value(wanted, found) is same


# --- files ---


def _written(folder: Path, kind: str, ids: list[Any]) -> schema.Component:
    """A file with a column of ids, one of which is missing; and a number to predict."""
    path = folder / f"rows.{kind}"
    rows = [{"id": value, "x": i % 3 + 0.5, "y": i} for i, value in enumerate([*ids, None] * 4)]
    if kind == "csv":
        fields = ["" if row["id"] is None else str(row["id"]) for row in rows]
        path.write_text(
            "id,x,y\n" + "".join(f"{f},{r['x']},{r['y']}\n" for f, r in zip(fields, rows, strict=True))
        )
        return schema.Csv(path=str(path), target=["y"])
    if kind == "jsonl":
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
        return schema.Jsonl(path=str(path), target=["y"])
    pyarrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    wide = any(abs(value) >= 2**63 for value in ids)
    type_ = pyarrow.decimal128(38) if wide else pyarrow.int64()
    column = pyarrow.array(
        [None if r["id"] is None else Decimal(r["id"]) if wide else r["id"] for r in rows], type_
    )
    parquet.write_table(
        pyarrow.table({"id": column, "x": [r["x"] for r in rows], "y": [r["y"] for r in rows]}), path
    )
    return schema.Parquet(path=str(path), target=["y"])


@pytest.mark.parametrize("kind", ["csv", "jsonl", "parquet"])
@pytest.mark.parametrize("ids", [IDS, IDS[:3]])
@pytest.mark.parametrize("declared", [{}, {"id": "category"}, {"id": "number"}])
def test_long_ids_keep_their_digits(
    tmp_path: Path, kind: str, ids: list[int], declared: dict[str, schema.ColumnType]
) -> None:
    spec = _written(tmp_path, kind, ids).model_copy(update={"types": declared})
    table = load_dataset(spec).train.inputs
    assert isinstance(table, Table)
    column = table.by_name["id"]
    if declared != {"id": "category"}:
        assert isinstance(column, NumberColumn)
        known = [float(value) for value in ids]
        assert column.values[: len(ids)].tolist() == known
    category = as_categories(column)
    assert category.levels == tuple(map(str, sorted(ids)))
    names = [None if code < 0 else category.levels[code] for code in category.codes]
    assert names == [*map(str, ids), None] * 4


@pytest.mark.parametrize("kind", ["csv", "jsonl"])
def test_a_test_set_of_one_long_id(tmp_path: Path, kind: str) -> None:
    ids = [2**60, 2**60 + 1, 2**60 + 2]
    spec = _written(tmp_path, kind, ids)
    spec = spec.model_copy(update={"test": schema.TestRows(column="id", value=2**60 + 1)})
    test = load_dataset(spec).test
    assert test is not None
    assert test.targets.tolist() == [1, 5, 9, 13]


@pytest.mark.parametrize("kind", ["number", "category"])
@pytest.mark.parametrize("how", ["csv", "csv one by one", "jsonl", "jsonl texts", "dicts", "frame"])
def test_long_ids_to_predict(kind: str, how: str) -> None:
    ids = IDS[:3] if how == "frame" else IDS
    decoder = NamedColumnDecoder((NamedColumn("id", kind, False),), frozenset([""]))
    if how == "frame":
        import pandas as pd

        blocks = list(decoder.of_python(pd.DataFrame({"id": np.array(ids, np.int64)})))
    elif how == "dicts":
        blocks = list(decoder.of_python([{"id": value} for value in ids]))
    elif how.startswith("csv"):
        quote = '"' if "one" in how else ""
        text = "id\n" + "".join(f"{quote}{value}{quote}\n" for value in ids)
        blocks = list(input_batches(RowSource("rows", "csv", stream=io.BytesIO(text.encode())), decoder))
    else:
        values = [str(value) if "texts" in how else value for value in ids]
        lines = "".join(json.dumps({"id": value}) + "\n" for value in values)
        blocks = list(input_batches(RowSource("rows", "jsonl", stream=io.BytesIO(lines.encode())), decoder))
    found: list[str] = []
    for block in blocks:
        assert isinstance(block.inputs, Table)
        category = as_categories(block.inputs.by_name["id"])
        found += [category.levels[code] for code in category.codes]
    assert found == list(map(str, ids))


def test_codes_and_unicode_in_a_csv(tmp_path: Path) -> None:
    decomposed = unicodedata.normalize("NFD", "São Paulo")
    rows = "".join(
        f"{i % 3:03d},{5 + i % 2}E{i % 4},{i % 10:02d}.5,{city},{i}\n"
        for i, city in enumerate(["São Paulo", decomposed, "Málaga"] * 8)
    )
    (tmp_path / "codes.csv").write_text("zip,part,amount,city,y\n" + rows)
    said: list[str] = []
    spec = schema.Csv(path=str(tmp_path / "codes.csv"), target=["y"])
    table = load_dataset(spec, on_message=said.append).train.inputs
    assert isinstance(table, Table)
    columns = table.by_name
    assert getattr(columns["zip"], "levels", None) == ("000", "001", "002")
    assert getattr(columns["part"], "levels", ())[:2] == ("5E0", "5E2")
    assert isinstance(columns["amount"], NumberColumn)
    assert getattr(columns["city"], "levels", None) == ("Málaga", "São Paulo")
    assert said == [
        f"{tmp_path}/codes.csv: column '{name}' holds codes, such as '{code}', so it is a category; if they "
        f"are amounts, set `types: {{{name}: number}}`"
        for name, code in (("zip", "000"), ("part", "5E0"))
    ]
    declared = spec.model_copy(update={"types": {"zip": "number", "part": "number"}})
    numbers = load_dataset(declared).train.inputs
    assert isinstance(numbers, Table)
    assert numbers.by_name["zip"].values[:3].tolist() == [0.0, 1.0, 2.0]  # type: ignore[union-attr]
