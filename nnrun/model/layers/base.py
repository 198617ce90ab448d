"""What every layer is: a spec, a place in the stack, shapes, weights by name, and one function.

Weights of R replicas are stacked along a leading dimension, so one call computes a layer for all replicas,
and a single network is the case R = 1. Inputs are (R, B, *shape of a row), channels and features last.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar, Generic, Literal, TypeVar

import numpy as np

from nnrun.model.inputs import Batch
from nnrun.model.layers.constraints import constrained
from nnrun.model.layers.initializers import Initializer, Shape, initializer_of, zeros
from nnrun.model.rng import BatchRng
from nnrun.spec import schema

if TYPE_CHECKING:
    from torch import Tensor

Parameters = Mapping[str, "Tensor"]
S = TypeVar("S", bound=schema.Component)


NORMS = ("l1", "l2")


Layout = Literal["same", "transposed", "row", "depthwise"]


def strength_name(weight: str, norm: str) -> str:
    """The name of a weight's strengths of a norm, where each replica has its own: `0.weight.l2`."""
    return f"{weight}.{norm}"


@dataclass(frozen=True)
class Weight:
    """One array of a layer.

    Attributes:
        shape: of one replica's, as it is computed with.
        layout: how a weights file has it: `same`; `transposed`, (in, out) as (out, in); `row`, (1, out) as
            (out,), and (1,) as (); `depthwise`, (in, multiplier, *window) as (in * multiplier, 1, *window).
        trainable: whether the optimizer updates it; else it is a buffer, such as a moving mean.
        dtype: NumPy's name of its type.
        initializer: makes one replica's first values.
        regularizer: the penalty on it that the loss gets, as the spec declares it; None for none. Replicas
            may have strengths of their own: (R,) under `strength_name` among the parameters.
        constraint: what holds for it after each update, as the spec declares it; None for none.
        axes: for each axis of `shape` which one it is in Keras's array, -1 for none; None where they are the
            same.
        keras_shape: its shape in Keras, where that has an axis more; None otherwise.
        members: of a network that is an ensemble, how many members have such an array, each its own: one
            replica's values are then (M, *shape), here and in a weights file. None of an array that they
            share, and of other networks.
    """

    shape: Shape
    layout: Layout = "same"
    trainable: bool = True
    dtype: str = "float32"
    initializer: Initializer = field(default=zeros, compare=False)
    regularizer: schema.Component | None = field(default=None, compare=False)
    constraint: schema.Component | None = None
    axes: tuple[int, ...] | None = None
    keras_shape: Shape | None = None
    members: int | None = None

    @property
    def in_keras(self) -> Shape:
        """Its shape in Keras, but for the order of the axes."""
        if self.keras_shape is not None:
            return self.keras_shape
        return self.shape[1:] if self.layout == "row" else self.shape

    @property
    def num_elements(self) -> int:
        """The number of elements of one replica's array."""
        return math.prod(self.shape) * (self.members or 1)

    @property
    def file_shape(self) -> Shape:
        """Its shape in a weights file."""
        own = self._file_shape
        return own if self.members is None else (self.members, *own)

    @property
    def _file_shape(self) -> Shape:
        """That of one member."""
        if self.layout == "depthwise":
            channels, multiplier, *window = self.shape
            return (channels * multiplier, 1, *window)
        return {"same": self.shape, "transposed": self.shape[::-1], "row": self.shape[1:]}[self.layout]

    def initial(self, rng: np.random.Generator) -> np.ndarray[Any, Any]:
        """One replica's first values; those of members are drawn one after the other."""
        if self.members is None:
            return self.initializer(rng, self.shape)
        return np.stack([self.initializer(rng, self.shape) for _ in range(self.members)])

    def strength(self, norm: str) -> float:
        """How strongly the regularizer penalizes a norm."""
        return float(getattr(self.regularizer, norm, 0.0))

    def penalty(self, name: str, parameters: Parameters) -> Tensor | None:
        """(R,): the regularizer's term of each replica; None where there is none. `name` is its own.

        Of an array of members it is the mean of their terms, as the loss is the mean of their losses.
        """
        l1, l2 = (parameters.get(strength_name(name, norm), self.strength(norm)) for norm in NORMS)
        if isinstance(l1, float) and isinstance(l2, float) and l1 == l2 == 0:
            return None
        kernel = parameters[name]
        axes = tuple(range(1, kernel.dim()))
        term = l1 * kernel.abs().sum(axes) + l2 * kernel.square().sum(axes)
        return term if self.members is None else term / self.members

    def constrained(self, value: Tensor) -> Tensor:
        """Stacked values (R, *shape) within the limits of the constraint."""
        assert self.constraint is not None, "asked where there is one"
        axes = tuple(range(len(self.shape))) if self.axes is None else self.axes
        stacked = (-1,) if self.members is None else (-1, -1)
        return constrained(self.constraint, value, (*stacked, *axes))

    def to_file(self, value: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        """One replica's array as a weights file has it."""
        return np.ascontiguousarray(self._turned(value)).reshape(self.file_shape)

    def from_file(self, value: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        """The same backwards, in its type."""
        turned = np.ascontiguousarray(self._turned(value), self.dtype)
        return turned.reshape(self.shape if self.members is None else (self.members, *self.shape))

    def _turned(self, value: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        """Between the order of axes here and in a file."""
        if self.layout != "transposed":
            return value
        return value.T if self.members is None else value.swapaxes(1, 2)


@dataclass(frozen=True)
class Layer(ABC, Generic[S]):
    """One layer of a network. It holds no weights.

    Attributes:
        spec: what the experiment says of it.
        path: its place in the network, `2` or `words.2`, which its random numbers are derived from.
        weights_path: what its weights are named by: `path`, or of a shared layer its place where it is
            declared.
        input_shape, output_shape: of one row.
    """

    spec: S
    path: str
    weights_path: str
    input_shape: Shape
    output_shape: Shape

    takes: ClassVar[tuple[type[Batch], ...]] = ()
    """The kinds of batches that it computes with beside tensors; others are made dense first."""

    @cached_property
    def weights(self) -> Mapping[str, Weight]:
        """Its arrays by their names in a weights file, `<weights_path>.<name>`."""
        return {}

    @classmethod
    def kernel_for(cls, spec: S) -> str | None:
        """The library of `native/cpp` that a layer with such a spec calls on a CPU; None for none."""
        return None

    @property
    def place_squares(self) -> Mapping[str, str]:
        """`Network.place_squares`, of this layer."""
        return {}

    def initial(self, rng: np.random.Generator) -> dict[str, np.ndarray[Any, Any]]:
        """One replica's first weights, float32, drawn one after the other."""
        return {name: weight.initial(rng) for name, weight in self.weights.items()}

    @abstractmethod
    def forward(
        self, parameters: Parameters, x: Any, rng: BatchRng | None, new_buffers: dict[str, Tensor] | None
    ) -> Batch:
        """What the layer gives, (R, B, *output_shape).

        Args:
            parameters: stacked weights of all layers.
            x: (R, B, *input_shape); of one of the kinds that the layer takes.
            rng: random numbers of a training step, drawn by `path`; None outside training.
            new_buffers: in a training step, takes the new values of the layer's buffers; None otherwise.

        Raises:
            NnrunError: custom code failed, or gave what no layer may give.
        """

    def forward_masked(
        self,
        parameters: Parameters,
        x: Any,
        mask: Tensor,
        rng: BatchRng | None,
        new_buffers: dict[str, Tensor] | None,
    ) -> Batch:
        """The same where `x` has a mask, (R, B, ...) booleans, False for what does not count.

        A layer whose spec does not say that it uses masks computes as without one.
        """
        return self.forward(parameters, x, rng, new_buffers)

    def mask_of(self, x: Batch, mask: Tensor | None) -> Tensor | None:
        """The mask of what the layer gives; None where all of it counts. `mask` is that of `x`."""
        passes = isinstance(self.spec, schema.NetworkLayer) and self.spec.passes_mask
        return mask if passes else None

    @property
    def activity_regularizer(self) -> schema.Component | None:
        """The penalty that the loss gets for what it gives."""
        found: schema.Component | None = getattr(self.spec, "activity_regularizer", None)
        return found

    def activity_penalty(self, output: Tensor) -> Tensor:
        """(R,): the activity regularizer's term of what it gives, (R, B, ...): the mean over the rows."""
        assert self.activity_regularizer is not None, "asked where there is one"
        axes = tuple(range(1, output.dim()))
        l1, l2 = (float(getattr(self.activity_regularizer, norm, 0.0)) for norm in NORMS)
        return (l1 * output.abs().sum(axes) + l2 * output.square().sum(axes)) / output.shape[1]

    @property
    def description(self) -> str:
        """What it is, in a few words."""
        return self.spec.kind

    @property
    def parameters(self) -> int:
        """Numbers that one replica learns."""
        return sum(weight.num_elements for weight in self.weights.values() if weight.trainable)

    @property
    def state(self) -> int:
        """Numbers that one replica keeps and does not learn."""
        return sum(weight.num_elements for weight in self.weights.values() if not weight.trainable)

    @property
    def multiplications(self) -> int:
        """About how many one row takes, forward, that threads can share."""
        return 0

    @property
    def activations_per_row(self) -> int:
        """About how many activations of one row are in memory at a time."""
        return math.prod(self.output_shape)

    def weight(
        self,
        options: str,
        shape: Shape,
        layout: Layout = "same",
        axes: Shape | None = None,
        keras_shape: Shape | None = None,
    ) -> Weight:
        """A trained array, as the spec's options say: `kernel_initializer` and so on, where it has them.

        Args:
            options: what their names begin with, such as `kernel`.
            shape: of one replica's.
            layout: as in a weights file.
            axes: for each axis of `shape` which one it is in Keras's array; by default the same, without the
                first axis of a row.
            keras_shape: as of a `Weight`.
        """
        found = {
            name: getattr(self.spec, f"{options}_{name}", None)
            for name in ("initializer", "regularizer", "constraint")
        }
        initializer: Initializer = zeros
        if found["initializer"] is not None:
            initializer = initializer_of(found["initializer"], axes, first_is_extra=layout == "row")
        if layout == "row":
            axes = (-1, *range(len(shape) - 1))
        return Weight(
            shape,
            layout,
            initializer=initializer,
            regularizer=found["regularizer"],
            constraint=found["constraint"],
            axes=axes,
            keras_shape=keras_shape,
        )

    def name(self, name: str) -> str:
        """The full name of one of its arrays."""
        return f"{self.weights_path}.{name}"


def penalty_of(weights: Mapping[str, Weight], parameters: Parameters) -> Tensor | None:
    """(R,): the regularization term of a layer's arrays of each replica, or None where there is none."""
    terms = [weight.penalty(name, parameters) for name, weight in weights.items()]
    present = [term for term in terms if term is not None]
    return sum(present[1:], present[0]) if present else None


def along_last(value: Tensor, like: Tensor) -> Tensor:
    """(R, C) stacked vectors as (R, 1, ..., 1, C), to meet a tensor (R, B, ..., C)."""
    return value.view(value.shape[0], *[1] * (like.dim() - 2), value.shape[1])
