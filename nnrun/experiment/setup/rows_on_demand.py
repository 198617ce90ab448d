"""Rows that are prepared when they are asked for, where all of them together take much memory."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from nnrun.data.dataset import RawInputs, taken_rows
from nnrun.data.files import stored_arrays
from nnrun.data.row_places import RowPlaces
from nnrun.data.rows import RowError, rows_by_place
from nnrun.model.inputs import DenseInputs
from nnrun.model.mapped_inputs import batches_of_streamed
from nnrun.replica_rows import RowIndices

if TYPE_CHECKING:
    from torch import Tensor


def are_prepared_on_demand(rows: int, shape: Sequence[int]) -> bool:
    """Whether so many dense rows of float32 are too many to be prepared at once."""
    return 4 * rows * math.prod(shape) >= stored_arrays.STORED_BYTES


@dataclass(frozen=True, eq=False)
class RowsOnDemand:
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
    def dense(self) -> bool:
        """True."""
        return True

    @property
    def streamed(self) -> bool:
        """True."""
        return True

    @property
    def elements_per_row(self) -> int:
        """F."""
        return self.features

    @property
    def bytes_per_network(self) -> int:
        """What the rows would take in memory, all of them."""
        return 4 * len(self.raw) * self.features

    def loaded(self, rows_of: Mapping[int, RowIndices]) -> DenseInputs:
        """Some rows in memory, as `MappedInputs.loaded` gives them.

        Raises:
            DataError: a row cannot be taken: says which and why.
        """
        rows = np.concatenate(list(rows_of.values()))
        with rows_by_place(self.places):
            try:
                return self.prepare(taken_rows(self.raw, rows))
            except RowError as error:
                raise RowError(error.column, int(rows[error.row]), error.reason) from None

    def batches(self, data_index: Sequence[int], rows_GN: RowIndices, batch_size: int) -> Iterator[Tensor]:
        """(G, B, ...) tensors, each made when it is asked for."""
        return batches_of_streamed(self, data_index, rows_GN, batch_size)
