"""How a CSV file is written, told from what it holds."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from nnrun.data.files.csv_guess import lacks_header
from nnrun.data.summaries.describe_file import read_file

PLAIN = "a,b\n" + "".join(f"{i * 7 % 11},{i / 4}\n" for i in range(30))


def read(folder: Path, content: str, name: str = "t.csv") -> Any:
    (folder / name).write_text(content, encoding="utf-8")
    return read_file(folder / name)


def column(values: list[str], name: str = "a") -> str:
    rows = [f'"{value}",{i / 4}' for i, value in enumerate(values)]
    return "\n".join([f"{name},b", *rows]) + "\n"


@pytest.mark.parametrize(
    ("content", "keys"),
    [
        (PLAIN, {}),
        (column([f"{i},{i % 7}" for i in range(30)]), {"number_formats": {"a": {"decimal": ","}}}),
        (column([f"{i + 1},{i + 100}" for i in range(30)]), {"thousands": ","}),
        (column([f"{i}" if i else "." for i in range(30)]), {"missing": ["."]}),
        (column(["NA" if i == 3 else "?" if i < 3 else f"{i}" for i in range(30)]), {"missing": ["?", "NA"]}),
        (column(["many" if i < 3 else f"{i}" for i in range(30)]), {}),
    ],
)
def test_the_keys_of_a_file(tmp_path: Path, content: str, keys: dict[str, Any]) -> None:
    file = read(tmp_path, content)
    assert file.keys == keys
    if keys:
        assert [inferred.type for inferred in file.columns.values()] == ["number", "number"]


def test_three_digits_after_a_comma_are_decimals_beside_other_decimal_commas(tmp_path: Path) -> None:
    rows = [f"{i + 1},{i + 100};{i},5;1.{i + 100}" for i in range(30)]
    file = read(tmp_path, "a;b;c\n" + "\n".join(rows) + "\n")
    assert file.keys == {"decimal": ",", "thousands": "."}
    assert [column.values[0] for column in file.table.columns] == [1.1, 0.5, 1100.0]


@pytest.mark.parametrize(
    ("content", "lacks"),
    [
        (PLAIN, False),
        ("5,1.4,no\n6,.4,yes\n7,.6,no\n", True),
        ("0,0,0,7\n1,0,0,3\n0,0,1,4\n", True),
        ("vhigh,2,small\nvhigh,2,big\nlow,4,small\nvhigh,2,small\n", True),
        ("country,1990,1991,1992\nA,1,2,3\nB,4,5,6\n", False),
        ("0,1,2\n4,5,6\n7,8,9\n", False),
        ("name,team\nann,red\nbob,blue\n", False),
        ("a,b\n", False),
    ],
)
def test_a_header_or_none(tmp_path: Path, content: str, lacks: bool) -> None:
    path = tmp_path / "t.csv"
    path.write_text(content)
    assert lacks_header(path) is lacks
    if lacks:
        file = read_file(path)
        assert file.keys == {"header": False}
        assert file.n_rows == content.count("\n")
        assert next(iter(file.columns)) == "c0"


def test_marks_of_json_lines(tmp_path: Path) -> None:
    rows = "".join(f'{{"a": {i if i % 10 else chr(34) + "?" + chr(34)}, "b": {i}}}\n' for i in range(30))
    file = read(tmp_path, rows, "t.jsonl")
    assert file.keys == {"missing": ["?"]}
    assert file.columns["a"].type == "number"
    assert file.columns["a"].missing == 3
