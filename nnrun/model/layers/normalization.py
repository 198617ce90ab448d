"""Normalization: over the rows of a batch, or over the features of each row."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, TypeAlias

from nnrun.lazy_torch import F, torch
from nnrun.model.layers.base import Layer, Parameters, Weight, along_last
from nnrun.model.layers.initializers import ones
from nnrun.model.rng import BatchRng
from nnrun.ranks import Share, share_of_batch
from nnrun.spec import schema

if TYPE_CHECKING:
    from torch import Tensor

_SMALLEST_LENGTH = 1e-12  # Keras's, of a vector that is divided by its length
_Scaled: TypeAlias = "BatchNormalizationLayer | LayerNormalizationLayer | GroupNormalizationLayer"


def _scaled(layer: _Scaled, parameters: Parameters, x: Tensor) -> Tensor:
    """x * weight + bias, as far as the layer has them."""
    if layer.spec.scale:
        x = x * along_last(parameters[layer.name("weight")], x)
    if layer.spec.center:
        x = x + along_last(parameters[layer.name("bias")], x)
    return x


def _scale_and_center(layer: _Scaled) -> dict[str, Weight]:
    shape = layer.input_shape[-1:]
    weights = {layer.name("weight"): Weight(shape, initializer=ones)} if layer.spec.scale else {}
    return weights | ({layer.name("bias"): Weight(shape)} if layer.spec.center else {})


_SMALLEST_COUNT = 1e-7  # Keras's, so that a batch without any step that counts divides by something


def _moments(x: Tensor, mask: Tensor | None) -> tuple[Tensor, Tensor]:
    """Variance and mean of each number along the last axis, of each replica; of what counts, with a mask.

    Of rows that are a part of a batch those of the whole batch.
    """
    axes = tuple(range(1, x.dim() - 1))
    if (share := share_of_batch()) is not None:
        return _moments_of_all(x, mask, share)
    if mask is None:
        variance, mean = torch.var_mean(x, axes, correction=0, keepdim=True)
        return variance, mean
    counts = mask.unsqueeze(-1)
    number = counts.sum(axes, keepdim=True) + _SMALLEST_COUNT
    mean = torch.where(counts, x, 0.0).sum(axes, keepdim=True) / number
    variance = torch.where(counts, x - mean, 0.0).square().sum(axes, keepdim=True) / number
    return variance, mean


def _moments_of_all(x: Tensor, mask: Tensor | None, share: Share) -> tuple[Tensor, Tensor]:
    """The same over the rows of all ranks. The mean comes first: a sum of squares alone would lose digits."""
    axes = tuple(range(1, x.dim() - 1))
    counts = torch.ones_like(x[..., :1], dtype=torch.bool) if mask is None else mask.unsqueeze(-1)
    own = torch.cat(
        [torch.where(counts, x, 0.0).sum(axes, keepdim=True), counts.sum(axes, keepdim=True).to(x.dtype)], -1
    )
    summed = share.sum(own)
    number = summed[..., -1:].detach() + (0.0 if mask is None else _SMALLEST_COUNT)
    mean = summed[..., :-1] / number
    squares = torch.where(counts, x - mean, 0.0).square().sum(axes, keepdim=True)
    return share.sum(squares) / number, mean


@dataclass(frozen=True)
class BatchNormalizationLayer(Layer[schema.BatchNormalization]):
    """Each number along the last axis by its mean and variance over the batch (Ioffe & Szegedy 2015).

    A weights file has PyTorch's names: weight (gamma), bias (beta), running_mean, running_var, each (C,).
    """

    @cached_property
    def weights(self) -> Mapping[str, Weight]:
        """Scale and centre, which are trained; moving mean and variance, which are buffers."""
        shape = self.input_shape[-1:]
        return _scale_and_center(self) | {
            self.name("running_mean"): Weight(shape, trainable=False),
            self.name("running_var"): Weight(shape, trainable=False, initializer=ones),
        }

    def forward(
        self, parameters: Parameters, x: Tensor, rng: BatchRng | None, new_buffers: dict[str, Tensor] | None
    ) -> Tensor:
        """By the batch's statistics while training (each replica by its own), else by the moving ones."""
        return self._normalized(parameters, x, None, new_buffers)

    def forward_masked(
        self,
        parameters: Parameters,
        x: Tensor,
        mask: Tensor,
        rng: BatchRng | None,
        new_buffers: dict[str, Tensor] | None,
    ) -> Tensor:
        """By the statistics of what counts."""
        return self._normalized(parameters, x, mask, new_buffers)

    def _normalized(
        self,
        parameters: Parameters,
        x: Tensor,
        mask: Tensor | None,
        new_buffers: dict[str, Tensor] | None,
    ) -> Tensor:
        names = (self.name("running_mean"), self.name("running_var"))
        if new_buffers is None:
            mean, variance = (along_last(parameters[name], x) for name in names)
        else:
            variance, mean = _moments(x, mask)
            for name, batch in zip(names, (mean, variance), strict=True):
                moving = new_buffers.get(name, parameters[name])  # a shared layer moves it each time
                step = (batch.detach().reshape(moving.shape) - moving) * (1 - self.spec.momentum)
                new_buffers[name] = moving + step
        return _scaled(self, parameters, (x - mean) * torch.rsqrt(variance + self.spec.epsilon))


@dataclass(frozen=True)
class LayerNormalizationLayer(Layer[schema.LayerNormalization]):
    """The last axis of each row by its mean and variance (Ba et al. 2016). In a file: weight, bias: (C,)."""

    @cached_property
    def weights(self) -> Mapping[str, Weight]:
        """Scale and centre."""
        return _scale_and_center(self)

    def forward(
        self, parameters: Parameters, x: Tensor, rng: BatchRng | None, new_buffers: dict[str, Tensor] | None
    ) -> Tensor:
        """Training makes no difference."""
        variance, mean = torch.var_mean(x, -1, correction=0, keepdim=True)
        return _scaled(self, parameters, (x - mean) * torch.rsqrt(variance + self.spec.epsilon))


@dataclass(frozen=True)
class GroupNormalizationLayer(Layer[schema.GroupNormalization]):
    """Groups of channels by their mean and variance over all places. In a file: weight, bias: (C,)."""

    @cached_property
    def weights(self) -> Mapping[str, Weight]:
        """Scale and centre."""
        return _scale_and_center(self)

    def forward(
        self, parameters: Parameters, x: Tensor, rng: BatchRng | None, new_buffers: dict[str, Tensor] | None
    ) -> Tensor:
        """Training makes no difference."""
        channels = self.input_shape[-1]
        groups = channels if self.spec.groups == -1 else self.spec.groups
        grouped = x.reshape(*x.shape[:2], -1, channels)
        grouped = grouped.view(*grouped.shape[:3], groups, channels // groups)
        variance, mean = torch.var_mean(grouped, (2, 4), correction=0, keepdim=True)
        normalized = (grouped - mean) * torch.rsqrt(variance + self.spec.epsilon)
        return _scaled(self, parameters, normalized.flatten(-2).reshape(x.shape))


@dataclass(frozen=True)
class RmsNormalizationLayer(Layer[schema.RmsNormalization]):
    """The last axis by the root of its mean square. In a file: weight: (C,)."""

    @cached_property
    def weights(self) -> Mapping[str, Weight]:
        """The scale."""
        return {self.name("weight"): Weight(self.input_shape[-1:], initializer=ones)}

    def forward(
        self, parameters: Parameters, x: Tensor, rng: BatchRng | None, new_buffers: dict[str, Tensor] | None
    ) -> Tensor:
        """Training makes no difference."""
        scale = along_last(parameters[self.name("weight")], x)
        return x * torch.rsqrt(x.square().mean(-1, keepdim=True) + self.spec.epsilon) * scale


@dataclass(frozen=True)
class UnitNormalizationLayer(Layer[schema.UnitNormalization]):
    """Length 1 along an axis."""

    def forward(
        self, parameters: Parameters, x: Tensor, rng: BatchRng | None, new_buffers: dict[str, Tensor] | None
    ) -> Tensor:
        """Training makes no difference. What is all 0 stays 0."""
        axis = self.spec.axis if self.spec.axis < 0 else self.spec.axis + 2
        return F.normalize(x, dim=axis, eps=_SMALLEST_LENGTH)
