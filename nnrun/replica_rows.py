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


def take_rows(values_SN: Tensor, data_index: Sequence[int], rows_GN: RowIndices) -> Tensor:
    """(G, n, ...) rows of values that all replicas share (S = 1) or that each has for itself (S = R).

    Args:
        values_SN: (S, N, ...) values.
        data_index: positions of the G replicas along S; ignored where S = 1.
        rows_GN: (G, n) row indices, one line for each of `data_index`.
    """
    shared, rows = values_SN.shape[:2]
    flat = rows_GN if shared == 1 else rows_GN + np.asarray(data_index, dtype=np.int64)[:, None] * rows
    index = torch.from_numpy(flat.reshape(-1)).to(values_SN.device, non_blocking=True)
    picked = values_SN.reshape(shared * rows, *values_SN.shape[2:]).index_select(0, index)
    return picked.view(*rows_GN.shape, *values_SN.shape[2:])
