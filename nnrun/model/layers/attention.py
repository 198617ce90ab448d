"""Attention between the steps of a row, and position embeddings.

Q query steps, S steps that are looked at, H heads, D numbers of a head.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from nnrun.model.layers.base import Layer, Parameters, Weight
from nnrun.model.layers.initializers import Shape, ones
from nnrun.model.rng import BatchRng, dropout_factors
from nnrun.spec import schema

# Taken from scores of masked steps, or put in their place (Keras's).
_MASKED = 1e9


@dataclass(frozen=True)
class AttentionLayer(Layer[schema.Attention]):
    """Dot-product attention of the steps to each other. With `use_scale` a number `scale`, (R, 1)."""

    @cached_property
    def weights(self) -> Mapping[str, Weight]:
        """The scale, if there is one; () in a file."""
        return {self.name("scale"): Weight((1,), "row", initializer=ones)} if self.spec.use_scale else {}

    @property
    def activations_per_row(self) -> int:
        """The weight of each step for each other."""
        return self.input_shape[0] ** 2 + math.prod(self.input_shape)

    def forward(
        self, parameters: Parameters, x: Tensor, rng: BatchRng | None, new_buffers: dict[str, Tensor] | None
    ) -> Tensor:
        """softmax(x @ x^T) @ x."""
        return self._attend(parameters, x, None, rng)

    def forward_masked(
        self,
        parameters: Parameters,
        x: Tensor,
        mask: Tensor,
        rng: BatchRng | None,
        new_buffers: dict[str, Tensor] | None,
    ) -> Tensor:
        """Masked steps are not looked at, and give 0."""
        return torch.where(mask.unsqueeze(-1), self._attend(parameters, x, mask, rng), 0.0)

    def _attend(
        self, parameters: Parameters, x_RBSF: Tensor, mask_RBS: Tensor | None, rng: BatchRng | None
    ) -> Tensor:
        scores_RBQS = x_RBSF @ x_RBSF.transpose(-1, -2)
        if self.spec.use_scale:
            scores_RBQS = scores_RBQS * parameters[self.name("scale")].view(-1, 1, 1, 1)
        if mask_RBS is not None:
            seen = mask_RBS.unsqueeze(2)
            scores_RBQS = torch.where(seen, scores_RBQS, scores_RBQS - _MASKED)
        weights = _dropped(self, torch.softmax(scores_RBQS, -1), self.spec.dropout, rng)
        return weights @ x_RBSF


@dataclass(frozen=True)
class MultiHeadAttentionLayer(Layer[schema.MultiHeadAttention]):
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
        heads, features = self.spec.num_heads, self.input_shape[-1]
        keys, values = heads * self.spec.key_dim, heads * self.value_dim
        shapes = {
            "query": (features, keys),
            "key": (features, keys),
            "value": (features, values),
            "output": (values, self.output_shape[-1]),
        }
        found = {}
        for part, shape in shapes.items():
            of_heads = (heads, shape[1] // heads)  # an axis of Keras's arrays
            kernel: Shape = (features, *of_heads)
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
        steps, heads = self.input_shape[0], self.spec.num_heads
        kernels = sum(w.num_elements for name, w in self.weights.items() if name.endswith("_weight"))
        return steps * kernels + steps * steps * heads * (self.spec.key_dim + self.value_dim)

    @property
    def activations_per_row(self) -> int:
        """The projections, and in each head the weight of each step for each other."""
        steps, heads = self.input_shape[0], self.spec.num_heads
        return steps * heads * (2 * self.spec.key_dim + 2 * self.value_dim + 2 * steps)

    def forward(
        self, parameters: Parameters, x: Tensor, rng: BatchRng | None, new_buffers: dict[str, Tensor] | None
    ) -> Tensor:
        """(R, B, S, F) → (R, B, S, out)."""
        return self._attend(parameters, x, None, rng)

    def forward_masked(
        self,
        parameters: Parameters,
        x: Tensor,
        mask: Tensor,
        rng: BatchRng | None,
        new_buffers: dict[str, Tensor] | None,
    ) -> Tensor:
        """Masked steps are not looked at; what they give themselves means nothing."""
        return self._attend(parameters, x, mask, rng)

    def _attend(
        self, parameters: Parameters, x_RBSF: Tensor, mask_RBS: Tensor | None, rng: BatchRng | None
    ) -> Tensor:
        query, key, value = (
            self._projected(parameters, part, x_RBSF)
            .view(*x_RBSF.shape[:3], self.spec.num_heads, -1)
            .transpose(2, 3)
            for part in ("query", "key", "value")
        )  # (R, B, H, S, D)
        scores_RBHQS = (query / math.sqrt(self.spec.key_dim)) @ key.transpose(-1, -2)
        if mask_RBS is not None:
            both = mask_RBS.unsqueeze(2) & mask_RBS.unsqueeze(3)
            scores_RBHQS = torch.where(both.unsqueeze(2), scores_RBHQS, -_MASKED)
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
    layer: AttentionLayer | MultiHeadAttentionLayer, weights: Tensor, rate: float, rng: BatchRng | None
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
