"""CSV as it is found: delimiters, quotes, blank lines, packed files; numbers read back bit for bit."""

from __future__ import annotations

import csv
import gzip
import math
import unicodedata
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from nnrun.data.files import columns, csv_reader
from nnrun.data.files.csv_reader import MISSING, CsvReader
from nnrun.data.files.read_table import ReadTable, read_table
from nnrun.data.table import CategoryColumn, NumberColumn
from nnrun.errors import DataError
from nnrun.spec.schema import ColumnType


def read(
    path: Path,
    types: dict[str, ColumnType] | None = None,
    *,
    delimiter: str | None = None,
    missing: list[str] | None = None,
    on_message: Callable[[str], None] = lambda text: None,
) -> ReadTable:
    reader = CsvReader(path, delimiter, missing)
    return read_table(reader, "0" * 64, {"path": str(path)}, reader.names, types or {}, on_message)


def written(folder: Path, text: str | bytes, name: str = "t.csv") -> Path:
    path = folder / name
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return path


def values(file: ReadTable, name: str) -> list[object]:
    column = file.columns[name].column
    if isinstance(column, NumberColumn):
        return [*column.values.tolist()]
    if isinstance(column, CategoryColumn):
        return [None if code < 0 else column.levels[code] for code in column.codes]
    texts: list[object] = column.values.tolist()
    return texts


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("comma.csv", "a,b\n1,x\n2,y\n"),
        ("semicolon.csv", "a;b\n1;x\n2;y\n"),
        ("tab.csv", "a\tb\n1\tx\n2\ty\n"),
        ("bar.csv", "a|b\n1|x\n2|y\n"),
        ("tab.tsv", "a\tb\n1\tx\n2\ty\n"),
        ("windows.csv", "a,b\r\n1,x\r\n2,y\r\n"),
        ("bom.csv", b"\xef\xbb\xbfa,b\n1,x\n2,y\n"),
        ("no_last_newline.csv", "a,b\n1,x\n2,y"),
        ("quotes.csv", '"a","b"\n"1","x"\n"2","y"\n'),
        ("blanks.csv", " a , b\n 1, x \n 2,y\n"),
        ("blank_lines.csv", "\n\na,b\n\n1,x\n   \n2,y\n\n"),
        ("blank_lines_quoted.csv", '\na,b\n\n1,"x"\n   \n2,y\n\n'),
        ("packed.csv.gz", gzip.compress(b"a,b\n1,x\n2,y\n", mtime=0)),
        ("packed.tsv.gz", gzip.compress(b"a\tb\n1\tx\n2\ty\n", mtime=0)),
    ],
)
def test_what_is_found_in_the_wild(tmp_path: Path, name: str, text: str | bytes) -> None:
    file = read(written(tmp_path, text, name))
    assert (values(file, "a"), values(file, "b")) == ([1.0, 2.0], ["x", "y"])


def test_a_tab_separated_file_may_hold_commas(tmp_path: Path) -> None:
    file = read(written(tmp_path, "a,b\tc\n1\t2,5\n3\t4\n", "t.tsv"))
    assert (values(file, "a,b"), values(file, "c")) == ([1.0, 3.0], ["2,5", "4"])


def test_a_single_column(tmp_path: Path) -> None:
    assert values(read(written(tmp_path, "a\n1\n\n2\n")), "a") == [1.0, 2.0]
    assert values(read(written(tmp_path, 'a\n"1"\n""\n2\n', "q.csv")), "a")[0] == 1.0
    quoted = values(read(written(tmp_path, 'a\n"x"\n""\ny\n', "r.csv")), "a")
    assert quoted == ["x", None, "y"]


@pytest.mark.parametrize("text", MISSING)
def test_missing_values_are_those_of_pandas(tmp_path: Path, text: str) -> None:
    file = read(written(tmp_path, f"a,b,c\n1,x,1\n{text},{text},2\n"))
    number, name = values(file, "a")[1], values(file, "b")[1]
    assert isinstance(number, float)
    assert (math.isnan(number), name) == (True, None)


def test_other_texts_for_a_missing_value(tmp_path: Path) -> None:
    path = written(tmp_path, "a,b,c\n1,NA,1\n?,x,2\n,,3\n")
    file = read(path, missing=["?"])
    assert values(file, "b") == ["NA", "x", None]
    assert file.columns["a"].missing == 2
    assert file.columns["a"].type == "number"


def test_a_column_that_turns_out_to_hold_names_keeps_its_texts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(csv_reader, "BLOCK_BYTES", 64)
    rows = [f"{i:03d},{i}" for i in range(50)] + ["x7,50"]
    file = read(written(tmp_path, "a,b\n" + "\n".join(rows) + "\n"), {"a": "category"})
    assert values(file, "a")[:2] == ["000", "001"]
    file = read(written(tmp_path, "a,b\n" + "\n".join(rows[20:]) + "\n"))
    assert values(file, "a")[0] == "020"
    assert (file.columns["a"].type, file.columns["a"].wrong) == ("category", None)  # leading zeros: codes
    assert values(file, "a")[30] == "x7"
    rows = [f"{i},{i}" for i in range(20, 50)] + ["x7,50"]
    file = read(written(tmp_path, "a,b\n" + "\n".join(rows) + "\n"))
    assert file.columns["a"].wrong is not None
    assert (file.columns["a"].wrong.row, file.columns["a"].wrong.value) == (30, "x7")
    assert values(file, "b") == [float(i) for i in range(20, 51)]


def test_a_row_knows_its_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(csv_reader, "BLOCK_BYTES", 16)
    text = 'a,b\n\n1,x\n2,"two\nlines"\n3,z\n\n\n4,"q"\n5,z\n6,z\n'
    file = read(written(tmp_path, text))
    assert file.lines.of_rows(np.arange(6)).tolist() == [3, 4, 6, 9, 10, 11]
    assert values(file, "b") == ["x", "two\nlines", "z", "q", "z", "z"]
    assert file.at(3, "b").endswith("t.csv, line 9, column 'b'")


def test_long_fields_are_read(tmp_path: Path) -> None:
    before = csv.field_size_limit()
    long = "word " * 100_000
    file = read(written(tmp_path, f'a,b\n1,"{long}"\n2,y\n'))
    assert values(file, "b")[0] == long.strip()
    assert csv.field_size_limit() == before


def test_long_fields_of_a_first_row_that_is_no_header_are_read(tmp_path: Path) -> None:
    path = written(tmp_path, f"1,{'x' * 200_000}\n2,y\n3,z\n")
    reader = CsvReader(path, header=False)
    file = read_table(reader, "0" * 64, {"path": str(path)}, reader.names, {})
    assert values(file, "c1") == ["x" * 200_000, "y", "z"]


@pytest.mark.parametrize("size", [8, 16, 40, 1000])
@pytest.mark.parametrize("quoted", [False, True])
def test_blocks_end_where_rows_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, size: int, quoted: bool
) -> None:
    monkeypatch.setattr(csv_reader, "BLOCK_BYTES", size)
    mark = '"' if quoted else ""
    rows = [f"{i},{mark}{'n' * (i % 9)}x{mark}" for i in range(60)]
    file = read(written(tmp_path, "a,b\n" + "\n".join(rows)))
    assert values(file, "a") == [float(i) for i in range(60)]
    assert values(file, "b") == ["n" * (i % 9) + "x" for i in range(60)]


NAMES = st.text(
    st.characters(codec="utf-8", exclude_characters="\r\0", exclude_categories=["Cs"]), max_size=12
)
NUMBERS = st.floats(allow_nan=False, allow_infinity=False)


@given(
    rows=st.lists(st.tuples(NUMBERS, st.one_of(st.none(), NUMBERS), NAMES), min_size=1, max_size=30),
    delimiter=st.sampled_from(",;\t|"),
    size=st.sampled_from([16, 100, 10_000]),
    quoting=st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL]),
)
def test_a_written_table_reads_back(
    tmp_path_factory: pytest.TempPathFactory,
    rows: list[tuple[float, float | None, str]],
    delimiter: str,
    size: int,
    quoting: int,
) -> None:
    path = tmp_path_factory.mktemp("csv") / "t.csv"
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, delimiter=delimiter, quoting=quoting, lineterminator="\n")  # type: ignore[arg-type]
        writer.writerow(["number", "gaps", "name"])
        writer.writerows([repr(a), "" if b is None else repr(b), name] for a, b, name in rows)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(csv_reader, "BLOCK_BYTES", size)
        read_back = read(path, {"name": "category"})
    assert values(read_back, "number") == [a for a, _, _ in rows]
    gaps = values(read_back, "gaps")
    assert [None if isinstance(g, float) and math.isnan(g) else g for g in gaps] == [b for _, b, _ in rows]
    wanted = [unicodedata.normalize("NFC", name.strip()) for _, _, name in rows]
    assume(not {name.lower() for name in wanted if name not in MISSING} <= {"true", "false"})
    assert values(read_back, "name") == [None if name in MISSING else name for name in wanted]


def test_progress_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(csv_reader, "BLOCK_BYTES", 40)
    monkeypatch.setattr("nnrun.data.files.read_table._SECONDS_BETWEEN_MESSAGES", 0.0)
    path = written(tmp_path, "a,b\n" + "1,2\n" * 50)
    reader = CsvReader(path)
    said: list[str] = []
    read_table(reader, "0" * 64, {}, reader.names, {}, said.append)
    assert said[0].startswith(f"reading {path}: 19 rows, 39 %, about "), said
    assert said[-1].startswith(f"read {path}: 50 rows in ")


def test_a_row_in_the_second_block_is_told_by_its_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(csv_reader, "BLOCK_BYTES", 40)
    rows = ["1,2"] * 30 + ["1,2,3"] + ["1,2"] * 3
    with pytest.raises(DataError, match="line 32 has 3 fields"):
        read(written(tmp_path, "a,b\n" + "\n".join(rows)))
    rows[30] = '1,"\n'
    with pytest.raises(DataError, match="line 32: a quote is opened in this row and never closed"):
        read(written(tmp_path, "a,b\n" + "\n".join(rows), "q.csv"))


def test_lines_of_delimiters_are_no_rows(tmp_path: Path) -> None:
    for quote in ("", '"'):
        text = f"a,b\n1,{quote}x{quote}\n,\n2,y\n , \n{quote}{quote},\n,,,\n3,z\n,\n"
        file = read(written(tmp_path, text))
        assert (values(file, "a"), values(file, "b")) == ([1.0, 2.0, 3.0], ["x", "y", "z"])
        assert file.lines.of_rows(np.arange(3)).tolist() == [2, 4, 8]
        assert file.lines.separators == 5


@pytest.mark.parametrize("large", [False, True])
def test_lines_of_delimiters_are_counted_in_a_message(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, large: bool
) -> None:
    """Also where the table comes from the cache."""
    monkeypatch.setattr(columns, "KEPT_BYTES", 1 if large else 1 << 20)
    path = written(tmp_path, "a,b\n1,x\n,\n\n2,y\n,\n,\n")
    for _ in range(2):
        told: list[str] = []
        read(path, on_message=told.append)
        assert told == [f"{path}: left out 3 lines with only separators"]


@pytest.mark.parametrize("last", ["", "\r", "\n", "\r\n"])
def test_carriage_returns_alone_end_lines(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, last: str) -> None:
    monkeypatch.setattr(csv_reader, "BLOCK_BYTES", 8)
    path = tmp_path / "t.csv"
    path.write_bytes(("a,b\r1,x\r2,y\r\r3,z" + last).encode())
    file = read(path)
    assert (values(file, "a"), values(file, "b")) == ([1.0, 2.0, 3.0], ["x", "y", "z"])
    assert file.lines.of_rows(np.arange(3)).tolist() == [2, 3, 5]


@pytest.mark.parametrize(
    ("before", "sentence"),
    [
        ("# made by hand\n", "line 2 has 3 fields, and the header names 1. If the file begins with a title"),
        ("Sales of 2020\n\n", "line 3 has 3 fields, and the header names 1. If the file begins with a title"),
        ("sep=,\n", "line 1 is 'sep=,', which tells only Excel the delimiter. Delete the line"),
        ('"SEP=,"\n', "which tells only Excel the delimiter"),
    ],
)
def test_what_stands_before_the_header(before: str, sentence: str, tmp_path: Path) -> None:
    with pytest.raises(DataError) as error:
        read(written(tmp_path, before + "a,b,y\n1,2,3\n"))
    assert sentence in str(error.value)


@pytest.mark.parametrize(("header", "what"), [(True, "the header"), (False, "the first row")])
def test_a_first_row_is_called_a_header_where_it_is_one(header: bool, what: str, tmp_path: Path) -> None:
    path = written(tmp_path, '"a"b,2\n1,2\n')
    with pytest.raises(DataError) as caught:
        CsvReader(path, header=header)
    assert str(caught.value).startswith(f"{path}, line 1: {what} is not a valid CSV row: ")


R_TABLE = '"age","sex"\n"a",22,"m"\n"b",38,"f"\n"c",26,"f"\n'


@pytest.mark.parametrize(
    "text",
    [
        R_TABLE,
        R_TABLE.rstrip("\n"),
        R_TABLE.replace("\n", "\r\n"),
        R_TABLE.replace('"', ""),
        R_TABLE.replace(",", "\t"),
    ],
)
def test_a_header_one_field_short_names_no_row_names(tmp_path: Path, text: str) -> None:
    """As R's write.table writes a data frame, and R and pandas read it."""
    path = tmp_path / "r.csv"
    path.write_text(text, newline="")
    reader = CsvReader(path)
    assert reader.names == ("Unnamed: 0", "age", "sex")
    assert list(reader.index.values()) == [
        "the header has one field fewer than the rows, as when R's write.table writes row names"
    ]
    (batch,) = reader.batches(["age", "sex"], {"sex"})
    age = batch.columns["age"]
    assert isinstance(age, np.ndarray)
    assert age.tolist() == [22, 38, 26]


@pytest.mark.parametrize(
    "rows",
    [
        "a,1,2\na,3,4\n",  # names of rows differ
        "a,1,2\nb,3\n",
        "a,1,\nb,2,\n",  # a delimiter at the end of each line
        "a,1,2\n",  # one row says too little
        "a,1,2,3\nb,4,5,6\n",
    ],
)
def test_other_rows_that_are_longer_than_the_header_are_refused(tmp_path: Path, rows: str) -> None:
    path = tmp_path / "r.csv"
    path.write_text(f"age,sex\n{rows}")
    reader = CsvReader(path)
    assert reader.names == ("age", "sex")
    with pytest.raises(DataError, match=r"line 2 has [34] fields, and the header names 2"):
        list(reader.batches(["age"], set()))
