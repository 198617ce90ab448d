"""Convolutions over steps and over images: replicas are groups of channels."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import torch.nn.functional as F
from torch import Tensor

from nnrun.model.activations import ACTIVATIONS
from nnrun.model.layers.base import Layer, Parameters, Weight
from nnrun.model.layers.windows import padded
from nnrun.model.rng import BatchRng
from nnrun.spec import schema
from nnrun.spec.schema.layer_shapes import along


def kernel_axes(places: int) -> tuple[int, ...]:
    """Which axes of Keras's kernel, (*window, in, out), those of (out, in, *window) are."""
    return (places + 1, places, *range(places))


@dataclass(frozen=True)
class ConvolutionLayer(Layer[schema.Conv1D | schema.Conv2D]):
    """A kernel (R, out, in, *window), a bias (R, out); in a weights file without R, as in PyTorch."""

    @cached_property
    def window(self) -> list[int]:
        """The kernel's size along each axis."""
        spec = self.spec
        return [spec.kernel_size] if isinstance(spec, schema.Conv1D) else along(spec.kernel_size, 2)

    @cached_property
    def strides(self) -> list[int]:
        """How far the window moves along each axis."""
        spec = self.spec
        return [spec.strides] if isinstance(spec, schema.Conv1D) else along(spec.strides, 2)

    @cached_property
    def weights(self) -> Mapping[str, Weight]:
        """Kernel and bias."""
        filters, channels = self.spec.filters, self.input_shape[-1]
        shape = (filters, channels, *self.window)
        weights = {self.name("weight"): self.weight("kernel", shape, axes=kernel_axes(len(self.window)))}
        if self.spec.use_bias:
            weights[self.name("bias")] = self.weight("bias", (filters,))
        return weights

    @property
    def description(self) -> str:
        """With its window and its activation."""
        return f"{self.spec.kind} {'x'.join(map(str, self.window))}, {self.spec.activation}"

    @property
    def multiplications(self) -> int:
        """The kernel's, at each place."""
        return math.prod(self.output_shape[:-1]) * self.weights[self.name("weight")].num_elements

    def forward(
        self, parameters: Parameters, x: Tensor, rng: BatchRng | None, new_buffers: dict[str, Tensor] | None
    ) -> Tensor:
        """activation(convolution + bias); convolution as networks have it, the kernel not flipped."""
        replicas = x.shape[0]
        kernel = parameters[self.name("weight")].flatten(0, 1)
        bias = parameters[self.name("bias")].flatten(0, 1) if self.spec.use_bias else None
        # (R, B, ..., C) → (B, R*C, ...): the channels of one replica are one group.
        images = x.movedim(0, 1).movedim(-1, 2).flatten(1, 2)
        if self.spec.padding == "same":
            images = padded(images, self.window, self.strides, 0.0)
        convolve = F.conv1d if len(self.window) == 1 else F.conv2d
        found: Tensor = convolve(images, kernel, bias, self.strides, groups=replicas)
        by_replica = found.view(found.shape[0], replicas, self.spec.filters, *found.shape[2:])
        return ACTIVATIONS[self.spec.activation](by_replica.movedim(0, 1).movedim(2, -1))
