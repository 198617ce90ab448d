"""Token rows, dense rows, sparse rows: taking rows is what indexing a list is."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nnrun.data import DenseRows, Samples, SparseRows, TokenRows

Lists = list[list[int]]
lists_and_rows = st.lists(st.lists(st.integers(0, 9), max_size=8), min_size=1, max_size=10).flatmap(
    lambda lists: st.tuples(st.just(lists), st.lists(st.integers(-len(lists), len(lists) - 1), max_size=12))
)


def as_lists(rows: TokenRows) -> Lists:
    return [rows.row(i).tolist() for i in range(len(rows))]


def sparse(lists: Lists, values: bool) -> SparseRows:
    sets = [sorted(set(row)) for row in lists]
    tokens = TokenRows.from_lists(sets)
    content = np.arange(1, len(tokens.tokens) + 1, dtype=np.float32) if values else None
    return SparseRows(tokens.indptr, tokens.tokens, content, 10)


@given(lists_and_rows)
def test_token_rows(case: tuple[Lists, list[int]]) -> None:
    lists, rows = case
    tokens = TokenRows.from_lists(lists)
    assert as_lists(tokens) == lists
    assert tokens.lengths.tolist() == [len(row) for row in lists]
    taken = tokens.take(rows)
    assert as_lists(taken) == [lists[i] for i in rows]
    assert (taken.indptr.dtype, taken.tokens.dtype) == (np.int64, np.int32)


@given(lists_and_rows, st.integers(1, 20))
def test_blocks_of_token_rows_are_the_rows_in_order(case: tuple[Lists, list[int]], size: int) -> None:
    lists, _ = case
    blocks = list(TokenRows.from_lists(lists).blocks(size))
    assert [row for block in blocks for row in as_lists(block)] == lists
    assert all(len(block) == 1 or len(block.tokens) <= size for block in blocks)


def test_no_token_rows_are_one_empty_block() -> None:
    (block,) = TokenRows.from_lists([]).blocks(5)
    assert as_lists(block) == []


@pytest.mark.parametrize("values", [False, True])
@given(case=lists_and_rows)
def test_sparse_rows(values: bool, case: tuple[Lists, list[int]]) -> None:
    lists, rows = case
    x = sparse(lists, values)
    dense = x.to_dense()
    assert dense.shape == (len(x), 10) == (len(x), x.n_features)
    assert int((dense != 0).sum()) == x.nnz
    if not values:
        assert [np.flatnonzero(row).tolist() for row in dense] == [sorted(set(row)) for row in lists]
    assert np.array_equal(x.take(rows).to_dense(), dense[rows] if rows else dense[:0])
    assert np.array_equal(x.to_dense(rows), x.take(rows).to_dense())
    assert x.nbytes == 8 * (len(lists) + 1) + (8 if values else 4) * x.nnz
    assert x.dense_nbytes == dense.nbytes


def test_a_mask_takes_what_it_marks() -> None:
    mask = np.array([True, False, True])
    assert as_lists(TokenRows.from_lists([[1], [2, 2], [3]]).take(mask)) == [[1], [3]]


def test_a_row_beyond_the_end() -> None:
    with pytest.raises(IndexError, match="row 2 of 2"):
        TokenRows.from_lists([[1], [2]]).row(2)


def test_dense_rows() -> None:
    x = DenseRows(np.arange(6, dtype=np.float32).reshape(3, 2))
    assert (x.n_features, x.nbytes, len(x)) == (2, 24, 3)
    assert x.take([2, 0]).x_NF.tolist() == [[4, 5], [0, 1]]
    assert x.take([2, 0]).x_NF.flags.c_contiguous


def test_samples_take_inputs_and_targets_alike() -> None:
    samples = Samples(TokenRows.from_lists([[1], [2], [3]]), np.array([10, 20, 30]))
    taken = samples.take([2, 1])
    assert isinstance(taken.inputs, TokenRows)
    assert (as_lists(taken.inputs), taken.targets.tolist(), len(taken)) == ([[3], [2]], [30, 20], 2)
