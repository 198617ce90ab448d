"""Prepared rows that lie in files, for data that memory does not hold."""

from __future__ import annotations

import math
import weakref
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from nnrun.lazy_torch import torch
from nnrun.model.inputs import DenseInputs
from nnrun.native.rows_of_file import take_from_file
from nnrun.replica_rows import RowIndices

if TYPE_CHECKING:
    from torch import Tensor


_KEPT = 3
"""Buffers: one is computed from, one is filled, and one more for the shorter segment at the end."""


@dataclass(frozen=True, eq=False)
class _Buffer:
    whole: npt.NDArray[Any]

    def __len__(self) -> int:
        return len(self.whole)


class StreamedInputs(ABC):
    """Dense rows that are brought into memory some at a time."""

    @property
    @abstractmethod
    def features(self) -> int:
        """F, the numbers of a row."""

    @abstractmethod
    def loaded(self, rows_of: Mapping[int, RowIndices]) -> DenseInputs:
        """Some rows in memory, one replica's behind the other's, for all replicas to pick from.

        `rows_of`: index of a replica's data → its rows, ascending.
        """

    @property
    def of_bytes(self) -> bool:
        """Whether a file has them as bytes."""
        return False

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

    def batches(self, data_index: Sequence[int], rows_GN: RowIndices, batch_size: int) -> Iterator[Tensor]:
        """(G, B, ...) tensors of rows `rows_GN[g]` of the replica at `data_index[g]`, each made when it is
        asked for.
        """
        for first in range(0, rows_GN.shape[1], batch_size):
            rows_GB = rows_GN[:, first : first + batch_size]
            of_each = []
            for index, rows in zip(data_index, rows_GB, strict=True):
                ordered, places = np.unique(rows, return_inverse=True)
                (batch_1B,) = self.loaded({index: ordered}).batches([index], places[None], len(places))
                of_each.append(batch_1B[0])
            yield torch.stack(of_each)


@dataclass(frozen=True, eq=False)
class MappedInputs(StreamedInputs):
    """Dense rows in files, of which those that are needed next are read.

    Attributes:
        files: (N, F) or (N, ...) float32, or (N, ..., C) uint8, mapped into memory: one that all replicas
            share, or one for each.
        device: where the rows go.
        values: of bytes, what they become, as `DenseInputs.values` on the device; None for float32.
    """

    files: tuple[npt.NDArray[Any], ...]
    device: torch.device
    values: Tensor | None = None
    _free: list[_Buffer] = field(default_factory=list, repr=False)

    @property
    def features(self) -> int:
        """F, the numbers of a row."""
        return math.prod(self.files[0].shape[1:])

    @property
    def of_bytes(self) -> bool:
        """Whether a file has them as bytes."""
        return self.values is not None

    @property
    def bytes_per_network(self) -> int:
        """What the rows take in a file, of one network where each has its own."""
        return self.files[0].nbytes

    def loaded(self, rows_of: Mapping[int, RowIndices]) -> DenseInputs:
        """Some rows, read from their files."""
        total = sum(map(len, rows_of.values()))
        x_1NF = self._buffer(total)
        first = 0
        for index, rows in rows_of.items():
            own = self.files[0 if len(self.files) == 1 else index]
            take_from_file(own, rows, x_1NF[0, first : first + len(rows)])
            first += len(rows)
        return DenseInputs(torch.from_numpy(x_1NF).to(self.device), self.values)

    def _buffer(self, rows: int) -> npt.NDArray[Any]:
        """(1, rows, ...) of memory that was used before and that nobody uses any more, where there is some.

        The system gives new memory page by page, which takes longer than to fill it.
        """
        file = self.files[0]
        large = [buffer for buffer in self._free if len(buffer) >= rows]
        if large:
            self._free.remove(large[0])
        buffer = large[0] if large else _Buffer(np.empty((rows, *file.shape[1:]), file.dtype))
        self._free[:-_KEPT] = []
        given = buffer.whole[None, :rows]
        weakref.finalize(given, self._free.append, buffer).atexit = False
        return given
