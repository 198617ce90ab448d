"""Embedding: a learned vector for each word index; and masks, which say what is padding."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

from nnrun.lazy_torch import AutogradFunction, F, torch
from nnrun.model.inputs import Batch
from nnrun.model.kernels import embedding as kernel
from nnrun.model.layers.base import Layer, Parameters, Weight
from nnrun.model.rng import BatchRng
from nnrun.spec import schema

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class EmbeddingLayer(Layer[schema.Embedding]):
    """A table (R, V, D) of one vector for each index; in a weights file (V, D), as in PyTorch."""

    @classmethod
    def kernel_for(cls, spec: schema.Embedding) -> str | None:
        """For every embedding."""
        return kernel.LIBRARY

    @cached_property
    def weights(self) -> Mapping[str, Weight]:
        """The table."""
        assert self.spec.input_dim is not None, "the network fills it in"
        table = self.weight("embeddings", (self.spec.input_dim, self.spec.output_dim))
        return {self.name("weight"): replace(table, trainable=self.spec.trainable)}

    @property
    def place_squares(self) -> Mapping[str, str]:
        """The table's, but where a regularizer's gradient is added to that of its places."""
        name = self.name("weight")
        if not self.spec.trainable:
            return {}
        return {} if self.weights[name].regularizer is not None else {name: self._place_squares_name}

    @property
    def _place_squares_name(self) -> str:
        return self.name("weight.place_squares")

    def forward(
        self, parameters: Parameters, x: Tensor, rng: BatchRng | None, new_buffers: dict[str, Tensor] | None
    ) -> Batch:
        """(R, B, steps) indices, as float32 or not → (R, B, steps, D)."""
        table_RVD = parameters[self.name("weight")]
        squares_RVD = parameters.get(self._place_squares_name)
        found = kernel.embedded(table_RVD, squares_RVD, x)
        return self._looked_up(table_RVD, squares_RVD, x) if found is None else found

    def _looked_up(self, table_RVD: Tensor, squares_RVD: Tensor | None, x: Tensor) -> Tensor:
        """The same by PyTorch."""
        replicas, words, _ = table_RVD.shape
        index = x.round().to(torch.int64)
        if replicas > 1:  # the tables lie one behind the other
            index = index + torch.arange(replicas, device=x.device).view(-1, 1, 1) * words
        if squares_RVD is None:
            return F.embedding(index, table_RVD.flatten(0, 1))
        tables = (table_RVD.flatten(0, 1), squares_RVD.flatten(0, 1))
        found: Tensor = _LookUp.apply(*tables, index)
        return found

    def mask_of(self, x: Batch, mask: Tensor | None) -> Tensor | None:
        """With `mask_zero` index 0 does not count."""
        assert isinstance(x, torch.Tensor), "word indices are dense"
        return x.round() != 0 if self.spec.mask_zero else None


class _LookUp(AutogradFunction):
    """Rows of a table. The gradient of `squares` is the sum of the squares of the places' gradients."""

    @staticmethod
    def forward(ctx: Any, table_VD: Tensor, squares_VD: Tensor, index: Tensor) -> Tensor:
        """(...) indices → (..., D)."""
        ctx.save_for_backward(index)
        ctx.rows = len(table_VD)
        return F.embedding(index, table_VD)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor, None]:
        """The gradients of the table and of `squares`, (V, D), added up in one pass."""
        (index,) = ctx.saved_tensors
        width = gradient.shape[-1]
        both = gradient.new_empty((index.numel(), 2 * width))
        of_places = both[:, :width].view(gradient.shape)
        of_places.copy_(gradient)
        torch.mul(of_places, of_places, out=both[:, width:].view(gradient.shape))
        if both.is_cuda:  # where adding by index depends on the order in which threads come
            sums = torch.ops.aten.embedding_dense_backward(both, index.flatten(), ctx.rows, -1, False)
        else:  # the same sums in half the time
            sums = both.new_zeros((ctx.rows, 2 * width)).index_add_(0, index.flatten(), both)
        return sums[:, :width].contiguous(), sums[:, width:].contiguous(), None


@dataclass(frozen=True)
class MaskingLayer(Layer[schema.Masking]):
    """Steps whose features all are one value count no more, and become zeros."""

    @property
    def description(self) -> str:
        """With its value."""
        return f"masking {self.spec.mask_value:g}"

    def forward(
        self, parameters: Parameters, x: Tensor, rng: BatchRng | None, new_buffers: dict[str, Tensor] | None
    ) -> Tensor:
        """(R, B, steps, features)."""
        return torch.where(self._counts(x).unsqueeze(-1), x, 0.0)

    def mask_of(self, x: Batch, mask: Tensor | None) -> Tensor | None:
        """(R, B, steps): whether any feature is another value."""
        assert isinstance(x, torch.Tensor), "steps are dense"
        return self._counts(x)

    def _counts(self, x: Tensor) -> Tensor:
        return (x != self.spec.mask_value).any(-1)
