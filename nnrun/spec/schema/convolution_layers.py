"""Convolutions over steps and over images."""

from typing import Union

from nnrun.spec.schema.component import Count
from nnrun.spec.schema.layer_shapes import (
    IMAGE,
    Activation,
    LayerInput,
    NetworkLayer,
    Padding,
    Shape,
    ShapeError,
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
    With a `dilation_rate` above 1 the window's steps lie that far apart; strides must be 1 then.
    """

    kind = "conv1d"
    example = {"filters": 32, "kernel_size": 3}
    of_steps = True
    ranks = {"kernel": 3, "bias": 1}
    filters: Count
    kernel_size: Count
    strides: Count = 1
    padding: Padding = "valid"
    dilation_rate: Count = 1
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
        return (*_places(self, taken), self.filters)


class Conv2D(NetworkLayer):
    """Windows of `kernel_size` times a kernel, (height, width, channels) to (height, width, filters).

    Rows (height, width) of an input are images of one channel. Glorot-uniform kernel, zero bias. Padding
    `same` is TensorFlow's: what cannot be halved goes to the end. `kernel_size`, `strides` and
    `dilation_rate` are one number for both axes, or a list of two. With a `dilation_rate` above 1 the
    window's places lie that far apart; strides must be 1 then.
    """

    kind = "conv2d"
    example = {"filters": 32, "kernel_size": 3}
    of_images = True
    ranks = {"kernel": 4, "bias": 1}
    filters: Count
    kernel_size: Sizes
    strides: Sizes = [1]
    padding: Padding = "valid"
    dilation_rate: Sizes = [1]
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
        return (*_places(self, taken), self.filters)


class SeparableConv1D(NetworkLayer):
    """Each channel of steps with `depth_multiplier` windows of its own, and then all channels mixed.

    The second is a convolution with windows of one step (Chollet 2016).
    """

    kind = "separable_conv1d"
    example = {"filters": 32, "kernel_size": 3}
    of_steps = True
    ranks = {"depthwise": 3, "pointwise": 3, "bias": 1}
    filters: Count
    kernel_size: Count
    strides: Count = 1
    padding: Padding = "valid"
    dilation_rate: Count = 1
    depth_multiplier: Count = 1
    activation: Activation = "linear"
    use_bias: bool = True
    depthwise_initializer: KernelInitializer = GlorotUniform()
    pointwise_initializer: KernelInitializer = GlorotUniform()
    bias_initializer: BiasInitializer = Zeros()
    depthwise_regularizer: Regularizer | None = None
    pointwise_regularizer: Regularizer | None = None
    bias_regularizer: Regularizer | None = None
    activity_regularizer: Regularizer | None = None
    depthwise_constraint: Constraint | None = None
    pointwise_constraint: Constraint | None = None
    bias_constraint: Constraint | None = None

    def output_shape(self, taken: LayerInput) -> Shape:
        """As many windows as there are, and the filters."""
        return (*_places(self, taken), self.filters)


class SeparableConv2D(NetworkLayer):
    """Each channel of images with `depth_multiplier` windows of its own, and then all channels mixed.

    The first is `depthwise_conv2d`, the second a convolution with windows of one place (Chollet 2016).
    """

    kind = "separable_conv2d"
    example = {"filters": 32, "kernel_size": 3}
    of_images = True
    ranks = {"depthwise": 4, "pointwise": 4, "bias": 1}
    filters: Count
    kernel_size: Sizes
    strides: Sizes = [1]
    padding: Padding = "valid"
    dilation_rate: Sizes = [1]
    depth_multiplier: Count = 1
    activation: Activation = "linear"
    use_bias: bool = True
    depthwise_initializer: KernelInitializer = GlorotUniform()
    pointwise_initializer: KernelInitializer = GlorotUniform()
    bias_initializer: BiasInitializer = Zeros()
    depthwise_regularizer: Regularizer | None = None
    pointwise_regularizer: Regularizer | None = None
    bias_regularizer: Regularizer | None = None
    activity_regularizer: Regularizer | None = None
    depthwise_constraint: Constraint | None = None
    pointwise_constraint: Constraint | None = None
    bias_constraint: Constraint | None = None

    def output_shape(self, taken: LayerInput) -> Shape:
        """As many windows as there are, and the filters."""
        return (*_places(self, taken), self.filters)


class DepthwiseConv2D(NetworkLayer):
    """Each channel of images with `depth_multiplier` windows of its own.

    Gives (height, width, channels * depth_multiplier); what one channel gives stands together.
    `kernel_size` and so on are those of `conv2d`.
    """

    kind = "depthwise_conv2d"
    example = 3
    of_images = True
    bare = "kernel_size"
    ranks = {"depthwise": 4, "bias": 1}
    kernel_size: Sizes
    strides: Sizes = [1]
    padding: Padding = "valid"
    dilation_rate: Sizes = [1]
    depth_multiplier: Count = 1
    activation: Activation = "linear"
    use_bias: bool = True
    depthwise_initializer: KernelInitializer = GlorotUniform()
    bias_initializer: BiasInitializer = Zeros()
    depthwise_regularizer: Regularizer | None = None
    bias_regularizer: Regularizer | None = None
    activity_regularizer: Regularizer | None = None
    depthwise_constraint: Constraint | None = None
    bias_constraint: Constraint | None = None

    def output_shape(self, taken: LayerInput) -> Shape:
        """As many windows as there are, and all that they give."""
        channels = taken.shape[-1]
        places = _places(self, taken)
        return (*places, None if channels is None else channels * self.depth_multiplier)


class Conv1DTranspose(NetworkLayer):
    """What the gradient of `conv1d` computes: each place adds a window of numbers to what is given.

    With padding `same` every size is multiplied by its stride; with `valid` what the windows reach beyond
    that is added. Glorot-uniform kernel, zero bias.
    """

    kind = "conv1d_transpose"
    example = {"filters": 32, "kernel_size": 3}
    of_steps = True
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
        """As many places as the windows reach, and the filters."""
        return (*_reached(self, taken), self.filters)


class Conv2DTranspose(NetworkLayer):
    """What the gradient of `conv2d` computes: each place adds a window of numbers to what is given.

    With padding `same` every size is multiplied by its stride; with `valid` what the windows reach beyond
    that is added. Glorot-uniform kernel, zero bias.
    """

    kind = "conv2d_transpose"
    example = {"filters": 32, "kernel_size": 3}
    of_images = True
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
        """As many places as the windows reach, and the filters."""
        return (*_reached(self, taken), self.filters)


_Windowed = Union[Conv1D, Conv2D, SeparableConv1D, SeparableConv2D, DepthwiseConv2D]
_Transposed = Union[Conv1DTranspose, Conv2DTranspose]


def _places(layer: _Windowed, taken: LayerInput) -> Shape:
    """How many windows there are along each axis; ShapeError where rows have another form."""
    axes = _axes_of(layer, taken)
    window, strides, dilation = (
        sizes_along(sizes, axes) for sizes in (layer.kernel_size, layer.strides, layer.dilation_rate)
    )
    if max(strides) > 1 and max(dilation) > 1:
        raise ShapeError(
            f"{layer.kind} has strides {max(strides)} and dilation_rate {max(dilation)}; one of them must be "
            "1, as in Keras",
            "dilation_rate",
        )
    reach = [(size - 1) * apart + 1 for size, apart in zip(window, dilation, strict=True)]
    try:
        return window_counts(layer, "kernel_size", reach, strides, layer.padding, taken)
    except ShapeError as error:
        if max(dilation) == 1:
            raise
        sizes = [" by ".join(map(str, size)) for size in (window, reach)]
        spread = f"with dilation_rate {max(dilation)} a window of {sizes[0]} reaches over {sizes[1]}"
        raise ShapeError(f"{error}; {spread}", "kernel_size") from None


def _reached(layer: _Transposed, taken: LayerInput) -> Shape:
    """How many places the windows reach along each axis."""
    axes = _axes_of(layer, taken)
    window, strides = sizes_along(layer.kernel_size, axes), sizes_along(layer.strides, axes)
    grown: list[int | None] = []
    for size, wide, stride in zip(taken.shape[:-1], window, strides, strict=True):
        beyond = max(wide - stride, 0) if layer.padding == "valid" else 0
        grown.append(None if size is None else size * stride + beyond)
    return tuple(grown)


def _axes_of(layer: _Windowed | _Transposed, taken: LayerInput) -> int:
    """1 for steps, 2 for images."""
    if isinstance(layer.kernel_size, int):
        steps_of(layer, taken)
        return 1
    if len(taken.shape) != 3:
        raise needs(layer, IMAGE, image_advice(taken.shape), taken)
    return 2


def sizes_along(sizes: int | list[int], axes: int) -> list[int]:
    """A size for each axis."""
    return along([sizes] if isinstance(sizes, int) else sizes, axes)


ConvolutionLayer = Union[
    Conv1D,
    Conv2D,
    SeparableConv1D,
    SeparableConv2D,
    DepthwiseConv2D,
    Conv1DTranspose,
    Conv2DTranspose,
]
