"""The forms in which inputs reach a network: dense rows, bytes that become dense rows, and sparse rows.

Letters in names: N rows, F features.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from nnrun.data.row_places import RowPlaces
from nnrun.errors import DataError
from nnrun.spec.wording import quoted


def gather_ragged(
    indptr: npt.NDArray[np.int64], arrays: Sequence[npt.NDArray[Any]], rows: npt.NDArray[Any]
) -> tuple[npt.NDArray[np.int64], list[npt.NDArray[Any]]]:
    """Some rows of a ragged array, in the order given: its new indptr and the gathered arrays.

    `rows` are positions (negative ones count from the end) or a mask. Joining slices beats an index for every
    element: rows of words are long.
    """
    if rows.dtype == bool:
        rows = np.flatnonzero(rows)
    elif rows.size == 0:
        rows = rows.astype(np.int64)
    starts, ends = indptr[:-1][rows], indptr[1:][rows]
    gathered = np.zeros(len(rows) + 1, np.int64)
    np.cumsum(ends - starts, out=gathered[1:])
    bounds = list(zip(starts.tolist(), ends.tolist(), strict=True))
    # The empty head gives the result its type where no row is asked for.
    return gathered, [np.concatenate([a[:0], *(a[i:j] for i, j in bounds)]) for a in arrays]


def kept_bounds(indptr: npt.NDArray[Any], kept: npt.NDArray[np.bool_]) -> npt.NDArray[np.int64]:
    """Where each row of a ragged array begins once only the entries in the mask `kept` are left."""
    before = np.zeros(len(kept) + 1, np.int64)
    np.cumsum(kept, out=before[1:])
    bounds: npt.NDArray[np.int64] = before[indptr]
    return bounds


@dataclass(frozen=True, eq=False)
class DenseRows:
    """Rows of numbers: (N, F) float32, C-contiguous; (N, ...) where rows have more axes."""

    x_NF: npt.NDArray[np.float32]

    def __len__(self) -> int:
        return len(self.x_NF)

    @property
    def n_features(self) -> int:
        """F, the numbers of a row."""
        return math.prod(self.x_NF.shape[1:])

    @property
    def nbytes(self) -> int:
        """Bytes of memory."""
        return self.x_NF.nbytes

    def to_dense(self) -> npt.NDArray[np.float32]:
        """The rows."""
        return self.x_NF

    def take(self, rows: npt.ArrayLike) -> DenseRows:
        """The rows at these positions, in this order."""
        return DenseRows(np.ascontiguousarray(self.x_NF[np.asarray(rows)]))

    def with_features(self, place: slice, others: DenseRows, at: npt.NDArray[Any]) -> DenseRows:
        """The same rows, but row i has the features at `place` of row `at[i]` of the others."""
        x_NF = self.x_NF.copy()
        x_NF[..., place] = others.x_NF[..., place][at]
        return DenseRows(x_NF)


@dataclass(frozen=True, eq=False)
class ByteRows:
    """Rows of bytes, such as the pixels of images, which take a quarter of the memory of float32.

    Attributes:
        x: (N, ..., C) uint8.
        values: (C, 256) float32, what each byte of each column becomes for the network; C is 1 where all
            columns are alike.
    """

    x: npt.NDArray[np.uint8]
    values: npt.NDArray[np.float32]

    def __len__(self) -> int:
        return len(self.x)

    @property
    def n_features(self) -> int:
        """F, the numbers of a row."""
        return math.prod(self.x.shape[1:])

    @property
    def nbytes(self) -> int:
        """Bytes of memory."""
        return self.x.nbytes + self.values.nbytes

    def to_dense(self) -> npt.NDArray[np.float32]:
        """(N, ..., C) float32, for those who need every number."""
        columns = np.arange(len(self.values))
        return self.values[columns, self.x]

    def take(self, rows: npt.ArrayLike) -> ByteRows:
        """The rows at these positions, in this order."""
        return ByteRows(np.ascontiguousarray(self.x[np.asarray(rows)]), self.values)


@dataclass(frozen=True, eq=False)
class SparseRows:
    """Rows that are mostly zero, in compressed form (CSR).

    Attributes:
        indptr: (N + 1,) int64, where each row begins.
        indices: (nnz,) int32, the columns of a row: ascending, none twice.
        values: (nnz,) float32, or None where all are 1.
        n_features: F.
    """

    indptr: npt.NDArray[np.int64]
    indices: npt.NDArray[np.int32]
    values: npt.NDArray[np.float32] | None
    n_features: int

    def __len__(self) -> int:
        return len(self.indptr) - 1

    @property
    def nnz(self) -> int:
        """Entries that are kept: those that are not zero."""
        return len(self.indices)

    @property
    def nbytes(self) -> int:
        """Bytes of memory."""
        return self.indptr.nbytes + self.indices.nbytes + (0 if self.values is None else self.values.nbytes)

    @property
    def dense_nbytes(self) -> int:
        """Bytes that the same rows would take as DenseRows."""
        return len(self) * self.n_features * 4

    def take(self, rows: npt.ArrayLike) -> SparseRows:
        """The rows at these positions, in this order."""
        arrays: list[npt.NDArray[Any]] = [self.indices]
        if self.values is not None:
            arrays.append(self.values)
        indptr, gathered = gather_ragged(self.indptr, arrays, np.asarray(rows))
        return SparseRows(indptr, gathered[0], gathered[1] if len(gathered) > 1 else None, self.n_features)

    def with_features(self, place: slice, others: SparseRows, at: npt.NDArray[Any]) -> SparseRows:
        """The same rows, but row i has the features at `place` of row `at[i]` of the others."""
        from scipy.sparse import hstack

        mine, theirs = self.matrix(), others.matrix()
        parts = (mine[:, : place.start], theirs[:, place][at], mine[:, place.stop :])
        return SparseRows.of_matrix(hstack(parts, format="csr"))

    @classmethod
    def of_matrix(cls, matrix: Any) -> SparseRows:
        """SciPy's CSR matrix, whose columns ascend in each row, as rows."""
        values = matrix.data.astype(np.float32, copy=False)
        return cls(
            matrix.indptr.astype(np.int64),
            matrix.indices.astype(np.int32),
            None if (values == 1).all() else values,
            int(matrix.shape[1]),
        )

    def to_dense(self, rows: npt.ArrayLike | None = None) -> npt.NDArray[np.float32]:
        """All rows, or those at these positions, as an array (N, F)."""
        chosen = self if rows is None else self.take(rows)
        x_NF: npt.NDArray[np.float32] = chosen.matrix().toarray()
        return x_NF

    def matrix(self) -> Any:
        """The same rows as SciPy's CSR matrix of float32."""
        from scipy.sparse import csr_array

        values = np.ones(self.nnz, np.float32) if self.values is None else self.values
        return csr_array((values, self.indices, self.indptr), shape=(len(self), self.n_features))


class RowError(DataError):
    """A column's value that a step cannot take, in a row counted from 0."""

    def __init__(self, column: str, row: int, reason: str) -> None:
        super().__init__(f"Column {quoted(column)}, row {row}: {reason}.")
        self.column, self.row, self.reason = column, row, reason


@contextmanager
def rows_by_place(places: RowPlaces | None) -> Iterator[None]:
    """What cannot be taken is told with its line of the file, where there is a file."""
    try:
        yield
    except RowError as error:
        if places is None:
            raise
        place = places.text_of_file(error.row)
        raise DataError(f"Column {quoted(error.column)}, {place}: {error.reason}.") from None
