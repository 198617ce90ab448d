"""Words as indices until a layer needs their vectors, and the mean of their vectors (`embedding.cpp`)."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from nnrun.errors import NoRowOfTableError
from nnrun.lazy_torch import AutogradFunction, torch
from nnrun.model.kernels.calls import Number, address, threads, usable

if TYPE_CHECKING:
    from torch import Tensor

LIBRARY = "embedding"


@dataclass(frozen=True, eq=False)
class EmbeddedWords:
    """The vectors of a batch's words, not yet gathered: (R, B, T, D), T one axis or several.

    Attributes:
        table_RVD: the vectors of all words.
        squares_RVD: of no influence; its gradient is the sum of the squares of the places' gradients. None
            where that is not asked for.
        index: (R, B, T) int32, each below V.
        library: of `embedding.cpp`.
    """

    table_RVD: Tensor
    squares_RVD: Tensor | None
    index: Tensor
    library: ctypes.CDLL

    @cached_property
    def dense(self) -> Tensor:
        """The vectors, (R, B, T, D)."""
        found: Tensor = _Pick.apply(self.table_RVD, self.squares_RVD, self.index, self.library)
        return found

    def to_dense(self) -> Tensor:
        """`dense`, as of a sparse batch."""
        return self.dense

    def mean(self, counts: Tensor | None = None) -> Tensor:
        """(R, B, D): the mean over the places of each row.

        Args:
            counts: (R, B, T) booleans, False for places to leave out; None for none of these. A row without
                any place has zeros.
        """
        if counts is not None:
            counts = counts.contiguous().view(torch.uint8)
        found: Tensor = _PickMeans.apply(self.table_RVD, self.squares_RVD, self.index, counts, self.library)
        return found


def embedded(table_RVD: Tensor, squares_RVD: Tensor | None, x: Tensor) -> EmbeddedWords | None:
    """The words of indices x, (R, B, T) float32; None where C++ cannot look them up.

    Raises:
        NoRowOfTableError: an index is no row of the table.
    """
    library = usable(LIBRARY, table_RVD, x)
    if library is None:
        return None
    x, words = x.contiguous(), table_RVD.shape[1]
    index = torch.empty(x.shape, dtype=torch.int32)
    library.read_indices.restype = ctypes.c_int64
    if library.read_indices(address(x), address(index), Number(x.numel()), Number(words)):
        raise NoRowOfTableError(words)
    return EmbeddedWords(table_RVD, squares_RVD, index, library)


class _Pick(AutogradFunction):
    """Rows of a table by their index."""

    once_differentiable = True

    @staticmethod
    def forward(
        ctx: Any, table_RVD: Tensor, squares_RVD: Tensor | None, index: Tensor, library: ctypes.CDLL
    ) -> Tensor:
        """(R, B, T) indices → (R, B, T, D)."""
        table_RVD = table_RVD.contiguous()
        ctx.save_for_backward(index)
        ctx.shape, ctx.with_squares, ctx.library = table_RVD.shape, squares_RVD is not None, library
        given = table_RVD.new_empty((*index.shape, table_RVD.shape[2]))
        library.pick(address(table_RVD), address(index), address(given), *_sizes(ctx.shape, index), threads())
        return given

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        """Of the table and of the squares, (R, V, D)."""
        (index,) = ctx.saved_tensors
        gradient = gradient.contiguous()
        sums, squares = _sums(ctx)
        ctx.library.add_picked(
            address(gradient),
            address(index),
            address(sums),
            address(squares),
            *_sizes(ctx.shape, index),
            threads(),
        )
        return sums, squares, None, None


class _PickMeans(AutogradFunction):
    """The mean of rows of a table, over the places of each row that count."""

    once_differentiable = True

    @staticmethod
    def forward(
        ctx: Any,
        table_RVD: Tensor,
        squares_RVD: Tensor | None,
        index: Tensor,
        counts: Tensor | None,
        library: ctypes.CDLL,
    ) -> Tensor:
        """(R, B, T) indices → (R, B, D)."""
        table_RVD = table_RVD.contiguous()
        ctx.save_for_backward(index, counts)
        ctx.shape, ctx.with_squares, ctx.library = table_RVD.shape, squares_RVD is not None, library
        replicas, rows = index.shape[:2]
        given = table_RVD.new_empty((replicas, rows, table_RVD.shape[2]))
        library.pick_means(
            address(table_RVD), address(index), address(counts), address(given),
            *_sizes(ctx.shape, index, rows), threads(),
        )  # fmt: skip
        return given

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        """Of the table and of the squares, (R, V, D)."""
        index, counts = ctx.saved_tensors
        gradient = gradient.contiguous()
        sums, squares = _sums(ctx)
        ctx.library.add_means(
            address(gradient), address(index), address(counts), address(sums), address(squares),
            *_sizes(ctx.shape, index, index.shape[1]), threads(),
        )  # fmt: skip
        return sums, squares, None, None, None


def _sizes(shape: Sequence[int], index: Tensor, rows: int | None = None) -> list[Number]:
    """R, the places of a replica or its rows and the places of each, V, D."""
    replicas, words, width = shape
    places = index.numel() // replicas
    own = [places] if rows is None else [rows, places // rows]
    return [Number(n) for n in (replicas, *own, words, width)]


def _sums(ctx: Any) -> tuple[Tensor, Tensor | None]:
    """Zeros to add the gradients of the table's rows to, and their squares, where these are asked for."""
    return torch.zeros(ctx.shape), torch.zeros(ctx.shape) if ctx.with_squares else None
