"""Images and their labels as arrays, checked to be what a published data set says."""

from __future__ import annotations

import numpy as np

from nnrun.data.dataset import Array, Samples
from nnrun.errors import DataError


def checked_images(x: Array, y: Array, shape: tuple[int, ...], classes: int, where: str) -> Samples:
    """Images of bytes with their labels.

    Args:
        x: (N, *shape) uint8.
        y: (N,) whole numbers from 0 to `classes` - 1.
        shape: of an image.
        classes: how many there are.
        where: what messages call the two.

    Raises:
        DataError: the arrays are something else.
    """
    if x.dtype != np.uint8 or x.shape[1:] != shape or not len(x):
        raise DataError(
            f"{where}: the images have shape {x.shape} and type {x.dtype}; uint8 in shape "
            f"(rows, {', '.join(map(str, shape))}) is expected."
        )
    if y.dtype.kind not in "iu" or y.shape != (len(x),):
        raise DataError(
            f"{where}: the labels have shape {y.shape} and type {y.dtype}; {len(x):,} whole numbers are "
            "expected."
        )
    if int(y.min()) < 0 or int(y.max()) >= classes:
        raise DataError(
            f"{where}: the labels go from {int(y.min())} to {int(y.max())}; 0 to {classes - 1} is expected."
        )
    return Samples(x, y.astype(np.int64))
