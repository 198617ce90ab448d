"""Rows that are prepared when they are asked for, where all of them together take much memory."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from nnrun.data.dataset import RawInputs, taken_rows
from nnrun.data.files import stored_arrays
from nnrun.data.row_places import RowPlaces
from nnrun.data.rows import RowError, rows_by_place
from nnrun.model.inputs import DenseInputs
from nnrun.model.mapped_inputs import StreamedInputs
from nnrun.replica_rows import RowIndices


def are_prepared_on_demand(rows: int, shape: Sequence[int]) -> bool:
    """Whether so many dense rows of float32 are too many to be prepared at once."""
    return 4 * rows * math.prod(shape) >= stored_arrays.STORED_BYTES


@dataclass(frozen=True, eq=False)
class RowsOnDemand(StreamedInputs):
    """Dense rows to measure or to predict: each is asked for about once, some at a time.

    Attributes:
        raw: all rows, as the data set has them.
        prepare: makes what the networks take of some of them; the same for all networks.
        shape: of a prepared row.
        places: where the rows stand in their file; None of arrays.
    """

    raw: RawInputs
    prepare: Callable[[RawInputs], DenseInputs]
    shape: tuple[int, ...]
    places: RowPlaces | None = None

    @property
    def features(self) -> int:
        """F, the numbers of a row."""
        return math.prod(self.shape)

    @property
    def bytes_per_network(self) -> int:
        """What the rows would take in memory, all of them."""
        return 4 * len(self.raw) * self.features

    def loaded(self, rows_of: Mapping[int, RowIndices]) -> DenseInputs:
        """Some rows, prepared now.

        Raises:
            DataError: a row cannot be taken: says which and why.
        """
        rows = np.concatenate(list(rows_of.values()))
        with rows_by_place(self.places):
            try:
                return self.prepare(taken_rows(self.raw, rows))
            except RowError as error:
                raise RowError(error.column, int(rows[error.row]), error.reason) from None
