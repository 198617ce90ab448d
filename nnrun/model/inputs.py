"""Rows as the network takes them: gathered by row number, for any set of replicas, and cut into batches.

Dense rows become (R, B, F) tensors. Sparse rows stay sparse: a batch is the list of its non-zero columns, and
the first dense layer multiplies it without ever making a row dense.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import scipy.sparse
import torch
import torch.nn.functional as F
from torch import Tensor

RowNumbers = npt.NDArray[np.int64]


@dataclass(frozen=True)
class SparseBatch:
    """R x B sparse rows, as one matrix of R*B rows over R stacked weight matrices of F rows each.

    Attributes:
        columns: (nnz,) for each non-zero, `replica * F + column`.
        row_starts: (R*B + 1,) where each row's non-zeros start.
        values: (nnz,) or None where all are 1.
        rows_by_column: (nnz,) the row of each non-zero, column by column: the transposed matrix.
        column_starts: (R*F + 1,) where each column's non-zeros start in `rows_by_column`.
        by_column: (nnz,) the place among the rows' non-zeros of each of the columns' non-zeros.
    """

    replicas: int
    rows: int
    features: int
    columns: Tensor
    row_starts: Tensor
    values: Tensor | None
    rows_by_column: Tensor
    column_starts: Tensor
    by_column: Tensor


Batch = Tensor | SparseBatch


class Inputs(Protocol):
    """Something that gives the rows of a data set as network inputs."""

    @property
    def features(self) -> int:
        """F, the width of a row."""
        ...

    @property
    def dense(self) -> bool:
        """Whether batches are tensors."""
        ...

    @property
    def numbers_per_row(self) -> int:
        """How many numbers a row takes in memory, on average."""
        ...

    def batches(self, places: Sequence[int], rows_GN: RowNumbers, batch_size: int) -> Iterator[Batch]:
        """Rows `rows_GN[g]` of the replica at `places[g]`, in batches (the last may be shorter)."""
        ...


@dataclass(frozen=True)
class DenseInputs:
    """Dense rows on the device. `x_SNF` has one matrix for all replicas (S = 1) or one for each (S = R)."""

    x_SNF: Tensor

    @property
    def features(self) -> int:
        """F, the width of a row."""
        return int(self.x_SNF.shape[2])

    @property
    def dense(self) -> bool:
        """True."""
        return True

    @property
    def numbers_per_row(self) -> int:
        """F."""
        return self.features

    def batches(self, places: Sequence[int], rows_GN: RowNumbers, batch_size: int) -> Iterator[Tensor]:
        """(G, B, F) tensors: all rows are gathered at once, and the batches are views of them."""
        yield from torch.split(take_rows(self.x_SNF, places, rows_GN), batch_size, dim=1)


def take_rows(values_SN: Tensor, places: Sequence[int], rows_GN: RowNumbers) -> Tensor:
    """Gather rows from values that all replicas share (S = 1) or that each has for itself (S = R).

    Args:
        values_SN: (S, N, ...) values.
        places: positions of the replicas along S; ignored where S = 1.
        rows_GN: (G, n) row numbers, one line for each of `places`.

    Returns:
        (G, n, ...) values.
    """
    shared, rows = values_SN.shape[:2]
    flat = rows_GN if shared == 1 else rows_GN + np.asarray(places, dtype=np.int64)[:, None] * rows
    index = torch.from_numpy(flat.reshape(-1)).to(values_SN.device, non_blocking=True)
    picked = values_SN.reshape(shared * rows, *values_SN.shape[2:]).index_select(0, index)
    return picked.view(*rows_GN.shape, *values_SN.shape[2:])


@dataclass(frozen=True)
class SparseInputs:
    """Sparse rows that all replicas share: CSR in main memory, batches sent to `device` one by one.

    Sending a batch's column numbers costs far less than keeping or moving dense rows.

    Attributes:
        matrix: (N, F) float32.
        all_ones: whether every stored value is 1, so that values need not be multiplied.
        device: where batches go.
    """

    matrix: scipy.sparse.csr_array
    all_ones: bool
    device: torch.device

    @property
    def features(self) -> int:
        """F, the width of a row."""
        return int(self.matrix.shape[1])

    @property
    def dense(self) -> bool:
        """False."""
        return False

    @property
    def numbers_per_row(self) -> int:
        """The non-zeros of a row, on average."""
        return int(self.matrix.nnz // max(1, self.matrix.shape[0]) + 1)

    def batches(self, places: Sequence[int], rows_GN: RowNumbers, batch_size: int) -> Iterator[SparseBatch]:
        """The rows and their transpose, batch by batch. `places` do not matter: the rows are shared."""
        for first in range(0, rows_GN.shape[1], batch_size):
            yield self._batch(rows_GN[:, first : first + batch_size])

    def _batch(self, rows_GB: RowNumbers) -> SparseBatch:
        groups, size = rows_GB.shape
        batch = self.matrix[rows_GB.reshape(-1)]
        if groups > 1:  # replica g multiplies the g-th of the stacked weight matrices
            starts = batch.indptr[::size]
            shift = np.repeat(np.arange(groups, dtype=np.int64) * self.features, np.diff(starts))
            shape = (groups * size, groups * self.features)
            batch = scipy.sparse.csr_array((batch.data, batch.indices + shift, batch.indptr), shape=shape)
        places = np.arange(batch.nnz, dtype=np.int32)
        by_column = scipy.sparse.csr_array((places, batch.indices, batch.indptr), shape=batch.shape).tocsc()
        return SparseBatch(
            replicas=groups,
            rows=size,
            features=self.features,
            columns=self._send(batch.indices),
            row_starts=self._send(batch.indptr),
            values=None if self.all_ones else torch.from_numpy(batch.data).to(self.device),
            rows_by_column=self._send(by_column.indices),
            column_starts=self._send(by_column.indptr),
            by_column=self._send(by_column.data),
        )

    def _send(self, index: npt.NDArray[Any]) -> Tensor:
        return torch.from_numpy(index.astype(np.int64, copy=False)).to(self.device)


class _SparseTimesDense(torch.autograd.Function):
    """(R*B, R*F) sparse times (R*F, U) dense. Both directions are sums of picked rows: `embedding_bag`.

    The gradient of the weights is the transposed matrix times the gradient of the product: the same operation
    over the transposed rows, far faster than `embedding_bag`'s own backward.
    """

    @staticmethod
    def forward(ctx, kernel_RFU: Tensor, batch: SparseBatch) -> Tensor:  # type: ignore[no-untyped-def]
        ctx.batch = batch
        units = kernel_RFU.shape[2]
        product = _sum_picked_rows(
            kernel_RFU.reshape(-1, units), batch.columns, batch.row_starts, batch.values
        )
        return product.view(batch.replicas, batch.rows, units)

    @staticmethod
    def backward(ctx, grad_RBU: Tensor):  # type: ignore[no-untyped-def]
        batch = ctx.batch
        units = grad_RBU.shape[2]
        values = None if batch.values is None else batch.values[batch.by_column]
        grad = _sum_picked_rows(
            grad_RBU.reshape(-1, units), batch.rows_by_column, batch.column_starts, values
        )
        return grad.view(batch.replicas, batch.features, units), None


def _sum_picked_rows(rows: Tensor, picks: Tensor, starts: Tensor, values: Tensor | None) -> Tensor:
    return F.embedding_bag(
        picks, rows.contiguous(), starts, mode="sum", include_last_offset=True, per_sample_weights=values
    )


def multiply(batch: Batch, kernel_RFU: Tensor) -> Tensor:
    """Inputs times kernel, replica by replica: (R, B, U)."""
    if isinstance(batch, SparseBatch):
        product: Tensor = _SparseTimesDense.apply(kernel_RFU, batch)  # type: ignore[no-untyped-call]
        return product
    return torch.bmm(batch, kernel_RFU)
