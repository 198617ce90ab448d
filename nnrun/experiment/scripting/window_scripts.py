"""Layers with windows, and those that make rows larger or smaller, as lines of a script."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from nnrun.experiment.scripting.layer_script import Array, LayerScript, Weights, activated
from nnrun.spec import schema
from nnrun.spec.schema.layer_shapes import LayerInput, along
from nnrun.spec.schema.pooling_layers import at_both_ends


def _padding(windows: Any, places: int) -> list[int]:
    """As `F.pad` takes it, the last axis first."""
    pairs = list(zip(windows.before, windows.after, strict=True))[2 - places :]
    return [n for pair in reversed(pairs) for n in pair]


def channels_first(x: str) -> str:
    """An expression of (N, ..., C) as PyTorch's convolutions take it."""
    return f"{x}.movedim(-1, 1)"


def _padded(x: str, padding: Sequence[int], value: str = "") -> str:
    return f"F.pad({x}, {list(padding)}{value})" if any(padding) else x


def _tuple(sizes: Sequence[int]) -> str:
    return str(sizes[0]) if len(set(sizes)) == 1 else str(tuple(sizes))


def _convolution_options(layer: Any) -> str:
    strides, dilation = layer.along("strides"), layer.along("dilation_rate")
    apart = f", stride={_tuple(strides)}" if any(n > 1 for n in strides) else ""
    return apart + (f", dilation={_tuple(dilation)}" if any(n > 1 for n in dilation) else "")


def _bias(layer: Any, w: Weights) -> tuple[str, dict[str, Array]]:
    return ("", {"bias": w("bias")}) if layer.spec.use_bias else (", bias=False", {})


def _through_windows(layer: Any) -> str:
    """The call of the module on padded rows, between the two orders of axes, and the activation."""
    padded = _padded(channels_first("{x}"), _padding(layer.windows, layer.places))
    return activated(layer.spec.activation, f"{{own}}({padded}).movedim(1, -1)")


def convolution(layer: Any, w: Weights) -> LayerScript:
    """`nn.Conv1d` or `nn.Conv2d`, between the two orders of axes."""
    bias, arrays = _bias(layer, w)
    sizes = f"{layer.input_shape[-1]}, {layer.spec.filters}, {_tuple(layer.window)}"
    made = f"nn.Conv{layer.places}d({sizes}{_convolution_options(layer)}{bias})"
    return LayerScript(_through_windows(layer), made, {"weight": w("weight"), **arrays})


def depthwise(layer: Any, w: Weights) -> LayerScript:
    """A convolution of each channel by itself."""
    bias, arrays = _bias(layer, w)
    channels = layer.input_shape[-1]
    sizes = f"{channels}, {channels * layer.spec.depth_multiplier}, {_tuple(layer.window)}"
    made = f"nn.Conv{layer.places}d({sizes}{_convolution_options(layer)}, groups={channels}{bias})"
    return LayerScript(_through_windows(layer), made, {"weight": w("weight"), **arrays})


def separable(layer: Any, w: Weights) -> LayerScript:
    """A convolution of each channel, and one that mixes the channels."""
    bias, arrays = _bias(layer, w)
    channels, kind = layer.input_shape[-1], f"nn.Conv{layer.places}d"
    between = channels * layer.spec.depth_multiplier
    options = _convolution_options(layer)
    each = f"{kind}({channels}, {between}, {_tuple(layer.window)}{options}, groups={channels}, bias=False)"
    made = f"nn.Sequential({each}, {kind}({between}, {layer.spec.filters}, 1{bias}))"
    arrays = {"0.weight": w("depthwise_weight"), "1.weight": w("weight")} | {
        f"1.{name}": value for name, value in arrays.items()
    }
    return LayerScript(_through_windows(layer), made, arrays)


def transposed(layer: Any, w: Weights) -> LayerScript:
    """A transposed convolution, cut off or filled up as Keras has it."""
    bias, arrays = _bias(layer, w)
    strides, window = layer.along("strides"), layer.window
    slices, missing = [], []
    for places, wanted, size, stride in zip(
        layer.input_shape[:-1], layer.output_shape[:-1], window, strides, strict=True
    ):
        full = (places - 1) * stride + size
        first = max(size - stride, 0) // 2 if layer.spec.padding == "same" else 0
        kept = min(wanted, full - first)
        slices.append(f"{first}:{first + kept}")
        missing.append(wanted - kept)
    filters = layer.spec.filters
    sizes = f"{layer.input_shape[-1]}, {filters}, {_tuple(window)}, stride={_tuple(strides)}"
    made = f"nn.ConvTranspose{layer.places}d({sizes}{bias})"
    found = f"{{own}}({channels_first('{x}')})[:, :, {', '.join(slices)}]"
    arrays["weight"] = w("weight")
    if not any(missing):
        return LayerScript(activated(layer.spec.activation, f"{found}.movedim(1, -1)"), made, arrays)
    # Strides beyond the window leave places that nothing reaches, and that have the bias all the same.
    padding = [n for amount in reversed(missing) for n in (0, amount)]
    if layer.spec.use_bias:
        around = f"F.pad({found} - {{own}}.bias.view(-1, {', '.join('1' * layer.places)}), {padding})"
        found = f"({around}.movedim(1, -1) + {{own}}.bias)"
    else:
        found = f"F.pad({found}, {padding}).movedim(1, -1)"
    return LayerScript(activated(layer.spec.activation, found), made, arrays)


def pooling(layer: Any, w: Weights) -> LayerScript:
    """The largest number or the mean of each window."""
    places = len(layer.input_shape) - 1
    size = along(layer.spec.pool_size, places)
    strides = along(layer.spec.strides or layer.spec.pool_size, places)
    padding = _padding(layer.windows, places)
    options = f"{_tuple(size)}, {_tuple(strides)}"
    if isinstance(layer.spec, schema.MaxPooling):
        x = _padded(channels_first("{x}"), padding, ', value=float("-inf")')
        return LayerScript(f"F.max_pool{places}d({x}, {options}).movedim(1, -1)")
    if any(padding):
        options = f"{list(size)}, {list(strides)}, {padding}"
        return LayerScript(f"average_pool({channels_first('{x}')}, {options}).movedim(1, -1)")
    return LayerScript(f"F.avg_pool{places}d({channels_first('{x}')}, {options}).movedim(1, -1)")


def up_sampling(layer: Any, w: Weights) -> LayerScript:
    """Each place several times, or numbers between the places."""
    if layer.spec.interpolation == "bilinear":
        size = f"size={tuple(layer.output_shape[:-1])}, mode='bilinear', align_corners=False"
        return LayerScript(f"F.interpolate({channels_first('{x}')}, {size}).movedim(1, -1)")
    call = "{x}"
    for axis, times in enumerate(along(layer.spec.size, len(layer.input_shape) - 1), start=1):
        call += f".repeat_interleave({times}, dim={axis})"
    return LayerScript(call)


def zero_padding(layer: Any, w: Weights) -> LayerScript:
    """Zeros around the places."""
    amounts = at_both_ends(layer.spec, "padding", layer.spec.padding, LayerInput(layer.input_shape, None))
    return LayerScript(_padded("{x}", [0, 0, *(n for pair in reversed(amounts) for n in pair)]))


def cropping(layer: Any, w: Weights) -> LayerScript:
    """The places without their margins."""
    amounts = at_both_ends(layer.spec, "cropping", layer.spec.cropping, LayerInput(layer.input_shape, None))
    slices = [f"{first}:{first + n}" for (first, _), n in zip(amounts, layer.output_shape, strict=False)]
    return LayerScript(f"{{x}}[:, {', '.join(slices)}]")
