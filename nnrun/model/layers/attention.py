"""Attention between the steps of a row, and position embeddings.

Q query steps, S steps that are looked at, H heads, D numbers of a head.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, reduce
from typing import TYPE_CHECKING, TypeVar

from nnrun.lazy_torch import torch
from nnrun.model.layers.base import Layer, Parameters, Weight
from nnrun.model.layers.initializers import Shape, ones
from nnrun.model.rng import BatchRng, dropout_factors
from nnrun.spec import schema

if TYPE_CHECKING:
    from torch import Tensor

# Taken from scores of masked steps, or put in their place (Keras's).
_MASKED = 1e9


A = TypeVar("A", bound=schema.AttentionComponent)
Masks = Sequence["Tensor | None"]


@dataclass(frozen=True)
class OfSeveral(Layer[A]):
    """What compares a query with a key and gives what it finds of a value.

    Attributes:
        others: the shape of a row of the value, and of the key; empty where both are those of the query's.
    """

    others: tuple[Shape, ...] = ()

    @property
    def value_shape(self) -> Shape:
        """(S, features) of the value."""
        return self.others[0] if self.others else self.input_shape

    @property
    def key_shape(self) -> Shape:
        """(S, features) of the key: by default the value."""
        return self.others[-1] if self.others else self.input_shape

    @property
    def pairs(self) -> int:
        """How many steps are compared with each other."""
        return self.input_shape[0] * self.value_shape[0]

    def forward(
        self, parameters: Parameters, x: Tensor, rng: BatchRng | None, new_buffers: dict[str, Tensor] | None
    ) -> Tensor:
        """Of steps to each other, (R, B, S, F)."""
        return self.forward_of_several(parameters, [x], [None], rng)

    def forward_masked(
        self,
        parameters: Parameters,
        x: Tensor,
        mask: Tensor,
        rng: BatchRng | None,
        new_buffers: dict[str, Tensor] | None,
    ) -> Tensor:
        """Masked steps are not looked at."""
        return self.forward_of_several(parameters, [x], [mask], rng)

    @abstractmethod
    def forward_of_several(
        self, parameters: Parameters, taken: Sequence[Tensor], masks: Masks, rng: BatchRng | None
    ) -> Tensor:
        """Of a query (R, B, Q, F), a value and a key (R, B, S, F); a single one is all of them.

        Args:
            parameters: stacked weights of all layers.
            taken: query, value, key; the key is by default the value.
            masks: of each (R, B, Q) or (R, B, S) booleans, or None.
            rng: of a training step; None otherwise.
        """


@dataclass(frozen=True)
class AttentionLayer(OfSeveral[schema.Attention]):
    """Dot-product attention. With `use_scale` a number `scale`, (R, 1)."""

    @cached_property
    def weights(self) -> Mapping[str, Weight]:
        """The scale, if there is one; () in a file."""
        return {self.name("scale"): Weight((1,), "row", initializer=ones)} if self.spec.use_scale else {}

    @property
    def activations_per_row(self) -> int:
        """The weight of each step for each other."""
        return self.pairs + math.prod(self.output_shape)

    def forward_of_several(
        self, parameters: Parameters, taken: Sequence[Tensor], masks: Masks, rng: BatchRng | None
    ) -> Tensor:
        """softmax(query @ key^T) @ value.

        Masked steps of the value are not looked at, those of the query give 0; a mask of the key counts for
        nothing, as in Keras.
        """
        query, value = taken[0], taken[min(1, len(taken) - 1)]
        query_mask, value_mask = masks[0], masks[min(1, len(masks) - 1)]
        scores_RBQS = query @ taken[-1].transpose(-1, -2)
        if self.spec.use_scale:
            scores_RBQS = scores_RBQS * parameters[self.name("scale")].view(-1, 1, 1, 1)
        if value_mask is not None:
            scores_RBQS = torch.where(value_mask.unsqueeze(2), scores_RBQS, scores_RBQS - _MASKED)
        found = _dropped(self, torch.softmax(scores_RBQS, -1), self.spec.dropout, rng) @ value
        return found if query_mask is None else torch.where(query_mask.unsqueeze(-1), found, 0.0)


@dataclass(frozen=True)
class MultiHeadAttentionLayer(OfSeveral[schema.MultiHeadAttention]):
    """Projections (R, in, H * D) of query, key and value, and (R, H * D, out) of what the heads give.

    In a weights file `query_weight`, `key_weight`, `value_weight` and `output_weight` are (out, in), as in
    PyTorch, and the biases `query_bias` and so on (out,).
    """

    @property
    def value_dim(self) -> int:
        """The numbers of each head's value."""
        return self.spec.value_dim or self.spec.key_dim

    @cached_property
    def weights(self) -> Mapping[str, Weight]:
        """Kernel and bias of each projection."""
        heads = self.spec.num_heads
        keys, values = heads * self.spec.key_dim, heads * self.value_dim
        shapes = {
            "query": (self.input_shape[-1], keys),
            "key": (self.key_shape[-1], keys),
            "value": (self.value_shape[-1], values),
            "output": (values, self.output_shape[-1]),
        }
        found = {}
        for part, shape in shapes.items():
            of_heads = (heads, shape[1] // heads)  # an axis of Keras's arrays
            kernel: Shape = (shape[0], *of_heads)
            bias: Shape = of_heads
            if part == "output":
                kernel, bias = (heads, self.value_dim, shape[1]), shape[1:]
            found[self.name(f"{part}_weight")] = self.weight(
                "kernel", shape, "transposed", keras_shape=kernel
            )
            if self.spec.use_bias:
                found[self.name(f"{part}_bias")] = self.weight("bias", (1, shape[1]), "row", keras_shape=bias)
        return found

    @property
    def description(self) -> str:
        """With its heads."""
        return f"{self.spec.kind}, {self.spec.num_heads} heads of {self.spec.key_dim}"

    @property
    def multiplications(self) -> int:
        """Those of the projections at each step, and of each step with each other."""
        heads, values = self.spec.num_heads, ("key_weight", "value_weight")
        kernels = {name.rpartition(".")[2]: w.num_elements for name, w in self.weights.items()}
        of_values = sum(kernels[name] for name in values)
        of_queries = sum(n for name, n in kernels.items() if name.endswith("_weight")) - of_values
        projections = self.input_shape[0] * of_queries + self.value_shape[0] * of_values
        return projections + self.pairs * heads * (self.spec.key_dim + self.value_dim)

    @property
    def activations_per_row(self) -> int:
        """The projections, and in each head the weight of each step for each other."""
        queries, values, heads = self.input_shape[0], self.value_shape[0], self.spec.num_heads
        projected = (queries + values) * (self.spec.key_dim + self.value_dim)
        return heads * (projected + 2 * self.pairs)

    def forward_of_several(
        self, parameters: Parameters, taken: Sequence[Tensor], masks: Masks, rng: BatchRng | None
    ) -> Tensor:
        """(R, B, Q, out).

        Masked steps of the value and of the key are not looked at; what masked steps of the query give means
        nothing.
        """
        query, key, value = (
            self._projected(parameters, part, x).view(*x.shape[:3], self.spec.num_heads, -1).transpose(2, 3)
            for part, x in (
                ("query", taken[0]),
                ("key", taken[-1]),
                ("value", taken[min(1, len(taken) - 1)]),
            )
        )  # (R, B, H, S, D)
        scores_RBHQS = (query / math.sqrt(self.spec.key_dim)) @ key.transpose(-1, -2)
        seen = [mask.unsqueeze(2) for mask in (masks if len(masks) == 1 else masks[1:]) if mask is not None]
        if masks[0] is not None:
            seen.append(masks[0].unsqueeze(3))
        if seen:
            all_seen = reduce(torch.logical_and, seen).unsqueeze(2)
            scores_RBHQS = torch.where(all_seen, scores_RBHQS, -_MASKED)
        weights = _dropped(self, torch.softmax(scores_RBHQS, -1), self.spec.dropout, rng)
        return self._projected(parameters, "output", (weights @ value).transpose(2, 3).flatten(3))

    def _projected(self, parameters: Parameters, part: str, x: Tensor) -> Tensor:
        """x @ kernel + bias, of (R, B, S, ...)."""
        kernel, flat = parameters[self.name(f"{part}_weight")], x.flatten(1, 2)
        if self.spec.use_bias:
            found = torch.baddbmm(parameters[self.name(f"{part}_bias")], flat, kernel)
        else:
            found = torch.bmm(flat, kernel)
        return found.view(*x.shape[:3], -1)


def _dropped(
    layer: OfSeveral[schema.Attention] | OfSeveral[schema.MultiHeadAttention],
    weights: Tensor,
    rate: float,
    rng: BatchRng | None,
) -> Tensor:
    if rng is None or rate == 0:
        return weights
    return weights * dropout_factors(rng.dense(layer.path, weights), rate)


@dataclass(frozen=True)
class PositionEmbeddingLayer(Layer[schema.PositionEmbedding]):
    """A vector for each step, (R, S, F), added; in a weights file `weight`, (S, F). Or sines and cosines."""

    @cached_property
    def weights(self) -> Mapping[str, Weight]:
        """The learned vectors."""
        if self.spec.encoding == "sinusoidal":
            return {}
        return {self.name("weight"): self.weight("embeddings", self.input_shape)}

    @property
    def description(self) -> str:
        """With its kind."""
        return f"{self.spec.kind}, {self.spec.encoding}"

    def forward(
        self, parameters: Parameters, x: Tensor, rng: BatchRng | None, new_buffers: dict[str, Tensor] | None
    ) -> Tensor:
        """x + the vector of each step."""
        if self.spec.encoding == "learned":
            return x + parameters[self.name("weight")].unsqueeze(1)
        steps, features = self.input_shape
        return x + _sines(steps, features, self.spec.max_wavelength, x)


def _sines(steps: int, features: int, max_wavelength: float, like: Tensor) -> Tensor:
    """(S, F): in pairs of features the sine and the cosine of a wavelength, which grow from pair to pair."""
    column = torch.arange(features, device=like.device)
    rates = max_wavelength ** (-2.0 * (column // 2) / features)
    angles = torch.arange(steps, device=like.device).unsqueeze(1) * rates
    return torch.where(column % 2 == 0, angles.sin(), angles.cos()).to(like.dtype)
