"""Large tables: what is there beside the rows themselves does not follow their number."""

from __future__ import annotations

import tracemalloc
from pathlib import Path

import numpy as np
import pytest

from nnrun.data import DenseRows
from nnrun.data.preprocess import column_transformer
from nnrun.data.table import NumberColumn, Table
from nnrun.errors import DataError
from nnrun.spec import schema
from tests.support.column_tables import dataset
from tests.support.preprocessed import fit_preprocessing

ROWS, COLUMNS = 100_000, 20
STEPS = schema.Preprocessing.model_validate({"inputs": [{"impute": {"strategy": "mean"}}, "standardize"]})


def large(folder: Path) -> Table:
    """Columns as the cache gives them: float32 in files, some values missing."""
    rng = np.random.default_rng(0)
    found = []
    for number in range(COLUMNS):
        values = rng.normal(3, 2, ROWS).astype(np.float32)
        values[number::997] = np.nan
        path = folder / f"{number}.float32"
        values.tofile(path)
        found.append(NumberColumn(f"x{number}", np.memmap(path, np.float32, "r", shape=(ROWS,))))
    return Table(tuple(found), ROWS)


def test_float64_is_used_for_a_block_of_rows_only(tmp_path: Path) -> None:
    table = large(tmp_path)
    fitted = fit_preprocessing(STEPS, dataset(table), np.arange(0, ROWS, 2), n_outputs=1)
    tracemalloc.start()
    rows = fitted.input.transform(table)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert isinstance(rows, DenseRows)
    assert peak < 2 * rows.nbytes  # copies of all columns took five times as much
    expected = np.stack([column.values for column in table.columns], axis=1).astype(np.float64)  # type: ignore[union-attr]
    known = expected[::2]
    # The mean is imputed, which the deviation knows.
    filled = np.where(np.isnan(known), np.nanmean(known, axis=0), known)
    expected = np.where(np.isnan(expected), np.nanmean(known, axis=0), expected)
    np.testing.assert_allclose(rows.x_NF, (expected - filled.mean(0)) / filled.std(0), rtol=1e-5, atol=1e-5)


def test_a_block_is_as_the_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    table = large(tmp_path).take(range(500))
    fitted = fit_preprocessing(STEPS, dataset(table), None, n_outputs=1)
    whole = fitted.input.transform(table)
    monkeypatch.setattr(column_transformer, "_BLOCK_VALUES", 7 * COLUMNS)
    blocks = fitted.input.transform(table)
    assert isinstance(whole, DenseRows)
    assert isinstance(blocks, DenseRows)
    assert np.array_equal(whole.x_NF, blocks.x_NF)


def test_a_row_of_a_later_block_is_named_by_its_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(column_transformer, "_BLOCK_VALUES", 7)
    good = Table((NumberColumn("x", np.arange(50.0)),), 50)
    bad = np.arange(50.0)
    bad[40] = np.nan
    fitted = fit_preprocessing(
        schema.Preprocessing.model_validate({"inputs": "standardize"}), dataset(good), None, n_outputs=1
    )
    with pytest.raises(DataError, match="Column 'x', row 40: has no value"):
        fitted.input.transform(Table((NumberColumn("x", bad),), 50))
