"""The C++ parser of CSV: whatever a file holds, the columns, messages and lines are those without it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from nnrun.data.files import csv_native, csv_reader
from nnrun.data.files.csv_native import NativeParser, native_parser
from nnrun.data.files.csv_reader import CsvReader
from nnrun.data.files.row_reader import ColumnBatch, Texts
from nnrun.errors import DataError
from nnrun.limits import cxx_compiler
from nnrun.native.library import NotCompiledError

pytestmark = pytest.mark.skipif(cxx_compiler() is None, reason="there is no C++ compiler")

ODD = (
    *("007", "00", "-007", "5E3", "12E05", "5e3", "-0", "-0.0", "+5", "5.", ".5", "-.5", "+.5", "1.e5", "."),
    *("-", "+", "e5", "5e", "5e+", "--5", "5-7", "1_000", "0x10", "1e400", "-1e400", "1e-400", "4.9e-324"),
    *("inf", "-inf", "Infinity", "nan", "NaN", "-nan", "NA", "n/a", "null", "None", "na", "true", "FALSE"),
    *(" 5", "5 ", " 5.5 ", "\t5", "5\t", " 007", "5E3 ", " ", "  ", " x", "x ", " NA", "\u00a0", "\u00a05"),
    *(
        "9007199254740992",
        "9007199254740993",
        "9007199254740993.0",
        "18446744073709551616",
        "999999999999999",
    ),
    *("1000000000000000", "-9223372036854775808", "9223372036854775808", "0.1", "2.2250738585072011e-308"),
    *("179769313486231580793728971405301e276", "0.000000000000000000000000000012345678901234567890"),
    *(
        "2020-01-31",
        "12:30",
        "1/2",
        "yes",
        "no",
        "a2",
        "e11",
        "fin",
        "x",
        "colour",
        "caf\u00e9",
        "\u8bcd",
        "٣",
    ),
    *("12%", "$5", "1,5", "1;5", "", '""', '"', 'a"b', '"a"b"', '"5"', '"007"', '"x y"', '"1,5"', '"NA"'),
    *('" "', '"a\nb"', '"a""b"', "a\rb", '"a\rb"', '"5" ', ' "5"', "#", "\ufeff5"),
)
KINDS: tuple[st.SearchStrategy[str], ...] = (
    st.integers(-(10**6), 10**6).map(str),
    st.integers().map(str),
    st.floats(allow_nan=False, allow_infinity=False).map(repr),
    st.decimals(allow_nan=False, allow_infinity=False, places=4).map(str),
    st.floats(-10, 10).map(lambda x: f"{x:.3f}"),
    st.sampled_from(["", "1", "2.5", "NA"]),
    st.sampled_from(["red", "green", "", "caf\u00e9", "NA"]),
    st.sampled_from(['"red"', "blue", '""', '"5"']),
    st.sampled_from(ODD),
    st.text("0123456789+-.eE ", max_size=8),
    st.text("inftyaeINFE0 ", max_size=5),
)


@st.composite
def files(draw: st.DrawFn) -> bytes:
    """Lines of CSV, most of them rows of one width, whose columns are each of one kind or two."""
    width = draw(st.integers(1, 4))
    columns = [draw(st.sampled_from(KINDS)) for _ in range(width)]
    others = [draw(st.one_of(st.none(), st.sampled_from(KINDS))) for _ in range(width)]
    lines = []
    for _ in range(draw(st.integers(1, 12))):
        row = []
        for column, other in zip(columns, others, strict=True):
            odd = other is not None and draw(st.integers(0, 9)) == 0
            row.append(draw(other if odd and other is not None else column))
        lines.append(",".join(row))
        if draw(st.integers(0, 29)) == 0:
            lines.append(draw(st.sampled_from(["", " ", "," * (width - 1), " , ", "1,2,3", "\t", ",,,,"])))
    end = draw(st.sampled_from(["\n", "\n", "\n", "\r\n"]))
    head = ",".join(f"c{place}" for place in range(width))
    return (head + end + end.join(lines) + draw(st.sampled_from([end, "", "\r"]))).encode()


def seen(batch: ColumnBatch, missing: Sequence[str]) -> Any:
    """What a batch says, with numbers by their bits.

    pandas leaves a gap beside the text 18446744073709551616 as it is; who collects texts knows it for one.
    """
    columns: dict[str, Any] = {}
    for name, values in batch.columns.items():
        if isinstance(values, Texts):
            levels = [None if level in missing else level for level in values.levels]
            columns[name] = [None if code < 0 else levels[code] for code in values.codes]
        else:
            columns[name] = (values.dtype.name, values.view(np.int64).tolist())
    assert batch.lines is not None
    return batch.n_rows, dict(sorted(columns.items())), batch.lines.tolist(), batch.separators, batch.problems


def outcome(path: Path, reports: int | None, missing: list[str] | None) -> list[Any]:
    """All batches of a file, columns becoming texts as for a table; at the end what is wrong."""
    found: list[Any] = []
    try:
        reader = CsvReader(path, ",", missing, reports=reports)
        as_text: set[str] = set()
        for batch in reader.batches(reader.names, as_text):
            found.append(seen(batch, reader.missing))
            as_text |= {name for name, values in batch.columns.items() if isinstance(values, Texts)}
    except DataError as error:
        found.append(str(error))
    return found


def always_native(width: int, delimiter: str, missing: Any, size: int | None) -> NativeParser | None:
    return native_parser(width, delimiter, missing, csv_native.WORTH_COMPILING)


@pytest.mark.parametrize("reports", [None, 3])
@given(
    file=files(),
    block=st.sampled_from([40, 200, 1 << 20]),
    missing=st.sampled_from([None, None, ["?", "red"], ["nan"], []]),
)
@example(file=b"a,b\n1,\xff\n", block=1 << 20, missing=None)
@example(file=b"a,b\n1,x\n1,\0\n", block=1 << 20, missing=None)
@example(file=b"a\n\xef\xbb\xbf5\n", block=1 << 20, missing=None)
@example(file=b"a,b\n1,18446744073709551616\n1,red\n1,\n", block=1 << 20, missing=None)
@example(file=b'a,b\n"x","\xc2\xa0"\n"\xc2\xa0"," "\n', block=1 << 20, missing=None)
def test_columns_are_those_of_pandas(
    tmp_path_factory: pytest.TempPathFactory,
    reports: int | None,
    file: bytes,
    block: int,
    missing: list[str] | None,
) -> None:
    path = tmp_path_factory.getbasetemp() / "generated.csv"
    path.write_bytes(file)
    with (
        mock.patch.object(csv_reader, "BLOCK_BYTES", block),
        mock.patch.object(csv_reader, "_REPORTING_BLOCK_BYTES", block),
    ):
        with mock.patch.object(csv_reader, "native_parser", return_value=None):
            expected = outcome(path, reports, missing)
        with mock.patch.object(csv_reader, "native_parser", always_native):
            assert outcome(path, reports, missing) == expected


@given(st.floats(allow_nan=False, allow_infinity=False), st.integers(0, 40))
def test_floats_are_exact(number: float, digits: int) -> None:
    """Each to the bit, in the fewest digits and in many."""
    parser = native_parser(2, ",", ("",), csv_native.WORTH_COMPILING)
    assert parser is not None
    rows = parser.parse(f"{number!r},{number:.{digits}e}\n".encode(), 0, {"a": 0, "b": 1}, set(), None)
    assert rows is not None
    for name, text in (("a", repr(number)), ("b", f"{number:.{digits}e}")):
        if name not in rows.unsure:
            values = rows.columns[name]
            assert isinstance(values, np.ndarray)
            assert values.astype(np.float64).view(np.int64).tolist() == [np.float64(text).view(np.int64)]
        else:
            assert abs(float(text)) < 1e-307 or np.isinf(float(text))


def parsed(text: str, **options: Any) -> Any:
    parser = native_parser(2, ",", ("", "NA"), csv_native.WORTH_COMPILING)
    assert parser is not None
    return parser.parse(text.encode(), 0, {"a": 0, "b": 1}, set(options.get("as_text", ())), None)


@pytest.mark.parametrize(
    "text",
    [
        "1,2\n3\n",
        "1,2\n3,4,5\n",
        "1,2\n\n3,4\n",
        "1,2\n , \n",
        '1,a"b\n',
        '1,"a\nb"\n',
        "1,a\rb\n",
        '1,"a" \n',
    ],
)
def test_what_is_not_plain_is_left_to_the_other_reader(text: str) -> None:
    assert parsed(text) is None


def test_plain_rows_are_read_without_pandas() -> None:
    """Numbers, texts among them or in quotes, gaps, codes: nothing is unsure."""
    rows = parsed('1,x\r\n-2.5e3,"y, z"\nNA,\n')
    assert (rows.n_rows, rows.unsure) == (3, [])
    assert np.array_equal(rows.columns["a"], [1, -2500, np.nan], equal_nan=True)
    assert (rows.columns["b"].codes.tolist(), rows.columns["b"].levels) == ([0, 1, -1], ["x", "y, z"])
    rows = parsed("007,2020-01-31\n8,inf\n")
    assert rows.unsure == []
    assert [list(rows.columns[name].levels) for name in "ab"] == [["007", "8"], ["2020-01-31", "inf"]]
    assert parsed("1,inf\n").unsure == ["b"]
    assert parsed("1,inf\n", as_text="b").unsure == []


def test_many_different_texts() -> None:
    texts = [f"text {i % 7_001}" for i in range(20_000)]
    rows = parsed("".join(f"{i},{text}\n" for i, text in enumerate(texts)), as_text="b")
    column = rows.columns["b"]
    assert [column.levels[code] for code in column.codes] == texts
    assert len(column.levels) == 7_001
    assert rows.columns["a"].dtype == np.int64


@pytest.mark.parametrize(
    ("delimiter", "missing"), [(" ", ()), ("-", ()), ("e", ()), (",", ("-999",)), (",", ("1e3",))]
)
def test_files_that_pandas_reads_by_other_rules(delimiter: str, missing: tuple[str, ...]) -> None:
    assert native_parser(2, delimiter, missing, csv_native.WORTH_COMPILING) is None


def test_nothing_is_compiled_for_a_small_file(empty_cache: Path, tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text("a,b\n1,x\n")
    reader = CsvReader(path)
    assert [batch.n_rows for batch in reader.batches(("a", "b"), set())] == [1]
    assert not empty_cache.exists()


def test_without_a_compiler_pandas_reads(monkeypatch: pytest.MonkeyPatch) -> None:
    def load(name: str) -> None:
        raise NotCompiledError("there is no C++ compiler on this machine")

    monkeypatch.setattr(csv_native, "load_library", load)
    assert native_parser(2, ",", (), csv_native.WORTH_COMPILING) is None
