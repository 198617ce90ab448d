"""Convolutions over steps and over images."""

from __future__ import annotations

from typing import Union

from nnrun.spec.schema.component import Count
from nnrun.spec.schema.layer_base import Activation, NetworkLayer
from nnrun.spec.schema.layer_shapes import (
    IMAGE,
    LayerInput,
    Padding,
    Shape,
    Sizes,
    along,
    image_advice,
    needs,
    steps_of,
    window_counts,
)
from nnrun.spec.schema.weight_options import (
    BiasInitializer,
    Constraint,
    GlorotUniform,
    KernelInitializer,
    Regularizer,
    Zeros,
)


class Conv1D(NetworkLayer):
    """Windows of `kernel_size` steps times a kernel, (steps, channels) to (steps, filters).

    Glorot-uniform kernel, zero bias. Padding `same` is TensorFlow's: what cannot be halved goes to the end.
    """

    kind = "conv1d"
    ranks = {"kernel": 3, "bias": 1}
    filters: Count
    kernel_size: Count
    strides: Count = 1
    padding: Padding = "valid"
    activation: Activation = "linear"
    use_bias: bool = True
    kernel_initializer: KernelInitializer = GlorotUniform()
    bias_initializer: BiasInitializer = Zeros()
    kernel_regularizer: Regularizer | None = None
    bias_regularizer: Regularizer | None = None
    activity_regularizer: Regularizer | None = None
    kernel_constraint: Constraint | None = None
    bias_constraint: Constraint | None = None

    def output_shape(self, taken: LayerInput) -> Shape:
        """As many windows as there are, and the filters."""
        steps_of(self, taken)
        window, strides = [self.kernel_size], [self.strides]
        return (*window_counts(self, "kernel_size", window, strides, self.padding, taken), self.filters)


class Conv2D(NetworkLayer):
    """Windows of `kernel_size` times a kernel, (height, width, channels) to (height, width, filters).

    Glorot-uniform kernel, zero bias. Padding `same` is TensorFlow's: what cannot be halved goes to the end.
    `kernel_size` and `strides` are one number for both axes, or a list of two.
    """

    kind = "conv2d"
    ranks = {"kernel": 4, "bias": 1}
    filters: Count
    kernel_size: Sizes
    strides: Sizes = [1]
    padding: Padding = "valid"
    activation: Activation = "linear"
    use_bias: bool = True
    kernel_initializer: KernelInitializer = GlorotUniform()
    bias_initializer: BiasInitializer = Zeros()
    kernel_regularizer: Regularizer | None = None
    bias_regularizer: Regularizer | None = None
    activity_regularizer: Regularizer | None = None
    kernel_constraint: Constraint | None = None
    bias_constraint: Constraint | None = None

    def output_shape(self, taken: LayerInput) -> Shape:
        """As many windows as there are along each axis, and the filters."""
        if len(taken.shape) != 3:
            raise needs(self, IMAGE, image_advice(taken.shape), taken)
        window, strides = along(self.kernel_size, 2), along(self.strides, 2)
        return (*window_counts(self, "kernel_size", window, strides, self.padding, taken), self.filters)


ConvolutionLayer = Union[Conv1D, Conv2D]
