"""Small tables for tests, and a shorter way to fit them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from nnrun.data import Dataset, DenseRows, FittedPreprocessing, Samples
from nnrun.data.table import CategoryColumn, Column, NumberColumn, Table, TextColumn
from nnrun.spec import schema
from tests.support.preprocessed import fit_preprocessing


def numbers(name: str, values: Sequence[float | None]) -> NumberColumn:
    return NumberColumn(name, np.array([np.nan if v is None else v for v in values], np.float64))


def categories(
    name: str, values: Sequence[str | None], levels: Sequence[str] | None = None
) -> CategoryColumn:
    known = sorted({v for v in values if v is not None} if levels is None else levels)
    codes = [-1 if v is None else known.index(v) for v in values]
    return CategoryColumn(name, np.array(codes, np.int32), tuple(known))


def texts(name: str, values: Sequence[str | None]) -> TextColumn:
    held = np.empty(len(values), object)
    held[:] = values
    return TextColumn(name, held)


def table(*columns: Column) -> Table:
    return Table(columns, len(_rows(columns[0])))


def _rows(column: Column) -> Any:
    return column.codes if isinstance(column, CategoryColumn) else column.values


def dataset(inputs: Any, targets: Any = None, name: str = "mine") -> Dataset:
    y = np.zeros(len(inputs)) if targets is None else np.asarray(targets)
    return Dataset(name, Samples(inputs, y), None, ())


def fit(
    inputs: Table,
    steps: Any = (),
    rows: Any = None,
    targets: Any = "none",
    name: str = "mine",
    y: Sequence[float] | None = None,
) -> FittedPreprocessing:
    steps = list(steps) if isinstance(steps, tuple) else steps
    spec = schema.Preprocessing.model_validate({"inputs": steps, "targets": targets})
    return fit_preprocessing(spec, dataset(inputs, y, name), rows, n_outputs=1)


def rows_of(fitted: FittedPreprocessing, inputs: Table) -> np.ndarray:
    """All rows as an array, whether they are kept dense or sparse."""
    rows = fitted.input.transform(inputs)
    return rows.x_NF if isinstance(rows, DenseRows) else rows.to_dense()
