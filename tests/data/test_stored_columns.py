"""Rows that are taken from a table in a file."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from nnrun.data.files import stored_arrays
from nnrun.data.stored_columns import take_rows_of_array, take_rows_of_table
from nnrun.data.table import CategoryColumn, NumberColumn, Table, TextColumn
from nnrun.mapped_arrays import is_mapped

ROWS = np.array([7, 3, 3, 0, 99])


def mapped(path: Path, values: np.ndarray) -> np.ndarray:
    values.tofile(path)
    return np.memmap(path, values.dtype, "r", shape=values.shape)


@pytest.fixture
def table(tmp_path: Path) -> Table:
    rng = np.random.default_rng(0)
    return Table(
        (
            NumberColumn("a", mapped(tmp_path / "a", rng.normal(size=100).astype(np.float32))),
            NumberColumn("b", rng.normal(size=100)),
            CategoryColumn("c", mapped(tmp_path / "c", rng.integers(-1, 3, 100, np.int32)), ("x", "y", "z")),
            TextColumn("d", np.array([f"text {row}" for row in range(100)], object)),
        ),
        100,
    )


def assert_same(found: Table, table: Table) -> None:
    assert (len(found), found.names) == (len(ROWS), table.names)
    for own, column in zip(found.columns, table.take(ROWS).columns, strict=True):
        for name in ("values", "codes", "levels"):
            if hasattr(column, name):
                np.testing.assert_array_equal(getattr(own, name), getattr(column, name))


def test_many_rows_of_columns_in_a_file_are_put_into_a_file(
    table: Table, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stored_arrays, "STORED_BYTES", 1)
    found = take_rows_of_table(table, ROWS)
    assert_same(found, table)
    a, b, c, _ = found.columns
    assert isinstance(a, NumberColumn)
    assert isinstance(b, NumberColumn)
    assert isinstance(c, CategoryColumn)
    assert (is_mapped(a.values), is_mapped(b.values), is_mapped(c.codes)) == (True, False, True)
    assert_same(take_rows_of_table(found, np.arange(5)), table)


@pytest.mark.parametrize(
    "rows", [ROWS, np.arange(100) % 3 == 0, np.arange(-100, -1, 2), np.zeros(0, np.int64)]
)
def test_rows_of_an_array_in_a_file(
    rows: np.ndarray, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Many are put into another file, some at a time."""
    values = np.random.default_rng(0).normal(size=(100, 2, 3))
    array = mapped(tmp_path / "array", values)
    monkeypatch.setattr("nnrun.data.stored_columns._BLOCK_BYTES", 500)
    for least, in_file in ((1 << 28, False), (1, True)):
        monkeypatch.setattr(stored_arrays, "STORED_BYTES", least)
        found = take_rows_of_array(array, rows)
        np.testing.assert_array_equal(found, values[rows])
        assert is_mapped(found) == (in_file and len(found) > 0)
        assert not is_mapped(take_rows_of_array(values, rows))


def test_few_rows_stay_in_memory_and_so_do_those_that_no_file_takes(
    table: Table, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    few = take_rows_of_table(table, ROWS)
    monkeypatch.setattr(stored_arrays, "STORED_BYTES", 1)
    (tmp_path / "cache").touch()
    monkeypatch.setenv("NNRUN_CACHE_DIR", str(tmp_path / "cache"))
    without_file = take_rows_of_table(table, ROWS)
    for found in (few, without_file):
        assert_same(found, table)
        (a, *_) = found.columns
        assert isinstance(a, NumberColumn)
        assert not is_mapped(a.values)
