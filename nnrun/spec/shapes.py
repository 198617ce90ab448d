"""What shape each layer gives for the shape that it takes: the one place where this is said.

A shape is that of one row, without the batch: (64,), (steps, features), (height, width, channels). None
stands for a size that only the data can tell. Channels and features come last, as in Keras.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from nnrun.spec import schema
from nnrun.spec.dataset_facts import DatasetFacts

Shape = tuple[int | None, ...]

SOME_RESHAPE = "reshape: [8, 8, 1]"
STEPS, IMAGE = "(steps, features)", "(height, width, channels)"
_RECURRENT = (schema.Lstm, schema.Gru)


class ShapeError(Exception):
    """A layer cannot take what it is given.

    Attributes:
        position: which layer.
        key: the parameter that is to blame; empty for the layer itself.
    """

    def __init__(self, message: str, position: int, key: str = "") -> None:
        super().__init__(message)
        self.position, self.key = position, key


def shape_text(shape: Shape) -> str:
    """A shape as messages and tables show it: `(64)`, `(8, 8, 32)`; `?` for what is not known."""
    return f"({', '.join('?' if size is None else str(size) for size in shape)})"


def size_of(shape: Shape) -> int | None:
    """How many numbers a row has; None where it is not known."""
    return None if None in shape else math.prod(size for size in shape if size is not None)


def row_shape(spec: schema.ExperimentSpec, facts: DatasetFacts) -> Shape:
    """What the preprocessing gives to the first layer, as far as it is known before the data are loaded."""
    width = facts.features
    for step in spec.preprocessing.inputs:
        width = None if isinstance(step, schema.Custom) else step.width_after(width, facts.num_words)
    return (width,)


def trace(
    layers: Sequence[schema.Component],
    inputs: Shape,
    of_custom: Callable[[int, Shape], Shape] | None = None,
) -> list[Shape]:
    """What each layer gives, up to a custom one where nobody may ask its code.

    Args:
        layers: the spec's.
        inputs: what the first of them takes.
        of_custom: the position of a custom layer and what it takes → what it gives.

    Raises:
        ShapeError: a layer cannot take what the one before it gives.
    """
    shapes: list[Shape] = []
    for position, layer in enumerate(layers):
        taken = shapes[-1] if shapes else inputs
        if not isinstance(layer, schema.Custom):
            shapes.append(_output(layers, position, taken))
        elif of_custom is not None:
            shapes.append(of_custom(position, taken))
        else:
            break
    return shapes


def _output(layers: Sequence[schema.Component], position: int, taken: Shape) -> Shape:
    layer = layers[position]
    match layer:
        case schema.Dense(units=units):
            return (*taken[:-1], units)
        case schema.Embedding(output_dim=output_dim):
            if position > 0:
                raise ShapeError(
                    "embedding looks up word indices, so it is the first layer; "
                    f"{_given(layers, position, taken)}, which are no longer indices; move it to the top",
                    position,
                )
            return (*taken, output_dim)
        case schema.Flatten():
            return (size_of(taken),)
        case schema.Reshape():
            return _reshaped(layer, layers, position, taken)
        case schema.GlobalAveragePooling():
            if len(taken) < 2:
                raise _needs(
                    f"{STEPS} or {IMAGE}", "there is nothing to average; remove it", layers, position, taken
                )
            return (taken[-1],)
        case schema.Lstm(units=units) | schema.Gru(units=units):
            steps, _ = _sequence(layers, position, taken)
            return (steps, units) if layer.return_sequences else (units,)
        case schema.Conv1D():
            steps, _ = _sequence(layers, position, taken)
            kernel, strides = [layer.kernel_size], [layer.strides]
            return (*_windows(layer, "kernel_size", kernel, strides, layers, position, taken), layer.filters)
        case schema.Conv2D():
            if len(taken) != 3:
                raise _needs(IMAGE, _image_advice(taken), layers, position, taken)
            kernel, strides = along(layer.kernel_size, 2), along(layer.strides, 2)
            return (*_windows(layer, "kernel_size", kernel, strides, layers, position, taken), layer.filters)
        case schema.MaxPooling():
            return _pooled(layer, layers, position, taken)
    return taken


def along(sizes: Sequence[int], axes: int) -> list[int]:
    """A size for each axis: a single one stands for all."""
    return list(sizes) * axes if len(sizes) == 1 else list(sizes)


def windows(size: int, window: int, stride: int, padding: schema.Padding) -> int:
    """How many windows there are along an axis of this size (TensorFlow's counts)."""
    return -(-size // stride) if padding == "same" else (size - window) // stride + 1


def same_padding(size: int, window: int, stride: int) -> tuple[int, int]:
    """How much padding `same` puts before and after an axis: what cannot be halved goes after it."""
    total = max((windows(size, window, stride, "same") - 1) * stride + window - size, 0)
    return total // 2, total - total // 2


def _windows(
    layer: schema.Conv1D | schema.Conv2D | schema.MaxPooling,
    key: str,
    window: list[int],
    strides: list[int],
    layers: Sequence[schema.Component],
    position: int,
    taken: Shape,
) -> Shape:
    counts: list[int | None] = []
    for size, wide, stride in zip(taken[:-1], window, strides, strict=True):
        if size is not None and layer.padding == "valid" and size < wide:
            raise ShapeError(
                f"{layer.kind} with {key} {_sizes(window)} and padding valid needs at least as many places; "
                f"{_given(layers, position, taken)}; use a smaller {key}, or padding: same",
                position,
                key,
            )
        counts.append(None if size is None else windows(size, wide, stride, layer.padding))
    return tuple(counts)


def _pooled(
    layer: schema.MaxPooling, layers: Sequence[schema.Component], position: int, taken: Shape
) -> Shape:
    axes = len(taken) - 1
    if axes not in (1, 2):
        raise _needs(f"{STEPS} or {IMAGE}", _image_advice(taken), layers, position, taken)
    strides = layer.strides or layer.pool_size
    for key, sizes in (("pool_size", layer.pool_size), ("strides", strides)):
        if len(sizes) > axes:
            raise ShapeError(
                f"max_pooling with {key} {sizes} needs {IMAGE} per row; {_given(layers, position, taken)}; "
                f"give one number",
                position,
                key,
            )
    window = along(layer.pool_size, axes)
    return (*_windows(layer, "pool_size", window, along(strides, axes), layers, position, taken), taken[-1])


def _reshaped(
    layer: schema.Reshape, layers: Sequence[schema.Component], position: int, taken: Shape
) -> Shape:
    target, text, key = layer.target_shape, shape_text(tuple(layer.target_shape)), "target_shape"
    if 0 in target or target.count(-1) > 1:
        raise ShapeError(
            f"reshape to {text}: sizes are 1 or more, and one of them may be -1 (what is left over)",
            position,
            key,
        )
    numbers, known = size_of(taken), math.prod(size for size in target if size > 0)
    if numbers is None:
        return tuple(None if size == -1 else size for size in target)
    if numbers % known or (-1 not in target and numbers != known):
        held = f"does not divide {numbers:,}" if -1 in target else f"holds {known:,} numbers"
        raise ShapeError(
            f"reshape to {text} {held}; {_given(layers, position, taken)}, {numbers:,} numbers; "
            "they must be as many",
            position,
            key,
        )
    return tuple(numbers // known if size == -1 else size for size in target)


def _sequence(layers: Sequence[schema.Component], position: int, taken: Shape) -> Shape:
    """Steps and features, or ShapeError."""
    if len(taken) == 2:
        return taken
    before = layers[position - 1] if position else None
    if len(taken) > 2:
        advice = "reshape makes (steps, features) of them"
    elif isinstance(before, _RECURRENT):
        advice = f"set return_sequences: true in the {before.kind} before it"
    elif isinstance(before, (schema.Flatten, schema.GlobalAveragePooling)):
        advice = f"remove {before.kind}, or put it after {layers[position].kind}"
    elif before is None:
        advice = "for words put embedding before it, for a table reshape, such as reshape: [-1, 1]"
    else:
        advice = f"put {before.kind} after it, or reshape before it, such as reshape: [-1, 1]"
    raise _needs(STEPS, advice, layers, position, taken)


def _image_advice(taken: Shape) -> str:
    numbers = size_of(taken)
    side = math.isqrt(numbers or 0)
    if len(taken) == 1 and numbers and side * side == numbers:
        return f"put reshape before it: reshape: [{side}, {side}, 1] makes an image of {numbers} numbers"
    side = math.isqrt((numbers or 0) // 3)
    if len(taken) == 1 and numbers and 3 * side * side == numbers:
        return (
            f"put reshape before it: reshape: [{side}, {side}, 3] makes a colour image of {numbers} numbers"
        )
    if len(taken) == 2:
        return "use conv1d for steps, or put reshape before it"
    return f"put reshape before it, such as {SOME_RESHAPE}"


def _needs(
    wanted: str, advice: str, layers: Sequence[schema.Component], position: int, taken: Shape
) -> ShapeError:
    given = _given(layers, position, taken)
    return ShapeError(f"{layers[position].kind} needs {wanted} per row; {given}; {advice}", position)


def _given(layers: Sequence[schema.Component], position: int, taken: Shape) -> str:
    giver = f"{layers[position - 1].kind} gives" if position else "the inputs give"
    return f"{giver} {shape_text(taken)}"


def _sizes(sizes: Sequence[int]) -> str:
    return " by ".join(map(str, sizes))
