"""Rows of a large table or array whose numbers lie in a file: they are put into a file, too."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import IO, Any

import numpy as np
import numpy.typing as npt

from nnrun.data.files import stored_arrays
from nnrun.data.files.stored_arrays import file_without_name, stored_rows
from nnrun.data.table import CategoryColumn, Column, NumberColumn, Table
from nnrun.mapped_arrays import is_mapped, leave_memory

_ALIGNMENT = 64
_BLOCK_BYTES = 1 << 24


def take_rows_of_array(array: npt.NDArray[Any], rows: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """The rows of an array at these positions; many that lie in a file come to lie in another, as below."""
    if not is_mapped(array):
        return np.asarray(array[rows])
    if rows.dtype == bool:
        rows = np.flatnonzero(rows)
    row_bytes = max(1, array.nbytes // max(1, len(array)))

    def parts() -> Iterator[npt.NDArray[Any]]:
        at_once = max(1, _BLOCK_BYTES // row_bytes)
        for first in range(0, len(rows), at_once):
            yield array[rows[first : first + at_once]]
            leave_memory(array)

    if len(rows) * row_bytes >= stored_arrays.STORED_BYTES:
        try:
            return stored_rows(parts(), (len(rows), *array.shape[1:]), array.dtype)
        except OSError:
            pass
    taken: npt.NDArray[Any] = array[rows]
    leave_memory(array)
    return taken


def take_rows_of_table(table: Table, rows: npt.NDArray[np.int64]) -> Table:
    """`Table.take`, but many rows of a table that lies in a file come to lie in another, which has no name.

    Where it cannot be written, they stay in memory.
    """
    in_file = [column for column in table.columns if _is_in_file(column)]
    taken = len(rows) * sum(_values(column).itemsize for column in in_file)
    if taken < stored_arrays.STORED_BYTES:
        return table.take(rows)
    try:
        file = file_without_name()
    except OSError:
        return table.take(rows)
    with file:
        columns, places = [], []
        for column in table.columns:
            taken_column = column.take(rows)
            at = _written(file, _values(taken_column)) if _is_in_file(column) else None
            columns.append(taken_column if at is None else _with(taken_column, _values(taken_column)[:0]))
            places.append(at)
        file.flush()
        # Mapped once: a map for each column would take as many file handles.
        whole = np.memmap(file, np.uint8, "r") if any(at is not None for at in places) else None
    for index, (column, at) in enumerate(zip(columns, places, strict=True)):
        if at is not None and whole is not None:
            kind = _values(column).dtype
            columns[index] = _with(column, whole[at : at + len(rows) * kind.itemsize].view(kind))
    return Table(tuple(columns), len(rows))


def _written(file: IO[bytes], values: npt.NDArray[Any]) -> int | None:
    """Write at the end, and give where; None where the disk is full: as long as there is memory, no harm."""
    try:
        at = file.seek(0, 2)
        at = file.seek(at + -at % _ALIGNMENT)
        file.write(np.ascontiguousarray(values).view(np.uint8).data)
        return at
    except OSError:
        return None


def _with(column: Column, values: npt.NDArray[Any]) -> Column:
    if isinstance(column, CategoryColumn):
        return replace(column, codes=values)
    assert isinstance(column, NumberColumn), "no other column lies in a file"
    return replace(column, values=values)


def _is_in_file(column: Column) -> bool:
    return isinstance(column, NumberColumn | CategoryColumn) and is_mapped(_values(column))


def _values(column: Column) -> npt.NDArray[Any]:
    return column.codes if isinstance(column, CategoryColumn) else column.values
