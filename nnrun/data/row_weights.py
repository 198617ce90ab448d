"""Weights of rows, as `Samples` holds them."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from nnrun.data.dataset import Array
from nnrun.errors import DataError


def row_weights(values: Array, where: str) -> npt.NDArray[np.float32]:
    """What the loss of each row counts: (N,) numbers that are finite and not negative, not all of them 0.

    Args:
        values: one for each row.
        where: what messages call them, such as `rows.csv: the column weight`.

    Raises:
        DataError: they are something else.
    """
    rule = "Weights are one number for each row, finite and not negative."
    if values.ndim != 1 or values.dtype.kind not in "buif":
        raise DataError(f"{where} has shape {values.shape} and the type {values.dtype}. {rule}")
    weights = values.astype(np.float32)
    wrong = np.flatnonzero(~(np.isfinite(weights) & (weights >= 0)))
    if wrong.size:
        row = int(wrong[0])
        raise DataError(f"{where} holds {values[row]} in row {row}. {rule}")
    if not weights.any():
        raise DataError(f"{where} holds nothing but 0, so no row counts. At least one must be above 0.")
    return weights
