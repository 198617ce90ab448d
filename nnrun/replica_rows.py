"""Rows of data that replicas share or have each for themselves, gathered by index."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from nnrun.lazy_torch import torch

if TYPE_CHECKING:
    from torch import Tensor

RowIndices = npt.NDArray[np.int64]


def rows_among_all(data_index: Sequence[int], rows_GN: RowIndices, shared: int, rows: int) -> RowIndices:
    """Where rows of G replicas stand in a matrix of all rows, S blocks of N rows one below the other.

    Args:
        data_index: the block of each replica; ignored where all share one.
        rows_GN: (G, n) rows, one line for each of `data_index`.
        shared: S.
        rows: N.
    """
    if shared == 1:
        return rows_GN
    offset: RowIndices = rows_GN + np.asarray(data_index, dtype=np.int64)[:, None] * rows
    return offset


def take_rows(values_SN: Tensor, data_index: Sequence[int], rows_GN: RowIndices) -> Tensor:
    """(G, n, ...) rows of values that all replicas share (S = 1) or that each has for itself (S = R).

    Args:
        values_SN: (S, N, ...) values.
        data_index: positions of the G replicas along S; ignored where S = 1.
        rows_GN: (G, n) row indices, one line for each of `data_index`.
    """
    shared, rows = values_SN.shape[:2]
    flat = rows_among_all(data_index, rows_GN, shared, rows)
    index = torch.from_numpy(flat.reshape(-1)).to(values_SN.device, non_blocking=True)
    picked = values_SN.reshape(shared * rows, *values_SN.shape[2:]).index_select(0, index)
    return picked.view(*rows_GN.shape, *values_SN.shape[2:])
