"""Rows of words as the C++ steps read them: int32 indices of the rows of an embedding's table."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from nnrun.errors import NoRowOfTableError
from nnrun.lazy_torch import torch
from nnrun.replica_rows import RowIndices

if TYPE_CHECKING:
    from torch import Tensor

_ROWS_AT_ONCE = 4096


class WordRows:
    """The rows of an input whose numbers are word indices.

    Rows that all lie in memory as float32 are read once, the others as often as they are used.

    Args:
        rows: of the problem's input.
    """

    def __init__(self, rows: Any) -> None:
        self._rows = rows
        self._all: _Indices | None = None

    def of(
        self, rows_GN: RowIndices, data_index: Sequence[int], inputs: Any, table_rows: int
    ) -> tuple[Tensor, RowIndices]:
        """Indices, (n, T), and which of these n rows are those of each replica, (G, N).

        Args:
            rows_GN: rows of a segment.
            data_index: for each replica the index of its data.
            inputs: what holds the segment's rows.
            table_rows: of the embedding.

        Raises:
            NoRowOfTableError: one of these rows has an index that is no row of the table.
        """
        if self._rows.streamed or self._rows.values is not None:
            gathered = next(iter(inputs.batches(data_index, rows_GN, rows_GN.shape[1])))
            found, places = _read(gathered, table_rows), np.arange(rows_GN.size).reshape(rows_GN.shape)
        else:
            if self._all is None:
                self._all = _read(self._rows.x_SNF, table_rows)
            found, places = self._all, inputs.rows_in_matrix(data_index, rows_GN)
        if found.wrong is not None and found.wrong[places].any():
            raise NoRowOfTableError(table_rows)
        return found.index, places


@dataclass(frozen=True, eq=False)
class _Indices:
    """Word indices of n rows.

    Attributes:
        index: (n, T) int32; 0 in place of what is no row of the table.
        wrong: (n,) booleans, which rows have such an index; None where none has.
    """

    index: Tensor
    wrong: np.ndarray[Any, np.dtype[np.bool_]] | None


def _read(x: Tensor, table_rows: int) -> _Indices:
    """Numbers (..., T), rounded, of rows of T places."""
    numbers = x.reshape(x.shape[0] * x.shape[1], -1)
    index = torch.empty(numbers.shape, dtype=torch.int32)
    wrong = torch.zeros(len(numbers), dtype=torch.bool)
    for first in range(0, len(numbers), _ROWS_AT_ONCE):
        part = slice(first, first + _ROWS_AT_ONCE)
        rounded = numbers[part].round()
        fits = (rounded >= 0) & (rounded < table_rows)
        index[part] = torch.where(fits, rounded, 0)
        wrong[part] = ~fits.all(1)
    return _Indices(index, wrong.numpy() if bool(wrong.any()) else None)
