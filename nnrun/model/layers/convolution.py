"""Convolutions over steps and over images, which stay (R, B, *places, C) from layer to layer."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from nnrun.lazy_torch import F
from nnrun.model.activations import ACTIVATIONS
from nnrun.model.inputs import Batch
from nnrun.model.kernels import convolution as in_cpp
from nnrun.model.kernels.convolution import LIBRARY
from nnrun.model.layers.base import Layer, Parameters, Weight, along_last
from nnrun.model.layers.convolve import as_kernels, convolve, convolve_transposed
from nnrun.model.rng import BatchRng
from nnrun.model.windows import ONE_PLACE, Windows, as_images
from nnrun.spec import schema
from nnrun.spec.schema.convolution_layers import sizes_along

if TYPE_CHECKING:
    from torch import Tensor


def kernel_axes(places: int) -> tuple[int, ...]:
    """Which axes of Keras's kernel, (*window, in, out), those of (out, in, *window) are."""
    return (places + 1, places, *range(places))


C = TypeVar("C", bound=schema.NetworkLayer)


@dataclass(frozen=True)
class WindowedLayer(Layer[C], Generic[C]):
    """Base of all convolutions: windows along one or two axes, a bias and an activation."""

    @property
    def _spec(self) -> Any:
        return self.spec

    @property
    def places(self) -> int:
        """1 for steps, 2 for images."""
        return len(self.input_shape) - 1

    def along(self, name: str) -> list[int]:
        """A parameter that is a size for each axis, such as `kernel_size`."""
        return sizes_along(getattr(self.spec, name), self.places)

    @property
    def window(self) -> list[int]:
        """The kernel's size along each axis."""
        return self.along("kernel_size")

    @property
    def bias(self) -> dict[str, Weight]:
        """(out,), if there is one."""
        return {self.name("bias"): self.weight("bias", self.output_shape[-1:])} if self._spec.use_bias else {}

    @property
    def description(self) -> str:
        """With its window and its activation."""
        return f"{self.spec.kind} {'x'.join(map(str, self.window))}, {self._spec.activation}"

    @property
    def multiplications(self) -> int:
        """The kernels', at each place."""
        kernels = [w.num_elements for name, w in self.weights.items() if name != self.name("bias")]
        return math.prod(self.output_shape[:-1]) * sum(kernels)

    @cached_property
    def windows(self) -> Windows:
        """Where its windows lie on what it takes."""
        spec, along = self._spec, self.along
        return Windows.along(
            self.input_shape[:-1], self.window, along("strides"), spec.padding, along("dilation_rate")
        )

    def images(self, x: Tensor) -> Tensor:
        """(R, B, height, width, C). Images of one channel may lack that axis."""
        x = x.unsqueeze(-1) if x.dim() < len(self.input_shape) + 2 else x
        return as_images(x, self.places)

    def activated(self, parameters: Parameters, found: Tensor) -> Tensor:
        """activation(found + bias), (R, B, *places, C), of (R, B, height, width, C)."""
        x = self.rows(found)
        if self._spec.use_bias:
            x = x + along_last(parameters[self.name("bias")], x)
        return ACTIVATIONS[self._spec.activation](x)

    def convolved(self, parameters: Parameters, images: Tensor, windows: Windows) -> Tensor:
        """activation(convolution by `weight` + bias), (R, B, *places, C), of (R, B, height, width, C)."""
        kernel = as_kernels(parameters[self.name("weight")])
        bias = parameters[self.name("bias")] if self._spec.use_bias else None
        if self._spec.activation == "relu":
            return self.rows(convolve(images, kernel, bias, windows, relu=True))
        return ACTIVATIONS[self._spec.activation](self.rows(convolve(images, kernel, bias, windows)))

    def rows(self, images: Tensor) -> Tensor:
        """(R, B, height, width, C) → (R, B, *places, C)."""
        return images.flatten(2, 3) if self.places == 1 else images


@dataclass(frozen=True)
class ConvolutionLayer(WindowedLayer[schema.Conv1D | schema.Conv2D]):
    """A kernel (R, out, in, *window), a bias (R, out); in a weights file without R, as in PyTorch."""

    @classmethod
    def kernel_for(cls, spec: schema.Conv1D | schema.Conv2D) -> str | None:
        """For all of them."""
        return LIBRARY

    @cached_property
    def weights(self) -> Mapping[str, Weight]:
        """Kernel and bias."""
        shape = (self.spec.filters, self.input_shape[-1], *self.window)
        return {self.name("weight"): self.weight("kernel", shape, axes=kernel_axes(self.places))} | self.bias

    def forward(
        self, parameters: Parameters, x: Tensor, rng: BatchRng | None, new_buffers: dict[str, Tensor] | None
    ) -> Batch:
        """activation(convolution + bias); convolution as networks have it, the kernel not flipped.

        What C++ computes of images waits for the next layer, which may ask for what it pools of them alone.
        """
        activation = self._spec.activation
        if self.places == 2 and activation in ("relu", "linear"):
            bias = parameters[self.name("bias")] if self._spec.use_bias else None
            kernel, relu = parameters[self.name("weight")], activation == "relu"
            waiting = in_cpp.convolved(self.images(x), kernel, bias, self.windows, relu=relu)
            if waiting is not None:
                return waiting
        return self.convolved(parameters, self.images(x), self.windows)


@dataclass(frozen=True)
class DepthwiseLayer(WindowedLayer[schema.DepthwiseConv2D]):
    """A kernel (R, in, multiplier, *window), a bias (R, in * multiplier).

    In a weights file, as in PyTorch, the kernel is (in * multiplier, 1, *window).
    """

    @cached_property
    def weights(self) -> Mapping[str, Weight]:
        """Kernel and bias."""
        return {self.name("weight"): _depthwise(self, self.spec.depth_multiplier)} | self.bias

    def forward(
        self, parameters: Parameters, x: Tensor, rng: BatchRng | None, new_buffers: dict[str, Tensor] | None
    ) -> Tensor:
        """activation(each channel's convolutions + bias)."""
        return self.activated(parameters, _each_channel(self, parameters[self.name("weight")], x))


@dataclass(frozen=True)
class SeparableLayer(WindowedLayer[schema.SeparableConv1D | schema.SeparableConv2D]):
    """Kernels (R, in, multiplier, *window) and (R, out, in * multiplier, 1, ...), a bias (R, out).

    In a weights file `depthwise_weight` is (in * multiplier, 1, *window).
    """

    @classmethod
    def kernel_for(cls, spec: schema.SeparableConv1D | schema.SeparableConv2D) -> str | None:
        """For what mixes the channels."""
        return LIBRARY

    @cached_property
    def weights(self) -> Mapping[str, Weight]:
        """The kernel of each channel, that which mixes them, and the bias."""
        multiplier, ones = self.spec.depth_multiplier, [1] * self.places
        shape = (self.spec.filters, self.input_shape[-1] * multiplier, *ones)
        return {
            self.name("depthwise_weight"): _depthwise(self, multiplier),
            self.name("weight"): self.weight("pointwise", shape, axes=kernel_axes(self.places)),
        } | self.bias

    def forward(
        self, parameters: Parameters, x: Tensor, rng: BatchRng | None, new_buffers: dict[str, Tensor] | None
    ) -> Tensor:
        """activation(the mixed convolutions of each channel + bias)."""
        found = _each_channel(self, parameters[self.name("depthwise_weight")], x)
        return self.convolved(parameters, found, ONE_PLACE)


def _depthwise(layer: WindowedLayer[Any], multiplier: int) -> Weight:
    shape, places = (layer.input_shape[-1], multiplier, *layer.window), layer.places
    return layer.weight("depthwise", shape, "depthwise", (places, places + 1, *range(places)))


def _each_channel(layer: WindowedLayer[Any], kernel: Tensor, x: Tensor) -> Tensor:
    """(R, B, *places, C) → (R, B, height, width, C * multiplier), each channel by its own windows."""
    flat = as_kernels(kernel.flatten(1, 2).unsqueeze(2))
    return convolve(layer.images(x), flat, None, layer.windows, groups=layer.input_shape[-1])


@dataclass(frozen=True)
class TransposedLayer(WindowedLayer[schema.Conv1DTranspose | schema.Conv2DTranspose]):
    """A kernel (R, in, out, *window), a bias (R, out); in a weights file without R, as in PyTorch."""

    @cached_property
    def weights(self) -> Mapping[str, Weight]:
        """Kernel and bias."""
        shape = (self.input_shape[-1], self.spec.filters, *self.window)
        return {self.name("weight"): self.weight("kernel", shape, axes=kernel_axes(self.places))} | self.bias

    def forward(
        self, parameters: Parameters, x: Tensor, rng: BatchRng | None, new_buffers: dict[str, Tensor] | None
    ) -> Tensor:
        """activation(what all places add + bias)."""
        kernel, strides = as_kernels(parameters[self.name("weight")]), self.along("strides")
        found = convolve_transposed(self.images(x), kernel, strides)
        for axis, (size, stride) in enumerate(zip(self.window, strides, strict=True), -1 - self.places):
            wanted, same = self.output_shape[axis], self.spec.padding == "same"
            first = max(size - stride, 0) // 2 if same else 0
            found = found.narrow(axis, first, min(wanted, found.shape[axis] - first))
        missing = [w - n for w, n in zip(self.output_shape[-2::-1], found.shape[-2::-1], strict=False)]
        if any(missing):  # strides beyond the window leave places that nothing reaches
            found = F.pad(found, [0, 0, *(amount for n in missing for amount in (0, n))])
        return self.activated(parameters, found)
