"""Rows as the network takes them: gathering is indexing, and a sparse product is a dense one."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
import scipy.sparse
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from nnrun.model.inputs import DenseInputs, Inputs, SparseBatch, SparseInputs, multiply
from nnrun.replica_rows import take_rows

CPU = torch.device("cpu")


@dataclass(frozen=True)
class Gathering:
    """Replicas at `places` take the rows `rows_GN` of `x_SNF`, in batches of `batch_size`."""

    x_SNF: np.ndarray
    places: list[int]
    rows_GN: np.ndarray
    batch_size: int

    def expected(self) -> np.ndarray:
        """(G, n, F), by plain indexing."""
        own = [0] * len(self.places) if len(self.x_SNF) == 1 else self.places
        return np.stack([self.x_SNF[s][rows] for s, rows in zip(own, self.rows_GN, strict=True)])


@st.composite
def gatherings(draw: st.DrawFn, *, only_ones: bool = False) -> Gathering:
    """Any rows for any replicas, repeated rows and empty (all-zero) ones included."""
    replicas, n_rows, features = draw(st.integers(1, 4)), draw(st.integers(1, 9)), draw(st.integers(1, 7))
    one_for_all = draw(st.booleans())
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    shape = (1 if one_for_all else replicas, n_rows, features)
    x_SNF = (rng.random(shape) < draw(st.sampled_from([0.0, 0.3, 1.0]))).astype(np.float32)
    if not only_ones:
        x_SNF *= rng.normal(size=shape).astype(np.float32)
    places = draw(st.lists(st.integers(0, replicas - 1), min_size=1, max_size=replicas, unique=True))
    rows_GN = rng.integers(0, n_rows, (len(places), draw(st.integers(1, 12))))
    return Gathering(x_SNF, places, rows_GN, draw(st.integers(1, 13)))


def sparse_inputs(x_SNF: np.ndarray, *, all_ones: bool) -> SparseInputs:
    rows = x_SNF.reshape(-1, x_SNF.shape[-1])
    # Rows of ones come as int8 from `nnrun.experiment`: their values are never read.
    matrix = scipy.sparse.csr_array(rows.astype(np.int8) if all_ones else rows)
    return SparseInputs(matrix, all_ones, CPU, len(x_SNF))


def as_dense(batch: SparseBatch) -> np.ndarray:
    """(R, B, F) from the row-by-row half of a sparse batch."""
    shape = (batch.replicas * batch.rows, batch.replicas * batch.features)
    values = np.ones(len(batch.columns), np.float32) if batch.values is None else batch.values.numpy()
    wide = scipy.sparse.csr_array((values, batch.columns.numpy(), batch.row_starts.numpy()), shape=shape)
    blocks = wide.toarray().reshape(batch.replicas, batch.rows, batch.replicas, batch.features)
    own = blocks[np.arange(batch.replicas), :, np.arange(batch.replicas)]
    assert np.count_nonzero(own) == np.count_nonzero(blocks), "a replica's rows lie in its own columns"
    return own


@given(gatherings())
def test_taking_rows_is_indexing(case: Gathering) -> None:
    found = take_rows(torch.from_numpy(case.x_SNF), case.places, case.rows_GN)
    np.testing.assert_array_equal(found.numpy(), case.expected())


@given(gatherings())
def test_taking_single_values_is_indexing(case: Gathering) -> None:
    column = Gathering(case.x_SNF[..., 0], case.places, case.rows_GN, 1)
    found = take_rows(torch.from_numpy(column.x_SNF), case.places, case.rows_GN)
    np.testing.assert_array_equal(found.numpy(), column.expected())


@given(gatherings())
def test_dense_batches_are_the_rows_in_their_order(case: Gathering) -> None:
    inputs = DenseInputs(torch.from_numpy(case.x_SNF))
    batches = [batch.numpy() for batch in inputs.batches(case.places, case.rows_GN, case.batch_size)]
    n = case.rows_GN.shape[1]
    full, short = divmod(n, case.batch_size)
    assert [b.shape[1] for b in batches] == [case.batch_size] * full + [short] * (short > 0)
    np.testing.assert_array_equal(np.concatenate(batches, 1), case.expected())
    assert (inputs.features, inputs.elements_per_row) == (case.x_SNF.shape[2],) * 2


@pytest.mark.parametrize("all_ones", [False, True])
@given(data=st.data())
def test_sparse_batches_are_the_rows_in_their_order(all_ones: bool, data: st.DataObject) -> None:
    case = data.draw(gatherings(only_ones=all_ones))
    inputs = sparse_inputs(case.x_SNF, all_ones=all_ones)
    batches = list(inputs.batches(case.places, case.rows_GN, case.batch_size))
    full, short = divmod(case.rows_GN.shape[1], case.batch_size)
    assert [batch.rows for batch in batches] == [case.batch_size] * full + [short] * (short > 0)
    np.testing.assert_array_equal(np.concatenate([as_dense(b) for b in batches], 1), case.expected())
    assert inputs.features == case.x_SNF.shape[2]


@pytest.mark.parametrize("all_ones", [False, True])
@settings(max_examples=60)
@given(data=st.data())
def test_a_sparse_product_and_its_gradient_are_the_dense_ones(all_ones: bool, data: st.DataObject) -> None:
    case = data.draw(gatherings(only_ones=all_ones))
    replicas, units = len(case.places), data.draw(st.integers(1, 4))
    rng = np.random.default_rng(data.draw(st.integers(0, 2**32)))
    kernel_RFU = rng.normal(size=(replicas, case.x_SNF.shape[2], units)).astype(np.float32)

    def product_and_gradient(inputs: Inputs) -> tuple[torch.Tensor, torch.Tensor]:
        kernel = torch.from_numpy(kernel_RFU).requires_grad_()
        (batch,) = inputs.batches(case.places, case.rows_GN, case.rows_GN.shape[1])
        product = multiply(batch, kernel)
        # The sum of squares: the gradient that comes back differs from place to place.
        (gradient,) = torch.autograd.grad(product.square().sum(), kernel)
        # Where a batch meets few of the columns, the gradient holds their rows alone.
        return product.detach(), gradient.to_dense()

    found = product_and_gradient(sparse_inputs(case.x_SNF, all_ones=all_ones))
    dense = product_and_gradient(DenseInputs(torch.from_numpy(case.x_SNF)))
    torch.testing.assert_close(found, dense, rtol=1e-5, atol=1e-5)


def test_a_sparse_row_counts_for_its_non_zeros_not_for_its_width() -> None:
    x_SNF = np.zeros((1, 4, 1000), np.float32)
    x_SNF[:, :, :3] = 1
    assert sparse_inputs(x_SNF, all_ones=True).elements_per_row in (3, 4)
    assert sparse_inputs(x_SNF[:, :0], all_ones=True).elements_per_row >= 1


@pytest.mark.parametrize("columns", [1, 3])
@pytest.mark.parametrize("own", [1, 2])
def test_bytes_are_looked_up_batch_by_batch(columns: int, own: int) -> None:
    rng = np.random.default_rng(0)
    x = rng.integers(0, 256, (1, 9, 4, 5, 3), np.uint8)
    values = rng.normal(size=(own, columns, 256)).astype(np.float32)
    inputs = DenseInputs(torch.from_numpy(x), torch.from_numpy(values))
    rows_GN = rng.integers(0, 9, (2, 7))
    batches = list(inputs.batches([1, 0], rows_GN, 3))
    assert [tuple(batch.shape) for batch in batches] == [(2, 3, 4, 5, 3), (2, 3, 4, 5, 3), (2, 1, 4, 5, 3)]
    for replica, place in enumerate([1, 0]):
        for channel in range(3):
            table = values[place % own][channel % columns]
            expected = table[x[0][rows_GN[replica]][..., channel]]
            found = torch.cat(batches, 1)[replica, ..., channel].numpy()
            np.testing.assert_array_equal(found, expected)
