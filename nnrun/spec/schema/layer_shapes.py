"""Shapes of rows, and what the shape rules of several layers share.

A shape is that of one row, without the batch: (64,), (steps, features), (height, width, channels). None
stands for a size that only the data can tell. Channels and features come last, as in Keras.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal

from pydantic import BeforeValidator, Field

from nnrun.spec.schema.component import ALIASES, ONE_SIZE_IS_ENOUGH, Component, Count

Shape = tuple[int | None, ...]
Padding = Literal["valid", "same"]
Sizes = Annotated[list[Count], Field(min_length=1, max_length=2), ONE_SIZE_IS_ENOUGH]

_SOME_RESHAPE = "reshape: [8, 8, 1]"
STEPS, IMAGE = "(steps, features)", "(height, width, channels)"


class ShapeError(Exception):
    """A layer cannot take what it is given.

    Attributes:
        key: the parameter that is to blame; empty for the layer itself.
    """

    def __init__(self, message: str, key: str = "") -> None:
        super().__init__(message)
        self.key = key


@dataclass(frozen=True)
class LayerInput:
    """What a layer takes.

    Attributes:
        shape: of a row.
        before: the layer that gives it; None where it is an input.
        name: of the input or chain that it comes from; empty where it is the layer before.
    """

    shape: Shape
    before: Component | None
    name: str = ""

    def __str__(self) -> str:
        giver = self.name or ("the inputs" if self.before is None else self.before.kind)
        return f"{giver} {'give' if giver == 'the inputs' else 'gives'} {shape_text(self.shape)}"


def shape_text(shape: Shape) -> str:
    """A shape as messages and tables show it: `(64)`, `(8, 8, 32)`; `?` for what is not known."""
    return f"({', '.join('?' if size is None else str(size) for size in shape)})"


def size_of(shape: Shape) -> int | None:
    """How many numbers a row has; None where it is not known."""
    return None if None in shape else math.prod(size for size in shape if size is not None)


def along(sizes: Sequence[int], axes: int) -> list[int]:
    """A size for each axis: a single one stands for all."""
    return list(sizes) * axes if len(sizes) == 1 else list(sizes)


def windows(size: int, window: int, stride: int, padding: Literal["valid", "same"]) -> int:
    """How many windows there are along an axis of this size (TensorFlow's counts)."""
    return -(-size // stride) if padding == "same" else (size - window) // stride + 1


def same_padding(size: int, window: int, stride: int) -> tuple[int, int]:
    """How much padding `same` puts before and after an axis: what cannot be halved goes after it."""
    total = max((windows(size, window, stride, "same") - 1) * stride + window - size, 0)
    return total // 2, total - total // 2


def window_counts(
    layer: Component,
    key: str,
    window: list[int],
    strides: list[int],
    padding: Literal["valid", "same"],
    taken: LayerInput,
) -> Shape:
    """How many windows there are along each axis; ShapeError where a window is larger than an axis.

    Args:
        layer: whose windows they are.
        key: its parameter that says how large.
        window, strides: for each axis.
        padding: `valid` or `same`.
        taken: what the layer takes.
    """
    counts: list[int | None] = []
    for size, wide, stride in zip(taken.shape[:-1], window, strides, strict=True):
        if size is not None and padding == "valid" and size < wide:
            raise ShapeError(
                f"{layer.kind} with {key} {' by '.join(map(str, window))} and padding valid needs at least "
                f"as many places; {taken}; use a smaller {key}, or padding: same",
                key,
            )
        counts.append(None if size is None else windows(size, wide, stride, padding))
    return tuple(counts)


def needs(layer: Component, wanted: str, advice: str, taken: LayerInput) -> ShapeError:
    """The error of a layer that takes rows of another form."""
    return ShapeError(f"{layer.kind} needs {wanted} per row; {taken}; {advice}")


def listed(taken: Sequence[LayerInput]) -> str:
    """What several give, each by its name: `left gives (16), right gives (8)`."""
    return ", ".join(map(str, taken))


def merged_sizes(merge: Component, taken: Sequence[LayerInput]) -> Shape:
    """The shape of rows that are merged number by number; a size of 1 is stretched to the others' size.

    Raises:
        ShapeError: the shapes differ otherwise.
    """
    if len({len(t.shape) for t in taken}) > 1:
        raise ShapeError(f"{merge.kind} takes rows with equally many axes; {listed(taken)}")
    merged: list[int | None] = []
    for sizes in zip(*(t.shape for t in taken), strict=True):
        known = {size for size in sizes if size is not None and size != 1}
        if len(known) > 1:
            raise ShapeError(
                f"{merge.kind} takes rows of one shape; {listed(taken)}; give the layers before it as many "
                "units or filters, or use concatenate"
            )
        merged.append(next(iter(known)) if known else None if None in sizes else 1)
    return tuple(merged)


def image_advice(taken: Shape) -> str:
    """How to make (height, width, channels) of rows of another shape."""
    numbers = size_of(taken)
    side = math.isqrt(numbers or 0)
    if len(taken) == 1 and numbers and side * side == numbers:
        return f"put reshape before it: reshape: [{side}, {side}, 1] makes an image of {numbers} numbers"
    side = math.isqrt((numbers or 0) // 3)
    if len(taken) == 1 and numbers and 3 * side * side == numbers:
        return (
            f"put reshape before it: reshape: [{side}, {side}, 3] makes a colour image of {numbers} numbers"
        )
    if len(taken) == 2 and numbers:
        return (
            "for steps use conv1d; for an image put reshape before it to add a channel axis: reshape: "
            f"{[*taken, 1]}"
        )
    if len(taken) == 2:
        return "use conv1d for steps, or put reshape before it"
    return f"put reshape before it, such as {_SOME_RESHAPE}"


def steps_of(layer: Component, taken: LayerInput) -> Shape:
    """Steps and features; ShapeError, with what to do, for rows of another form."""
    before = taken.before
    if len(taken.shape) == 2:
        return taken.shape
    if len(taken.shape) > 2:
        advice = "reshape makes (steps, features) of them"
    elif before is not None and getattr(before, "return_sequences", None) is False:
        advice = f"set return_sequences: true in the {before.kind} before it"
    elif before is not None and getattr(before, "flattens", False):
        advice = f"remove {before.kind}, or put it after {layer.kind}"
    elif taken.name or hasattr(before, "of"):  # another chain, or a merge, which cannot change places with it
        advice = "for rows of numbers put reshape before it, such as reshape: [-1, 1]"
    elif before is None:
        advice = "for words put embedding before it, for a table reshape, such as reshape: [-1, 1]"
    else:
        advice = f"put {before.kind} after it, or reshape before it, such as reshape: [-1, 1]"
    raise needs(layer, STEPS, advice, taken)


def places_of(layer: Component, taken: LayerInput) -> int:
    """How many axes the places of rows have: 1 of steps, 2 of images; ShapeError for rows of another form."""
    axes = len(taken.shape) - 1
    if axes not in (1, 2):
        raise needs(layer, f"{STEPS} or {IMAGE}", image_advice(taken.shape), taken)
    return axes


ActivationName = Literal[
    "linear", "relu", "tanh", "sigmoid", "softmax", "elu", "selu", "gelu", "swish", "softplus", "leaky_relu",
    "relu6", "celu", "mish", "glu", "exponential", "softsign", "squareplus", "hard_sigmoid", "hard_silu",
    "hard_tanh", "hard_shrink", "soft_shrink", "tanh_shrink", "log_sigmoid", "log_softmax", "sparse_plus",
    "sparse_sigmoid", "sparsemax",
]  # fmt: skip
Activation = Annotated[
    ActivationName,
    BeforeValidator(lambda name: ALIASES.get(name, name) if isinstance(name, str) else name),
]


class NetworkLayer(Component):
    """Base of the layers: how the shape of a row changes, so that a spec can be checked without its data.

    A mask says of each step of a row whether it counts, as padding does not. The rules are those of Keras.

    Class attributes:
        flattens: whether it gives rows of one axis, whatever it takes.
        of_images: whether it takes (height, width, channels); of an input also (height, width).
        of_steps: whether it takes (steps, features) and learns from the order of the steps.
        mask: what it does with the mask of what it takes: it `drops` it; or `keeps` it, and computes as
            without one; or `uses` it.
        ranks: how many axes its arrays have in Keras, by what the names of their options begin with: of
            `kernel_initializer`, `kernel_regularizer` and `kernel_constraint` it is `kernel`.
        ensemble: what it does in an `ensemble`: its weights, if it has any, are the members' `own`, or all
            members have the `same`; or it is `refused`. A dense layer shares its kernel with `kind: batch`.
    """

    flattens: ClassVar[bool] = False
    of_images: ClassVar[bool] = False
    of_steps: ClassVar[bool] = False
    mask: ClassVar[Literal["drops", "keeps", "uses"]] = "drops"
    ranks: ClassVar[Mapping[str, int]] = {}
    ensemble: ClassVar[Literal["own", "same", "refused"]] = "refused"

    @classmethod
    def __pydantic_init_subclass__(cls, **kwargs: Any) -> None:
        """Regularizers and constraints can be switched off; most networks leave all weight options alone."""
        optional = [name for name in cls.model_fields if name.endswith(("_regularizer", "_constraint"))]
        initializers = [name for name in cls.model_fields if name.endswith("_initializer")]
        cls.switchable = {**dict.fromkeys(optional), **cls.switchable}
        cls.rarely_changed = frozenset(
            [*optional, *initializers, "dilation_rate", "of", "weights", "trainable"]
        ) - {"kernel_regularizer"}

    def output_shape(self, taken: LayerInput) -> Shape:
        """The shape of a row that the layer gives.

        Raises:
            ShapeError: the layer cannot take such rows.
        """
        return taken.shape

    @property
    def makes_mask(self) -> bool:
        """Whether what it gives has a mask, whatever it takes."""
        return False

    @property
    def passes_mask(self) -> bool:
        """Whether what it gives has the mask of what it takes."""
        return self.mask != "drops"
