"""Rows as the network takes them: gathered by row number, for any set of replicas, and cut into batches.

Dense rows become (R, B, F) tensors, (R, B, ...) where a row has more axes. Sparse rows stay sparse: a batch
is the list of its non-zero columns, and the first dense layer multiplies it without ever making a row dense.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import pairwise
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import numpy.typing as npt

from nnrun.lazy_torch import AutogradFunction, F, torch
from nnrun.model.kernels.convolution import ConvolvedImages
from nnrun.model.kernels.embedding import EmbeddedWords
from nnrun.replica_rows import RowIndices, rows_among_all, take_rows

if TYPE_CHECKING:
    from scipy.sparse import csr_array
    from torch import Tensor

# Batches that are prepared in one go: enough that Python's part in it is small, few enough for the caches.
_STEPS_AHEAD = 6


@dataclass(frozen=True, eq=False)
class SparseBatch:
    """R x B sparse rows, as one matrix of R*B rows over R stacked weight matrices of F rows each.

    Attributes:
        replicas, rows, features: R, B, F.
        columns: (nnz,) for each non-zero its column; the columns of replica r are offset by r * F.
        row_starts: (R*B + 1,) where each row's non-zeros start.
        values: (nnz,) or None where all are 1.
        prepared: the transpose, where it is available.
    """

    replicas: int
    rows: int
    features: int
    columns: Tensor
    row_starts: Tensor
    values: Tensor | None
    prepared: ByColumn | None = None

    def with_values(self, values: Tensor) -> SparseBatch:
        """The same non-zeros with other values, (nnz,)."""
        return replace(self, values=values, prepared=None)

    def repeated(self, times: int) -> SparseBatch:
        """The rows of each replica so many times, as those of more replicas: replica r's at r * times."""
        lengths = self.row_starts.diff().view(self.replicas, 1, self.rows).expand(-1, times, -1)
        starts = torch.zeros(lengths.numel() + 1, dtype=self.row_starts.dtype, device=self.columns.device)
        starts[1:] = lengths.flatten().cumsum(0)
        index: list[Tensor] = []
        bounds = self.row_starts[:: self.rows].tolist()
        most = self.replicas * times * self.features
        columns = self.columns if most <= torch.iinfo(self.columns.dtype).max else self.columns.long()
        shifted = []
        for replica, (begin, end) in enumerate(pairwise(bounds)):
            own = columns[begin:end] - replica * self.features
            first = replica * times
            shifted += [own + (first + repeat) * self.features for repeat in range(times)]
            index += [torch.arange(begin, end, device=columns.device)] * times
        values = None if self.values is None else self.values[torch.cat(index)]
        return SparseBatch(
            self.replicas * times, self.rows, self.features, torch.cat(shifted), starts, values
        )

    def to_dense(self) -> Tensor:
        """(R, B, F) float32, for a layer that needs every number."""
        row = torch.repeat_interleave(
            torch.arange(len(self.row_starts) - 1, device=self.columns.device), self.row_starts.diff()
        )
        place = (row - row // self.rows) * self.features + self.columns  # columns are offset by r * F already
        x = torch.zeros(self.replicas * self.rows * self.features, device=self.columns.device)
        x[place] = 1.0 if self.values is None else self.values.to(torch.float32)
        return x.view(self.replicas, self.rows, self.features)

    @cached_property
    def by_column(self) -> ByColumn:
        """The same matrix column by column."""
        if self.prepared is not None:
            return self.prepared
        from scipy.sparse import csr_array

        columns, starts = self.columns.cpu().numpy(), self.row_starts.cpu().numpy()
        places = np.arange(len(columns), dtype=np.int32)
        shape = (self.replicas * self.rows, self.replicas * self.features)
        turned = csr_array((places, columns, starts), shape=shape).tocsc()
        device = self.columns.device
        values = self.values
        if values is not None:
            values = values[torch.from_numpy(turned.data).to(device)]
        return by_column(turned.indices, turned.indptr, values, self.features, device)


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


def by_column(
    rows: npt.NDArray[Any],
    starts: npt.NDArray[Any],
    values: Tensor | None,
    features: int,
    device: torch.device,
) -> ByColumn:
    """A transpose on the device; without its empty columns, where most columns are empty."""
    columns = None
    if len(rows) < len(starts) - 1:
        held = np.flatnonzero(starts[1:] > starts[:-1])
        starts = np.append(starts[held], starts[-1:])
        columns = torch.from_numpy(np.stack(np.divmod(held, features))).to(device)
    return ByColumn(columns, torch.from_numpy(rows).to(device), torch.from_numpy(starts).to(device), values)


Batch: TypeAlias = "Tensor | SparseBatch | EmbeddedWords | ConvolvedImages"


def dense(batch: Batch) -> Tensor:
    """The same numbers as a tensor."""
    return batch if isinstance(batch, torch.Tensor) else batch.to_dense()


def replicas_of(batch: Batch) -> int:
    """R."""
    return batch.replicas if isinstance(batch, SparseBatch | ConvolvedImages) else len(dense(batch))


@dataclass(frozen=True)
class DenseInputs:
    """Dense rows on the device. `x_SNF` has the rows of all replicas (S = 1) or of each (S = R).

    A row is (F,), or has more axes: (height, width, channels). Rows of bytes (uint8) become float32 batch by
    batch.

    Attributes:
        x_SNF: float32, or uint8.
        values: of bytes, (V, C, 256) float32: what each byte along the last axis becomes, for all replicas
            (V = 1) or for each (V = R); C is 1 where all columns are alike. None for float32.
    """

    x_SNF: Tensor
    values: Tensor | None = None

    @property
    def features(self) -> int:
        """F, the numbers of a row."""
        return math.prod(self.x_SNF.shape[2:])

    @property
    def dense(self) -> bool:
        """True."""
        return True

    @property
    def elements_per_row(self) -> int:
        """F."""
        return self.features

    @property
    def bytes_per_network(self) -> int:
        """What the rows take in memory, of one network where each has its own."""
        return self.x_SNF[0].nbytes

    @property
    def streamed(self) -> bool:
        """False."""
        return False

    def rows_in_matrix(self, data_index: Sequence[int], rows_GN: RowIndices) -> RowIndices:
        """Where the rows `rows_GN[g]` of the replica at `data_index[g]` stand among all rows, (S*N, F)."""
        return rows_among_all(data_index, rows_GN, *self.x_SNF.shape[:2])

    def values_of(self, data_index: Sequence[int]) -> Tensor:
        """`values` of the replicas at `data_index`: (1, C, 256) where they share them, else (G, C, 256)."""
        assert self.values is not None
        return self.values if len(self.values) == 1 else self.values[list(data_index)]

    def batches(self, data_index: Sequence[int], rows_GN: RowIndices, batch_size: int) -> Iterator[Tensor]:
        """(G, B, ...) tensors: all rows are gathered at once, and the batches are views of them."""
        for batch in torch.split(take_rows(self.x_SNF, data_index, rows_GN), batch_size, dim=1):
            yield batch if self.values is None else _looked_up(batch, self.values_of(data_index))


def _looked_up(bytes_GBF: Tensor, own: Tensor) -> Tensor:
    """(G, B, ..., C) float32 of bytes: byte b of column c is own[g, c, b]."""
    replicas, columns, _ = own.shape
    place = bytes_GBF.to(torch.int32)
    if replicas * columns > 1:
        starts = torch.arange(replicas * columns, dtype=torch.int32, device=place.device) * 256
        place = place + starts.view(replicas, *[1] * (place.dim() - 2), columns)
    return own.reshape(-1).index_select(0, place.view(-1)).view(place.shape)


@dataclass(frozen=True)
class SparseInputs:
    """Sparse rows: CSR in main memory, batches sent to `device` one by one.

    Sending a batch's column numbers costs far less than keeping or moving dense rows.

    Attributes:
        matrix: (S*N, F), where S is 1 (all replicas share the rows) or R (the rows of each, one below the
            other); int8 where all stored values are 1, else float32.
        all_ones: whether every stored value is 1, so that values need not be multiplied.
        device: where batches go.
        matrices: S.
    """

    matrix: csr_array
    all_ones: bool
    device: torch.device
    matrices: int = 1

    @property
    def features(self) -> int:
        """F, the width of a row."""
        return int(self.matrix.shape[1])

    @property
    def dense(self) -> bool:
        """False."""
        return False

    @property
    def elements_per_row(self) -> int:
        """The non-zeros of a row, on average."""
        return int(self.matrix.nnz // max(1, self.matrix.shape[0]) + 1)

    @property
    def bytes_per_network(self) -> int:
        """What the rows take in memory, of one network where each has its own."""
        matrix = self.matrix
        return int(matrix.indptr.nbytes + matrix.indices.nbytes + matrix.data.nbytes) // self.matrices

    @property
    def streamed(self) -> bool:
        """False."""
        return False

    def rows_in_matrix(self, data_index: Sequence[int], rows_GN: RowIndices) -> RowIndices:
        """Where the rows `rows_GN[g]` of the replica at `data_index[g]` stand in the matrix."""
        return rows_among_all(data_index, rows_GN, self.matrices, self.matrix.shape[0] // self.matrices)

    def batches(
        self, data_index: Sequence[int], rows_GN: RowIndices, batch_size: int
    ) -> Iterator[SparseBatch]:
        """The rows, batch by batch. `data_index` does not matter where the rows are shared.

        Of several batches, which are there to train on, the next ones and their transposes are prepared while
        the present one is in use.
        """
        rows_GN = self.rows_in_matrix(data_index, rows_GN)
        steps = rows_GN.shape[1] // batch_size
        if steps <= 1 or steps * batch_size < rows_GN.shape[1]:
            for first in range(0, rows_GN.shape[1], batch_size):
                yield self._batch(rows_GN[:, first : first + batch_size])
            return
        # The first is small, since nothing is in use yet while it is prepared.
        bounds = [0, 1, *range(3, steps, _STEPS_AHEAD), steps]
        chunks = [rows_GN[:, i * batch_size : j * batch_size] for i, j in pairwise(bounds) if i < j]
        with ThreadPoolExecutor(max_workers=1) as pool:
            coming = pool.submit(self._turned_batches, chunks[0], batch_size)
            for chunk in chunks[1:]:
                batches, coming = coming.result(), pool.submit(self._turned_batches, chunk, batch_size)
                yield from batches
            yield from coming.result()

    def _batch(self, rows_GB: RowIndices) -> SparseBatch:
        (replicas, rows), features = rows_GB.shape, self.features
        taken = self.matrix[rows_GB.reshape(-1)]
        columns = _shifted(taken, rows, features) if replicas > 1 else taken.indices
        return SparseBatch(
            replicas=replicas,
            rows=rows,
            features=features,
            columns=torch.from_numpy(columns).to(self.device),
            row_starts=torch.from_numpy(taken.indptr).to(self.device),
            values=None if self.all_ones else torch.from_numpy(taken.data).to(self.device),
        )

    def _turned_batches(self, rows_GN: RowIndices, rows: int) -> list[SparseBatch]:
        """Batches of `rows` rows with their transposes: all rows are taken and turned in one go.

        The batches lie one behind the other along the diagonal of one large matrix. So its transpose holds
        theirs, one behind the other.
        """
        from scipy.sparse import csr_array

        replicas, features = len(rows_GN), self.features
        steps = rows_GN.shape[1] // rows
        of_batch = rows_GN.reshape(replicas, steps, rows).swapaxes(0, 1)
        taken = self.matrix[of_batch.reshape(-1)]
        columns = _shifted(taken, rows, features)
        places = taken.data if self.all_ones else np.arange(taken.nnz, dtype=np.int32)
        height, width = replicas * rows, replicas * features  # of one batch
        shape = (steps * height, steps * width)
        turned = csr_array((places, columns, taken.indptr), shape=shape).tocsc()
        batches = []
        for step in range(steps):
            row_starts = taken.indptr[step * height : (step + 1) * height + 1]
            held = slice(row_starts[0], row_starts[-1])
            column_starts = turned.indptr[step * width : (step + 1) * width + 1] - held.start
            values = turned_values = None
            if not self.all_ones:
                values = torch.from_numpy(taken.data[held]).to(self.device)
                turned_values = torch.from_numpy(taken.data[turned.data[held]]).to(self.device)
            in_batch = taken.indices[held] if replicas == 1 else columns[held] - step * width
            batches.append(
                SparseBatch(
                    replicas=replicas,
                    rows=rows,
                    features=features,
                    columns=torch.from_numpy(in_batch).to(self.device),
                    row_starts=torch.from_numpy(row_starts - held.start).to(self.device),
                    values=values,
                    prepared=by_column(
                        turned.indices[held] - step * height,
                        column_starts,
                        turned_values,
                        features,
                        self.device,
                    ),
                )
            )
        return batches


Inputs = DenseInputs | SparseInputs


def _shifted(taken: csr_array, rows: int, features: int) -> npt.NDArray[Any]:
    """The columns of each block of `rows` rows, offset behind those of the block before."""
    per_block = np.diff(taken.indptr[::rows])
    most = len(per_block) * features
    kind = taken.indices.dtype if most <= np.iinfo(taken.indices.dtype).max else np.int64
    shifts = np.arange(len(per_block), dtype=kind) * features
    return taken.indices + np.repeat(shifts, per_block)  # type: ignore[no-any-return]


class _SparseTimesDense(AutogradFunction):
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


class _DenseGradient(AutogradFunction):
    """The kernel itself, where it is made of parameters: no operation before it takes a sparse gradient."""

    @staticmethod
    def forward(ctx, kernel_RFU: Tensor) -> Tensor:  # type: ignore[no-untyped-def]
        return kernel_RFU.view_as(kernel_RFU)

    @staticmethod
    def backward(ctx, grad_RFU: Tensor) -> Tensor:  # type: ignore[no-untyped-def]
        return grad_RFU.to_dense() if grad_RFU.is_sparse else grad_RFU


def _sum_picked_rows(rows: Tensor, picks: Tensor, starts: Tensor, values: Tensor | None) -> Tensor:
    return F.embedding_bag(
        picks, rows.contiguous(), starts, mode="sum", include_last_offset=True, per_sample_weights=values
    )


def multiply(batch: Batch, kernel_RFU: Tensor) -> Tensor:
    """Inputs times kernel, replica by replica: (R, B, U)."""
    if isinstance(batch, SparseBatch):
        if kernel_RFU.requires_grad and not kernel_RFU.is_leaf:
            kernel_RFU = _DenseGradient.apply(kernel_RFU)
        product: Tensor = _SparseTimesDense.apply(kernel_RFU, batch)
        return product
    return torch.bmm(dense(batch), kernel_RFU)
