"""Rows as the network takes them: gathered by row number, for any set of replicas, and cut into batches.

Dense rows become (R, B, F) tensors. Sparse rows stay sparse: a batch is the list of its non-zero columns, and
the first dense layer multiplies it without ever making a row dense.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

import numpy as np
import numpy.typing as npt
import scipy.sparse
import torch
import torch.nn.functional as F
from torch import Tensor

RowNumbers = npt.NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class SparseBatch:
    """R x B sparse rows, as one matrix of R*B rows over R stacked weight matrices of F rows each.

    Attributes:
        replicas, rows, features: R, B, F.
        matrix: (R*B, R*F) in main memory; the columns of replica r are moved by r * F.
        columns: (nnz,) for each non-zero its column, on the device.
        row_starts: (R*B + 1,) where each row's non-zeros start, on the device.
        values: (nnz,) or None where all are 1, on the device.
    """

    replicas: int
    rows: int
    features: int
    matrix: scipy.sparse.csr_array
    columns: Tensor
    row_starts: Tensor
    values: Tensor | None

    @cached_property
    def by_column(self) -> ByColumn:
        """The same matrix column by column; without its empty columns, where most columns are empty."""
        m, device = self.matrix, self.columns.device
        if self.values is None:
            turned, values = m.tocsc(), None
        else:
            places = np.arange(m.nnz, dtype=np.int32)
            turned = scipy.sparse.csr_array((places, m.indices, m.indptr), shape=m.shape).tocsc()
            values = self.values[torch.from_numpy(turned.data).to(device)]
        columns, starts = None, turned.indptr
        if m.nnz < m.shape[1]:
            held = np.flatnonzero(starts[1:] > starts[:-1])
            starts = np.append(starts[held], starts[-1:])
            columns = torch.from_numpy(np.stack(np.divmod(held, self.features))).to(device)
        return ByColumn(
            columns, torch.from_numpy(turned.indices).to(device), torch.from_numpy(starts).to(device), values
        )


@dataclass(frozen=True, eq=False)
class ByColumn:
    """The transpose of a `SparseBatch`.

    Attributes:
        columns: (2, C) replica and column of each column that holds anything; None where all R*F are here.
        rows: (nnz,) the row of each non-zero.
        starts: (C + 1,) or (R*F + 1,), where each column's non-zeros start.
        values: (nnz,) or None where all are 1.
    """

    columns: Tensor | None
    rows: Tensor
    starts: Tensor
    values: Tensor | None


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
        matrix: (N, F); int8 where all stored values are 1, else float32.
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
        """The rows, batch by batch. `places` do not matter: the rows are shared.

        Of several batches, which are there to train on, the next and its transpose are prepared while the
        present one is in use.
        """
        parts = [rows_GN[:, i : i + batch_size] for i in range(0, rows_GN.shape[1], batch_size)]
        if len(parts) == 1:
            yield self._batch(parts[0])
            return
        with ThreadPoolExecutor(max_workers=1) as pool:
            coming = pool.submit(self._turned_batch, parts[0])
            for part in parts[1:]:
                batch, coming = coming.result(), pool.submit(self._turned_batch, part)
                yield batch
            yield coming.result()

    def _turned_batch(self, rows_GB: RowNumbers) -> SparseBatch:
        batch = self._batch(rows_GB)
        _ = batch.by_column
        return batch

    def _batch(self, rows_GB: RowNumbers) -> SparseBatch:
        groups, size = rows_GB.shape
        batch = self.matrix[rows_GB.reshape(-1)]
        if groups > 1:  # replica g multiplies the g-th of the stacked weight matrices
            starts = batch.indptr[::size]
            first_columns = np.arange(groups, dtype=batch.indices.dtype) * self.features
            indices = batch.indices + np.repeat(first_columns, np.diff(starts))
            shape = (groups * size, groups * self.features)
            batch = scipy.sparse.csr_array((batch.data, indices, batch.indptr), shape=shape)
        return SparseBatch(
            replicas=groups,
            rows=size,
            features=self.features,
            matrix=batch,
            columns=torch.from_numpy(batch.indices).to(self.device),
            row_starts=torch.from_numpy(batch.indptr).to(self.device),
            values=None if self.all_ones else torch.from_numpy(batch.data).to(self.device),
        )


class _SparseTimesDense(torch.autograd.Function):
    """(R*B, R*F) sparse times (R*F, U) dense. Both directions are sums of picked rows: `embedding_bag`.

    The gradient of the weights is the transposed matrix times the gradient of the product: the same operation
    over the transposed rows, far faster than `embedding_bag`'s own backward. Where a batch meets few of the
    columns, it is a sparse tensor that holds their rows alone.
    """

    @staticmethod
    def forward(ctx, kernel_RFU: Tensor, batch: SparseBatch) -> Tensor:  # type: ignore[no-untyped-def]
        ctx.batch, ctx.shape = batch, kernel_RFU.shape
        units = kernel_RFU.shape[2]
        product = _sum_picked_rows(
            kernel_RFU.reshape(-1, units), batch.columns, batch.row_starts, batch.values
        )
        return product.view(batch.replicas, batch.rows, units)

    @staticmethod
    def backward(ctx, grad_RBU: Tensor):  # type: ignore[no-untyped-def]
        turned: ByColumn = ctx.batch.by_column
        grad = _sum_picked_rows(
            grad_RBU.reshape(-1, grad_RBU.shape[2]), turned.rows, turned.starts, turned.values
        )
        if turned.columns is None:
            return grad.view(ctx.shape), None
        return (
            torch.sparse_coo_tensor(
                turned.columns, grad, ctx.shape, is_coalesced=True, check_invariants=False
            ),
            None,
        )


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
